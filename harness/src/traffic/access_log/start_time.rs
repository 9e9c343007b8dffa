//! `%START_TIME(…)%`: Envoy's time formats, read backwards. Knows no log.

use crate::traffic::time::{self, Civil, Scan};

/// How a time is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StartTime(Vec<Item>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Literal(char),
    /// Two digits or four: year, month, …
    Field(Part, usize),
    /// Seconds since 1970.
    Epoch,
    /// A fraction of so many digits; 0: as many as there are.
    Fraction(usize),
    /// Seconds with a fraction.
    SecondsFraction,
    MonthName,
    WeekdayName,
    Offset,
    ZoneName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl StartTime {
    /// Compiles a format of `strftime` with Envoy's additions (`%3f`, `%f`, `%E3S`, `%s`). Empty: Envoy's default.
    ///
    /// # Errors
    /// A specifier is not known.
    pub(super) fn compile(format: &str) -> Result<Self, String> {
        use Part::{Day, Hour, Minute, Month, Second, Year};
        let mut items = Vec::new();
        let mut rest = format;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            if character != '%' {
                items.push(Item::Literal(character));
                continue;
            }
            let end =
                rest.find(|c: char| c.is_ascii_alphabetic() && c != 'E' || c == '%').unwrap_or(rest.len());
            let Some(letter) = rest[end..].chars().next() else {
                return Err(format!("`%{rest}` is no time specifier"));
            };
            let specifier = &rest[..=end];
            rest = &rest[end + 1..];
            let date = |separator| {
                [
                    Item::Field(Year, 4),
                    Item::Literal(separator),
                    Item::Field(Month, 2),
                    Item::Literal(separator),
                    Item::Field(Day, 2),
                ]
            };
            let clock = [
                Item::Field(Hour, 2),
                Item::Literal(':'),
                Item::Field(Minute, 2),
                Item::Literal(':'),
                Item::Field(Second, 2),
            ];
            match specifier {
                "Y" => items.push(Item::Field(Year, 4)),
                "m" => items.push(Item::Field(Month, 2)),
                "d" | "e" => items.push(Item::Field(Day, 2)),
                "H" => items.push(Item::Field(Hour, 2)),
                "M" => items.push(Item::Field(Minute, 2)),
                "S" => items.push(Item::Field(Second, 2)),
                "s" => items.push(Item::Epoch),
                "f" | "E*f" => items.push(Item::Fraction(0)),
                "b" | "h" => items.push(Item::MonthName),
                "a" => items.push(Item::WeekdayName),
                "z" | "Ez" => items.push(Item::Offset),
                "Z" => items.push(Item::ZoneName),
                "F" => items.extend(date('-')),
                "T" => items.extend(clock),
                "%" => items.push(Item::Literal('%')),
                "E*S" => items.push(Item::SecondsFraction),
                _ if letter == 'S' && specifier.starts_with('E') => items.push(Item::SecondsFraction),
                _ if letter == 'f' => {
                    let digits = specifier.trim_start_matches('E').trim_end_matches('f').parse().ok();
                    let digits = digits.filter(|digits| (1..=9).contains(digits));
                    items.push(Item::Fraction(
                        digits.ok_or_else(|| format!("`%{specifier}` is no time specifier"))?,
                    ));
                }
                _ => return Err(format!("`%{specifier}` is a time specifier that is not read")),
            }
        }
        Ok(Self(items))
    }

    /// Reads a time; nothing when it is not written so.
    pub(super) fn read(&self, text: &str) -> Option<u64> {
        if self.0.is_empty() {
            return time::rfc3339(text);
        }
        let mut scan = Scan(text.trim());
        let mut civil = Civil::default();
        let mut epoch: Option<u64> = None;
        for item in &self.0 {
            match *item {
                Item::Literal(character) => scan.literal(character)?,
                Item::Field(part, digits) => {
                    // `%e` pads with a blank.
                    let digits = if scan.literal(' ').is_some() { digits - 1 } else { digits };
                    let value = scan.digits(digits)?;
                    match part {
                        Part::Year => civil.year = i64::from(value),
                        Part::Month => civil.month = value,
                        Part::Day => civil.day = value,
                        Part::Hour => civil.hour = value,
                        Part::Minute => civil.minute = value,
                        Part::Second => civil.second = value,
                    }
                }
                Item::Epoch => {
                    // `%s%3f` has no separator: seconds are ten digits from 2001 to 2286.
                    let digits = scan.0.bytes().take_while(u8::is_ascii_digit).count().min(10);
                    let (seconds, rest) = scan.0.split_at(digits);
                    scan.0 = rest;
                    epoch = Some(seconds.parse().ok()?);
                }
                Item::Fraction(0) => civil.nanos = scan.fraction()?,
                Item::Fraction(digits) => {
                    let value = u64::from(scan.digits(digits)?);
                    civil.nanos = value * 10_u64.pow(u32::try_from(9 - digits).ok()?);
                }
                Item::SecondsFraction => {
                    civil.second = scan.digits(2)?;
                    if scan.literal('.').is_some() {
                        civil.nanos = scan.fraction()?;
                    }
                }
                Item::MonthName => {
                    let name = scan.0.get(..3)?;
                    let index = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
                    civil.month = u32::try_from(index).ok()? + 1;
                    scan.0 = &scan.0[3..];
                }
                Item::WeekdayName => scan.0 = scan.0.get(3..)?,
                Item::Offset => civil.offset_seconds = scan.offset()?,
                Item::ZoneName => scan.0 = scan.0.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
            }
        }
        if !scan.0.is_empty() {
            return None;
        }
        match epoch {
            Some(seconds) => seconds.checked_mul(1_000_000_000)?.checked_add(civil.nanos),
            None => civil.nanos_since_1970(),
        }
    }
}

/// Reads a time that is a bare number: seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by size.
pub(super) fn bare_number(text: &str) -> Option<u64> {
    let mut scan = Scan(text);
    let whole: u64 = scan.run()?.parse().ok()?;
    let fraction = if scan.literal('.').is_some() { scan.fraction()? } else { 0 };
    let unit: u64 = match whole {
        0..=99_999_999_999 => 1_000_000_000,
        100_000_000_000..=99_999_999_999_999 => 1_000_000,
        100_000_000_000_000..=99_999_999_999_999_999 => 1_000,
        _ => 1,
    };
    let nanos = whole.checked_mul(unit)?.checked_add(fraction / (1_000_000_000 / unit))?;
    scan.0.is_empty().then_some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, text: &str, want: Option<u64>) {
        assert_eq!(StartTime::compile(format).unwrap().read(text), want, "{format}: {text}");
    }

    #[test]
    fn formats_of_envoy() {
        let want = Some(1_522_796_769_123_000_000);
        check("", "2018-04-03T23:06:09.123Z", want);
        check("%s.%3f", "1522796769.123", want);
        check("%s%3f", "1522796769123", want);
        check("%Y-%m-%dT%H:%M:%E3S%z", "2018-04-03T23:06:09.123+0000", want);
        check("%Y/%m/%dT%H:%M:%S.%6f%z", "2018/04/04T01:06:09.123000+0200", want);
        check("%F %T.%9f", "2018-04-03 23:06:09.123000000", want);
        check("%d/%b/%Y:%H:%M:%S %z", "03/Apr/2018:23:06:09 +0000", Some(1_522_796_769_000_000_000));
        check("%s", "1522796769", Some(1_522_796_769_000_000_000));
        check("%s", "", None);
        check("%s", "12x", None);
        check("%b %d", "é1", None);
        assert!(StartTime::compile("%Q").is_err());
        assert!(StartTime::compile("%").is_err());
        assert!(StartTime::compile("%12f").is_err());
    }

    #[test]
    fn bare_numbers() {
        for text in ["1522796769.123", "1522796769123", "1522796769123000", "1522796769123000000"] {
            assert_eq!(bare_number(text), Some(1_522_796_769_123_000_000), "{text}");
        }
        assert_eq!(bare_number("99999999999999999999999"), None);
        assert_eq!(bare_number("1.5x"), None);
    }
}
