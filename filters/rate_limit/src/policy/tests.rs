//! Decisions of whole policies, with a mocked clock and a store in memory.
