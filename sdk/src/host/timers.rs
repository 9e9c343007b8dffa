//! What waits for a time, by deadline. Knows neither clock nor host: times come and go as nanoseconds.

use std::collections::BTreeMap;
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
    sleepers: BTreeMap<TimerKey, Sleeper>,
    added: u64,
}

impl Timers {
    /// Adds one; O(log n).
    pub(crate) fn add(&mut self, now_ns: u64, after: Duration, sleeper: Sleeper) -> TimerKey {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.added = self.added.wrapping_add(1);
        let key = (now_ns.saturating_add(after), self.added);
        self.sleepers.insert(key, sleeper);
        key
    }

    /// Forgets one; O(log n).
    pub(crate) fn remove(&mut self, key: TimerKey) {
        self.sleepers.remove(&key);
    }

    /// Takes those whose deadline has come, earliest first, at most so many.
    pub(crate) fn take_due(&mut self, now_ns: u64, most: usize) -> Vec<(TimerKey, Sleeper)> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some(first) = self.sleepers.first_entry()
            && first.key().0 <= now_ns
        {
            due.push(first.remove_entry());
        }
        due
    }

    /// The nearest deadline.
    pub(crate) fn nearest(&self) -> Option<u64> {
        self.sleepers.first_key_value().map(|((deadline, _), _)| *deadline)
    }
}

/// The tick's period, in ms, that comes to `deadline` and not before: rounded up, at least 1, at most a day, as a longer one is
/// simply set again.
pub(crate) fn period_ms(now_ns: u64, deadline_ns: u64) -> u32 {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let period = deadline_ns.saturating_sub(now_ns).div_ceil(1_000_000).clamp(1, DAY_MS);
    u32::try_from(period).unwrap_or(u32::MAX)
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
        assert_eq!(timers.nearest(), Some(1_000_000));
        timers.remove(gone);
        assert_eq!(timers.nearest(), Some(2_000_000));
        assert_eq!(timers.take_due(1_999_999, 9), []);
        let due: Vec<_> = timers.take_due(2_000_000, 9).into_iter().map(|(_, sleeper)| sleeper).collect();
        assert_eq!(due, [Sleeper::Stream(2, Side::Request), Sleeper::Plugin]);
        assert_eq!(timers.nearest(), Some(5_000_000));
    }

    #[test]
    fn what_is_too_much_at_once_stays() {
        let mut timers = Timers::default();
        for stream in 0..5 {
            timers.add(0, Duration::ZERO, Sleeper::Stream(stream, Side::Request));
        }
        let mut take = || timers.take_due(0, 2).into_iter().map(|(_, sleeper)| sleeper).collect::<Vec<_>>();
        let stream = |stream| Sleeper::Stream(stream, Side::Request);
        assert_eq!(take(), [stream(0), stream(1)]);
        assert_eq!(take(), [stream(2), stream(3)]);
        assert_eq!(take(), [stream(4)]);
        assert_eq!(take(), []);
    }

    #[test]
    fn no_time_overflows() {
        let mut timers = Timers::default();
        timers.add(u64::MAX, Duration::MAX, Sleeper::Plugin);
        assert_eq!(timers.nearest(), Some(u64::MAX));
        assert_eq!(period_ms(0, u64::MAX), 86_400_000);
    }

    #[test]
    fn a_period_is_rounded_up() {
        assert_eq!(period_ms(0, 1), 1);
        assert_eq!(period_ms(0, 1_000_001), 2);
        assert_eq!(period_ms(5, 5), 1);
        assert_eq!(period_ms(9, 5), 1);
    }
}
