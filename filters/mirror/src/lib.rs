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
mod held;
mod metrics;
pub mod policy;
mod sender;

pub use config::Config;
pub use policy::{Inputs, Policy};

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use weir_sdk::{
    Body, CalloutId, CalloutReply, ConfigError, Counter, Decision, Ended, FailurePolicy, Headers as _,
    HostError, HttpFilter, PluginHost, Request, RequestTrailers, log,
};

use held::{Account, Held};
use policy::plan::{Plan, Verdict};
use policy::snapshot::{Snapshot, size};
use policy::why::Why;
use sender::{Flight, Sender};

/// The filter.
#[derive(Debug)]
pub struct Mirror {
    policy: Policy,
    senders: Vec<Sender>,
    /// Copies without an answer, and their targets.
    flights: RefCell<BTreeMap<CalloutId, (usize, Flight)>>,
    account: Account,
    route_invalid: Counter,
}

/// What a stream remembers while its request is not complete.
#[derive(Debug, Default)]
pub struct Stream(Option<Box<Pending>>);

#[derive(Debug)]
struct Pending {
    plan: Plan,
    snapshot: Snapshot,
    held: Held,
}

impl HttpFilter for Mirror {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let policy = Policy::try_from(config)?;
        let senders = policy.targets().iter().map(|target| Sender::new(&policy, target, host));
        Ok(Self {
            senders: senders.collect::<Result<_, _>>()?,
            flights: RefCell::default(),
            account: Account::new(policy.max_held_bytes),
            route_invalid: host.counter(&[&policy.prefix(false), ".route_invalid"].concat())?,
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
        let host = request.plugin();
        let mut pending = match self.account.take(size(request.map())) {
            Some(held) => {
                let snapshot = Snapshot::new(request.map().clone(), plan.body_limit());
                Pending { plan, snapshot, held }
            }
            None => {
                self.give_up(plan, Why::Memory);
                return Ok(Decision::next());
            }
        };
        if let Some(length) = pending.snapshot.declared_length() {
            pending.plan.grow(length);
        }
        if request.end_of_stream() || !pending.plan.is_pending() {
            self.finish(pending, host);
        } else {
            stream.0 = Some(Box::new(pending));
        }
        Ok(Decision::next())
    }

    fn on_request_body(&self, stream: &mut Stream, body: &Body) -> Result<Decision, HostError> {
        let Some(mut pending) = stream.0.take() else {
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
        if body.end_of_stream() || !pending.plan.is_pending() {
            self.finish(*pending, body.plugin());
        } else {
            stream.0 = Some(pending);
        }
        Ok(Decision::next())
    }

    fn on_request_trailers(
        &self,
        stream: &mut Stream,
        trailers: &RequestTrailers,
    ) -> Result<Decision, HostError> {
        if let Some(mut pending) = stream.0.take() {
            if pending.held.grow(size(trailers.map())) {
                pending.snapshot.trailers = trailers.map().clone();
                self.finish(*pending, trailers.plugin());
            } else {
                self.give_up(pending.plan, Why::Memory);
            }
        }
        Ok(Decision::next())
    }

    fn on_log(&self, stream: &mut Stream, _ended: &Ended) {
        if let Some(pending) = stream.0.take() {
            self.give_up(pending.plan, Why::Incomplete);
        }
    }

    fn on_plugin_callout_reply(&self, host: &PluginHost, id: CalloutId, reply: CalloutReply) {
        let flight = self.flights.borrow_mut().remove(&id);
        if let Some((index, flight)) = flight
            && let (Some(target), Some(sender)) = (self.policy.targets().get(index), self.senders.get(index))
        {
            sender.ended(target, &flight, &reply, host);
        }
    }

    /// Nobody reads it.
    fn callout_body_limit(&self, _id: CalloutId) -> usize {
        0
    }

    /// A mirror is not worth a request.
    fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy::FailOpen
    }
}

impl Mirror {
    fn plan(&self, request: &Request) -> Plan {
        let now: OnceCell<Duration> = OnceCell::new();
        let now = || *now.get_or_init(|| request.plugin().uptime().unwrap_or_default());
        let part = |index: usize| match (self.policy.targets().get(index), self.senders.get(index)) {
            (Some(target), Some(sender)) => sender.part(target, now),
            _ => policy::back_off::Part::Nothing,
        };
        self.policy.plan(&Inputs { request, random: &|| request.random(), part: &part })
    }

    /// The request is complete: sends what is wanted.
    fn finish(&self, pending: Pending, host: &PluginHost) {
        let Pending { mut plan, snapshot, held } = pending;
        let dry_run = plan.dry_run;
        for entry in &mut plan.entries {
            let Verdict::Wanted(wanted) = &entry.verdict else {
                continue;
            };
            let (Some(target), Some(sender)) =
                (self.policy.targets().get(entry.target), self.senders.get(entry.target))
            else {
                continue;
            };
            let sent = target.copy(wanted, &snapshot).and_then(|copy| {
                if dry_run {
                    sender.would_send(&copy);
                    return Ok(());
                }
                let (id, flight) = sender.send(target, wanted, &copy, host)?;
                self.flights.borrow_mut().insert(id, (entry.target, flight));
                Ok(())
            });
            entry.detail = sent.err().and_then(|refused| refused.detail);
            entry.verdict = sent.map_or_else(|refused| Verdict::Skipped(refused.why), |()| Verdict::Sent);
        }
        drop(held);
        self.close(&plan);
    }

    fn give_up(&self, mut plan: Plan, why: Why) {
        plan.give_up(why);
        self.close(&plan);
    }

    /// Counts what was not copied, and says what became of the request.
    fn close(&self, plan: &Plan) {
        for entry in &plan.entries {
            if let (Verdict::Skipped(why), Some(sender)) = (&entry.verdict, self.senders.get(entry.target)) {
                sender.skip(*why, plan.dry_run);
            }
        }
        log::debug!("decision: {plan}");
    }
}

weir_sdk::register!(
    Mirror: on_request_headers, on_request_body, on_request_trailers, on_log, on_plugin_callout_reply
);
