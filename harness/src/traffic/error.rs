//! What can be wrong with a recording: always the file, the place in it, and what would be accepted.

use std::io;
use std::path::Path;

use super::input::Input;
use super::json::ScanError;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// The operating system refuses; also a damaged gzip stream.
    #[error("cannot read `{file}`: {source}")]
    Read {
        /// The recording.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It is no recording that is known.
    #[error("`{file}` is {found}: {hint}")]
    NotARecording {
        /// The recording.
        file: String,
        /// What it looks like.
        found: String,
        /// What would be accepted.
        hint: String,
    },
    /// One line or entry is broken; others may be whole.
    #[error("`{file}`: {place}: {reason}")]
    Entry {
        /// The recording.
        file: String,
        /// Such as `line 12` or `entry 12`, counted from 1.
        place: String,
        /// Why.
        reason: String,
    },
    /// It ends in the middle; everything before is whole.
    #[error("`{file}`: {place}: the recording is cut off here")]
    CutOff {
        /// The recording.
        file: String,
        /// Such as `line 12` or `entry 12`, counted from 1.
        place: String,
    },
    /// The access log format that was given is none.
    #[error("access log format: {0}")]
    AccessLogFormat(String),
}

impl TrafficError {
    /// Whether the recording just ends too early: everything before was whole.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::CutOff { .. })
    }

    /// Whether nothing more can come of the file.
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Self::Entry { .. })
    }

    pub(super) fn entry(input: &Input, place: &str, reason: impl Into<String>) -> Self {
        Self::Entry { file: input.file.clone(), place: place.to_owned(), reason: reason.into() }
    }

    pub(super) fn cut_off(input: &Input, place: &str) -> Self {
        Self::CutOff { file: input.file.clone(), place: place.to_owned() }
    }

    pub(super) fn too_long(input: &Input, place: &str) -> Self {
        let limit = input.limit();
        let limit = if limit >= 1 << 20 { format!("{} MiB", limit >> 20) } else { format!("{limit} bytes") };
        Self::entry(
            input,
            place,
            format!("is longer than {limit}, the most that one may take; it is left out"),
        )
    }

    pub(super) fn read(input: &Input, source: io::Error, place: &str) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return Self::cut_off(input, place);
        }
        Self::Read { file: input.file.clone(), source }
    }

    pub(super) fn scan(input: &Input, error: ScanError, place: &str) -> Self {
        match error {
            ScanError::Io(source) => Self::read(input, source, place),
            ScanError::CutOff => Self::cut_off(input, place),
            ScanError::Overtaken => {
                Self::entry(input, place, "is cut off: the next one begins before it ends")
            }
            ScanError::TooLong => Self::too_long(input, place),
            ScanError::Syntax(reason) => Self::entry(input, place, reason),
        }
    }

    pub(super) fn not_a_recording(path: &Path, found: &str, hint: &str) -> Self {
        Self::NotARecording {
            file: path.display().to_string(),
            found: found.to_owned(),
            hint: hint.to_owned(),
        }
    }
}
