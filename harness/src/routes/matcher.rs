//! Envoy's `RouteMatch`: path, headers, query parameters, cookies, runtime fraction, gRPC, TLS, filter state.

use regex::bytes::Regex;
use serde_json::Value;

use super::Request;
use super::parse::{Fields, RouteError, object};
use super::string::{StringMatch, pattern, regex};
use crate::headers::Headers;

/// Everything must match.
#[derive(Debug)]
pub(super) struct Matcher {
    path: Path,
    case_sensitive: bool,
    headers: Vec<HeaderMatch>,
    query: Vec<Named>,
    cookies: Vec<Named>,
    filter_state: Vec<Named>,
    fraction: Option<(u32, u32)>,
    grpc: bool,
    tls: Option<bool>,
}

#[derive(Debug)]
pub(super) enum Path {
    Prefix(String),
    Exact(String),
    Segments(String),
    Regex(Regex),
    Connect,
}

/// A header, query parameter, cookie or filter state entry by name.
#[derive(Debug)]
struct Named {
    name: String,
    test: Test,
    invert: bool,
    missing_as_empty: bool,
}

type HeaderMatch = Named;

#[derive(Debug)]
enum Test {
    Present(bool),
    Range(i64, i64),
    Text(StringMatch),
}

impl Matcher {
    pub(super) fn parse(value: &Value, path: &str) -> Result<Self, RouteError> {
        let mut fields = object(value, path)?;
        let case_sensitive = fields.optional_bool("case_sensitive")?.unwrap_or(true);
        let way = way(&mut fields)?;
        let mut headers = Vec::new();
        for (value, path) in fields.list("headers")? {
            headers.push(header(value, &path)?);
        }
        let mut query = Vec::new();
        for (value, path) in fields.list("query_parameters")? {
            query.push(parameter(value, &path)?);
        }
        let mut cookies = Vec::new();
        for (value, path) in fields.list("cookies")? {
            cookies.push(parameter(value, &path)?);
        }
        let mut filter_state = Vec::new();
        for (value, path) in fields.list("filter_state")? {
            filter_state.push(state(value, &path)?);
        }
        let fraction =
            fields.child("runtime_fraction").map(|(value, path)| fraction(value, &path)).transpose()?;
        let grpc = fields.get("grpc").is_some();
        let tls = match fields.child("tls_context") {
            Some((value, path)) => {
                let mut fields = object(value, &path)?;
                fields.ignore(&["validated"]);
                let presented = fields.optional_bool("presented")?;
                fields.finish()?;
                presented
            }
            None => None,
        };
        if !fields.list("dynamic_metadata")?.is_empty() {
            return Err(
                fields.error("dynamic_metadata", "not supported by the harness: Wasm filters cannot set it")
            );
        }
        fields.finish()?;
        Ok(Self { path: way, case_sensitive, headers, query, cookies, filter_state, fraction, grpc, tls })
    }

    pub(super) fn is_match(&self, request: &Request<'_>) -> bool {
        let headers = request.headers;
        let Some(full) = headers.get(b":path") else { return false };
        let (path, query) = match full.iter().position(|byte| *byte == b'?') {
            Some(at) => (&full[..at], &full[at + 1..]),
            None => (full, &b""[..]),
        };
        self.is_path(path, headers)
            && self.fraction.is_none_or(|(numerator, total)| request.random % u64::from(total) < u64::from(numerator))
            && self.headers.iter().all(|test| test.is_match_any(headers.get_all(test.name.as_bytes())))
            && self.query.iter().all(|test| test.is_match(parameter_of(query, test.name.as_bytes())))
            && self.cookies.iter().all(|test| test.is_match(cookie_of(headers, test.name.as_bytes())))
            && self.filter_state.iter().all(|test| {
                let mut entries = request.filter_state.iter();
                let entry = entries.find(|(key, _)| key == test.name.as_bytes());
                test.is_match(entry.map(|(_, value)| value.as_slice()))
            })
            && (!self.grpc
                || headers.get(b"content-type").is_some_and(|kind| {
                    kind == b"application/grpc" || kind.starts_with(b"application/grpc+")
                }))
            // No client certificates are recorded.
            && self.tls.is_none_or(|presented| !presented)
    }

    fn is_path(&self, path: &[u8], headers: &Headers) -> bool {
        let starts = |want: &str| {
            path.get(..want.len()).is_some_and(|start| {
                if self.case_sensitive {
                    start == want.as_bytes()
                } else {
                    start.eq_ignore_ascii_case(want.as_bytes())
                }
            })
        };
        match &self.path {
            Path::Prefix(want) => starts(want),
            Path::Exact(want) => path.len() == want.len() && starts(want),
            Path::Segments(want) => starts(want) && (path.len() == want.len() || path[want.len()] == b'/'),
            Path::Regex(regex) => regex.is_match(path),
            Path::Connect => headers.get(b":method") == Some(b"CONNECT"),
        }
    }

    /// How long the part of the path is that a prefix rewrite replaces.
    pub(super) fn matched(&self, path: &[u8]) -> usize {
        match &self.path {
            Path::Prefix(want) | Path::Exact(want) | Path::Segments(want) => want.len(),
            Path::Regex(_) | Path::Connect => {
                path.iter().position(|byte| *byte == b'?').unwrap_or(path.len())
            }
        }
    }
}

impl Named {
    /// Whether one of the lines of a header matches, or none of them when inverted: Envoy does not join them here
    /// (`envoy.reloadable_features.match_headers_individually`).
    fn is_match_any<'a>(&self, mut lines: impl Iterator<Item = &'a [u8]>) -> bool {
        let first = lines.next();
        if self.invert {
            self.is_match(first) && lines.all(|line| self.is_match(Some(line)))
        } else {
            self.is_match(first) || lines.any(|line| self.is_match(Some(line)))
        }
    }

    fn is_match(&self, value: Option<&[u8]>) -> bool {
        let value = if self.missing_as_empty { value.or(Some(b"")) } else { value };
        let found = match (&self.test, value) {
            (Test::Present(want), value) => return (value.is_some() == *want) != self.invert,
            // A header that is not there matches only with the missing-as-empty treatment, inverted or not.
            (_, None) => return false,
            (Test::Range(start, end), Some(value)) => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
                number.is_some_and(|number| (*start..*end).contains(&number))
            }
            (Test::Text(text), Some(value)) => text.is_match(value),
        };
        found != self.invert
    }
}

fn way(fields: &mut Fields<'_>) -> Result<Path, RouteError> {
    let mut found = Vec::new();
    found.extend(fields.string("prefix")?.map(Path::Prefix));
    found.extend(fields.string("path")?.map(Path::Exact));
    if let Some(text) = fields.string("path_separated_prefix")? {
        if text.len() < 2 || !text.starts_with('/') || text.ends_with('/') || text.contains(['?', '#']) {
            let reason =
                "expected a path that begins with `/` and does not end with one, without `?` and `#`";
            return Err(fields.error("path_separated_prefix", reason));
        }
        found.push(Path::Segments(text));
    }
    if let Some((value, path)) = fields.child("safe_regex") {
        found.push(Path::Regex(regex(value, &path)?));
    }
    found.extend(fields.get("connect_matcher").map(|_| Path::Connect));
    match found.pop() {
        Some(way) if found.is_empty() => Ok(way),
        _ => Err(fields.error(
            "",
            "exactly one of prefix, path, path_separated_prefix, safe_regex, connect_matcher is needed",
        )),
    }
}

/// All forms of `HeaderMatcher`, the old ones too.
fn header(value: &Value, path: &str) -> Result<HeaderMatch, RouteError> {
    let mut fields = object(value, path)?;
    let name = fields.required_string("name")?.to_ascii_lowercase();
    let name = if name == "host" { ":authority".to_owned() } else { name };
    let invert = fields.bool("invert_match")?;
    let missing_as_empty = fields.bool("treat_missing_header_as_empty")?;
    let mut test = None;
    if let Some((value, path)) = fields.child("string_match") {
        test = Some(Test::Text(StringMatch::parse(value, &path)?));
    }
    let old = ["exact_match", "prefix_match", "suffix_match", "contains_match", "safe_regex_match"];
    if let Some(pattern) = pattern(&mut fields, old)? {
        test = Some(Test::Text(StringMatch::new(pattern)));
    }
    if let Some((value, path)) = fields.child("range_match") {
        let mut fields = object(value, &path)?;
        let (start, end) = (fields.integer("start")?.unwrap_or(0), fields.integer("end")?.unwrap_or(0));
        fields.finish()?;
        test = Some(Test::Range(start, end));
    }
    if let Some(present) = fields.optional_bool("present_match")? {
        test = Some(Test::Present(present));
    }
    fields.finish()?;
    Ok(Named { name, test: test.unwrap_or(Test::Present(true)), invert, missing_as_empty })
}

/// `QueryParameterMatcher` and `CookieMatcher`.
fn parameter(value: &Value, path: &str) -> Result<Named, RouteError> {
    let mut fields = object(value, path)?;
    let name = fields.required_string("name")?;
    let invert = fields.bool("invert_match")?;
    let mut test = Test::Present(fields.optional_bool("present_match")?.unwrap_or(true));
    if let Some((value, path)) = fields.child("string_match") {
        test = Test::Text(StringMatch::parse(value, &path)?);
    }
    fields.finish()?;
    Ok(Named { name, test, invert, missing_as_empty: false })
}

/// `FilterStateMatcher`: filter state as Wasm filters set it (`wasm.<name>`, or Envoy's own names by the foreign function).
fn state(value: &Value, path: &str) -> Result<Named, RouteError> {
    let mut fields = object(value, path)?;
    let name = fields.required_string("key")?;
    let Some((value, match_path)) = fields.child("string_match") else {
        return Err(fields.error("string_match", "is missing"));
    };
    let test = Test::Text(StringMatch::parse(value, &match_path)?);
    fields.finish()?;
    Ok(Named { name, test, invert: false, missing_as_empty: false })
}

/// `RuntimeFractionalPercent`: there is no runtime, so the default counts.
fn fraction(value: &Value, path: &str) -> Result<(u32, u32), RouteError> {
    let mut fields = object(value, path)?;
    fields.ignore(&["runtime_key"]);
    let Some((value, path)) = fields.child("default_value") else {
        return Err(fields.error("default_value", "is missing"));
    };
    fields.finish()?;
    let mut fields = object(value, &path)?;
    let numerator = fields.unsigned("numerator")?.unwrap_or(0);
    let total = match fields.string("denominator")?.as_deref() {
        None | Some("HUNDRED") => 100,
        Some("TEN_THOUSAND") => 10_000,
        Some("MILLION") => 1_000_000,
        Some(_) => return Err(fields.error("denominator", "expected HUNDRED, TEN_THOUSAND or MILLION")),
    };
    fields.finish()?;
    Ok((numerator, total))
}

/// The first value of a query parameter, as it is written.
fn parameter_of<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (&pair[..at] == name).then(|| pair.get(at + 1..).unwrap_or_default())
    })
}

/// The first value of a cookie, without quotes.
fn cookie_of<'a>(headers: &'a Headers, name: &'a [u8]) -> Option<&'a [u8]> {
    headers.get_all(b"cookie").flat_map(|line| line.split(|byte| *byte == b';')).find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let value = pair[at + 1..].trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (pair[..at].trim_ascii() == name).then_some(value)
    })
}
