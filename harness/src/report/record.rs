//! The JSON form of a report: shape only. The order of the fields is part of the form; `weir schema report` prints its JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::comparison::record::{ComparisonRecord, ComparisonSummaryRecord};
use super::{HeaderChanges, Summary, Totals};
use crate::clock;
use crate::exchange::{Exchange, Message};
use crate::outcome::{CalloutOutcome, LogLine, MetricDelta, Outcome};
use crate::time;
use crate::traffic::jsonl::wire::Bytes;

/// A line of the report: exchanges in order, then one summary.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(title = "WeirReport")]
pub(crate) enum Record<'a> {
    /// What came of an exchange.
    Exchange(Box<ExchangeRecord<'a>>),
    /// What is known at the end: the last line.
    Summary(Box<SummaryRecord<'a>>),
    /// What came of an exchange in the harness and in a real Envoy: a line of `weir replay --envoy`.
    Comparison(Box<ComparisonRecord<'a>>),
    /// How both compare: the last line of it.
    ComparisonSummary(Box<ComparisonSummaryRecord<'a>>),
}

/// What came of an exchange. Values that are not UTF-8 are `{"base64": …}`.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ExchangeRecord<'a> {
    /// Counts from 1.
    pub number: u64,
    /// Where in which recording the exchange stands.
    pub origin: &'a str,
    /// When the request began, RFC 3339; null where the recording does not say.
    pub start: Option<String>,
    /// What the client asked for.
    pub request: RequestLine<'a>,
    /// The worker that served it, from 0.
    pub worker: u32,
    /// How it ended: `forwarded`, `local_reply`, `direct`, `refused`, `reset`, `trapped`, `stalled` or `aborted`.
    pub end: &'static str,
    /// The status the client got; null when the stream was reset.
    pub status: Option<u16>,
    /// The arm: what follows `.arm.` in the name of a counter that grew.
    pub arm: Option<String>,
    /// The route's name, or `virtual host/index`.
    pub route: Option<&'a str>,
    /// The cluster the request went to, or would have gone to.
    pub cluster: Option<&'a str>,
    /// What filters say of their decisions, their log lines `decision: …`; then why others did nothing, `left alone: …`.
    pub why: Option<String>,
    /// Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub details: &'a str,
    /// Envoy's `%RESPONSE_FLAGS%`.
    pub flags: &'a str,
    /// How long filters held the stream, in nanoseconds of the virtual clock.
    pub delay_ns: u64,
    /// How long the exchange took as a whole, in nanoseconds of the virtual clock.
    pub duration_ns: u64,
    /// When it began, in nanoseconds of the virtual clock since the first exchange.
    pub begin_ns: u64,
    /// How the upstream's request differs from the client's; null when nothing was sent upstream.
    pub request_changes: Option<HeaderChanges<'a>>,
    /// How the client's response differs from the recorded one; null unless it was forwarded and recorded.
    pub response_changes: Option<HeaderChanges<'a>>,
    /// The response that was made on the way; null when it was forwarded and when there was none.
    pub response: Option<Response<'a>>,
    /// Whether the upstream got another body than the client sent.
    pub request_body_changed: bool,
    /// Whether the client got another body than was recorded.
    pub response_body_changed: bool,
    /// Calls that filters made.
    pub callouts: Vec<Callout<'a>>,
    /// Log lines of filters.
    pub log: Vec<Log<'a>>,
    /// How metrics changed, in order of first change.
    pub metrics: Vec<Metric<'a>>,
    /// What went wrong inside a filter.
    pub faults: &'a [String],
}

/// What the client asked for; null where the recording lacks it.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct RequestLine<'a> {
    /// `:method`
    pub method: Option<Bytes<'a>>,
    /// `:authority`
    pub authority: Option<Bytes<'a>>,
    /// `:path`, with the query.
    pub path: Option<Bytes<'a>>,
}

/// `[name, value]`
pub(crate) type Line<'a> = (Bytes<'a>, Bytes<'a>);

/// A response that was made on the way.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Response<'a> {
    /// Header lines in order.
    pub headers: Vec<Line<'a>>,
    /// The body.
    pub body: Bytes<'a>,
}

/// A call that a filter made.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Callout<'a> {
    /// `http`, `grpc_call` or `grpc_stream`.
    pub kind: &'a str,
    /// The cluster that was called.
    pub cluster: &'a str,
    /// The header lines it received.
    pub headers: Vec<Line<'a>>,
    /// When it was made, in nanoseconds since the exchange began.
    pub at_ns: u64,
    /// `answered`, `pending` (the filter hears of it after the exchange), `refused`, `connect_failure`, `reset`, `reset_in_body`,
    /// `timeout` or `cancelled`.
    pub end: &'a str,
    /// Nanoseconds until it ended; null while it is pending.
    pub latency_ns: Option<u64>,
    /// The status that the filter was given, also Envoy's own 503 and 504; null when it was given none.
    pub status: Option<u16>,
    /// The gRPC status that the filter was given; null of an HTTP call.
    pub grpc_status: Option<u32>,
}

/// A log line of a filter.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Log<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// `trace`, `debug`, `info`, `warning`, `error` or `critical`.
    pub level: &'a str,
    /// The text.
    pub message: &'a str,
}

/// A metric of an exchange, or at the end.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Metric<'a> {
    /// The name.
    pub name: &'a str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Of an exchange: by how much it changed. At the end: its value. Of a histogram: how many values it recorded.
    pub value: i128,
}

/// What is known at the end.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct SummaryRecord<'a> {
    /// How many exchanges there were.
    pub exchanges: u64,
    /// By end.
    pub ends: BTreeMap<&'a str, u64>,
    /// By arm.
    pub arms: BTreeMap<&'a str, u64>,
    /// By route.
    pub routes: BTreeMap<&'a str, u64>,
    /// By cluster.
    pub clusters: BTreeMap<&'a str, u64>,
    /// By the status the client got.
    pub statuses: BTreeMap<&'a str, u64>,
    /// Exchanges in which a filter failed.
    pub faults: u64,
    /// What each worker served, in order; those that served nothing are left out.
    pub workers: Vec<WorkerRecord>,
    /// Metrics by name.
    pub metrics: Vec<Metric<'a>>,
    /// Log lines of the start, that is of the configuration.
    pub start_log: Vec<Log<'a>>,
    /// What of the recordings could not be read and was left out.
    pub broken: &'a [String],
    /// What belongs to no exchange: ticks while several streams were in flight, answers of calls whose exchange was over.
    pub apart: ApartRecord<'a>,
}

/// What a worker served.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct WorkerRecord {
    /// The worker, from 0.
    pub worker: u32,
    /// How many exchanges it served.
    pub exchanges: u64,
    /// In how many of them a filter failed.
    pub faults: u64,
}

/// What belongs to no exchange.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ApartRecord<'a> {
    /// Calls that filters made.
    pub callouts: Vec<Callout<'a>>,
    /// Log lines of filters: the first ten thousand.
    pub log: Vec<Log<'a>>,
    /// How metrics changed, in order of first change.
    pub metrics: Vec<Metric<'a>>,
    /// What went wrong inside a filter.
    pub faults: &'a [String],
}

impl<'a> RequestLine<'a> {
    pub(super) fn of(exchange: &'a Exchange) -> Self {
        let name = |name: &[u8]| exchange.request.headers.get(name).map(Bytes::of);
        Self { method: name(b":method"), authority: name(b":authority"), path: name(b":path") }
    }
}

impl<'a> ExchangeRecord<'a> {
    pub(super) fn new(number: u64, exchange: &'a Exchange, outcome: &'a Outcome) -> Self {
        let request = &exchange.request;
        let sent = outcome.upstream_request.as_ref();
        let got = outcome.response.as_ref();
        let forwarded = outcome.end == crate::outcome::End::Forwarded;
        let recorded = exchange.response.as_ref().filter(|_| forwarded);
        Self {
            number,
            origin: &exchange.origin,
            start: exchange.start_ns.map(time::format_timestamp),
            request: RequestLine::of(exchange),
            worker: outcome.worker,
            end: outcome.end.name(),
            status: got.and_then(super::status),
            arm: super::arm(outcome),
            route: outcome.route.as_deref(),
            cluster: outcome.cluster.as_deref(),
            why: super::why(outcome),
            details: &outcome.details,
            flags: &outcome.flags,
            delay_ns: clock::nanoseconds(outcome.delay),
            duration_ns: clock::nanoseconds(outcome.duration),
            begin_ns: clock::nanoseconds(outcome.start),
            request_changes: sent.map(|sent| HeaderChanges::between(&request.headers, &sent.headers)),
            response_changes: recorded
                .zip(got)
                .map(|(recorded, got)| HeaderChanges::between(&recorded.headers, &got.headers)),
            response: got
                .filter(|_| recorded.is_none())
                .map(|got| Response { headers: lines(got), body: Bytes::of(&got.body) }),
            request_body_changed: sent.is_some_and(|sent| sent.body != request.body),
            response_body_changed: recorded.zip(got).is_some_and(|(recorded, got)| recorded.body != got.body),
            callouts: callouts(&outcome.callouts),
            log: log(&outcome.log),
            metrics: outcome.metric_deltas.iter().map(|(name, delta)| metric(name, *delta)).collect(),
            faults: &outcome.faults,
        }
    }
}

impl<'a> SummaryRecord<'a> {
    pub(super) fn new(totals: &'a Totals, end: &'a Summary) -> Self {
        Self {
            exchanges: totals.exchanges,
            ends: totals.ends().collect(),
            arms: totals.arms.iter().collect(),
            routes: totals.routes.iter().collect(),
            clusters: totals.clusters.iter().collect(),
            statuses: totals.statuses.iter().collect(),
            faults: totals.faults,
            workers: totals
                .workers
                .iter()
                .map(|(worker, served)| WorkerRecord {
                    worker: *worker,
                    exchanges: served.exchanges,
                    faults: served.faults,
                })
                .collect(),
            metrics: end
                .metrics
                .iter()
                .map(|(name, kind, value)| Metric { name, kind, value: i128::from(*value) })
                .collect(),
            start_log: log(&end.start_log),
            broken: &end.broken,
            apart: ApartRecord {
                callouts: callouts(&end.apart.callouts),
                log: log(&end.apart.log),
                metrics: end.apart.metric_deltas.iter().map(|(name, delta)| metric(name, *delta)).collect(),
                faults: &end.apart.faults,
            },
        }
    }
}

pub(super) fn lines(message: &Message) -> Vec<Line<'_>> {
    message.headers.iter().map(|(name, value)| (Bytes::of(name), Bytes::of(value))).collect()
}

fn callouts(callouts: &[CalloutOutcome]) -> Vec<Callout<'_>> {
    callouts.iter().map(Callout::new).collect()
}

impl<'a> Callout<'a> {
    fn new(callout: &'a CalloutOutcome) -> Self {
        Self {
            kind: callout.kind.name(),
            cluster: &callout.cluster,
            headers: lines(&callout.request),
            at_ns: clock::nanoseconds(callout.at),
            end: callout.end.name(),
            latency_ns: callout.latency.map(clock::nanoseconds),
            status: callout.status,
            grpc_status: callout.grpc_status,
        }
    }
}

pub(super) fn log(lines: &[LogLine]) -> Vec<Log<'_>> {
    lines.iter().map(|line| Log { plugin: &line.plugin, level: line.level, message: &line.message }).collect()
}

fn metric(name: &str, delta: MetricDelta) -> Metric<'_> {
    let (kind, value) = match delta {
        MetricDelta::Counter(by) => ("counter", i128::from(by)),
        MetricDelta::Gauge(by) => ("gauge", i128::from(by)),
        MetricDelta::Histogram(count) => ("histogram", i128::from(count)),
    };
    Metric { name, kind, value }
}
