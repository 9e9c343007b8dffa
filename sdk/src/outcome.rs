//! What the end of a call says about the upstream: Envoy's response flags first, then who answered, then the status.
//!
//! For filters that count errors. Knows no state; what it is told of a stream are attributes.

use schemars::JsonSchema;

use crate::{At, Attributes, FromConfig, Problems, names};

/// How a call can fail without a whole answer of the upstream: Envoy's response flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CallFailure {
    /// No connection came about (`UF`), or the name is not known (`DF`).
    ConnectFailure,
    /// The upstream broke off (`UC`, `UR`, `LR`), before or in its answer.
    Reset,
    /// It took too long (`UT`, `UMSDR`, `DT`).
    Timeout,
    /// It spoke no HTTP (`UPE`).
    ProtocolError,
    /// No host is there or all are ejected (`UH`), or the cluster does not exist (`NC`).
    NoHealthyUpstream,
    /// Envoy's own thresholds for the cluster were full (`UO`, `DO`).
    Overflow,
}

/// What counts as an error. What other filters or Envoy's routes answer themselves counts as nothing, nor does a call whose client left.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorsAre {
    /// Statuses of answers of the upstream: `"503"`, `"5xx"` or `"500-599"`. Default `["5xx"]`.
    #[serde(default)]
    pub statuses: Option<Vec<String>>,
    /// Statuses of answers that are neither errors nor successes, written likewise. Default: none.
    #[serde(default)]
    pub ignored_statuses: Vec<String>,
    /// gRPC statuses of answers to gRPC requests, in headers or trailers, 1 to 16. Default `[2, 4, 8, 13, 14, 15]`: UNKNOWN,
    /// DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    #[serde(default)]
    pub grpc_statuses: Option<Vec<u8>>,
    /// Failures that are errors, whatever status Envoy answers for them; others count as nothing. Default: all but `OVERFLOW`.
    #[serde(default)]
    pub failures: Option<Vec<CallFailure>>,
    /// Whether answers of other filters, and of routes themselves, count by their status like the upstream's, such as errors that a fault filter
    /// injects behind this one. Default false.
    #[serde(default)]
    pub local_replies: bool,
    /// Whether a call whose client left when it was slow already counts as slow: most clients that leave have waited too long. Never an error. Needs
    /// a time from which on calls are slow. Default false.
    #[serde(default)]
    pub slow_aborts: bool,
}

/// What a call says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client left: nobody knows what would have come of it.
    ClientLeft,
    /// Neither a success nor an error.
    Ignored,
    /// Envoy answered for an upstream that failed so that it counts.
    Failed,
    /// The upstream answered with an error.
    Error,
    /// It answered otherwise.
    Success,
}

impl Verdict {
    /// Whether it counts as an error.
    #[must_use]
    pub fn is_error(self) -> bool {
        matches!(self, Self::Failed | Self::Error)
    }
}

/// Response flags as `response.flags` gives them (Envoy 1.40, `envoy/stream_info/stream_info.h`, one bit each in order).
mod flag {
    pub(super) const NO_HEALTHY_UPSTREAM: u64 = 1 << 1;
    pub(super) const UPSTREAM_REQUEST_TIMEOUT: u64 = 1 << 2;
    pub(super) const LOCAL_RESET: u64 = 1 << 3;
    pub(super) const UPSTREAM_REMOTE_RESET: u64 = 1 << 4;
    pub(super) const UPSTREAM_CONNECTION_FAILURE: u64 = 1 << 5;
    pub(super) const UPSTREAM_CONNECTION_TERMINATION: u64 = 1 << 6;
    pub(super) const UPSTREAM_OVERFLOW: u64 = 1 << 7;
    pub(super) const DOWNSTREAM_CONNECTION_TERMINATION: u64 = 1 << 14;
    pub(super) const STREAM_IDLE_TIMEOUT: u64 = 1 << 16;
    pub(super) const DOWNSTREAM_PROTOCOL_ERROR: u64 = 1 << 18;
    pub(super) const UPSTREAM_MAX_STREAM_DURATION_REACHED: u64 = 1 << 19;
    pub(super) const DURATION_TIMEOUT: u64 = 1 << 22;
    pub(super) const UPSTREAM_PROTOCOL_ERROR: u64 = 1 << 23;
    pub(super) const NO_CLUSTER_FOUND: u64 = 1 << 24;
    pub(super) const DNS_RESOLUTION_FAILED: u64 = 1 << 26;
    pub(super) const DROP_OVERLOAD: u64 = 1 << 27;
    pub(super) const DOWNSTREAM_REMOTE_RESET: u64 = 1 << 28;
}

/// The client's doing, or nobody's.
const CLIENT: u64 = flag::DOWNSTREAM_CONNECTION_TERMINATION
    | flag::DOWNSTREAM_REMOTE_RESET
    | flag::DOWNSTREAM_PROTOCOL_ERROR
    | flag::STREAM_IDLE_TIMEOUT;

/// Each failure and its flags.
const FAILURES: [(CallFailure, u64); 6] = [
    (CallFailure::ConnectFailure, flag::UPSTREAM_CONNECTION_FAILURE | flag::DNS_RESOLUTION_FAILED),
    (
        CallFailure::Reset,
        flag::UPSTREAM_CONNECTION_TERMINATION | flag::UPSTREAM_REMOTE_RESET | flag::LOCAL_RESET,
    ),
    (
        CallFailure::Timeout,
        flag::UPSTREAM_REQUEST_TIMEOUT | flag::UPSTREAM_MAX_STREAM_DURATION_REACHED | flag::DURATION_TIMEOUT,
    ),
    (CallFailure::ProtocolError, flag::UPSTREAM_PROTOCOL_ERROR),
    (CallFailure::NoHealthyUpstream, flag::NO_HEALTHY_UPSTREAM | flag::NO_CLUSTER_FOUND),
    (CallFailure::Overflow, flag::UPSTREAM_OVERFLOW | flag::DROP_OVERLOAD),
];

/// Statuses from 0 to 599, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Statuses([u64; 10]);

impl Statuses {
    fn insert(&mut self, first: u16, last: u16) {
        for status in first..=last {
            if let Some(word) = self.0.get_mut(usize::from(status / 64)) {
                *word |= 1 << (status % 64);
            }
        }
    }

    fn has(&self, status: u16) -> bool {
        self.0.get(usize::from(status / 64)).is_some_and(|word| word & (1 << (status % 64)) != 0)
    }

    fn compile(at: &At<'_>, written: &[String], problems: &mut Problems) -> Self {
        let mut statuses = Self::default();
        for (index, text) in written.iter().enumerate() {
            match range(text.as_bytes()) {
                Some((first, last)) => statuses.insert(first, last),
                None => problems.add(
                    at.index(index),
                    [
                        "expected a status such as \"503\", \"5xx\" or \"500-599\", each 200 to 599, found ",
                        &crate::config::quoted(text),
                    ]
                    .concat(),
                ),
            }
        }
        statuses
    }
}

/// The first and the last status of what is written.
fn range(text: &[u8]) -> Option<(u16, u16)> {
    let number = |text: &[u8]| {
        let number = names::digits(text).filter(|_| text.len() == 3)?;
        u16::try_from(number).ok().filter(|number| (200..600).contains(number))
    };
    if let [class, b'x', b'x'] = text {
        let first = number(&[*class, b'0', b'0'])?;
        return Some((first, first.saturating_add(99)));
    }
    let (first, last) = names::cut(text, b'-');
    let first = number(first)?;
    let last = last.map_or(Some(first), number)?;
    (first <= last).then_some((first, last))
}

/// A compiled [`ErrorsAre`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judge {
    statuses: Statuses,
    ignored: Statuses,
    /// A bit for each gRPC status.
    grpc_statuses: u32,
    /// Flags of failures that are errors, and of all.
    errors: u64,
    failures: u64,
    local_replies: bool,
    slow_aborts: bool,
}

impl Judge {
    /// Checks and compiles what is written at a place.
    pub fn compile(at: &At<'_>, written: &ErrorsAre, problems: &mut Problems) -> Self {
        let mut statuses = Statuses::default();
        match &written.statuses {
            Some(written) => statuses = Statuses::compile(&at.field("statuses"), written, problems),
            None => statuses.insert(500, 599),
        }
        let mut grpc_statuses = 0;
        for (index, status) in
            written.grpc_statuses.as_deref().unwrap_or(&[2, 4, 8, 13, 14, 15]).iter().enumerate()
        {
            match status {
                1..=16 => grpc_statuses |= 1 << status,
                _ => {
                    let reason =
                        ["expected 1 to 16, found ", &crate::config::number((*status).into())].concat();
                    problems.add(at.item("grpc_statuses", index), reason);
                }
            }
        }
        let is_error = |failure: CallFailure| match &written.failures {
            Some(failures) => failures.contains(&failure),
            None => failure != CallFailure::Overflow,
        };
        let flags = |wanted: &dyn Fn(CallFailure) -> bool| {
            FAILURES.iter().filter(|(failure, _)| wanted(*failure)).fold(0, |all, (_, flags)| all | flags)
        };
        Self {
            statuses,
            ignored: Statuses::compile(&at.field("ignored_statuses"), &written.ignored_statuses, problems),
            grpc_statuses,
            errors: flags(&is_error),
            failures: flags(&|_| true),
            local_replies: written.local_replies,
            slow_aborts: written.slow_aborts,
        }
    }

    /// Whether a call whose client left counts as slow, where it was.
    #[must_use]
    pub fn counts_slow_aborts(&self) -> bool {
        self.slow_aborts
    }

    /// Whether it matters that a request is gRPC.
    #[must_use]
    pub fn asks_grpc(&self) -> bool {
        self.grpc_statuses != 0
    }

    /// Whether an answer of the upstream with this status is an error.
    #[must_use]
    pub fn is_error_status(&self, status: u16) -> bool {
        self.statuses.has(status) && !self.ignored.has(status)
    }

    /// What a call says, once its response's headers are there, or at its end; `is_grpc` tells of the request.
    #[must_use]
    pub fn verdict(&self, stream: &dyn Attributes, is_grpc: bool) -> Verdict {
        let flags = stream.attribute_uint(&["response", "flags"]).unwrap_or(0);
        if flags & CLIENT != 0 {
            return Verdict::ClientLeft;
        }
        if flags & self.failures != 0 {
            return if flags & self.errors != 0 { Verdict::Failed } else { Verdict::Ignored };
        }
        let status = stream.attribute_int(&["response", "code"]).and_then(|code| u16::try_from(code).ok());
        let Some(status) = status.filter(|status| (200..600).contains(status)) else {
            return Verdict::Ignored;
        };
        if !self.local_replies {
            let details = stream.attribute_str(&["response", "code_details"]).unwrap_or_default();
            if details != b"via_upstream" {
                return Verdict::Ignored;
            }
        }
        if self.ignored.has(status) {
            return Verdict::Ignored;
        }
        // Not asked for other requests: Envoy makes one up of the HTTP status (`PROP-10`).
        let grpc = || stream.attribute_int(&["response", "grpc_status"]).unwrap_or(0);
        let grpc_error = |status: i64| {
            u32::try_from(status).is_ok_and(|status| status < 32 && self.grpc_statuses & (1 << status) != 0)
        };
        match self.statuses.has(status) || (is_grpc && grpc_error(grpc())) {
            true => Verdict::Error,
            false => Verdict::Success,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attributes of a stream that is over.
    #[derive(Default)]
    struct Ended {
        flags: u64,
        status: i64,
        details: &'static str,
        grpc: i64,
    }

    impl Attributes for Ended {
        fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
            match path {
                ["response", "flags"] => Some(self.flags.to_le_bytes().to_vec()),
                ["response", "code"] => Some(self.status.to_le_bytes().to_vec()),
                ["response", "code_details"] => Some(self.details.as_bytes().to_vec()),
                ["response", "grpc_status"] => Some(self.grpc.to_le_bytes().to_vec()),
                _ => None,
            }
        }
    }

    #[track_caller]
    fn check(errors: &ErrorsAre, grpc: bool, ended: &Ended, want: Verdict) {
        let mut problems = Problems::new();
        let judge = Judge::compile(&At::ROOT, errors, &mut problems);
        problems.finish().unwrap();
        assert_eq!(judge.verdict(ended, grpc), want);
    }

    #[test]
    fn flags_come_first_then_who_answered_then_the_status() {
        let default = ErrorsAre::default();
        let upstream = |status| Ended { status, details: "via_upstream", ..Ended::default() };
        check(&default, false, &upstream(200), Verdict::Success);
        check(&default, false, &upstream(503), Verdict::Error);
        check(&default, false, &Ended { flags: 1 << 14, ..upstream(503) }, Verdict::ClientLeft);
        check(&default, false, &Ended { flags: 1 << 5, status: 503, ..Ended::default() }, Verdict::Failed);
        check(&default, false, &Ended { flags: 1 << 7, status: 503, ..Ended::default() }, Verdict::Ignored);
        check(&default, false, &Ended { status: 503, ..Ended::default() }, Verdict::Ignored);
        check(&default, true, &Ended { grpc: 14, ..upstream(200) }, Verdict::Error);
        check(&default, false, &Ended { grpc: 14, ..upstream(200) }, Verdict::Success);
        let locals = ErrorsAre { local_replies: true, ..default };
        check(&locals, false, &Ended { status: 503, ..Ended::default() }, Verdict::Error);
    }

    #[test]
    fn statuses_are_read_or_refused() {
        for (text, want) in [
            ("503", Some((503, 503))),
            ("5xx", Some((500, 599))),
            ("500-599", Some((500, 599))),
            ("599-500", None),
            ("1xx", None),
            ("6xx", None),
            ("50x", None),
            ("+503", None),
            ("", None),
            ("xx", None),
            ("é-5", None),
        ] {
            assert_eq!(range(text.as_bytes()), want, "{text}");
        }
    }
}
