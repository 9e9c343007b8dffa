//! What the end of a call says to a circuit: the SDK's verdict, and how long it took.

use weir_sdk::outcome::{ErrorsAre, Judge as Verdicts, Verdict};
use weir_sdk::{At, Attributes, Problems};

use super::machine::Outcome;

/// A compiled [`ErrorsAre`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judge {
    verdicts: Verdicts,
    slow_ns: Option<u64>,
}

impl Judge {
    pub(super) fn compile(
        at: &At<'_>,
        written: &ErrorsAre,
        slow_ns: Option<u64>,
        problems: &mut Problems,
    ) -> Self {
        if written.slow_aborts && slow_ns.is_none() {
            problems.add(
                at.field("errors_are.slow_aborts"),
                "needs `open_when.slow_call`: after which time has a client waited too long?",
            );
        }
        let verdicts = Verdicts::compile(&at.field("errors_are"), written, problems);
        Self { verdicts, slow_ns }
    }

    /// Whether it matters that a request is gRPC.
    pub(super) fn asks_grpc(&self) -> bool {
        self.verdicts.asks_grpc()
    }

    /// What the end of a call says. `whole_ns` is the time from the request to now; `is_grpc` tells of the request.
    pub(super) fn outcome(&self, ended: &dyn Attributes, is_grpc: bool, whole_ns: u64) -> Outcome {
        let is_slow = |time_ns: u64| self.slow_ns.is_some_and(|slow_ns| time_ns >= slow_ns);
        let verdict = self.verdicts.verdict(ended, is_grpc);
        match verdict {
            Verdict::ClientLeft if self.verdicts.counts_slow_aborts() && is_slow(whole_ns) => {
                Outcome::Call { error: false, slow: true }
            }
            Verdict::ClientLeft => Outcome::Lost,
            Verdict::Ignored => Outcome::Ignored,
            Verdict::Failed => Outcome::Call { error: true, slow: is_slow(whole_ns) },
            Verdict::Error | Verdict::Success => {
                let slow = self.slow_ns.is_some() && is_slow(time_ns(ended, whole_ns));
                Outcome::Call { error: verdict.is_error(), slow }
            }
        }
    }
}

/// How long the upstream took until the first byte of its answer; without one, the whole time.
pub(super) fn time_ns(ended: &dyn Attributes, whole_ns: u64) -> u64 {
    let time = ended.attribute_duration(&["response", "backend_latency"]);
    time.map_or(whole_ns, weir_sdk::nanos)
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
        let judge = Judge::compile(&At::ROOT, &written, Some(1000), &mut problems);
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
}
