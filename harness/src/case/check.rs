//! Compares what came of an exchange, or of a whole case, with what must. Knows neither the harness nor Envoy: outcomes are plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use regex::bytes::Regex;

use super::{
    CalloutExpectation, Expectation, HeaderExpectation, MessageExpectation, StringMatcher, TotalExpectation,
};
use crate::exchange::Message;
use crate::headers::Headers;
use crate::outcome::{End, LogLine, Outcome};

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The expectation's path below `expect`, such as `request.has_header.x-track`.
    pub field: String,
    /// What must be.
    pub expected: String,
    /// What is.
    pub got: String,
    /// The two texts, where both are texts that can be compared letter by letter.
    pub texts: Option<(String, String)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}, got {}", self.field, self.expected, self.got)
    }
}

/// What is known when all exchanges are over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// How many exchanges there were.
    pub exchanges: u64,
    /// How many of them went to each cluster.
    pub clusters: BTreeMap<String, u64>,
    /// Values of counters and gauges.
    pub metrics: BTreeMap<String, u64>,
    /// Calls that filters made: the cluster and what it received.
    pub calls: Vec<(String, Message)>,
    /// Every log line, also of the start.
    pub log: Vec<LogLine>,
    /// Whether a plugin refused its configuration.
    pub refused: bool,
}

impl Totals {
    /// Counts an exchange.
    pub fn add(&mut self, outcome: &Outcome) {
        self.exchanges += 1;
        if let Some(cluster) = &outcome.cluster {
            *self.clusters.entry(cluster.clone()).or_default() += 1;
        }
        let calls = outcome.callouts.iter().map(|call| (call.cluster.clone(), call.request.clone()));
        self.calls.extend(calls);
        self.log.extend_from_slice(&outcome.log);
    }
}

/// Compares an outcome with what must come of the exchange; empty when it is so. Files are relative to `base`.
#[must_use]
pub fn check(expect: &Expectation, outcome: &Outcome, base: &Path) -> Vec<Failure> {
    let mut check = Check { base, failures: Vec::new() };
    check.text("end", expect.end.as_deref(), Some(outcome.end.name()));
    check.text("cluster", expect.cluster.as_deref(), outcome.cluster.as_deref());
    check.text("route", expect.route.as_deref(), outcome.route.as_deref());
    check.message("request", &expect.request, outcome.upstream_request.as_ref());
    check.message("response", &expect.response, outcome.response.as_ref());
    if let Some(immediate) = &expect.immediate {
        check.text("immediate", Some(End::LocalReply.name()), Some(outcome.end.name()));
        let response = outcome.response.as_ref();
        check.number("immediate.http_status", immediate.http_status, response.and_then(status));
        let grpc_status = response.and_then(|response| {
            let value =
                response.headers.get(b"grpc-status").or_else(|| response.trailers.get(b"grpc-status"))?;
            str::from_utf8(value).ok()?.parse::<u8>().ok()
        });
        check.number("immediate.grpc_status", immediate.grpc_status, grpc_status);
        check.text("immediate.details", immediate.details.as_deref(), Some(&outcome.details));
    }
    check.log("log", &expect.log, &outcome.log);
    check.failures
}

/// Compares what is known at the end with what must be; empty when it is so. Files are relative to `base`.
#[must_use]
pub fn check_total(expect: &TotalExpectation, totals: &Totals, base: &Path) -> Vec<Failure> {
    let mut check = Check { base, failures: Vec::new() };
    match (&expect.refused, totals.refused) {
        (Some(matcher), true) => check.log("refused", std::slice::from_ref(matcher), &totals.log),
        (Some(_), false) => check.fail("refused", "the configuration to be refused", "it was accepted"),
        (None, true) => check.fail("refused", "the configuration to be accepted", lines(&totals.log)),
        (None, false) => {}
    }
    for (name, value) in &expect.metric {
        let got = totals.metrics.get(name).copied().unwrap_or(0);
        if got != *value {
            check.fail(format!("metric.{name}"), value, got);
        }
    }
    for (cluster, share) in &expect.cluster_share {
        let count = totals.clusters.get(cluster).copied().unwrap_or(0);
        let percent = percent(count, totals.exchanges);
        if !(share.min..=share.max).contains(&percent) {
            check.fail(
                format!("cluster_share.{cluster}"),
                format!("{} % to {} %", share.min, share.max),
                format!("{percent:.2} % ({count} of {})", totals.exchanges),
            );
        }
    }
    for (index, callout) in expect.callouts.iter().enumerate() {
        let reasons: Vec<_> = totals.calls.iter().map(|call| check.call(callout, call)).collect();
        let count = reasons.iter().filter(|reason| reason.is_empty()).count();
        if count as u64 != callout.count {
            let found = format!("{count} of {}{}", totals.calls.len(), reasons.concat());
            check.fail(format!("callouts[{index}]"), format!("{} such", callout.count), found);
        }
    }
    check.log("log", &expect.log, &totals.log);
    check.failures
}

#[expect(clippy::cast_precision_loss, reason = "a share in percent needs no more than 52 bits")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

struct Check<'a> {
    base: &'a Path,
    failures: Vec<Failure>,
}

impl Check<'_> {
    fn fail(&mut self, field: impl Into<String>, expected: impl ToString, got: impl ToString) {
        self.failures.push(Failure {
            field: field.into(),
            expected: expected.to_string(),
            got: got.to_string(),
            texts: None,
        });
    }

    fn text(&mut self, field: &str, expected: Option<&str>, got: Option<&str>) {
        if let Some(expected) = expected
            && got != Some(expected)
        {
            let got = got.map_or_else(|| "none".to_owned(), |got| format!("`{got}`"));
            self.fail(field, format!("`{expected}`"), got);
        }
    }

    fn number<T: PartialEq + ToString>(&mut self, field: &str, expected: Option<T>, got: Option<T>) {
        if let Some(expected) = expected
            && got.as_ref() != Some(&expected)
        {
            self.fail(field, expected, got.map_or_else(|| "none".to_owned(), |got| got.to_string()));
        }
    }

    fn message(&mut self, side: &str, expect: &MessageExpectation, message: Option<&Message>) {
        if *expect == MessageExpectation::default() {
            return;
        }
        let Some(message) = message else {
            let why =
                if side == "request" { "nothing was sent upstream" } else { "the client got no response" };
            self.fail(side, format!("a {side}"), why);
            return;
        };
        self.number(&format!("{side}.status"), expect.status, status(message));
        for (name, value) in &expect.has_header {
            let got = joined(&message.headers, name);
            if got.as_deref() != Some(value.as_bytes()) {
                let got = got.map_or_else(|| self.absent(&message.headers), |got| show(&got));
                self.fail(format!("{side}.has_header.{name}"), show(value.as_bytes()), got);
            }
        }
        for name in &expect.no_header {
            if let Some(got) = joined(&message.headers, name) {
                self.fail(format!("{side}.no_header"), format!("no `{name}`"), show(&got));
            }
        }
        for (index, header) in expect.headers.iter().enumerate() {
            self.header(&format!("{side}.headers[{index}]"), header, &message.headers);
        }
        for (index, matcher) in expect.body.iter().enumerate() {
            self.matches(&format!("{side}.body[{index}]"), matcher, &message.body);
        }
    }

    /// What to say of a header that is not there.
    fn absent(&self, headers: &Headers) -> String {
        let names: Vec<_> =
            headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        format!("no such header (there are {})", names.join(", "))
    }

    /// Why a call is not as it is described; empty when it is.
    fn call(&self, expect: &CalloutExpectation, (cluster, request): &(String, Message)) -> String {
        let mut check = Check { base: self.base, failures: Vec::new() };
        check.text("cluster", expect.cluster.as_deref(), Some(cluster));
        check.message("request", &expect.request, Some(request));
        for (name, value) in &expect.has_trailer {
            let got = joined(&request.trailers, name);
            if got.as_deref() != Some(value.as_bytes()) {
                let got = got.map_or_else(|| check.absent(&request.trailers), |got| show(&got));
                check.fail(format!("has_trailer.{name}"), show(value.as_bytes()), got);
            }
        }
        check.failures.iter().map(|failure| format!("\n- `{cluster}`: {failure}")).collect()
    }

    fn header(&mut self, field: &str, expect: &HeaderExpectation, headers: &Headers) {
        let value = joined(headers, &expect.name);
        let is_match = value.as_deref().is_some_and(|value| {
            is_match(expect.exact.as_deref().map(str::as_bytes), expect.regex.as_deref(), value)
        });
        if is_match == expect.invert {
            let want = describe(expect.exact.as_deref(), expect.regex.as_deref(), None, expect.invert);
            let got = value.map_or_else(|| self.absent(headers), |value| show(&value));
            self.fail(field, format!("`{}` {want}", expect.name), got);
        }
    }

    fn matches(&mut self, field: &str, matcher: &StringMatcher, value: &[u8]) {
        match self.matcher(matcher, value) {
            Ok(true) => {}
            Ok(false) => {
                self.fail(field, describe_matcher(matcher), show(value));
                let exact = matcher
                    .exact
                    .clone()
                    .or_else(|| fs::read_to_string(self.base.join(matcher.file.as_ref()?)).ok());
                if let (Some(failure), Some(exact), false) = (self.failures.last_mut(), exact, matcher.invert)
                {
                    failure.texts = Some((exact, String::from_utf8_lossy(value).into_owned()));
                }
            }
            Err(reason) => self.fail(field, describe_matcher(matcher), reason),
        }
    }

    fn matcher(&self, matcher: &StringMatcher, value: &[u8]) -> Result<bool, String> {
        let file = match &matcher.file {
            Some(file) => Some(fs::read(self.base.join(file)).map_err(|error| format!("`{file}`: {error}"))?),
            None => None,
        };
        let exact = matcher.exact.as_deref().map(str::as_bytes).or(file.as_deref());
        Ok(is_match(exact, matcher.regex.as_deref(), value) != matcher.invert)
    }

    /// Some line matches; with `invert`, no line does.
    fn log(&mut self, field: &str, matchers: &[StringMatcher], log: &[LogLine]) {
        for (index, matcher) in matchers.iter().enumerate() {
            let plain = StringMatcher { invert: false, ..matcher.clone() };
            let found = log.iter().any(|line| self.matcher(&plain, line.message.as_bytes()) == Ok(true));
            if found == matcher.invert {
                let some = if matcher.invert { "no line" } else { "a line" };
                let expected = format!("{some} {}", describe_matcher(&plain));
                self.fail(format!("{field}[{index}]"), expected, lines(log));
            }
        }
    }
}

/// Neither `exact` nor `regex`: anything matches. A broken regular expression, which reading a case refuses, matches nothing.
fn is_match(exact: Option<&[u8]>, regex: Option<&str>, value: &[u8]) -> bool {
    exact.is_none_or(|exact| exact == value)
        && regex.is_none_or(|regex| Regex::new(regex).is_ok_and(|regex| regex.is_match(value)))
}

fn describe_matcher(matcher: &StringMatcher) -> String {
    describe(matcher.exact.as_deref(), matcher.regex.as_deref(), matcher.file.as_deref(), matcher.invert)
}

fn describe(exact: Option<&str>, regex: Option<&str>, file: Option<&str>, invert: bool) -> String {
    let not = if invert { "not " } else { "" };
    match (exact, regex, file) {
        (Some(exact), ..) => format!("{not}to be {}", show(exact.as_bytes())),
        (_, Some(regex), _) => format!("{not}to match `{regex}`"),
        (.., Some(file)) => format!("{not}to be the content of `{file}`"),
        _ => format!("{not}to be there"),
    }
}

fn lines(log: &[LogLine]) -> String {
    if log.is_empty() {
        return "no log line at all".to_owned();
    }
    log.iter().map(|line| format!("[{}] {}", line.level, line.message)).collect::<Vec<_>>().join("\n")
}

fn show(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", bytes.escape_ascii()),
    }
}

fn status(message: &Message) -> Option<u16> {
    str::from_utf8(message.headers.get(b":status")?).ok()?.parse().ok()
}

/// All lines of a name (any case), joined with `,` as Envoy joins them.
fn joined(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    let name = name.to_ascii_lowercase();
    let mut lines = headers.iter().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value);
    let mut value = lines.next()?.to_vec();
    for line in lines {
        value.push(b',');
        value.extend_from_slice(line);
    }
    Some(value)
}

#[cfg(test)]
mod tests;
