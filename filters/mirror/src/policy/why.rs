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

    /// The last parts of the counters' names, behind `skipped_`, in the order of the reasons.
    pub const COUNTERS: &str = "disabled upgrade marked method match no_cluster unrouted sample no_key back_off body memory incomplete redaction path in_flight rate refused";

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

    /// What explanations say.
    #[must_use]
    pub fn text(self) -> &'static str {
        TEXTS.split(',').nth(self.index()).unwrap_or_default()
    }
}

/// What explanations say, in the order of the reasons.
const TEXTS: &str = "disabled by the route,\
    CONNECT or an upgrade,\
    a copy itself,\
    method,\
    no match,\
    no cluster named,\
    no cluster of its own,\
    not in the sample,\
    no key,\
    backing off,\
    body too long,\
    no memory left,\
    the request never came to its end,\
    cannot be redacted,\
    path cannot be rewritten,\
    too many in flight,\
    too many in this time,\
    refused by Envoy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_and_its_name() {
        for (index, why) in Why::ALL.iter().enumerate() {
            assert_eq!(why.index(), index);
            assert!(Why::ALL.iter().all(|other| other == why || other.text() != why.text()));
        }
        let counters: std::collections::BTreeSet<_> = Why::COUNTERS.split(' ').collect();
        assert_eq!((counters.len(), Why::COUNTERS.split(' ').count()), (Why::ALL.len(), Why::ALL.len()));
        assert_eq!(
            (Why::Disabled.text(), Why::Refused.text()),
            ("disabled by the route", "refused by Envoy")
        );
    }
}
