//! Time passing: the clock, ticks, answers of calls.

use super::Replay;
use crate::host::Tick;

/// How many ticks of a timer run between two exchanges at most.
pub const MAX_TICKS_PER_GAP: u64 = 1000;

/// How many ticks run while a stream waits at most; afterwards it counts as stalled.
const MAX_TICKS_PER_WAIT: u32 = 100_000;

impl Replay {
    /// Moves on to when an exchange was recorded; where the recording does not say, time stands.
    pub(super) fn reach_start(&mut self, recorded_ns: Option<u64>) {
        let Some(recorded) = recorded_ns else { return };
        let start = self.start_ns;
        let now = self.host.clock.now_ns();
        let first = self.exchanges == 0;
        let offset = *self.offset_ns.get_or_insert_with(|| match start {
            Some(start) => i128::from(start.max(now)) - i128::from(recorded),
            None if first => 0,
            None => i128::from(now) - i128::from(recorded).min(i128::from(now)),
        });
        let until = u64::try_from(i128::from(recorded) + offset).unwrap_or(now);
        if first && start.is_none() {
            // The replay begins here: no time has passed since the start.
            self.host.clock = crate::clock::Clock::new(until);
            for vm in &mut self.vms {
                vm.loaded_ns = until;
            }
            for root in &mut self.host.roots {
                if let Some(tick) = &mut root.tick {
                    tick.next_ns = until.saturating_add(tick.period_ns);
                }
            }
            return;
        }
        self.pass_time(until);
    }

    /// Moves the clock and runs the ticks on the way.
    pub(super) fn pass_time(&mut self, until: u64) {
        for root in &mut self.host.roots {
            if let Some(Tick { period_ns, next_ns }) = &mut root.tick {
                let due = until.saturating_sub(*next_ns) / *period_ns;
                let skipped = due.saturating_sub(MAX_TICKS_PER_GAP);
                *next_ns = next_ns.saturating_add(skipped.saturating_mul(*period_ns));
            }
        }
        // A tick may arm its timer anew, so this is bounded too.
        for _ in 0..MAX_TICKS_PER_GAP.saturating_mul(self.host.roots.len() as u64 + 1) {
            if !self.step(until) {
                break;
            }
        }
        self.host.clock.reach(until);
        for tick in self.host.roots.iter_mut().filter_map(|root| root.tick.as_mut()) {
            tick.next_ns = tick.next_ns.max(until);
        }
    }

    /// Waits until `done`, ticking; gives up at `until`.
    pub(super) fn wait(&mut self, until: u64, done: impl Fn(&Self) -> bool) {
        for _ in 0..MAX_TICKS_PER_WAIT {
            if done(self) || !self.step(until) {
                break;
            }
        }
        if !done(self) {
            self.host.clock.reach(until);
        }
    }

    /// Does what comes next until then, a tick or the answers of calls; whether there was anything.
    fn step(&mut self, until: u64) -> bool {
        let tick = self.next_tick().map(|(_, next)| next).filter(|next| *next <= until);
        let call = self.host.calls.next_due().filter(|due| *due <= until);
        match (tick, call) {
            (Some(tick), call) if call.is_none_or(|call| tick < call) => self.tick(),
            (_, Some(call)) => {
                self.host.clock.reach(call);
                self.deliver_calls();
            }
            (_, None) => return false,
        }
        true
    }

    fn next_tick(&self) -> Option<(usize, u64)> {
        let armed = self.host.roots.iter().enumerate();
        let armed = armed.filter(|(_, root)| !self.vms[root.vm].failed);
        armed.filter_map(|(index, root)| Some((index, root.tick?.next_ns))).min_by_key(|(_, next)| *next)
    }

    fn tick(&mut self) {
        let Some((root, next)) = self.next_tick() else { return };
        self.host.clock.reach(next);
        let now = self.host.clock.now_ns();
        if let Some(tick) = &mut self.host.roots[root].tick {
            tick.next_ns = now.saturating_add(tick.period_ns);
        }
        self.call_root(root, |vm, host, id| vm.call(host, id, |all| &all.tick, id));
        self.deliver_calls();
    }

    /// Delivers the answers of calls that are due, also of those that come up meanwhile (`CALL-05`). A plugin that calls from every answer
    /// is cut off.
    pub(super) fn deliver_calls(&mut self) {
        for _ in 0..MAX_TICKS_PER_GAP {
            let Some(call) = self.host.calls.pop_due(self.host.clock.now_ns()) else { return };
            self.deliver(call);
        }
        self.run.faults.push(format!(
            "more than {MAX_TICKS_PER_GAP} callouts in a row: each answer makes another call; the rest is dropped"
        ));
        self.host.calls.clear();
    }
}
