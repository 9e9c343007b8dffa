//! A header map as Envoy keeps and changes it (`HDR-12`, `HDR-20` to `HDR-24`).

use crate::HeaderMap;

/// Headers of which Envoy keeps one line: more are joined. The common ones of requests.
const INLINE_REQUEST: &str = "accept accept-encoding access-control-request-headers access-control-request-method authorization \
    cache-control cdn-loop connection content-encoding content-length content-type expect grpc-accept-encoding grpc-timeout \
    if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive origin pragma proxy-connection proxy-status \
    referer te transfer-encoding upgrade user-agent via x-client-trace-id x-envoy-attempt-count x-envoy-external-address \
    x-envoy-internal x-envoy-max-retries x-envoy-original-path x-envoy-retry-on x-envoy-upstream-rq-timeout-ms \
    x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-request-id :path :method \
    :scheme :authority :protocol";

/// As [`INLINE_REQUEST`], of responses.
const INLINE_RESPONSE: &str = "access-control-allow-origin access-control-expose-headers age cache-control connection \
    content-encoding content-length content-type date etag expires grpc-message grpc-status keep-alive last-modified location \
    proxy-connection proxy-status server transfer-encoding upgrade vary via x-envoy-attempt-count x-envoy-decorator-operation \
    x-envoy-degraded x-envoy-ratelimited x-envoy-upstream-service-time x-request-id :status";

/// One header map.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    request: bool,
    lines: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Lines {
    pub(crate) fn new<N: AsRef<[u8]>, V: AsRef<[u8]>>(request: bool, lines: &[(N, V)]) -> Self {
        let mut map = Self { request, lines: Vec::new() };
        for (name, value) in lines {
            map.add(name.as_ref(), value.as_ref());
        }
        map
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let name = self.name(name);
        self.lines.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = self.name(name);
        let inline = if self.request { INLINE_REQUEST } else { INLINE_RESPONSE };
        if inline.split_ascii_whitespace().any(|inline| inline.as_bytes() == name)
            && let Some((_, present)) = self.lines.iter_mut().find(|(other, _)| *other == name)
        {
            present.push(b',');
            present.extend_from_slice(value);
            return;
        }
        let pseudo = |name: &[u8]| name.starts_with(b":");
        let end = match pseudo(&name) {
            true => self.lines.iter().take_while(|(other, _)| pseudo(other)).count(),
            false => self.lines.len(),
        };
        self.lines.insert(end, (name, value.to_vec()));
    }

    pub(crate) fn replace(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        let name = self.name(name);
        self.lines.retain(|(other, _)| *other != name);
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.lines.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    pub(crate) fn map(&self) -> HeaderMap {
        self.iter().collect()
    }

    /// In the ABI's form; nothing at all for an empty map (`HDR-10`). Not `wire::pairs`, which refuses what clients may send.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        if self.lines.is_empty() {
            return Vec::new();
        }
        let length = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
        let mut bytes = (self.lines.len() as u32).to_le_bytes().to_vec();
        for (name, value) in self.iter() {
            bytes.extend(length(name));
            bytes.extend(length(value));
        }
        for (name, value) in self.iter() {
            for part in [name, value] {
                bytes.extend_from_slice(part);
                bytes.push(0);
            }
        }
        bytes
    }

    /// From the ABI's form.
    pub(crate) fn parse(request: bool, bytes: &[u8]) -> Self {
        let map = HeaderMap::from_pairs(bytes.to_vec()).unwrap_or_default();
        Self::new(request, &map.iter().collect::<Vec<_>>())
    }

    fn name(&self, name: &[u8]) -> Vec<u8> {
        match name.to_ascii_lowercase() {
            host if self.request && host == b"host" => b":authority".to_vec(),
            name => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Lines), want: &[(&str, &str)]) {
        let mut lines = Lines::new(true, &[(":path", "/"), ("x-a", "1"), ("accept", "b"), ("x-a", "2")]);
        change(&mut lines);
        assert_eq!(lines.map(), want.iter().copied().collect());
    }

    #[test]
    fn add_joins_inline_headers_only() {
        check(
            |lines| lines.add(b"Accept", b"c"),
            &[(":path", "/"), ("x-a", "1"), ("accept", "b,c"), ("x-a", "2")],
        );
        check(
            |lines| lines.add(b"x-a", b"3"),
            &[(":path", "/"), ("x-a", "1"), ("accept", "b"), ("x-a", "2"), ("x-a", "3")],
        );
    }

    #[test]
    fn replace_moves_to_the_end_of_the_block() {
        check(|lines| lines.replace(b"x-a", b"3"), &[(":path", "/"), ("accept", "b"), ("x-a", "3")]);
        check(
            |lines| lines.replace(b"host", b"h"),
            &[(":path", "/"), (":authority", "h"), ("x-a", "1"), ("accept", "b"), ("x-a", "2")],
        );
    }

    #[test]
    fn the_abi_form_comes_back() {
        let lines = Lines::new(true, &[("x-a", b"\xff\0".as_slice()), ("x-b", b"")]);
        assert_eq!(Lines::parse(true, &lines.bytes()).map(), lines.map());
    }
}
