//! Redaction of a copy. Pure; fails closed: what cannot be redacted is not sent.
