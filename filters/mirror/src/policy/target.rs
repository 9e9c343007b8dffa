//! One target: whether it gets a copy of a request, and what the copy looks like.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::{At, Draw, FractionalPercent, HeaderMap, Problems, RequestMatcher, RequestView, names};

use crate::config::{self, OverLimit};
use crate::policy::Inputs;
use crate::policy::back_off::{BackOff, Part};
use crate::policy::bucket::TokenBucket;
use crate::policy::bytes::joined;
use crate::policy::check;
use crate::policy::copy::Copy;
use crate::policy::record::{Record, redact};
use crate::policy::redact::Redactor;
use crate::policy::rewrite::Rewrite;
use crate::policy::sample::Sample;
use crate::policy::snapshot::Snapshot;
use crate::policy::trial::Trial;
use crate::policy::why::Why;

/// Methods that do nothing twice.
const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// A compiled [`config::Target`].
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in metrics and explanations.
    pub name: Rc<str>,
    /// How long a copy may be without an answer.
    pub timeout: Duration,
    /// Copies without an answer at any time.
    pub max_in_flight: u32,
    /// Copies in a time.
    pub rate: Option<TokenBucket>,
    /// What a suffering target gets.
    pub back_off: Option<BackOff>,
    /// How answers are compared.
    pub trial: Option<Trial>,
    cluster: Cluster,
    matcher: RequestMatcher,
    methods: Option<Vec<String>>,
    unrouted: bool,
    sample: Sample,
    max_bytes: usize,
    over_limit: OverLimit,
    bodies: FractionalPercent,
    gzip_from: Option<usize>,
    trailers: bool,
    /// Takes out of copies and records what must not be told.
    pub redactor: Option<Rc<Redactor>>,
    rewrite: Rewrite,
    /// How exchanges are recorded.
    pub record: Option<Record>,
    max_answer_bytes: usize,
}

#[derive(Clone, Debug)]
enum Cluster {
    Named(Rc<[u8]>),
    Header(Rc<str>),
}

/// A copy that is to be sent when the request is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The cluster.
    pub cluster: Rc<[u8]>,
    /// Bytes of the body that the copy may have.
    pub body_limit: usize,
    /// Whether a longer body is cut, or the reason for no copy.
    pub cuts: bool,
}

/// Why there is no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason that is counted.
    pub why: Why,
    /// More of it, for people.
    pub detail: Option<&'static str>,
}

impl From<Why> for Refused {
    fn from(why: Why) -> Self {
        Self { why, detail: None }
    }
}

impl Target {
    /// Checks and compiles the target at `at`.
    pub fn compile(at: &At<'_>, target: &config::Target, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let cluster = cluster(at, target, problems);
        let name = name(at, target, problems);
        let matcher = problems.take(at.field("match"), RequestMatcher::try_from(&target.matches));
        let methods = target.methods.as_deref().unwrap_or_default();
        let any = methods.iter().any(|method| method == "*");
        if target.methods.as_ref().is_some_and(Vec::is_empty) {
            let reason = "expected at least one method such as `GET`, or `*` for all";
            check::refuse(problems, at, "methods", reason);
        }
        for (index, method) in methods.iter().enumerate() {
            let known = method == "*" || method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
            if !known || method.is_empty() || method == "CONNECT" {
                let reason = "` is never copied; expected a method in upper case such as `GET`";
                let reason = joined("`", method, reason);
                problems.add(at.item("methods", index), reason);
            }
        }
        let timeout = target.timeout.0;
        // Envoy's ABI has milliseconds in 32 bits with a sign.
        check::time(problems, at, "timeout", timeout, (1, 24 * check::DAY), "1ms to 24 days");
        check::number(problems, at, "max_in_flight", target.max_in_flight, (1, 1_000_000));
        let (found, most) = (target.body.max_bytes, 64 << 20);
        check::at_most(problems, at, "body.max_bytes", found, most, "67108864 (64 MiB)");
        let redactor;
        let compiled = Self {
            timeout,
            max_in_flight: target.max_in_flight,
            // What is compiled stands in the order in which its problems are noted.
            rate: target.rate.as_ref().map(|rate| TokenBucket::compile(&at.field("rate"), rate, problems)),
            back_off: BackOff::compile(&at.field("back_off"), &target.back_off, problems),
            sample: Sample::compile(at, &name, target, problems),
            redactor: {
                let compile = |redact| Rc::new(Redactor::compile(&at.field("redact"), redact, problems));
                redactor = target.redact.as_ref().map(compile);
                redactor.clone()
            },
            rewrite: Rewrite::compile(at, target, problems),
            trial: Trial::compile(at, target, redactor, problems),
            record: target.record.as_ref().map(|record| Record::compile(at, target, record, problems)),
            methods: match &target.methods {
                Some(methods) => (!any).then(|| methods.clone()),
                None if target.record.is_some() => None,
                None => Some(SAFE.iter().map(|method| String::from(*method)).collect()),
            },
            name: name.into(),
            cluster: cluster.unwrap_or_else(|| Cluster::Named(Rc::default())),
            matcher: matcher.unwrap_or_default(),
            unrouted: target.unrouted,
            max_bytes: usize::try_from(target.body.max_bytes).unwrap_or(usize::MAX),
            over_limit: target.body.over_limit,
            bodies: target.body.percentage.0,
            gzip_from: target.body.gzip_from_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            trailers: target.trailers,
            max_answer_bytes: usize::try_from(target.max_answer_bytes).unwrap_or(usize::MAX),
        };
        (problems.len() == before).then_some(compiled)
    }

    /// Whether the target gets a copy once the request is complete; and the draw, where one was needed.
    pub fn consider(&self, inputs: &Inputs<'_>, part: Part) -> (Option<Draw>, Result<Wanted, Why>) {
        let cluster = match self.is_meant(inputs.request) {
            Ok(cluster) => cluster,
            Err(why) => return (None, Err(why)),
        };
        let (draw, verdict) = self.sample.draw(inputs.request, inputs.random, part);
        let wanted = verdict.and_then(|()| {
            // Asked last: an attribute costs more than everything before.
            if !self.unrouted && inputs.request.attribute(&["xds", "cluster_name"]).is_none() {
                return Err(Why::Unrouted);
            }
            let has_body =
                self.bodies.ppm() == 1_000_000 || self.bodies.includes(Draw::from_random((inputs.random)()));
            Ok(Wanted {
                cluster,
                body_limit: if has_body { self.max_bytes } else { 0 },
                cuts: !has_body || self.over_limit == OverLimit::Truncate,
            })
        });
        (draw, wanted)
    }

    /// Everything about a request but the share: the cluster that its copy goes to.
    fn is_meant(&self, request: &dyn RequestView) -> Result<Rc<[u8]>, Why> {
        let method = request.method().unwrap_or_default();
        if method == b"CONNECT" || request.get("upgrade").is_some() || request.get(":protocol").is_some() {
            return Err(Why::Upgrade);
        }
        if let Some(methods) = &self.methods
            && !methods.iter().any(|other| other.as_bytes() == method)
        {
            return Err(Why::Method);
        }
        if request.get(self.rewrite.mark()).is_some() {
            return Err(Why::Marked);
        }
        if !self.matcher.is_match(request) {
            return Err(Why::Match);
        }
        match &self.cluster {
            Cluster::Named(name) => Ok(Rc::clone(name)),
            Cluster::Header(header) => match request.get(header) {
                Some(name) if !name.is_empty() => Ok(name.into()),
                _ => Err(Why::NoCluster),
            },
        }
    }

    /// The copy of a complete request.
    ///
    /// # Errors
    /// [`Why::Body`], [`Why::Redaction`], [`Why::Path`].
    pub fn copy(&self, wanted: &Wanted, request: &Snapshot) -> Result<Copy, Refused> {
        let kept = request.body.get(..wanted.body_limit).unwrap_or(&request.body);
        let body_truncated = u64::try_from(kept.len()).unwrap_or(u64::MAX) < request.length;
        if body_truncated && !wanted.cuts {
            return Err(Why::Body.into());
        }
        let mut copy = Copy {
            // A record has the headers that came.
            headers: match &self.record {
                Some(_) => request.headers.clone(),
                None => weir_sdk::hop::forwardable(&request.headers),
            },
            body: kept.to_vec(),
            trailers: if self.trailers { request.trailers.clone() } else { Default::default() },
            body_truncated,
        };
        // First: what is rewritten then is what may be seen, and what is added is the configuration's.
        redact(self.redactor.as_deref(), &mut copy)?;
        if self.record.is_none() {
            self.rewrite.apply(&mut copy, request.length)?;
        }
        Ok(copy)
    }

    /// What is posted to a collector, with these lines.
    ///
    /// # Errors
    /// [`Why::Path`].
    pub fn post(&self, record: &Record, lines: Vec<u8>) -> Result<Copy, Why> {
        let (headers, trailers) = (record.headers.clone(), HeaderMap::new());
        let mut copy = Copy { headers, body: lines, trailers, body_truncated: false };
        self.rewrite.apply(&mut copy, 0)?;
        Ok(copy)
    }

    /// Whether a copy is to be compressed.
    #[must_use]
    pub fn compresses(&self, copy: &Copy) -> bool {
        self.gzip_from.is_some_and(|least| copy.body.len() >= least.max(1))
            && copy.headers.first("content-encoding").is_none()
    }

    /// Whether anything ever is.
    #[must_use]
    pub fn may_compress(&self) -> bool {
        self.gzip_from.is_some()
    }

    /// Bytes of the primary's answer that are kept, where it is needed.
    #[must_use]
    pub fn answer_bytes(&self) -> Option<usize> {
        (self.trial.is_some() || self.record.is_some()).then_some(self.max_answer_bytes)
    }

    /// Bytes of the answer's body in the record of a request that was wanted so: none where its own was left out.
    #[must_use]
    pub fn recorded_bytes(&self, wanted: &Wanted) -> usize {
        if wanted.body_limit == 0 && self.max_bytes > 0 { 0 } else { self.max_answer_bytes }
    }
}

impl Target {
    /// The control copy of a complete request: what the request has, marked. `None` where only a part of the body was kept.
    #[must_use]
    pub fn control(&self, request: &Snapshot) -> Option<Copy> {
        let whole = u64::try_from(request.body.len()).ok() == Some(request.length);
        let mut copy = Copy {
            headers: weir_sdk::hop::forwardable(&request.headers),
            body: whole.then(|| request.body.clone())?,
            trailers: request.trailers.clone(),
            body_truncated: false,
        };
        self.rewrite.mark_copy(&mut copy, request.length);
        Some(copy)
    }
}

impl Wanted {
    /// Whether a body of this length keeps the request from being copied.
    #[must_use]
    pub fn refuses(&self, length: u64) -> bool {
        !self.cuts && length > u64::try_from(self.body_limit).unwrap_or(u64::MAX)
    }
}

fn cluster(at: &At<'_>, target: &config::Target, problems: &mut Problems) -> Option<Cluster> {
    match (&target.cluster, &target.cluster_header) {
        (Some(name), None) if !name.is_empty() => Some(Cluster::Named(name.as_bytes().into())),
        (None, Some(header)) => match names::readable_header(header, "x-shadow-cluster") {
            Ok(header) => Some(Cluster::Header(header)),
            Err(reason) => {
                check::refuse(problems, at, "cluster_header", &reason);
                None
            }
        },
        (Some(_), None) => {
            check::refuse(problems, at, "cluster", "expected the name of a cluster, found nothing");
            None
        }
        _ => {
            problems.add(at, "expected exactly one of `cluster` and `cluster_header`");
            None
        }
    }
}

/// The name that is written, or the cluster's with what a metric's name may have.
fn name(at: &At<'_>, target: &config::Target, problems: &mut Problems) -> String {
    if let Some(name) = &target.name {
        if let Err(reason) = names::plain("a target", name, 128) {
            check::refuse(problems, at, "name", &reason);
        }
        return name.clone();
    }
    let from = target.cluster.as_ref().or(target.cluster_header.as_ref()).map_or("", String::as_str);
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' => character,
        _ => '_',
    };
    from.chars().map(plain).take(128).collect()
}
