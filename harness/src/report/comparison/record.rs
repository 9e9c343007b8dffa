//! The JSON form of a comparison: shape only. `weir schema report` has it beside the records of a replay.

use schemars::JsonSchema;
use serde::Serialize;

use crate::envoy::carry::Left;
use crate::envoy::compare::Other;
use crate::envoy::find::Found;
use crate::envoy::versus::Versus;
use crate::exchange::{Exchange, Message};
use crate::outcome::Outcome;
use crate::report::record::{Line, Log, RequestLine, lines, log};
use crate::traffic::jsonl::wire::Bytes;

/// An exchange in the harness and in Envoy.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ComparisonRecord<'a> {
    /// Counts from 1.
    pub number: u64,
    /// Where in which recording the exchange stands.
    pub origin: &'a str,
    /// What the client asked for.
    pub request: RequestLine<'a>,
    /// Whether both came to the same.
    pub agrees: bool,
    /// Why a difference need not be an error; null where there is none, and where nothing explains it.
    pub because: Option<&'a str>,
    /// A unified diff, the harness first; null where both came to the same.
    pub difference: Option<&'a str>,
    /// In the harness.
    pub harness: Side<'a>,
    /// In Envoy.
    pub envoy: Side<'a>,
}

/// What came of an exchange in one of the two.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Side<'a> {
    /// How it ended; names as in the record of an exchange.
    pub end: &'static str,
    /// The status the client got; null when the stream was reset.
    pub status: Option<u16>,
    /// The route's name; null where it has none.
    pub route: Option<&'a str>,
    /// The cluster the request went to, or would have gone to.
    pub cluster: Option<&'a str>,
    /// Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub details: &'a str,
    /// Envoy's `%RESPONSE_FLAGS%`.
    pub flags: &'a str,
    /// How long it took in nanoseconds: of the virtual clock, or Envoy's `%DURATION%` (whole milliseconds).
    pub duration_ns: u64,
    /// What the upstream received; null when nothing was sent.
    pub upstream_request: Option<Sent<'a>>,
    /// What the client received; null when the stream was reset.
    pub response: Option<Sent<'a>>,
    /// Log lines of filters, where they are known to be of this exchange.
    pub log: Vec<Log<'a>>,
}

/// A message as it was received.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Sent<'a> {
    /// Header lines in order.
    pub headers: Vec<Line<'a>>,
    /// The body.
    pub body: Bytes<'a>,
}

/// How both compare: the last line.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ComparisonSummaryRecord<'a> {
    /// How many exchanges there were.
    pub exchanges: u64,
    /// How many came to the same.
    pub agree: u64,
    /// How many differ for a reason that is given.
    pub explained: u64,
    /// How many differ without one.
    pub differ: u64,
    /// Whether nothing differs that is not explained.
    pub agrees: bool,
    /// The Envoy.
    pub envoy: Program<'a>,
    /// When the exchanges began.
    pub pace: &'static str,
    /// Who refused the configuration.
    pub refused: Refused,
    /// Metrics whose values differ.
    pub metrics: Vec<Values<'a>>,
    /// What else differs and belongs to no exchange.
    pub others: Vec<OtherRecord<'a>>,
    /// What Envoy could not be given.
    pub not_carried_over: Vec<LeftRecord<'a>>,
}

/// An Envoy.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Program<'a> {
    /// Where it is.
    pub path: String,
    /// Its version.
    pub version: &'a str,
}

/// Who refused the configuration.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Refused {
    /// The harness did.
    pub harness: bool,
    /// Envoy did.
    pub envoy: bool,
}

/// The values of a metric.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Values<'a> {
    /// Its name.
    pub name: &'a str,
    /// In the harness.
    pub harness: u64,
    /// In Envoy.
    pub envoy: u64,
}

/// Something that differs.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct OtherRecord<'a> {
    /// What.
    pub what: &'a str,
    /// A unified diff, the harness first.
    pub difference: &'a str,
}

/// Something that Envoy could not be given.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct LeftRecord<'a> {
    /// What.
    pub what: &'a str,
    /// Why, and what happens instead.
    pub why: &'a str,
    /// How many exchanges have it; null where it is not a matter of exchanges.
    pub exchanges: Option<u64>,
}

impl<'a> ComparisonRecord<'a> {
    /// Of one exchange; `index` counts from 0.
    pub(super) fn new(index: usize, exchange: &'a Exchange, versus: &'a Versus) -> Option<Self> {
        let difference = versus.comparison.exchanges.get(index)?.as_ref();
        Some(Self {
            number: index as u64 + 1,
            origin: &exchange.origin,
            request: RequestLine::of(exchange),
            agrees: difference.is_none(),
            because: difference.and_then(|difference| difference.because.as_deref()),
            difference: difference.map(|difference| difference.diff.as_str()),
            harness: Side::new(versus.harness.outcomes.get(index)?),
            envoy: Side::new(versus.envoy.outcomes.get(index)?),
        })
    }
}

impl<'a> Side<'a> {
    fn new(outcome: &'a Outcome) -> Self {
        let sent = |message: &'a Message| Sent { headers: lines(message), body: Bytes::of(&message.body) };
        Self {
            end: outcome.end.name(),
            status: outcome.response.as_ref().and_then(crate::report::status),
            route: outcome.route.as_deref(),
            cluster: outcome.cluster.as_deref(),
            details: &outcome.details,
            flags: &outcome.flags,
            duration_ns: u64::try_from(outcome.duration.as_nanos()).unwrap_or(u64::MAX),
            upstream_request: outcome.upstream_request.as_ref().map(sent),
            response: outcome.response.as_ref().map(sent),
            log: log(&outcome.log),
        }
    }
}

impl<'a> ComparisonSummaryRecord<'a> {
    pub(super) fn new(versus: &'a Versus, found: &'a Found) -> Self {
        let comparison = &versus.comparison;
        let (agree, explained, differ) = comparison.counts();
        let (mut metrics, mut others) = (Vec::new(), Vec::new());
        for other in &comparison.others {
            match other {
                Other::Refused { .. } => {}
                Other::Metric { name, harness, envoy } => {
                    metrics.push(Values { name, harness: *harness, envoy: *envoy });
                }
                Other::Lines { what, diff } => others.push(OtherRecord { what, difference: diff }),
            }
        }
        let left = |Left { what, why, exchanges }: &'a Left| LeftRecord { what, why, exchanges: *exchanges };
        Self {
            exchanges: comparison.exchanges.len() as u64,
            agree,
            explained,
            differ,
            agrees: comparison.agrees() || comparison.is_explained(),
            envoy: Program { path: found.path.display().to_string(), version: &found.version },
            pace: versus.pace.say(),
            refused: Refused { harness: versus.harness.refused, envoy: versus.envoy.refused },
            metrics,
            others,
            not_carried_over: versus.left.iter().map(left).collect(),
        }
    }
}
