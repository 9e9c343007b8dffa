//! What happens to which stream, and when. Pure: the request, the clock, the dice and what workers share are arguments.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use weir_sdk::signed::Secret;
use weir_sdk::{At, ConfigError, Decision, Mutation, PerRoute, Problems, RequestView, names};

use crate::config::{Config, Expires, Fault};
use callers::Signature;
use rule::{Drawn, Passed, Rule};

mod blast_radius;
mod body;
mod callers;
mod change;
mod count;
mod delay;
mod dice;
mod end;
mod gate;
mod json;
mod numbers;
mod response;
mod rule;
mod schedule;
mod stream;
#[cfg(test)]
mod tests;
mod why;

pub use blast_radius::{BlastRadius, Totals, Watch};
pub use body::Part;
pub use count::{Count, Counts};
pub use stream::Stream;
pub(crate) use stream::WRITTEN;
pub use why::Why;

/// One step of a state that all workers share: the new state, and whether the request is taken.
pub type Next<'a> = &'a mut dyn FnMut(Option<&[u8]>) -> (Vec<u8>, bool);

/// What a decision may ask for: each is asked only when the decision needs it.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The request.
    pub request: &'a dyn RequestView,
    /// Whether the request has more than headers.
    pub has_body: bool,
    /// The clock.
    pub now: &'a dyn Fn() -> SystemTime,
    /// 64 random bits.
    pub random: &'a dyn Fn() -> u64,
    /// Whether all faults are stopped, because the service has errors of its own.
    pub stopped: &'a dyn Fn() -> bool,
    /// Steps the shared state of a fault (its name, the number of a part of it); `None` when it could not be changed.
    pub step: &'a dyn Fn(&str, u32, Next<'_>) -> Option<bool>,
    /// Counts one more stream with a fault, where there are fewer than that; tells whether it did.
    pub enter: &'a dyn Fn(Option<u64>) -> bool,
}

/// What stands beside a configuration when it is made a policy.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The time.
    pub now: SystemTime,
    /// The bytes of a secret; `None` when there are none.
    pub secret: &'a dyn Fn(&Secret) -> Option<Vec<u8>>,
}

/// What a callback comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// What happens to the stream.
    pub decision: Decision,
    /// What is to be counted.
    pub counts: Counts,
    /// Why, where a reader would ask.
    pub why: Option<Why>,
}

/// A compiled [`Config`].
#[derive(Clone, Debug)]
pub struct Policy {
    faults: Vec<Rc<Rule>>,
    policies: Vec<(String, Vec<Rc<Rule>>)>,
    pub(crate) max_active: Option<u64>,
    blast_radius: Option<BlastRadius>,
    expires: Option<SystemTime>,
    seeded: bool,
    signature: Option<Signature>,
    /// Removed from every request, unless this filter sets it: what only this filter may say to Envoy's own behind it.
    owned: Vec<Rc<str>>,
    per_route: Option<PerRoute>,
    dry_run: bool,
    stat_prefix: String,
    texts: Texts,
}

/// How many signatures are remembered.
const SIGNATURES: u32 = 8192;

#[derive(Clone, Debug)]
struct Texts {
    all: Rc<str>,
    disabled: Rc<str>,
    expired: Rc<str>,
    stopped: Rc<str>,
    unsigned: Rc<str>,
    overflow: Rc<str>,
}

impl Policy {
    /// Checks and compiles a configuration.
    ///
    /// # Errors
    /// Everything that means nothing, by its path.
    pub fn compile(config: &Config, setup: Setup<'_>) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let seed = config.seed.as_deref();
        let longest = delay::longest(config.stream_idle_timeout.0);
        let faults = compile(&At::ROOT, &config.faults, seed, longest, &mut problems);
        let mut policies: Vec<(String, Vec<Rc<Rule>>)> = Vec::new();
        for (index, named) in config.policies.iter().enumerate() {
            let at = At::ROOT.item("policies", index);
            if policies.iter().any(|(name, _)| *name == named.name) {
                let reason = ["`", &named.name, "` is there already; expected another name"].concat();
                problems.add(at.field("name"), reason);
            }
            policies.push((named.name.clone(), compile(&at, &named.faults, seed, longest, &mut problems)));
        }
        if config.faults.is_empty() && config.policies.is_empty() {
            problems.add(
                "faults",
                "expected at least one, such as `{delay: 7s}`; otherwise this filter does nothing",
            );
        }
        if !config.policies.is_empty() && config.per_route.is_none() {
            problems.add("per_route", "is missing: without it no route can choose one of `policies`");
        }
        let mut seen = Vec::new();
        unique_names(&At::ROOT, &config.faults, &mut seen, &mut problems);
        for (index, policy) in config.policies.iter().enumerate() {
            unique_names(&At::ROOT.item("policies", index), &policy.faults, &mut seen, &mut problems);
        }
        if let Err(reason) = names::stat_prefix(&config.stat_prefix) {
            problems.add("stat_prefix", reason);
        }
        let blast_radius = config
            .blast_radius
            .as_ref()
            .map(|config| BlastRadius::compile(&At::of("blast_radius"), config, &mut problems));
        let signature = config
            .signature
            .as_ref()
            .and_then(|config| Signature::compile(&At::of("signature"), config, setup.secret, &mut problems));
        let per_route = config
            .per_route
            .as_ref()
            .map(|per_route| PerRoute::compile(&per_route.namespace, "weir.fault", &mut problems));
        let (mut asks_callers, mut has_limit) = (false, false);
        let mut note = |rules: &[Rc<Rule>]| {
            for rule in rules {
                asks_callers |= rule.asks_callers();
                has_limit |= rule.has_limit();
            }
        };
        note(&faults);
        policies.iter().for_each(|(_, rules)| note(rules));
        if config.signature.is_some() && problems.is_empty() && !asks_callers {
            problems.add(
                "signature",
                "is for `header_delay`, `header_abort` and `header_limit`, of which there is none",
            );
        }
        let mut owned: Vec<Rc<str>> = Vec::new();
        if let Some(signature) = &signature {
            owned.push(Rc::clone(&signature.header));
        }
        if has_limit {
            owned.push(callers::THROUGHPUT.into());
            owned.push(callers::THROUGHPUT_PERCENTAGE.into());
        }
        problems.finish()?;
        Ok(Self {
            faults,
            policies,
            max_active: config.max_active_faults,
            blast_radius,
            expires: config.expires.and_then(|expires| match expires {
                Expires::At(time) => Some(time.0),
                Expires::After(time) => setup.now.checked_add(time.0),
            }),
            seeded: seed.is_some(),
            signature,
            owned,
            per_route,
            dry_run: config.dry_run,
            stat_prefix: config.stat_prefix.clone(),
            texts: Texts {
                all: "all faults".into(),
                disabled: "disabled by the route".into(),
                expired: "expired".into(),
                stopped: "stopped, as the service has errors of its own".into(),
                unsigned: "the caller's headers are not signed".into(),
                overflow: "too many faults at once".into(),
            },
        })
    }

    /// Names of all counters; [`Counts::places`] are places in it.
    #[must_use]
    pub fn counters(&self) -> Vec<String> {
        let mut names = Vec::new();
        for &dry in &[".", ".dry_run."] {
            for &name in &count::NAMES {
                names.push([self.stat_prefix.as_str(), dry, name].concat());
            }
        }
        names
    }

    /// The first part of all names of metrics.
    #[must_use]
    pub fn stat_prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// What watches over the service.
    #[must_use]
    pub fn blast_radius(&self) -> Option<&BlastRadius> {
        self.blast_radius.as_ref()
    }

    /// How many streams may have a fault at once.
    #[must_use]
    pub fn max_active_faults(&self) -> Option<u64> {
        self.max_active
    }

    /// Decides a request.
    pub fn on_request(&self, stream: &mut Stream, inputs: &Inputs<'_>) -> Step {
        let route =
            self.per_route.as_ref().map(|per_route| per_route.read(inputs.request)).unwrap_or_default();
        let dry_run = route.dry_run.unwrap_or(self.dry_run);
        let mut step = Step { counts: Counts::new(dry_run), ..Step::default() };
        if !dry_run {
            for name in &self.owned {
                if inputs.request.get(name).is_some() {
                    step.decision.mutations.push(Mutation::Remove(Rc::clone(name)));
                }
            }
        }
        if route.disabled {
            step.why = Some(Why::passes(&self.texts.all, &self.texts.disabled));
            return step;
        }
        let mut rules = &self.faults;
        if let Some(policy) = &route.policy {
            match self.policies.iter().find(|(name, _)| name.as_bytes() == policy.as_slice()) {
                Some((_, named)) => rules = named,
                None => step.counts.add(Count::RouteInvalid),
            }
        }
        if self.expires.is_some_and(|expires| (inputs.now)() >= expires) {
            step.why = Some(Why::passes(&self.texts.all, &self.texts.expired));
            return step;
        }
        self.choose(rules, stream, inputs, dry_run, &mut step);
        step
    }

    /// Whether a signature that holds may be used: for the first time, where that counts. What cannot be remembered may not.
    fn is_unused(&self, signature: &Signature, inputs: &Inputs<'_>, now: SystemTime) -> bool {
        /// No fault's name has a slash.
        const NAME: &str = "signature/once";
        let Some(number) = signature.single(inputs.request) else {
            return true;
        };
        let (slot, now_ms) = (gate::slot(number, SIGNATURES), rule::since_1970_ms(now));
        let used = (inputs.step)(NAME, slot, &mut |state| {
            gate::once(state, number, now_ms, signature.max_validity.max(Duration::from_secs(1)))
        });
        used.unwrap_or(false)
    }

    fn choose(
        &self,
        rules: &[Rc<Rule>],
        stream: &mut Stream,
        inputs: &Inputs<'_>,
        dry_run: bool,
        step: &mut Step,
    ) {
        let unsigned = std::cell::Cell::new(false);
        // Asked by each fault, and used up once.
        let held = std::cell::Cell::new(None);
        let trusts = || match &self.signature {
            Some(signature) if Signature::is_asked(inputs.request) => {
                if let Some(holds) = held.get() {
                    return holds;
                }
                let now = (inputs.now)();
                let holds = signature.holds(inputs.request, now) && self.is_unused(signature, inputs, now);
                held.set(Some(holds));
                unsigned.set(!holds);
                holds
            }
            _ => true,
        };
        let key = || match self.seeded.then(|| inputs.request.get("x-request-id")).flatten() {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned((inputs.random)().to_le_bytes().to_vec()),
        };
        let mut drawn = Drawn::default();
        for rule in rules {
            match rule.take(inputs, &key, &trusts, &mut drawn) {
                Ok(()) => {
                    stream.begin(
                        rule,
                        drawn,
                        dry_run,
                        &|| (inputs.enter)(self.max_active),
                        &self.texts.overflow,
                        step,
                    );
                    break;
                }
                Err(Passed::On) => {}
                Err(Passed::Failed) => step.counts.add(Count::StateFailed),
                Err(Passed::Stopped) => {
                    step.counts.add(Count::Stopped);
                    step.why = Some(Why::passes(&rule.label, &self.texts.stopped));
                    break;
                }
            }
        }
        if unsigned.get() {
            step.counts.add(Count::SignatureInvalid);
            step.why = Some(Why::passes(&self.texts.all, &self.texts.unsigned));
        }
    }
}

fn compile(
    at: &At<'_>,
    faults: &[Fault],
    seed: Option<&str>,
    longest: Duration,
    problems: &mut Problems,
) -> Vec<Rc<Rule>> {
    let mut rules = Vec::with_capacity(faults.len());
    for (index, fault) in faults.iter().enumerate() {
        if let Some(rule) = Rule::compile(&at.item("faults", index), fault, seed, longest, problems) {
            rules.push(Rc::new(rule));
        }
    }
    rules
}

/// Names are keys of shared state, so no two faults may have one.
fn unique_names<'f>(at: &At<'_>, faults: &'f [Fault], seen: &mut Vec<&'f str>, problems: &mut Problems) {
    for (index, fault) in faults.iter().enumerate() {
        let Some(name) = fault.name.as_deref() else { continue };
        let at = at.item("faults", index);
        if let Err(reason) = names::plain("a fault", name, 64) {
            problems.add(at.field("name"), reason);
        } else if seen.contains(&name) {
            problems.add(at.field("name"), ["`", name, "` is there already; expected another name"].concat());
        }
        seen.push(name);
    }
}
