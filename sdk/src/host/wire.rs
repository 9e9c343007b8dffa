//! The ABI's numbers and byte forms. Calls nothing.

use std::rc::Rc;
use std::time::Duration;

use super::{HostError, Status};
use crate::{Bytes, protobuf};

/// A header map of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapType {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
    CalloutHeaders = 6,
}

/// A buffer of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferType {
    RequestBody = 0,
    ResponseBody = 1,
    CalloutBody = 4,
    GrpcMessage = 5,
    VmConfiguration = 6,
    PluginConfiguration = 7,
}

/// A half of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request = 0,
    Response = 1,
}

/// A kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// The largest list of pairs that Envoy reads; it takes a larger one for an empty one, without an error (`HDR-11`).
const MAX_PAIRS: usize = 1024;
/// As [`MAX_PAIRS`], in bytes.
const MAX_PAIRS_BYTES: usize = 1 << 20;

/// Lines in the ABI's form (`HDR-10`).
///
/// # Errors
/// [`Status::BadArgument`] for what the host would misread (`HDR-11`) or put on the wire as two lines (`HDR-27`).
pub(crate) fn pairs<'a, I>(call: &'static str, lines: I) -> Result<Vec<u8>, HostError>
where
    I: Iterator<Item = (&'a [u8], &'a [u8])>,
{
    let mut pairs = Pairs { head: vec![0; 4], texts: Vec::new(), is_good: true };
    for (name, value) in lines {
        pairs.push(name, value);
    }
    pairs.finish(call)
}

/// As [`pairs`], of lines of a decision.
pub(crate) fn lines(call: &'static str, lines: &[(Rc<str>, Bytes)]) -> Result<Vec<u8>, HostError> {
    pairs(call, lines.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
}

/// As [`lines`], but no bytes for no lines, which would be four.
#[inline(never)]
pub(crate) fn lines_or_none(call: &'static str, lines: &[(Rc<str>, Bytes)]) -> Result<Vec<u8>, HostError> {
    if lines.is_empty() { Ok(Vec::new()) } else { self::lines(call, lines) }
}

/// Lines on their way into the ABI's form.
struct Pairs {
    /// The count, and the lengths of all names and values.
    head: Vec<u8>,
    /// They themselves.
    texts: Vec<u8>,
    is_good: bool,
}

impl Pairs {
    #[inline(never)]
    fn push(&mut self, name: &[u8], value: &[u8]) {
        let size = self.texts.len().saturating_add(name.len()).saturating_add(value.len());
        // More than that is refused, and so not kept.
        self.is_good &= is_name(name) && is_value(value) && size <= MAX_PAIRS_BYTES;
        if !self.is_good {
            return;
        }
        for text in [name, value] {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            self.head.extend_from_slice(&length.to_le_bytes());
            self.texts.extend_from_slice(text);
            self.texts.push(0);
        }
    }

    #[inline(never)]
    fn finish(mut self, call: &'static str) -> Result<Vec<u8>, HostError> {
        let count = self.head.len() / 8;
        let size = self.head.len().saturating_add(self.texts.len());
        if !self.is_good || count > MAX_PAIRS || size > MAX_PAIRS_BYTES {
            return Err(HostError::new(call, Status::BadArgument));
        }
        if let Some(place) = self.head.first_chunk_mut() {
            *place = u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        }
        self.head.append(&mut self.texts);
        Ok(self.head)
    }
}

/// Whether a header may be called so: the host does not look (`HDR-25`), and HTTP/1 would send it as it is.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let rest = name.strip_prefix(b":").unwrap_or(name);
    !rest.is_empty() && rest.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b':')
}

/// Whether a header may have this value: a line break in it would be the client's next header (`HDR-27`).
pub(crate) fn is_value(value: &[u8]) -> bool {
    !value.iter().any(|byte| matches!(byte, b'\0' | b'\n' | b'\r'))
}

/// A timeout in ms: rounded up, as 0 is no timeout at all; more than `i32::MAX` would be negative.
pub(crate) fn timeout_ms(timeout: Duration) -> u32 {
    u32::try_from(crate::nanos(timeout).div_ceil(1_000_000)).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

/// The arguments of Envoy's `set_envoy_filter_state`: a protobuf message with 1 path, 2 value; the span stays the filter chain.
pub(crate) fn filter_state(path: &[u8], value: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(path.len().saturating_add(value.len()).saturating_add(12));
    protobuf::put_bytes(&mut message, 1, path);
    protobuf::put_bytes(&mut message, 2, value);
    message
}

/// A cluster as `GrpcService { envoy_grpc { cluster_name } }`. Its bare name would do, but for the names that are a message themselves: those
/// end Envoy (`CALL-20`).
pub(crate) fn grpc_service(cluster: &[u8]) -> Vec<u8> {
    let mut envoy_grpc = Vec::new();
    protobuf::put_bytes(&mut envoy_grpc, 1, cluster);
    let mut service = Vec::new();
    protobuf::put_bytes(&mut service, 1, &envoy_grpc);
    service
}

/// An attribute's path: a NUL between segments.
#[inline(never)]
pub(crate) fn path(segments: &[&str]) -> Vec<u8> {
    let mut path = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            path.push(0);
        }
        path.extend_from_slice(segment.as_bytes());
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_as_the_abi_has_them() {
        let lines: [(&[u8], &[u8]); 1] = [(b"a", b"bc")];
        let bytes = pairs("x", lines.into_iter()).unwrap();
        assert_eq!(bytes, b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0");
    }

    #[track_caller]
    fn refused(name: &[u8], value: &[u8]) {
        let lines = [(name, value)];
        assert_eq!(pairs("x", lines.into_iter()), Err(HostError::new("x", Status::BadArgument)));
    }

    #[test]
    fn what_would_split_a_response_is_refused() {
        refused(b"a", b"b\r\nset-cookie: c");
        refused(b"a", b"\0");
        refused(b"a: b", b"");
        refused(b"a\n", b"");
        refused(b"", b"");
        refused(b":", b"");
        refused(b"a\xff", b"");
        refused(b"a", &vec![b'x'; 1 << 20]);
    }

    #[test]
    fn more_lines_than_envoy_reads_are_refused() {
        let lines = |count| std::iter::repeat_n((b"a".as_slice(), b"".as_slice()), count);
        assert!(pairs("x", lines(1024)).is_ok());
        assert!(pairs("x", lines(1025)).is_err());
    }

    #[test]
    fn a_cluster_is_a_grpc_service() {
        assert_eq!(grpc_service(b"users"), b"\x0a\x07\x0a\x05users");
    }

    #[test]
    fn filter_state_is_protobuf() {
        assert_eq!(filter_state(b"k", b"v"), b"\x0a\x01k\x12\x01v");
        assert_eq!(filter_state(b"k", &[7; 300])[3..6], [0x12, 0xac, 0x02]);
    }
}
