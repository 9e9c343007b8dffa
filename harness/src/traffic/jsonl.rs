//! Weir's own recordings: one exchange a line, lossless, versioned. `RECORDINGS.md` specifies them field by field. Knows no other format.

pub(crate) mod wire;

use std::io::{self, Write};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::input::{Input, Line};
use super::normal;
use super::{Format, Options, Reader, TrafficError, json};
use crate::exchange::{Downstream, Exchange, Message, Protocol};

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

/// The entry in the table of formats.
pub(super) const FORMAT: Format = Format {
    name: "jsonl",
    about: "Weir's JSON lines",
    detect: |head, _| head.is_object_with(|key, _| key == "weir"),
    reader: |_, _| Ok(Box::new(Lines::default())),
};

/// Writes one exchange as one line.
///
/// # Errors
/// What `out` says.
pub fn write_jsonl(exchange: &Exchange, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &wire::Line::of(exchange))?;
    out.write_all(b"\n")
}

/// The JSON Schema of one line.
#[must_use]
pub fn jsonl_schema() -> Value {
    schemars::schema_for!(wire::Line<'static>).to_value()
}

#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    number: u64,
}

impl Reader for Lines {
    fn next(&mut self, input: &mut Input, _: &Options) -> Option<Result<Exchange, TrafficError>> {
        loop {
            let found = match input.line(&mut self.line) {
                Ok(found) => found,
                Err(error) => {
                    return Some(Err(TrafficError::read(input, error, &format!("line {}", self.number + 1))));
                }
            };
            self.number += 1;
            let place = || format!("line {}", self.number);
            match found {
                Line::End => return None,
                Line::TooLong => return Some(Err(TrafficError::too_long(input, &place()))),
                Line::Whole | Line::Last if self.line.trim_ascii().is_empty() => {}
                Line::Whole | Line::Last => return Some(self.exchange(input, found == Line::Last)),
            }
        }
    }
}

impl Lines {
    fn exchange(&self, input: &Input, last: bool) -> Result<Exchange, TrafficError> {
        let place = format!("line {}", self.number);
        // `serde` would take a list for a structure too.
        if !self.line.trim_ascii_start().starts_with(b"{") {
            return Err(TrafficError::entry(input, &place, "expected an object"));
        }
        let line: wire::Line<'_> = match serde_json::from_slice(&self.line) {
            Ok(line) => line,
            Err(error) if last && error.is_eof() => return Err(TrafficError::cut_off(input, &place)),
            Err(error) => return Err(TrafficError::entry(input, &place, self.explain(&error))),
        };
        if line.weir != VERSION {
            return Err(TrafficError::entry(input, &place, other_version(&line.weir.to_string())));
        }
        line.exchange(|| format!("{}: {place}", input.label))
            .map_err(|reason| TrafficError::entry(input, &place, reason))
    }

    /// Why a line is refused: its version when that is another one, since then everything else may differ too.
    fn explain(&self, error: &serde_json::Error) -> String {
        #[derive(Deserialize)]
        struct Version {
            weir: Option<Value>,
        }
        match serde_json::from_slice::<Version>(&self.line) {
            Ok(Version { weir: Some(version) }) if version != VERSION => other_version(&version.to_string()),
            Ok(Version { weir: None }) => format!("`weir` is missing: expected `\"weir\": {VERSION}`"),
            _ => format!("column {}: {}", error.column(), json::reason(error)),
        }
    }
}

fn other_version(version: &str) -> String {
    format!("`weir` is {version}: this release reads version {VERSION}")
}

impl<'a> wire::Line<'a> {
    fn of(exchange: &'a Exchange) -> Self {
        let downstream = &exchange.downstream;
        Self {
            weir: VERSION,
            origin: Some((&*exchange.origin).into()),
            start_ns: exchange.start_ns,
            duration_ns: exchange.duration.map(|duration| duration.as_nanos()),
            abort_after_ns: exchange.abort_after.map(|duration| duration.as_nanos()),
            downstream: wire::Downstream {
                address: downstream.address,
                protocol: match downstream.protocol {
                    Protocol::Http10 => wire::Protocol::Http10,
                    Protocol::Http11 => wire::Protocol::Http11,
                    Protocol::Http2 => wire::Protocol::Http2,
                    Protocol::Http3 => wire::Protocol::Http3,
                },
                connection_id: downstream.connection_id,
                tls: downstream.tls,
            },
            request: wire::Message::of(&exchange.request),
            response: exchange.response.as_ref().map(wire::Message::of),
            upstream_cluster: exchange.upstream_cluster.as_deref().map(Into::into),
        }
    }

    fn exchange(self, origin: impl FnOnce() -> String) -> Result<Exchange, String> {
        let duration = self.duration_ns.map(|nanos| duration_of(nanos).ok_or("`duration_ns` is too large"));
        let abort_after =
            self.abort_after_ns.map(|nanos| duration_of(nanos).ok_or("`abort_after_ns` is too large"));
        let mut request = self.request.message().map_err(|reason| format!("`request`: {reason}"))?;
        request.headers = normal::request(request.headers, normal::Known::default())
            .map_err(|reason| format!("`request.headers`: {reason}"))?;
        let response = self.response.map(|message| {
            let mut response = message.message()?;
            response.headers = normal::response(response.headers, None)?;
            Ok::<_, String>(response)
        });
        Ok(Exchange {
            origin: self.origin.map_or_else(origin, Into::into),
            start_ns: self.start_ns,
            duration: duration.transpose()?,
            abort_after: abort_after.transpose()?,
            downstream: Downstream {
                address: self.downstream.address,
                protocol: match self.downstream.protocol {
                    wire::Protocol::Http10 => Protocol::Http10,
                    wire::Protocol::Http11 => Protocol::Http11,
                    wire::Protocol::Http2 => Protocol::Http2,
                    wire::Protocol::Http3 => Protocol::Http3,
                },
                connection_id: self.downstream.connection_id,
                tls: self.downstream.tls,
            },
            request,
            response: response.transpose().map_err(|reason| format!("`response.headers`: {reason}"))?,
            upstream_cluster: self.upstream_cluster.map(Into::into),
        })
    }
}

fn duration_of(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

impl<'a> wire::Message<'a> {
    fn of(message: &'a Message) -> Self {
        Self {
            headers: wire::Lines::of(&message.headers),
            body: wire::Bytes::of(&message.body),
            body_truncated: message.body_truncated,
            trailers: wire::Lines::of(&message.trailers),
        }
    }

    fn message(self) -> Result<Message, String> {
        Ok(Message {
            headers: self.headers.into_headers(),
            body: self.body.into_vec(),
            body_truncated: self.body_truncated,
            trailers: normal::trailers(self.trailers.into_headers())?,
        })
    }
}
