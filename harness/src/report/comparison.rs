//! What the comparison with a real Envoy tells: a record an exchange, then what differs besides and what Envoy could not be given. Knows how it
//! looks, not how it was made.

mod jsonl;
pub(super) mod record;
mod table;

use std::io::{self, Write};

use super::Options;
use crate::envoy::find::Found;
use crate::envoy::versus::Versus;

/// Writes a comparison.
pub type Print = fn(&mut dyn Write, &Versus, &Found, &Options) -> io::Result<()>;

/// The formats by name; the names are those of [`super::FORMATS`].
pub const FORMATS: &[(&str, Print)] = &[("table", table::print), ("jsonl", jsonl::print)];

#[cfg(test)]
mod tests;
