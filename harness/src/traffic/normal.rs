//! What every format has in common on the way to an [`Exchange`](crate::exchange::Exchange): pseudo headers, authority, path, body
//! lengths. Keeps the invariants that `exchange` documents; knows no format.

use crate::exchange::Protocol;
use crate::headers::Headers;

/// What a recording says about a request beside its header lines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    /// The method.
    pub(super) method: Option<&'a [u8]>,
    /// A path or a whole URL.
    pub(super) target: Option<&'a [u8]>,
    /// The scheme, where the target does not say.
    pub(super) scheme: Option<&'a [u8]>,
    /// The authority of requests that have none of their own.
    pub(super) authority: Option<&'a [u8]>,
}

/// Makes a request's header block: pseudo headers first, in recorded order where they were recorded, else in the order of Envoy's HTTP/1
/// codec (`HDR-12`); `host` becomes `:authority`.
///
/// # Errors
/// Says which header is missing or cannot be.
pub(super) fn request(lines: Headers, known: Known<'_>) -> Result<Headers, String> {
    if is_whole_request(&lines) {
        return Ok(lines);
    }
    let mut pseudo: Vec<(&[u8], Vec<u8>)> = Vec::new();
    let mut host = None;
    for (name, value) in lines.iter() {
        check_line(name, value)?;
        if name == b"host" || name == b":host" {
            host = host.or(Some(value));
        } else if name.first() == Some(&b':') {
            if pseudo.iter().any(|(known, _)| *known == name) {
                return Err(format!("`{}` is given twice", name.escape_ascii()));
            }
            pseudo.push((name, value.to_vec()));
        }
    }
    let of = |name: &[u8]| pseudo.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let given = |text: Option<&[u8]>| text.filter(|text| !text.is_empty()).map(<[u8]>::to_vec);
    let method = of(b":method").or_else(|| given(known.method)).ok_or("`:method` is missing")?;
    check_method(&method)?;
    let connect = method == b"CONNECT";
    let target = of(b":path").or_else(|| given(known.target));
    let split = target.as_deref().map(|target| split(target, connect)).unwrap_or_default();
    let authority = split
        .authority
        .filter(|_| of(b":path").is_some())
        .map(<[u8]>::to_vec)
        .or_else(|| of(b":authority"))
        .or_else(|| host.map(<[u8]>::to_vec))
        .or_else(|| split.authority.map(<[u8]>::to_vec))
        .filter(|authority| !authority.is_empty())
        .or_else(|| given(known.authority))
        .ok_or("`:authority` is missing, and there is no `host`")?;
    let scheme = split
        .scheme
        .map(<[u8]>::to_ascii_lowercase)
        .or_else(|| of(b":scheme"))
        .or_else(|| given(known.scheme))
        .unwrap_or_else(|| b"http".to_vec());
    let path = split.path.filter(|path| !path.is_empty());
    match &path {
        None if !connect => return Err("`:path` is missing".to_owned()),
        Some(path) if !path.starts_with(b"/") && path != b"*" => {
            return Err(format!(
                "`:path` is `{}`: expected a path that begins with `/`, or a whole URL",
                path.escape_ascii()
            ));
        }
        _ => {}
    }
    let wanted: [(&[u8], Option<Vec<u8>>); 4] = [
        (b":authority", Some(authority)),
        (b":path", path),
        (b":method", Some(method)),
        (b":scheme", Some(scheme)),
    ];
    let mut headers = Headers::new();
    for (name, value) in &pseudo {
        match wanted.iter().find(|(known, _)| known == name) {
            Some((_, None)) => {}
            Some((_, Some(value))) => headers.push(name, value),
            None => headers.push(name, value),
        }
    }
    for (name, value) in wanted {
        if let Some(value) = value
            && !pseudo.iter().any(|(known, _)| *known == name)
        {
            check_line(name, &value)?;
            headers.push(name, value);
        }
    }
    push_fields(&mut headers, &lines, |name| name != b"host");
    Ok(headers)
}

/// Whether a block is already as [`request`] makes it, which is what JSON lines are but for those written by hand.
fn is_whole_request(lines: &Headers) -> bool {
    const WANTED: [&[u8]; 4] = [b":method", b":path", b":authority", b":scheme"];
    let mut found = 0_u8;
    let mut fields = false;
    for (name, value) in lines.iter() {
        let pseudo = name.first() == Some(&b':');
        if pseudo {
            let Some(which) = WANTED.iter().position(|wanted| *wanted == name) else { return false };
            let whole = match which {
                0 => check_method(value).is_ok() && value != b"CONNECT",
                1 => value == b"*" || value.starts_with(b"/") && memchr::memchr(b'#', value).is_none(),
                _ => !value.is_empty(),
            };
            if fields || !whole || found & 1 << which != 0 {
                return false;
            }
            found |= 1 << which;
        }
        fields |= !pseudo;
        if name == b"host" || check_line(name, value).is_err() {
            return false;
        }
    }
    found == 0b1111
}

/// Makes a response's header block: `:status` first.
///
/// # Errors
/// Says what is missing or cannot be.
pub(super) fn response(lines: Headers, status: Option<&[u8]>) -> Result<Headers, String> {
    for (name, value) in lines.iter() {
        check_line(name, value)?;
    }
    let status = lines.get(b":status").or(status).ok_or("`:status` is missing")?;
    let valid = status.len() == 3 && status.iter().all(u8::is_ascii_digit) && status[0] != b'0';
    if !valid {
        return Err(format!("`:status` is `{}`: expected a number from 100 to 999", status.escape_ascii()));
    }
    let pseudo = lines.iter().filter(|(name, _)| name.first() == Some(&b':')).count();
    if pseudo == 1 && lines.iter().next().is_some_and(|(name, _)| name == b":status") {
        return Ok(lines);
    }
    let mut headers = Headers::new();
    headers.push(":status", status);
    push_fields(&mut headers, &lines, |_| true);
    Ok(headers)
}

/// Checks a trailer block.
///
/// # Errors
/// Says which line cannot be.
pub(super) fn trailers(lines: Headers) -> Result<Headers, String> {
    for (name, value) in lines.iter() {
        check_line(name, value)?;
    }
    Ok(lines)
}

fn push_fields(headers: &mut Headers, lines: &Headers, wanted: impl Fn(&[u8]) -> bool) {
    for (name, value) in lines.iter().filter(|(name, _)| name.first() != Some(&b':') && wanted(name)) {
        headers.push(name, value);
    }
}

fn check_line(name: &[u8], value: &[u8]) -> Result<(), String> {
    if name.is_empty() {
        return Err("a header has no name".to_owned());
    }
    if name.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(format!(
            "header `{}`: its name contains a blank or a control character",
            name.escape_ascii()
        ));
    }
    match memchr::memchr3(b'\r', b'\n', 0, value).map(|at| value[at]) {
        None => Ok(()),
        Some(byte) => {
            let what = match byte {
                b'\r' => "a carriage return",
                b'\n' => "a line feed",
                _ => "a NUL",
            };
            Err(format!(
                "header `{}`: its value contains {what}, which no header can carry",
                name.escape_ascii()
            ))
        }
    }
}

fn check_method(method: &[u8]) -> Result<(), String> {
    if method.iter().all(|byte| byte.is_ascii_graphic()) && !method.is_empty() {
        return Ok(());
    }
    Err(format!("`:method` is `{}`: expected a word such as `GET`", method.escape_ascii()))
}

/// A request target taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Target<'a> {
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<Vec<u8>>,
}

fn split(target: &[u8], connect: bool) -> Target<'_> {
    let target = target.split(|byte| *byte == b'#').next().unwrap_or_default();
    let colon = target.windows(3).position(|window| window == b"://");
    let scheme = colon.map(|colon| &target[..colon]);
    let is_scheme = |scheme: &[u8]| {
        scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
    };
    match (scheme, colon) {
        (Some(scheme), Some(colon)) if is_scheme(scheme) => {
            let rest = &target[colon + 3..];
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let user = authority.iter().rposition(|byte| *byte == b'@').map_or(0, |at| at + 1);
            let path = match path.first() {
                Some(b'/') => path.to_vec(),
                _ => [b"/", path].concat(),
            };
            let scheme: &[u8] = match scheme.to_ascii_lowercase().as_slice() {
                b"ws" => b"http",
                b"wss" => b"https",
                _ => scheme,
            };
            Target { scheme: Some(scheme), authority: Some(&authority[user..]), path: Some(path) }
        }
        _ if connect && !target.starts_with(b"/") => Target { authority: Some(target), ..Target::default() },
        _ => Target { path: Some(target.to_vec()), ..Target::default() },
    }
}

/// Reads an HTTP version in any of its spellings; nothing when it is none of them.
pub(super) fn protocol(text: &str) -> Option<Protocol> {
    let text = text.trim().to_ascii_lowercase();
    if text.contains("quic") || text.starts_with("h3") || text.starts_with("http/3") {
        return Some(Protocol::Http3);
    }
    if text.starts_with("h2") || text.starts_with("http/2") || text.starts_with("spdy") {
        return Some(Protocol::Http2);
    }
    match text.as_str() {
        "http/1.0" => Some(Protocol::Http10),
        "http/1.1" | "http/1" => Some(Protocol::Http11),
        _ => None,
    }
}

/// Whether a message says that it has a body.
pub(super) fn declares_body(headers: &Headers) -> bool {
    let length = headers.get(b"content-length").and_then(|length| std::str::from_utf8(length).ok());
    length.and_then(|length| length.trim().parse::<u64>().ok()).is_some_and(|length| length > 0)
}

/// Whether an answer to `method` with this `:status` has no body, whatever its headers say.
pub(super) fn is_bodiless(method: Option<&[u8]>, status: Option<&[u8]>) -> bool {
    let status = status.unwrap_or_default();
    method == Some(b"HEAD") || status.first() == Some(&b'1') || status == b"204" || status == b"304"
}

/// Whether a request came over TLS, as far as its scheme tells.
pub(super) fn is_https(headers: &Headers) -> bool {
    headers.get(b":scheme") == Some(b"https")
}

#[cfg(test)]
mod tests;
