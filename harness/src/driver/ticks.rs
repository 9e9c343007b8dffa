//! Time: when recorded exchanges begin on the virtual clock, and ticks.

use super::Replay;
use crate::clock::Clock;
use crate::host::StreamId;

/// How many ticks of a timer run in a gap in which nothing is under way, at most.
pub const MAX_TICKS_PER_GAP: u64 = 1000;

/// How many ticks run in a row while streams or callouts wait at most; the clock then moves on to what else is due.
const MAX_TICKS_PER_WAIT: u64 = 100_000;

/// How many answers of calls are delivered in a row without time passing, where so many calls wait: far more than any chain of calls needs.
pub(super) fn calls_in_row(waiting: usize) -> u64 {
    1000 + 10 * waiting as u64
}

impl Replay {
    /// When an exchange begins that was recorded at this time; without one: now.
    pub(super) fn recorded(&mut self, recorded_ns: Option<u64>) -> u64 {
        let now = self.host.clock.now_ns();
        let Some(recorded) = recorded_ns else { return now };
        let (start, first) = (self.start_ns, self.exchanges == 0);
        let offset = *self.offset_ns.get_or_insert_with(|| match start {
            Some(start) => i128::from(start.max(now)) - i128::from(recorded),
            None if first => 0,
            None => i128::from(now) - i128::from(recorded).min(i128::from(now)),
        });
        let mut due = u64::try_from(i128::from(recorded) + offset).unwrap_or(now);
        let earliest = if self.begun { self.latest_ns.max(now) } else { self.latest_ns };
        if std::mem::take(&mut self.new_recording) && due < earliest {
            due = earliest;
            self.offset_ns = Some(i128::from(due) - i128::from(recorded));
        }
        self.latest_ns = self.latest_ns.max(due);
        due
    }

    /// Sets the clock to when the first exchange begins, unless the scenario has set it: no time has passed since the start.
    pub(super) fn start_clock(&mut self, begin_ns: u64) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.host.calls.shift(self.host.clock.now_ns(), begin_ns);
        self.host.clock = Clock::new(begin_ns);
        for vm in &mut self.vms {
            vm.loaded_ns = begin_ns;
        }
        for root in &mut self.host.roots {
            if let Some(tick) = &mut root.tick {
                tick.next_ns = begin_ns.saturating_add(tick.period_ns);
            }
        }
    }

    /// Leaves out ticks that nobody waits for: but the last ones before `until` all.
    pub(super) fn skip_ticks(&mut self, until: u64) {
        if until == u64::MAX {
            return;
        }
        for tick in self.host.roots.iter_mut().filter_map(|root| root.tick.as_mut()) {
            let due = until.saturating_sub(tick.next_ns) / tick.period_ns;
            let skipped = due.saturating_sub(MAX_TICKS_PER_GAP);
            tick.next_ns = tick.next_ns.saturating_add(skipped.saturating_mul(tick.period_ns));
        }
    }

    /// When the next tick is due.
    pub(super) fn next_tick(&self) -> Option<u64> {
        self.next_timer(None).map(|(_, next)| next)
    }

    /// The root whose timer goes off next, of all or of a thread.
    pub(super) fn next_timer(&self, thread: Option<usize>) -> Option<(usize, u64)> {
        let armed = self.host.roots.iter().enumerate();
        let armed = armed.filter(|(_, root)| !self.vms[root.vm].failed);
        let armed = armed.filter(|(_, root)| thread.is_none_or(|thread| root.thread == thread));
        armed.filter_map(|(index, root)| Some((index, root.tick?.next_ns))).min_by_key(|(_, next)| *next)
    }

    /// Runs the next tick, of all or of a thread. What it does to no stream belongs to the stream in flight if there is one, to the next if there is none, else to
    /// none.
    pub(super) fn tick(&mut self, thread: Option<usize>) {
        let Some((root, _)) = self.next_timer(thread) else { return };
        let now = self.host.clock.now_ns();
        if let Some(tick) = &mut self.host.roots[root].tick {
            tick.next_ns = now.saturating_add(tick.period_ns);
        }
        let told = match self.in_flight[..] {
            [at] => Some(StreamId { slot: at, number: self.host.streams[at].number }),
            _ => None,
        };
        let kept = self.in_flight.is_empty();
        self.call_root(root, told, kept, |vm, host, id| vm.call(host, id, |all| &all.tick, id));
    }

    /// Ends a row of ticks that is too long: the clock moves on to what else is due, or to `until`. A tick may arm its timer anew and ever
    /// sooner, so this bounds gaps, too.
    pub(super) fn bound_ticks(&mut self, until: u64) {
        let most = if self.is_quiet() {
            MAX_TICKS_PER_GAP.saturating_mul(self.host.roots.len() as u64 + 1)
        } else {
            MAX_TICKS_PER_WAIT
        };
        if self.ticks_in_row <= most {
            return;
        }
        self.ticks_in_row = 0;
        let others = [self.host.calls.next_due(), self.next_event(), self.line.next_due(), Some(until)];
        let next = others.into_iter().flatten().min().filter(|next| *next < u64::MAX);
        for tick in self.host.roots.iter_mut().filter_map(|root| root.tick.as_mut()) {
            tick.next_ns = tick.next_ns.max(next.unwrap_or(0));
        }
    }
}
