//! Sends copies to one target and hears of their ends: limits, back-off and metrics around the host's callout.

use std::cell::Cell;
use std::rc::Rc;

use weir_sdk::{CalloutReply, Gauge, HeaderMap, PluginHost, Shared, log};

use crate::flights::{Flight, Flights, Kind};
use crate::held::Account;
use crate::metrics::{Definer, End, Metrics};
use crate::policy::Policy;
use crate::policy::back_off::{Part, State};
use crate::policy::bucket::Level;
use crate::policy::bytes::{joined, lossy};
use crate::policy::copy::Copy;
use crate::policy::redact::without_digests;
use crate::policy::target::Target;
use crate::policy::why::Why;
use crate::recorder::{Recorder, is_accepted};
use crate::trials::{Case, Judge};

/// One target of the plugin on this worker.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The target's place.
    pub(crate) index: usize,
    /// Those of copies that are sent, and of a dry run.
    metrics: [Option<Metrics>; 2],
    bucket: Option<Shared<Level>>,
    state: Cell<State>,
    /// Where answers are compared.
    pub(crate) judge: Option<Judge>,
    /// Where exchanges are recorded.
    pub(crate) recorder: Option<Recorder>,
    /// A refusal has been logged; every further one is only counted.
    warned: Cell<bool>,
}

/// One of the copies in flight, as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl InFlight {
    /// One more; nothing where there are as many as may be.
    fn take(gauge: Gauge, most: u32) -> Option<Self> {
        gauge.add(1);
        let this = Self(gauge);
        // Counted before it is looked at: two workers at once may both be refused, but never both let through.
        gauge.value().is_ok_and(|now| now <= u64::from(most)).then_some(this)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Sender {
    /// Defines what a target needs of the host.
    #[inline(never)]
    pub(crate) fn new(policy: &Policy, index: usize, target: &Target, definer: &mut Definer<'_>) -> Self {
        let mut this = Self {
            index,
            metrics: [
                Metrics::define(definer, policy, target, false),
                Metrics::define(definer, policy, target, true),
            ],
            bucket: None,
            state: Cell::default(),
            judge: None,
            recorder: None,
            warned: Cell::new(false),
        };
        let name = policy.metrics_of(target, false);
        if target.written.rate.is_some() {
            let key = joined("weir.mirror.rate.1.", definer.host.name(), &joined(".", &name, ""));
            this.bucket = Some(definer.host.shared(&key));
        }
        if let Some(trial) = &target.trial {
            this.judge = Some(Judge::new(trial, definer, &name));
        }
        if target.record.is_some() {
            this.recorder = Some(Recorder::new(definer, &name));
        }
        this
    }

    fn metrics(&self, dry_run: bool) -> Option<&Metrics> {
        self.metrics.get(usize::from(dry_run))?.as_ref()
    }

    /// The part of its share that the target gets now.
    pub(crate) fn part(&self, host: &PluginHost) -> Part {
        let state = self.state.get();
        // The clock is a host call, and few targets suffer.
        let now = if state.is_timed() { host.monotonic_ns().unwrap_or_default() } else { 0 };
        state.part(now)
    }

    /// There is no copy.
    pub(crate) fn skip(&self, why: Why, dry_run: bool) {
        if let Some(metrics) = self.metrics(dry_run) {
            metrics.skipped(why);
        }
    }

    /// Makes a call of this kind, with so many records, or for this comparison.
    ///
    /// # Errors
    /// [`Why::InFlight`], [`Why::Rate`], [`Why::Refused`]; nothing was sent.
    #[inline(never)]
    pub(crate) fn send(
        &self,
        target: &Target,
        cluster: &[u8],
        copy: &mut Copy,
        (kind, records, case): (Kind, u64, Option<&Rc<Case>>),
        flights: &Flights,
        host: &PluginHost,
    ) -> Result<(), Why> {
        let metrics = self.metrics(false).ok_or(Why::Refused)?;
        let since = host.monotonic_ns().unwrap_or_default();
        let in_flight = InFlight::take(metrics.in_flight, target.written.max_in_flight);
        let in_flight = Some(in_flight.ok_or(Why::InFlight)?);
        if kind == Kind::Copy {
            self.admit(target, since)?;
        }
        // Compressed where that is wanted and Envoy can.
        if kind != Kind::Control && target.compresses(copy) {
            let gzip = host.gzip(&copy.body);
            metrics.compressed(gzip.is_ok());
            if let Ok(gzip) = gzip {
                copy.body = gzip;
                without_digests(copy);
                copy.headers.push("content-encoding", &b"gzip"[..]);
            }
        }
        let call =
            host.callout_of(cluster, &copy.headers, &copy.body, &copy.trailers, target.written.timeout.0);
        match call {
            Ok(id) => {
                let (target, case) = (self.index, case.cloned());
                flights.start(id, Flight { kind, target, since, records, case, _in_flight: in_flight });
                if kind == Kind::Copy {
                    metrics.sent(copy.body.len(), copy.body_truncated);
                }
                Ok(())
            }
            Err(error) => {
                if kind != Kind::Control {
                    if !self.warned.replace(true) {
                        weir_sdk::say(log::Level::Warn, || {
                            let error = joined(&lossy(cluster), "`: ", &error.text());
                            let target = joined("target `", &target.name, "`: cluster `");
                            joined(&target, &error, "; further ones are counted")
                        });
                    }
                    self.judge(target, since, true, 0);
                }
                Err(Why::Refused)
            }
        }
    }

    /// Takes a token where that is needed for a copy, or for the record of an exchange.
    ///
    /// # Errors
    /// [`Why::Rate`]
    pub(crate) fn admit(&self, target: &Target, now: u64) -> Result<(), Why> {
        if let (Some(rate), Some(bucket)) = (&target.written.rate, &self.bucket) {
            // A bucket that cannot be read lets nothing through: a limit that fails open is none.
            let taken = bucket.update(|level| rate.take(level, now));
            taken.unwrap_or(false).then_some(()).ok_or(Why::Rate)?;
        }
        Ok(())
    }

    /// Takes the record of an exchange. What is to be sent now is sent.
    ///
    /// # Errors
    /// [`Why::Memory`]
    pub(crate) fn collect(
        &self,
        target: &Target,
        line: &[u8],
        truncated: bool,
        account: &Account,
        flights: &Flights,
        host: &PluginHost,
    ) -> Result<(), Why> {
        if let (Some(record), Some(recorder)) = (&target.record, &self.recorder) {
            let full = recorder.add(record, line, account, host).ok_or(Why::Memory)?;
            if let Some(metrics) = self.metrics(false) {
                metrics.sent(line.len(), truncated);
            }
            if full {
                self.post(target, flights, host);
            }
        }
        Ok(())
    }

    /// Sends the records that wait.
    #[inline(never)]
    pub(crate) fn post(&self, target: &Target, flights: &Flights, host: &PluginHost) {
        if let (Some(record), Some(recorder)) = (&target.record, &self.recorder)
            && let Some((lines, records)) = recorder.take()
        {
            let (headers, trailers) = (record.headers.clone(), HeaderMap::new());
            let mut copy = Copy { headers, body: lines, trailers, body_truncated: false };
            let posted = target.rewrite(&mut copy, 0).and_then(|()| {
                self.send(target, &record.cluster, &mut copy, (Kind::Records, records, None), flights, host)
            });
            recorder.posted(records, posted.is_ok());
        }
    }

    /// A copy would have been sent.
    pub(crate) fn would_send(&self, copy: &Copy) {
        if let Some(metrics) = self.metrics(true) {
            metrics.sent(copy.body.len(), copy.body_truncated);
        }
    }

    /// An answer has come, of the target's or of Envoy's for it.
    pub(crate) fn ended(&self, target: &Target, flight: &Flight, reply: &CalloutReply, host: &PluginHost) {
        let now = host.monotonic_ns().unwrap_or(flight.since);
        let latency = now.saturating_sub(flight.since);
        let end = match reply.status {
            Some(status) if reply.is_from_upstream() && status < 500 => End::Answered,
            Some(_) if reply.is_from_upstream() => End::AnsweredBadly,
            Some(504) => End::TimedOut,
            _ => End::Failed,
        };
        if let Some(metrics) = self.metrics(false) {
            metrics.ended(end, latency);
        }
        if let Some(recorder) = &self.recorder {
            recorder.ended(flight.records, is_accepted(reply));
        }
        self.judge(target, now, end != End::Answered, latency);
    }

    fn judge(&self, target: &Target, now: u64, failed: bool, latency: u64) {
        let back_off = &target.written.back_off;
        if back_off.is_on() {
            let mut state = self.state.get();
            let was = state.part(now);
            back_off.step(&mut state, now, back_off.is_bad(failed, latency));
            self.state.set(state);
            let is = state.part(now);
            if was != is {
                weir_sdk::say(log::Level::Info, || {
                    joined(&joined("target `", &target.name, "`: "), &is.text(), "")
                });
            }
        }
    }
}
