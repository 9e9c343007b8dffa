//! What a request that is not let through gets, and the headers that tell others.

use std::rc::Rc;

use weir_sdk::{At, Bytes, Decision, LocalReply, Mutation, Problems, names};

use super::Written;
use super::machine::{Refusal, Why};
use super::rules::Place;
use crate::config::{Export as ExportConfig, Fallback, Reply};

/// A compiled answer, or the header of the fallback.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// With the body that is written, or none.
    reply: LocalReply,
    has_body: bool,
    retry_after: bool,
    /// What sets it.
    fallback: Vec<Mutation>,
}

impl Answer {
    pub(super) fn compile(at: &At<'_>, written: &Written<'_>, problems: &mut Problems) -> Self {
        let default = Reply::default();
        let reply = written.reply.unwrap_or(&default);
        let has_body = reply.body.is_some();
        let at_reply = at.field("reply");
        let mut place = Place { at: &at_reply, problems };
        place.range("status", reply.status.into(), 400, 599);
        place.range("grpc_status", reply.grpc_status.into(), 1, 16);
        let mut headers: Vec<(Rc<str>, Bytes)> = Vec::new();
        for (index, line) in reply.headers.iter().enumerate() {
            let at_line = at_reply.item("headers", index);
            let mut place = Place { at: &at_line, problems };
            match names::header(&line.name, "content-type") {
                Ok(name) => headers.push((name, line.value.as_str().into())),
                Err(reason) => place.refuse("name", &reason),
            }
            if let Err(reason) = names::header_value(&line.value) {
                place.refuse("value", &reason);
            }
        }
        if reply.overloaded {
            headers.push(("x-envoy-overloaded".into(), "true".into()));
        }
        let fallback = written
            .fallback
            .map(|fallback| set(fallback, &at.field("fallback"), problems))
            .unwrap_or_default();
        Self {
            reply: LocalReply {
                status: reply.status,
                headers,
                body: reply.body.clone().unwrap_or_default().into(),
                details: "".into(),
                grpc_status: Some(reply.grpc_status),
            },
            has_body,
            retry_after: reply.retry_after,
            fallback,
        }
    }

    /// The header that sends a request elsewhere, where a header does.
    pub(super) fn fallback_header(&self) -> Option<&str> {
        match self.fallback.as_slice() {
            [Mutation::Set(name, _)] => Some(name),
            _ => None,
        }
    }

    /// What sends a request elsewhere.
    pub(super) fn fallback(&self) -> &[Mutation] {
        &self.fallback
    }

    /// Answers, or sends elsewhere.
    pub(super) fn refuse(&self, refusal: &Refusal, export: &Export) -> Decision {
        let seconds = whole_seconds(refusal.retry_ns);
        if self.is_fallback() {
            let decision = Decision { mutations: self.fallback.clone(), ..Decision::next() };
            return match &export.request {
                Some(name) => decision.set(name.clone(), said(refusal.why, seconds)),
                None => decision,
            };
        }
        let mut reply = self.reply.clone();
        let (details, body) = match refusal.why {
            // The words of Envoy's adaptive_concurrency and admission_control.
            Why::Concurrency => ("reached_concurrency_limit", "reached concurrency limit"),
            Why::Shed => ("denied_by_admission_control", ""),
            _ => ("circuit_breaker_open", "circuit breaker open"),
        };
        reply.details = details.into();
        if !self.has_body {
            reply.body = body.into();
        }
        if self.retry_after && !matches!(refusal.why, Why::Concurrency | Why::Shed) {
            reply.headers.push(("retry-after".into(), seconds.to_string().into()));
        }
        if let Some(name) = &export.response {
            reply.headers.push((name.clone(), said(refusal.why, seconds)));
        }
        Decision::reply(reply)
    }

    /// Whether a refused request is sent elsewhere.
    pub(super) fn is_fallback(&self) -> bool {
        !self.fallback.is_empty()
    }
}

/// What sets a fallback.
fn set(fallback: &Fallback, at: &At<'_>, problems: &mut Problems) -> Vec<Mutation> {
    let (kind, line) = match fallback {
        Fallback::RequestHeader(line) => ("request_header", line),
        Fallback::Property(line) => ("property", line),
    };
    let at = at.field(kind);
    let mut place = Place { at: &at, problems };
    if let Err(reason) = names::header_value(&line.value) {
        place.refuse("value", &reason);
    }
    let name = match fallback {
        Fallback::RequestHeader(line) => names::header(&line.name, "x-breaker-fallback"),
        Fallback::Property(line) => {
            names::plain("a filter state", &line.name, 64).map(|()| line.name.as_str().into())
        }
    };
    match (name, fallback) {
        (Ok(name), Fallback::RequestHeader(line)) => vec![Mutation::Set(name, line.value.as_str().into())],
        (Ok(name), Fallback::Property(line)) => {
            vec![Mutation::Property(name, line.value.as_str().into()), Mutation::ClearRouteCache]
        }
        (Err(reason), _) => {
            place.refuse("name", &reason);
            Vec::new()
        }
    }
}

/// Compiled names of headers that tell others.
#[derive(Clone, Debug, Default)]
pub(super) struct Export {
    pub(super) request: Option<Rc<str>>,
    pub(super) response: Option<Rc<str>>,
}

impl Export {
    pub(super) fn compile(written: Option<&ExportConfig>, problems: &mut Problems) -> Self {
        let Some(written) = written else {
            return Self::default();
        };
        let mut name = |field: &str, written: &Option<String>| {
            let name = names::header(written.as_ref()?, "x-breaker");
            name.map_err(|reason| problems.add(At::of("export").field(field), reason)).ok()
        };
        Self {
            request: name("request_header", &written.request_header),
            response: name("response_header", &written.response_header),
        }
    }
}

/// What is told of a refusal.
pub(super) fn said(why: Why, seconds: u64) -> Bytes {
    let said = match why {
        Why::Open => return ["open;retry-after=", &seconds.to_string()].concat().into(),
        Why::HalfOpen | Why::Unsafe => "half-open",
        Why::Recovering => "recovering",
        Why::Concurrency => "concurrency",
        Why::Shed => "shedding",
    };
    said.into()
}

/// Rounded up, at least 1: who comes after them finds the circuit ready for a probe.
pub(super) fn whole_seconds(time_ns: u64) -> u64 {
    time_ns.div_ceil(1_000_000_000).max(1)
}
