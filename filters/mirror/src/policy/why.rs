//! Why a request is not copied to a target: a counter and a text for each reason.

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The route says that this filter does nothing.
    Disabled,
    /// `CONNECT`, or an upgrade such as WebSocket.
    Upgrade,
    /// It has the mark of a copy.
    Marked,
    /// The target's `methods` do not have its method.
    Method,
    /// The target's `match` is not true.
    Match,
    /// `cluster_header` is absent or empty.
    NoCluster,
    /// Envoy's route sends it to no cluster that exists.
    Unrouted,
    /// The share does not include it.
    Sample,
    /// It has none of the keys that are sampled by.
    NoKey,
    /// The target suffers: only a part of the share is sent, or none.
    BackOff,
    /// Its body is longer than a copy's may be.
    Body,
    /// The worker holds as much as it may.
    Memory,
    /// The stream ended before the request was complete.
    Incomplete,
    /// It could not be redacted.
    Redaction,
    /// Its path cannot be rewritten.
    Path,
    /// As many copies are without an answer as may be.
    InFlight,
    /// There is no token.
    Rate,
    /// Envoy did not make the call: there is no such cluster, or it has no healthy host.
    Refused,
}

impl Why {
    /// Every reason; its place is its number.
    pub const ALL: [Self; 18] = [
        Self::Disabled,
        Self::Upgrade,
        Self::Marked,
        Self::Method,
        Self::Match,
        Self::NoCluster,
        Self::Unrouted,
        Self::Sample,
        Self::NoKey,
        Self::BackOff,
        Self::Body,
        Self::Memory,
        Self::Incomplete,
        Self::Redaction,
        Self::Path,
        Self::InFlight,
        Self::Rate,
        Self::Refused,
    ];

    /// The number of the reason.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the configuration has chosen so, by what the request is.
    #[must_use]
    pub const fn is_choice(self) -> bool {
        match self {
            Self::Disabled
            | Self::Upgrade
            | Self::Marked
            | Self::Method
            | Self::Match
            | Self::NoCluster
            | Self::Unrouted
            | Self::Sample
            | Self::NoKey => true,
            Self::BackOff
            | Self::Body
            | Self::Memory
            | Self::Incomplete
            | Self::Redaction
            | Self::Path
            | Self::InFlight
            | Self::Rate
            | Self::Refused => false,
        }
    }

    /// The last part of the counter's name.
    #[must_use]
    pub const fn counter(self) -> &'static str {
        match self {
            Self::Disabled => "skipped_disabled",
            Self::Upgrade => "skipped_upgrade",
            Self::Marked => "skipped_marked",
            Self::Method => "skipped_method",
            Self::Match => "skipped_match",
            Self::NoCluster => "skipped_no_cluster",
            Self::Unrouted => "skipped_unrouted",
            Self::Sample => "skipped_sample",
            Self::NoKey => "skipped_no_key",
            Self::BackOff => "skipped_back_off",
            Self::Body => "skipped_body",
            Self::Memory => "skipped_memory",
            Self::Incomplete => "skipped_incomplete",
            Self::Redaction => "skipped_redaction",
            Self::Path => "skipped_path",
            Self::InFlight => "skipped_in_flight",
            Self::Rate => "skipped_rate",
            Self::Refused => "skipped_refused",
        }
    }

    /// What explanations say.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Disabled => "disabled by the route",
            Self::Upgrade => "CONNECT or an upgrade",
            Self::Marked => "a copy itself",
            Self::Method => "method",
            Self::Match => "no match",
            Self::NoCluster => "no cluster named",
            Self::Unrouted => "no cluster of its own",
            Self::Sample => "not in the sample",
            Self::NoKey => "no key",
            Self::BackOff => "backing off",
            Self::Body => "body too long",
            Self::Memory => "no memory left",
            Self::Incomplete => "the request never came to its end",
            Self::Redaction => "cannot be redacted",
            Self::Path => "path cannot be rewritten",
            Self::InFlight => "too many in flight",
            Self::Rate => "too many in this time",
            Self::Refused => "refused by Envoy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_its_name() {
        for (index, why) in Why::ALL.iter().enumerate() {
            assert_eq!(why.index(), index);
            assert!(Why::ALL.iter().all(|other| other == why || other.counter() != why.counter()));
        }
    }
}
