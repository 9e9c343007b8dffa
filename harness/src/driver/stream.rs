//! One stream from its first byte to `on_delete`, and the [`Outcome`] it leaves (`LIFE-*`).

use super::{Replay, flow::Flows};
use crate::clock::nanoseconds;
use crate::exchange::{Exchange, Message, Protocol};
use crate::headers::Headers;
use crate::host::{Owner, Phase, View};
use crate::outcome::{End, Outcome};
use std::time::Duration;

/// HCM's `stream_idle_timeout`: Envoy's default (`FLOW-30`).
const IDLE: Duration = Duration::from_secs(300);

/// What happens in one exchange, beside what filters can see.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The request must not go on through the filters.
    pub(super) decode_aborted: bool,
    /// The response must not go on through the filters.
    pub(super) encode_aborted: bool,
    /// The stream ended.
    pub(super) over: bool,
    /// A local reply was made.
    pub(super) replied: bool,
    /// It was made because a filter failed.
    pub(super) failed: bool,
    /// The router has the whole request and no answer yet.
    pub(super) waiting: bool,
    pub(super) headers_sent: bool,
    /// The request was `HEAD` when it came.
    pub(super) head: bool,
    /// The request was gRPC when it came, whatever filters made of it (`FLOW-28`).
    pub(super) grpc: bool,
    pub(super) end: Option<End>,
    pub(super) route: Option<String>,
    pub(super) cluster: Option<std::sync::Arc<str>>,
    pub(super) upstream: Option<Message>,
    pub(super) response: Option<Message>,
    pub(super) flags: String,
    pub(super) faults: Vec<String>,
}

impl Replay {
    /// Begins a stream: the request as filters will see it, and its route.
    pub(super) fn open(&mut self, exchange: &Exchange) {
        self.flows.fill(Flows::default());
        let stream = &mut self.host.stream;
        stream.reset();
        stream.phase = Phase::Open;
        stream.random = self.host.random.next_u64();
        stream.info.start_ns = self.host.clock.now_ns();
        stream.info.protocol = exchange.downstream.protocol;
        stream.info.tls = exchange.downstream.tls;
        stream.info.connection_id = exchange.downstream.connection_id.unwrap_or(self.exchanges);
        if let Some(address) = exchange.downstream.address {
            stream.info.source = address;
        }
        super::prepare::request(&exchange.request, stream, &mut self.host.random);
        self.run.head = stream.request.headers.get(b":method") == Some(b"HEAD");
        self.run.grpc = stream.request.headers.get(b"content-type").is_some_and(|kind| {
            kind.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
        });
        self.select_route();
    }

    /// Drives the stream until it ends.
    pub(super) fn run_stream(&mut self, exchange: &Exchange) {
        self.message(false, &exchange.request);
        loop {
            self.deliver_calls();
            if self.run.over {
                return;
            }
            if self.run.waiting {
                self.run.waiting = false;
                self.start_upstream_response(exchange.response.as_ref());
                continue;
            }
            let until = self.host.clock.now_ns().saturating_add(nanoseconds(IDLE));
            self.wait(until, |replay| replay.run.over || replay.run.waiting);
            if !self.run.over && !self.run.waiting {
                self.stall();
            }
        }
    }

    /// Gives the events of a message to the filters, as they come from the wire (`LIFE-10`, `LIFE-11`).
    pub(super) fn message(&mut self, response: bool, message: &Message) {
        let http1 = matches!(self.host.stream.info.protocol, Protocol::Http10 | Protocol::Http11);
        let trailers = !message.trailers.is_empty();
        let empty = message.body.is_empty();
        let side = self.host.stream.side_mut(response);
        side.present = true;
        side.complete = empty && !trailers;
        let end = side.complete;
        self.pass_headers(response, 0, end);
        if !empty && !self.stopped(response) {
            let last = !http1 && !trailers;
            self.chunk(response, &message.body, last);
            if http1 && !trailers && !self.stopped(response) {
                self.chunk(response, b"", true);
            }
        }
        if trailers && !self.stopped(response) {
            let side = self.host.stream.side_mut(response);
            side.trailers = message.trailers.clone();
            (side.has_trailers, side.trailers_came, side.complete) = (true, true, true);
            for filter in &mut self.host.stream.filters {
                let access = if response { &mut filter.response } else { &mut filter.request };
                access.trailers = filter.id != 0;
            }
            self.pass_trailers(response, 0);
        }
    }

    /// Gives a piece of body to the filters.
    pub(super) fn chunk(&mut self, response: bool, data: &[u8], last: bool) {
        let side = self.host.stream.side_mut(response);
        side.chunk.clear();
        side.chunk.extend_from_slice(data);
        side.bytes += data.len() as u64;
        side.complete |= last;
        self.pass_data(response, 0, View::Chunk, last);
    }

    /// Nothing will wake the stream: Envoy's idle timer ends it (`FLOW-30`).
    fn stall(&mut self) {
        self.run.end = Some(End::Stalled);
        self.run.faults.push(self.holder());
        self.flag("SI");
        self.own_reply(504, b"stream timeout", "stream_idle_timeout");
        if !self.run.over {
            // A filter holds the reply too.
            self.run.over = true;
        }
    }

    /// Which filter holds the stream, for the report.
    fn holder(&self) -> String {
        let response = self.host.stream.response.present;
        let names = self.flows.iter().zip(&self.plugins).filter(|(flows, _)| flows.holds(response));
        let names: Vec<_> = names.map(|(_, plugin)| format!("`{}`", plugin.name)).collect();
        let what = if response { "response" } else { "request" };
        let names = if names.is_empty() { "a filter".to_owned() } else { names.join(", ") };
        format!("{names} held the {what} and nothing was left that would wake it")
    }

    /// Ends the stream: `on_log` of all, then `on_done` and `on_delete` of each, in chain order (`LIFE-03`, `LIFE-04`).
    pub(super) fn close(&mut self) {
        self.host.actions.clear();
        self.host.stream.info.end_ns = Some(self.host.clock.now_ns());
        self.host.stream.phase = Phase::Log;
        for filter in 0..self.flows.len() {
            self.create(filter);
        }
        for filter in 0..self.flows.len() {
            self.call_end(filter, |vm, host, id| vm.call(host, id, |all| &all.log, id).map(drop));
        }
        self.host.stream.phase = Phase::Done;
        for filter in 0..self.flows.len() {
            self.call_end(filter, |vm, host, id| vm.call(host, id, |all| &all.done, id).map(drop));
            self.call_end(filter, |vm, host, id| vm.call(host, id, |all| &all.delete, id).map(drop));
            let (vm, id) = (self.host.stream.filters[filter].vm, self.host.stream.filters[filter].id);
            self.vms[vm].guest().delete(id);
        }
        self.host.stream.phase = Phase::None;
        self.deliver_calls();
    }

    /// Makes a filter's context, if it has none and can (`LIFE-02`).
    pub(super) fn create(&mut self, filter: usize) {
        let entry = self.host.stream.filters[filter];
        if entry.id != 0 || self.vms[entry.vm].failed {
            return;
        }
        let root = self.host.roots[entry.root].id;
        let vm = &mut self.vms[entry.vm];
        let id = vm.guest().create(Owner::Stream(filter));
        self.host.stream.filters[filter].id = id;
        if let Err(fault) = vm.call(&mut self.host, id, |all| &all.context_create, (id, root)) {
            self.fault(filter, fault);
        }
        self.run_actions();
    }

    /// What a proxy would have done, from what was noted.
    pub(super) fn outcome(&mut self) -> Outcome {
        let run = std::mem::take(&mut self.run);
        let info = &mut self.host.stream.info;
        Outcome {
            end: run.end.unwrap_or_default(),
            route: run.route,
            cluster: run.cluster.as_deref().map(str::to_owned),
            upstream_request: run.upstream,
            response: run.response,
            details: std::mem::take(&mut info.details),
            flags: run.flags,
            delay: Duration::from_nanos(info.end_ns.unwrap_or(info.start_ns) - info.start_ns),
            callouts: std::mem::take(&mut self.host.callouts),
            log: std::mem::take(&mut self.host.log),
            metric_deltas: self.host.metrics.take_deltas(),
            faults: run.faults,
        }
    }
}

/// A response without anything but its status.
pub(super) fn bare(status: u32) -> Headers {
    let mut headers = Headers::new();
    headers.push(":status", status.to_string());
    headers
}
