//! Sends copies of requests to other clusters, without the primary ever waiting for one.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod config;
mod flights;
mod held;
mod metrics;
pub mod policy;
mod recorder;
mod reporter;
mod sender;
mod stream;
mod trials;

pub use config::Config;
pub use policy::{Inputs, Policy};
pub use stream::Stream;

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use weir_sdk::{
    Attributes as _, Body, CalloutId, CalloutReply, ConfigError, Counter, Decision, Ended, FailurePolicy,
    Headers as _, HostError, HttpFilter, PluginHost, Request, RequestTrailers, Response, ResponseTrailers,
    log,
};

use flights::{Flights, Kind};
use held::Account;
use policy::answer::Answer;
use policy::bytes::joined;
use policy::plan::{Plan, Verdict};
use policy::snapshot::{Snapshot, size};
use policy::target::{Refused, Target};
use policy::trial::Slot;
use policy::why::Why;
use recorder::Recording;
use reporter::Reporter;
use sender::Sender;
use stream::Pending;
use trials::{Case, Primary, Whose};

/// The filter.
#[derive(Debug)]
pub struct Mirror {
    policy: Policy,
    senders: Vec<Sender>,
    flights: Flights,
    reporter: Option<Reporter>,
    account: Account,
    route_invalid: Counter,
}

impl HttpFilter for Mirror {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let mut policy = Policy::try_from(config)?;
        let mut senders = Vec::with_capacity(policy.targets().len());
        for target in policy.targets() {
            senders.push(Sender::new(&policy, target, host)?);
        }
        let prefix = policy.prefix(false);
        let reporter = match policy.report.take() {
            Some(report) => Some(Reporter::new(report, host, &prefix)?),
            None => None,
        };
        Ok(Self {
            senders,
            flights: Flights::default(),
            reporter,
            account: Account::new(policy.max_held_bytes),
            route_invalid: host.counter(&joined(&prefix, ".route_invalid", ""))?,
            policy,
        })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        let plan = self.plan(request);
        self.route_invalid.add(u64::from(plan.route_invalid));
        if !plan.is_pending() {
            self.close(&plan);
            return Ok(Decision::next());
        }
        let Some(held) = self.account.take(size(request.map())) else {
            self.give_up(plan, Why::Memory);
            return Ok(Decision::next());
        };
        let snapshot = Snapshot::new(request.map().clone(), plan.body_limit());
        let mut pending = Pending { plan, snapshot, held };
        if let Some(length) = pending.snapshot.declared_length() {
            pending.plan.grow(length);
        }
        self.go_on(stream, Box::new(pending), request.end_of_stream(), request.plugin());
        Ok(Decision::next())
    }

    fn on_request_body(&self, stream: &mut Stream, body: &Body) -> Result<Decision, HostError> {
        let Some(mut pending) = stream.pending.take() else {
            return Ok(Decision::next());
        };
        let room = pending.snapshot.room(body.len());
        if !pending.held.grow(room) {
            self.give_up(pending.plan, Why::Memory);
            return Ok(Decision::next());
        }
        let kept = match body.range(0, room) {
            Ok(kept) => kept,
            Err(error) => {
                self.give_up(pending.plan, Why::Incomplete);
                return Err(error);
            }
        };
        pending.snapshot.add(body.len(), &kept);
        pending.plan.grow(pending.snapshot.length);
        self.go_on(stream, pending, body.end_of_stream(), body.plugin());
        Ok(Decision::next())
    }

    fn on_request_trailers(
        &self,
        stream: &mut Stream,
        trailers: &RequestTrailers,
    ) -> Result<Decision, HostError> {
        if let Some(mut pending) = stream.pending.take() {
            if pending.held.grow(size(trailers.map())) {
                pending.snapshot.trailers = trailers.map().clone();
                self.go_on(stream, pending, true, trailers.plugin());
            } else {
                self.give_up(pending.plan, Why::Memory);
            }
        }
        Ok(Decision::next())
    }

    fn on_response_headers(&self, stream: &mut Stream, response: &Response) -> Result<Decision, HostError> {
        if let Some(limit) = self.answer_limit(stream) {
            let (end, account) = (response.end_of_stream(), &self.account);
            stream.primary = Primary::begin(response.map(), limit, end, account);
            stream.lost = stream.primary.is_none();
        }
        Ok(Decision::next())
    }

    fn on_response_body(&self, stream: &mut Stream, body: &Body) -> Result<Decision, HostError> {
        if let Some(primary) = &mut stream.primary {
            let kept = primary.room(body.len()).map(|room| body.range(0, room));
            if let Some(Ok(kept)) = &kept {
                primary.add(kept, body.end_of_stream());
            } else {
                stream.primary = None;
                stream.lost = true;
            }
            if let Some(Err(error)) = kept {
                return Err(error);
            }
        }
        Ok(Decision::next())
    }

    fn on_response_trailers(
        &self,
        stream: &mut Stream,
        trailers: &ResponseTrailers,
    ) -> Result<Decision, HostError> {
        if let Some(primary) = &mut stream.primary {
            stream.lost |= !primary.trailers(trailers.map());
        }
        Ok(Decision::next())
    }

    fn on_log(&self, stream: &mut Stream, ended: &Ended) {
        if let Some(pending) = stream.pending.take() {
            self.give_up(pending.plan, Why::Incomplete);
        }
        if stream.cases.is_empty() && stream.recordings.is_empty() {
            return;
        }
        // Not every answer has a callback that says it is whole; Envoy's flags say when it is not.
        let complete = stream.primary.as_ref().is_some_and(|primary| primary.complete);
        let flags = if complete { None } else { ended.attribute_uint(&["response", "flags"]) };
        let flags = flags.unwrap_or_default();
        let answer = stream.primary.take().map(|primary| primary.end(flags == 0));
        let answer = answer.map(|(answer, held)| (Rc::new(answer), Rc::new(held)));
        for case in &stream.cases {
            let slot = answer.as_ref().filter(|_| flags == 0).map_or(Slot::Never, |(answer, held)| {
                case.hold(Rc::clone(held));
                Slot::Here(Rc::clone(answer))
            });
            self.hear(case, Whose::Primary, slot, ended.plugin());
        }
        for recording in std::mem::take(&mut stream.recordings) {
            let answer = answer.as_ref().map(|(answer, _)| &**answer);
            let answer = if stream.lost { Err(Why::Memory.into()) } else { Ok(answer) };
            self.record(&recording, answer, flags, ended);
        }
    }

    fn on_plugin_callout_reply(&self, host: &PluginHost, id: CalloutId, reply: CalloutReply) {
        let (case, whose) = match self.flights.land(id) {
            None => return,
            Some(Kind::Report) => {
                let accepted = reply.is_from_upstream() && reply.status.is_some_and(|status| status < 300);
                if let Some(reporter) = &self.reporter {
                    reporter.ended(accepted);
                }
                return;
            }
            Some(Kind::Copy { target, flight, case }) => {
                if let Some((target, sender)) = self.target(target) {
                    sender.ended(target, &flight, &reply, host);
                }
                (case, Whose::Copy)
            }
            Some(Kind::Control { case, .. }) => (Some(case), Whose::Control),
        };
        if let Some(case) = case
            && let Some((target, _)) = self.target(case.target)
        {
            let slot = case.answer(reply, target.answer_bytes().unwrap_or_default(), &self.account);
            self.hear(&case, whose, slot, host);
        }
    }

    fn callout_body_limit(&self, id: CalloutId) -> usize {
        let compared = self.flights.compared(id).and_then(|target| self.target(target));
        let limit = compared.and_then(|(target, _)| target.answer_bytes());
        // One more tells that there is more.
        limit.map_or(0, |limit| limit.saturating_add(1))
    }

    fn on_plugin_timer(&self, host: &PluginHost) {
        if let Some(id) = self.reporter.as_ref().and_then(|reporter| reporter.flush(host)) {
            self.flights.start(id, Kind::Report);
        }
        for (target, (told, sender)) in self.policy.targets().iter().zip(&self.senders).enumerate() {
            if let Some(recorder) = &sender.recorder {
                recorder.wake();
                if let Some((id, flight)) = sender.post(told, host) {
                    self.flights.start(id, Kind::Copy { target, flight, case: None });
                }
            }
        }
    }

    /// A mirror is not worth a request.
    fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy::FailOpen
    }
}

impl Mirror {
    #[inline(never)]
    fn target(&self, index: usize) -> Option<(&Target, &Sender)> {
        self.policy.targets().get(index).zip(self.senders.get(index))
    }

    fn plan(&self, request: &Request) -> Plan {
        let now: OnceCell<Duration> = OnceCell::new();
        let now = || *now.get_or_init(|| request.plugin().uptime().unwrap_or_default());
        let part = |index: usize| match self.target(index) {
            Some((target, sender)) => sender.part(target, now),
            None => policy::back_off::Part::Nothing,
        };
        self.policy.plan(&Inputs { request, random: &|| request.random(), part: &part })
    }

    /// Waits for the rest of the request, or sends what is wanted when there is none.
    fn go_on(&self, stream: &mut Stream, pending: Box<Pending>, complete: bool, host: &PluginHost) {
        if complete || !pending.plan.is_pending() {
            self.finish(stream, *pending, host);
        } else {
            stream.pending = Some(pending);
        }
    }

    /// The request is complete: sends what is wanted.
    fn finish(&self, stream: &mut Stream, pending: Pending, host: &PluginHost) {
        let Pending { mut plan, snapshot, held } = pending;
        let dry_run = plan.dry_run;
        for entry in &mut plan.entries {
            let (Verdict::Wanted(wanted), Some((target, sender))) =
                (&entry.verdict, self.target(entry.target))
            else {
                continue;
            };
            let sent = target.copy(wanted, &snapshot).and_then(|mut copy| {
                if dry_run {
                    sender.would_send(&copy);
                    return Ok(());
                }
                if target.record.is_some() {
                    let bytes = size(&copy.headers).saturating_add(copy.body.len());
                    let held = self.account.take(bytes).ok_or(Why::Memory)?;
                    sender.admit(target, host.uptime().unwrap_or_default())?;
                    let limit = target.recorded_bytes(wanted);
                    let recording = Recording { target: entry.target, request: copy, limit, _held: held };
                    stream.recordings.push(recording);
                    return Ok(());
                }
                let (id, flight) = sender.send(target, wanted, &mut copy, host)?;
                let case = target.trial.as_ref().map(|_| {
                    let control = target.control_cluster(&|| host.random()).and_then(|cluster| {
                        sender.send_control(target, cluster.as_bytes(), &target.control(&snapshot)?, host)
                    });
                    let case = Case::new(entry.target, target, &copy, control.is_some());
                    if let Some((id, in_flight)) = control {
                        self.flights
                            .start(id, Kind::Control { case: Rc::clone(&case), _in_flight: in_flight });
                    }
                    stream.cases.push(Rc::clone(&case));
                    case
                });
                self.flights.start(id, Kind::Copy { target: entry.target, flight, case });
                Ok(())
            });
            entry.detail = sent.as_ref().err().and_then(|refused| refused.detail);
            entry.verdict = match sent {
                Ok(()) if target.record.is_some() => Verdict::Recorded,
                Ok(()) => Verdict::Sent,
                Err(refused) => Verdict::Skipped(refused.why),
            };
        }
        drop(held);
        self.close(&plan);
    }

    /// An exchange is over: writes its record, where there may be one.
    fn record(
        &self,
        recording: &Recording,
        answer: Result<Option<&Answer>, Refused>,
        flags: u64,
        ended: &Ended,
    ) {
        let Some((target, sender)) = self.target(recording.target) else { return };
        let Some(record) = &target.record else { return };
        let host = ended.plugin();
        let recorded = answer.and_then(|answer| {
            let facts = recorder::facts(ended, record, flags);
            let redactor = target.redactor.as_deref();
            let line = policy::record::line(&facts, &recording.request, answer, recording.limit, redactor)?;
            let truncated = recording.request.body_truncated;
            Ok(sender.collect(target, &line, truncated, &self.account, host)?)
        });
        match recorded {
            Ok(Some((id, flight))) => {
                self.flights.start(id, Kind::Copy { target: recording.target, flight, case: None });
            }
            Ok(None) => {}
            Err(Refused { why, detail }) => {
                sender.skip(why, false);
                let (name, detail) = (&target.name, detail.unwrap_or_default());
                log::debug!("decision: {name}: not recorded, {} {detail}", why.text());
            }
        }
    }

    /// Bytes of the primary's answer that are kept for what waits for it, or will.
    fn answer_limit(&self, stream: &Stream) -> Option<usize> {
        let mut most = None;
        let mut need = |index: usize| {
            most = most.max(self.target(index).and_then(|(target, _)| target.answer_bytes()));
        };
        if let Some(pending) = &stream.pending {
            for entry in &pending.plan.entries {
                if let Verdict::Wanted(_) = entry.verdict {
                    need(entry.target);
                }
            }
        }
        for case in &stream.cases {
            need(case.target);
        }
        for recording in &stream.recordings {
            most = most.max(Some(recording.limit));
        }
        most
    }

    fn hear(&self, case: &Case, whose: Whose, slot: Slot, host: &PluginHost) {
        if let Some((target, sender)) = self.target(case.target)
            && let Some(judge) = &sender.judge
        {
            judge.hear(case, target, whose, slot, self.reporter.as_ref(), host);
        }
    }

    #[inline(never)]
    fn give_up(&self, mut plan: Plan, why: Why) {
        plan.give_up(why);
        self.close(&plan);
    }

    /// Counts what was not copied, and says what became of the request.
    fn close(&self, plan: &Plan) {
        for entry in &plan.entries {
            if let (Verdict::Skipped(why), Some((_, sender))) = (&entry.verdict, self.target(entry.target)) {
                sender.skip(*why, plan.dry_run);
            }
        }
        let said = if plan.leaves_alone() { "left alone" } else { "decision" };
        log::debug!("{said}: {plan}");
    }
}

weir_sdk::register!(
    Mirror: on_request_headers, on_request_body, on_request_trailers, on_response_headers, on_response_body,
    on_response_trailers, on_log, on_plugin_callout_reply, on_plugin_timer
);
