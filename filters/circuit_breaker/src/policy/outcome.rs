//! What the end of a call says about the upstream: Envoy's response flags first, then who answered, then the status.

use weir_sdk::{Attributes, Problems};

use super::machine::Outcome;
use crate::config::{CallFailure, ErrorsAre};

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
    fn insert(&mut self, status: u16) {
        if let Some(word) = self.0.get_mut(usize::from(status / 64)) {
            *word |= 1 << (status % 64);
        }
    }

    fn has(&self, status: u16) -> bool {
        self.0.get(usize::from(status / 64)).is_some_and(|word| word & (1 << (status % 64)) != 0)
    }

    fn compile(path: &str, written: &[String], problems: &mut Problems) -> Self {
        let mut statuses = Self::default();
        for (index, text) in written.iter().enumerate() {
            match range(text) {
                Some((first, last)) => (first..=last).for_each(|status| statuses.insert(status)),
                None => problems.add(
                    format!("{path}[{index}]"),
                    format!("expected a status such as \"503\", \"5xx\" or \"500-599\", each 200 to 599, found {text:?}"),
                ),
            }
        }
        statuses
    }
}

/// The first and the last status of what is written.
fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| plain && (200..600).contains(number))
    };
    let class = |text: &str| {
        let first = number(&[text.strip_suffix("xx")?, "00"].concat())?;
        Some((first, first.saturating_add(99)))
    };
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
        None => class(text).or_else(|| number(text).map(|status| (status, status))),
    }
}

/// A compiled [`ErrorsAre`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judge {
    statuses: Statuses,
    ignored: Statuses,
    /// A bit for each gRPC status.
    grpc_statuses: u32,
    /// Flags of failures that are errors, and of all.
    errors: u64,
    failures: u64,
    local_replies: bool,
    slow_aborts: bool,
    slow_ns: Option<u64>,
}

impl Judge {
    pub(super) fn compile(
        path: &str,
        written: &ErrorsAre,
        slow_ns: Option<u64>,
        problems: &mut Problems,
    ) -> Self {
        let five = vec!["5xx".to_owned()];
        let statuses = written.statuses.as_ref().unwrap_or(&five);
        let mut grpc_statuses = 0;
        let grpc = written.grpc_statuses.as_deref().unwrap_or(&[2, 4, 8, 13, 14, 15]);
        for (index, status) in grpc.iter().enumerate() {
            match status {
                1..=16 => grpc_statuses |= 1 << status,
                _ => problems.add(
                    format!("{path}errors_are.grpc_statuses[{index}]"),
                    format!("expected 1 to 16, found {status}"),
                ),
            }
        }
        let is_error = |failure: CallFailure| match &written.failures {
            Some(failures) => failures.contains(&failure),
            None => failure != CallFailure::Overflow,
        };
        if written.slow_aborts && slow_ns.is_none() {
            problems.add(
                format!("{path}errors_are.slow_aborts"),
                "needs `open_when.slow_call`: after which time has a client waited too long?",
            );
        }
        let flags = |wanted: &dyn Fn(CallFailure) -> bool| {
            FAILURES.iter().filter(|(failure, _)| wanted(*failure)).fold(0, |all, (_, flags)| all | flags)
        };
        Self {
            statuses: Statuses::compile(&format!("{path}errors_are.statuses"), statuses, problems),
            ignored: Statuses::compile(
                &format!("{path}errors_are.ignored_statuses"),
                &written.ignored_statuses,
                problems,
            ),
            grpc_statuses,
            errors: flags(&is_error),
            failures: flags(&|_| true),
            local_replies: written.local_replies,
            slow_aborts: written.slow_aborts,
            slow_ns,
        }
    }

    /// Whether it matters that a request is gRPC.
    pub(super) fn asks_grpc(&self) -> bool {
        self.grpc_statuses != 0
    }

    /// What the end of a call says. `whole_ns` is the time from the request to now; `is_grpc` tells of the request.
    pub(super) fn outcome(&self, ended: &dyn Attributes, is_grpc: bool, whole_ns: u64) -> Outcome {
        let is_slow = |time_ns: u64| self.slow_ns.is_some_and(|slow_ns| time_ns >= slow_ns);
        let flags = ended.attribute_uint(&["response", "flags"]).unwrap_or(0);
        if flags & CLIENT != 0 {
            return match self.slow_aborts && is_slow(whole_ns) {
                true => Outcome::Call { error: false, slow: true },
                false => Outcome::Lost,
            };
        }
        if flags & self.failures != 0 {
            return match flags & self.errors != 0 {
                true => Outcome::Call { error: true, slow: is_slow(whole_ns) },
                false => Outcome::Ignored,
            };
        }
        let status = ended.attribute_int(&["response", "code"]).and_then(|code| u16::try_from(code).ok());
        let Some(status) = status.filter(|status| (200..600).contains(status)) else {
            return Outcome::Ignored;
        };
        if !self.local_replies {
            let details = ended.attribute_str(&["response", "code_details"]).unwrap_or_default();
            if details != b"via_upstream" {
                return Outcome::Ignored;
            }
        }
        if self.ignored.has(status) {
            return Outcome::Ignored;
        }
        // Not asked for other requests: Envoy makes one up of the HTTP status (`PROP-10`).
        let grpc = || ended.attribute_int(&["response", "grpc_status"]).unwrap_or(0);
        let grpc_error = |status: i64| {
            u32::try_from(status).is_ok_and(|status| status < 32 && self.grpc_statuses & (1 << status) != 0)
        };
        let error = self.statuses.has(status) || (is_grpc && grpc_error(grpc()));
        let slow = self.slow_ns.is_some() && is_slow(time_ns(ended, whole_ns));
        Outcome::Call { error, slow }
    }
}

/// How long the upstream took until the first byte of its answer; without one, the whole time.
pub(super) fn time_ns(ended: &dyn Attributes, whole_ns: u64) -> u64 {
    let time = ended.attribute_duration(&["response", "backend_latency"]);
    time.map_or(whole_ns, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
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
        latency_ns: Option<i64>,
    }

    impl Attributes for Ended {
        fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
            match path {
                ["response", "flags"] => Some(self.flags.to_le_bytes().to_vec()),
                ["response", "code"] => Some(self.status.to_le_bytes().to_vec()),
                ["response", "code_details"] => Some(self.details.as_bytes().to_vec()),
                ["response", "grpc_status"] => Some(self.grpc.to_le_bytes().to_vec()),
                ["response", "backend_latency"] => Some(self.latency_ns?.to_le_bytes().to_vec()),
                _ => None,
            }
        }
    }

    const OK: Outcome = Outcome::Call { error: false, slow: false };
    const ERROR: Outcome = Outcome::Call { error: true, slow: false };
    const SLOW: Outcome = Outcome::Call { error: false, slow: true };

    #[track_caller]
    fn check(written: serde_json::Value, grpc: bool, ended: &Ended, want: Outcome) {
        let written: ErrorsAre = serde_json::from_value(written).unwrap();
        let mut problems = Problems::new();
        let judge = Judge::compile("", &written, Some(1000), &mut problems);
        problems.finish().unwrap();
        assert_eq!(judge.outcome(ended, grpc, 2000), want);
    }

    fn upstream(status: i64) -> Ended {
        Ended { status, details: "via_upstream", latency_ns: Some(5), ..Ended::default() }
    }

    #[test]
    fn statuses_of_the_upstream_count() {
        use serde_json::json;
        check(json!({}), false, &upstream(200), OK);
        check(json!({}), false, &upstream(404), OK);
        check(json!({}), false, &upstream(500), ERROR);
        check(json!({"statuses": ["404", "429-431"]}), false, &upstream(430), ERROR);
        check(json!({"statuses": ["404", "429-431"]}), false, &upstream(500), OK);
        check(json!({"ignored_statuses": ["4xx"]}), false, &upstream(404), Outcome::Ignored);
        check(json!({}), false, &Ended { latency_ns: Some(1000), ..upstream(200) }, SLOW);
        check(json!({}), false, &Ended { latency_ns: None, ..upstream(200) }, SLOW);
    }

    #[test]
    fn grpc_statuses_count_for_grpc_requests() {
        use serde_json::json;
        let ended = Ended { grpc: 14, ..upstream(200) };
        check(json!({}), true, &ended, ERROR);
        check(json!({}), false, &ended, OK);
        check(json!({"grpc_statuses": [5]}), true, &ended, OK);
        check(json!({"grpc_statuses": []}), true, &ended, OK);
    }

    #[test]
    fn failures_count_by_their_flags_and_clients_never_do() {
        use serde_json::json;
        let ended = |flags| Ended { flags, status: 503, details: "upstream_reset", ..Ended::default() };
        let error = Outcome::Call { error: true, slow: true };
        for bit in [1, 2, 3, 4, 5, 6, 19, 22, 23, 24, 26] {
            check(json!({}), false, &ended(1 << bit), error);
            check(json!({"failures": []}), false, &ended(1 << bit), Outcome::Ignored);
        }
        check(json!({}), false, &ended(0x80), Outcome::Ignored);
        check(json!({"failures": ["OVERFLOW"]}), false, &ended(0x80), error);
        check(json!({}), false, &ended(0x4000), Outcome::Lost);
        check(json!({}), false, &ended(0x4000 | 0x40), Outcome::Lost);
        check(json!({"slow_aborts": true}), false, &ended(0x4000), SLOW);
    }

    #[test]
    fn answers_of_others_count_when_asked_for() {
        use serde_json::json;
        let fault =
            Ended { status: 503, details: "fault_filter_abort", latency_ns: Some(0), ..Ended::default() };
        check(json!({}), false, &fault, Outcome::Ignored);
        check(json!({"local_replies": true}), false, &fault, ERROR);
        check(json!({}), false, &Ended::default(), Outcome::Ignored);
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
            assert_eq!(range(text), want, "{text}");
        }
    }
}
