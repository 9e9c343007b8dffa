//! What a circuit would answer as it is: read from the shared state or from a copy of it, and nothing changed.

use super::circuit::{Head, Lease, State};
use super::machine::{Admission, Call, Refusal, Ticket, Why};
use super::rules::{Adaptive, MILLION, Rules};

/// So much may the clocks of two callbacks differ without one having been set back.
const SKEW_NS: u64 = 1_000_000_000;

impl Head {
    /// The answer, where it takes no change of the shared state; from a copy that may be a little old. `None`: ask.
    pub(crate) fn answer(&self, rules: &Rules, call: &Call) -> Option<Admission> {
        if self.was_set_back(call.now_ns) {
            return None;
        }
        match self.state {
            State::Open if self.open_left_ns(rules, call.now_ns) > 0 => Some(self.refuse_open(rules, call)),
            State::HalfOpen => self.refuse_probe(rules, call),
            State::Closed | State::Recovering => self.refuse_by_draw(rules, call).or_else(|| {
                let stays = self.state == State::Closed || self.share_ppm(rules, call.now_ns) < MILLION;
                (stays && !rules.counts_calls()).then(|| self.pass(0, false))
            }),
            State::Open => None,
        }
    }

    pub(super) fn pass(&self, probe: u32, counted: bool) -> Admission {
        Admission::Passed(Ticket { state: self.state, generation: self.generation, probe, counted })
    }

    pub(super) fn refuse_open(&self, rules: &Rules, call: &Call) -> Admission {
        let retry_ns = self.open_left_ns(rules, call.now_ns);
        Admission::Refused(Refusal { why: Why::Open, retry_ns })
    }

    pub(super) fn open_left_ns(&self, rules: &Rules, now_ns: u64) -> u64 {
        // Bounded by what the rules could say, whoever wrote the state.
        let open_ns = self.open_ns.min(rules.open.longest_ns());
        open_ns.saturating_sub(now_ns.saturating_sub(self.since_ns))
    }

    /// Half-open: why the request is no probe, where it is none.
    pub(super) fn refuse_probe(&self, rules: &Rules, call: &Call) -> Option<Admission> {
        if self.verdict(rules).is_some() {
            return None;
        }
        let why = if rules.probes.safe_only && !call.is_safe {
            Why::Unsafe
        } else if self.free_slot(rules, call.now_ns).is_none() {
            Why::HalfOpen
        } else {
            return None;
        };
        Some(Admission::Refused(Refusal { why, retry_ns: 0 }))
    }

    /// A slot for one more probe.
    pub(super) fn free_slot(&self, rules: &Rules, now_ns: u64) -> Option<usize> {
        let under_way = self.leases.iter().filter(|lease| lease.is_held(rules, now_ns)).count();
        let done = self.succeeded.saturating_add(self.failed);
        let left = rules.probes.calls.saturating_sub(done);
        if under_way >= usize::try_from(left).unwrap_or(usize::MAX) || under_way >= rules.probes.slots {
            return None;
        }
        self.leases.iter().position(|lease| !lease.is_held(rules, now_ns))
    }

    /// What the results of probes say: well again or not.
    pub(super) fn verdict(&self, rules: &Rules) -> Option<bool> {
        let probes = &rules.probes;
        if self.failed > probes.max_failures {
            Some(false)
        } else if self.succeeded >= probes.calls.saturating_sub(probes.max_failures) {
            Some(true)
        } else {
            None
        }
    }

    /// The share that a recovery lets through now, in parts of a million.
    pub(super) fn share_ppm(&self, rules: &Rules, now_ns: u64) -> u32 {
        let Some(recovery) = &rules.recovery else {
            return MILLION;
        };
        let passed = now_ns.saturating_sub(self.since_ns).min(recovery.duration_ns);
        // A time is at most a day, so this much of it fits.
        let (passed, whole) = (passed / 8, (recovery.duration_ns / 8).max(1));
        let rest = u64::from(MILLION.saturating_sub(recovery.from_ppm)).saturating_mul(passed);
        let grown = rest.checked_div(whole).unwrap_or(0);
        recovery.from_ppm.saturating_add(u32::try_from(grown).unwrap_or(MILLION)).min(MILLION)
    }

    /// What the dice say: in a recovery, and where too few calls succeed.
    pub(super) fn refuse_by_draw(&self, rules: &Rules, call: &Call) -> Option<Admission> {
        if self.state == State::Recovering {
            let drawn = u128::from(call.random).saturating_mul(MILLION.into()) >> 64;
            if drawn >= u128::from(self.share_ppm(rules, call.now_ns)) {
                return Some(Admission::Refused(Refusal { why: Why::Recovering, retry_ns: 0 }));
            }
        }
        self.shed(rules, call)
    }

    pub(super) fn was_set_back(&self, now_ns: u64) -> bool {
        self.since_ns > now_ns.saturating_add(SKEW_NS)
    }

    /// How many calls may be under way.
    pub(super) fn limit(&self, rules: &Rules) -> u32 {
        let Some(concurrency) = &rules.concurrency else {
            return u32::MAX;
        };
        match (concurrency.adaptive, self.limit_milli) {
            (Some(Adaptive { min, .. }), 1..) => {
                (self.limit_milli / 1000).clamp(min.min(concurrency.max), concurrency.max)
            }
            (Some(Adaptive { min, gradient: Some(_), .. }), 0) => min.min(concurrency.max),
            _ => concurrency.max,
        }
    }
}

impl Lease {
    /// Whether the slot is taken; a deadline that is further away than any lease is of a clock that was set back.
    pub(super) fn is_held(&self, rules: &Rules, now_ns: u64) -> bool {
        let latest = now_ns.saturating_add(rules.probes.lease_ns).saturating_add(SKEW_NS);
        self.ticket != 0 && self.until_ns > now_ns && self.until_ns <= latest
    }
}
