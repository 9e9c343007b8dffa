//! Reads a case and makes exchanges of it. Does not run them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::{Case, CaseExchange, Expectation, MessageExpectation, StringMatcher};
use crate::clock::DEFAULT_START_NS;
use crate::driver::Begin;
use crate::exchange::{Downstream, Exchange, Message};
use crate::headers::Headers;
use crate::outcome::End;
use crate::scenario::{self, BytesText, ScenarioError};
use crate::time;
use crate::yaml;

/// How many exchanges a case may hold, repetitions counted: they are held in memory.
const MAX_EXCHANGES: u64 = 1_000_000;

/// The client of a case that names none.
const DEFAULT_SOURCE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000);

/// A case and where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The case.
    pub case: Case,
    /// The folder that its paths are relative to.
    pub base: PathBuf,
    /// The file it was read from.
    pub file: PathBuf,
}

/// One exchange of a case.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The exchange.
    pub exchange: Exchange,
    /// When it begins: [`Begin::Next`], or [`Begin::After`] where the case lets it overlap with those before.
    pub begin: Begin,
    /// What must come of it.
    pub expect: &'a Expectation,
}

/// A case that cannot be used: the same ways as a scenario.
pub type CaseError = ScenarioError;

impl Case {
    /// Reads a case; a folder means the `case.yaml` in it.
    ///
    /// # Errors
    /// When the file cannot be read, is not a case, names a file that is not there, or an expectation could never hold.
    pub fn load(path: &Path) -> Result<Loaded, CaseError> {
        let file = scenario::file_in(path, "case.yaml");
        let mut case: Self = yaml::read(&file)?;
        let base = scenario::parent(&file);
        let usable = case.validate(&base).and_then(|()| case.scenario.read_files(&base, "scenario."));
        usable.map_err(|(field, reason)| CaseError::Invalid { file: file.clone(), field, reason })?;
        Ok(Loaded { case, base, file })
    }

    /// The exchanges that are written out, in order, repetitions one by one, each with when it begins and what must come of it.
    ///
    /// The first begins at the scenario's start; an exchange with `after` that much later than the one before it, any other at the same
    /// moment, but none of them before all before it are over; one with `start` that much later than the one before it began. A request with a
    /// body and every response that may have one carry `content-length`, as HTTP/1.1 peers send it.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Step<'_>> {
        let mut now = self.scenario.start_ns().unwrap_or(DEFAULT_START_NS);
        let mut exchanges = Vec::new();
        for (index, exchange) in self.exchanges.iter().enumerate() {
            let duration = |text: &Option<String>| text.as_deref().and_then(time::parse_duration);
            let start = duration(&exchange.start);
            let after = start.or(duration(&exchange.after)).unwrap_or_default();
            let begin = start.map_or(Begin::Next, Begin::After);
            for repetition in 0..exchange.repeat {
                now = now.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
                let origin = match exchange.repeat {
                    1 => format!("exchanges[{index}]"),
                    _ => format!("exchanges[{index}] repetition {}", repetition + 1),
                };
                let mut made = exchange.exchange(origin, now);
                // Each has a connection of its own, whatever its address.
                made.downstream.connection_id = u64::try_from(exchanges.len()).ok();
                exchanges.push(Step { exchange: made, begin, expect: &exchange.expect });
            }
        }
        exchanges
    }

    fn validate(&self, base: &Path) -> Result<(), (String, String)> {
        self.scenario.validate(base, "scenario.")?;
        let total: u64 = self.exchanges.iter().map(|exchange| u64::from(exchange.repeat)).sum();
        if total > MAX_EXCHANGES {
            return Err((
                "exchanges".to_owned(),
                format!("{total} exchanges; at most {MAX_EXCHANGES} are accepted"),
            ));
        }
        for (index, exchange) in self.exchanges.iter().enumerate() {
            exchange
                .validate(base)
                .map_err(|(field, reason)| (format!("exchanges[{index}].{field}"), reason))?;
        }
        validate_matchers("expect.log", &self.expect.log, base)?;
        validate_matchers("expect.refused", self.expect.refused.as_slice(), base)?;
        for (index, callout) in self.expect.callouts.iter().enumerate() {
            validate_message(&format!("expect.callouts[{index}].request"), &callout.request, base)?;
        }
        for (cluster, share) in &self.expect.cluster_share {
            if !(0.0..=100.0).contains(&share.min) || !(share.min..=100.0).contains(&share.max) {
                let reason =
                    format!("expected 0 <= min <= max <= 100, found {} and {}", share.min, share.max);
                return Err((format!("expect.cluster_share.{cluster}"), reason));
            }
        }
        Ok(())
    }
}

impl CaseExchange {
    fn exchange(&self, origin: String, start_ns: u64) -> Exchange {
        let request = &self.request;
        let mut headers = Headers::new();
        headers.push(":method", request.method.as_deref().unwrap_or("GET"));
        headers.push(":path", request.path.as_deref().unwrap_or("/"));
        headers.push(":authority", request.authority.as_deref().unwrap_or("example.com"));
        headers.push(":scheme", "http");
        let sent = message(headers, &request.headers, request.body.as_ref(), request.body.is_some());
        let status = self.response.status.unwrap_or(200);
        let mut headers = Headers::new();
        headers.push(":status", status.to_string());
        let has_length = status >= 200 && status != 204 && status != 304;
        let response = message(headers, &self.response.headers, self.response.body.as_ref(), has_length);
        let address = request.source_address.as_deref().and_then(source_address).unwrap_or(DEFAULT_SOURCE);
        Exchange {
            origin,
            start_ns: Some(start_ns),
            duration: None,
            abort_after: request.abort_after.as_deref().and_then(time::parse_duration),
            downstream: Downstream { address: Some(address), ..Downstream::default() },
            request: sent,
            response: Some(response),
            upstream_cluster: None,
        }
    }

    fn validate(&self, base: &Path) -> Result<(), (String, String)> {
        if self.repeat == 0 {
            return Err(("repeat".to_owned(), "expected at least 1".to_owned()));
        }
        let times = [
            ("after", &self.after),
            ("start", &self.start),
            ("request.abort_after", &self.request.abort_after),
        ];
        for (field, text) in times {
            if let Some(text) = text
                && time::parse_duration(text).is_none()
            {
                let reason = format!("expected a time such as `250ms` or `10s`, found `{text}`");
                return Err((field.to_owned(), reason));
            }
        }
        if self.after.is_some() && self.start.is_some() {
            return Err(("start".to_owned(), "stands beside `after`; give one of the two".to_owned()));
        }
        if let Some(address) = &self.request.source_address
            && source_address(address).is_none()
        {
            let reason =
                format!("expected an address such as `10.0.0.1` or `10.0.0.1:40000`, found `{address}`");
            return Err(("request.source_address".to_owned(), reason));
        }
        for (side, lines) in [("request", &self.request.headers), ("response", &self.response.headers)] {
            for (line, (name, _)) in lines.iter().enumerate() {
                if name.is_empty() || name.starts_with(':') {
                    let reason = match side {
                        "request" => {
                            "not a header name; use `method`, `path` and `authority` for pseudo headers"
                        }
                        _ => "not a header name; use `status` for the pseudo header",
                    };
                    return Err((format!("{side}.headers[{line}]"), format!("`{name}`: {reason}")));
                }
            }
        }
        if let Some(status) = self.response.status
            && !(100..=599).contains(&status)
        {
            return Err(("response.status".to_owned(), format!("expected 100 to 599, found {status}")));
        }
        self.expect.validate(base).map_err(|(field, reason)| (format!("expect.{field}"), reason))
    }
}

impl Expectation {
    fn validate(&self, base: &Path) -> Result<(), (String, String)> {
        if let Some(end) = &self.end {
            let names = End::ALL.map(End::name);
            if !names.contains(&end.as_str()) {
                return Err(("end".to_owned(), yaml::unknown("end", end, &names)));
            }
        }
        for (side, message) in [("request", &self.request), ("response", &self.response)] {
            validate_message(side, message, base)?;
        }
        if self.request.status.is_some() {
            return Err((
                "request.status".to_owned(),
                "a request has no status; accepted in `response`".to_owned(),
            ));
        }
        validate_matchers("log", &self.log, base)
    }
}

fn validate_message(field: &str, message: &MessageExpectation, base: &Path) -> Result<(), (String, String)> {
    validate_matchers(&format!("{field}.body"), &message.body, base)?;
    for (index, header) in message.headers.iter().enumerate() {
        let field = format!("{field}.headers[{index}]");
        validate_one_of(&field, header.exact.as_ref(), header.regex.as_ref(), None)?;
    }
    Ok(())
}

fn validate_matchers(field: &str, matchers: &[StringMatcher], base: &Path) -> Result<(), (String, String)> {
    for (index, matcher) in matchers.iter().enumerate() {
        let field = format!("{field}[{index}]");
        validate_one_of(&field, matcher.exact.as_ref(), matcher.regex.as_ref(), matcher.file.as_ref())?;
        if let Some(file) = &matcher.file
            && !base.join(file).is_file()
        {
            return Err((format!("{field}.file"), format!("`{file}`: there is no such file")));
        }
    }
    Ok(())
}

fn validate_one_of(
    field: &str,
    exact: Option<&String>,
    regex: Option<&String>,
    file: Option<&String>,
) -> Result<(), (String, String)> {
    if usize::from(exact.is_some()) + usize::from(regex.is_some()) + usize::from(file.is_some()) > 1 {
        return Err((field.to_owned(), "give one of `exact`, `regex` and `file`".to_owned()));
    }
    if let Some(regex) = regex
        && let Err(error) = Regex::new(regex)
    {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        return Err((format!("{field}.regex"), format!("`{regex}` is not a regular expression: {reason}")));
    }
    Ok(())
}

fn source_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, DEFAULT_SOURCE.port())))
}

fn message(
    mut headers: Headers,
    lines: &[(String, BytesText)],
    body: Option<&BytesText>,
    has_length: bool,
) -> Message {
    for (name, value) in lines {
        headers.push(name, value.bytes().unwrap_or_default());
    }
    let body = body.and_then(BytesText::bytes).unwrap_or_default();
    if has_length && headers.get(b"content-length").is_none() && headers.get(b"transfer-encoding").is_none() {
        headers.push("content-length", body.len().to_string());
    }
    Message { headers, body, ..Message::default() }
}
