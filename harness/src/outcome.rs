//! What a proxy would have done with one exchange: the effect of all decisions. Plain data: `driver` makes it, `report`, cases and the
//! comparison with a real Envoy read it.

use std::time::Duration;

use crate::exchange::Message;

/// What a proxy would have done with one exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The worker that served it, from 0.
    pub worker: u32,
    /// The route that was taken: its name, or `virtual host/index` where it has none; absent when no route matched or none was needed.
    pub route: Option<String>,
    /// The cluster that the request went to, or would have gone to (when the cluster does not exist).
    pub cluster: Option<String>,
    /// What the upstream received; absent when nothing was sent.
    pub upstream_request: Option<Message>,
    /// What the client received; absent when the stream was reset.
    pub response: Option<Message>,
    /// `%RESPONSE_CODE_DETAILS%`, such as `via_upstream`, `route_not_found`, or a filter's own.
    pub details: String,
    /// Envoy's response flags, such as `NR` or `UH`; empty when there are none.
    pub flags: String,
    /// When it began: the time since the replay's first exchange began, on the virtual clock.
    pub start: Duration,
    /// How long it took on the virtual clock, from the first byte of the request to the end of the response.
    pub duration: Duration,
    /// How long filters held the request and the response: the duration without the time that the upstream took.
    pub delay: Duration,
    /// Calls that filters made during the exchange.
    pub callouts: Vec<CalloutOutcome>,
    /// Log lines of the filters during the exchange.
    pub log: Vec<LogLine>,
    /// How metrics changed during the exchange: by name, in order of first change.
    pub metric_deltas: Vec<(String, MetricDelta)>,
    /// What went wrong inside a filter: a trap, a hang. Empty when nothing did.
    pub faults: Vec<String>,
}

/// What belongs to no exchange of a replay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apart {
    /// Calls that filters made.
    pub callouts: Vec<CalloutOutcome>,
    /// Log lines of filters: the first ten thousand.
    pub log: Vec<LogLine>,
    /// How metrics changed: by name, in order of first change.
    pub metric_deltas: Vec<(String, MetricDelta)>,
    /// What went wrong inside a filter.
    pub faults: Vec<String>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// The upstream's answer reached the client, changed or not.
    #[default]
    Forwarded,
    /// A filter answered.
    LocalReply,
    /// Envoy answered from its routes: a direct response or a redirect.
    Direct,
    /// Envoy answered because it could not forward: no route, no such cluster, no healthy host.
    Refused,
    /// The stream was reset: by a filter, or because the upstream broke off in the middle of its response.
    Reset,
    /// A filter trapped and the stream was ended for it.
    Trapped,
    /// Nothing happened until a timer of the connection manager's ended the stream (`FLOW-30`): as a rule a filter held it.
    Stalled,
    /// The client left (`LIFE-12`).
    Aborted,
}

impl End {
    /// Every end, in the order of reports.
    pub const ALL: [Self; 8] = [
        Self::Forwarded,
        Self::LocalReply,
        Self::Direct,
        Self::Refused,
        Self::Reset,
        Self::Trapped,
        Self::Stalled,
        Self::Aborted,
    ];

    /// The name in reports and cases: snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::LocalReply => "local_reply",
            Self::Direct => "direct",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Trapped => "trapped",
            Self::Stalled => "stalled",
            Self::Aborted => "aborted",
        }
    }
}

/// A call that a filter made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalloutOutcome {
    /// Numbers the calls of a replay, so that an end that comes later finds its call.
    pub id: u64,
    /// HTTP or gRPC.
    pub kind: CalloutKind,
    /// The cluster that was called.
    pub cluster: String,
    /// What it received; of a gRPC call the framed messages.
    pub request: Message,
    /// When it was made: time since the exchange began.
    pub at: Duration,
    /// How it ended.
    pub end: CalloutEnd,
    /// The time until it ended; absent while it is pending.
    pub latency: Option<Duration>,
    /// The `:status` that the filter was given, also Envoy's own 503 and 504; absent when it got none.
    pub status: Option<u16>,
    /// The gRPC status that the filter was given, also Envoy's own; absent of an HTTP call.
    pub grpc_status: Option<u32>,
}

/// What kind of call it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CalloutKind {
    /// An HTTP call.
    #[default]
    Http,
    /// A gRPC call with one message each way.
    GrpcCall,
    /// A gRPC stream.
    GrpcStream,
}

impl CalloutKind {
    /// The name in reports: snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::GrpcCall => "grpc_call",
            Self::GrpcStream => "grpc_stream",
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CalloutEnd {
    /// It did not end before the exchange did; the filter hears of it later.
    #[default]
    Pending,
    /// The cluster answered.
    Answered,
    /// Envoy refused it as it was made: no healthy host, or a header that cannot be sent.
    Refused,
    /// No connection came about.
    ConnectFailure,
    /// The connection was closed before the answer.
    Reset,
    /// The connection was closed within the answer.
    ResetInBody,
    /// Its time ran out.
    Timeout,
    /// The filter cancelled it.
    Cancelled,
}

impl CalloutEnd {
    /// Whether the cluster can have received the call: there was a connection, or there may still be one.
    #[must_use]
    pub fn arrives(self) -> bool {
        !matches!(self, Self::Refused | Self::ConnectFailure)
    }

    /// The name in reports: snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::ConnectFailure => "connect_failure",
            Self::Reset => "reset",
            Self::ResetInBody => "reset_in_body",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A line that a filter logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The plugin's name.
    pub plugin: String,
    /// `trace`, `debug`, `info`, `warning`, `error` or `critical`.
    pub level: &'static str,
    /// The text.
    pub message: String,
}

/// How a metric changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricDelta {
    /// A counter grew by this.
    Counter(u64),
    /// A gauge changed by this.
    Gauge(i64),
    /// A histogram recorded this many values.
    Histogram(u64),
}
