//! What is counted: a name for each outcome; Envoy's where it has one.

/// An outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A request was delayed.
    Delay,
    /// A request was answered here.
    Abort,
    /// A rate limit was handed to Envoy's own filter.
    Limit,
    /// Too many faults at once; the stream passed.
    Overflow,
    /// A request's stream was reset.
    Reset,
    /// A request was held.
    BlackHole,
    /// A response was delayed.
    ResponseDelay,
    /// A response became another.
    ResponseAbort,
    /// A response's stream was reset.
    ResponseReset,
    /// A response was held.
    ResponseBlackHole,
    /// A body was cut.
    Truncation,
    /// A body was damaged.
    Corruption,
    /// A body was to be damaged and could not be.
    CorruptionSpared,
    /// A fault was due and all are stopped (`blast_radius`).
    Stopped,
    /// A request asked for faults and had no valid signature.
    SignatureInvalid,
    /// The shared state could not be changed; the request passed.
    StateFailed,
    /// The route chose a policy that there is not; the configuration's faults were used.
    RouteInvalid,
    /// A request went on as another one.
    Change,
    /// A response went on as another one.
    ResponseChange,
    /// A body was to be changed and could not be.
    ChangeSpared,
}

/// In the order of [`Count`].
pub(crate) const NAMES: [&str; 20] = [
    "delays_injected",
    "aborts_injected",
    "response_rl_injected",
    "faults_overflow",
    "resets_injected",
    "black_holes_injected",
    "response_delays_injected",
    "response_aborts_injected",
    "response_resets_injected",
    "response_black_holes_injected",
    "truncations_injected",
    "corruptions_injected",
    "corruptions_spared",
    "faults_stopped",
    "signature_invalid",
    "state_failed",
    "route_invalid",
    "changes_injected",
    "response_changes_injected",
    "changes_spared",
];

/// A set of outcomes, of a dry run or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    bits: u32,
    dry: bool,
}

impl Counts {
    pub(crate) fn new(dry: bool) -> Self {
        Self { bits: 0, dry }
    }

    #[inline(never)]
    pub(crate) fn add(&mut self, count: Count) {
        self.bits |= 1_u32.checked_shl(count as u32).unwrap_or(0);
    }

    /// Whether the outcome is among them.
    #[must_use]
    pub fn has(self, count: Count) -> bool {
        self.bits & 1_u32.checked_shl(count as u32).unwrap_or(0) != 0
    }

    /// Places in [`Policy::counters`](crate::Policy::counters).
    pub fn places(self) -> impl Iterator<Item = usize> {
        let base = if self.dry { NAMES.len() } else { 0 };
        let mut bits = self.bits;
        std::iter::from_fn(move || {
            let place = (bits != 0).then(|| usize::try_from(bits.trailing_zeros()).unwrap_or(0))?;
            bits &= bits.wrapping_sub(1);
            Some(base.saturating_add(place))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_place() {
        assert_eq!(Count::ChangeSpared as usize + 1, NAMES.len());
        for dry in [false, true] {
            let mut counts = Counts::new(dry);
            counts.add(Count::Delay);
            counts.add(Count::Change);
            let base = if dry { NAMES.len() } else { 0 };
            assert_eq!(counts.places().collect::<Vec<_>>(), [base, base + 17]);
            assert!(counts.has(Count::Delay) && !counts.has(Count::Abort));
        }
    }
}
