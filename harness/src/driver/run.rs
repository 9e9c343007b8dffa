//! The loop: what is due next is done next, until what was asked for is there.

use std::time::Duration;

use super::Replay;
use super::events::{Events, What};
use super::line::{Begin, When};
use super::ticks::calls_in_row;
use crate::clock::nanoseconds;
use crate::exchange::Exchange;
use crate::host::{Slot, StreamId};
use crate::outcome::Outcome;

/// How long [`Replay::finish`] waits for streams and callouts at most.
const GRACE: Duration = Duration::from_secs(600);

/// How long ticks run in [`Replay::finish`] when nothing else is left.
const LAST_TICKS: Duration = Duration::from_secs(10);

/// An exchange that is not in the line, with its number.
pub(super) type Alone<'a> = Option<(u64, &'a Exchange)>;

/// What happens next.
enum Next {
    /// The answer of a call is delivered.
    Call,
    /// Something happens to a stream.
    Event,
    /// A timer of a root context goes off.
    Tick,
    /// An exchange begins.
    Begin,
}

impl Replay {
    /// Replays one exchange and waits until it is over. Its time is that of its recording, or later if that is over; without one it begins now.
    ///
    /// With several workers it has its turn after those that have been taken into the replay before, and their outcomes are not told.
    pub fn exchange(&mut self, exchange: &Exchange) -> Outcome {
        if self.turns.is_some() {
            return self.exchange_among(exchange);
        }
        let begin = self.recorded(exchange.start_ns);
        self.start_clock(begin);
        self.pass_time(begin);
        let number = self.exchanges;
        self.exchanges += 1;
        let mut outcome = self.begin_stream(number, exchange, 0, None);
        while outcome.is_none() {
            let Some(next) = self.next() else { break };
            outcome = self.step(next, Some((number, exchange)));
        }
        outcome.unwrap_or_default()
    }

    /// Takes an exchange into the replay. It begins at its time, and outcomes come out of [`Replay::next_ready`] and
    /// [`Replay::next_outcome`].
    pub fn begin(&mut self, exchange: Exchange, begin: Begin) {
        let recorded = exchange.start_ns.map(|recorded| self.recorded(Some(recorded)));
        let now = self.host.clock.now_ns();
        let when = match (begin, recorded) {
            (Begin::Recorded, Some(due)) => When::At(due),
            (Begin::Recorded | Begin::Next, _) => When::Next(recorded.unwrap_or(now)),
            (Begin::After(later), _) => When::After(later),
        };
        // Before the first exchange the clock is not yet the recording's.
        let now = if self.begun || recorded.is_none() { now } else { 0 };
        self.line.push(self.exchanges, exchange, when, now);
        self.exchanges += 1;
    }

    /// What is begun from now on is another recording: it begins no earlier than what came before.
    pub fn begin_recording(&mut self) {
        self.new_recording = true;
    }

    /// The next exchange in the order of the input and what came of it, as far as that can be told before more exchanges are known:
    /// the last 256, or 16 MiB of bodies, are kept back.
    pub fn next_ready(&mut self) -> Option<(Exchange, Outcome)> {
        loop {
            if let Some(over) = self.line.pop_over() {
                return Some(over);
            }
            if !self.line.is_full() || !self.step_line() {
                return None;
            }
        }
    }

    /// The next exchange in the order of the input and what came of it; absent when all are over.
    pub fn next_outcome(&mut self) -> Option<(Exchange, Outcome)> {
        loop {
            if let Some(over) = self.line.pop_over() {
                return Some(over);
            }
            if !self.step_line() {
                return None;
            }
        }
    }

    /// Replays exchanges, each at the time of its recording, and yields them with their outcomes in their order.
    pub fn outcomes<I: IntoIterator<Item = Exchange>>(&mut self, exchanges: I) -> Outcomes<'_, I::IntoIter> {
        Outcomes { replay: self, exchanges: exchanges.into_iter().fuse() }
    }

    /// Lets time pass: what is due happens.
    pub fn advance(&mut self, duration: Duration) {
        let until = self.host.clock.now_ns().saturating_add(nanoseconds(duration));
        self.pass_time(until);
        // What is recorded afterwards counts from here.
        if let Some(offset) = &mut self.offset_ns {
            *offset += i128::from(nanoseconds(duration));
        }
    }

    /// Ends the replay: what is in flight and the answers of callouts are waited for, ten minutes of the virtual clock at most, ticks run for
    /// ten seconds more; then the proxy shuts down, and root contexts are done and deleted (`LOAD-44`).
    pub fn finish(&mut self) {
        let until = self.host.clock.now_ns().saturating_add(nanoseconds(GRACE));
        while !self.in_flight.is_empty() || !self.host.calls.is_empty() || self.line.next_due().is_some() {
            match self.next() {
                Some(next) if next.0 <= until => _ = self.step(next, None),
                _ => break,
            }
        }
        if self.host.roots.iter().any(|root| root.tick.is_some()) {
            self.pass_time(self.host.clock.now_ns().saturating_add(nanoseconds(LAST_TICKS)));
        }
        for root in 0..self.host.roots.len() {
            self.finish_root(root);
        }
        self.host.roots.clear();
        self.host.calls.clear();
        let left = std::mem::take(&mut self.host.apart);
        self.apart.append(left);
    }

    /// Does what happens up to a time, and moves the clock there.
    pub(super) fn pass_time(&mut self, until: u64) {
        while let Some(next) = self.next_until(until).filter(|(due, _)| *due <= until) {
            self.step(next, None);
        }
        self.host.clock.reach(until);
    }

    /// Does what is next for the exchanges of the line, if anything is left to do for them.
    fn step_line(&mut self) -> bool {
        if self.in_flight.is_empty() && self.line.next_due().is_none() {
            return false;
        }
        let Some(next) = self.next() else { return false };
        self.step(next, None);
        true
    }

    fn next(&mut self) -> Option<(u64, Next)> {
        self.next_until(u64::MAX)
    }

    /// What is due next and when; of one moment in the order of [`Next`]. Nothing is planned beyond `until`, so ticks need not run for it.
    fn next_until(&mut self, until: u64) -> Option<(u64, Next)> {
        let begin = self.line.next_due();
        if !self.begun
            && let Some(begin) = begin
        {
            self.start_clock(begin);
        }
        if self.is_quiet() {
            self.skip_ticks(begin.unwrap_or(u64::MAX).min(until));
        }
        self.bound_ticks(until);
        let dues = [
            (self.host.calls.next_due(), Next::Call),
            (self.next_event(), Next::Event),
            (self.next_tick(), Next::Tick),
            (begin, Next::Begin),
        ];
        // The first of equals is taken.
        dues.into_iter().filter_map(|(due, next)| Some((due?, next))).min_by_key(|(due, _)| *due)
    }

    /// Does what is next. Gives the outcome of the exchange that is replayed alone, if it is over.
    fn step(&mut self, (due, next): (u64, Next), alone: Alone<'_>) -> Option<Outcome> {
        if due > self.host.clock.now_ns() || !matches!(next, Next::Call) {
            self.calls_left = calls_in_row(self.host.calls.len());
        }
        self.host.clock.reach(due);
        if matches!(next, Next::Tick) {
            self.ticks_in_row += 1
        } else {
            self.ticks_in_row = 0
        }
        if self.turns.is_some() {
            self.moment();
            return None;
        }
        match next {
            Next::Call => self.answer_call(),
            Next::Event => self.event(0, alone),
            Next::Tick => self.tick(None),
            Next::Begin => {
                let number = self.line.pop_start()?;
                let exchange = self.line.take(number)?;
                let outcome = self.begin_stream(number, &exchange, 0, alone);
                self.line.put(number, exchange);
                return outcome;
            }
        }
        self.settle([None, alone])
    }

    /// Begins a stream on a worker. Gives the outcome of an exchange that is none of the line's, if it is over.
    pub(super) fn begin_stream(
        &mut self,
        number: u64,
        exchange: &Exchange,
        worker: usize,
        alone: Alone<'_>,
    ) -> Option<Outcome> {
        self.begun = true;
        self.calls_left = calls_in_row(self.host.calls.len());
        self.reload_failed(worker);
        let at = self.open(number, exchange, worker);
        let id = StreamId { slot: at, number };
        let now = self.host.clock.now_ns();
        if !self.timeouts.request.is_zero() {
            let due = now.saturating_add(nanoseconds(self.timeouts.request));
            self.events[worker].push(due, id, What::RequestTimeout);
        }
        if let Some(after) = exchange.abort_after {
            self.events[worker].push(now.saturating_add(nanoseconds(after)), id, What::Abort);
        }
        self.line.begun(number, exchange, self.host.clock.now_ns());
        self.message(at, false, &exchange.request.body, &exchange.request.trailers, true);
        let outcome = self.settle([Some((number, exchange)), alone]);
        self.arm_idle(at, number);
        outcome
    }

    /// When the next thing happens to a stream.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.events.iter().filter_map(Events::next_due).min()
    }

    /// Something happens to a stream of a worker.
    pub(super) fn event(&mut self, worker: usize, alone: Alone<'_>) {
        let Some((id, what)) = self.events[worker].pop() else { return };
        if !self.is_live(id) {
            return;
        }
        let at = id.slot;
        match what {
            What::Answer => {
                match alone {
                    Some((number, exchange)) if number == id.number => {
                        self.answer(at, exchange.response.as_ref())
                    }
                    _ => {
                        let exchange = self.line.take(id.number);
                        self.answer(at, exchange.as_ref().and_then(|exchange| exchange.response.as_ref()));
                        if let Some(exchange) = exchange {
                            self.line.put(id.number, exchange);
                        }
                    }
                }
                self.arm_idle(at, id.number);
            }
            What::Timeout => self.route_timeout(at),
            What::Idle => self.idle(at),
            What::RequestTimeout => self.request_timeout(at),
            What::Abort => self.client_leaves(at),
        }
    }

    /// Sends upstream what has come to the router, and closes what is over. `known` are exchanges that are not in the line now. Gives the
    /// outcome of an exchange that is none of the line's, if it is over.
    pub(super) fn settle(&mut self, known: [Alone<'_>; 2]) -> Option<Outcome> {
        while let Some(at) = self.asked.pop_front() {
            let number = self.host.streams[at].number;
            let known = known.iter().flatten().find(|(own, _)| *own == number).map(|(_, exchange)| *exchange);
            let exchange = known.or_else(|| self.line.exchange(number));
            let recorded = exchange.and_then(|exchange| exchange.response.as_ref());
            let events = &mut self.events[self.host.streams[at].worker];
            super::upstream::ask(&mut self.host, &mut self.lives[at].run, events, at, recorded);
        }
        let mut alone = None;
        while let Some(at) = self.ended.pop_front() {
            let number = self.host.streams[at].number;
            let outcome = self.close(at);
            alone = self.line.finish(number, outcome, self.host.clock.now_ns()).or(alone);
        }
        alone
    }

    /// Whether nothing is under way that ticks could matter to.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty() && self.host.calls.is_empty()
    }

    pub(super) fn is_live(&self, id: StreamId) -> bool {
        let stream = &self.host.streams[id.slot];
        stream.number == id.number && stream.phase != crate::host::Phase::None
    }

    /// Notes that a stream is over; it is closed when everything that runs has returned.
    pub(super) fn over(&mut self, at: Slot) {
        let run = &mut self.lives[at].run;
        if !run.over {
            run.over = true;
            self.ended.push_back(at);
        }
    }
}

/// Outcomes in the order of the exchanges: see [`Replay::outcomes`].
#[derive(Debug)]
pub struct Outcomes<'a, I: Iterator> {
    replay: &'a mut Replay,
    exchanges: std::iter::Fuse<I>,
}

impl<I: Iterator<Item = Exchange>> Iterator for Outcomes<'_, I> {
    type Item = (Exchange, Outcome);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(over) = self.replay.next_ready() {
                return Some(over);
            }
            match self.exchanges.next() {
                Some(exchange) => self.replay.begin(exchange, Begin::Recorded),
                None => return self.replay.next_outcome(),
            }
        }
    }
}
