//! One stream from its first byte to `on_delete`, and the [`Outcome`] it leaves (`LIFE-*`).

use std::time::Duration;

use super::{Replay, flow::Flows};
use crate::exchange::{Exchange, Message, Protocol};
use crate::headers::Headers;
use crate::host::{Host, Owner, Phase, Slot, Stream, StreamId, View};
use crate::outcome::{End, Outcome};
use crate::upstream::Answer;

/// What goes on in the stream of a slot, beside what filters can see.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) run: Run,
    /// By filter.
    pub(super) flows: Vec<Flows>,
    /// Its place among those in flight.
    place: usize,
}

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
    /// It had the whole request.
    pub(super) asked: bool,
    /// When it got it.
    pub(super) asked_ns: u64,
    /// What the upstream will answer; absent: what was recorded.
    pub(super) answer: Option<Box<Answer<'static>>>,
    /// When it will.
    pub(super) answer_ns: Option<u64>,
    /// How long the upstream took.
    pub(super) upstream_ns: u64,
    /// The route's timeout; 0: none.
    pub(super) timeout_ns: u64,
    /// When something last happened (`FLOW-30`).
    pub(super) active_ns: u64,
    /// The idle timer runs.
    pub(super) idle: bool,
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
}

impl Replay {
    /// Begins a stream on a worker: the request as filters will see it, and its route.
    pub(super) fn open(&mut self, number: u64, exchange: &Exchange, worker: usize) -> Slot {
        let at = self.free.pop().unwrap_or_else(|| {
            self.lives.add();
            self.host.streams.add()
        });
        let now = self.host.clock.now_ns();
        let Host { streams, chains, random, apart, .. } = &mut *self.host;
        let chain = &chains[worker];
        let stream = &mut streams[at];
        stream.reset(chain);
        stream.worker = worker;
        // What ticks left behind while there was no stream.
        if !apart.is_empty() {
            stream.notes = std::mem::take(apart);
        }
        stream.number = number;
        stream.phase = Phase::Open;
        stream.random = random.next_u64();
        stream.info.start_ns = now;
        stream.info.protocol = exchange.downstream.protocol;
        stream.info.tls = exchange.downstream.tls;
        stream.info.connection_id = exchange.downstream.connection_id.unwrap_or(number);
        if let Some(address) = exchange.downstream.address {
            stream.info.source = address;
        }
        super::prepare::request(&exchange.request, stream, random);
        let live = &mut self.lives[at];
        live.flows.clear();
        live.flows.resize_with(chain.len(), Flows::default);
        live.place = self.in_flight.len();
        live.run.active_ns = now;
        live.run.head = stream.request.headers.get(b":method") == Some(b"HEAD");
        live.run.grpc = stream.request.headers.get(b"content-type").is_some_and(|kind| {
            kind.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
        });
        self.in_flight.push(at);
        self.select_route(at);
        at
    }

    /// Gives the events of a message to the filters, as they come from the wire (`LIFE-10`, `LIFE-11`): the headers are in the stream
    /// already. Of a message that is not `whole` the end does not come.
    pub(super) fn message(&mut self, at: Slot, response: bool, body: &[u8], trailers: &Headers, whole: bool) {
        let http1 = if response {
            !self.upstream_is_http2(at)
        } else {
            matches!(self.host.streams[at].info.protocol, Protocol::Http10 | Protocol::Http11)
        };
        let has_trailers = whole && !trailers.is_empty();
        let side = self.host.streams[at].side_mut(response);
        side.present = true;
        side.complete = whole && body.is_empty() && !has_trailers;
        let end = side.complete;
        self.pass_headers(at, response, 0, end);
        if !body.is_empty() && !self.stopped(at, response) {
            let last = whole && !http1 && !has_trailers;
            self.chunk(at, response, body, last);
            if whole && http1 && !has_trailers && !self.stopped(at, response) {
                self.chunk(at, response, b"", true);
            }
        }
        if has_trailers && !self.stopped(at, response) {
            let side = self.host.streams[at].side_mut(response);
            side.trailers = trailers.clone();
            (side.has_trailers, side.trailers_came, side.complete) = (true, true, true);
            for filter in &mut self.host.streams[at].filters {
                let access = if response { &mut filter.response } else { &mut filter.request };
                access.trailers = filter.id != 0;
            }
            self.pass_trailers(at, response, 0);
        }
    }

    /// Gives a piece of body to the filters.
    pub(super) fn chunk(&mut self, at: Slot, response: bool, data: &[u8], last: bool) {
        let side = self.host.streams[at].side_mut(response);
        side.chunk.clear();
        side.chunk.extend_from_slice(data);
        side.bytes += data.len() as u64;
        side.complete |= last;
        self.pass_data(at, response, 0, View::Chunk, last);
    }

    /// Ends the stream: `on_log` of all, then `on_done` and `on_delete` of each, in chain order (`LIFE-03`, `LIFE-04`).
    pub(super) fn close(&mut self, at: Slot) -> Outcome {
        let now = self.host.clock.now_ns();
        let run = &mut self.lives[at].run;
        if run.waiting {
            run.upstream_ns += now - run.asked_ns;
        }
        let stream = &mut self.host.streams[at];
        stream.info.end_ns = Some(now);
        stream.phase = Phase::Log;
        for filter in 0..self.lives[at].flows.len() {
            self.create(at, filter);
        }
        for filter in 0..self.lives[at].flows.len() {
            self.call_end(at, filter, |vm, host, id| vm.call(host, id, |all| &all.log, id).map(drop));
        }
        self.host.streams[at].phase = Phase::Done;
        for filter in 0..self.lives[at].flows.len() {
            self.call_end(at, filter, |vm, host, id| vm.call(host, id, |all| &all.done, id).map(drop));
            self.call_end(at, filter, |vm, host, id| vm.call(host, id, |all| &all.delete, id).map(drop));
            let filter = self.host.streams[at].filters[filter];
            self.vms[filter.vm].guest().delete(filter.id);
        }
        // Answers that come at this very moment still belong to the exchange.
        self.answer_calls();
        self.host.streams[at].phase = Phase::None;
        let place = self.lives[at].place;
        self.in_flight.swap_remove(place);
        if let Some(moved) = self.in_flight.get(place) {
            self.lives[*moved].place = place;
        }
        self.free.push(at);
        self.outcome(at)
    }

    /// Makes a filter's context, if it has none and can (`LIFE-02`).
    pub(super) fn create(&mut self, at: Slot, filter: usize) {
        let entry = self.host.streams[at].filters[filter];
        if entry.id != 0 || self.vms[entry.vm].failed {
            return;
        }
        let root = self.host.roots[entry.root].id;
        self.host.noting = Some(StreamId { slot: at, number: self.host.streams[at].number });
        let id = self.vms[entry.vm].guest().create(Owner::Stream { at, filter });
        self.host.streams[at].filters[filter].id = id;
        let created =
            self.enter(entry.vm, id, |vm, host, id| vm.call(host, id, |all| &all.context_create, (id, root)));
        if let Err(fault) = created {
            self.fault(at, filter, fault);
        }
        self.run_actions(entry.vm);
    }

    /// What a proxy would have done, from what was noted.
    fn outcome(&mut self, at: Slot) -> Outcome {
        let run = std::mem::take(&mut self.lives[at].run);
        let Host { streams, metrics, clock, .. } = &mut *self.host;
        let Stream { info, notes, worker, .. } = &mut streams[at];
        let duration = info.end_ns.unwrap_or(info.start_ns) - info.start_ns;
        Outcome {
            end: run.end.unwrap_or_default(),
            worker: u32::try_from(*worker).unwrap_or(u32::MAX),
            route: run.route,
            cluster: run.cluster.as_deref().map(str::to_owned),
            upstream_request: run.upstream,
            response: run.response,
            details: std::mem::take(&mut info.details),
            flags: run.flags,
            start: Duration::from_nanos(clock.since_start_ns(info.start_ns)),
            duration: Duration::from_nanos(duration),
            delay: Duration::from_nanos(duration.saturating_sub(run.upstream_ns)),
            callouts: std::mem::take(&mut notes.callouts),
            log: std::mem::take(&mut notes.log),
            metric_deltas: metrics.named(&notes.changes),
            faults: std::mem::take(&mut notes.faults),
        }
    }
}

/// A response without anything but its status.
pub(super) fn bare(status: u32) -> Headers {
    let mut headers = Headers::new();
    headers.push(":status", status.to_string());
    headers
}
