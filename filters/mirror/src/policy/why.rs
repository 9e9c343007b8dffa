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

    /// The last parts of the counters' names, in the order of the reasons.
    pub const COUNTERS: [&'static str; 18] = [
        "skipped_disabled",
        "skipped_upgrade",
        "skipped_marked",
        "skipped_method",
        "skipped_match",
        "skipped_no_cluster",
        "skipped_unrouted",
        "skipped_sample",
        "skipped_no_key",
        "skipped_back_off",
        "skipped_body",
        "skipped_memory",
        "skipped_incomplete",
        "skipped_redaction",
        "skipped_path",
        "skipped_in_flight",
        "skipped_rate",
        "skipped_refused",
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
    pub fn counter(self) -> &'static str {
        Self::COUNTERS.get(self.index()).copied().unwrap_or_default()
    }

    /// What explanations say.
    #[must_use]
    pub fn text(self) -> &'static str {
        TEXTS.get(self.index()).copied().unwrap_or_default()
    }
}

/// What explanations say, in the order of the reasons.
const TEXTS: [&str; 18] = [
    "disabled by the route",
    "CONNECT or an upgrade",
    "a copy itself",
    "method",
    "no match",
    "no cluster named",
    "no cluster of its own",
    "not in the sample",
    "no key",
    "backing off",
    "body too long",
    "no memory left",
    "the request never came to its end",
    "cannot be redacted",
    "path cannot be rewritten",
    "too many in flight",
    "too many in this time",
    "refused by Envoy",
];

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
