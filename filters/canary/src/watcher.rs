//! A guard on this worker: counts calls by itself, adds them to what all workers know from time to time, and keeps a copy of who is rolled back.
//! The imperative part: what follows from the counts is the policy's.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use weir_sdk::config::joined;
use weir_sdk::log::Level;
use weir_sdk::outcome::Verdict;
use weir_sdk::{CalloutId, Counter, Gauge, HostError, PluginHost, Shared};

use crate::policy::guard::counts::{self, Counts};
use crate::policy::guard::record::{Record, Step};
use crate::policy::guard::{Guard, Rollback, Watch};

/// What guards count: one set for all, as a metric can never be removed.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// In the order of [`NAMES`].
    counters: Vec<Counter>,
    /// How many arms are rolled back now.
    rolled_back_arms: Gauge,
}

/// A counter of [`Metrics`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Rollbacks,
    DryRollbacks,
    Returned,
    WebhookTold,
    WebhookFailed,
    Contended,
    Sent,
    Saved,
    Unsaved,
    OverBudget,
}

/// In the order of [`Count`].
const NAMES: [&str; 10] = [
    "rollbacks",
    "dry_run.rollbacks",
    "returned",
    "webhook_told",
    "webhook_failed",
    "contended",
    "zero_error.sent",
    "zero_error.saved",
    "zero_error.unsaved",
    "zero_error.over_budget",
];

impl Metrics {
    /// # Errors
    /// The host refuses a name.
    pub(crate) fn define(host: &PluginHost, prefix: &str) -> Result<Self, HostError> {
        let mut counters = Vec::with_capacity(NAMES.len());
        for name in &NAMES {
            counters.push(host.counter(&[prefix, ".", name].concat())?);
        }
        Ok(Self { counters, rolled_back_arms: host.gauge(&[prefix, ".rolled_back_arms"].concat())? })
    }

    /// One more, where `when` holds.
    #[inline(never)]
    pub(crate) fn count(&self, what: Count, when: bool) {
        if when && let Some(counter) = self.counters.get(what as usize) {
            counter.increment();
        }
    }

    /// What the gauge is at first: of a configuration that was there before, too.
    pub(crate) fn begin(&self, watchers: &[Watcher]) {
        let mut rolled = 0_usize;
        for watcher in watchers {
            rolled = rolled.saturating_add(watcher.written());
        }
        self.rolled_back_arms.set(u64::try_from(rolled).unwrap_or(0));
    }
}

/// Two texts as a line of the log.
#[inline(never)]
pub(crate) fn say(level: Level, what: &str, more: &str) {
    weir_sdk::say(level, || joined(what, more, ""));
}

/// A guard on this worker.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) guard: Rc<Guard>,
    metrics: Rc<Metrics>,
    shared: Shared<Record>,
    /// By lane, since they were added last.
    counts: RefCell<Vec<Counts>>,
    /// A timer runs that will add them.
    armed: Cell<bool>,
    /// Why an arm is out, by lane, as it was at that time.
    reasons: RefCell<Vec<Option<Rc<str>>>>,
    seen_ns: Cell<Option<u64>>,
    /// Of the budget of requests that are sent again.
    balance: Cell<u64>,
}

impl Watcher {
    pub(crate) fn new(guard: &Rc<Guard>, metrics: &Rc<Metrics>, host: &PluginHost, prefix: &str) -> Self {
        Self {
            guard: Rc::clone(guard),
            metrics: Rc::clone(metrics),
            shared: host.shared(&guard.key(host.name(), prefix)),
            counts: RefCell::new(vec![Counts::default(); guard.lanes()]),
            armed: Cell::new(false),
            reasons: RefCell::default(),
            seen_ns: Cell::new(None),
            balance: Cell::new(guard.zero_error.as_ref().map_or(0, |zero_error| zero_error.budget.begin())),
        }
    }

    /// Why the arm of a request is out, where it is; a copy that is too old is made anew.
    pub(crate) fn rolled_back(&self, watch: Watch, host: &PluginHost) -> Option<Rc<str>> {
        let rollback = self.guard.rollback.as_ref()?;
        if watch.resets {
            self.reset();
        }
        if watch.lane == 0 || rollback.dry_run {
            return None;
        }
        let now_ns = host.monotonic_ns().ok()?;
        let is_fresh = |seen_ns: u64| now_ns.abs_diff(seen_ns) < rollback.rules.merge_ns();
        if !self.seen_ns.get().is_some_and(is_fresh)
            && let Ok(record) = self.shared.get()
        {
            self.see(rollback, &record.unwrap_or_default(), now_ns);
        }
        self.reasons.borrow().get(watch.lane)?.clone()
    }

    /// A call of this arm has ended.
    pub(crate) fn count(&self, lane: usize, verdict: Verdict, slow: bool, host: &PluginHost) {
        let Some(rollback) = &self.guard.rollback else { return };
        if let Some(counts) = self.counts.borrow_mut().get_mut(lane) {
            counts.add(verdict, slow);
        }
        if !self.armed.get() {
            let time = std::time::Duration::from_nanos(rollback.rules.merge_ns());
            self.armed.set(host.wake_after(time).is_ok());
        }
    }

    /// Adds what was counted to what all workers know. The worker whose test rolls an arm back says so; its calls to webhooks join `told`.
    pub(crate) fn merge(&self, host: &PluginHost, told: &mut Vec<CalloutId>) {
        self.armed.set(false);
        let (Some(rollback), Ok(now_ns)) = (&self.guard.rollback, host.monotonic_ns()) else { return };
        let none = vec![Counts::default(); self.guard.lanes()];
        if *self.counts.borrow() == none {
            return;
        }
        let counts = self.counts.replace(none);
        let Some((record, step)) = self.step(&mut |record| record.merge(&rollback.rules, now_ns, &counts))
        else {
            // Added with the next ones.
            counts::merge(&mut self.counts.borrow_mut(), &counts);
            return;
        };
        self.see(rollback, &record, now_ns);
        self.note(rollback, &step, host, told);
    }

    /// A request of the rule: its budget grows.
    pub(crate) fn earn(&self) {
        if let Some(zero_error) = &self.guard.zero_error {
            self.balance.set(zero_error.budget.earn(self.balance.get()));
        }
    }

    /// Whether a request may be sent again.
    pub(crate) fn may_send(&self) -> bool {
        let left = self.guard.zero_error.as_ref().and_then(|zero| zero.budget.take(self.balance.get()));
        match left {
            Some(left) => self.balance.set(left),
            None => self.metrics.count(Count::OverBudget, true),
        }
        left.is_some()
    }

    /// How many arms are written as rolled back.
    fn written(&self) -> usize {
        let acts = self.guard.rollback.as_ref().is_some_and(|rollback| !rollback.dry_run);
        let record = acts.then(|| self.shared.get().ok().flatten()).flatten();
        record.map_or(0, |record| record.count())
    }

    fn reset(&self) {
        if let Some((_, step)) = self.step(&mut Record::reset) {
            self.reasons.borrow_mut().clear();
            self.returned(&step);
        }
    }

    /// Steps what all workers know; nothing, and counted, where others were faster.
    fn step(&self, next: &mut dyn FnMut(&mut Record) -> Step) -> Option<(Record, Step)> {
        let stepped = self.shared.update(|old| {
            let mut record = old.unwrap_or_default();
            let step = next(&mut record);
            (record.clone(), (record, step))
        });
        self.metrics.count(Count::Contended, stepped.is_err());
        stepped.ok()
    }

    fn see(&self, rollback: &Rollback, record: &Record, now_ns: u64) {
        self.seen_ns.set(Some(now_ns));
        let rolled = |lane: usize| record.rolled(&rollback.rules, lane, now_ns);
        let mut reasons = self.reasons.borrow_mut();
        while reasons.len() < self.guard.lanes() {
            reasons.push(None);
        }
        for (lane, reason) in reasons.iter_mut().enumerate() {
            match rolled(lane) {
                None => *reason = None,
                Some(rolled) if reason.is_none() => *reason = Some(self.guard.reason(lane, rolled).into()),
                Some(_) => {}
            }
        }
    }

    fn note(&self, rollback: &Rollback, step: &Step, host: &PluginHost, told: &mut Vec<CalloutId>) {
        self.returned(step);
        for (lane, rolled) in &step.rolled {
            let reason = self.guard.reason(*lane, rolled);
            if rollback.dry_run {
                self.metrics.count(Count::DryRollbacks, true);
                say(Level::Warn, "dry run: ", &reason);
                continue;
            }
            self.metrics.count(Count::Rollbacks, true);
            self.metrics.rolled_back_arms.add(1);
            say(Level::Warn, &reason, "");
            let Some(webhook) = &rollback.webhook else { continue };
            let since =
                host.now().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            match host.callout(&webhook.call(self.guard.report(host.name(), *lane, rolled, unix_ms))) {
                Ok(id) => told.push(id),
                Err(error) => {
                    self.metrics.count(Count::WebhookFailed, true);
                    say(Level::Error, "webhook: ", &error.text());
                }
            }
        }
    }

    fn returned(&self, step: &Step) {
        let acts = self.guard.rollback.as_ref().is_some_and(|rollback| !rollback.dry_run);
        for lane in step.back.iter().filter(|_| acts) {
            self.metrics.count(Count::Returned, true);
            self.metrics.rolled_back_arms.add(-1);
            say(Level::Info, &self.guard.back(*lane), "");
        }
    }
}
