//! One limit: for whom, which states are whose, and how what was taken is settled.

use std::rc::Rc;

use weir_sdk::limit::{Receipt, Store};
use weir_sdk::matcher::IntegerRange;
use weir_sdk::{Problems, RequestMatcher};

use super::bucket::{Bucket, algorithm, may_queue, queue};
use super::cost::{Charge, Cost};
use super::key::{Parts, Pattern};
use super::{Clocks, End, Held, Setup, names};
use crate::config::{self, OnMissing};

/// A compiled [`config::Limit`].
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) name: Rc<str>,
    /// Its place among the limits that are counted.
    pub(crate) counter: usize,
    pub(crate) matches: RequestMatcher,
    pub(crate) key: Parts,
    pub(crate) on_missing: OnMissing,
    /// The first is the limit's own, the others those of `overrides`; `None` is no limit.
    buckets: Vec<Option<Bucket>>,
    overrides: Vec<Pattern>,
    pub(crate) cost: Cost,
    charge: Option<Charge>,
    refund_statuses: Vec<IntegerRange>,
    pub(crate) dry_run: bool,
    pub(crate) texts: LimitTexts,
}

#[derive(Clone, Debug)]
pub(crate) struct LimitTexts {
    pub(crate) refused: Rc<str>,
    pub(crate) not_enforced: Rc<str>,
    pub(crate) queued: Rc<str>,
    pub(crate) missing: Rc<str>,
    pub(crate) failed: Rc<str>,
}

/// The most keys: 2^20.
const MOST_KEYS: u32 = 1 << 20;

impl Limit {
    /// Checks and compiles the limits at `<path>limits`.
    pub(crate) fn compile_list(
        path: &str,
        limits: &[config::Limit],
        setup: &Setup<'_>,
        counted: &mut Vec<String>,
        problems: &mut Problems,
    ) -> Rc<[Rc<Self>]> {
        let mut compiled: Vec<Rc<Self>> = Vec::new();
        for (index, limit) in limits.iter().enumerate() {
            let path = format!("{path}limits[{index}]");
            if limits.iter().take(index).any(|other| other.name == limit.name) {
                let reason = format!("`{}` is there already; expected another name", limit.name);
                problems.add(format!("{path}.name"), reason);
            }
            let counter = counted.iter().position(|name| *name == limit.name).unwrap_or_else(|| {
                counted.push(limit.name.clone());
                counted.len().saturating_sub(1)
            });
            compiled.extend(Self::compile(&path, limit, counter, setup, problems).map(Rc::new));
        }
        compiled.into()
    }

    fn compile(
        path: &str,
        limit: &config::Limit,
        counter: usize,
        setup: &Setup<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        if let Err(reason) = names::limit(&limit.name) {
            problems.add(format!("{path}.name"), reason);
        }
        if !(8..=MOST_KEYS).contains(&limit.max_keys) {
            let reason = format!("expected 8 to {MOST_KEYS}, found {}", limit.max_keys);
            problems.add(format!("{path}.max_keys"), reason);
        }
        for (index, range) in limit.refund_statuses.iter().enumerate() {
            if range.start < 100 || range.end > 600 || range.start >= range.end {
                let reason = "expected a range within 100 to 600, `start` below `end`";
                problems.add(format!("{path}.refund_statuses[{index}]"), reason);
            }
        }
        let concurrency = matches!(limit.algorithm, config::Algorithm::Concurrency(_));
        if concurrency && (limit.charge.is_some() || !limit.refund_statuses.is_empty()) {
            let field = if limit.charge.is_some() { "charge" } else { "refund_statuses" };
            problems.add(
                format!("{path}.{field}"),
                "is not for `concurrency`, where all is given back at the end",
            );
        }
        let matches = problems.take(&format!("{path}.match"), RequestMatcher::try_from(&limit.matches));
        let key = Parts::compile(&format!("{path}.key"), &limit.key, problems);
        let queue = queue(path, limit, problems);
        let own = format!("{path}.algorithm");
        let bucket = algorithm(&own, &limit.algorithm, queue, problems)
            .map(|algorithm| Bucket::new(limit, 0, algorithm, key.is_constant(), setup));
        let mut buckets = vec![bucket];
        let mut overrides = Vec::new();
        for (index, other) in limit.overrides.iter().enumerate() {
            let path = format!("{path}.overrides[{index}]");
            let pattern = Pattern::compile(&path, other, limit.key.len(), problems);
            let same = |written: &config::Algorithm| {
                matches!(written, config::Algorithm::Concurrency(_)) == concurrency
            };
            if !other.algorithm.as_ref().is_none_or(same) {
                let reason = "expected `concurrency` where the limit is `concurrency`, and nowhere else";
                problems.add(format!("{path}.algorithm"), reason);
            }
            let place = buckets.len();
            let queue = queue.filter(|_| other.algorithm.as_ref().is_some_and(may_queue));
            let bucket = other.algorithm.as_ref().and_then(|written| {
                let algorithm = algorithm(&format!("{path}.algorithm"), written, queue, problems)?;
                Some(Bucket::new(limit, place, algorithm, pattern.is_one(), setup))
            });
            buckets.push(bucket);
            overrides.push(pattern);
        }
        let text = |what: &str| ["limit `", &limit.name, "`: ", what].concat().into();
        Some(Self {
            name: limit.name.as_str().into(),
            counter,
            matches: matches?,
            key,
            on_missing: limit.on_missing,
            buckets,
            overrides,
            cost: Cost::compile(&format!("{path}.cost"), limit.cost.as_ref(), problems),
            charge: limit
                .charge
                .as_ref()
                .map(|charge| Charge::compile(&format!("{path}.charge"), charge, problems)),
            refund_statuses: limit.refund_statuses.clone(),
            dry_run: limit.dry_run,
            texts: LimitTexts {
                refused: text("refused"),
                not_enforced: text("refused, not enforced"),
                queued: text("delayed"),
                missing: text("refused, a part of the key is missing"),
                failed: text("refused, its state could not be read or written"),
            },
        })
    }

    /// The place of the states of a key; `None` when it has no limit.
    pub(crate) fn place(&self, key: &super::key::Written) -> Option<usize> {
        let found = self.overrides.iter().position(|pattern| pattern.is_match(key));
        let place = found.map_or(0, |index| index.saturating_add(1));
        self.bucket(place).map(|_| place)
    }

    pub(crate) fn bucket(&self, place: usize) -> Option<&Bucket> {
        self.buckets.get(place).and_then(Option::as_ref)
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
        place: usize,
        receipt: &Receipt,
        clocks: &Clocks<'_>,
        store: &dyn Store,
    ) -> Result<(), Failed> {
        let Some(bucket) = self.bucket(place) else {
            return Ok(());
        };
        bucket.table.refund(store, receipt, clocks.ns(bucket.of_day), receipt.cost()).map_err(|_| Failed)
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
        let Some(bucket) = self.bucket(held.bucket) else {
            return Ok(());
        };
        let status = end.attributes.attribute_int(&["response", "code"]);
        let refunded =
            status.is_some_and(|status| self.refund_statuses.iter().any(|range| range.contains(status)));
        if waits || refunded || !self.is_refilled_by_time(held.bucket) {
            return self.give_back(held.bucket, &held.receipt, clocks, store);
        }
        let Some(cost) = self.charge.as_ref().and_then(|charge| charge.of(end)) else {
            return Ok(());
        };
        let now = clocks.ns(bucket.of_day);
        let taken = held.receipt.cost();
        if cost > taken {
            let more = cost.saturating_sub(taken);
            return bucket.table.charge(store, &held.receipt, now, more).map_err(|_| Failed);
        }
        if cost < taken {
            let less = taken.saturating_sub(cost);
            return bucket.table.refund(store, &held.receipt, now, less).map_err(|_| Failed);
        }
        Ok(())
    }
}

/// The store did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;
