//! Scripts: rules, sequences, failures, distributions, echoes.
