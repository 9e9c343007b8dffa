//! What Go's `net/url` takes for the URI of a request, as far as Istio asks it: Istio's webhook and Kubernetes' `isURL` both use it.

/// The scheme of a URI, in lower case and empty where there is none; nothing where Go's `url.ParseRequestURI` refuses it.
#[must_use]
pub(super) fn scheme(text: &str) -> Option<String> {
    if text.is_empty() || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return None;
    }
    let (scheme, rest) = split_scheme(text)?;
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        return (!scheme.is_empty()).then(|| scheme.to_ascii_lowercase());
    }
    let path = match rest.strip_prefix("//") {
        Some(rest) if !scheme.is_empty() => {
            let end = rest.find('/').unwrap_or(rest.len());
            if !is_authority(&rest[..end]) {
                return None;
            }
            &rest[end..]
        }
        _ => rest,
    };
    is_escaped(path).then(|| scheme.to_ascii_lowercase())
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index > 0 => return Some((&text[..index], &text[index + 1..])),
            b':' => return None,
            _ => return Some(("", text)),
        }
    }
    Some(("", text))
}

/// Whether Go takes a text for `user@host:port`; an empty host is one.
#[must_use]
pub(super) fn is_authority(authority: &str) -> bool {
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let is_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if user.is_some_and(|user| !user.bytes().all(is_user) || !is_escaped(user)) {
        return false;
    }
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address, port),
            None => return false,
        },
        None => host.find(':').map_or((host, ""), |colon| (&host[..colon], &host[colon..])),
    };
    let is_port =
        |port: &str| port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let is_host =
        |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte);
    (port.is_empty() || is_port(port)) && host.bytes().all(is_host)
}

/// Whether each `%` begins two hexadecimal digits.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let bytes = rest.as_bytes();
        bytes.len() >= 2 && bytes.iter().take(2).all(u8::is_ascii_hexdigit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        assert_eq!(scheme(text).as_deref(), want, "{text}");
    }

    #[test]
    fn schemes_are_those_that_go_reads() {
        check("oci://registry.example/acme/filter:1.2.3", Some("oci"));
        check("file:///opt/filters/x.wasm", Some("file"));
        check("HTTPS://example.com:8443/x?y=%", Some("https"));
        check("localhost:5000/x:1", Some("localhost"));
        check("/opt/x.wasm", Some(""));
        check("registry.example/acme/filter:1.2.3", None);
        check("http://#%blah$#@", None);
        check("#%blah$#@", None);
        check("http://a b/", None);
        check("http://host:port/", None);
        check("http://host/%zz", None);
        check("http://[::1]:80/x", Some("http"));
        check(":x", None);
        check("", None);
    }
}
