//! Clusters as scenarios write them: what answers a request that is sent there, how late, and how it fails. The form only;
//! [`crate::upstream`] acts on it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::{self, BytesText};
use super::{Body, Span};

mod failure;
mod latency;
mod validate;

pub use failure::{Failure, FailureType};
pub(crate) use latency::percentile;
pub use latency::{Distribution, Latency};

/// A cluster of the scenario and the script by which it answers, requests and callouts alike. A request is answered by the first rule of
/// `match` that it matches, else by the fields beside it; where those say nothing, from the recording. A callout, of which there is no
/// recording, is then answered 200 without a body.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Answers to some requests only; the first rule that matches counts, with a sequence of its own.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The answer, instead of the recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ClusterResponse>,
    /// Answers 200 with JSON that says what was received: `method`, `path`, `authority`, `headers`, `trailers`, `body`. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub echo: bool,
    /// Answers as a gRPC server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcResponse>,
    /// The time from the end of the request to the beginning of the answer (or to the failure). Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How it fails instead of answering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Answers one after another, each `times` times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequence: Vec<Step>,
    /// What comes when the sequence is over. Default `LAST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_sequence: Option<AfterSequence>,
    /// The HTTP version it speaks. Default `HTTP2` for a cluster with `grpc` answers, else `HTTP1`. gRPC needs `HTTP2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ClusterProtocol>,
    /// How many endpoints it has: 0 makes Envoy answer 503 `UH` (no healthy host). Default 1.
    #[serde(default = "one")]
    pub endpoints: u32,
    /// Envoy's cluster metadata: `{filter_metadata: {namespace: {key: value}}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

impl Default for Cluster {
    /// One endpoint that answers from the recording.
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            response: None,
            echo: false,
            grpc: None,
            latency: None,
            failure: None,
            sequence: Vec::new(),
            after_sequence: None,
            protocol: None,
            endpoints: 1,
            metadata: None,
        }
    }
}

impl Cluster {
    /// The HTTP version it speaks.
    #[must_use]
    pub fn protocol(&self) -> ClusterProtocol {
        let steps = self.sequence.iter().chain(self.rules.iter().flat_map(|rule| &rule.sequence));
        let mut grpc =
            steps.map(|step| step.grpc.is_some()).chain(self.rules.iter().map(|rule| rule.grpc.is_some()));
        self.protocol.unwrap_or(if self.grpc.is_some() || grpc.any(|grpc| grpc) {
            ClusterProtocol::Http2
        } else {
            ClusterProtocol::Http1
        })
    }
}

/// Answers to the requests that match all of its conditions. At least one condition is needed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The path begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// The method is this, such as `POST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers that are there with exactly this value; several lines of a name are joined with `,`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The answer, instead of the recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ClusterResponse>,
    /// Answers 200 with JSON that says what was received, as `echo` of the cluster. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub echo: bool,
    /// Answers as a gRPC server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcResponse>,
    /// The time from the end of the request to the beginning of the answer (or to the failure). Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How it fails instead of answering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Answers one after another, each `times` times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequence: Vec<Step>,
    /// What comes when the sequence is over. Default `LAST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_sequence: Option<AfterSequence>,
}

/// One step of a sequence. A step that says nothing is answered from the recording.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How many requests it answers. Default 1.
    #[serde(default = "one")]
    pub times: u32,
    /// The answer, instead of the recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<ClusterResponse>,
    /// Answers 200 with JSON that says what was received, as `echo` of the cluster. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub echo: bool,
    /// Answers as a gRPC server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcResponse>,
    /// The time from the end of the request to the beginning of the answer (or to the failure). Default: that beside the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How it fails instead of answering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl Default for Step {
    /// Once, from the recording.
    fn default() -> Self {
        Self { times: 1, response: None, echo: false, grpc: None, latency: None, failure: None }
    }
}

/// The fields that clusters, rules and steps have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub response: Option<&'a ClusterResponse>,
    pub echo: bool,
    pub grpc: Option<&'a GrpcResponse>,
    pub latency: Option<&'a Latency>,
    pub failure: Option<&'a Failure>,
}

macro_rules! fields {
    ($($name:ident)*) => {$(
        impl $name {
            pub(crate) fn fields(&self) -> Fields<'_> {
                Fields {
                    response: self.response.as_ref(),
                    echo: self.echo,
                    grpc: self.grpc.as_ref(),
                    latency: self.latency.as_ref(),
                    failure: self.failure.as_ref(),
                }
            }
        }
    )*};
}
fields!(Cluster Rule Step);

/// What comes when a sequence is over.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AfterSequence {
    /// Its last step goes on.
    #[default]
    Last,
    /// It begins again.
    Repeat,
    /// The recording answers; a callout gets 200 without a body.
    Recorded,
}

/// The HTTP version that a cluster speaks.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
pub enum ClusterProtocol {
    /// HTTP/1.1
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 without TLS, as gRPC needs it.
    #[serde(rename = "HTTP2")]
    Http2,
}

/// A fixed answer.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterResponse {
    /// HTTP status, 200 to 599. Default 200.
    #[serde(default = "ok")]
    pub status: u16,
    /// Header lines in order, as a list of `[name, value]`, or as a map where no name repeats. A value is a text, or `{base64: …}` for
    /// bytes that are not UTF-8. `content-length` is added where it is not given and there are no trailers.
    #[serde(default, deserialize_with = "text::header_lines")]
    #[schemars(with = "text::HeaderLines")]
    pub headers: Vec<(String, BytesText)>,
    /// The body. Default none.
    #[serde(default)]
    pub body: Body,
    /// Trailers in order, written as `headers`.
    #[serde(default, deserialize_with = "text::header_lines", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "text::HeaderLines")]
    pub trailers: Vec<(String, BytesText)>,
}

impl Default for ClusterResponse {
    /// 200 without a body.
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::default(), trailers: Vec::new() }
    }
}

/// The answer of a gRPC server. Without messages it is trailers-only.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcResponse {
    /// gRPC status, 0 to 16. Default 0 (OK).
    #[serde(default)]
    pub status: u8,
    /// gRPC message. Default none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The messages, each its bytes (as a rule a serialised protobuf), without gRPC's prefix. Default none.
    #[serde(default)]
    pub messages: Vec<Body>,
    /// Initial metadata beside `content-type`, written as `headers` of a response.
    #[serde(default, deserialize_with = "text::header_lines", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "text::HeaderLines")]
    pub initial_metadata: Vec<(String, BytesText)>,
    /// Trailing metadata beside `grpc-status` and `grpc-message`, written as `headers` of a response.
    #[serde(default, deserialize_with = "text::header_lines", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "text::HeaderLines")]
    pub trailing_metadata: Vec<(String, BytesText)>,
}

fn one() -> u32 {
    1
}

fn ok() -> u16 {
    200
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests;
