//! Attributes: what Envoy knows about a stream and a proxy, by path, as `get_property` gives it.
//!
//! Knows no host. Values arrive as bytes in the encoding of `PROP-10`; the typed look-ups decode them and answer `None` for bytes
//! of another type, so a wrong guess is never a trap.

use std::time::{Duration, SystemTime};

use crate::{HeaderMap, Headers};

/// A source of attributes.
pub trait Attributes {
    /// The bytes of an attribute, such as `["source", "address"]`; `None` when Envoy does not know it (now).
    fn attribute(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// A string, as the bytes it has: Envoy promises no UTF-8.
    fn attribute_str(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.attribute(path)
    }

    /// A signed integer, such as `["response", "code"]`.
    fn attribute_int(&self, path: &[&str]) -> Option<i64> {
        number_of(self.attribute(path)).map(i64::from_le_bytes)
    }

    /// An unsigned integer, such as `["connection", "id"]`.
    fn attribute_uint(&self, path: &[&str]) -> Option<u64> {
        number_of(self.attribute(path)).map(u64::from_le_bytes)
    }

    /// A double; numbers of metadata are doubles.
    fn attribute_double(&self, path: &[&str]) -> Option<f64> {
        number_of(self.attribute(path)).map(f64::from_le_bytes)
    }

    /// A boolean, such as `["connection", "mtls"]`.
    fn attribute_bool(&self, path: &[&str]) -> Option<bool> {
        self.attribute(path).and_then(|bytes| decode_bool(&bytes))
    }

    /// A duration, such as `["request", "duration"]`; `None` for a negative one.
    fn attribute_duration(&self, path: &[&str]) -> Option<Duration> {
        self.attribute_int(path)
            .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
            .map(Duration::from_nanos)
    }

    /// A point in time, such as `["request", "time"]`; `None` before 1970.
    fn attribute_timestamp(&self, path: &[&str]) -> Option<SystemTime> {
        self.attribute_duration(path).and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
    }

    /// A map, such as `["request", "headers"]` or the fields of a metadata struct; of a list, the items are the keys. The values are
    /// encoded like attributes, to be read with [`decode_int`] and its like.
    fn attribute_map(&self, path: &[&str]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        self.attribute(path).and_then(|bytes| decode_map(&bytes))
    }
}

/// Headers alone: what a test has when a policy needs no attribute.
impl Attributes for HeaderMap {
    fn attribute(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

/// What a policy sees of a request: its headers and the attributes of its stream.
pub trait RequestView: Headers + Attributes {}

impl<R: Headers + Attributes + ?Sized> RequestView for R {}

/// The bytes of a number.
#[inline(never)]
fn number_of(value: Option<Vec<u8>>) -> Option<[u8; 8]> {
    value?.as_slice().try_into().ok()
}

/// Decodes a signed integer; also durations and points in time, in nanoseconds.
#[must_use]
pub fn decode_int(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_le_bytes)
}

/// Decodes a double.
#[must_use]
pub fn decode_double(bytes: &[u8]) -> Option<f64> {
    bytes.try_into().ok().map(f64::from_le_bytes)
}

/// Decodes a boolean.
#[must_use]
pub fn decode_bool(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

/// Decodes a map: the number of pairs, the lengths of each key and value, then each key and value followed by a NUL. `None` when the
/// bytes end early or go on.
#[must_use]
pub fn decode_map(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let (count, rest) = number(bytes)?;
    let (mut lengths, mut rest) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(count);
    while !lengths.is_empty() {
        let (key_length, after) = number(lengths)?;
        let (value_length, after) = number(after)?;
        lengths = after;
        let (key, after) = terminated(rest, key_length)?;
        let (value, after) = terminated(after, value_length)?;
        rest = after;
        pairs.push((key.to_vec(), value.to_vec()));
    }
    rest.is_empty().then_some(pairs)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn terminated(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    Some((text, rest.strip_prefix(&[0])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// One value by every path.
    struct Value(Vec<u8>);

    impl Attributes for Value {
        fn attribute(&self, _: &[&str]) -> Option<Vec<u8>> {
            Some(self.0.clone())
        }
    }

    #[test]
    fn values_are_decoded() {
        let seven = Value(7_u64.to_le_bytes().to_vec());
        assert_eq!((seven.attribute_int(&[]), seven.attribute_uint(&[])), (Some(7), Some(7)));
        assert_eq!(seven.attribute_duration(&[]), Some(Duration::from_nanos(7)));
        assert_eq!(seven.attribute_timestamp(&[]), Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(7)));
        assert_eq!(seven.attribute_bool(&[]), None);
        assert_eq!(Value((-7_i64).to_le_bytes().to_vec()).attribute_int(&[]), Some(-7));
        assert_eq!(Value((-7_i64).to_le_bytes().to_vec()).attribute_duration(&[]), None);
        assert_eq!(Value(0.5_f64.to_le_bytes().to_vec()).attribute_double(&[]), Some(0.5));
        assert_eq!(Value(vec![1]).attribute_bool(&[]), Some(true));
        assert_eq!(Value(vec![0]).attribute_bool(&[]), Some(false));
        assert_eq!(Value(vec![2]).attribute_bool(&[]), None);
        assert_eq!(Value(vec![1]).attribute_int(&[]), None);
        assert_eq!(Value(vec![0xff]).attribute_str(&[]), Some(vec![0xff]));
        assert_eq!(HeaderMap::new().attribute(&["source", "address"]), None);
    }

    #[test]
    fn maps_are_decoded_and_hostile_ones_refused() {
        let bytes = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0a\0b\xff\0\0c\0";
        let want = vec![(b"a".to_vec(), b"b\xff".to_vec()), (Vec::new(), b"c".to_vec())];
        assert_eq!(decode_map(bytes), Some(want));
        assert_eq!(decode_map(b"\0\0\0\0"), Some(Vec::new()));
        for cut in 0..bytes.len() {
            assert_eq!(decode_map(&bytes[..cut]), None);
        }
        assert_eq!(decode_map(b"\xff\xff\xff\xff"), None);
        assert_eq!(decode_map(b"\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffa\0b\0"), None);
        assert_eq!(decode_map(b"\0\0\0\0\0"), None);
    }
}
