//! Which circuit a request belongs to, whether it is let through, and what its end says. Pure: the shared state, the clock and the dice are
//! arguments.

use std::time::Duration;

use weir_sdk::{
    At, Attributes, Bytes, ConfigError, Decision, Flow, Key, PerRoute, Problems, RequestMatcher, RequestView,
    names,
};

use weir_sdk::outcome::ErrorsAre;

use crate::config::{self, Class, Config, Force, NamedPolicy, Scope};
use answer::{Answer, Export};
use outcome::Judge;

mod adapt;
mod answer;
mod bytes;
mod circuit;
mod head;
mod machine;
mod outcome;
mod rules;
#[cfg(test)]
mod tests;
mod texts;
mod weigh;
mod window;

pub use circuit::State;
pub(crate) use circuit::{Circuit, Head, short_key};
pub(crate) use machine::{Admission, Call, End, Recorded, Refusal, Steps, Ticket, Why};
pub use machine::{Outcome, Transition};
use rules::Place;
pub use rules::Reason;
pub(crate) use rules::Rules;
use texts::Text;
pub(crate) use texts::describe;
pub use window::Tally;

/// Between two looks for room: a call that ends in another worker wakes nobody here.
const POLL: Duration = Duration::from_millis(10);

/// A compiled [`Config`].
#[derive(Clone, Debug)]
pub struct Policy {
    /// The first is the one without a name.
    sets: Vec<Set>,
    scope: Scope,
    keys: Vec<Key>,
    matches: Option<RequestMatcher>,
    classes: Vec<(RequestMatcher, u32)>,
    per_route: Option<PerRoute>,
    export: Export,
    dry_run: bool,
    texts: texts::Texts,
}

/// One set of settings.
#[derive(Clone, Debug)]
struct Set {
    name: String,
    rules: Rules,
    judge: Judge,
    answer: Answer,
    force: Option<Force>,
}

/// What a request asks of the circuits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Nothing: it passes and is not counted.
    None(Unasked),
    /// To be let through by the circuit of this key.
    Circuit { set: usize, key: Vec<u8>, dry_run: bool, wrong_policy: bool },
    /// Nothing, as all circuits are held.
    Forced { set: usize, force: Force, dry_run: bool, wrong_policy: bool },
}

/// Why a request has no circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// The route says so.
    Disabled,
    /// `match` is not true.
    NotMatched,
    /// It has no cluster, or a route without a name.
    NoKey,
}

impl TryFrom<Config> for Policy {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let first = Written {
            name: "",
            open_when: config.open_when.as_ref(),
            errors_are: config.errors_are.as_ref(),
            open: config.open.as_ref(),
            probes: config.probes.as_ref(),
            recovery: config.recovery.as_ref(),
            concurrency: config.concurrency.as_ref(),
            shed: config.shed.as_ref(),
            reply: config.reply.as_ref(),
            fallback: config.fallback.as_ref(),
            force: config.force,
        };
        let mut sets = vec![Set::compile(&At::ROOT, &first, &mut problems)];
        for (index, named) in config.policies.iter().enumerate() {
            let at = At::ROOT.item("policies", index);
            if let Err(reason) = names::plain("a policy", &named.name, 32) {
                problems.add(at.field("name"), reason);
            }
            if sets.iter().any(|set| set.name == named.name) && !named.name.is_empty() {
                let reason = ["`", &named.name, "` is there already; expected another name"].concat();
                problems.add(at.field("name"), reason);
            }
            sets.push(Set::compile(&at, &first.under(named), &mut problems));
        }
        if !config.policies.is_empty() && config.per_route.is_none() {
            problems.add("per_route", "is missing: without it no route can choose one of `policies`");
        }
        let mut keys = Vec::new();
        for (index, key) in config.key.iter().enumerate() {
            keys.extend(Key::compile(&At::ROOT.item("key", index), key, &mut problems));
        }
        Place { at: &At::ROOT, problems: &mut problems }.range("max_keys", config.max_keys, 1, 4096);
        if config.refresh.0 > std::time::Duration::from_secs(10) {
            problems.add("refresh", format!("expected at most 10s, found {}", config.refresh));
        }
        if let Err(reason) = names::stat_prefix(&config.stat_prefix) {
            problems.add("stat_prefix", reason);
        }
        let matches = config.matches.as_ref().map(RequestMatcher::try_from);
        let matches = matches.and_then(|matches| problems.take("match", matches));
        let classes = classes(&config.classes, &mut problems);
        let per_route = config
            .per_route
            .as_ref()
            .map(|per_route| PerRoute::compile(&per_route.namespace, "weir.circuit_breaker", &mut problems));
        let export = Export::compile(config.export.as_ref(), &mut problems);
        let (scope, dry_run) = (config.scope, config.dry_run);
        let texts = texts::Texts::new();
        let policy = Self { sets, scope, keys, matches, classes, per_route, export, dry_run, texts };
        problems.finish().map(|()| policy)
    }
}

fn classes(written: &[Class], problems: &mut Problems) -> Vec<(RequestMatcher, u32)> {
    if written.len() > 16 {
        problems.add("classes", format!("expected at most 16, found {}", written.len()));
    }
    let mut compiled = Vec::new();
    for (index, Class { matches, share }) in written.iter().enumerate() {
        let at = At::ROOT.item("classes", index);
        let share_ppm = rules::ppm(*share);
        if share_ppm == 0 {
            problems.add(at.field("share"), "expected more than 0");
        }
        let matches = problems.take(at.field("match"), RequestMatcher::try_from(matches));
        compiled.push((matches.unwrap_or_default(), share_ppm));
    }
    compiled
}

/// The settings of a set of circuits, wherever each is written.
#[derive(Clone, Copy, Debug, Default)]
struct Written<'a> {
    name: &'a str,
    open_when: Option<&'a config::OpenWhen>,
    errors_are: Option<&'a ErrorsAre>,
    open: Option<&'a config::Open>,
    probes: Option<&'a config::Probes>,
    recovery: Option<&'a config::Recovery>,
    concurrency: Option<&'a config::Concurrency>,
    shed: Option<&'a config::Shed>,
    reply: Option<&'a config::Reply>,
    fallback: Option<&'a config::Fallback>,
    force: Option<Force>,
}

impl<'a> Written<'a> {
    /// What a named policy does not give is as here.
    fn under(&self, named: &'a NamedPolicy) -> Self {
        Self {
            name: &named.name,
            open_when: named.open_when.as_ref().or(self.open_when),
            errors_are: named.errors_are.as_ref().or(self.errors_are),
            open: named.open.as_ref().or(self.open),
            probes: named.probes.as_ref().or(self.probes),
            recovery: named.recovery.as_ref().or(self.recovery),
            concurrency: named.concurrency.as_ref().or(self.concurrency),
            shed: named.shed.as_ref().or(self.shed),
            reply: named.reply.as_ref().or(self.reply),
            fallback: named.fallback.as_ref().or(self.fallback),
            force: named.force.or(self.force),
        }
    }
}

impl Set {
    fn compile(at: &At<'_>, written: &Written<'_>, problems: &mut Problems) -> Self {
        let rules = Rules::compile(at, written, problems);
        let default = ErrorsAre::default();
        let errors_are = written.errors_are.unwrap_or(&default);
        let judge = Judge::compile(at, errors_are, rules.slow_ns, problems);
        let answer = Answer::compile(at, written, problems);
        Self { name: written.name.to_owned(), rules, judge, answer, force: written.force }
    }
}

impl Policy {
    /// What a request asks of the circuits.
    pub(crate) fn subject(&self, request: &dyn RequestView) -> Subject {
        let route = self.per_route.as_ref().map(|per_route| per_route.read(request)).unwrap_or_default();
        if route.disabled {
            return Subject::None(Unasked::Disabled);
        }
        if self.matches.as_ref().is_some_and(|matches| !matches.is_match(request)) {
            return Subject::None(Unasked::NotMatched);
        }
        let dry_run = route.dry_run.unwrap_or(self.dry_run);
        let named = route.policy.as_deref().filter(|name| !name.is_empty());
        let found = named.map(|name| self.sets.iter().position(|set| set.name.as_bytes() == name));
        let wrong_policy = found == Some(None);
        let set = found.flatten().unwrap_or(0);
        if let Some(force) = self.sets.get(set).and_then(|set| set.force) {
            return Subject::Forced { set, force, dry_run, wrong_policy };
        }
        match self.key(set, request) {
            Some(key) => Subject::Circuit { set, key, dry_run, wrong_policy },
            None => Subject::None(Unasked::NoKey),
        }
    }

    /// The parts one after another, each behind a NUL, which no part of Envoy's has.
    fn key(&self, set: usize, request: &dyn RequestView) -> Option<Vec<u8>> {
        let mut key = self.sets.get(set)?.name.clone().into_bytes();
        let attribute = match self.scope {
            Scope::Plugin => None,
            Scope::Cluster => Some("cluster_name"),
            Scope::Route => Some("route_name"),
        };
        if let Some(attribute) = attribute {
            let name = request.attribute_str(&["xds", attribute]).filter(|name| !name.is_empty())?;
            key.push(0);
            key.extend(name);
        }
        for part in &self.keys {
            key.push(0);
            key.extend_from_slice(&part.of(request).unwrap_or_default());
        }
        // An empty key is nobody's.
        key.push(0);
        Some(short_key(&key))
    }

    pub(crate) fn rules(&self, set: usize) -> Option<&Rules> {
        self.sets.get(set).map(|set| &set.rules)
    }

    /// Every set's: how long an unused circuit keeps its place.
    pub(crate) fn idle_ns(&self) -> u64 {
        self.sets.iter().map(|set| set.rules.idle_ns()).max().unwrap_or(0)
    }

    /// Whether this request may be a probe wherever only safe ones may.
    pub(crate) fn is_safe(&self, set: usize, request: &dyn RequestView) -> bool {
        let asked = self.sets.get(set).is_some_and(|set| set.rules.probes.safe_only);
        !asked || matches!(request.method(), Some(b"GET" | b"HEAD" | b"OPTIONS"))
    }

    /// The share of the room that the request's class may use, in parts of a million.
    pub(crate) fn share_ppm(&self, request: &dyn RequestView) -> u32 {
        let class = self.classes.iter().find(|(matches, _)| matches.is_match(request));
        class.map_or(rules::MILLION, |(_, share_ppm)| *share_ppm)
    }

    /// Whether the request's gRPC-ness matters to its end.
    pub(crate) fn is_grpc(&self, set: usize, request: &dyn RequestView) -> bool {
        self.sets.get(set).is_some_and(|set| set.judge.asks_grpc()) && request.is_grpc()
    }

    /// What the end of a call says.
    pub(crate) fn outcome(
        &self,
        set: usize,
        ended: &dyn Attributes,
        is_grpc: bool,
        whole_ns: u64,
    ) -> Outcome {
        self.sets.get(set).map_or(Outcome::Ignored, |set| set.judge.outcome(ended, is_grpc, whole_ns))
    }

    /// How long the upstream took, where it matters.
    pub(crate) fn time_ns(&self, set: usize, ended: &dyn Attributes, whole_ns: u64) -> u64 {
        let asked = self.sets.get(set).is_some_and(|set| set.rules.asks_times());
        if asked { outcome::time_ns(ended, whole_ns) } else { 0 }
    }

    /// Whether a refused request is sent elsewhere.
    pub(crate) fn has_fallback(&self, set: usize) -> bool {
        self.sets.get(set).is_some_and(|set| set.answer.is_fallback())
    }

    /// A request that goes on, with nothing of the client's in the header that is this filter's.
    pub(crate) fn cleaned(&self, request: &dyn RequestView) -> Decision {
        match &self.export.request {
            Some(name) if request.get(name).is_some() => Decision::next().remove(name.clone()),
            _ => Decision::next(),
        }
    }

    /// A request that brings the header of a fallback: it has a circuit no more, since the route that Envoy has chosen by it is not the one that
    /// it would have without.
    pub(crate) fn asks_for_fallback(&self, request: &dyn RequestView) -> Option<Decision> {
        if self.dry_run {
            return None;
        }
        let brings =
            |set: &&Set| set.answer.fallback_header().is_some_and(|name| request.get(name).is_some());
        let set = self.sets.iter().find(brings)?;
        let mut decision = self.cleaned(request);
        decision.mutations.extend_from_slice(set.answer.fallback());
        Some(decision.because(self.texts.of(Text::Asked)))
    }

    /// A request that has no circuit.
    pub(crate) fn unasked(&self, why: Unasked, request: &dyn RequestView) -> Decision {
        let decision = if why == Unasked::Disabled { Decision::next() } else { self.cleaned(request) };
        decision.because(self.texts.unasked(why))
    }

    /// A request whose circuit could not be asked, or has no room.
    pub(crate) fn untracked(&self, cleaned: Decision) -> Decision {
        cleaned.because(self.texts.of(Text::NoRoom))
    }

    /// A request that all circuits let through because they are held closed.
    pub(crate) fn held_closed(&self, request: &dyn RequestView) -> Decision {
        self.cleaned(request).explained(self.texts.forced(Force::Closed))
    }

    /// A request that waits for room among those under way.
    pub(crate) fn waits(&self, cleaned: Decision) -> Decision {
        Decision { flow: Flow::Wait(POLL), ..cleaned }.explained(self.texts.waits())
    }

    /// There is none yet.
    pub(crate) fn waits_on(&self) -> Decision {
        Decision::wait(POLL)
    }

    /// A request that is let through; `cleaned`: what was decided for it already.
    pub(crate) fn passed(&self, ticket: &Ticket, cleaned: Decision) -> Decision {
        let mut decision = cleaned;
        if let (Some(name), false) = (&self.export.request, ticket.state == State::Closed) {
            decision = decision.set(name.clone(), ticket.state.name());
        }
        decision.explained(self.texts.passed(ticket))
    }

    /// A request that is not let through, by a circuit or because all are held open.
    pub(crate) fn refused(
        &self,
        set: usize,
        refusal: Option<&Refusal>,
        dry_run: bool,
        cleaned: Decision,
    ) -> Decision {
        let Some(settings) = self.sets.get(set) else {
            return Decision::next();
        };
        let explanation = match refusal {
            Some(refusal) => self.texts.refused(refusal.why, dry_run, settings.answer.is_fallback()),
            None => self.texts.forced(Force::Open),
        };
        let held = Refusal { why: Why::Open, retry_ns: 0 };
        let decision = match dry_run {
            true => cleaned,
            false => settings.answer.refuse(refusal.unwrap_or(&held), &self.export),
        };
        decision.explained(explanation)
    }

    /// What the caller is told of a request that went on although its circuit is not closed.
    pub(crate) fn told(&self, why: Result<State, &Refusal>) -> Option<Bytes> {
        self.export.response.as_ref()?;
        match why {
            Ok(State::Closed) => None,
            Ok(state) => Some(state.name().into()),
            Err(refusal) => Some(answer::said(refusal.why, answer::whole_seconds(refusal.retry_ns))),
        }
    }

    /// The response of such a request.
    pub(crate) fn on_response(&self, told: Option<Bytes>) -> Decision {
        match (&self.export.response, told) {
            (Some(name), Some(told)) => Decision::next().set(name.clone(), told),
            _ => Decision::next(),
        }
    }
}
