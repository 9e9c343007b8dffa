//! Explanations: what `weir replay` prints. Put into words only when somebody reads them.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use weir_sdk::Draw;
use weir_sdk::fraction::drawn;

/// Why a stream got what it got.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Why {
    /// What decided, such as ``fault `slow` ``.
    pub(crate) what: Rc<str>,
    /// Why nothing happens.
    pub(crate) passes: Option<Rc<str>>,
    pub(crate) limit: Option<u64>,
    /// What is changed of the request.
    pub(crate) change: Option<Rc<str>>,
    pub(crate) delay: Option<Duration>,
    /// What comes after the delay, such as `abort 503`.
    pub(crate) end: Option<Rc<str>>,
    /// The point that took the request.
    pub(crate) draw: Option<Draw>,
    /// The status or delay that the caller asked for is not in the texts made at configure.
    pub(crate) status: Option<u16>,
}

impl Why {
    pub(crate) fn of(what: &Rc<str>) -> Self {
        Self {
            what: Rc::clone(what),
            passes: None,
            limit: None,
            change: None,
            delay: None,
            end: None,
            draw: None,
            status: None,
        }
    }

    /// Nothing happens, because of this.
    pub(crate) fn passes(what: &Rc<str>, why: &Rc<str>) -> Self {
        let mut passes = Self::of(what);
        passes.passes = Some(Rc::clone(why));
        passes
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Why {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(&*self.what);
        let mut add = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
        if let Some(why) = &self.passes {
            add(&[": ", why]);
            return text;
        }
        let mut separator = " → ";
        if let Some(limit) = self.limit {
            add(&[separator, &limit.to_string(), " KiB/s"]);
            separator = ", ";
        }
        if let Some(change) = &self.change {
            add(&[separator, change]);
            separator = ", ";
        }
        if let Some(delay) = self.delay {
            add(&[separator, "delay ", &brief(delay)]);
            separator = ", then ";
        }
        if let Some(end) = &self.end {
            add(&[separator, end]);
            separator = "";
            if let Some(status) = self.status {
                add(&[": ", &u64::from(status).to_string()]);
            }
        }
        if separator == " → " {
            add(&[" → nothing"]);
        }
        if let Some(ppm) = self.draw.map(Draw::ppm) {
            add(&[&drawn(ppm)]);
        }
        text
    }
}

/// The digits of a number below a power of ten, with zeros at the left.
fn padded(number: u32, power: u32) -> String {
    let digits = u64::from(number.saturating_add(power)).to_string();
    String::from(digits.strip_prefix('1').unwrap_or_default())
}

/// Whole milliseconds, as all delays are: `250ms`, `1.5s`.
fn brief(time: Duration) -> String {
    let ms = time.subsec_millis();
    if time.as_secs() == 0 {
        return [&u64::from(ms).to_string(), "ms"].concat();
    }
    let decimals = padded(ms, 1000);
    let decimals = decimals.trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    [&time.as_secs().to_string(), point, decimals, "s"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_standard_library_does() {
        for ms in [1, 10, 250, 999, 1000, 1001, 1050, 1500, 7000, 59_999, 3_600_000] {
            let time = Duration::from_millis(ms);
            assert_eq!(brief(time), format!("{time:?}"));
        }
    }
}
