//! The bodies of a HAR: texts, base64 and forms, and what a URL looks like on the wire. Knows no entry.

use serde_json::Value;

use crate::traffic::json;

/// A text that may be in base64; nothing when there is none.
pub(super) fn decoded(content: &Value, at: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(text) = json::text(content, "text", at)? else { return Ok(None) };
    let encoding = json::text(content, "encoding", at)?.unwrap_or_default().to_ascii_lowercase();
    match encoding.as_str() {
        "base64" => json::base64(&text, &format!("{at}text")).map(Some),
        "" | "identity" | "plain" | "text" | "utf-8" | "utf8" => Ok(Some(text.into_bytes())),
        other => Err(format!("`{at}encoding` is `{other}`: expected `base64`, or none")),
    }
}

/// The body of a request, and whether there was more. The parts of a multipart form are not put together again: its boundaries are
/// nowhere recorded.
pub(super) fn post_data(data: &Value) -> Result<(Vec<u8>, bool), String> {
    let at = "request.postData.";
    if let Some(text) = decoded(data, at)?
        && !text.is_empty()
    {
        return Ok((text, false));
    }
    let params = json::list(data, "params", at)?;
    let mime = json::text(data, "mimeType", at)?.unwrap_or_default().to_ascii_lowercase();
    if params.is_empty() || mime.starts_with("multipart/") {
        return Ok((Vec::new(), !params.is_empty()));
    }
    let mut body = String::new();
    for (index, param) in params.iter().enumerate() {
        let place = format!("{at}params[{index}].");
        if index > 0 {
            body.push('&');
        }
        form_encode(&json::text(param, "name", &place)?.unwrap_or_default(), &mut body);
        body.push('=');
        form_encode(&json::text(param, "value", &place)?.unwrap_or_default(), &mut body);
    }
    Ok((body.into_bytes(), false))
}

/// `application/x-www-form-urlencoded`, as browsers do it. A `%` with two hexadecimal digits stays: exporters give params encoded or not.
fn form_encode(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        let escape =
            bytes.get(index + 1..index + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match byte {
            b' ' => out.push('+'),
            b'%' if escape => out.push('%'),
            b'*' | b'-' | b'.' | b'_' | b'+' => out.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(*byte)),
            _ => percent(*byte, out),
        }
    }
}

/// What no request line can carry, percent-encoded as browsers send it.
pub(super) fn escape(url: &str) -> String {
    let mut escaped = String::with_capacity(url.len());
    for byte in url.trim().bytes() {
        if byte.is_ascii_graphic() { escaped.push(char::from(byte)) } else { percent(byte, &mut escaped) }
    }
    escaped
}

fn percent(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}
