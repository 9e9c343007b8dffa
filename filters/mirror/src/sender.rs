//! Sends copies to one target and hears of their ends: limits, back-off and metrics around the host's callout.

use std::cell::Cell;
use std::time::Duration;

use weir_sdk::{CalloutId, CalloutReply, Gauge, HostError, PluginHost, Shared};

use crate::held::Account;
use crate::metrics::{End, Metrics};
use crate::policy::Policy;
use crate::policy::back_off::{Part, State};
use crate::policy::bucket::Level;
use crate::policy::bytes::{joined, lossy};
use crate::policy::copy::Copy;
use crate::policy::redact::without_digests;
use crate::policy::target::{Target, Wanted};
use crate::policy::why::Why;
use crate::recorder::{Recorder, is_accepted};
use crate::trials::Judge;

/// One target of the plugin on this worker.
#[derive(Debug)]
pub(crate) struct Sender {
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

/// A copy that has left.
#[derive(Debug)]
pub(crate) struct Flight {
    since: Duration,
    /// How many records it has; none in a copy.
    records: u64,
    _in_flight: InFlight,
}

impl Sender {
    /// Defines what a target needs of the host.
    ///
    /// # Errors
    /// The host refuses a metric.
    pub(crate) fn new(policy: &Policy, target: &Target, host: &PluginHost) -> Result<Self, HostError> {
        let prefix = |dry_run: bool| joined(&policy.prefix(dry_run), ".", &target.name);
        let define = |dry_run: bool| -> Result<Option<Metrics>, HostError> {
            if !policy.may_be(dry_run) {
                return Ok(None);
            }
            Metrics::define(host, &joined(&prefix(dry_run), ".", ""), target).map(Some)
        };
        let name = prefix(false);
        let key = joined("weir.mirror.rate.1.", host.name(), &joined(".", &name, ""));
        let judge = match &target.trial {
            Some(trial) => Some(Judge::new(trial, host, &name)?),
            None => None,
        };
        let recorder = match &target.record {
            Some(_) => Some(Recorder::new(host, &name)?),
            None => None,
        };
        Ok(Self {
            metrics: [define(false)?, define(true)?],
            bucket: target.written.rate.as_ref().map(|_| host.shared(&key)),
            state: Cell::default(),
            judge,
            recorder,
            warned: Cell::new(false),
        })
    }

    fn metrics(&self, dry_run: bool) -> Option<&Metrics> {
        self.metrics.get(usize::from(dry_run))?.as_ref()
    }

    /// The part of its share that the target gets now.
    pub(crate) fn part(&self, target: &Target, now: impl FnOnce() -> Duration) -> Part {
        let state = self.state.get();
        // The clock is a host call, and few targets suffer.
        target.written.back_off.part(&state, if state.is_timed() { now() } else { Duration::ZERO })
    }

    /// There is no copy.
    pub(crate) fn skip(&self, why: Why, dry_run: bool) {
        if let Some(metrics) = self.metrics(dry_run) {
            metrics.skipped(why);
        }
    }

    /// Sends a copy.
    ///
    /// # Errors
    /// [`Why::InFlight`], [`Why::Rate`], [`Why::Refused`]; nothing was sent.
    pub(crate) fn send(
        &self,
        target: &Target,
        wanted: &Wanted,
        copy: &mut Copy,
        host: &PluginHost,
    ) -> Result<(CalloutId, Flight), Why> {
        let metrics = self.metrics(false).ok_or(Why::Refused)?;
        let now = host.uptime().unwrap_or_default();
        let in_flight =
            InFlight::take(metrics.in_flight, target.written.max_in_flight).ok_or(Why::InFlight)?;
        self.admit(target, now)?;
        let id = self.call(target, &wanted.cluster, copy, host, now)?;
        metrics.sent(copy.body.len(), copy.body_truncated);
        Ok((id, Flight { since: now, records: 0, _in_flight: in_flight }))
    }

    /// Takes a token where that is needed for a copy, or for the record of an exchange.
    ///
    /// # Errors
    /// [`Why::Rate`]
    pub(crate) fn admit(&self, target: &Target, now: Duration) -> Result<(), Why> {
        if let (Some(rate), Some(bucket)) = (&target.written.rate, &self.bucket) {
            // A bucket that cannot be read lets nothing through: a limit that fails open is none.
            let taken = bucket.update(|level| rate.take(level, now));
            taken.unwrap_or(false).then_some(()).ok_or(Why::Rate)?;
        }
        Ok(())
    }

    /// Makes the call, compressed where that is wanted and Envoy can.
    fn call(
        &self,
        target: &Target,
        cluster: &[u8],
        copy: &mut Copy,
        host: &PluginHost,
        now: Duration,
    ) -> Result<CalloutId, Why> {
        if target.compresses(copy) {
            let gzip = host.gzip(&copy.body);
            if let Some(metrics) = self.metrics(false) {
                metrics.compressed(gzip.is_ok());
            }
            if let Ok(gzip) = gzip {
                copy.body = gzip;
                without_digests(copy);
                copy.headers.push("content-encoding", "gzip");
            }
        }
        let call =
            host.callout_of(cluster, &copy.headers, &copy.body, &copy.trailers, target.written.timeout.0);
        call.map_err(|error| {
            if !self.warned.replace(true) {
                let cluster = lossy(cluster);
                weir_sdk::log::warn!(
                    "target `{}`: cluster `{cluster}`: {error}; further ones are counted",
                    target.name
                );
            }
            self.judge(target, now, true, Duration::ZERO);
            Why::Refused
        })
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
        host: &PluginHost,
    ) -> Result<Option<(CalloutId, Flight)>, Why> {
        let (Some(record), Some(recorder)) = (&target.record, &self.recorder) else {
            return Ok(None);
        };
        let full = recorder.add(record, line, account, host).ok_or(Why::Memory)?;
        if let Some(metrics) = self.metrics(false) {
            metrics.sent(line.len(), truncated);
        }
        Ok(if full { self.post(target, host) } else { None })
    }

    /// Sends the records that wait.
    pub(crate) fn post(&self, target: &Target, host: &PluginHost) -> Option<(CalloutId, Flight)> {
        let (record, recorder, metrics) =
            (target.record.as_ref()?, self.recorder.as_ref()?, self.metrics(false)?);
        let (lines, records) = recorder.take()?;
        let posted = || {
            let now = host.uptime().unwrap_or_default();
            let in_flight =
                InFlight::take(metrics.in_flight, target.written.max_in_flight).ok_or(Why::InFlight)?;
            let mut copy = target.post(record, lines)?;
            let id = self.call(target, &record.cluster, &mut copy, host, now)?;
            recorder.sent();
            Ok::<_, Why>((id, Flight { since: now, records, _in_flight: in_flight }))
        };
        posted().inspect_err(|_| recorder.lose(records)).ok()
    }

    /// Sends a control copy, where one more in flight may be.
    pub(crate) fn send_control(
        &self,
        target: &Target,
        cluster: &[u8],
        copy: &Copy,
        host: &PluginHost,
    ) -> Option<(CalloutId, InFlight)> {
        let in_flight = InFlight::take(self.metrics(false)?.in_flight, target.written.max_in_flight)?;
        let call =
            host.callout_of(cluster, &copy.headers, &copy.body, &copy.trailers, target.written.timeout.0);
        let id = call.ok()?;
        if let Some(judge) = &self.judge {
            judge.control();
        }
        Some((id, in_flight))
    }

    /// A copy would have been sent.
    pub(crate) fn would_send(&self, copy: &Copy) {
        if let Some(metrics) = self.metrics(true) {
            metrics.sent(copy.body.len(), copy.body_truncated);
        }
    }

    /// An answer has come, of the target's or of Envoy's for it.
    pub(crate) fn ended(&self, target: &Target, flight: &Flight, reply: &CalloutReply, host: &PluginHost) {
        let now = host.uptime().unwrap_or(flight.since);
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
        if let Some(recorder) = self.recorder.as_ref().filter(|_| !is_accepted(reply)) {
            recorder.lose(flight.records);
        }
        self.judge(target, now, end != End::Answered, latency);
    }

    fn judge(&self, target: &Target, now: Duration, failed: bool, latency: Duration) {
        let back_off = &target.written.back_off;
        if back_off.is_on() {
            let before = self.state.get();
            self.state.set(back_off.step(before, now, back_off.is_bad(failed, latency)));
            let (was, is) = (back_off.part(&before, now), back_off.part(&self.state.get(), now));
            if was != is {
                weir_sdk::log::info!("target `{}`: {is}", target.name);
            }
        }
    }
}
