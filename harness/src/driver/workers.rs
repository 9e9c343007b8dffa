//! Several workers: who serves a connection, and what each thread has to do at one moment of the virtual clock.
//!
//! Threads are the proxy's: the main thread is 0, worker `w` is `w + 1`. With one worker none of this is used: what is due runs in the order of
//! time, whosever it is.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;

use super::Replay;
use super::StartError;
use super::ticks::calls_in_row;
use crate::clock::Random;
use crate::exchange::Exchange;
use crate::host::Slot;
use crate::outcome::Outcome;
use crate::vm::Vm;

/// The thread of a worker.
pub(super) fn thread_of(worker: usize) -> usize {
    worker + 1
}

/// Sets the seed of who runs when apart from all others of the same number.
const SALT: u64 = 0x7f4a_7c15_9e37_79b9;

/// The threads of a proxy with several workers, and whose turn it is.
pub(super) struct Turns {
    workers: usize,
    seed: u64,
    pub(super) random: Random,
    /// Whose turn it is.
    pub(super) current: usize,
    /// By thread: where one that stopped within a callback waits for its next turn.
    pub(super) waiting: Vec<Option<Sender<Box<Replay>>>>,
    /// Where the replay is waited for when nobody has anything left to do at this moment.
    pub(super) hub: Option<Sender<Box<Replay>>>,
    /// By thread: exchanges that begin now.
    starts: Vec<VecDeque<u64>>,
    /// By thread: plugins to start, with their VMs and the place in the chain of an equal one.
    pub(super) plugins: Vec<VecDeque<ToStart>>,
    /// Why a plugin did not start on a worker.
    pub(super) failed: Option<StartError>,
    /// What stands in the place of VMs that run.
    pub(super) spare: Vec<Vm>,
}

/// A plugin that is to be started on a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToStart {
    pub(super) plugin: usize,
    pub(super) vm: usize,
    /// An equal plugin before it, whose root it shares.
    pub(super) same: Option<usize>,
}

/// Mixes a number well (the finalizer of SplitMix64).
fn mix(seed: u64, number: u64) -> u64 {
    Random::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_u64()
}

impl Turns {
    /// The threads of so many workers, more than one.
    pub(super) fn new(workers: usize, seed: u64) -> Self {
        Self {
            workers,
            seed,
            random: Random::new(mix(seed, SALT)),
            current: 0,
            waiting: std::iter::repeat_with(|| None).take(workers + 1).collect(),
            hub: None,
            starts: vec![VecDeque::new(); workers + 1],
            plugins: vec![VecDeque::new(); workers + 1],
            failed: None,
            spare: Vec::new(),
        }
    }

    /// The worker of an exchange: that of its connection, by the seed. A connection is known by its id, else by the client's address where that
    /// has a port; an exchange of which neither was recorded has one of its own.
    fn worker_of(&self, number: u64, exchange: &Exchange) -> usize {
        let downstream = &exchange.downstream;
        let connection = match (downstream.connection_id, downstream.address) {
            (Some(id), _) => mix(1, id),
            (None, Some(address)) if address.port() != 0 => {
                address.to_string().bytes().fold(2, |key, byte| mix(key, u64::from(byte)))
            }
            _ => mix(3, number),
        };
        let workers = u64::try_from(self.workers).unwrap_or(1);
        usize::try_from(mix(self.seed ^ SALT, connection) % workers).unwrap_or(0)
    }
}

impl Replay {
    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.turns.as_ref().map_or(1, |turns| turns.workers)
    }

    /// The thread of a root context, for the report where there are several.
    pub(super) fn thread_name(&self, root: usize) -> String {
        match (&self.turns, self.host.roots.get(root).map(|root| root.thread)) {
            (None, _) | (_, None) => String::new(),
            (_, Some(0)) => " on the main thread".to_owned(),
            (_, Some(thread)) => format!(" on worker {}", thread - 1),
        }
    }

    /// Whether a root context is of the thread whose turn it is; with one worker every one.
    pub(super) fn is_of_current(&self, root: usize) -> bool {
        let Some(turns) = &self.turns else { return true };
        self.host.roots.get(root).is_some_and(|root| root.thread == turns.current)
    }

    /// Whether a stream is of the thread whose turn it is; with one worker every one.
    pub(super) fn is_own(&self, at: Slot) -> bool {
        let Some(turns) = &self.turns else { return true };
        turns.current == thread_of(self.host.streams[at].worker)
    }

    /// Replays one exchange: what [`Replay::exchange`] is with several workers.
    pub(super) fn exchange_among(&mut self, exchange: &Exchange) -> Outcome {
        self.begin(exchange.clone(), super::Begin::Recorded);
        // Those before it in the line are over first, and it is the last.
        std::iter::from_fn(|| self.next_outcome()).last().map(|(_, outcome)| outcome).unwrap_or_default()
    }

    /// Lets every thread do what is due at this moment, each its own things in their order, and all of them in an order by the seed.
    pub(super) fn moment(&mut self) {
        self.calls_left = calls_in_row(self.host.calls.len());
        self.take_turns();
    }

    /// Who is next: one that waits within a callback, or one that has something to do now; absent when there is none. `me` is within a callback
    /// and could go on.
    pub(super) fn whose_turn(&mut self, me: Option<usize>) -> Option<usize> {
        self.assign_starts();
        let can: Vec<usize> = (0..=self.workers())
            .filter(|thread| Some(*thread) == me || self.is_waiting(*thread) || self.has_work(*thread))
            .collect();
        let turns = self.turns.as_mut()?;
        match can[..] {
            [] => None,
            [only] => Some(only),
            _ => {
                let among = u64::try_from(can.len()).unwrap_or(1);
                can.get(usize::try_from(turns.random.next_u64() % among).unwrap_or(0)).copied()
            }
        }
    }

    /// Whether a thread stopped within a callback.
    pub(super) fn is_waiting(&self, thread: usize) -> bool {
        self.turns.as_ref().is_some_and(|turns| turns.waiting[thread].is_some())
    }

    /// Gives exchanges that begin now to their workers.
    fn assign_starts(&mut self) {
        let now = self.host.clock.now_ns();
        while self.line.next_due().is_some_and(|due| due <= now) {
            let Some(number) = self.line.pop_start() else { return };
            if let (Some(turns), Some(exchange)) = (&mut self.turns, self.line.exchange(number)) {
                let worker = turns.worker_of(number, exchange);
                turns.starts[thread_of(worker)].push_back(number);
            }
        }
    }

    fn has_work(&self, thread: usize) -> bool {
        let Some(turns) = &self.turns else { return false };
        let now = self.host.clock.now_ns();
        let is_own = |root: usize| self.host.roots.get(root).is_some_and(|root| root.thread == thread);
        let events = thread.checked_sub(1).and_then(|worker| self.events[worker].next_due());
        !turns.plugins[thread].is_empty()
            || !turns.starts[thread].is_empty()
            || events.is_some_and(|due| due <= now)
            || self.host.calls.is_due_of(now, is_own)
            || self.next_timer(Some(thread)).is_some_and(|(_, due)| due <= now)
    }

    /// Does the first thing that a thread has to do now, in the order of [`super::run::Next`].
    pub(super) fn take_turn(&mut self, thread: usize) {
        let now = self.host.clock.now_ns();
        let Some(turns) = &mut self.turns else { return };
        turns.current = thread;
        if let Some(start) = turns.plugins[thread].pop_front() {
            if let Some(worker) = thread.checked_sub(1) {
                self.start_in_turn(worker, start);
            }
            return;
        }
        let start = turns.starts[thread].front().copied();
        let is_own = |root: usize| self.host.roots.get(root).is_some_and(|root| root.thread == thread);
        let worker = thread.checked_sub(1);
        if self.host.calls.is_due_of(now, is_own) {
            self.answer_call();
        } else if let Some(worker) = worker
            && self.events[worker].next_due().is_some_and(|due| due <= now)
        {
            self.event(worker, None);
        } else if self.next_timer(Some(thread)).is_some_and(|(_, due)| due <= now) {
            self.tick(Some(thread));
        } else if let (Some(worker), Some(number)) = (worker, start) {
            if let Some(turns) = &mut self.turns {
                turns.starts[thread].pop_front();
            }
            if let Some(exchange) = self.line.take(number) {
                self.begin_stream(number, &exchange, worker, None);
                self.line.put(number, exchange);
            }
            return;
        }
        self.settle([None, None]);
    }
}
