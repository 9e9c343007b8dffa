//! The first bytes of a recording, for detection: what they look like, and what is known not to be a recording. Knows the formats by
//! name only, for its hints.

use std::io::Cursor;
use std::sync::Arc;

use super::input::Input;
use super::json;

/// The first bytes of a recording.
pub(super) struct Head {
    bytes: Vec<u8>,
    /// The members of the first object, or of the first element of a list: key and first byte of the value.
    members: Option<Vec<(String, u8)>>,
}

/// How many broken lines may stand before the first that is whole.
const LATER_LINES: usize = 16;

const ACCEPTED: &str = "expected HAR, Envoy's HTTP tap as JSON, an Envoy access log, or Weir's JSON lines";

impl Head {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let members = members(&bytes);
        Self { bytes, members }
    }

    /// Whether it begins with an object, or a list of objects, in which some member satisfies `wanted`.
    pub(super) fn is_object_with(&self, wanted: impl Fn(&str, u8) -> bool) -> bool {
        self.members.as_ref().is_some_and(|members| members.iter().any(|(key, value)| wanted(key, *value)))
    }

    /// Whether it begins with an object or a list of objects.
    pub(super) fn is_json(&self) -> bool {
        self.members.is_some()
    }

    /// Its lines, without line ends; the last may be cut.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.bytes.split(|byte| *byte == b'\n');
        lines
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.trim_ascii().is_empty())
    }

    /// The recording as it would begin with each of its first lines that begins an object.
    pub(super) fn later_lines(&self) -> impl Iterator<Item = Self> {
        let begins = memchr::memmem::find_iter(&self.bytes, b"\n{").map(|at| at + 1);
        begins.take(LATER_LINES).map(|at| Self::new(self.bytes[at..].to_vec()))
    }

    /// Recognises what is certainly no recording: what it is, and what to do.
    pub(super) fn refuse_foreign(&self) -> Result<(), (String, String)> {
        let bytes = &self.bytes;
        let refuse = |found: &str, hint: &str| Err((found.to_owned(), hint.to_owned()));
        if bytes.trim_ascii().is_empty() {
            return refuse("empty", ACCEPTED);
        }
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return refuse("UTF-16", "expected UTF-8; convert it with `iconv -f UTF-16 -t UTF-8`");
        }
        for (magic, found, hint) in FOREIGN {
            if bytes.starts_with(magic) {
                return refuse(found, hint);
            }
        }
        if bytes.starts_with(b"http_buffered_trace") || bytes.starts_with(b"http_streamed_trace") {
            return refuse("an Envoy tap in PROTO_TEXT", "use the format JSON_BODY_AS_BYTES");
        }
        Ok(())
    }

    /// What to say when no format is found.
    pub(super) fn explain_unknown(&self) -> (String, String) {
        let control = |byte: &u8| *byte < b'\t' || (0x0e..0x1b).contains(byte);
        if self.bytes.iter().any(control) {
            let hint =
                "expected text; of an Envoy tap, use the format JSON_BODY_AS_BYTES instead of PROTO_BINARY";
            return ("binary".to_owned(), hint.to_owned());
        }
        let keys: Vec<String> =
            self.members.iter().flatten().take(8).map(|(key, _)| format!("`{key}`")).collect();
        let found = match &self.members {
            Some(_) if keys.is_empty() => "JSON without members".to_owned(),
            Some(_) => format!("JSON with {}", keys.join(", ")),
            None => {
                let line = self.lines().next().unwrap_or_default();
                let line = String::from_utf8_lossy(&line[..line.len().min(60)]);
                format!("text that begins with `{}`", line.replace(char::is_control, "�"))
            }
        };
        (found, format!("{ACCEPTED}; an access log of another format needs its format string"))
    }
}

const FOREIGN: &[(&[u8], &str, &str)] = &[
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd", "give it as `zstd -dc FILE | weir replay … -`"),
    (b"BZh", "compressed with bzip2", "give it as `bzcat FILE | weir replay … -`"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "compressed with xz", "give it as `xzcat FILE | weir replay … -`"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (&[0xd4, 0xc3, 0xb2, 0xa1], "a packet capture", ACCEPTED),
    (&[0xa1, 0xb2, 0xc3, 0xd4], "a packet capture", ACCEPTED),
    (&[0x0a, 0x0d, 0x0d, 0x0a], "a packet capture", ACCEPTED),
    (b"\0asm", "a Wasm module", ACCEPTED),
];

/// The members of the first object as far as the bytes go; nothing when they do not begin with one.
fn members(bytes: &[u8]) -> Option<Vec<(String, u8)>> {
    let source = Box::new(Cursor::new(bytes.to_vec()));
    let (mut input, _) = Input::begin("", "", source, Arc::default(), bytes.len()).ok()?;
    if json::peek(&mut input).ok()? == Some(b'[') {
        input.consume(1);
    }
    json::expect(&mut input, b'{').ok()?;
    let mut members = Vec::new();
    let mut buffer = Vec::new();
    while let Ok(Some(key)) = json::member(&mut input, &mut buffer) {
        let Ok(Some(first)) = json::peek(&mut input) else { break };
        members.push((key, first));
        if json::value(&mut input, None, false).is_err() {
            break;
        }
    }
    Some(members)
}
