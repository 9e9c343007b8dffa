//! Which arm a request goes to, and how that is carried. Pure: the request, the clock and the dice are arguments.

use std::rc::Rc;
use std::time::SystemTime;

use weir_sdk::signed::Secret;
use weir_sdk::{
    At, Bytes, CalloutReply, ConfigError, Decision, Draw, Explanation, LocalReply, Mutation, Override,
    PerRoute, Problems, RequestView,
};

use crate::config::{Config, Rule as RuleConfig};
use arms::{ArmId, Arms};
use carry::Carry;
use follow::Follow;
use guard::zero_error::Kept;
use guard::{Guard, Watch};
use rule::Rule;
use signature::Signature;

mod arms;
mod carry;
mod cookie;
mod follow;
pub(crate) mod guard;
mod names;
mod ramp;
mod rule;
mod schedule;
mod signature;
mod sticky;
#[cfg(test)]
mod tests;

/// What a decision may ask for: each is asked at most once, and only when the decision needs it.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The request.
    pub request: &'a dyn RequestView,
    /// The clock.
    pub now: &'a dyn Fn() -> SystemTime,
    /// 64 random bits.
    pub random: &'a dyn Fn() -> u64,
    /// Why an arm is rolled back, where it is. Asked for each request that a guard watches.
    pub rolled_back: &'a dyn Fn(Watch) -> Option<Rc<str>>,
}

/// A compiled [`Config`].
#[derive(Clone, Debug)]
pub struct Policy {
    arms: Arms,
    rules: RuleSet,
    policies: Vec<(String, RuleSet)>,
    follow: Option<Follow>,
    signature: Option<Signature>,
    per_route: Option<PerRoute>,
    carry: Carry,
    guards: Vec<Rc<Guard>>,
    dry_run: bool,
    stat_prefix: String,
    texts: Texts,
}

#[derive(Clone, Debug)]
struct RuleSet {
    rules: Vec<Rule>,
    default_arm: Option<ArmId>,
}

#[derive(Clone, Debug)]
struct Texts {
    disabled: Rc<str>,
    route: Rc<str>,
    default: Rc<str>,
    nothing: Rc<str>,
}

/// What a stream remembers for its response, and what is to be counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    arm: Option<ArmId>,
    set_cookie: Option<Bytes>,
    set_arm_cookie: bool,
    /// The request is watched.
    pub watch: Option<Watch>,
    /// Indexes into [`Policy::counters`].
    pub counts: [Option<usize>; 2],
}

/// An arm and why.
#[derive(Debug)]
struct Choice<'a> {
    arm: Option<ArmId>,
    why: &'a Rc<str>,
    /// In place of `why`: the arm is another than was chosen.
    rolled_back: Option<Rc<str>>,
    draw: Option<Draw>,
    set_cookie: Option<Bytes>,
    cause: Option<Cause>,
    watch: Option<Watch>,
}

/// What is counted beside the arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Forced,
    KeyMissing,
    Followed,
    Route,
    RouteInvalid,
    RolledBack,
}

/// In the order of [`Cause`].
const CAUSES: [&str; 6] = ["forced", "key_missing", "followed", "route", "route_invalid", "rolled_back"];

impl<'a> Choice<'a> {
    fn set(&mut self, arm: Option<ArmId>, why: &'a Rc<str>) {
        self.arm = arm;
        self.why = why;
    }
}

/// A text in parts, made at configure.
#[inline(never)]
fn text(parts: &[&str]) -> Rc<str> {
    parts.concat().into()
}

impl TryFrom<Config> for Policy {
    type Error = ConfigError;

    /// With secrets that stand in the configuration itself.
    fn try_from(config: Config) -> Result<Self, ConfigError> {
        Self::compile(&config, &Secret::inline)
    }
}

impl Policy {
    /// Checks and compiles a configuration. `find` looks secrets up.
    ///
    /// # Errors
    /// What means nothing, all of it, each by its path.
    pub fn compile(config: &Config, find: &dyn Fn(&Secret) -> Option<Vec<u8>>) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let mut arms = Arms::listed(config, &mut problems);
        let mut guards = Vec::new();
        let default_arm = config.default_arm.as_deref();
        let rules =
            RuleSet::compile(&At::ROOT, &config.rules, default_arm, &mut arms, &mut guards, &mut problems);
        let mut policies: Vec<(String, RuleSet)> = Vec::new();
        for (index, named) in config.policies.iter().enumerate() {
            let at = At::ROOT.item("policies", index);
            if policies.iter().any(|(name, _)| *name == named.name) {
                let reason = ["`", &named.name, "` is there already; expected another name"].concat();
                problems.add(at.field("name"), reason);
            }
            let default_arm = named.default_arm.as_deref();
            let set = RuleSet::compile(&at, &named.rules, default_arm, &mut arms, &mut guards, &mut problems);
            policies.push((named.name.clone(), set));
        }
        if config.rules.is_empty() && default_arm.is_none() && config.policies.is_empty() {
            problems.add(
                "rules",
                "expected at least one rule, or a `default_arm`; otherwise this filter does nothing",
            );
        }
        if !config.policies.is_empty() && config.per_route.is_none() {
            problems.add("per_route", "is missing: without it no route can choose one of `policies`");
        }
        if let Err(reason) = names::stat_prefix(&config.stat_prefix) {
            problems.add("stat_prefix", reason);
        }
        let follow = config.follow.as_ref().and_then(|follow| Follow::compile(follow, &mut problems));
        let signature = config.signature.as_ref();
        if config.follow.as_ref().is_some_and(|follow| follow.signed) && signature.is_none() {
            problems.add("follow.signed", "needs `signature`: by which secret?");
        }
        let signature = signature.and_then(|signature| Signature::compile(signature, find, &mut problems));
        let per_route = config
            .per_route
            .as_ref()
            .map(|per_route| PerRoute::compile(&per_route.namespace, "weir.canary", &mut problems));
        let mut sets = vec![&rules];
        for (_, set) in &policies {
            sets.push(set);
        }
        let carry = Carry::compile(config, &arms, &sets, &mut problems);
        problems.finish()?;
        Ok(Self {
            arms,
            rules,
            policies,
            follow,
            signature,
            per_route,
            carry,
            guards,
            dry_run: config.dry_run,
            stat_prefix: config.stat_prefix.clone(),
            texts: Texts {
                disabled: "disabled by the route".into(),
                route: "the route's metadata".into(),
                default: "no rule matched, default".into(),
                nothing: "no rule matched".into(),
            },
        })
    }

    /// Names of all counters; [`Chosen::counts`] are places in it. First the arms, then no arm, then the causes; then the same for dry runs.
    #[must_use]
    pub fn counters(&self) -> Vec<String> {
        let mut names = Vec::new();
        for &dry in &["", ".dry_run"] {
            let mut name =
                |part: &str, last: &str| names.push([self.stat_prefix.as_str(), dry, part, last].concat());
            for arm in self.arms.all() {
                name(".arm.", &arm.name);
            }
            name(".no_arm", "");
            for cause in &CAUSES {
                name(".", cause);
            }
        }
        names
    }

    /// Decides a request.
    pub fn on_request(&self, inputs: &Inputs<'_>) -> (Decision, Chosen) {
        let route =
            self.per_route.as_ref().map(|per_route| per_route.read(inputs.request)).unwrap_or_default();
        if route.disabled {
            let decision =
                Decision { explanation: Some(Explanation::of(&self.texts.disabled)), ..Decision::next() };
            return (decision, Chosen::default());
        }
        let dry_run = route.dry_run.unwrap_or(self.dry_run);
        let choice = self.choose(inputs, &route);
        let counts = self.counts(&choice, dry_run);
        let Choice { arm, why, rolled_back, draw, set_cookie, watch, .. } = choice;
        let explanation = Some(Explanation {
            text: rolled_back.unwrap_or_else(|| why.clone()),
            choice: self.arms.name(arm).cloned(),
            draw_ppm: draw.map(Draw::ppm),
        });
        if dry_run {
            return (Decision { explanation, ..Decision::next() }, Chosen { counts, ..Chosen::default() });
        }
        let set_arm_cookie = self.carry.needs_arm_cookie(arm, inputs.request);
        let mutations = self.carried(arm, inputs.request, inputs.now);
        let chosen = Chosen { arm, set_cookie, set_arm_cookie, watch, counts };
        (Decision { mutations, explanation, ..Decision::next() }, chosen)
    }

    /// What the response to a request gets.
    pub fn on_response(&self, chosen: &Chosen) -> Decision {
        let mutations = self.carry.response(chosen.arm, chosen.set_cookie.as_ref(), chosen.set_arm_cookie);
        Decision { mutations, ..Decision::next() }
    }

    /// What watches over arms, in the order of [`Watch::guard`].
    pub(crate) fn guards(&self) -> &[Rc<Guard>] {
        &self.guards
    }

    /// First part of the names of all metrics.
    pub(crate) fn prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// Keeps a request of an arm that may fail, as the stable arm would get it.
    pub(crate) fn keep(
        &self,
        watch: Watch,
        request: &dyn RequestView,
        now: &dyn Fn() -> SystemTime,
        complete: bool,
    ) -> Option<Kept> {
        let guard = self.guards.get(watch.guard).filter(|_| watch.lane > 0)?;
        let zero_error = guard.zero_error.as_ref()?;
        let stable = self.carried(guard.stable(), request, now);
        zero_error.keep(request, &stable, complete)
    }

    /// The answer of the stable arm to a request that another has failed; nothing where it has failed, too.
    pub(crate) fn make_good(&self, chosen: &Chosen, reply: CalloutReply) -> Option<LocalReply> {
        let guard = self.guards.get(chosen.watch?.guard)?;
        let response = self.carry.response(guard.stable(), chosen.set_cookie.as_ref(), false);
        guard.zero_error.as_ref()?.answer(&guard.judge, reply, &response)
    }

    /// Changes of the request.
    fn carried(
        &self,
        arm: Option<ArmId>,
        request: &dyn RequestView,
        now: &dyn Fn() -> SystemTime,
    ) -> Vec<Mutation> {
        let mut mutations = self.carry.request(arm, request, &self.arms);
        if let Some(signature) = &self.signature {
            mutations.push(signature.sign(self.arms.name(arm).map(|name| &**name), now()));
        }
        mutations
    }

    /// The arm that is followed.
    fn followed(&self, inputs: &Inputs<'_>) -> Option<(ArmId, &Rc<str>)> {
        let follow = self.follow.as_ref()?;
        let (arm, why) = follow.arm(inputs.request, &self.arms)?;
        let holds = |name: &str| {
            let signature = self.signature.as_ref();
            signature.is_some_and(|signature| signature.holds(name, inputs.request, (inputs.now)()))
        };
        (!follow.signed || holds(self.arms.name(Some(arm))?)).then_some((arm, why))
    }

    fn choose(&self, inputs: &Inputs<'_>, route: &Override) -> Choice<'_> {
        let mut choice = Choice {
            arm: None,
            why: &self.texts.nothing,
            rolled_back: None,
            draw: None,
            set_cookie: None,
            cause: None,
            watch: None,
        };
        let said = route.get("arm");
        if let Some(arm) = said.and_then(|arm| self.arms.of_value(arm)) {
            choice.set(Some(arm), &self.texts.route);
            choice.cause = Some(Cause::Route);
            return choice;
        }
        if let Some((arm, why)) = self.followed(inputs) {
            choice.set(Some(arm), why);
            choice.cause = Some(Cause::Followed);
            return choice;
        }
        let mut set = &self.rules;
        let mut invalid = said.is_some();
        if let Some(policy) = &route.policy {
            match self.policies.iter().find(|(name, _)| name.as_bytes() == policy.as_slice()) {
                Some((_, named)) => set = named,
                None => invalid = true,
            }
        }
        match set.rules.iter().find(|rule| rule.is_match(inputs)) {
            Some(rule) => rule.choose(inputs, &self.arms, &mut choice),
            None if set.default_arm.is_some() => choice.set(set.default_arm, &self.texts.default),
            None => {}
        }
        if invalid {
            choice.cause = Some(Cause::RouteInvalid);
        }
        choice
    }

    fn counts(&self, choice: &Choice<'_>, dry_run: bool) -> [Option<usize>; 2] {
        let arms = self.arms.all().len();
        let half = arms.saturating_add(1).saturating_add(CAUSES.len());
        let base = if dry_run { half } else { 0 };
        let arm = choice.arm.map_or(arms, ArmId::index);
        let cause = choice.cause.map(|cause| arms.saturating_add(1).saturating_add(cause as usize));
        [Some(base.saturating_add(arm)), cause.map(|cause| base.saturating_add(cause))]
    }
}

impl RuleSet {
    fn compile(
        at: &At<'_>,
        rules: &[RuleConfig],
        default_arm: Option<&str>,
        arms: &mut Arms,
        guards: &mut Vec<Rc<Guard>>,
        problems: &mut Problems,
    ) -> Self {
        let mut compiled = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            if let Some(rule) = Rule::compile(&at.item("rules", index), rule, arms, guards, problems) {
                compiled.push(rule);
            }
        }
        let default_arm = default_arm.and_then(|arm| arms.named(&at.field("default_arm"), arm, problems));
        Self { rules: compiled, default_arm }
    }
}
