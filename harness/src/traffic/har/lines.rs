//! The header lines of a HAR: names and values as they were on the wire, without what belonged to the connection. Knows no entry.

use serde_json::Value;

use crate::headers::Headers;
use crate::traffic::json;

/// The header lines of a request or a response.
///
/// # Errors
/// One has no name, or is no line.
pub(super) fn headers(message: &Value, at: &str) -> Result<Headers, String> {
    let mut headers = Headers::new();
    for (index, line) in json::list(message, "headers", at)?.iter().enumerate() {
        let place = format!("{at}headers[{index}].");
        let name = json::text(line, "name", &place)?.ok_or_else(|| format!("`{place}name` is missing"))?;
        let value = json::text(line, "value", &place)?.unwrap_or_default();
        // Chrome writes lines of one name as one value with line feeds.
        for value in value.split('\n') {
            headers.push(name.trim(), value.trim_matches([' ', '\t', '\r']));
        }
    }
    Ok(headers)
}

/// Corrects a recorded `content-length` where the body is known.
pub(super) fn fit_length(lines: Headers, body: &[u8], truncated: bool) -> Headers {
    if truncated || body.is_empty() || lines.get(b"content-length").is_none() {
        return lines;
    }
    let length = body.len().to_string();
    lines
        .iter()
        .map(|(name, value)| (name, if name == b"content-length" { length.as_bytes() } else { value }))
        .collect()
}

/// Leaves out what belongs to one connection and not to the message, as Envoy's HTTP/1 codec and connection manager do. Upgrades keep
/// theirs.
pub(super) fn without_hop_by_hop(lines: &Headers) -> Headers {
    let upgrade = lines.get(b"upgrade").is_some()
        && lines
            .get(b"connection")
            .is_some_and(|value| value.to_ascii_lowercase().windows(7).any(|word| word == b"upgrade"));
    lines
        .iter()
        .filter(|(name, value)| match *name {
            b"connection" | b"upgrade" => upgrade,
            b"te" => value.eq_ignore_ascii_case(b"trailers"),
            b"keep-alive" | b"proxy-connection" | b"transfer-encoding" => false,
            _ => true,
        })
        .collect()
}

/// The `cookie` line that a list of parsed cookies stands for; nothing when there are none.
pub(super) fn cookie_line(cookies: &[Value]) -> Option<String> {
    let pair = |cookie: &Value| {
        Some(format!("{}={}", cookie.get("name")?.as_str()?, cookie.get("value")?.as_str()?))
    };
    let pairs: Vec<String> = cookies.iter().filter_map(pair).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

/// The `set-cookie` line that a parsed cookie stands for; nothing when it has no name.
pub(super) fn set_cookie_line(cookie: &Value) -> Option<String> {
    let text = |key| cookie.get(key).and_then(Value::as_str).filter(|text: &&str| !text.is_empty());
    let mut line = format!("{}={}", text("name")?, text("value").unwrap_or_default());
    for (key, attribute) in
        [("path", "Path"), ("domain", "Domain"), ("expires", "Expires"), ("sameSite", "SameSite")]
    {
        if let Some(value) = text(key) {
            line.push_str(&format!("; {attribute}={value}"));
        }
    }
    for (key, attribute) in [("secure", "; Secure"), ("httpOnly", "; HttpOnly")] {
        if cookie.get(key).and_then(Value::as_bool) == Some(true) {
            line.push_str(attribute);
        }
    }
    Some(line)
}
