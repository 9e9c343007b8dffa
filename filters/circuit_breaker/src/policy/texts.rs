//! What people read: explanations, made once, and the line that a transition logs.

use std::rc::Rc;

use weir_sdk::{ConfigDuration, Explanation};

use super::Unasked;
use super::circuit::State;
use super::machine::{Ticket, Transition, Why};
use super::rules::Reason;
use crate::config::Force;

/// Explanations of all decisions.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    disabled: Rc<str>,
    not_matched: Rc<str>,
    no_key: Rc<str>,
    pub(super) no_room: Rc<str>,
    pub(super) asked: Rc<str>,
    forced_open: Rc<str>,
    forced_closed: Rc<str>,
    closed: Rc<str>,
    open: Rc<str>,
    half_open: Rc<str>,
    no_slot: Rc<str>,
    not_safe: Rc<str>,
    recovering: Rc<str>,
    concurrency: Rc<str>,
    shed: Rc<str>,
    passed: Rc<str>,
    probe: Rc<str>,
    refused: Rc<str>,
    fallback: Rc<str>,
    would_refuse: Rc<str>,
    waits: Rc<str>,
}

impl Texts {
    pub(super) fn new() -> Self {
        Self {
            disabled: "disabled by the route".into(),
            not_matched: "`match` is not true".into(),
            no_key: "no cluster or route to count for".into(),
            no_room: "no room for another circuit".into(),
            asked: "the client asks for the fallback".into(),
            forced_open: "held open".into(),
            forced_closed: "held closed".into(),
            closed: "closed".into(),
            open: "open".into(),
            half_open: "half-open".into(),
            no_slot: "half-open, all probes under way".into(),
            not_safe: "half-open, not a safe method".into(),
            recovering: "recovering".into(),
            concurrency: "too many calls under way".into(),
            shed: "too few calls succeed".into(),
            passed: "passed".into(),
            probe: "probe".into(),
            refused: "refused".into(),
            fallback: "fallback".into(),
            would_refuse: "would be refused (dry run)".into(),
            waits: "waits".into(),
        }
    }

    pub(super) fn unasked(&self, why: Unasked) -> &Rc<str> {
        match why {
            Unasked::Disabled => &self.disabled,
            Unasked::NotMatched => &self.not_matched,
            Unasked::NoKey => &self.no_key,
        }
    }

    pub(super) fn forced(&self, force: Force) -> Explanation {
        match force {
            Force::Open => with(&self.forced_open, &self.refused),
            Force::Closed => with(&self.forced_closed, &self.passed),
        }
    }

    pub(super) fn passed(&self, ticket: &Ticket) -> Explanation {
        let text = match ticket.state {
            State::Closed => &self.closed,
            State::HalfOpen => &self.half_open,
            State::Recovering => &self.recovering,
            State::Open => &self.open,
        };
        with(text, if ticket.is_probe() { &self.probe } else { &self.passed })
    }

    pub(super) fn waits(&self) -> Explanation {
        with(&self.concurrency, &self.waits)
    }

    pub(super) fn refused(&self, why: Why, dry_run: bool, fallback: bool) -> Explanation {
        let text = match why {
            Why::Open => &self.open,
            Why::HalfOpen => &self.no_slot,
            Why::Unsafe => &self.not_safe,
            Why::Recovering => &self.recovering,
            Why::Concurrency => &self.concurrency,
            Why::Shed => &self.shed,
        };
        let choice = match (dry_run, fallback) {
            (true, _) => &self.would_refuse,
            (false, true) => &self.fallback,
            (false, false) => &self.refused,
        };
        with(text, choice)
    }
}

fn with(text: &Rc<str>, choice: &Rc<str>) -> Explanation {
    Explanation { choice: Some(choice.clone()), ..Explanation::of(text) }
}

/// A transition in words: which circuit, what became of it, why, and the numbers.
pub(crate) fn describe(key: &[u8], transition: &Transition) -> String {
    let Transition { from, to, reason, tally, consecutive, open_ns, openings, succeeded, failed } =
        transition;
    let reason = match reason {
        Reason::ConsecutiveErrors => format!("{consecutive} consecutive errors"),
        Reason::Errors => format!("{} errors in the window ({} calls)", tally.errors, tally.calls),
        Reason::ErrorRate => format!("{} of {} calls failed", tally.errors, tally.calls),
        Reason::SlowRate => format!("{} of {} calls were slow", tally.slow, tally.calls),
        Reason::BurnRate => {
            format!("{} of {} calls failed: the error budget burns too fast", tally.errors, tally.calls)
        }
        Reason::OpenTimeOver => "the open time is over".to_owned(),
        Reason::ProbesFailed => format!("{failed} probes failed, {succeeded} succeeded"),
        Reason::ProbesSucceeded => format!("{succeeded} probes succeeded, {failed} failed"),
        Reason::Recovered => format!("recovered, {} of {} calls failed", tally.errors, tally.calls),
    };
    let mut text = format!("circuit `{}`: {} → {}: {reason}", name(key), from.name(), to.name());
    if *to == State::Open {
        // To the millisecond, so that jitter does not fill the line.
        let time = std::time::Duration::from_nanos(*open_ns).as_millis();
        let time = std::time::Duration::from_millis(u64::try_from(time).unwrap_or(u64::MAX));
        text.push_str(&format!("; for {}", ConfigDuration(time)));
        if *openings > 1 {
            text.push_str(&format!(", opening {openings} in a row"));
        }
    }
    text
}

/// A key as a person reads it: parts apart, bytes of clients escaped.
fn name(key: &[u8]) -> String {
    let parts = key.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    let parts: Vec<String> = parts.map(|part| part.escape_ascii().to_string()).collect();
    if parts.is_empty() { "all".to_owned() } else { parts.join(" / ") }
}
