//! The exchanges of a replay in the order in which they came: those to begin, those in flight, and those that are over and wait for the ones
//! before them, so that outcomes come out in the order of the input.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::clock::nanoseconds;
use crate::exchange::Exchange;
use crate::outcome::Outcome;

/// How many exchanges are known before the first of them begins: recordings of access logs are in the order of the ends, and who begins
/// earlier must begin earlier.
pub const LOOK_AHEAD: usize = 256;

/// With so many bytes of bodies the first begins earlier: the memory of a replay is bounded.
const LOOK_AHEAD_BYTES: usize = 16 << 20;

fn bodies(exchange: &Exchange) -> usize {
    exchange.request.body.len() + exchange.response.as_ref().map_or(0, |response| response.body.len())
}

/// When an exchange begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// At the time of its recording, whatever else is going on; where the recording does not say: as [`Begin::Next`].
    #[default]
    Recorded,
    /// When all exchanges before it are over, and not before its recorded time.
    Next,
    /// So long after the exchange before it began, whether that one is over or not. The first exchange: after the start of the replay.
    After(Duration),
}

/// When an exchange begins, in terms of the virtual clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    At(u64),
    /// When all before it are over and not before.
    Next(u64),
    After(Duration),
}

#[derive(Debug)]
struct Flight {
    number: u64,
    exchange: Exchange,
    when: When,
    /// Its begin is among the starts, or over.
    planned: bool,
    /// When it began.
    begin_ns: Option<u64>,
    outcome: Option<Outcome>,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    flights: VecDeque<Flight>,
    /// Exchanges whose time is known and that have not begun, by time and number.
    starts: BinaryHeap<Reverse<(u64, u64)>>,
    /// How many exchanges have not begun.
    to_begin: usize,
    /// How many bytes their bodies have.
    bytes: usize,
    /// How many of the first flights are over.
    over: usize,
    /// When the last exchange that left the line, or was replayed alone, began.
    before_ns: Option<u64>,
}

impl Line {
    /// Adds an exchange at the end.
    pub(super) fn push(&mut self, number: u64, exchange: Exchange, when: When, now: u64) {
        self.bytes += bodies(&exchange);
        let flight = Flight { number, exchange, when, planned: false, begin_ns: None, outcome: None };
        self.flights.push_back(flight);
        self.to_begin += 1;
        self.foresee(self.flights.len() - 1, now);
    }

    /// When the next exchange begins.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.starts.peek().map(|Reverse((due, _))| *due)
    }

    /// Whether so many exchanges have not begun that the next may, whatever comes.
    pub(super) fn is_full(&self) -> bool {
        self.to_begin >= LOOK_AHEAD || self.bytes >= LOOK_AHEAD_BYTES
    }

    /// Takes the number of the next exchange that begins.
    pub(super) fn pop_start(&mut self) -> Option<u64> {
        self.starts.pop().map(|Reverse((_, number))| number)
    }

    /// The exchange of a number, as long as it is here.
    pub(super) fn exchange(&self, number: u64) -> Option<&Exchange> {
        self.place(number).map(|place| &self.flights[place].exchange)
    }

    /// Takes an exchange out for a moment.
    pub(super) fn take(&mut self, number: u64) -> Option<Exchange> {
        self.place(number).map(|place| std::mem::take(&mut self.flights[place].exchange))
    }

    /// Puts an exchange back.
    pub(super) fn put(&mut self, number: u64, exchange: Exchange) {
        if let Some(place) = self.place(number) {
            self.flights[place].exchange = exchange;
        }
    }

    /// Notes that an exchange has begun: others may begin so long after it.
    pub(super) fn begun(&mut self, number: u64, exchange: &Exchange, now: u64) {
        let Some(place) = self.place(number) else {
            self.before_ns = Some(now);
            return;
        };
        self.flights[place].begin_ns = Some(now);
        let bodies = bodies(exchange);
        self.to_begin -= 1;
        self.bytes = self.bytes.saturating_sub(bodies);
        if let Some(next) = self.flights.get(place + 1)
            && matches!(next.when, When::After(_))
        {
            self.foresee(place + 1, now);
        }
    }

    /// Notes what came of an exchange: others may begin when all before them are over. Gives the outcome back when the exchange is none of
    /// the line's.
    pub(super) fn finish(&mut self, number: u64, outcome: Outcome, now: u64) -> Option<Outcome> {
        let Some(place) = self.place(number) else { return Some(outcome) };
        self.flights[place].outcome = Some(outcome);
        while self.flights.get(self.over).is_some_and(|flight| flight.outcome.is_some()) {
            self.over += 1;
        }
        if let Some(next) = self.flights.get(self.over)
            && matches!(next.when, When::Next(_))
        {
            self.foresee(self.over, now);
        }
        None
    }

    /// Takes the first exchange, if it is over.
    pub(super) fn pop_over(&mut self) -> Option<(Exchange, Outcome)> {
        let outcome = self.flights.front_mut()?.outcome.take()?;
        let flight = self.flights.pop_front()?;
        self.over -= 1;
        self.before_ns = flight.begin_ns;
        Some((flight.exchange, outcome))
    }

    /// Plans the begin of an exchange, if it is known now and was not before.
    fn foresee(&mut self, place: usize, now: u64) {
        let before = match place.checked_sub(1) {
            Some(before) => self.flights[before].begin_ns,
            None => Some(self.before_ns.unwrap_or(now)),
        };
        let over = self.over;
        let flight = &mut self.flights[place];
        let due = match flight.when {
            When::At(due) => Some(due),
            When::Next(due) => (over >= place).then_some(due),
            When::After(later) => before.map(|before| before.saturating_add(nanoseconds(later))),
        };
        if let Some(due) = due.filter(|_| !flight.planned) {
            flight.planned = true;
            self.starts.push(Reverse((due.max(now), flight.number)));
        }
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.flights.binary_search_by_key(&number, |flight| flight.number).ok()
    }
}
