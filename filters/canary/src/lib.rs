//! Sends each request to an arm: by what it carries, by a share that keeps every client on one side, by the clock, or by a switch; and takes an
//! arm out that fails.
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
mod policy;
mod stream;
mod watcher;

pub use config::Config;
pub use policy::guard::Watch;
pub use policy::{Chosen, Inputs, Policy};
pub use stream::Stream;

use std::cell::RefCell;
use std::rc::Rc;

use weir_sdk::log::Level;
use weir_sdk::outcome::Verdict;
use weir_sdk::{
    Body, CalloutId, CalloutReply, ConfigError, Counter, Decision, Ended, Flow, Headers as _, HostError,
    HttpFilter, PluginHost, Request, RequestTrailers, Response,
};

use stream::Watched;
use watcher::{Count, Metrics, Watcher, say};

/// The filter.
#[derive(Debug)]
pub struct Canary {
    policy: Policy,
    counters: Vec<Counter>,
    /// Where the rules have guards.
    metrics: Option<Rc<Metrics>>,
    watchers: Vec<Watcher>,
    /// Calls to webhooks that are not answered.
    told: RefCell<Vec<CalloutId>>,
}

impl HttpFilter for Canary {
    type Config = Config;
    type Stream = Stream;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let policy = Policy::compile(&config, &|secret| host.secret(secret))?;
        let refused = |error: HostError| ConfigError::invalid("stat_prefix", error.text());
        let mut counters = Vec::new();
        for name in policy.counters() {
            counters.push(host.counter(&name).map_err(refused)?);
        }
        let (mut metrics, mut watchers) = (None, Vec::new());
        if !policy.guards().is_empty() {
            let defined = Rc::new(Metrics::define(host, policy.prefix()).map_err(refused)?);
            for guard in policy.guards() {
                watchers.push(Watcher::new(guard, &defined, host, policy.prefix()));
            }
            defined.begin(&watchers);
            metrics = Some(defined);
        }
        Ok(Self { policy, counters, metrics, watchers, told: RefCell::default() })
    }

    fn on_request_headers(&self, stream: &mut Stream, request: &Request) -> Result<Decision, HostError> {
        let inputs = Inputs {
            request,
            now: &|| request.now(),
            random: &|| request.random(),
            rolled_back: &|watch| self.watchers.get(watch.guard)?.rolled_back(watch, request.plugin()),
        };
        let (decision, chosen) = self.policy.on_request(&inputs);
        for index in chosen.counts.iter().flatten() {
            if let Some(counter) = self.counters.get(*index) {
                counter.add(1);
            }
        }
        stream.watched = chosen.watch.and_then(|watch| self.watch(watch, request)).map(Box::new);
        stream.chosen = chosen;
        Ok(decision)
    }

    fn on_request_body(&self, stream: &mut Stream, body: &Body) -> Result<Decision, HostError> {
        if let Some((watched, watcher)) = self.watched(stream)
            && let Some(mut kept) = watched.kept.take()
            && let Some(zero_error) = &watcher.guard.zero_error
            && kept.room(body.len(), zero_error.max_request_bytes)
            && kept.add(&body.bytes()?, zero_error.max_request_bytes)
        {
            kept.complete = body.end_of_stream();
            watched.kept = Some(kept);
        }
        Ok(Decision::next())
    }

    fn on_request_trailers(
        &self,
        stream: &mut Stream,
        trailers: &RequestTrailers,
    ) -> Result<Decision, HostError> {
        if let Some(kept) = stream.watched.as_mut().and_then(|watched| watched.kept.as_mut()) {
            kept.end(trailers.map().clone());
        }
        Ok(Decision::next())
    }

    fn on_response_headers(&self, stream: &mut Stream, response: &Response) -> Result<Decision, HostError> {
        if let Some((watched, watcher)) = self.watched(stream) {
            watched.slow = is_slow(watched, watcher, response.plugin());
            if let Some(decision) = self.send_again(watched, watcher, response) {
                return Ok(decision);
            }
        }
        Ok(self.policy.on_response(&stream.chosen))
    }

    /// The stable arm has answered, in place of another.
    fn on_callout_reply(&self, stream: &mut Stream, reply: CalloutReply) -> Result<Decision, HostError> {
        match self.policy.make_good(&stream.chosen, reply) {
            Some(reply) => {
                if let Some(watched) = &mut stream.watched {
                    watched.saved = true;
                }
                Ok(Decision::reply(reply).because("the stable arm's answer"))
            }
            None => Ok(self.policy.on_response(&stream.chosen).because("the stable arm has failed, too")),
        }
    }

    fn on_log(&self, stream: &mut Stream, ended: &Ended) {
        let Some((watched, watcher)) = self.watched(stream) else { return };
        let verdict = watched.verdict.unwrap_or_else(|| watcher.guard.judge.verdict(ended, watched.is_grpc));
        let slow = watched.slow.or_else(|| is_slow(watched, watcher, ended.plugin())).unwrap_or(false);
        let has_waited_too_long =
            verdict == Verdict::ClientLeft && slow && watcher.guard.judge.counts_slow_aborts();
        let counted = if has_waited_too_long { Verdict::Success } else { verdict };
        watcher.count(watched.watch.lane, counted, slow, ended.plugin());
        if let Some(metrics) = &self.metrics
            && watched.watch.lane > 0
            && watcher.guard.zero_error.is_some()
        {
            metrics.count(Count::Saved, watched.saved);
            metrics.count(Count::Unsaved, verdict.is_error() && !watched.saved);
        }
        stream.watched = None;
    }

    fn on_plugin_callout_reply(&self, _: &PluginHost, id: CalloutId, reply: CalloutReply) {
        let mut told = self.told.borrow_mut();
        let Some(place) = told.iter().position(|other| *other == id) else { return };
        told.swap_remove(place);
        let Some(metrics) = &self.metrics else { return };
        let is_told = reply.is_from_upstream() && reply.status.is_some_and(|status| status < 300);
        metrics.count(Count::WebhookTold, is_told);
        metrics.count(Count::WebhookFailed, !is_told);
        if !is_told {
            say(Level::Error, "webhook: answered ", &u64::from(reply.status.unwrap_or(0)).to_string());
        }
    }

    fn callout_body_limit(&self, _: CalloutId) -> usize {
        let mut limit = 0;
        for watcher in &self.watchers {
            if let Some(zero_error) = &watcher.guard.zero_error {
                // One more tells that there is more.
                limit = limit.max(zero_error.max_answer_bytes.saturating_add(1));
            }
        }
        limit
    }

    fn on_plugin_timer(&self, host: &PluginHost) {
        let mut told = Vec::new();
        for watcher in &self.watchers {
            watcher.merge(host, &mut told);
        }
        self.told.borrow_mut().append(&mut told);
    }
}

impl Canary {
    fn watched<'a>(&'a self, stream: &'a mut Stream) -> Option<(&'a mut Watched, &'a Watcher)> {
        let watched = stream.watched.as_deref_mut()?;
        let watcher = self.watchers.get(watched.watch.guard)?;
        Some((watched, watcher))
    }

    /// A request that a guard watches.
    fn watch(&self, watch: Watch, request: &Request) -> Option<Watched> {
        let watcher = self.watchers.get(watch.guard)?;
        watcher.earn();
        let timed =
            watcher.guard.rollback.as_ref().is_some_and(|rollback| rollback.rules.slow_ns().is_some());
        Some(Watched {
            watch,
            is_grpc: watcher.guard.judge.asks_grpc() && request.is_grpc(),
            began_ns: timed.then(|| request.plugin().monotonic_ns().ok()).flatten(),
            slow: None,
            kept: self.policy.keep(watch, request, &|| request.now(), request.end_of_stream()),
            verdict: None,
            saved: false,
        })
    }

    /// Holds a response that is a failure, where the request can be sent to the stable arm.
    fn send_again(&self, watched: &mut Watched, watcher: &Watcher, response: &Response) -> Option<Decision> {
        let kept = watched.kept.take()?;
        let guard = &watcher.guard;
        let verdict = guard.judge.verdict(response, watched.is_grpc);
        if !verdict.is_error() {
            return None;
        }
        watched.verdict = Some(verdict);
        let zero_error = guard.zero_error.as_ref()?;
        if !kept.complete || !watcher.may_send() {
            return None;
        }
        if let Some(metrics) = &self.metrics {
            metrics.count(Count::Sent, true);
        }
        let flow = Flow::Await(zero_error.call(kept));
        Some(Decision { flow, explanation: Some(zero_error.why()), ..Decision::next() })
    }
}

/// Whether an arm has taken too long until now, where that matters.
fn is_slow(watched: &Watched, watcher: &Watcher, host: &PluginHost) -> Option<bool> {
    let slow_ns = watcher.guard.rollback.as_ref()?.rules.slow_ns()?;
    Some(host.monotonic_ns().ok()?.saturating_sub(watched.began_ns?) >= slow_ns)
}

weir_sdk::register!(
    Canary: on_request_headers, on_request_body, on_request_trailers, on_response_headers, on_callout_reply, on_log,
    on_plugin_callout_reply, on_plugin_timer
);
