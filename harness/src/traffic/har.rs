//! HAR 1.1 to 1.3 as browsers and proxies really write it. Walks to `log.entries` and takes one entry at a time. What an entry means
//! is in `entry`.

mod body;
mod entry;
mod lines;

use serde_json::Value;

use super::input::Input;
use super::json::{self, ScanError};
use super::{Format, Options, Reader, TrafficError};
use crate::exchange::Exchange;

/// The entry in the table of formats.
pub(super) const FORMAT: Format = Format {
    name: "har",
    about: "HAR 1.1 to 1.3, from a browser or a proxy",
    detect: |head, _| head.is_object_with(|key, value| key == "log" && value == b'{'),
    reader: |_, _| Ok(Box::new(Har::default())),
};

#[derive(Default)]
struct Har {
    at: At,
    /// How many entries were begun.
    number: u64,
    found_entries: bool,
    buffer: Vec<u8>,
}

/// Where the scanner stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before an archive.
    #[default]
    Start,
    /// Among the members of the archive.
    Archive,
    /// Among the members of `log`.
    Log,
    /// Among the elements of `log.entries`.
    Entries,
    /// Nothing more can be read.
    End,
}

impl Reader for Har {
    fn next(&mut self, input: &mut Input, options: &Options) -> Option<Result<Exchange, TrafficError>> {
        loop {
            match self.element(input) {
                Ok(true) => {}
                Ok(false) => {
                    self.at = At::End;
                    return None;
                }
                Err(error) => {
                    if !matches!(error, ScanError::TooLong) {
                        self.at = At::End;
                    }
                    let place = self.place();
                    return Some(Err(TrafficError::scan(input, error, &place)));
                }
            }
            let place = self.place();
            if mend_surrogates(&mut self.buffer) {
                input.note(|| "halves of surrogate pairs in texts are read as U+FFFD".to_owned());
            }
            let exchange = serde_json::from_slice::<Value>(&self.buffer)
                .map_err(|error| json::reason(&error))
                .and_then(|value| entry::exchange(&value, options));
            match exchange {
                Ok(Some(mut exchange)) => {
                    exchange.origin = format!("{}: {place}", input.label);
                    return Some(Ok(exchange));
                }
                Ok(None) => {
                    input.note(|| "entries that were never sent (`data:`, `blob:` …) are left out".to_owned())
                }
                Err(reason) => return Some(Err(TrafficError::entry(input, &place, reason))),
            }
        }
    }
}

impl Har {
    fn place(&self) -> String {
        if self.number == 0 { "before the first entry".to_owned() } else { format!("entry {}", self.number) }
    }

    /// Copies the next element of `log.entries` into the buffer; false at the end.
    fn element(&mut self, input: &mut Input) -> Result<bool, ScanError> {
        loop {
            match self.at {
                At::Start => {
                    if json::peek(input)?.is_none() {
                        return Ok(false);
                    }
                    json::expect(input, b'{')?;
                    self.at = At::Archive;
                }
                At::Archive => match json::member(input, &mut self.buffer)? {
                    None => {
                        self.at = At::Start;
                        if !self.found_entries {
                            return Err(ScanError::Syntax("there is no `log.entries`".to_owned()));
                        }
                    }
                    Some(key) if key == "log" && json::peek(input)? == Some(b'{') => {
                        input.consume(1);
                        self.at = At::Log;
                    }
                    Some(_) => skip(input)?,
                },
                At::Log => match json::member(input, &mut self.buffer)? {
                    None => self.at = At::Archive,
                    Some(key) if key == "entries" => {
                        json::expect(input, b'[')?;
                        self.found_entries = true;
                        self.at = At::Entries;
                    }
                    Some(_) => skip(input)?,
                },
                At::Entries => match json::peek(input)? {
                    None => {
                        self.number += 1;
                        return Err(ScanError::CutOff);
                    }
                    Some(b',') => input.consume(1),
                    Some(b']') => {
                        input.consume(1);
                        self.at = At::Log;
                    }
                    Some(_) => {
                        self.number += 1;
                        json::value(input, Some(&mut self.buffer), false)?;
                        return Ok(true);
                    }
                },
                At::End => return Ok(false),
            }
        }
    }
}

/// Skips a value of any length.
fn skip(input: &mut Input) -> Result<(), ScanError> {
    match json::value(input, None, false) {
        Err(ScanError::TooLong) => Ok(()),
        other => other,
    }
}

/// Replaces halves of surrogate pairs, which browsers write where they cut a text and which no UTF-8 can carry; whether there were any.
fn mend_surrogates(json: &mut [u8]) -> bool {
    let unit = |json: &[u8], at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut mended = false;
    let mut at = 0;
    while let Some(escape) = memchr::memchr(b'\\', &json[at.min(json.len())..]) {
        at += escape;
        at += match unit(json, at) {
            Some(0xd800..=0xdbff) if matches!(unit(json, at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                json[at + 2..at + 6].copy_from_slice(b"fffd");
                mended = true;
                6
            }
            _ => 2,
        };
    }
    mended
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(json: &str, want: &str) {
        let mut bytes = json.as_bytes().to_vec();
        assert_eq!(super::mend_surrogates(&mut bytes), json != want);
        assert_eq!(String::from_utf8(bytes).unwrap(), want);
    }

    #[test]
    fn halves_of_surrogate_pairs() {
        check(r#""a\\ud83d""#, r#""a\\ud83d""#);
        check(r#""\ud83d\ude00\n""#, r#""\ud83d\ude00\n""#);
        check(r#""\ud83d""#, r#""\ufffd""#);
        check(r#""\uDE00\uD83Dx\ud83d\ud83d\ude00""#, r#""\ufffd\ufffdx\ufffd\ud83d\ude00""#);
        check(r#""\u12"\"#, r#""\u12"\"#);
    }
}
