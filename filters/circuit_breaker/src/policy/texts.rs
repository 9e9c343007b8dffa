//! What people read: explanations, made once, and the line that a transition logs.

use std::rc::Rc;

use weir_sdk::{ConfigDuration, Explanation};

use super::Unasked;
use super::circuit::State;
use super::machine::{Ticket, Transition, Why};
use super::rules::Reason;
use crate::config::Force;

/// Explanations of all decisions, made once.
#[derive(Clone, Debug)]
pub(super) struct Texts(weir_sdk::Texts);

/// What explanations are made of.
#[derive(Clone, Copy)]
pub(super) enum Text {
    Disabled,
    NotMatched,
    NoKey,
    NoRoom,
    Asked,
    ForcedOpen,
    ForcedClosed,
    Closed,
    Open,
    HalfOpen,
    NoSlot,
    NotSafe,
    Recovering,
    Concurrency,
    Shed,
    Passed,
    Probe,
    Refused,
    Fallback,
    WouldRefuse,
    Waits,
}

/// In the order of [`Text`].
const TEXTS: [&str; 21] = [
    "disabled by the route",
    "`match` is not true",
    "no cluster or route to count for",
    "no room for another circuit",
    "the client asks for the fallback",
    "held open",
    "held closed",
    "closed",
    "open",
    "half-open",
    "half-open, all probes under way",
    "half-open, not a safe method",
    "recovering",
    "too many calls under way",
    "too few calls succeed",
    "passed",
    "probe",
    "refused",
    "fallback",
    "would be refused (dry run)",
    "waits",
];

impl Texts {
    pub(super) fn new() -> Self {
        Self(weir_sdk::Texts::new("", &TEXTS))
    }

    pub(super) fn of(&self, text: Text) -> Rc<str> {
        self.0.at(text as usize)
    }

    fn with(&self, text: Text, choice: Text) -> Explanation {
        Explanation { text: self.of(text), choice: Some(self.of(choice)), draw_ppm: None }
    }

    pub(super) fn unasked(&self, why: Unasked) -> Rc<str> {
        self.of(match why {
            Unasked::Disabled => Text::Disabled,
            Unasked::NotMatched => Text::NotMatched,
            Unasked::NoKey => Text::NoKey,
        })
    }

    pub(super) fn forced(&self, force: Force) -> Explanation {
        match force {
            Force::Open => self.with(Text::ForcedOpen, Text::Refused),
            Force::Closed => self.with(Text::ForcedClosed, Text::Passed),
        }
    }

    pub(super) fn passed(&self, ticket: &Ticket) -> Explanation {
        let text = match ticket.state {
            State::Closed => Text::Closed,
            State::HalfOpen => Text::HalfOpen,
            State::Recovering => Text::Recovering,
            State::Open => Text::Open,
        };
        self.with(text, if ticket.is_probe() { Text::Probe } else { Text::Passed })
    }

    pub(super) fn waits(&self) -> Explanation {
        self.with(Text::Concurrency, Text::Waits)
    }

    pub(super) fn refused(&self, why: Why, dry_run: bool, fallback: bool) -> Explanation {
        let text = match why {
            Why::Open => Text::Open,
            Why::HalfOpen => Text::NoSlot,
            Why::Unsafe => Text::NotSafe,
            Why::Recovering => Text::Recovering,
            Why::Concurrency => Text::Concurrency,
            Why::Shed => Text::Shed,
        };
        let choice = match (dry_run, fallback) {
            (true, _) => Text::WouldRefuse,
            (false, true) => Text::Fallback,
            (false, false) => Text::Refused,
        };
        self.with(text, choice)
    }
}

/// A transition in words: which circuit, what became of it, why, and the numbers.
pub(crate) fn describe(key: &[u8], transition: &Transition) -> String {
    let Transition { from, to, reason, tally, consecutive, open_ns, openings, succeeded, failed } =
        transition;
    let numbers =
        |first: u32, between: &str, second: u32, end: &str| format!("{first}{between}{second}{end}");
    let of_calls = |part: u32, end: &str| numbers(part, " of ", tally.calls, end);
    let reason = match reason {
        Reason::ConsecutiveErrors => format!("{consecutive} consecutive errors"),
        Reason::Errors => numbers(tally.errors, " errors in the window (", tally.calls, " calls)"),
        Reason::ErrorRate => of_calls(tally.errors, " calls failed"),
        Reason::SlowRate => of_calls(tally.slow, " calls were slow"),
        Reason::BurnRate => of_calls(tally.errors, " calls failed: the error budget burns too fast"),
        Reason::OpenTimeOver => "the open time is over".to_owned(),
        Reason::ProbesFailed => numbers(*failed, " probes failed, ", *succeeded, " succeeded"),
        Reason::ProbesSucceeded => numbers(*succeeded, " probes succeeded, ", *failed, " failed"),
        Reason::Recovered => ["recovered, ", &of_calls(tally.errors, " calls failed")].concat(),
    };
    let mut text = format!("circuit `{}`: {} → {}: {reason}", name(key), from.name(), to.name());
    if *to == State::Open {
        // To the millisecond, so that jitter does not fill the line.
        let time = std::time::Duration::from_millis(open_ns / 1_000_000);
        text.push_str(&format!("; for {}", ConfigDuration(time)));
        if *openings > 1 {
            text.push_str(&format!(", opening {openings} in a row"));
        }
    }
    text
}

/// A key as a person reads it: parts apart, bytes of clients escaped.
fn name(key: &[u8]) -> String {
    let mut name = String::new();
    for part in key.split(|byte| *byte == 0) {
        if !part.is_empty() {
            name.push_str(if name.is_empty() { "" } else { " / " });
            name.push_str(&part.escape_ascii().to_string());
        }
    }
    if name.is_empty() { "all".to_owned() } else { name }
}
