//! A pull scanner for JSON that is larger than memory: walks to a place and copies one value at a time. It finds where values end and
//! leaves it to `serde_json` to say whether they are right.

use std::io;

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use serde_json::Value;

use super::input::Input;

/// Why a value could not be copied.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The source failed.
    Io(io::Error),
    /// The recording ends inside the value.
    CutOff,
    /// The next value begins, on a line of its own, before this one ends. The scanner stands before it.
    Overtaken,
    /// The value is over the limit. The scanner stands behind it.
    TooLong,
    /// It is not JSON: what was expected and what was found.
    Syntax(String),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        // A gzip stream that ends too early says so.
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::CutOff } else { Self::Io(error) }
    }
}

/// The next byte that is not blank, without taking it.
pub(super) fn peek(input: &mut Input) -> Result<Option<u8>, ScanError> {
    loop {
        let chunk = input.chunk()?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let blank = chunk.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let next = chunk.get(blank).copied();
        input.consume(blank);
        if next.is_some() {
            return Ok(next);
        }
    }
}

/// Takes the next byte that is not blank, which must be `want`.
pub(super) fn expect(input: &mut Input, want: u8) -> Result<(), ScanError> {
    match peek(input)? {
        Some(byte) if byte == want => {
            input.consume(1);
            Ok(())
        }
        Some(byte) => Err(unexpected(byte, &format!("`{}`", char::from(want)))),
        None => Err(ScanError::CutOff),
    }
}

/// Inside an object: the key of the next member, standing before its value; nothing when the object ends, standing behind it.
pub(super) fn member(input: &mut Input, buffer: &mut Vec<u8>) -> Result<Option<String>, ScanError> {
    loop {
        match peek(input)? {
            Some(b',') => input.consume(1),
            Some(b'}') => {
                input.consume(1);
                return Ok(None);
            }
            Some(b'"') => {
                value(input, Some(buffer), false)?;
                let key =
                    serde_json::from_slice(buffer).map_err(|error| ScanError::Syntax(reason(&error)))?;
                expect(input, b':')?;
                return Ok(Some(key));
            }
            Some(byte) => return Err(unexpected(byte, "a member's name in quotes or `}`")),
            None => return Err(ScanError::CutOff),
        }
    }
}

/// Takes one value, copying it to `out` when there is one. With `by_line`, a `{` at the beginning of a line begins the next value even
/// when this one has not ended: that is how a broken value costs only itself.
pub(super) fn value(
    input: &mut Input,
    mut out: Option<&mut Vec<u8>>,
    by_line: bool,
) -> Result<(), ScanError> {
    if let Some(out) = out.as_deref_mut() {
        out.clear();
    }
    let limit = input.limit();
    let mut open: Vec<u8> = Vec::new();
    let (mut in_string, mut escaped, mut previous) = (false, false, 0);
    let mut scalar = false;
    let mut length = 0_usize;
    peek(input)?;
    loop {
        let chunk = input.chunk()?;
        if chunk.is_empty() {
            return if scalar && open.is_empty() { finish(length, limit) } else { Err(ScanError::CutOff) };
        }
        let mut taken = 0;
        let mut end = None;
        for &byte in chunk {
            if by_line && previous == b'\n' && byte == b'{' && length + taken > 0 {
                end = Some(Err(ScanError::Overtaken));
                break;
            }
            previous = byte;
            if in_string {
                taken += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => {
                        in_string = false;
                        if open.is_empty() {
                            end = Some(Ok(()));
                            break;
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' if open.len() < MAX_DEPTH => open.push(byte),
                b'{' | b'[' => {
                    end = Some(Err(ScanError::Syntax(format!("is nested deeper than {MAX_DEPTH}"))));
                    break;
                }
                b'}' | b']' => match open.pop() {
                    Some(opened) if opened + 2 == byte => {
                        if open.is_empty() {
                            taken += 1;
                            end = Some(Ok(()));
                            break;
                        }
                    }
                    None if scalar => {
                        end = Some(Ok(()));
                        break;
                    }
                    _ => {
                        end = Some(Err(unexpected(byte, "a value")));
                        break;
                    }
                },
                b',' | b':' if open.is_empty() => {
                    end = Some(if scalar { Ok(()) } else { Err(unexpected(byte, "a value")) });
                    break;
                }
                _ if open.is_empty() && byte.is_ascii_whitespace() => {
                    end = Some(Ok(()));
                    break;
                }
                _ => scalar = scalar || open.is_empty(),
            }
            taken += 1;
        }
        length = length.saturating_add(taken);
        if let Some(out) = out.as_deref_mut() {
            if length <= limit {
                out.extend_from_slice(&chunk[..taken]);
            } else {
                out.clear();
            }
        }
        input.consume(taken);
        match end {
            Some(Ok(())) => return finish(length, limit),
            Some(Err(error)) => return Err(error),
            None => {}
        }
    }
}

/// Deeper than any recording; `serde_json` itself stops at 128.
const MAX_DEPTH: usize = 512;

fn finish(length: usize, limit: usize) -> Result<(), ScanError> {
    if length > limit { Err(ScanError::TooLong) } else { Ok(()) }
}

/// Skips to the next line that begins with `{`.
pub(super) fn skip_to_object_line(input: &mut Input) -> Result<(), ScanError> {
    let mut at_line_start = false;
    loop {
        let chunk = input.chunk()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let mut taken = 0;
        let mut found = false;
        for &byte in chunk {
            if at_line_start && byte == b'{' {
                found = true;
                break;
            }
            at_line_start = byte == b'\n';
            taken += 1;
        }
        input.consume(taken);
        if found {
            return Ok(());
        }
    }
}

fn unexpected(byte: u8, wanted: &str) -> ScanError {
    ScanError::Syntax(format!("expected {wanted}, found `{}`", char::from(byte).escape_default()))
}

/// What `serde_json` says, without the position, which would be one inside the entry.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(position) => text[..position].to_owned(),
        None => text,
    }
}

/// The member `key` of `object` as a text; nothing when it is absent or null. Numbers and booleans count as their text, since exporters
/// differ.
///
/// # Errors
/// It is a list or an object; `at` says where.
pub(super) fn text(object: &Value, key: &str, at: &str) -> Result<Option<String>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(value)) => Ok(Some(value.to_string())),
        Some(other) => Err(format!("`{at}{key}`: expected a string, found {}", kind(other))),
    }
}

/// Undoes base64, with or without padding and line breaks, since exporters differ.
///
/// # Errors
/// It is no base64; `at` says where.
pub(super) fn base64(text: &str, at: &str) -> Result<Vec<u8>, String> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text: String = text.split_ascii_whitespace().collect();
    LENIENT.decode(text).map_err(|error| format!("`{at}`: not base64: {error}"))
}

/// The member `key` of `object` as a list; empty when it is absent or null.
///
/// # Errors
/// It is something else; `at` says where.
pub(super) fn list<'a>(object: &'a Value, key: &str, at: &str) -> Result<&'a [Value], String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(format!("`{at}{key}`: expected a list, found {}", kind(other))),
    }
}

/// The member `key` of `object` as an object; nothing when it is absent or null.
///
/// # Errors
/// It is something else; `at` says where.
pub(super) fn object<'a>(object: &'a Value, key: &str, at: &str) -> Result<Option<&'a Value>, String> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value @ Value::Object(_)) => Ok(Some(value)),
        Some(other) => Err(format!("`{at}{key}`: expected an object, found {}", kind(other))),
    }
}

/// What a value is, for errors.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
