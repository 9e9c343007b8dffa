//! One limit: for whom, which states are whose, and how what was taken is settled.

use std::rc::Rc;

use weir_sdk::limit::{Algorithm, Store};
use weir_sdk::matcher::IntegerRange;
use weir_sdk::{At, Problems, RequestMatcher, Texts};

use super::bucket::{Bucket, algorithm, may_queue, queue};
use super::cost::{Charge, Cost};
use super::global::{Global, Service};
use super::key::{self, Pattern};
use super::part::Parts;
use super::penalty::Penalty;
use super::{Clocks, End, Held, Setup, Took, names, wrong};
use crate::config::{self, OnMissing};

/// A compiled [`config::Limit`].
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) name: Rc<str>,
    /// Its place among the limits that are counted.
    pub(crate) counter: usize,
    pub(crate) matches: RequestMatcher,
    pub(crate) key: key::Parts,
    pub(crate) parts: Parts,
    pub(crate) penalty: Option<Penalty>,
    pub(crate) on_missing: OnMissing,
    /// The first is the limit's own, the others those of `overrides`; `None` is no limit.
    kinds: Vec<Option<Kind>>,
    overrides: Vec<Pattern>,
    pub(crate) cost: Cost,
    charge: Option<Charge>,
    refund_statuses: Vec<IntegerRange>,
    pub(crate) dry_run: bool,
    texts: Texts,
}

/// Where it is known how much is left.
#[derive(Clone, Debug)]
enum Kind {
    Local(Bucket),
    Global(Global),
}

/// Why a request is refused by a limit, or waits for it.
#[derive(Clone, Copy)]
pub(crate) enum LimitText {
    Refused,
    Blocked,
    NotEnforced,
    Queued,
    Missing,
    Failed,
    ByService,
    ByServiceBefore,
}

/// In the order of [`LimitText`].
const TEXTS: [&str; 8] = [
    "refused",
    "refused, as it was too often",
    "refused, not enforced",
    "delayed",
    "refused, a part of the key is missing",
    "refused, its state could not be read or written",
    "refused by the service",
    "refused, as the service has said before",
];

/// The most keys: 2^20.
const MOST_KEYS: u32 = 1 << 20;

impl Limit {
    /// Checks and compiles the limits at `limits` there.
    pub(crate) fn compile_list(
        at: &At<'_>,
        limits: &[config::Limit],
        setup: (&Setup<'_>, Option<&Service>),
        counted: &mut Vec<String>,
        problems: &mut Problems,
    ) -> Vec<Rc<Self>> {
        let mut compiled: Vec<Rc<Self>> = Vec::new();
        for (index, limit) in limits.iter().enumerate() {
            let at = at.item("limits", index);
            if limits.iter().take(index).any(|other| other.name == limit.name) {
                let reason = format!("`{}` is there already; expected another name", limit.name);
                wrong(&at, "name", &reason, problems);
            }
            let counter = counted.iter().position(|name| *name == limit.name).unwrap_or_else(|| {
                counted.push(limit.name.clone());
                counted.len().saturating_sub(1)
            });
            compiled.push(Rc::new(Self::compile(&at, limit, counter, setup, problems)));
        }
        compiled
    }

    #[inline(never)]
    fn compile(
        at: &At<'_>,
        limit: &config::Limit,
        counter: usize,
        setup: (&Setup<'_>, Option<&Service>),
        problems: &mut Problems,
    ) -> Self {
        if let Err(reason) = names::limit(&limit.name) {
            wrong(at, "name", &reason, problems);
        }
        if !(8..=MOST_KEYS).contains(&limit.max_keys) {
            let reason = format!("expected 8 to {MOST_KEYS}, found {}", limit.max_keys);
            wrong(at, "max_keys", &reason, problems);
        }
        for (index, range) in limit.refund_statuses.iter().enumerate() {
            if range.start < 100 || range.end > 600 || range.start >= range.end {
                let reason = "expected a range within 100 to 600, `start` below `end`";
                problems.add(at.item("refund_statuses", index), reason);
            }
        }
        let why = match &limit.algorithm {
            config::Algorithm::Concurrency(_) => {
                Some("is not for `concurrency`, where all is given back at the end")
            }
            config::Algorithm::Global(_) => Some("is not for `global`: the service takes nothing back"),
            _ => None,
        };
        if let Some(why) = why
            && (limit.charge.is_some() || !limit.refund_statuses.is_empty())
        {
            let field = if limit.charge.is_some() { "charge" } else { "refund_statuses" };
            wrong(at, field, why, problems);
        }
        let matches = problems.take(at.field("match"), RequestMatcher::try_from(&limit.matches));
        // What is refused never runs.
        let matches = matches.unwrap_or_default();
        let key = key::Parts::compile(&at.field("key"), &limit.key, problems);
        let queue = queue(at, limit, problems);
        let own = kind(limit, (at, &limit.algorithm), (0, key.is_constant(), queue), setup, problems);
        let size = match &own {
            Some(Kind::Local(bucket)) => Some(bucket.size),
            _ => None,
        };
        let parts = Parts::compile(at, limit, size, problems);
        let mut kinds = vec![own];
        let mut overrides = Vec::new();
        for (index, other) in limit.overrides.iter().enumerate() {
            let at = at.item("overrides", index);
            let pattern = Pattern::compile(&at, other, limit.key.len(), problems);
            let family = |written: &config::Algorithm| match written {
                config::Algorithm::Concurrency(_) => Some("concurrency"),
                config::Algorithm::Global(_) => Some("global"),
                _ => None,
            };
            let [want, found] =
                [Some(&limit.algorithm), other.algorithm.as_ref()].map(|of| of.and_then(family));
            if other.algorithm.is_some() && want != found {
                let name = want.or(found).unwrap_or_default();
                let reason = format!("expected `{name}` where the limit is `{name}`, and nowhere else");
                wrong(&at, "algorithm", &reason, problems);
            }
            let place = kinds.len();
            let queue = queue.filter(|_| other.algorithm.as_ref().is_some_and(may_queue));
            kinds.push(other.algorithm.as_ref().and_then(|written| {
                kind(limit, (&at, written), (place, pattern.is_one(), queue), setup, problems)
            }));
            overrides.push(pattern);
        }
        Self {
            name: limit.name.as_str().into(),
            counter,
            matches,
            key,
            parts,
            penalty: Penalty::compile(at, limit, setup.0, problems),
            on_missing: limit.on_missing,
            kinds,
            overrides,
            cost: Cost::compile(&at.field("cost"), limit.cost.as_ref(), problems),
            charge: limit
                .charge
                .as_ref()
                .map(|charge| Charge::compile(&at.field("charge"), charge, problems)),
            refund_statuses: limit.refund_statuses.clone(),
            dry_run: limit.dry_run,
            texts: Texts::new(&["limit `", &limit.name, "`: "].concat(), &TEXTS),
        }
    }

    pub(crate) fn text(&self, text: LimitText) -> Rc<str> {
        self.texts.at(text as usize)
    }

    /// The place of the states of a key; `None` when it has no limit.
    pub(crate) fn place(&self, key: &key::Written) -> Option<usize> {
        let found = self.overrides.iter().position(|pattern| pattern.is_match(key));
        let place = found.map_or(0, |index| index.saturating_add(1));
        self.kind(place).map(|_| place)
    }

    fn kind(&self, place: usize) -> Option<&Kind> {
        self.kinds.get(place).and_then(Option::as_ref)
    }

    pub(crate) fn bucket(&self, place: usize) -> Option<&Bucket> {
        match self.kind(place)? {
            Kind::Local(bucket) => Some(bucket),
            Kind::Global(_) => None,
        }
    }

    pub(crate) fn global(&self, place: usize) -> Option<&Global> {
        match self.kind(place)? {
            Kind::Global(global) => Some(global),
            Kind::Local(_) => None,
        }
    }

    pub(crate) fn is_refilled_by_time(&self, place: usize) -> bool {
        self.bucket(place).is_none_or(|bucket| bucket.table.algorithm().is_refilled_by_time())
    }

    /// Whether what was taken is settled at the end of the stream.
    pub(crate) fn is_settled_late(&self, place: usize) -> bool {
        self.charge.is_some() || !self.refund_statuses.is_empty() || !self.is_refilled_by_time(place)
    }

    /// Gives back all of what was taken.
    pub(crate) fn give_back(
        &self,
        held: &Held,
        clocks: &Clocks<'_>,
        store: &dyn Store,
    ) -> Result<(), Failed> {
        let given = match &held.took {
            Took::Of(receipt) => self
                .bucket(held.place)
                .map(|bucket| bucket.table.refund(store, receipt, clocks.ns(bucket.of_day), receipt.cost()))
                .map(|given| given.map_err(|error| error.status)),
            Took::InAdvance { key, cost, expires } => {
                self.global(held.place).and_then(|global| global.leases.as_ref()).map(|leases| {
                    let now = clocks.ns(false);
                    leases.change(store, key, &|lease, state| lease.give_back(state, now, *cost, *expires))
                })
            }
        };
        given.unwrap_or(Ok(())).map_err(|_| Failed)
    }

    /// The stream is over, perhaps while it waited for its turn.
    pub(crate) fn settle(
        &self,
        held: &Held,
        waits: bool,
        end: &End<'_>,
        clocks: &Clocks<'_>,
        store: &dyn Store,
    ) -> Result<(), Failed> {
        let status = end.attributes.attribute_int(&["response", "code"]);
        let refunded =
            status.is_some_and(|status| self.refund_statuses.iter().any(|range| range.contains(status)));
        if waits || refunded || !self.is_refilled_by_time(held.place) {
            return self.give_back(held, clocks, store);
        }
        let (Some(bucket), Took::Of(receipt)) = (self.bucket(held.place), &held.took) else {
            return Ok(());
        };
        let Some(cost) = self.charge.as_ref().and_then(|charge| charge.of(end)) else {
            return Ok(());
        };
        let now = clocks.ns(bucket.of_day);
        let taken = receipt.cost();
        if cost > taken {
            let more = cost.saturating_sub(taken);
            return bucket.table.charge(store, receipt, now, more).map_err(|_| Failed);
        }
        if cost < taken {
            let less = taken.saturating_sub(cost);
            return bucket.table.refund(store, receipt, now, less).map_err(|_| Failed);
        }
        Ok(())
    }
}

/// Checks and compiles what stands at `algorithm` there: at which place, whether for one key only, with which queue.
fn kind(
    limit: &config::Limit,
    (at, written): (&At<'_>, &config::Algorithm),
    (place, single, queue): (usize, bool, Option<weir_sdk::limit::Queue>),
    (setup, service): (&Setup<'_>, Option<&Service>),
    problems: &mut Problems,
) -> Option<Kind> {
    let at = at.field("algorithm");
    if let config::Algorithm::Global(global) = written {
        let at = at.field("global");
        return Some(Kind::Global(Global::compile(&at, limit, global, place, (setup, service), problems)));
    }
    let algorithm: Algorithm = algorithm(&at, written, queue, problems)?;
    Some(Kind::Local(Bucket::new(limit, place, algorithm, single, setup)))
}

/// The store did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;
