//! The virtual clock and the only source of randomness of a replay. Knows neither the machine's time nor its entropy (invariant 5).

use std::time::Duration;

/// 2026-01-01T00:00:00Z: where the clock starts when nothing says otherwise.
pub const DEFAULT_START_NS: u64 = 1_767_225_600_000_000_000;

/// The time of the replay, in nanoseconds since 1970-01-01T00:00:00Z. Only the driver moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    now_ns: u64,
    start_ns: u64,
}

impl Clock {
    /// A clock that stands at `start_ns`.
    #[must_use]
    pub fn new(start_ns: u64) -> Self {
        Self { now_ns: start_ns, start_ns }
    }

    /// The time.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The time since the replay began: what a monotonic clock shows.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        self.now_ns - self.start_ns
    }

    /// The time from the beginning of the replay to `time_ns`; 0 before it.
    #[must_use]
    pub fn since_start_ns(&self, time_ns: u64) -> u64 {
        time_ns.saturating_sub(self.start_ns)
    }

    /// Moves on to `to_ns`; a time that is over changes nothing.
    pub fn reach(&mut self, to_ns: u64) {
        self.now_ns = self.now_ns.max(to_ns);
    }
}

/// A pseudo-random generator: SplitMix64 (Steele, Lea, Flood 2014). Same seed, same numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills a buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }

    /// A UUID of version 4, as Envoy makes for `x-request-id`.
    pub fn uuid(&mut self) -> String {
        let high = (self.next_u64() & !0xf000) | 0x4000;
        let low = (self.next_u64() & !(0b11 << 62)) | (0b10 << 62);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

/// `duration` in nanoseconds; what does not fit is the longest.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// `time_ns` as an HTTP date (RFC 9110 §5.6.7), such as `Thu, 01 Jan 2026 00:00:00 GMT`.
pub(crate) fn http_date(time_ns: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time_ns / 1_000_000_000;
    let days = seconds / 86_400;
    let (year, month, day) = civil(days);
    let weekday = DAYS[(days % 7) as usize];
    let month = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month and day of a day counted from 1970-01-01 (Hinnant's `civil_from_days`).
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_http_dates() {
        assert_eq!(http_date(DEFAULT_START_NS), "Thu, 01 Jan 2026 00:00:00 GMT");
        assert_eq!(http_date(784_111_777_000_000_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_709_164_800_000_000_000), "Thu, 29 Feb 2024 00:00:00 GMT");
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut clock = Clock::new(10);
        clock.reach(5);
        assert_eq!(clock.now_ns(), 10);
        clock.reach(15);
        assert_eq!((clock.now_ns(), clock.monotonic_ns()), (15, 5));
    }

    #[test]
    fn uuids_are_version_4() {
        let uuid = Random::new(7).uuid();
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'));
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
