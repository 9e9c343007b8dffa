//! Envoy's HTTP tap as JSON: traces one after the other, a line each, in a list, or one alone; streamed traces are put together when
//! their segments follow one another. What a trace means is in `trace`. Knows no other output of Envoy.

mod trace;

use std::collections::VecDeque;

use serde_json::Value;

use self::trace::Streamed;
use super::input::Input;
use super::json::{self, ScanError};
use super::{Format, Options, Reader, TrafficError};
use crate::exchange::Exchange;

/// The entry in the table of formats.
pub(super) const FORMAT: Format = Format {
    name: "tap",
    about: "Envoy's HTTP tap as JSON",
    detect: |head, _| {
        head.is_object_with(|key, _| trace::is_wrapper(key))
            || head.is_object_with(|key, value| key == "request" && value == b'{')
                && !head.is_object_with(|key, _| !trace::is_buffered_member(key))
    },
    reader: |_, _| Ok(Box::new(Tap::default())),
};

#[derive(Default)]
struct Tap {
    /// How many JSON values were begun.
    number: u64,
    buffer: Vec<u8>,
    /// The streamed trace whose segments are being read.
    open: Option<Streamed>,
    /// The streamed trace of which a segment was refused: its others are passed over.
    refused: Option<String>,
    ready: VecDeque<Result<Exchange, TrafficError>>,
    ended: bool,
}

impl Reader for Tap {
    fn next(&mut self, input: &mut Input, options: &Options) -> Option<Result<Exchange, TrafficError>> {
        while self.ready.is_empty() && !self.ended {
            match self.value(input) {
                Ok(true) => self.take(input, options),
                Ok(false) => {
                    self.ended = true;
                    self.close(input, options);
                }
                Err(error) => self.fail(input, error),
            }
        }
        self.ready.pop_front()
    }
}

impl Tap {
    fn place(&self) -> String {
        format!("trace {}", self.number)
    }

    /// Copies the next value into the buffer; false at the end.
    fn value(&mut self, input: &mut Input) -> Result<bool, ScanError> {
        loop {
            match json::peek(input)? {
                None => return Ok(false),
                // Between traces, and around them when they are a list.
                Some(b',' | b'[' | b']') => input.consume(1),
                Some(_) => {
                    self.number += 1;
                    json::value(input, Some(&mut self.buffer), true)?;
                    return Ok(true);
                }
            }
        }
    }

    fn take(&mut self, input: &Input, options: &Options) {
        let place = self.place();
        let value = match serde_json::from_slice::<Value>(&self.buffer) {
            Ok(value) => value,
            Err(error) => return self.refuse(input, &json::reason(&error)),
        };
        match trace::segment(&value) {
            Some(Ok(segment)) => {
                if self.open.as_ref().is_some_and(|open| open.id() != segment.id()) {
                    self.close(input, options);
                }
                if self.refused.as_deref() == Some(segment.id()) {
                    return;
                }
                let open = match self.open.take() {
                    Some(open) => open,
                    None => Streamed::new(&segment, &place),
                };
                match open.with(&segment, input.limit()) {
                    Ok(open) => self.open = Some(open),
                    Err(reason) => {
                        self.refused = Some(segment.id().to_owned());
                        self.refuse(input, &reason);
                    }
                }
            }
            Some(Err(reason)) => self.refuse(input, &reason),
            None => {
                self.close(input, options);
                match trace::buffered(&value, options) {
                    Ok(exchange) => self.push(input, &place, exchange),
                    Err(reason) => self.refuse(input, &reason),
                }
            }
        }
    }

    /// Ends the streamed trace that is open.
    fn close(&mut self, input: &Input, options: &Options) {
        let Some(open) = self.open.take() else { return };
        let place = open.place().to_owned();
        match open.exchange(options) {
            Ok(exchange) => self.push(input, &place, exchange),
            Err(reason) => self.ready.push_back(Err(TrafficError::entry(input, &place, reason))),
        }
    }

    fn push(&mut self, input: &Input, place: &str, mut exchange: Exchange) {
        exchange.origin = format!("{}: {place}", input.label);
        self.ready.push_back(Ok(exchange));
    }

    fn refuse(&mut self, input: &Input, reason: &str) {
        self.ready.push_back(Err(TrafficError::entry(input, &self.place(), reason)));
    }

    /// After a value that could not be copied: goes on at the next line that begins one.
    fn fail(&mut self, input: &mut Input, error: ScanError) {
        if let Some(open) = self.open.take() {
            let reason =
                "is streamed, and one of its segments may be the one that cannot be read; it is left out";
            self.ready.push_back(Err(TrafficError::entry(input, open.place(), reason)));
        }
        self.ended = matches!(error, ScanError::Io(_) | ScanError::CutOff);
        let resume = matches!(error, ScanError::Syntax(_));
        self.ready.push_back(Err(TrafficError::scan(input, error, &self.place())));
        if resume && let Err(error) = json::skip_to_object_line(input) {
            self.ended = true;
            self.ready.push_back(Err(TrafficError::scan(input, error, &self.place())));
        }
    }
}
