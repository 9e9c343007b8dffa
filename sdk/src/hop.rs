//! Which headers of a message belong to it, and which only to the connection it came over or to the Envoy it came through.

use crate::HeaderMap;
use crate::names::cut;

/// Headers of a connection (RFC 9110 §7.6.1) and of a framing that Envoy makes anew, in order.
const HOP_BY_HOP: [&[u8]; 9] = [
    b"connection",
    b"content-length",
    b"expect",
    b"http2-settings",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
];

/// Pseudo headers that a copy has.
const PSEUDO: [&[u8]; 4] = [b":authority", b":method", b":path", b":scheme"];

/// The headers that a copy begins with: without those of the connection, and without Envoy's own (`x-envoy-…`), which would steer retries,
/// timeouts and statistics of the copy, or say of it what is true of its request only. `te: trailers` stays: gRPC needs it.
#[must_use]
pub fn forwardable(headers: &HeaderMap) -> HeaderMap {
    // Hardly ever there: Envoy takes it away itself.
    let names_some = headers.first("connection").is_some();
    let mut left = HeaderMap::new();
    for (name, value) in headers.iter() {
        let stays = if name.starts_with(b":") {
            PSEUDO.contains(&name)
        } else if name == b"te" {
            value.trim_ascii().eq_ignore_ascii_case(b"trailers")
        } else {
            let is_envoys = name.starts_with(b"x-envoy-");
            let is_named = is_envoys || (names_some && is_named(headers, name));
            !is_named && !HOP_BY_HOP.contains(&name)
        };
        if stays {
            left.push(name, value);
        }
    }
    left
}

/// Whether `connection` names the header.
fn is_named(headers: &HeaderMap, name: &[u8]) -> bool {
    for value in headers.values("connection") {
        let mut rest = Some(value);
        while let Some(list) = rest {
            let (item, others) = cut(list, b',');
            rest = others;
            let item = item.trim_ascii();
            if !item.is_empty() && item.eq_ignore_ascii_case(name) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[(&str, &str)], stay: &[&str]) {
        let headers: HeaderMap = lines.iter().copied().collect();
        let left = forwardable(&headers);
        let names: Vec<_> = left.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(names, stay);
    }

    #[test]
    fn what_belongs_to_the_connection_stays_behind() {
        assert!(HOP_BY_HOP.is_sorted());
        check(
            &[
                (":method", "GET"),
                (":path", "/"),
                (":authority", "a"),
                (":scheme", "http"),
                (":protocol", "websocket"),
                ("Connection", "keep-alive, X-Hop"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
                ("content-length", "3"),
                ("x-envoy-retry-on", "5xx"),
                ("x-forwarded-for", "10.0.0.1"),
                ("x-request-id", "r"),
                ("te", "trailers"),
            ],
            &[":method", ":path", ":authority", ":scheme", "x-forwarded-for", "x-request-id", "te"],
        );
        check(&[("te", "gzip"), ("connection", ":path, ,"), (":path", "/")], &[":path"]);
    }
}
