//! What waits for a time, by deadline. Knows neither clock nor host: times come and go as nanoseconds.

use std::time::Duration;

use super::wire::Side;

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleeper {
    /// The plugin itself.
    Plugin,
    /// A half of a stream.
    Stream(u32, Side),
}

/// A deadline in ns and a number that tells equal deadlines apart.
pub(crate) type TimerKey = (u64, u64);

/// All timers of a plugin over the one tick it has.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// In the order of the keys, behind those that are over. A new one mostly belongs at the end and the due ones are at the beginning, where
    /// little has to be moved.
    sleepers: Vec<(TimerKey, Sleeper)>,
    /// How many are over.
    over: usize,
    added: u64,
}

impl Timers {
    /// Adds one; what is behind it is moved.
    pub(crate) fn add(&mut self, now_ns: u64, after: Duration, sleeper: Sleeper) -> TimerKey {
        self.added = self.added.wrapping_add(1);
        let key = (now_ns.saturating_add(crate::nanos(after)), self.added);
        let place = self.place(key);
        self.sleepers.insert(place, (key, sleeper));
        key
    }

    /// Forgets one; what is on the shorter side of it is moved.
    pub(crate) fn remove(&mut self, key: TimerKey) {
        let place = self.place(key);
        if self.sleepers.get(place).is_none_or(|(other, _)| *other != key) {
            return;
        }
        if place.saturating_sub(self.over) > self.sleepers.len().saturating_sub(place) {
            self.sleepers.remove(place);
            return;
        }
        self.sleepers.copy_within(self.over..place, self.over.saturating_add(1));
        self.over = self.over.saturating_add(1);
        // Rarely enough that it costs each one nothing.
        if self.over > self.sleepers.len() / 2 {
            self.sleepers.copy_within(self.over.., 0);
            self.sleepers.truncate(self.sleepers.len().saturating_sub(self.over));
            self.over = 0;
        }
    }

    /// Those that are not over.
    fn waiting(&self) -> &[(TimerKey, Sleeper)] {
        self.sleepers.get(self.over..).unwrap_or_default()
    }

    /// Where a key is, or belongs.
    fn place(&self, key: TimerKey) -> usize {
        self.over.saturating_add(self.waiting().partition_point(|(other, _)| *other < key))
    }

    /// Takes those that are due, earliest first, at most so many. A tick that was set to `armed` has come.
    pub(crate) fn take_due(
        &mut self,
        now_ns: u64,
        armed: Option<u64>,
        most: usize,
    ) -> Vec<(TimerKey, Sleeper)> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some(first) = self.first_due(now_ns, armed)
        {
            self.remove(first.0);
            due.push(first);
        }
        due
    }

    /// Whether one is due.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        self.first_due(now_ns, None).is_some()
    }

    fn first_due(&self, now_ns: u64, armed: Option<u64>) -> Option<(TimerKey, Sleeper)> {
        let armed = armed.filter(|armed| *armed <= now_ns.saturating_add(EARLY_NS));
        let soon = now_ns.saturating_add(MS_NS - 1).max(armed.unwrap_or(0));
        for sleeper in self.waiting() {
            let ((deadline, _), who) = *sleeper;
            if deadline > soon {
                break;
            }
            if deadline <= now_ns || who.may_be_early() {
                return Some(*sleeper);
            }
        }
        None
    }

    /// The nearest deadline, and who waits for it.
    pub(crate) fn nearest(&self) -> Option<(u64, Sleeper)> {
        self.waiting().first().map(|((deadline, _), sleeper)| (*deadline, *sleeper))
    }
}

impl Sleeper {
    /// Whether it is woken when its deadline is less than 1 ms away, or 2 ms ([`EARLY_NS`]) when the tick that was set to it has come. The host's
    /// timers count whole milliseconds, from when its event loop last looked at the clock, so at times a tick comes before the deadline that
    /// it was set to; the next would come a millisecond later at the soonest, and some 4 ms where the host's clock is coarse (Linux with
    /// `CONFIG_HZ=250`). For a stream, now is nearer. A plugin may rest on its time having come.
    fn may_be_early(self) -> bool {
        matches!(self, Self::Stream(..))
    }
}

const MS_NS: u64 = 1_000_000;

/// Half of the steps in which a coarse clock goes: what is nearer than this is nearer now than at the next tick.
const EARLY_NS: u64 = 2 * MS_NS;

/// How late ticks come: by what the host's clock is coarse, and what the worker is busy with. Some 2 ms where a clock counts in steps of 4 ms, nothing
/// where it is exact.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lateness {
    /// When the tick that is set should come.
    expected_ns: u64,
    /// The average of the last ones, each an eighth.
    average_ns: u64,
}

impl Lateness {
    /// The tick's period in ms that comes nearest to a deadline, for a plugin not before it; at least 1, at most a day, as a longer one is
    /// simply set again. For a stream it is as much shorter as ticks are late, by at most 1 ms and a sixteenth of what is left.
    pub(crate) fn period_ms(&mut self, now_ns: u64, (deadline_ns, sleeper): (u64, Sleeper)) -> u32 {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let until = deadline_ns.saturating_sub(now_ns);
        let early = match sleeper.may_be_early() {
            true => (MS_NS / 2).saturating_add(self.average_ns.min(until / 16).min(MS_NS)),
            false => 0,
        };
        let period = until.saturating_sub(early).div_ceil(MS_NS).clamp(1, DAY_MS);
        self.expected_ns = now_ns.saturating_add(period.saturating_mul(MS_NS));
        u32::try_from(period).unwrap_or(u32::MAX)
    }

    /// The tick has come. One that was very late tells more of the worker than of the clock.
    pub(crate) fn came(&mut self, now_ns: u64) {
        let late = now_ns.saturating_sub(self.expected_ns).min(2 * EARLY_NS);
        self.average_ns = self.average_ns.saturating_sub(self.average_ns / 8).saturating_add(late / 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equal_ones_in_order() {
        let mut timers = Timers::default();
        let ms = Duration::from_millis;
        timers.add(0, ms(5), Sleeper::Stream(5, Side::Request));
        let gone = timers.add(0, ms(1), Sleeper::Stream(1, Side::Request));
        timers.add(0, ms(2), Sleeper::Stream(2, Side::Request));
        timers.add(1_000_000, ms(1), Sleeper::Plugin);
        let nearest = |timers: &Timers| timers.nearest().map(|(deadline, _)| deadline);
        assert_eq!(nearest(&timers), Some(1_000_000));
        timers.remove(gone);
        assert_eq!(nearest(&timers), Some(2_000_000));
        assert_eq!(timers.take_due(1_000_000, None, 9), []);
        let due: Vec<_> =
            timers.take_due(2_000_000, None, 9).into_iter().map(|(_, sleeper)| sleeper).collect();
        assert_eq!(due, [Sleeper::Stream(2, Side::Request), Sleeper::Plugin]);
        assert_eq!(nearest(&timers), Some(5_000_000));
    }

    #[test]
    fn what_is_too_much_at_once_stays() {
        let mut timers = Timers::default();
        for stream in 0..5 {
            timers.add(0, Duration::ZERO, Sleeper::Stream(stream, Side::Request));
        }
        let mut take =
            || timers.take_due(0, None, 2).into_iter().map(|(_, sleeper)| sleeper).collect::<Vec<_>>();
        let stream = |stream| Sleeper::Stream(stream, Side::Request);
        assert_eq!(take(), [stream(0), stream(1)]);
        assert_eq!(take(), [stream(2), stream(3)]);
        assert_eq!(take(), [stream(4)]);
        assert_eq!(take(), []);
    }

    #[test]
    fn a_stream_goes_on_where_no_tick_comes_nearer_and_a_plugin_is_never_early() {
        let mut timers = Timers::default();
        let stream = Sleeper::Stream(1, Side::Request);
        timers.add(0, Duration::from_millis(3), Sleeper::Plugin);
        timers.add(0, Duration::from_millis(3), stream);
        assert!(!timers.is_due(2_000_000));
        assert_eq!(timers.take_due(999_999, Some(3_000_000), 9), []);
        assert_eq!(
            timers
                .take_due(1_000_000, Some(3_000_000), 9)
                .into_iter()
                .map(|(_, who)| who)
                .collect::<Vec<_>>(),
            [stream]
        );
        assert!(!timers.is_due(2_999_999));
        assert!(timers.is_due(3_000_000));
        assert_eq!(timers.take_due(3_000_000, None, 9).len(), 1);
    }

    #[test]
    fn no_time_overflows() {
        let mut timers = Timers::default();
        timers.add(u64::MAX, Duration::MAX, Sleeper::Plugin);
        assert_eq!(timers.nearest(), Some((u64::MAX, Sleeper::Plugin)));
        assert_eq!(Lateness::default().period_ms(0, (u64::MAX, Sleeper::Plugin)), 86_400_000);
        assert!(timers.is_due(u64::MAX));
    }

    #[test]
    fn a_period_is_rounded_to_the_nearest_and_for_a_plugin_up() {
        let mut lateness = Lateness::default();
        let mut periods = |now, deadline| {
            [Sleeper::Stream(1, Side::Request), Sleeper::Plugin]
                .map(|who| lateness.period_ms(now, (deadline, who)))
        };
        assert_eq!(periods(0, 1), [1, 1]);
        assert_eq!(periods(0, 3_000_000), [3, 3]);
        assert_eq!(periods(0, 3_500_000), [3, 4]);
        assert_eq!(periods(0, 3_500_001), [4, 4]);
        assert_eq!(periods(0, 7_000_000_000), [7000, 7000]);
        assert_eq!(periods(5, 5), [1, 1]);
        assert_eq!(periods(9, 5), [1, 1]);
    }

    #[test]
    fn ticks_that_come_late_are_set_earlier_and_those_that_do_not_are_not() {
        let stream = Sleeper::Stream(1, Side::Request);
        let mut lateness = Lateness::default();
        for round in 0..50 {
            let now = round * 1_000_000_000;
            let period = u64::from(lateness.period_ms(now, (now + 100_000_000, stream)));
            assert_eq!(period, if round < 3 { 100 } else { 99 }, "{round}");
            lateness.came(now + period * 1_000_000 + 2_000_000);
        }
        // However late: a 3 ms wait is not made a shorter one, and nothing is for a plugin.
        assert_eq!(lateness.period_ms(0, (3_000_000, stream)), 3);
        assert_eq!(lateness.period_ms(0, (100_000_000, Sleeper::Plugin)), 100);
        for _ in 0..50 {
            lateness.came(0);
        }
        assert_eq!(lateness.period_ms(0, (100_000_000, stream)), 100);
    }
}
