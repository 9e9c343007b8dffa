//! What clients are told: the answer to a refused request, and the headers of all others.

use std::rc::Rc;

use weir_sdk::limit::Admission;
use weir_sdk::{Bytes, LocalReply, Mutation, Problems};

use super::attempt::Refusal;
use super::limit::Limit;
use super::names;
use crate::config::{Config, GrpcStatus, HeaderLine};

type Lines = Vec<(Rc<str>, Bytes)>;

/// Compiled [`config::Reply`](crate::config::Reply) and [`config::ReplyHeaders`](crate::config::ReplyHeaders).
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    reply: LocalReply,
    not_enforced: Lines,
    retry_after: Option<Rc<str>>,
    /// Limit, remaining, reset.
    x_ratelimit: Option<[Rc<str>; 3]>,
    /// Policy, state.
    ratelimit: Option<[Rc<str>; 2]>,
    dry_run: Option<Rc<str>>,
}

impl Replies {
    pub(crate) fn compile(config: &Config, problems: &mut Problems) -> Self {
        let reply = &config.reply;
        if !(400..600).contains(&reply.status) {
            problems.add("reply.status", format!("expected 400 to 599, found {}", reply.status));
        }
        let details = &reply.details;
        if details.is_empty() || !details.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.add("reply.details", "expected printable ASCII without spaces, and not nothing");
        }
        if reply.body.bytes().any(|byte| byte == 0) {
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
                headers: lines("reply.headers", &reply.headers, problems),
                body: reply.body.as_str().into(),
                details: reply.details.as_str().into(),
                grpc_status: Some(grpc_status),
            },
            not_enforced: lines("headers_when_not_enforced", &config.headers_when_not_enforced, problems),
            retry_after: headers.retry_after.then(|| "retry-after".into()),
            x_ratelimit: headers
                .x_ratelimit
                .then(|| ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(Into::into)),
            ratelimit: headers.ratelimit.then(|| ["ratelimit-policy", "ratelimit"].map(Into::into)),
            dry_run,
        }
    }

    /// The answer to a refused request.
    pub(crate) fn refusal(&self, refusal: &Refusal) -> LocalReply {
        let mut reply = self.reply.clone();
        let retry = refusal.retry_s();
        if let (Some(name), Some(seconds)) = (&self.retry_after, retry)
            && !reply.headers.iter().any(|(other, _)| other == name)
        {
            reply.headers.push((Rc::clone(name), seconds.to_string().into()));
        }
        if let (Some(admission), Some(bucket)) = (refusal.admission, refusal.limit.bucket(refusal.bucket)) {
            let policies = [Rc::clone(&bucket.policy)];
            self.add(&mut reply.headers, &refusal.limit, &admission, retry, &policies);
        }
        reply
    }

    /// The headers of an admitted request's response.
    pub(crate) fn admitted(&self, limit: &Limit, admission: &Admission, policies: &[Rc<str>]) -> Lines {
        let mut lines = Lines::new();
        let full = admission.full_ns.map(|full| full.div_ceil(1_000_000_000));
        self.add(&mut lines, limit, admission, full, policies);
        lines
    }

    fn add(
        &self,
        lines: &mut Lines,
        limit: &Limit,
        admission: &Admission,
        time_s: Option<u64>,
        policies: &[Rc<str>],
    ) {
        let Admission { remaining, reset_ns, .. } = admission;
        let left = remaining.to_string();
        if let Some([size, remaining, reset]) = &self.x_ratelimit {
            lines.push((Rc::clone(size), admission.limit.to_string().into()));
            lines.push((Rc::clone(remaining), left.as_str().into()));
            if let Some(ns) = reset_ns {
                lines.push((Rc::clone(reset), ns.div_ceil(1_000_000_000).to_string().into()));
            }
        }
        if let Some([policy, state]) = &self.ratelimit {
            lines.push((Rc::clone(policy), policies.join(", ").into()));
            let mut text = ["\"", &limit.name, "\";r=", &left].concat();
            if let Some(seconds) = time_s {
                text.push_str(";t=");
                text.push_str(&seconds.to_string());
            }
            lines.push((Rc::clone(state), text.into()));
        }
    }

    /// What a dry run says.
    pub(crate) fn dry_run(&self, what: &str, limit: &Limit, retry_s: Option<u64>) -> Lines {
        let Some(name) = &self.dry_run else {
            return Lines::new();
        };
        let mut text = [what, "; limit=", &limit.name].concat();
        if let Some(seconds) = retry_s {
            text.push_str("; retry-after=");
            text.push_str(&seconds.to_string());
        }
        vec![(Rc::clone(name), text.into())]
    }

    /// What a request gets that was refused and goes on.
    pub(crate) fn not_enforced(&self) -> Vec<Mutation> {
        self.not_enforced.iter().map(|(name, value)| Mutation::Set(Rc::clone(name), value.clone())).collect()
    }
}

/// The most lines, as Envoy's.
const MOST_LINES: usize = 10;

fn lines(path: &str, lines: &[HeaderLine], problems: &mut Problems) -> Lines {
    if lines.len() > MOST_LINES {
        problems.add(path, format!("expected at most {MOST_LINES} headers, found {}", lines.len()));
    }
    let mut compiled = Lines::new();
    for (index, line) in lines.iter().enumerate() {
        let name = names::header(&line.name);
        if let Err(reason) = names::header_value(&line.value) {
            problems.add(format!("{path}[{index}].value"), reason);
        }
        match name {
            Ok(name) => compiled.push((name, line.value.as_str().into())),
            Err(reason) => problems.add(format!("{path}[{index}].name"), reason),
        }
    }
    compiled
}
