//! One fault: whom it takes, and what has been drawn for them.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_sdk::{At, Draw, FractionalPercent, Key, Mutation, Problems, RequestMatcher, RequestView, Salt};

use super::body::{Damaging, Length};
use super::change::Change;
use super::delay::{Delay, sum};
use super::dice::{Purpose, Salts, Share};
use super::end::{End, Ending};
use super::response::ResponseFault;
use super::schedule::{Level, Schedule};
use super::stream::content_length;
use super::{Inputs, callers, gate};
use crate::config;

/// A compiled [`config::Fault`].
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    matcher: RequestMatcher,
    upstream_cluster: Option<String>,
    downstream_nodes: Vec<String>,
    schedule: Option<Schedule>,
    selection: Selection,
    sticky: Option<Vec<Key>>,
    pub(crate) salts: Salts,
    limit: Option<Limit>,
    change: Option<Change>,
    delay: Option<Delay>,
    ending: Option<Ending>,
    pub(crate) response: Option<ResponseFault>,
    /// How it is called in explanations.
    pub(crate) label: Rc<str>,
    /// The key of its shared state.
    pub(crate) state_key: String,
}

#[derive(Clone, Debug)]
enum Selection {
    Share(Option<FractionalPercent>),
    Exactly { faults: u32, of: u32 },
    First { requests: u32, by: Vec<Key>, forget_after: Duration, max_keys: u32 },
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    /// None: the caller says.
    kbps: Option<u64>,
    share: Share,
}

/// Why a fault did not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It is not for it, or the selection passed it over.
    On,
    /// The faults are stopped.
    Stopped,
    /// The shared state could not be changed.
    Failed,
}

/// What has been drawn for a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) limit: Option<u64>,
    /// What is changed of the request, and how people call it.
    pub(crate) change: Option<(Vec<Mutation>, Rc<str>)>,
    /// What becomes of the request's body, where anything is to; nothing where this body cannot be changed so.
    pub(crate) body: Option<Option<(Damaging, Length)>>,
    pub(crate) delay: Option<Duration>,
    pub(crate) end: Option<(End, Rc<str>)>,
    /// The point that took it, where one was drawn.
    pub(crate) draw: Option<Draw>,
    /// What its dice are thrown by.
    pub(crate) key: Vec<u8>,
}

impl Rule {
    /// Checks and compiles the fault at `at`.
    pub(crate) fn compile(
        at: &At<'_>,
        fault: &config::Fault,
        seed: Option<&str>,
        longest: Duration,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let matcher = RequestMatcher::compile(&fault.matches, &at.field("match"), problems);
        let schedule = fault
            .schedule
            .as_ref()
            .and_then(|schedule| Schedule::compile(&at.field("schedule"), schedule, problems));
        let selection = selection(at, fault, problems);
        let sticky = fault.sticky.as_ref().map(|sticky| keys(&at.field("sticky.by"), &sticky.by, problems));
        if sticky.as_ref().is_some_and(Vec::is_empty) && problems.len() == before {
            problems.add(at.field("sticky.by"), "expected at least one key, such as `{header: end-user}`");
        }
        let limit = fault.response_rate_limit.as_ref().map(|limit| {
            let at = at.field("response_rate_limit");
            if limit.fixed_limit.is_some() == limit.header_limit.is_some() {
                problems.add(at, "expected exactly one of `fixed_limit` and `header_limit`");
            }
            if limit.fixed_limit.is_some_and(|limit| limit.limit_kbps == 0) {
                problems.add(at.field("fixed_limit.limit_kbps"), "expected at least 1");
            }
            let share = Share::of(limit.percentage);
            Limit { kbps: limit.fixed_limit.map(|limit| limit.limit_kbps), share }
        });
        let change =
            fault.change.as_ref().and_then(|change| Change::compile(&at.field("change"), change, problems));
        let delay = fault
            .delay
            .as_ref()
            .and_then(|delay| Delay::compile(&at.field("delay"), delay, false, longest, problems));
        let (abort, reset, hole) = (fault.abort.as_ref(), fault.reset.as_ref(), fault.black_hole.as_ref());
        if several(&[abort.is_some(), reset.is_some(), hole.is_some()]) {
            problems.add(at, "expected at most one of `abort`, `reset` and `black_hole`");
        }
        let ending = Ending::compile(at, abort, reset, hole, false, longest, problems);
        sum(at, delay.as_ref(), hole, longest, problems);
        let path = at.to_string();
        let label = match &fault.name {
            Some(name) => ["fault `", name, "`"].concat(),
            None => path.clone(),
        };
        let response = fault.response.as_ref().and_then(|response| {
            ResponseFault::compile(&at.field("response"), &label, response, longest, problems)
        });
        let ends = ending.is_some() || response.is_some();
        let nothing = limit.is_none() && change.is_none() && delay.is_none() && !ends;
        if nothing && problems.len() == before {
            problems.add(at,
                "expected at least one of `delay`, `abort`, `reset`, `black_hole`, `change`, `response_rate_limit` and `response`",
            );
        }
        let name = fault.name.as_deref();
        let salt =
            fault.sticky.as_ref().and_then(|sticky| sticky.salt.as_deref()).or(name).unwrap_or_default();
        let salt = match seed {
            // A key that a client has draws the same in every run.
            Some(seed) if sticky.is_none() => [seed, "/", name.unwrap_or(&path)].concat(),
            _ => salt.to_owned(),
        };
        if problems.len() != before {
            return None;
        }
        Some(Self {
            matcher: matcher?,
            upstream_cluster: fault.upstream_cluster.clone(),
            downstream_nodes: fault.downstream_nodes.clone(),
            schedule,
            selection,
            sticky,
            salts: Salts::new(&salt),
            limit,
            change,
            delay,
            ending,
            response,
            label: label.into(),
            state_key: name.unwrap_or(&path).to_owned(),
        })
    }

    /// Whether a rate limit is handed to Envoy's own filter.
    pub(crate) fn has_limit(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether callers have a say.
    pub(crate) fn asks_callers(&self) -> bool {
        self.limit.is_some_and(|limit| limit.kbps.is_none())
            || self.delay.as_ref().is_some_and(Delay::is_by_header)
            || self.ending.as_ref().is_some_and(Ending::is_by_header)
    }

    /// Takes the request or not, and draws what happens to it. `trusts` tells whether the caller's headers count.
    /// What its dice are thrown by is `key`, where the fault is not sticky.
    pub(crate) fn take<'a>(
        &self,
        inputs: &'a Inputs<'_>,
        key: &dyn Fn() -> Cow<'a, [u8]>,
        trusts: &dyn Fn() -> bool,
        drawn: &mut Drawn,
    ) -> Result<(), Passed> {
        let request = inputs.request;
        if !self.is_match(request) {
            return Err(Passed::On);
        }
        let level = match &self.schedule {
            Some(schedule) => schedule.level((inputs.now)()).ok_or(Passed::On)?,
            None => Level::Full,
        };
        if (inputs.stopped)() {
            return Err(Passed::Stopped);
        }
        let key = match &self.sticky {
            Some(by) => first_key(by, request).ok_or(Passed::On)?,
            None => key(),
        };
        let mut picked = None;
        let mut draw = || *picked.insert(self.salts.draw(&key, Purpose::Pick));
        let takes = match &self.selection {
            Selection::Share(share) => level.includes(*share, &mut draw),
            counted => level.includes(None, &mut draw) && self.counts(counted, inputs)?,
        };
        if !takes {
            return Err(Passed::On);
        }
        drawn.draw = picked;
        drawn.key = key.into_owned();
        self.draw(request, inputs.has_body, trusts, drawn);
        Ok(())
    }

    fn is_match(&self, request: &dyn RequestView) -> bool {
        let node = || request.get("x-envoy-downstream-service-node");
        let cluster = || request.attribute(&["xds", "cluster_name"]);
        self.matcher.is_match(request)
            && (self.downstream_nodes.is_empty()
                || node().is_some_and(|node| self.downstream_nodes.iter().any(|one| one.as_bytes() == node)))
            && self.upstream_cluster.as_ref().is_none_or(|name| cluster().as_deref() == Some(name.as_bytes()))
    }

    fn counts(&self, selection: &Selection, inputs: &Inputs<'_>) -> Result<bool, Passed> {
        let stepped = match selection {
            Selection::Share(_) => Some(true),
            Selection::Exactly { faults, of } => {
                (inputs.step)(&self.state_key, 0, &mut |state| gate::exactly(state, *faults, *of))
            }
            Selection::First { requests, by, forget_after, max_keys } => {
                let key = if by.is_empty() {
                    Cow::Borrowed(&b""[..])
                } else {
                    first_key(by, inputs.request).ok_or(Passed::On)?
                };
                let key = hash(&key);
                let now_ms = since_1970_ms((inputs.now)());
                (inputs.step)(&self.state_key, gate::slot(key, *max_keys), &mut |state| {
                    gate::first(state, key, *requests, now_ms, *forget_after)
                })
            }
        };
        stepped.ok_or(Passed::Failed)
    }

    fn draw(&self, request: &dyn RequestView, has_body: bool, trusts: &dyn Fn() -> bool, drawn: &mut Drawn) {
        let trusted = self.asks_callers() && trusts();
        let key = drawn.key.as_slice();
        let asked = |name| if trusted { callers::numerator(request, name) } else { None };
        let hits = |share, purpose| self.salts.hit(share, key, purpose);
        if let Some(Limit { kbps, share }) = self.limit {
            let (kbps, share) = match kbps {
                None if trusted => {
                    (callers::throughput(request), share.lowered(asked(callers::THROUGHPUT_PERCENTAGE)))
                }
                _ => (kbps, share),
            };
            drawn.limit = kbps.filter(|_| hits(share, Purpose::Limit));
        }
        if let Some(change) = &self.change
            && change.applies(has_body)
            && hits(change.share, Purpose::Change)
        {
            if let Some(body) = &change.body
                && has_body
            {
                drawn.body = Some(Damaging::begin(body, content_length(request), Salt::new("")));
            }
            drawn.change = Some((change.mutations(request), Rc::clone(&change.text)));
        }
        if let Some(delay) = &self.delay {
            let (mut share, mut ms) = (delay.share, None);
            if delay.is_by_header() {
                ms = if trusted { callers::delay_ms(request) } else { None };
                share = share.lowered(asked(callers::DELAY_PERCENTAGE));
            }
            if hits(share, Purpose::Delay) {
                drawn.delay = delay.time(&|| self.salts.draw(key, Purpose::DelayTime), ms);
            }
        }
        if let Some(ending) = &self.ending {
            let (mut share, by_header) = (ending.share, ending.is_by_header());
            if by_header {
                share = share.lowered(asked(callers::ABORT_PERCENTAGE));
            }
            if (trusted || !by_header) && hits(share, Purpose::End) {
                drawn.end = ending.end(request);
            }
        }
    }
}

fn selection(at: &At<'_>, fault: &config::Fault, problems: &mut Problems) -> Selection {
    if several(&[fault.percentage.is_some(), fault.exactly.is_some(), fault.first.is_some()]) {
        problems.add(at, "expected at most one of `percentage`, `exactly` and `first`");
    }
    if let Some(config::Exactly { faults, of }) = fault.exactly {
        if of == 0 {
            problems.add(at.field("exactly.of"), "expected at least 1");
        } else if faults > of {
            problems.add(at.field("exactly.faults"), "is more than `of`");
        }
        return Selection::Exactly { faults, of };
    }
    if let Some(first) = &fault.first {
        let at = at.field("first");
        if first.requests == 0 {
            problems.add(at.field("requests"), "expected at least 1");
        }
        if first.forget_after.0.is_zero() {
            problems.add(at.field("forget_after"), "expected more than 0");
        }
        if !(8..=1_048_576).contains(&first.max_keys) {
            problems.add(at.field("max_keys"), "expected 8 to 1048576");
        }
        return Selection::First {
            requests: first.requests,
            by: keys(&at.field("by"), &first.by, problems),
            forget_after: first.forget_after.0,
            max_keys: first.max_keys,
        };
    }
    Selection::Share(fault.percentage.map(|percentage| percentage.0))
}

fn keys(at: &At<'_>, sources: &[weir_sdk::KeySource], problems: &mut Problems) -> Vec<Key> {
    let mut keys = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        if let Some(key) = Key::compile(&at.index(index), source, problems) {
            keys.push(key);
        }
    }
    keys
}

/// Whether more than one is given.
pub(super) fn several(given: &[bool]) -> bool {
    given.iter().filter(|given| **given).count() > 1
}

/// The first of the keys that the request has.
fn first_key<'a>(by: &[Key], request: &'a dyn RequestView) -> Option<Cow<'a, [u8]>> {
    by.iter().find_map(|key| key.of(request))
}

/// A number for a key.
pub(super) fn hash(key: &[u8]) -> u64 {
    Draw::sticky(key, weir_sdk::Salt::new("weir.fault/first")).position(u64::MAX)
}

pub(super) fn since_1970_ms(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
