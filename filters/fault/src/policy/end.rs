//! How a stream ends, once it has waited: an answer, a reset, or a black hole.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::{At, Bytes, Headers, LocalReply, Problems, names};

use super::callers;
use super::delay::too_long;
use super::dice::Share;
use crate::config::{self, AbortSpec, Then};

/// What Envoy's own fault filter answers.
const BODY: &str = "fault filter abort";

/// Its details.
const DETAILS: &str = "fault_filter_abort";

/// A compiled end, with the share that it happens to.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) share: Share,
    kind: Kind,
    text: Rc<str>,
}

#[derive(Clone, Debug)]
enum Kind {
    Certain(End),
    /// The status comes from the caller; the rest is here.
    ByHeader(LocalReply),
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Abort(LocalReply),
    Reset,
    BlackHole(Duration, Then),
}

impl Ending {
    /// Checks and compiles the one of these that is there.
    pub(crate) fn compile(
        at: &At<'_>,
        abort: Option<&config::Abort>,
        reset: Option<&config::Reset>,
        black_hole: Option<&config::BlackHole>,
        on_response: bool,
        longest: Duration,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut ending = None;
        if let Some(abort) = abort {
            ending = compile_abort(&at.field("abort"), abort, on_response, problems);
        }
        if let Some(reset) = reset {
            let kind = Kind::Certain(End::Reset);
            ending = Some(Self { share: Share::of(reset.percentage), kind, text: "reset".into() });
        }
        if let Some(config::BlackHole { duration, then, percentage }) = black_hole {
            if duration.0.is_zero() || duration.0 > longest {
                problems.add(at.field("black_hole.duration"), too_long(longest));
            }
            let then_text = match then {
                Then::Reset => "reset",
                Then::GatewayTimeout => "504",
                Then::Continue => "go on",
            };
            let text = ["black hole for ", &duration.to_string(), ", then ", then_text].concat();
            let kind = Kind::Certain(End::BlackHole(duration.0, *then));
            ending = Some(Self { share: Share::of(*percentage), kind, text: text.into() });
        }
        ending
    }

    /// Whether callers say what.
    pub(crate) fn is_by_header(&self) -> bool {
        matches!(self.kind, Kind::ByHeader(_))
    }

    /// What happens, and how people call it.
    pub(crate) fn end(&self, headers: &dyn Headers) -> Option<(End, Rc<str>)> {
        match &self.kind {
            Kind::Certain(end) => Some((end.clone(), Rc::clone(&self.text))),
            Kind::ByHeader(reply) => {
                let (status, grpc_status) = match callers::abort(headers) {
                    Some(status) => (status, None),
                    None => (200, Some(callers::abort_grpc(headers)?)),
                };
                let reply = LocalReply { status, grpc_status, ..reply.clone() };
                Some((End::Abort(reply), Rc::clone(&self.text)))
            }
        }
    }

    /// The same, where no caller has a say.
    pub(crate) fn certain(&self) -> Option<(End, Rc<str>)> {
        match &self.kind {
            Kind::Certain(end) => Some((end.clone(), Rc::clone(&self.text))),
            Kind::ByHeader(_) => None,
        }
    }
}

/// What Envoy's router answers when its route's timeout has passed, but for the details.
pub(crate) fn gateway_timeout() -> LocalReply {
    LocalReply {
        status: 504,
        headers: Vec::new(),
        body: "upstream request timeout".into(),
        details: "fault_filter_black_hole".into(),
        grpc_status: None,
    }
}

fn compile_abort(
    at: &At<'_>,
    abort: &config::Abort,
    on_response: bool,
    problems: &mut Problems,
) -> Option<Ending> {
    let before = problems.len();
    let (spec, status_at) = match abort {
        config::Abort::Status(status) => {
            (&AbortSpec { http_status: Some(*status), ..AbortSpec::default() }, *at)
        }
        config::Abort::Spec(spec) => (&**spec, at.field("http_status")),
    };
    if spec.http_status.is_some_and(|status| !(200..600).contains(&status)) {
        problems.add(status_at, "expected an HTTP status from 200 to 599");
    }
    let by_header = spec.header_abort.is_some();
    if by_header == (spec.http_status.is_some() || spec.grpc_status.is_some()) {
        problems.add(at, "expected `http_status`, `grpc_status`, both of them, or `header_abort` alone");
    }
    if by_header && on_response {
        problems.add(at.field("header_abort"), "is for requests; here expected a status");
    }
    let mut headers = Vec::new();
    for (index, line) in spec.headers.iter().enumerate() {
        let at = at.item("headers", index);
        if let Err(reason) = names::header_value(&line.value) {
            problems.add(at.field("value"), reason);
        }
        match names::header(&line.name, "retry-after") {
            Ok(name) if matches!(&*name, "content-length" | "transfer-encoding" | "connection") => {
                problems
                    .add(at.field("name"), ["`", &*name, "` is Envoy's; expected another header"].concat());
            }
            Ok(name) => headers.push((name, Bytes::from(line.value.as_str()))),
            Err(reason) => problems.add(at.field("name"), reason),
        }
    }
    if spec
        .details
        .as_ref()
        .is_some_and(|details| details.is_empty() || !details.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        problems.add(
            at.field("details"),
            "expected printable ASCII without blanks, such as `fault_filter_abort`",
        );
    }
    let reply = LocalReply {
        status: spec.http_status.unwrap_or(200),
        headers,
        body: spec.body.as_deref().unwrap_or(BODY).into(),
        details: spec.details.as_deref().unwrap_or(DETAILS).into(),
        grpc_status: spec.grpc_status.map(|status| status.0),
    };
    let text = match (by_header, spec.http_status, spec.grpc_status) {
        (true, ..) => "abort as the caller asks".to_owned(),
        (_, Some(status), None) => ["abort ", &decimal(status)].concat(),
        (_, None, Some(grpc)) => ["abort with gRPC status ", &decimal(grpc.0.into())].concat(),
        (_, status, grpc) => {
            let (status, grpc) = (status.unwrap_or(200), grpc.map_or(0, |grpc| grpc.0));
            ["abort ", &decimal(status), " or gRPC status ", &decimal(grpc.into())].concat()
        }
    };
    let kind = if by_header { Kind::ByHeader(reply) } else { Kind::Certain(End::Abort(reply)) };
    if problems.len() != before {
        return None;
    }
    Some(Ending { share: Share::of(spec.percentage), kind, text: text.into() })
}

fn decimal(status: u16) -> String {
    u64::from(status).to_string()
}
