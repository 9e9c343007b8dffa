//! From what is written to what is asked of a request.
//!
//! Knows no matcher.

use crate::{At, Problems};

/// A wire form.
pub(super) trait Compile {
    /// Its compiled form.
    type Matcher;

    /// Compiles what stands at a place. What is wrong is noted, and then there may be no matcher, or one that is not to be used.
    fn compile(&self, at: &At<'_>, problems: &mut Problems) -> Option<Self::Matcher>;
}

/// `TryFrom` for a wire form, by reference and by value.
macro_rules! compiled {
    ($wire:ty => $matcher:ty) => {
        impl TryFrom<&$wire> for $matcher {
            type Error = $crate::ConfigError;

            fn try_from(wire: &$wire) -> Result<Self, $crate::ConfigError> {
                let mut problems = $crate::Problems::new();
                match wire.compile(&$crate::At::ROOT, &mut problems) {
                    Some(matcher) if problems.is_empty() => Ok(matcher),
                    _ => Err(problems.into_error()),
                }
            }
        }

        impl TryFrom<$wire> for $matcher {
            type Error = $crate::ConfigError;

            fn try_from(wire: $wire) -> Result<Self, $crate::ConfigError> {
                Self::try_from(&wire)
            }
        }
    };
}

pub(super) use compiled;
