//! Envoy access logs: a line an exchange, as text of any format string or as JSON. Bodies are not in a log; that there was one is
//! marked. Knows no other logs.

mod format;
mod json_line;
mod record;
mod start_time;

use super::input::{Input, Line};
use super::{Format, Options, Reader, TrafficError};
use crate::exchange::Exchange;
use format::Pattern;
use json_line::JsonLines;

/// Envoy's documented default.
const ENVOY: &str = r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%""#;

/// Istio's documented default.
const ISTIO: &str = r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%"#;

/// The entry of JSON logs in the table of formats.
pub(super) const JSON_FORMAT: Format = Format {
    name: "access-log-json",
    about: "Envoy's access log as JSON lines",
    detect: |head, options| match json_format(options) {
        Some(_) => head.is_json(),
        None => head.is_object_with(|key, _| json_line::is_request_key(key)),
    },
    reader: |_, options| {
        let lines = JsonLines::new(json_format(options))?;
        Ok(Box::new(Log { how: How::Json(lines), line: Vec::new(), number: 0 }))
    },
};

/// The entry of text logs in the table of formats.
pub(super) const TEXT_FORMAT: Format = Format {
    name: "access-log",
    about: "Envoy's access log as text",
    detect: |head, options| match text_format(options) {
        Some(format) => !head.is_json() || format.trim_start().starts_with('{'),
        None => default_pattern(head).is_some(),
    },
    reader: |head, options| {
        let pattern = match text_format(options) {
            Some(format) => Pattern::compile(format)?,
            None => default_pattern(head).ok_or("no line is in a default format")?,
        };
        Ok(Box::new(Log { how: How::Text(pattern), line: Vec::new(), number: 0 }))
    },
};

/// The given format when it is a `json_format`: a JSON object.
fn json_format(options: &Options) -> Option<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_str(options.access_log_format.as_deref()?).ok()
}

/// The given format when it is a format string.
fn text_format(options: &Options) -> Option<&str> {
    options.access_log_format.as_deref().filter(|_| json_format(options).is_none())
}

/// The default format of the first line that is in one.
fn default_pattern(head: &super::Head) -> Option<Pattern> {
    let patterns: Vec<Pattern> =
        [ENVOY, ISTIO].into_iter().filter_map(|format| Pattern::compile(format).ok()).collect();
    let position =
        head.lines().find_map(|line| patterns.iter().position(|pattern| pattern.is_match(line)))?;
    patterns.into_iter().nth(position)
}

struct Log {
    how: How,
    line: Vec<u8>,
    number: u64,
}

enum How {
    Json(JsonLines),
    Text(Pattern),
}

impl Reader for Log {
    fn next(&mut self, input: &mut Input, options: &Options) -> Option<Result<Exchange, TrafficError>> {
        loop {
            self.number += 1;
            let place = format!("line {}", self.number);
            let found = match input.line(&mut self.line) {
                Ok(found) => found,
                Err(error) => return Some(Err(TrafficError::read(input, error, &place))),
            };
            match found {
                Line::End => return None,
                Line::TooLong => return Some(Err(TrafficError::too_long(input, &place))),
                Line::Whole | Line::Last if self.line.trim_ascii().is_empty() => {}
                Line::Whole | Line::Last => {
                    let record = match &self.how {
                        How::Text(pattern) => pattern.read(&self.line),
                        How::Json(lines) => lines.read(&self.line, input),
                    };
                    let exchange = record.and_then(|record| record.exchange(options));
                    return Some(match exchange {
                        Ok(mut exchange) => {
                            exchange.origin = format!("{}: {place}", input.label);
                            Ok(exchange)
                        }
                        // A last line without line feed that cannot be read was being written when the copy was made.
                        Err(_) if found == Line::Last => Err(TrafficError::cut_off(input, &place)),
                        Err(reason) => Err(TrafficError::entry(input, &place, reason)),
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
