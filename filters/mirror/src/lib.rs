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

use std::rc::Rc;

use weir_sdk::{
    Attributes as _, Body, CalloutId, CalloutReply, ConfigError, Decision, Ended, FailurePolicy,
    Headers as _, HostError, HttpFilter, PluginHost, Request, RequestTrailers, Response, ResponseTrailers,
    log::Level,
};

use flights::{Flight, Flights, Kind};
use held::Account;
use metrics::{Counters, Definer};
use policy::answer::Answer;
use policy::bytes::joined;
use policy::plan::{Plan, Verdict};
use policy::snapshot::{Snapshot, size};
use policy::target::{Refused, Target, Wanted};
use policy::why::Why;
use recorder::Recording;
use reporter::Reporter;
use sender::Sender;
use stream::Pending;
use trials::{Case, Kept, Whose};

/// The filter.
#[derive(Debug)]
pub struct Mirror {
    policy: Policy,
    senders: Vec<Sender>,
    flights: Flights,
    reporter: Option<Reporter>,
    account: Account,
    /// Routes that name no policy.
    counters: Counters,
}

impl HttpFilter for Mirror {
    type Config = Config;
    type Stream = Stream;

    const ONLY_WATCHES: bool = true;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let mut policy = Policy::try_from(config)?;
        let mut definer = Definer { host, refused: None };
        let mut senders = Vec::with_capacity(policy.targets().len());
        for (index, target) in policy.targets().iter().enumerate() {
            senders.push(Sender::new(&policy, index, target, &mut definer));
        }
        let prefix = policy.prefix(false);
        let report = policy.take_report();
        let reporter = report.map(|report| Reporter::new(report, &mut definer, &prefix));
        let counters = definer.counters(&prefix, ".route_invalid");
        if let Some(error) = definer.refused {
            return Err(error.into());
        }
        let account = Account::new(policy.max_held_bytes());
        Ok(Self { senders, flights: Flights::default(), reporter, account, counters, policy })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        let mut plan = self.plan(request);
        self.counters.add(0, u64::from(plan.route_invalid));
        if !plan.is_pending() {
            self.close(&plan);
            return Ok(Decision::next());
        }
        let Some(held) = self.account.take(size(request.map())) else {
            self.give_up(&mut plan, Why::Memory);
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
            self.give_up(&mut pending.plan, Why::Memory);
            return Ok(Decision::next());
        }
        let kept = match body.range(0, room) {
            Ok(kept) => kept,
            Err(error) => {
                self.give_up(&mut pending.plan, Why::Incomplete);
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
                self.give_up(&mut pending.plan, Why::Memory);
            }
        }
        Ok(Decision::next())
    }

    fn on_response_headers(&self, stream: &mut Stream, response: &Response) -> Result<Decision, HostError> {
        if let Some(limit) = self.answer_limit(stream) {
            stream.primary = Kept::begin(response.map(), limit, &self.account);
            match stream.primary.as_mut().and_then(Rc::get_mut) {
                Some(primary) => primary.complete = response.end_of_stream(),
                None => stream.lost = true,
            }
        }
        Ok(Decision::next())
    }

    fn on_response_body(&self, stream: &mut Stream, body: &Body) -> Result<Decision, HostError> {
        let Some(primary) = stream.primary.as_mut().and_then(Rc::get_mut) else {
            return Ok(Decision::next());
        };
        let mut failed = None;
        if let Some(room) = primary.room(body.len()) {
            match body.range(0, room) {
                Ok(kept) => {
                    primary.add(&kept);
                    primary.complete |= body.end_of_stream();
                    return Ok(Decision::next());
                }
                Err(error) => failed = Some(error),
            }
        }
        stream.primary = None;
        stream.lost = true;
        match failed {
            None => Ok(Decision::next()),
            Some(error) => Err(error),
        }
    }

    fn on_response_trailers(
        &self,
        stream: &mut Stream,
        trailers: &ResponseTrailers,
    ) -> Result<Decision, HostError> {
        if let Some(primary) = stream.primary.as_mut().and_then(Rc::get_mut) {
            stream.lost |= !primary.trailers(trailers.map());
        }
        Ok(Decision::next())
    }

    fn on_log(&self, stream: &mut Stream, ended: &Ended) {
        if let Some(mut pending) = stream.pending.take() {
            self.give_up(&mut pending.plan, Why::Incomplete);
        }
        if stream.cases.is_empty() && stream.recordings.is_empty() {
            return;
        }
        let mut kept = stream.primary.take();
        let mut flags = 0;
        let primary = kept.as_mut().and_then(Rc::get_mut);
        // Not every answer has a callback that says it is whole; Envoy's flags say when it is not.
        if !primary.as_ref().is_some_and(|primary| primary.complete) {
            flags = ended.attribute_uint(&["response", "flags"]).unwrap_or_default();
        }
        if let Some(primary) = primary {
            primary.answer.body_truncated |= flags != 0;
        }
        for case in &stream.cases {
            let answer = if flags == 0 { kept.clone() } else { None };
            self.hear(case, Whose::Primary, answer, ended.plugin());
        }
        for recording in &stream.recordings {
            let answer = kept.as_ref().map(|kept| &kept.answer);
            let answer = if stream.lost { Err(Why::Memory.into()) } else { Ok(answer) };
            self.record(recording, answer, flags, ended);
        }
    }

    fn on_plugin_callout_reply(&self, host: &PluginHost, id: CalloutId, reply: CalloutReply) {
        let Some(flight) = self.flights.land(id) else { return };
        if flight.kind == Kind::Report {
            if let Some(reporter) = &self.reporter {
                reporter.ended(recorder::is_accepted(&reply));
            }
            return;
        }
        let Some((target, sender)) = self.target(flight.target) else { return };
        let mut whose = Whose::Control;
        if flight.kind != Kind::Control {
            whose = Whose::Copy;
            sender.ended(target, &flight, &reply, host);
        }
        if let Some(case) = &flight.case {
            let limit = target.answer_bytes().unwrap_or_default();
            self.hear(case, whose, Kept::of(reply, limit, &self.account), host);
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
            self.flights.start(id, Flight::REPORT);
        }
        for (target, sender) in self.policy.targets().iter().zip(&self.senders) {
            if let Some(recorder) = &sender.recorder {
                recorder.wake();
                sender.post(target, &self.flights, host);
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
        let part = |index: usize| match self.target(index) {
            Some((_, sender)) => sender.part(request.plugin()),
            None => policy::back_off::Part::Nothing,
        };
        self.policy.plan(&Inputs { request, random: &|| request.random(), part: &part })
    }

    /// Waits for the rest of the request, or sends what is wanted when there is none.
    #[inline(never)]
    fn go_on(&self, stream: &mut Stream, mut pending: Box<Pending>, complete: bool, host: &PluginHost) {
        if !complete && pending.plan.is_pending() {
            stream.pending = Some(pending);
            return;
        }
        let Pending { plan, snapshot, .. } = &mut *pending;
        for entry in &mut plan.entries {
            let (Verdict::Wanted(wanted), Some((target, sender))) =
                (&entry.verdict, self.target(entry.target))
            else {
                continue;
            };
            let mut done = Verdict::Sent;
            if target.record.is_some() {
                done = Verdict::Recorded;
            }
            entry.verdict = match self.finish(stream, target, sender, wanted, snapshot, plan.dry_run, host) {
                Ok(()) => done,
                Err(refused) => {
                    entry.detail = refused.detail;
                    Verdict::Skipped(refused.why)
                }
            };
        }
        self.close(plan);
    }

    /// The request is complete: sends what is wanted of it.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "it is called once")]
    fn finish(
        &self,
        stream: &mut Stream,
        target: &Target,
        sender: &Sender,
        wanted: &Wanted,
        snapshot: &Snapshot,
        dry_run: bool,
        host: &PluginHost,
    ) -> Result<(), Refused> {
        let mut copy = target.copy(wanted, snapshot);
        target.change(wanted, &mut copy, snapshot.length)?;
        if dry_run {
            sender.would_send(&copy);
            return Ok(());
        }
        if target.record.is_some() {
            let bytes = size(&copy.headers).saturating_add(copy.body.len());
            let held = self.account.take(bytes).ok_or(Why::Memory)?;
            sender.admit(target, host.monotonic_ns().unwrap_or_default())?;
            let limit = target.recorded_bytes(wanted);
            stream.recordings.push(Recording { target: sender.index, request: copy, limit, _held: held });
            return Ok(());
        }
        let case = target.trial.as_ref().map(|_| Case::new(sender.index, target, &copy));
        let what = (Kind::Copy, 0, case.as_ref());
        sender.send(target, &wanted.cluster, &mut copy, what, &self.flights, host)?;
        if let Some(case) = case {
            if let Some(cluster) = target.control_cluster(&|| host.random())
                && snapshot.is_whole()
            {
                let mut copy = target.control(snapshot);
                let what = (Kind::Control, 0, Some(&case));
                let sent =
                    sender.send(target, cluster.as_bytes(), &mut copy, what, &self.flights, host).is_ok();
                if let Some(judge) = sender.judge.as_ref().filter(|_| sent) {
                    judge.control();
                    case.await_control();
                }
            }
            stream.cases.push(case);
        }
        Ok(())
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
            Ok(sender.collect(target, &line, truncated, &self.account, &self.flights, host)?)
        });
        if let Err(Refused { why, detail }) = recorded {
            sender.skip(why, false);
            let (name, detail) = (&target.name, detail.unwrap_or_default());
            weir_sdk::say(Level::Debug, || {
                let recorded = joined("decision: ", name, ": not recorded, ");
                joined(&recorded, why.text(), &joined(" ", detail, ""))
            });
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

    #[inline(never)]
    fn hear(&self, case: &Case, whose: Whose, answer: Option<Rc<Kept>>, host: &PluginHost) {
        if let Some((Target { trial: Some(trial), .. }, Sender { judge: Some(judge), .. })) =
            self.target(case.target)
        {
            judge.hear(case, trial, whose, answer, self.reporter.as_ref(), host);
        }
    }

    #[inline(never)]
    fn give_up(&self, plan: &mut Plan, why: Why) {
        plan.give_up(why);
        self.close(plan);
    }

    /// Counts what was not copied, and says what became of the request.
    fn close(&self, plan: &Plan) {
        for entry in &plan.entries {
            if let (Verdict::Skipped(why), Some((_, sender))) = (&entry.verdict, self.target(entry.target)) {
                sender.skip(*why, plan.dry_run);
            }
        }
        weir_sdk::say(Level::Debug, || {
            let said = if plan.leaves_alone() { "left alone" } else { "decision" };
            joined(said, ": ", &plan.text())
        });
    }
}

weir_sdk::register!(
    Mirror: on_request_headers, on_request_body, on_request_trailers, on_response_headers, on_response_body,
    on_response_trailers, on_log, on_plugin_callout_reply, on_plugin_timer
);
