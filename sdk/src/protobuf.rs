//! Protobuf's wire format, as much of it as a filter needs that calls a gRPC service: fields one after the other, no schema, no
//! reflection, a few hundred bytes of code.
//!
//! Reading never fails half-way and allocates nothing: what is no field ends the message, and [`Fields::is_whole`] tells whether there was
//! more. Numbers of fields are 1 to 536870911.

/// Writes a number: `uint32`, `uint64`, `bool`, an enumeration. 0 is what is not written.
pub fn put_number(message: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_varint(message, u64::from(field) << 3);
        put_varint(message, value);
    }
}

/// Writes a string, bytes, or a message in the message, also one that is empty.
pub fn put_bytes(message: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_varint(message, (u64::from(field) << 3) | 2);
    put_varint(message, u64::try_from(value.len()).unwrap_or(u64::MAX));
    message.extend_from_slice(value);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, as it is written: negative ones are large.
    Number(u64),
    /// A string, bytes, a message, or a packed list.
    Bytes(&'a [u8]),
    /// Four or eight bytes: floating point, and `fixed32`, `fixed64`.
    Fixed(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number, where it is one that fits.
    #[must_use]
    pub fn u32(self) -> Option<u32> {
        match self {
            Self::Number(number) => u32::try_from(number).ok(),
            Self::Bytes(_) | Self::Fixed(_) => None,
        }
    }

    /// The bytes, where it is such.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) | Self::Fixed(_) => None,
        }
    }
}

/// The fields of a message, in the order in which they are written; each with its number.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Fields<'a> {
    /// The fields of these bytes.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message, broken: false }
    }

    /// Whether all bytes up to here were fields; asked at the end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.broken
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            // Groups, which nobody writes any more, and nothing.
            _ => return None,
        };
        Some((number, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        self.broken = field.is_none();
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8]) -> (Vec<(u32, Value<'_>)>, bool) {
        let mut fields = Fields::new(message);
        let all = fields.by_ref().collect();
        (all, fields.is_whole())
    }

    #[test]
    fn what_is_written_is_read() {
        let long = vec![7; 300];
        let mut message = Vec::new();
        put_number(&mut message, 1, 0);
        put_number(&mut message, 1, 150);
        put_bytes(&mut message, 2, b"testing");
        put_bytes(&mut message, 1000, &long);
        put_number(&mut message, 3, u64::MAX);
        // The examples of the format's documentation.
        assert!(message.starts_with(b"\x08\x96\x01\x12\x07testing"));
        let want = [
            (1, Value::Number(150)),
            (2, Value::Bytes(b"testing")),
            (1000, Value::Bytes(&long)),
            (3, Value::Number(u64::MAX)),
        ];
        assert_eq!(read(&message), (want.to_vec(), true));
        // Of no part of it is more read than there is.
        for end in 0..message.len() {
            let (fields, whole) = read(&message[..end]);
            assert!(want.starts_with(&fields), "{end}");
            assert!(whole || fields.len() < want.len());
        }
    }

    #[test]
    fn what_is_no_field_ends_the_message() {
        for broken in [
            b"\x00\x01".as_slice(),
            b"\x0b",
            b"\x0e\x00",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0a\x05abcd",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0d\x01\x02",
            b"\xf8\xff\xff\xff\xff\xff\x01\x00",
        ] {
            assert_eq!(read(broken), (Vec::new(), false), "{broken:?}");
        }
        assert_eq!(read(b"\x0d\x01\x02\x03\x04\x09\0\0\0\0\0\0\0\0").0.len(), 2);
    }

    #[test]
    fn values_are_of_their_kind() {
        assert_eq!(Value::Number(1 << 32).u32(), None);
        assert_eq!(Value::Bytes(b"").u32(), None);
        assert_eq!(Value::Number(1).bytes(), None);
    }
}
