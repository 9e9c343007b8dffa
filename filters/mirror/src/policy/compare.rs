//! Comparison of two answers. Pure.
