//! One target: whether it gets a copy of a request, and what the copy looks like.

use std::rc::Rc;

use weir_sdk::{At, Draw, FractionalPercent, HeaderMap, Problems, Regex, RequestMatcher, RequestView, names};

use crate::config::{self, OverLimit};
use crate::policy::Inputs;
use crate::policy::back_off::Part;
use crate::policy::bytes::joined;
use crate::policy::check;
use crate::policy::copy::Copy;
use crate::policy::plan::Verdict;
use crate::policy::record::{Record, redact};
use crate::policy::redact::Redactor;
use crate::policy::rewrite;
use crate::policy::sample::Sample;
use crate::policy::snapshot::Snapshot;
use crate::policy::trial::Trial;
use crate::policy::why::Why;

/// Methods that do nothing twice.
const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// A checked [`config::Target`], with what is compiled of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// As it is written, but for names of headers, which are in lower case, and for `compare`, which is in `trial`.
    pub written: config::Target,
    /// The list that it is in: 0 for the configuration's own, then those of its policies.
    pub list: usize,
    /// Its name in metrics and explanations.
    pub name: Rc<str>,
    /// How answers are compared.
    pub trial: Option<Trial>,
    /// Takes out of copies and records what must not be told.
    pub redactor: Option<Rc<Redactor>>,
    /// How exchanges are recorded.
    pub record: Option<Record>,
    matcher: RequestMatcher,
    sample: Sample,
    path: Option<Regex>,
}

/// A copy that is to be sent when the request is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The cluster.
    pub cluster: Vec<u8>,
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
    /// Checks and compiles the target at `at`. After a problem was noted it is not to be used.
    #[inline(never)]
    pub fn compile(at: &At<'_>, mut written: config::Target, list: usize, problems: &mut Problems) -> Self {
        let target = &mut written;
        cluster(at, target, problems);
        let name = name(at, target, problems);
        let matcher = problems.take(at.field("match"), RequestMatcher::try_from(&target.matches));
        if let Some(methods) = &target.methods {
            if methods.is_empty() {
                let reason = "expected at least one method such as `GET`, or `*` for all";
                check::refuse(problems, at, "methods", reason);
            }
            for (index, method) in methods.iter().enumerate() {
                let known = method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
                if (!known && method != "*") || method.is_empty() || method == "CONNECT" {
                    let reason = "` is never copied; expected a method in upper case such as `GET`";
                    let reason = joined("`", method, reason);
                    check::refuse(problems, &at.item("methods", index), "", &reason);
                }
            }
        }
        // Envoy's ABI has milliseconds in 32 bits with a sign.
        check::time(problems, at, "timeout", target.timeout.0, (1, 24 * check::DAY), "1ms to 24 days");
        check::number(problems, at, "max_in_flight", target.max_in_flight, (1, 1_000_000));
        let (found, most) = (target.body.max_bytes, 64 << 20);
        check::at_most(problems, at, "body.max_bytes", found, most, "67108864 (64 MiB)");
        if let Some(rate) = &target.rate {
            rate.check(&at.field("rate"), problems);
        }
        target.back_off.check(&at.field("back_off"), problems);
        let sample = Sample::compile(at, &name, target, problems);
        let redactor = target
            .redact
            .as_ref()
            .map(|redact| Rc::new(Redactor::compile(&at.field("redact"), redact, problems)));
        let path = rewrite::compile(at, target, problems);
        let record = target.record.as_ref().map(|record| Record::compile(at, target, record, problems));
        let trial = Trial::compile(at, target, redactor.clone(), problems);
        Self {
            list,
            name: name.into(),
            trial,
            redactor,
            record,
            matcher: matcher.unwrap_or_default(),
            sample,
            path,
            written,
        }
    }

    /// Whether the target gets a copy once the request is complete; and the draw, where one is needed.
    pub fn consider(&self, inputs: &Inputs<'_>, part: Part, draw: &mut Option<Draw>) -> Verdict {
        match self.wanted(inputs, part, draw) {
            Ok(wanted) => Verdict::Wanted(wanted),
            Err(why) => Verdict::Skipped(why),
        }
    }

    fn wanted(&self, inputs: &Inputs<'_>, part: Part, draw: &mut Option<Draw>) -> Result<Wanted, Why> {
        let request = inputs.request;
        let cluster = self.is_meant(request)?;
        self.sample.draw(&self.written, request, inputs.random, part, draw)?;
        // Asked last: an attribute costs more than everything before.
        if !self.written.unrouted && request.attribute(&["xds", "cluster_name"]).is_none() {
            return Err(Why::Unrouted);
        }
        let body = &self.written.body;
        let has_body = drawn(body.percentage.0, inputs.random);
        Ok(Wanted {
            cluster: cluster.to_vec(),
            body_limit: if has_body { bytes(body.max_bytes) } else { 0 },
            cuts: !has_body || body.over_limit == OverLimit::Truncate,
        })
    }

    /// Everything about a request but the share: the cluster that its copy goes to.
    fn is_meant<'r>(&'r self, request: &'r dyn RequestView) -> Result<&'r [u8], Why> {
        let method = request.method().unwrap_or_default();
        if method == b"CONNECT" || request.get("upgrade").is_some() || request.get(":protocol").is_some() {
            return Err(Why::Upgrade);
        }
        let is_copied = match &self.written.methods {
            Some(methods) => methods.iter().any(|other| other.as_bytes() == method || other == "*"),
            None => self.record.is_some() || SAFE.iter().any(|safe| safe.as_bytes() == method),
        };
        if !is_copied {
            return Err(Why::Method);
        }
        if request.get(&self.written.mark.name).is_some() {
            return Err(Why::Marked);
        }
        if !self.matcher.is_match(request) {
            return Err(Why::Match);
        }
        let name = match &self.written.cluster_header {
            Some(header) => request.get(header).unwrap_or_default(),
            None => self.written.cluster.as_deref().unwrap_or_default().as_bytes(),
        };
        if name.is_empty() { Err(Why::NoCluster) } else { Ok(name) }
    }

    /// The copy of a complete request, as it came: [`Target::change`] makes it fit to be sent.
    #[must_use]
    pub fn copy(&self, wanted: &Wanted, request: &Snapshot) -> Copy {
        let kept = request.body.get(..wanted.body_limit).unwrap_or(&request.body);
        Copy {
            // A record has the headers that came.
            headers: match &self.record {
                Some(_) => request.headers.clone(),
                None => weir_sdk::hop::forwardable(&request.headers),
            },
            body: kept.to_vec(),
            trailers: if self.written.trailers { request.trailers.clone() } else { HeaderMap::new() },
            body_truncated: u64::try_from(kept.len()).unwrap_or(u64::MAX) < request.length,
        }
    }

    /// Redacts and rewrites a copy; `length` is that of the request's body.
    ///
    /// # Errors
    /// [`Why::Body`], [`Why::Redaction`], [`Why::Path`]: it is not to be sent.
    pub fn change(&self, wanted: &Wanted, copy: &mut Copy, length: u64) -> Result<(), Refused> {
        if copy.body_truncated && !wanted.cuts {
            return Err(Why::Body.into());
        }
        // First: what is rewritten then is what may be seen, and what is added is the configuration's.
        redact(self.redactor.as_deref(), copy)?;
        if self.record.is_none() {
            self.rewrite(copy, length)?;
        }
        Ok(())
    }

    /// Makes of what was a request what the target gets; `length` is that of the whole body.
    ///
    /// # Errors
    /// [`Why::Path`].
    pub fn rewrite(&self, copy: &mut Copy, length: u64) -> Result<(), Why> {
        rewrite::apply(&self.written, self.path.as_ref(), copy, length)
    }

    /// Whether a copy is to be compressed.
    #[must_use]
    pub fn compresses(&self, copy: &Copy) -> bool {
        self.written.body.gzip_from_bytes.is_some_and(|least| copy.body.len() >= bytes(least.max(1)))
            && copy.headers.first("content-encoding").is_none()
    }

    /// Whether anything ever is.
    #[must_use]
    pub fn may_compress(&self) -> bool {
        self.written.body.gzip_from_bytes.is_some()
    }

    /// Bytes of the primary's answer that are kept, where it is needed.
    #[must_use]
    pub fn answer_bytes(&self) -> Option<usize> {
        (self.trial.is_some() || self.record.is_some()).then_some(bytes(self.written.max_answer_bytes))
    }

    /// Bytes of the answer's body in the record of a request that was wanted so: none where its own was left out.
    #[must_use]
    pub fn recorded_bytes(&self, wanted: &Wanted) -> usize {
        let is_left_out = wanted.body_limit == 0 && self.written.body.max_bytes > 0;
        if is_left_out { 0 } else { bytes(self.written.max_answer_bytes) }
    }
}

impl Target {
    /// The cluster of a copy's control copy, where it has one.
    #[must_use]
    pub fn control_cluster(&self, random: &dyn Fn() -> u64) -> Option<&str> {
        let control = self.written.control.as_ref()?;
        drawn(control.percentage.0, random).then_some(&control.cluster)
    }

    /// The control copy of a complete request whose whole body was kept: what the request has, marked.
    #[must_use]
    pub fn control(&self, request: &Snapshot) -> Copy {
        let mut copy = Copy {
            headers: weir_sdk::hop::forwardable(&request.headers),
            body: request.body.clone(),
            trailers: request.trailers.clone(),
            body_truncated: false,
        };
        rewrite::mark(&self.written, &mut copy, request.length);
        copy
    }
}

impl Wanted {
    /// Whether a body of this length keeps the request from being copied.
    #[must_use]
    pub fn refuses(&self, length: u64) -> bool {
        !self.cuts && length > u64::try_from(self.body_limit).unwrap_or(u64::MAX)
    }
}

/// Whether something that is done in this share of the cases is done now.
fn drawn(share: FractionalPercent, random: &dyn Fn() -> u64) -> bool {
    share.ppm() == 1_000_000 || share.includes(Draw::from_random(random()))
}

/// A number of bytes.
fn bytes(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn cluster(at: &At<'_>, target: &mut config::Target, problems: &mut Problems) {
    let (field, reason) = match (&target.cluster, &mut target.cluster_header) {
        (Some(name), None) if !name.is_empty() => return,
        (None, Some(header)) => {
            let found = names::readable_header(header, "x-shadow-cluster");
            return check::told(
                problems,
                at,
                "cluster_header",
                found.map(|name| *header = String::from(&*name)),
            );
        }
        (Some(_), None) => ("cluster", "expected the name of a cluster, found nothing"),
        _ => ("", "expected exactly one of `cluster` and `cluster_header`"),
    };
    check::refuse(problems, at, field, reason);
}

/// The name that is written, or the cluster's with what a metric's name may have.
fn name(at: &At<'_>, target: &config::Target, problems: &mut Problems) -> String {
    if let Some(name) = &target.name {
        check::told(problems, at, "name", names::plain("a target", name, 128));
        return name.clone();
    }
    let from = target.cluster.as_ref().or(target.cluster_header.as_ref()).map_or("", String::as_str);
    let mut name = String::new();
    for byte in from.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        // What follows the first byte of a character is no character of its own.
        if name.len() < 128 && byte & 0xc0 != 0x80 {
            name.push(if is_plain { char::from(byte) } else { '_' });
        }
    }
    name
}
