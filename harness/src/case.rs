//! A case: a scenario, exchanges written out, and what must come of each. The YAML form (`case.yaml`); GCP's vocabulary of expectations.

mod check;
mod explore;
mod load;
mod run;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{Failure, Totals, check, check_total};
pub use explore::{Exploration, explore};
pub use load::{CaseError, Loaded, Step};
pub use run::{CaseFailure, CaseReport, RunError, run, run_interleaved};

use crate::scenario::{BytesText, Scenario, text};

/// One case: `case.yaml` in a folder of its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows, in a sentence.
    pub description: String,
    /// The filters, routes and clusters.
    pub scenario: Scenario,
    /// Exchanges written out; they come before the scenario's recordings.
    #[serde(default)]
    pub exchanges: Vec<CaseExchange>,
    /// What must hold when all exchanges are over.
    #[serde(default)]
    pub expect: TotalExpectation,
    /// What is known about this case in a real Envoy.
    #[serde(default)]
    pub envoy: EnvoyNote,
}

/// One exchange and what must come of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaseExchange {
    /// The request of the client. Default: `GET /` of `example.com`.
    #[serde(default)]
    pub request: CaseRequest,
    /// What the upstream answers, whichever cluster is chosen. Default: 200, no headers, no body.
    #[serde(default)]
    pub response: CaseResponse,
    /// How many times in a row the exchange happens. Default 1. The expectation holds for each.
    #[serde(default = "once")]
    pub repeat: u32,
    /// Time that passes before it on the virtual clock, such as `10s`: it begins so long after the one before it began, and when all before it
    /// are over. In a real Envoy it is waited for where all of it is at most 3 s; a case with more is harness-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// It begins so long after the one before it began, such as `50ms`, whether that one is over or not; `repeat` spaces repetitions so. The
    /// first: after the start. Default: when all before it are over. Not beside `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expectation,
}

/// The request of the client.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRequest {
    /// Default `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// With the query. Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Default `example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Header lines in order, as a list of `[name, value]`, or as a map where no name repeats. A value is a text, or `{base64: …}`
    /// for bytes that are not UTF-8.
    #[serde(default, deserialize_with = "text::header_lines")]
    #[schemars(with = "text::HeaderLines")]
    pub headers: Vec<(String, BytesText)>,
    /// The body. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BytesText>,
    /// So long after the beginning the client leaves, such as `100ms`, whatever has come of the exchange. Default: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_after: Option<String>,
    /// The client's address; in a real Envoy it goes ahead as a PROXY protocol line. Default `127.0.0.1:40000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
}

/// What the upstream answers.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaseResponse {
    /// Default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Header lines in order: a list of `[name, value]`, or a map.
    #[serde(default, deserialize_with = "text::header_lines")]
    #[schemars(with = "text::HeaderLines")]
    pub headers: Vec<(String, BytesText)>,
    /// The body. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BytesText>,
}

/// What must come of an exchange. Everything that is absent is not asked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// How it ends: `forwarded`, `local_reply`, `direct`, `refused`, `reset`, `trapped`, `stalled`, `aborted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// The cluster that is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The route that is chosen, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What the upstream receives.
    #[serde(default)]
    pub request: MessageExpectation,
    /// What the client receives.
    #[serde(default)]
    pub response: MessageExpectation,
    /// The filter answers itself, so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immediate: Option<ImmediateExpectation>,
    /// Some log line of the exchange matches each of these.
    #[serde(default)]
    pub log: Vec<StringMatcher>,
}

/// What must hold of a message.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MessageExpectation {
    /// The status of a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers that are there with exactly this value; several lines of a name are joined with `,`.
    #[serde(default)]
    pub has_header: BTreeMap<String, String>,
    /// Headers that are not there.
    #[serde(default)]
    pub no_header: Vec<String>,
    /// Headers whose value matches; a header that is not there matches only with `invert`.
    #[serde(default)]
    pub headers: Vec<HeaderExpectation>,
    /// Matchers that the body satisfies.
    #[serde(default)]
    pub body: Vec<StringMatcher>,
}

/// A header and how its value must be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderExpectation {
    /// The header's name, any case.
    pub name: String,
    /// Exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Matches this regular expression, somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Must not match.
    #[serde(default)]
    pub invert: bool,
}

/// How a text must be.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StringMatcher {
    /// Exactly this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Matches this regular expression, somewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Exactly the content of this file, relative to the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Must not match.
    #[serde(default)]
    pub invert: bool,
}

/// The answer of a filter.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImmediateExpectation {
    /// HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// gRPC status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u8>,
    /// `%RESPONSE_CODE_DETAILS%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// What must hold when all exchanges are over.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TotalExpectation {
    /// Values of metrics: of counters and gauges their value. A metric that was never defined is 0.
    #[serde(default)]
    pub metric: BTreeMap<String, u64>,
    /// Exchanges by cluster: the share of all in percent, between `min` and `max`.
    #[serde(default)]
    pub cluster_share: BTreeMap<String, Share>,
    /// Calls that filters made, whenever they did: of each kind that is described here there were so many.
    #[serde(default)]
    pub callouts: Vec<CalloutExpectation>,
    /// Some log line of the whole run, also of the configuration, matches each of these.
    #[serde(default)]
    pub log: Vec<StringMatcher>,
    /// The configuration is refused; a log line matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<StringMatcher>,
}

/// Calls that filters made.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CalloutExpectation {
    /// The cluster that was called. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What it received.
    #[serde(default)]
    pub request: MessageExpectation,
    /// Trailers that it received with exactly this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub has_trailer: BTreeMap<String, String>,
    /// How many calls are so, neither more nor fewer. Default 1.
    #[serde(default = "one")]
    pub count: u64,
}

/// A share in percent.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// At least.
    pub min: f64,
    /// At most.
    pub max: f64,
}

/// What is known about a case in a real Envoy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EnvoyNote {
    /// The case cannot run there, for this reason (it needs the virtual clock, another source address, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// Envoy differs from the harness here, for this reason; the runner requires it to differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
    /// Outcomes are random: only the expectations are checked in Envoy, not that each exchange equals the harness's.
    #[serde(default)]
    pub random: bool,
}

fn one() -> u64 {
    1
}

fn once() -> u32 {
    1
}
