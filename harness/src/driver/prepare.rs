//! What the connection manager makes of a request before the filters see it (`HDR-12` to `HDR-14`, `HDR-23`).

use std::net::IpAddr;

use crate::clock::Random;
use crate::exchange::{Message, Protocol};
use crate::headers::{Headers, Kind};
use crate::host::Stream;

/// Control headers that clients may not set.
const INTERNAL: &[&[u8]] = &[
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-downstream-service-node",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-envoy-force-trace",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-internal",
    b"x-envoy-ip-tags",
    b"x-envoy-max-retries",
    b"x-envoy-original-url",
    b"x-envoy-retriable-header-names",
    b"x-envoy-retriable-status-codes",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-retry-on",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-per-try-timeout-ms",
    b"x-envoy-upstream-rq-timeout-alt-response",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-forwarded-client-cert",
];

/// Whether it is a control header that clients may not set.
fn is_internal(name: &[u8]) -> bool {
    // Most names are told apart by their beginning.
    (name.starts_with(b"x-envoy-") || name.starts_with(b"x-forwarded-c"))
        && INTERNAL.binary_search(&name).is_ok()
}

/// Whether it is a header of one hop.
fn is_of_hop(name: &[u8]) -> bool {
    matches!(
        name,
        b"connection" | b"expect" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade"
    )
}

/// Writes the request into the stream.
pub(super) fn request(recorded: &Message, stream: &mut Stream, random: &mut Random) {
    let http1 = matches!(stream.info.protocol, Protocol::Http10 | Protocol::Http11);
    let scheme: &[u8] = if stream.info.tls { b"https" } else { b"http" };
    let from = &recorded.headers;
    let to = &mut stream.request.headers;
    pseudo(from, to, http1, scheme);
    let named = from.joined(b"connection").unwrap_or_default();
    let is_named = |name: &[u8]| {
        named.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(name))
    };
    for (name, value) in from.iter() {
        let value = value.trim_ascii();
        let dropped = name.first() == Some(&b':')
            || name == b"host"
            || is_of_hop(name)
            || is_internal(name)
            || (name == b"te" && !value.eq_ignore_ascii_case(b"trailers"))
            || (name != b"te" && !named.is_empty() && is_named(name));
        if !dropped && (http1 || name != b"cookie") {
            to.add(name, value, Kind::Request);
        }
    }
    if !http1 && let Some(cookies) = crumbs(from) {
        to.push("cookie", cookies);
    }
    if to.get(b"x-forwarded-proto").is_none() {
        to.push("x-forwarded-proto", scheme);
    }
    if to.get(b"x-request-id").is_none() {
        to.push("x-request-id", random.uuid());
    }
    if let Some(address) = to.get(b"x-forwarded-for").and_then(last_forwarded) {
        stream.info.source = (address, 0).into();
    }
}

/// What Envoy's codec makes of the `cookie` lines of HTTP/2 and HTTP/3 (RFC 9113, 8.2.3): one line, which stands behind all others, also where there
/// was only one.
fn crumbs(from: &Headers) -> Option<Vec<u8>> {
    let lines: Vec<&[u8]> =
        from.iter().filter(|(name, _)| *name == b"cookie").map(|(_, value)| value.trim_ascii()).collect();
    (!lines.is_empty()).then(|| lines.join(&b"; "[..]))
}

/// The client's address where the connection manager has its defaults (`use_remote_address` false, no trusted hops): the last one of
/// `x-forwarded-for`, if it is a bare address.
fn last_forwarded(value: &[u8]) -> Option<IpAddr> {
    let last = value.rsplit(|byte| *byte == b',').next()?;
    std::str::from_utf8(last.trim_ascii()).ok()?.parse().ok()
}

/// The pseudo headers in the order of the protocol.
fn pseudo(from: &Headers, to: &mut Headers, http1: bool, scheme: &[u8]) {
    let authority = from.get(b":authority").or_else(|| from.get(b"host"));
    let path = from.get(b":path").unwrap_or(b"/");
    let path = path.split(|byte| *byte == b'#').next().unwrap_or(path);
    let method = from.get(b":method").unwrap_or(b"GET");
    // An HTTP/1 request has no scheme: it comes from `x-forwarded-proto`.
    let forwarded = from.get(b"x-forwarded-proto").filter(|proto| matches!(*proto, b"http" | b"https"));
    let own = forwarded.filter(|_| http1).or_else(|| from.get(b":scheme")).unwrap_or(scheme);
    if !http1 {
        for (name, value) in from.iter().filter(|(name, _)| name.first() == Some(&b':')) {
            to.append(name, if name == b":path" { path } else { value });
        }
    }
    let missing = [
        (&b":authority"[..], authority),
        (b":path", Some(path)),
        (b":method", Some(method)),
        (b":scheme", Some(own)),
    ];
    for (name, value) in missing {
        if let Some(value) = value
            && to.get(name).is_none()
        {
            to.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(recorded: &[(&str, &str)], want: &[(&str, &str)]) {
        let message = Message { headers: recorded.iter().copied().collect(), ..Message::default() };
        let mut stream = Stream::default();
        request(&message, &mut stream, &mut Random::new(0));
        let mut want: Headers = want.iter().copied().collect();
        want.push("x-forwarded-proto", "http");
        want.push("x-request-id", stream.request.headers.get(b"x-request-id").unwrap());
        assert_eq!(stream.request.headers, want);
    }

    #[test]
    fn internal_headers_are_found() {
        assert!(INTERNAL.is_sorted() && INTERNAL.iter().all(|name| is_internal(name)));
    }

    #[test]
    fn hdr_12_order_and_host() {
        check(
            &[(":method", "GET"), ("a", "1"), (":path", "/x#y"), ("host", "h")],
            &[(":authority", "h"), (":path", "/x"), (":method", "GET"), (":scheme", "http"), ("a", "1")],
        );
    }

    #[test]
    fn hdr_13_what_filters_do_not_see() {
        check(
            &[
                (":authority", "h"),
                ("connection", "close, x-hop"),
                ("x-hop", "1"),
                ("te", "gzip"),
                ("x-envoy-retry-on", "5xx"),
                ("x-envoy-original-path", "/o"),
                ("transfer-encoding", "chunked"),
                ("accept", "a"),
                ("accept", "b"),
                ("cookie", "a"),
                ("cookie", "b"),
            ],
            &[
                (":authority", "h"),
                (":path", "/"),
                (":method", "GET"),
                (":scheme", "http"),
                ("x-envoy-original-path", "/o"),
                ("accept", "a,b"),
                ("cookie", "a"),
                ("cookie", "b"),
            ],
        );
    }

    #[test]
    fn cookies_of_http2_become_one_line_behind_the_others() {
        let message = Message {
            headers: [(":authority", "h"), ("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2")]
                .into_iter()
                .collect(),
            ..Message::default()
        };
        let mut stream = Stream::default();
        stream.info.protocol = Protocol::Http2;
        request(&message, &mut stream, &mut Random::new(0));
        let lines: Vec<_> = stream
            .request
            .headers
            .iter()
            .filter(|(name, _)| matches!(*name, b"accept" | b"cookie"))
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect();
        assert_eq!(lines, [(b"accept".to_vec(), b"x".to_vec()), (b"cookie".to_vec(), b"a=1; b=2".to_vec())]);
    }

    /// As a real Envoy 1.40 was seen to take it.
    #[test]
    fn the_client_is_the_last_that_was_forwarded_for() {
        let rows = [
            (&["10.1.1.1"][..], "10.1.1.1:0"),
            (&["10.1.1.1, 8.8.8.8"], "8.8.8.8:0"),
            (&["8.8.8.8", "10.1.1.1"], "10.1.1.1:0"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]:80"], "127.0.0.1:40000"),
            (&["10.1.1.1:99"], "127.0.0.1:40000"),
            (&["8.8.8.8, junk"], "127.0.0.1:40000"),
            (&["1.1.1.1,"], "127.0.0.1:40000"),
            (&[], "127.0.0.1:40000"),
        ];
        for (lines, want) in rows {
            let headers = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let mut stream = Stream::default();
            stream.info.source = ([127, 0, 0, 1], 40_000).into();
            request(&Message { headers, ..Message::default() }, &mut stream, &mut Random::new(0));
            assert_eq!(stream.info.source.to_string(), want, "{lines:?}");
        }
    }
}
