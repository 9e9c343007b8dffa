//! What clients are told: the answer to a refused request, and the headers of all others.

use std::rc::Rc;

use weir_sdk::{At, Bytes, LocalReply, Mutation, Problems, Texts};

use super::attempt::{Refusal, Told, Within};
use super::global::Service;
use super::limit::Limit;
use super::{names, wrong};
use crate::config::{Config, GrpcStatus, HeaderLine};

pub(crate) type Lines = Vec<(Rc<str>, Bytes)>;

/// Body and details of refusals by our own limits, as Envoy's.
const LOCAL: &str = "local_rate_limited";

/// Compiled [`config::Reply`](crate::config::Reply) and [`config::ReplyHeaders`](crate::config::ReplyHeaders).
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    reply: LocalReply,
    /// The body and the details of refusals by the service.
    service: (Bytes, Rc<str>),
    says_ratelimited: bool,
    not_enforced: Vec<Mutation>,
    retry_after: bool,
    x_ratelimit: bool,
    ratelimit: bool,
    dry_run: Option<Rc<str>>,
    names: Texts,
}

/// A header.
#[derive(Clone, Copy)]
enum Name {
    Ratelimited,
    RetryAfter,
    Limit,
    Remaining,
    Reset,
    Policy,
    State,
}

const RETRY_AFTER: &str = "retry-after";

/// In the order of [`Name`].
const NAMES: [&str; 7] = [
    "x-envoy-ratelimited",
    RETRY_AFTER,
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "ratelimit-policy",
    "ratelimit",
];

impl Replies {
    pub(crate) fn compile(config: &Config, service: Option<&Service>, problems: &mut Problems) -> Self {
        let reply = &config.reply;
        if !(400..600).contains(&reply.status) {
            problems.add("reply.status", format!("expected 400 to 599, found {}", u32::from(reply.status)));
        }
        let is_printable =
            |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !reply.details.as_ref().is_none_or(is_printable) {
            problems.add("reply.details", "expected printable ASCII without spaces, and not nothing");
        }
        if reply.body.as_ref().is_some_and(|body| body.contains('\0')) {
            problems.add("reply.body", "expected a text without NUL");
        }
        let headers = &config.headers;
        let dry_run = headers.dry_run.as_deref().and_then(|name| {
            names::header(name).map_err(|reason| problems.add("headers.dry_run", reason)).ok()
        });
        let grpc_status = match reply.grpc_status {
            GrpcStatus::Unavailable => 14,
            GrpcStatus::ResourceExhausted => 8,
        };
        Self {
            reply: LocalReply {
                status: reply.status,
                headers: lines(&At::of("reply.headers"), &reply.headers, problems),
                body: reply.body.as_deref().unwrap_or(LOCAL).into(),
                details: reply.details.as_deref().unwrap_or(LOCAL).into(),
                grpc_status: Some(grpc_status),
            },
            service: (
                reply.body.as_deref().unwrap_or_default().into(),
                reply.details.as_deref().unwrap_or("request_rate_limited").into(),
            ),
            says_ratelimited: service.is_some_and(|service| service.says_ratelimited),
            not_enforced: set(lines(
                &At::of("headers_when_not_enforced"),
                &config.headers_when_not_enforced,
                problems,
            )),
            retry_after: headers.retry_after,
            x_ratelimit: headers.x_ratelimit,
            ratelimit: headers.ratelimit,
            dry_run,
            names: Texts::new("", &NAMES),
        }
    }

    /// The answer to a refused request.
    pub(crate) fn refusal(&self, refusal: &Refusal) -> LocalReply {
        let mut reply = self.reply.clone();
        let retry = refusal.retry_s();
        if let Some(answer) = &refusal.service {
            let (body, details) = &self.service;
            reply.body =
                if answer.raw_body.is_empty() { body.clone() } else { answer.raw_body.as_slice().into() };
            reply.details = Rc::clone(details);
            if self.says_ratelimited {
                self.say(&mut reply.headers, Name::Ratelimited, "true");
            }
            reply.headers.extend_from_slice(&answer.response_headers);
        }
        if let (true, Some(seconds)) = (self.retry_after, retry)
            && !reply.headers.iter().any(|(other, _)| &**other == RETRY_AFTER)
        {
            self.say(&mut reply.headers, Name::RetryAfter, &seconds.to_string());
        }
        if let Some(told) = &refusal.told {
            self.add(&mut reply.headers, told, retry, std::slice::from_ref(&told.policy));
        }
        reply
    }

    /// The headers of an admitted request's response.
    pub(crate) fn admitted(&self, within: &Within) -> Vec<Mutation> {
        let mut lines = Lines::new();
        if let Some(told) = &within.lowest {
            let full = told.admission.full_ns.map(seconds);
            self.add(&mut lines, told, full, &within.policies);
        }
        set(lines)
    }

    fn say(&self, lines: &mut Lines, name: Name, value: &str) {
        lines.push((self.names.at(name as usize), value.into()));
    }

    fn add(&self, lines: &mut Lines, told: &Told, time_s: Option<u64>, policies: &[Rc<str>]) {
        let left = told.admission.remaining.to_string();
        if self.x_ratelimit {
            match &told.size {
                Some(size) => self.say(lines, Name::Limit, size),
                None => self.say(lines, Name::Limit, &told.admission.limit.to_string()),
            }
            self.say(lines, Name::Remaining, &left);
            if let Some(ns) = told.admission.reset_ns {
                self.say(lines, Name::Reset, &seconds(ns).to_string());
            }
        }
        if self.ratelimit {
            let length = policies.iter().map(|policy| policy.len().saturating_add(2)).sum();
            let mut all = String::with_capacity(length);
            for policy in policies {
                all.push_str(if all.is_empty() { "" } else { ", " });
                all.push_str(policy);
            }
            self.say(lines, Name::Policy, &all);
            let mut text = ["\"", &told.name, "\";r=", &left].concat();
            if let Some(seconds) = time_s {
                text.push_str(";t=");
                text.push_str(&seconds.to_string());
            }
            self.say(lines, Name::State, &text);
        }
    }

    /// What a dry run says.
    pub(crate) fn dry_run(&self, what: &str, limit: &Limit, retry_s: Option<u64>) -> Vec<Mutation> {
        let Some(name) = &self.dry_run else {
            return Vec::new();
        };
        let mut text = [what, "; limit=", &limit.name].concat();
        if let Some(seconds) = retry_s {
            text.push_str("; retry-after=");
            text.push_str(&seconds.to_string());
        }
        vec![Mutation::Set(Rc::clone(name), text.into())]
    }

    /// What a request gets that was refused and goes on.
    pub(crate) fn not_enforced(&self) -> Vec<Mutation> {
        self.not_enforced.clone()
    }
}

fn set(lines: Lines) -> Vec<Mutation> {
    let mut changes = Vec::new();
    change(&mut changes, lines, Mutation::Set);
    changes
}

/// Adds a change for each line.
pub(crate) fn change(changes: &mut Vec<Mutation>, lines: Lines, how: fn(Rc<str>, Bytes) -> Mutation) {
    changes.reserve(lines.len());
    for (name, value) in lines {
        changes.push(how(name, value));
    }
}

/// Rounded up.
fn seconds(ns: u64) -> u64 {
    ns.div_ceil(1_000_000_000)
}

/// The most lines, as Envoy's.
const MOST_LINES: usize = 10;

fn lines(at: &At<'_>, lines: &[HeaderLine], problems: &mut Problems) -> Lines {
    if lines.len() > MOST_LINES {
        problems.add(at, format!("expected at most {MOST_LINES} headers, found {}", lines.len()));
    }
    let mut compiled = Lines::new();
    for (index, line) in lines.iter().enumerate() {
        let name = names::header(&line.name);
        let at = at.index(index);
        if let Err(reason) = names::header_value(&line.value) {
            wrong(&at, "value", &reason, problems);
        }
        match name {
            Ok(name) => compiled.push((name, line.value.as_str().into())),
            Err(reason) => wrong(&at, "name", &reason, problems),
        }
    }
    compiled
}
