//! The "service" argument of gRPC calls: bytes that Envoy takes for a serialised `envoy.config.core.v3.GrpcService` if they can be parsed as
//! one, and else for the name of a cluster (`CALL-20`). Pure.

/// What a service argument says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// It is no message: the name of a cluster.
    Name,
    /// A message that names a cluster.
    Cluster(Target),
    /// A message that names nothing: Envoy dies (`DIE-05`).
    Unset,
    /// A message that asks for Google's gRPC library.
    Google,
}

/// Whom a message names, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub cluster: String,
    /// The `:authority`, where it is not the cluster's name.
    pub authority: String,
    /// Initial metadata that is sent ahead of the call's own.
    pub metadata: Vec<(String, String)>,
}

/// Reads a service argument.
pub(super) fn parse(bytes: &[u8]) -> Service {
    let mut reader = Reader(bytes);
    let mut target = Target::default();
    let mut chosen = Service::Unset;
    while !reader.0.is_empty() {
        let Some(field) = reader.field() else { return Service::Name };
        let understood = match field {
            // Several are one message: what comes later counts.
            Field { number: 1, content: Content::Bytes(envoy) } => {
                chosen = Service::Cluster(Target::default());
                envoy_grpc(envoy, &mut target)
            }
            Field { number: 2, content: Content::Bytes(google) } => {
                target.cluster.clear();
                target.authority.clear();
                chosen = Service::Google;
                well_formed(google)
            }
            Field { number: 3 | 6, content: Content::Bytes(message) } => well_formed(message),
            Field { number: 5, content: Content::Bytes(header) } => header_value(header, &mut target),
            _ => Some(()),
        };
        if understood.is_none() {
            return Service::Name;
        }
    }
    match chosen {
        Service::Cluster(_) => Service::Cluster(target),
        other => other,
    }
}

/// `GrpcService.EnvoyGrpc`
fn envoy_grpc(bytes: &[u8], target: &mut Target) -> Option<()> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        match reader.field()? {
            Field { number: 1, content: Content::Bytes(name) } => target.cluster = text(name)?,
            Field { number: 2, content: Content::Bytes(name) } => target.authority = text(name)?,
            Field { number: 3 | 4, content: Content::Bytes(message) } => well_formed(message)?,
            _ => {}
        }
    }
    Some(())
}

/// `HeaderValue`
fn header_value(bytes: &[u8], target: &mut Target) -> Option<()> {
    let mut reader = Reader(bytes);
    let (mut key, mut value) = (String::new(), String::new());
    while !reader.0.is_empty() {
        match reader.field()? {
            Field { number: 1, content: Content::Bytes(name) } => key = text(name)?,
            Field { number: 2, content: Content::Bytes(bytes) } => value = text(bytes)?,
            _ => {}
        }
    }
    target.metadata.push((key, value));
    Some(())
}

/// A message of which only the form counts.
fn well_formed(bytes: &[u8]) -> Option<()> {
    let mut reader = Reader(bytes);
    while !reader.0.is_empty() {
        reader.field()?;
    }
    Some(())
}

/// A `string`: UTF-8, or the message cannot be parsed.
fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// How deep groups may nest: protobuf's limit.
const DEPTH: u32 = 100;

struct Reader<'a>(&'a [u8]);

struct Field<'a> {
    number: u64,
    content: Content<'a>,
}

enum Content<'a> {
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Reader<'a> {
    /// The next field; nothing where the bytes are no message.
    fn field(&mut self) -> Option<Field<'a>> {
        self.field_at(0)
    }

    fn field_at(&mut self, depth: u32) -> Option<Field<'a>> {
        let tag = self.varint().filter(|tag| *tag <= u64::from(u32::MAX))?;
        let number = tag >> 3;
        if number == 0 || depth > DEPTH {
            return None;
        }
        let content = match tag & 7 {
            0 => self.varint().map(|_| Content::Other)?,
            1 => self.take(8).map(|_| Content::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Content::Bytes(self.take(length)?)
            }
            3 => self.group(number, depth).map(|()| Content::Other)?,
            5 => self.take(4).map(|_| Content::Other)?,
            _ => return None,
        };
        Some(Field { number, content })
    }

    /// Skips to the end of a group.
    fn group(&mut self, number: u64, depth: u32) -> Option<()> {
        loop {
            let before = self.0;
            let tag = self.varint()?;
            if tag & 7 == 4 {
                return (tag >> 3 == number).then_some(());
            }
            self.0 = before;
            self.field_at(depth + 1)?;
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in 0..10 {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(first & 0x7f).checked_shl(shift * 7).unwrap_or(0);
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> Service {
        Service::Cluster(Target { cluster: name.to_owned(), ..Target::default() })
    }

    /// What a real Envoy 1.40 was seen to make of these bytes.
    #[test]
    fn call_20_what_parses_as_a_message_is_one() {
        let names: &[&[u8]] =
            &[b"up", b"ratelimit", b"auth", b"\n\x04\n\x02\xff\xfe", b"\n\x02", b"\x0b", b"\x0c", b"\0"];
        for name in names {
            assert_eq!(parse(name), Service::Name, "{name:?}");
        }
        for name in ["", "empty", "users", "inventory", "analytics"] {
            assert_eq!(parse(name.as_bytes()), Service::Unset, "{name}");
        }
        assert_eq!(parse(b"\n\x04\n\x02up"), cluster("up"));
        assert_eq!(parse(b"\n\0"), cluster(""));
        assert_eq!(parse(b"\n\x04\n\x02up\n\x06\n\x04dead"), cluster("dead"));
        assert_eq!(parse(b"\n\x04\n\x02up\x08\x01\x1b\x1c"), cluster("up"));
        assert_eq!(parse(b"\n\x04\n\x02up\x1b"), Service::Name);
        assert_eq!(parse(b"\n\x04\n\x02up\x1c"), Service::Name);
        assert_eq!(parse(b"\x12\0"), Service::Google);
        let full = b"\n\x07\n\x02up\x12\x01a*\x06\n\x01k\x12\x01v";
        let target = Target {
            cluster: "up".to_owned(),
            authority: "a".to_owned(),
            metadata: vec![("k".to_owned(), "v".to_owned())],
        };
        assert_eq!(parse(full), Service::Cluster(target));
    }

    #[test]
    fn no_bytes_are_too_deep_or_too_long() {
        assert_eq!(parse(&[0x1b; 100_000]), Service::Name);
        assert_eq!(parse(&[0xff; 100]), Service::Name);
        assert_eq!(parse(b"\n\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), Service::Name);
    }
}
