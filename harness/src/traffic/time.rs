//! Times as recordings write them, to nanoseconds since 1970. Knows no clock.

const NANOS: u64 = 1_000_000_000;

/// The parts of a time, each with the default of a time that does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) nanos: u64,
    pub(super) offset_seconds: i64,
}

impl Default for Civil {
    fn default() -> Self {
        Self { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, nanos: 0, offset_seconds: 0 }
    }
}

impl Civil {
    /// Nanoseconds since 1970; nothing before that, after 2554, and for dates that do not exist. Second 60 is the leap second and counts
    /// as the next minute's first.
    pub(super) fn nanos_since_1970(self) -> Option<u64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days_in_month = match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        let exists = (1..=days_in_month).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
            && (0..=9999).contains(&self.year);
        if !exists {
            return None;
        }
        // Days of the proleptic Gregorian calendar, years beginning in March so that the leap day is the last.
        let shifted = self.year - i64::from(self.month <= 2);
        let era = shifted.div_euclid(400);
        let year_of_era = shifted.rem_euclid(400);
        let day_of_year = i64::from((153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1);
        let days =
            era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
        let seconds = days * 86_400 + i64::from(self.hour * 3600 + self.minute * 60 + self.second)
            - self.offset_seconds;
        u64::try_from(seconds).ok()?.checked_mul(NANOS)?.checked_add(self.nanos)
    }
}

/// Reads RFC 3339 and its usual spoilings: a blank for the `T`, an offset without colon, no offset (UTC), no seconds.
pub(crate) fn rfc3339(text: &str) -> Option<u64> {
    let mut scan = Scan(text.trim());
    let mut civil = Civil { year: i64::from(scan.digits(4)?), ..Civil::default() };
    scan.literal('-')?;
    civil.month = scan.digits(2)?;
    scan.literal('-')?;
    civil.day = scan.digits(2)?;
    if !scan.0.is_empty() {
        scan.one_of(&['T', 't', ' '])?;
        civil.hour = scan.digits(2)?;
        scan.literal(':')?;
        civil.minute = scan.digits(2)?;
        if scan.literal(':').is_some() {
            civil.second = scan.digits(2)?;
            if scan.one_of(&['.', ',']).is_some() {
                civil.nanos = scan.fraction()?;
            }
        }
        if !scan.0.is_empty() {
            civil.offset_seconds = scan.offset()?;
        }
    }
    if scan.0.is_empty() { civil.nanos_since_1970() } else { None }
}

/// What remains of a text being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a>(pub(super) &'a str);

impl<'a> Scan<'a> {
    /// Exactly `count` digits, at most 9.
    pub(super) fn digits(&mut self, count: usize) -> Option<u32> {
        let digits = self.0.get(..count)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.0 = &self.0[count..];
        digits.parse().ok()
    }

    /// As many digits as there are, at least one.
    pub(super) fn run(&mut self) -> Option<&'a str> {
        let length = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        (!digits.is_empty()).then_some(digits)
    }

    /// The digits of a fraction of a second, in nanoseconds; what is finer is cut.
    pub(super) fn fraction(&mut self) -> Option<u64> {
        let digits = self.run()?;
        let nanos = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
        Some(nanos.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    }

    /// This character.
    pub(super) fn literal(&mut self, wanted: char) -> Option<()> {
        self.0 = self.0.strip_prefix(wanted)?;
        Some(())
    }

    fn one_of(&mut self, wanted: &[char]) -> Option<()> {
        self.0 = self.0.strip_prefix(wanted)?;
        Some(())
    }

    /// `Z`, `+01:00` or `-0800`, in seconds east of Greenwich.
    pub(super) fn offset(&mut self) -> Option<i64> {
        if self.one_of(&['Z', 'z']).is_some() {
            return Some(0);
        }
        let sign = if self.literal('-').is_some() {
            -1
        } else {
            self.literal('+')?;
            1
        };
        let hours = self.digits(2)?;
        let _ = self.literal(':');
        let minutes = if self.0.is_empty() { 0 } else { self.digits(2)? };
        (hours < 24 && minutes < 60).then_some(sign * i64::from(hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<u64>) {
        assert_eq!(rfc3339(text), want, "{text}");
    }

    #[test]
    fn times_of_real_recordings() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2017-02-22T13:59:06.076Z", Some(1_487_771_946_076_000_000));
        check("2017-06-28T17:41:55.090+09:00", Some(1_498_639_315_090_000_000));
        check("2017-06-28T17:41:55.090+0900", Some(1_498_639_315_090_000_000));
        check("2026-11-23 13:00:18.131744123999Z", Some(1_795_438_818_131_744_123));
        check("2024-02-29T23:59:60Z", Some(1_709_251_200_000_000_000));
        check("2000-03-01", Some(951_868_800_000_000_000));
    }

    #[test]
    fn no_times() {
        for text in [
            "",
            "-",
            "yesterday",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-01-01T25:00:00Z",
            "1969-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "2023-01-01T00:00:00ZZ",
            "2023-01-01T00:00:00+é",
        ] {
            check(text, None);
        }
    }
}
