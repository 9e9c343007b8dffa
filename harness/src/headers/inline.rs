//! Which header names Envoy keeps in one line, by kind of block (`HDR-23`, `HDR-24`). Knows names only.

/// The kind of a header block: decides which names join (`HDR-20`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Request headers.
    Request,
    /// Response headers.
    Response,
    /// Trailers of either side: nothing joins but gRPC's status and message.
    Trailers,
}

impl Kind {
    /// Whether Envoy keeps lines of `name` (lower case) in one.
    #[must_use]
    pub fn is_inline(self, name: &[u8]) -> bool {
        let table = match self {
            Self::Request => REQUEST,
            Self::Response => RESPONSE,
            Self::Trailers => TRAILERS,
        };
        table.binary_search(&name).is_ok()
    }
}

/// Sorted, for the binary search.
const REQUEST: &[&[u8]] = &[
    b":authority",
    b":method",
    b":path",
    b":protocol",
    b":scheme",
    b"accept",
    b"accept-encoding",
    b"access-control-request-headers",
    b"access-control-request-method",
    b"authorization",
    b"cache-control",
    b"cdn-loop",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    b"grpc-accept-encoding",
    b"grpc-timeout",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"origin",
    b"pragma",
    b"proxy-connection",
    b"proxy-status",
    b"referer",
    b"te",
    b"transfer-encoding",
    b"upgrade",
    b"user-agent",
    b"via",
    b"x-client-trace-id",
    b"x-envoy-attempt-count",
    b"x-envoy-decorator-operation",
    b"x-envoy-downstream-service-cluster",
    b"x-envoy-external-address",
    b"x-envoy-force-trace",
    b"x-envoy-hedge-on-per-try-timeout",
    b"x-envoy-internal",
    b"x-envoy-ip-tags",
    b"x-envoy-max-retries",
    b"x-envoy-original-host",
    b"x-envoy-original-path",
    b"x-envoy-retry-grpc-on",
    b"x-envoy-retry-on",
    b"x-envoy-upstream-alt-stat-name",
    b"x-envoy-upstream-rq-timeout-ms",
    b"x-forwarded-client-cert",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-request-id",
];

const RESPONSE: &[&[u8]] = &[
    b":status",
    b"access-control-allow-origin",
    b"access-control-expose-headers",
    b"age",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"date",
    b"etag",
    b"expires",
    b"grpc-message",
    b"grpc-status",
    b"keep-alive",
    b"last-modified",
    b"location",
    b"proxy-connection",
    b"proxy-status",
    b"server",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"x-envoy-attempt-count",
    b"x-envoy-decorator-operation",
    b"x-envoy-degraded",
    b"x-envoy-ratelimited",
    b"x-envoy-upstream-service-time",
    b"x-request-id",
];

const TRAILERS: &[&[u8]] = &[b"grpc-message", b"grpc-status"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        for table in [REQUEST, RESPONSE, TRAILERS] {
            assert!(table.is_sorted());
        }
    }
}
