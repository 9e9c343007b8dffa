//! Which headers of a message belong to it, and which only to the connection it came over or to the Envoy it came through.

use crate::HeaderMap;

/// Headers of a connection (RFC 9110 §7.6.1) and of a framing that Envoy makes anew; in order, for a binary search.
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
    let named: Vec<Vec<u8>> = headers
        .values("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && !name.starts_with(b":"))
        .collect();
    let stays = |name: &[u8], value: &[u8]| {
        if name.starts_with(b":") {
            return PSEUDO.contains(&name);
        }
        if name == b"te" {
            return value.trim_ascii().eq_ignore_ascii_case(b"trailers");
        }
        HOP_BY_HOP.binary_search(&name).is_err()
            && !name.starts_with(b"x-envoy-")
            && !named.iter().any(|other| other == name)
    };
    headers.iter().filter(|(name, value)| stays(name, value)).collect()
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
