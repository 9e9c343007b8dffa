//! What watches over a rule's arms: which of them is stable, what a failure is, when an arm is rolled back, and how a failed answer is made good.
//! Pure: samples and the clock are arguments.

use std::rc::Rc;

use weir_sdk::outcome::Judge;
use weir_sdk::{At, Problems, RequestMatcher};

use super::arms::{ArmId, Arms};
use crate::config;
use record::Rolled;
use report::Webhook;
use rules::Rules;
use zero_error::ZeroError;

pub(crate) mod counts;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod rules;
mod significance;
#[cfg(test)]
mod tests;
pub(crate) mod zero_error;

/// What watches over the arms of one rule.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// How the rule is called in logs and reports.
    label: Rc<str>,
    /// The arms of the rule by lane; the stable one is lane 0.
    lanes: Vec<(ArmId, Rc<str>)>,
    /// What a failure is.
    pub(crate) judge: Judge,
    /// When an arm is rolled back.
    pub(crate) rollback: Option<Rollback>,
    /// How a failed answer is made good.
    pub(crate) zero_error: Option<ZeroError>,
}

/// A compiled [`config::Rollback`].
#[derive(Clone, Debug)]
pub(crate) struct Rollback {
    /// The numbers.
    pub(crate) rules: Rules,
    /// Nothing is rolled back.
    pub(crate) dry_run: bool,
    /// Who is told.
    pub(crate) webhook: Option<Webhook>,
    /// Requests that let the arms come back.
    reset: Option<RequestMatcher>,
    generation: String,
}

/// A request that a guard watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The guard, by its place among all.
    pub guard: usize,
    /// The arm's lane.
    pub lane: usize,
    /// The request lets the arms come back.
    pub resets: bool,
}

/// What is known of a rule when its guard is made.
pub(crate) struct Site<'a> {
    /// Where the rule stands.
    pub(crate) at: &'a At<'a>,
    /// What explanations call it.
    pub(crate) label: &'a str,
    /// The arms that its requests can go to, the one that is stable unless another is named last.
    pub(crate) arms: Vec<ArmId>,
    /// Whether the last of them is stable unless another is named.
    pub(crate) has_stable: bool,
    /// Whether the stable arm gets a share of the requests.
    pub(crate) compares: bool,
}

impl Guard {
    /// Checks and compiles; nothing where the rule has neither `rollback` nor `zero_error`.
    pub(crate) fn compile(
        site: &Site<'_>,
        rule: &config::Rule,
        arms: &mut Arms,
        problems: &mut Problems,
    ) -> Option<Rc<Self>> {
        let at = site.at;
        if rule.rollback.is_none() && rule.zero_error.is_none() {
            for &(field, given) in
                &[("stable", rule.stable.is_some()), ("errors_are", rule.errors_are.is_some())]
            {
                if given {
                    problems.add(at.field(field), "is for `rollback` and `zero_error`; expected one of them");
                }
            }
            return None;
        }
        let stable = match &rule.stable {
            Some(name) => arms.named(&at.field("stable"), name, problems)?,
            None => match site.arms.last() {
                Some(last) if site.has_stable => *last,
                _ => {
                    problems.add(
                        at.field("stable"),
                        "is needed with `arm`: which arm do the requests go to instead?",
                    );
                    return None;
                }
            },
        };
        let mut lanes: Vec<(ArmId, Rc<str>)> = Vec::new();
        for id in std::iter::once(&stable).chain(&site.arms) {
            if (*id != stable || lanes.is_empty())
                && let Some(name) = arms.name(Some(*id))
            {
                lanes.push((*id, name.clone()));
            }
        }
        if lanes.len() < 2 {
            problems.add(at.field("stable"), "is the rule's only arm; expected another one");
        }
        let default = config::ErrorsAre::default();
        let errors_are = rule.errors_are.as_ref().unwrap_or(&default);
        let judge = Judge::compile(&at.field("errors_are"), errors_are, problems);
        let asks_slow = rule.rollback.as_ref().is_some_and(|rollback| rollback.slow.is_some());
        if errors_are.slow_aborts && !asks_slow {
            let reason = "needs `rollback.slow`: after which time has a client waited too long?";
            problems.add(at.field("errors_are.slow_aborts"), reason);
        }
        // A stable arm that is no arm of the rule gets no requests of it.
        let compares = site.compares && site.arms.contains(&stable);
        let rollback = rule.rollback.as_ref().map(|rollback| {
            let at = at.field("rollback");
            let reset = rollback
                .reset
                .as_ref()
                .and_then(|reset| RequestMatcher::compile(reset, &at.field("reset"), problems));
            Rollback {
                rules: Rules::compile(&at, rollback, compares, problems),
                dry_run: rollback.dry_run,
                webhook: rollback.webhook.as_ref().map(|hook| Webhook::compile(&at, hook, problems)),
                reset,
                generation: rollback.generation.clone(),
            }
        });
        let zero_error = rule.zero_error.as_ref().map(|zero_error| {
            let cluster = arms.get(stable).map(|arm| arm.cluster.as_slice()).unwrap_or_default();
            let cluster = std::str::from_utf8(cluster).unwrap_or_default();
            ZeroError::compile(&at.field("zero_error"), zero_error, cluster, problems)
        });
        Some(Rc::new(Self { label: site.label.into(), lanes, judge, rollback, zero_error }))
    }

    /// The stable arm.
    pub(crate) fn stable(&self) -> Option<ArmId> {
        self.lanes.first().map(|(arm, _)| *arm)
    }

    /// How many arms there are.
    #[must_use]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The lane of an arm.
    pub(crate) fn lane(&self, arm: ArmId) -> Option<usize> {
        self.lanes.iter().position(|(other, _)| *other == arm)
    }

    /// Whether a request lets the arms come back.
    pub(crate) fn resets(&self, request: &dyn weir_sdk::RequestView) -> bool {
        self.rollback
            .as_ref()
            .and_then(|rollback| rollback.reset.as_ref())
            .is_some_and(|reset| reset.is_match(request))
    }

    /// Under which key all workers share their knowledge: another one for each configuration, so that streams that began under the one before
    /// it cannot disturb it.
    #[must_use]
    pub(crate) fn key(&self, plugin: &str, prefix: &str) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        if let Some(rollback) = &self.rollback {
            for number in &rollback.rules.numbers() {
                hash = hashed(hash, &number.to_le_bytes());
            }
            hash = hashed(hash, rollback.generation.as_bytes());
        }
        for (_, name) in &self.lanes {
            hash = hashed(hash, name.as_bytes());
        }
        ["weir.canary.rollback.1.", plugin, ".", prefix, ".", &self.label, ".", &hash.to_string()].concat()
    }

    /// Why requests of an arm go to the stable one, for explanations and the log.
    #[must_use]
    pub(crate) fn reason(&self, lane: usize, rolled: &Rolled) -> String {
        report::reason(&self.label, self.name(lane), rolled)
    }

    /// That an arm gets its requests again, for the log.
    #[must_use]
    pub(crate) fn back(&self, lane: usize) -> String {
        [&self.label, ", ", self.name(lane), " is back"].concat()
    }

    /// What the webhook is told.
    #[must_use]
    pub(crate) fn report(&self, plugin: &str, lane: usize, rolled: &Rolled, unix_ms: u64) -> String {
        report::json(
            &[("plugin", plugin), ("rule", &self.label), ("arm", self.name(lane)), ("stable", self.name(0))],
            rolled,
            unix_ms,
        )
    }

    fn name(&self, lane: usize) -> &str {
        self.lanes.get(lane).map(|(_, name)| &**name).unwrap_or_default()
    }
}

/// FNV-1a (Fowler, Noll, Vo; 64 bits) of one more part; its length tells where it ends.
#[inline(never)]
fn hashed(mut hash: u64, part: &[u8]) -> u64 {
    for bytes in [part, &part.len().to_le_bytes()] {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}
