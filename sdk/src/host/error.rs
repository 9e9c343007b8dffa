//! What a host may answer to a call, as values: nothing here or above it panics on a status.

use std::fmt;

use crate::config::{joined, names};

/// A status that is not success: the ABI's numbers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// 1: there is no such thing.
    NotFound,
    /// 2: not now, or not with this.
    BadArgument,
    /// 3: the value cannot be written down.
    SerializationFailure,
    /// 4: what came cannot be read.
    ParseFailure,
    /// 5: an expression that means nothing.
    BadExpression,
    /// 6: a pointer outside the module's memory, or one the module did not hand out.
    InvalidMemoryAccess,
    /// 7: nothing there.
    Empty,
    /// 8: somebody else was faster.
    CasMismatch,
    /// 9: unexpected type.
    ResultMismatch,
    /// 10: the host could not, or may not.
    InternalFailure,
    /// 11: the peer hung up.
    BrokenConnection,
    /// 12: the host does not do that.
    Unimplemented,
    /// Any other number.
    Other(u32),
}

impl Status {
    /// The status of a number; `Ok` for 0.
    ///
    /// # Errors
    /// Every other number.
    pub fn check(number: u32) -> Result<(), Self> {
        Err(match number {
            0 => return Ok(()),
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::SerializationFailure,
            4 => Self::ParseFailure,
            5 => Self::BadExpression,
            6 => Self::InvalidMemoryAccess,
            7 => Self::Empty,
            8 => Self::CasMismatch,
            9 => Self::ResultMismatch,
            10 => Self::InternalFailure,
            11 => Self::BrokenConnection,
            12 => Self::Unimplemented,
            other => Self::Other(other),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Status {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(self) -> String {
        // One text is shorter than a list of them.
        let texts = "not found\0bad argument\0serialization failure\0parse failure\0bad expression\0invalid memory access\0empty\0\
                     changed by somebody else\0result mismatch\0internal failure\0broken connection\0unimplemented\0";
        let place = match self {
            Self::NotFound => 0,
            Self::BadArgument => 1,
            Self::SerializationFailure => 2,
            Self::ParseFailure => 3,
            Self::BadExpression => 4,
            Self::InvalidMemoryAccess => 5,
            Self::Empty => 6,
            Self::CasMismatch => 7,
            Self::ResultMismatch => 8,
            Self::InternalFailure => 9,
            Self::BrokenConnection => 10,
            Self::Unimplemented => 11,
            Self::Other(number) => return joined("status ", &crate::config::number(number.into()), ""),
        };
        String::from(names::at(texts, place))
    }
}

/// A host call that did not succeed.
///
/// Returned from a callback it makes [`HttpFilter::failure_policy`](crate::HttpFilter::failure_policy) decide over the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError {
    /// The ABI's name of the call.
    pub call: &'static str,
    /// What the host answered. The SDK itself answers [`Status::BadArgument`] for what the host would take and must not get, such
    /// as a line feed in a header's value (`HDR-27`).
    pub status: Status,
}

impl HostError {
    pub(crate) fn new(call: &'static str, status: Status) -> Self {
        Self { call, status }
    }

    /// As it is displayed, without the code that formats.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn text(&self) -> String {
        joined("`", self.call, &joined("`: ", &self.status.text(), ""))
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for HostError {}
