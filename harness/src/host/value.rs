//! How property values and header maps are written as bytes (`HDR-10`, `PROP-10`), and read back (`HDR-11`).

use serde_json::Value;

/// The largest serialised map that is read (`HDR-11`).
const MAX_BYTES: usize = 1 << 20;
/// The most pairs that are read (`HDR-11`).
const MAX_PAIRS: usize = 1024;

/// No pairs, written.
pub(crate) const NO_PAIRS: &[u8] = &[0; 4];

/// Writes pairs in the format of `HDR-10`.
pub(crate) fn write_pairs<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, out: &mut Vec<u8>) {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let count = u32::try_from(pairs.clone().count()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    for (key, value) in pairs.clone() {
        out.extend_from_slice(&length(key));
        out.extend_from_slice(&length(value));
    }
    for (key, value) in pairs {
        out.extend_from_slice(key);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
}

/// Reads pairs; anything that is not exactly in the format, too large or too many is no pairs at all (`HDR-11`).
pub(crate) fn read_pairs(bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    try_read_pairs(bytes).unwrap_or_default()
}

fn try_read_pairs(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let word = |at: usize| -> Option<usize> {
        let word = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(word.try_into().ok()?)).ok()
    };
    if bytes.len() > MAX_BYTES {
        return None;
    }
    let count = word(0)?;
    if count > MAX_PAIRS {
        return None;
    }
    let mut pairs = Vec::with_capacity(count);
    let mut at = 4 + count * 8;
    let mut text = |length: usize| -> Option<&[u8]> {
        let end = at.checked_add(length)?;
        let text = bytes.get(at..end)?;
        if *bytes.get(end)? != 0 {
            return None;
        }
        at = end + 1;
        Some(text)
    };
    for pair in 0..count {
        pairs.push((text(word(4 + pair * 8)?)?, text(word(8 + pair * 8)?)?));
    }
    (at == bytes.len()).then_some(pairs)
}

/// Writes a value of Envoy's metadata, a protobuf `Struct` in JSON form; absent for what cannot be serialised.
pub(crate) fn write_json(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Number(number) => out.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes()),
        Value::String(text) => out.extend_from_slice(text.as_bytes()),
        Value::Array(values) => {
            let mut keys = Vec::with_capacity(values.len());
            for value in values {
                let mut key = Vec::new();
                write_json(value, &mut key)?;
                keys.push(key);
            }
            write_pairs(keys.iter().map(|key| (key.as_slice(), &b""[..])), out);
        }
        Value::Object(fields) => {
            let mut pairs = Vec::with_capacity(fields.len());
            for (key, value) in fields {
                let mut bytes = Vec::new();
                write_json(value, &mut bytes)?;
                pairs.push((key.as_bytes(), bytes));
            }
            write_pairs(pairs.iter().map(|(key, value)| (*key, value.as_slice())), out);
        }
    }
    Some(())
}

/// Joins the lines of a name with `,` and writes the map (`PROP-11`); an empty map is four zero bytes.
pub(crate) fn write_headers(headers: &crate::headers::Headers, out: &mut Vec<u8>) {
    let mut pairs: Vec<(&[u8], Vec<u8>)> = Vec::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, joined)) => {
                joined.push(b',');
                joined.extend_from_slice(value);
            }
            None => pairs.push((name, value.to_vec())),
        }
    }
    write_pairs(pairs.iter().map(|(name, value)| (*name, value.as_slice())), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        write_pairs(pairs.iter().copied(), &mut out);
        out
    }

    #[test]
    fn hdr_10_pairs_come_back() {
        let pairs: &[(&[u8], &[u8])] = &[(b"a", b"1"), (b"", b""), (b"b\0c", b"\xff")];
        assert_eq!(read_pairs(&written(pairs)), pairs);
        assert_eq!(written(&[(b"a", b"bc")]), b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0");
    }

    #[test]
    fn hdr_11_anything_malformed_is_empty() {
        let good = written(&[(b"a", b"1"), (b"b", b"2")]);
        for cut in 0..good.len() {
            assert!(read_pairs(&good[..cut]).is_empty(), "cut at {cut}");
        }
        let mut trailing = good.clone();
        trailing.push(0);
        assert!(read_pairs(&trailing).is_empty());
        assert!(read_pairs(&[0xff; 64]).is_empty());
        let pairs: Vec<(&[u8], &[u8])> = vec![(b"a", b"b"); 1024];
        assert_eq!(read_pairs(&written(&pairs)).len(), 1024);
        let pairs: Vec<(&[u8], &[u8])> = vec![(b"a", b"b"); 1025];
        assert!(read_pairs(&written(&pairs)).is_empty());
        let large = vec![b'x'; 1 << 20];
        assert!(read_pairs(&written(&[(b"a", &large)])).is_empty());
    }

    #[test]
    fn prop_10_values() {
        let mut out = Vec::new();
        assert_eq!(
            write_json(&serde_json::json!({"n": 1.5, "t": true, "s": "x", "l": ["a"]}), &mut out),
            Some(())
        );
        let pairs = read_pairs(&out);
        let get = |key: &[u8]| pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        assert_eq!(get(b"n"), Some(&1.5f64.to_le_bytes()[..]));
        assert_eq!(get(b"t"), Some(&b"\x01"[..]));
        assert_eq!(get(b"s"), Some(&b"x"[..]));
        assert_eq!(get(b"l").map(read_pairs), Some(vec![(&b"a"[..], &b""[..])]));
    }
}
