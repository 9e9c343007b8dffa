//! One entry of a HAR to an exchange: lenient where exporters differ, strict where nothing could be replayed. Knows no bytes of a file.

use std::time::Duration;

use serde_json::Value;

use super::body::{decoded, escape, post_data};
use super::lines::{cookie_line, fit_length, headers, set_cookie_line, without_hop_by_hop};
use crate::exchange::{Downstream, Exchange, Message, Protocol};
use crate::headers::Headers;
use crate::traffic::json::{self, kind};
use crate::traffic::normal::{self, Known};
use crate::traffic::{Options, time};

/// Makes an exchange, without its origin; nothing when the entry never was one (`data:` and the like).
pub(super) fn exchange(entry: &Value, options: &Options) -> Result<Option<Exchange>, String> {
    if !entry.is_object() {
        return Err(format!("expected an object, found {}", kind(entry)));
    }
    let request = json::object(entry, "request", "")?.ok_or("`request` is missing")?;
    let url = json::text(request, "url", "request.")?;
    if url.as_deref().is_some_and(is_local) {
        return Ok(None);
    }
    let response = json::object(entry, "response", "")?;
    let (message, protocol) = self::request(request, url.as_deref(), response, options)?;
    let method = message.headers.get(b":method");
    let response = match response {
        Some(response) => self::response(response, method)?,
        None => None,
    };
    let start = json::text(entry, "startedDateTime", "")?.filter(|text| !text.is_empty());
    let start_ns = start
        .map(|text| {
            time::rfc3339(&text).ok_or_else(|| {
                format!("`startedDateTime` is `{text}`: expected a time such as `2026-01-31T12:00:00.000Z`")
            })
        })
        .transpose()?;
    let connection = json::text(entry, "connection", "")?.filter(|text| !text.is_empty());
    Ok(Some(Exchange {
        origin: String::new(),
        start_ns,
        duration: duration(entry),
        downstream: Downstream {
            address: None,
            protocol,
            connection_id: connection.map(|text| text.parse().unwrap_or_else(|_| fnv1a(text.as_bytes()))),
            tls: normal::is_https(&message.headers),
        },
        request: message,
        response,
        abort_after: None,
        upstream_cluster: None,
    }))
}

/// Whether a URL names something that is not fetched over HTTP.
fn is_local(url: &str) -> bool {
    let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
    ["data", "blob", "about", "file", "chrome-extension", "moz-extension", "chrome", "javascript"]
        .contains(&scheme.as_str())
}

fn request(
    request: &Value,
    url: Option<&str>,
    response: Option<&Value>,
    options: &Options,
) -> Result<(Message, Protocol), String> {
    let at = "request.";
    let mut lines = headers(request, at)?;
    let version = json::text(request, "httpVersion", at)?;
    let answered =
        response.map(|response| json::text(response, "httpVersion", "response.")).transpose()?.flatten();
    let listed = lines.get(b":method").is_some() || lines.get(b":authority").is_some();
    let protocol = version
        .as_deref()
        .and_then(normal::protocol)
        .or_else(|| answered.as_deref().and_then(normal::protocol))
        .unwrap_or(if listed { Protocol::Http2 } else { Protocol::Http11 });
    if lines.get(b"cookie").is_none()
        && let Some(line) = cookie_line(json::list(request, "cookies", at)?)
    {
        lines.push("cookie", line);
    }
    let (body, mut body_truncated) = match json::object(request, "postData", at)? {
        Some(data) => {
            if let Some(mime) = json::text(data, "mimeType", "request.postData.")?
                && !mime.is_empty()
                && lines.get(b"content-type").is_none()
            {
                lines.push("content-type", mime);
            }
            post_data(data)?
        }
        None => (Vec::new(), false),
    };
    let declared = normal::declares_body(&lines) || size(request, "bodySize") > 0;
    body_truncated |= body.is_empty() && declared;
    let escaped = url.map(escape);
    let known = Known {
        method: request.get("method").and_then(Value::as_str).map(str::as_bytes),
        target: escaped.as_deref().map(str::as_bytes),
        scheme: None,
        authority: options.authority.as_deref().map(str::as_bytes),
    };
    let lines = without_hop_by_hop(&fit_length(lines, &body, body_truncated));
    let lines: Headers = lines.iter().filter(|(name, _)| !matches!(*name, b":version")).collect();
    let headers = normal::request(lines, known).map_err(|reason| format!("`request`: {reason}"))?;
    Ok((Message { headers, body, body_truncated, trailers: Headers::new() }, protocol))
}

fn response(response: &Value, method: Option<&[u8]>) -> Result<Option<Message>, String> {
    let at = "response.";
    let status = json::text(response, "status", at)?;
    let mut lines = headers(response, at)?;
    // Browsers write 0, some -1, for a request that was aborted, blocked or never answered.
    if lines.get(b":status").is_none() && matches!(status.as_deref(), None | Some("" | "0" | "-1")) {
        return Ok(None);
    }
    if lines.get(b"set-cookie").is_none() {
        for cookie in json::list(response, "cookies", at)? {
            if let Some(line) = set_cookie_line(cookie) {
                lines.push("set-cookie", line);
            }
        }
    }
    let mut body = Vec::new();
    let mut body_truncated = false;
    if !normal::is_bodiless(method, status.as_deref().map(str::as_bytes)) {
        let content = json::object(response, "content", at)?;
        let text = match content {
            Some(content) => decoded(content, "response.content.")?,
            None => None,
        };
        match text.filter(|text| !text.is_empty()) {
            Some(text) => {
                // The text is what is left when content codings are undone.
                lines = lines.iter().filter(|(name, _)| *name != b"content-encoding").collect();
                body = text;
            }
            None => {
                let sizes =
                    content.map_or(0, |content| size(content, "size")).max(size(response, "bodySize"));
                body_truncated = sizes > 0 || normal::declares_body(&lines);
            }
        }
    }
    let lines = without_hop_by_hop(&fit_length(lines, &body, body_truncated));
    let headers = normal::response(lines, status.as_deref().map(str::as_bytes))
        .map_err(|reason| format!("`response`: {reason}"))?;
    Ok(Some(Message { headers, body, body_truncated, trailers: Headers::new() }))
}

/// `time`, or the sum of the timings where it is missing (`ssl` is a part of `connect`); nothing where neither says.
fn duration(entry: &Value) -> Option<Duration> {
    let millis = |value: Option<&Value>| value.and_then(Value::as_f64).filter(|millis| *millis >= 0.0);
    let total = millis(entry.get("time")).or_else(|| {
        let timings = entry.get("timings")?.as_object()?;
        let parts: Vec<f64> = ["blocked", "dns", "connect", "send", "wait", "receive"]
            .into_iter()
            .filter_map(|part| millis(timings.get(part)))
            .collect();
        (!parts.is_empty()).then(|| parts.iter().sum())
    });
    Duration::try_from_secs_f64(total? / 1000.0).ok()
}

fn size(object: &Value, key: &str) -> i64 {
    object.get(key).and_then(Value::as_f64).map_or(0, |size| size as i64)
}

/// FNV-1a, 64 bits: an id for connections that are named by a text.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
