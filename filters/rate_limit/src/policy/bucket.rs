//! The states of one algorithm: how much, under which name they are kept, and what clients are told of it.

use std::rc::Rc;

use weir_sdk::limit::{self, Algorithm, Queue, Table};
use weir_sdk::{At, Problems};

use super::Setup;
use super::meaning::meaning;
use super::wrong;
use crate::config::{self, Unit};

/// States of one algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) table: Table,
    /// Whether its clock is the time of day.
    pub(crate) of_day: bool,
    /// How much there is when nothing is used.
    pub(crate) size: u64,
    /// Its item of `RateLimit-Policy`.
    pub(crate) policy: Rc<str>,
}

/// The longest wait.
const LONGEST_WAIT_NS: u64 = 3_600_000_000_000;

impl config::Limit {
    /// Under what the states are kept of what stands at a place of the limit.
    #[inline(never)]
    pub(crate) fn state_name(&self, setup: &Setup<'_>, place: usize, what: &str, meaning: &str) -> String {
        let place = place.to_string();
        let [kind, scope, slash, name] = match &self.share {
            Some(share) => ["share/", share, "", ""],
            None => ["plugin/", setup.scope, "/", &self.name],
        };
        ["weir.rate_limit/1/", kind, scope, slash, name, "/", &place, "/", what, meaning].concat()
    }
}

impl Bucket {
    pub(crate) fn new(
        limit: &config::Limit,
        place: usize,
        algorithm: Algorithm,
        single: bool,
        setup: &Setup<'_>,
    ) -> Self {
        // States are of one meaning only as long as the limit is written alike.
        let meaning = meaning((algorithm, &limit.key, limit.on_full, limit.max_keys));
        let name = limit.state_name(setup, place, "", &meaning);
        let table = match single {
            true => Table::single(&name, algorithm),
            false => {
                let on_full = match limit.on_full {
                    config::OnFull::Shared => limit::OnFull::Shared,
                    config::OnFull::Deny => limit::OnFull::Deny,
                };
                Table::keyed(&name, algorithm, limit.max_keys, setup.seed, on_full)
            }
        };
        Self {
            of_day: matches!(algorithm, Algorithm::FixedWindow(_)),
            size: algorithm.size(),
            policy: policy(&limit.name, &algorithm),
            table,
        }
    }
}

/// An item of `RateLimit-Policy`: what comes over a long time.
fn policy(name: &str, algorithm: &Algorithm) -> Rc<str> {
    let mut state = vec![0; algorithm.state_bytes()];
    let quota = algorithm.size();
    // A whole quota has come back after the time that it takes for all to be there again.
    let full = match algorithm {
        Algorithm::FixedWindow(window) => Some(window.longest_ns()),
        _ => algorithm.take(&mut state, 0, quota).full_ns,
    };
    match full {
        Some(full) => format!("\"{name}\";q={quota};w={}", full.div_ceil(1_000_000_000)).into(),
        None => format!("\"{name}\";q={quota};qu=\"concurrent-requests\"").into(),
    }
}

/// Whether who comes too early can wait.
pub(crate) fn may_queue(algorithm: &config::Algorithm) -> bool {
    matches!(algorithm, config::Algorithm::TokenBucket(_) | config::Algorithm::Gcra(_))
}

/// Checks and compiles a limit's queue.
pub(crate) fn queue(at: &At<'_>, limit: &config::Limit, problems: &mut Problems) -> Option<Queue> {
    let queue = limit.queue.as_ref()?;
    let at = at.field("queue");
    if !may_queue(&limit.algorithm) {
        problems.add(at, "is for `token_bucket` and `gcra` only");
    }
    if queue.max_queued == 0 {
        wrong(&at, "max_queued", "expected 1 or more, found 0", problems);
    }
    let max_wait_ns = weir_sdk::nanos(queue.max_wait.0);
    if !(1..=LONGEST_WAIT_NS).contains(&max_wait_ns) {
        let reason = format!("expected more than 0 and at most `1h`, found `{}`", queue.max_wait);
        wrong(&at, "max_wait", &reason, problems);
    }
    Some(Queue { max_queued: queue.max_queued.into(), max_wait_ns })
}

/// Checks and compiles what stands at a place.
pub(crate) fn algorithm(
    at: &At<'_>,
    written: &config::Algorithm,
    queue: Option<Queue>,
    problems: &mut Problems,
) -> Option<Algorithm> {
    let ns = |time: weir_sdk::ConfigDuration| weir_sdk::nanos(time.0);
    // Those that must not be 0.
    let (name, numbers): (_, [(&str, u64); 3]) = match written {
        config::Algorithm::TokenBucket(bucket) => (
            "token_bucket",
            [
                ("max_tokens", bucket.max_tokens.into()),
                ("tokens_per_fill", bucket.tokens_per_fill.into()),
                ("fill_interval", ns(bucket.fill_interval)),
            ],
        ),
        config::Algorithm::Gcra(gcra) => (
            "gcra",
            [("requests", gcra.requests.into()), ("period", ns(gcra.period)), ("burst", gcra.burst.into())],
        ),
        config::Algorithm::FixedWindow(window) => (
            "fixed_window",
            [("max_requests", window.max_requests.into()), ("window", window.window.map_or(1, ns)), ("", 1)],
        ),
        config::Algorithm::SlidingWindow(window) => (
            "sliding_window",
            [("max_requests", window.max_requests.into()), ("window", ns(window.window)), ("", 1)],
        ),
        config::Algorithm::Concurrency(most) => {
            ("concurrency", [("max_requests", most.max_requests.into()), ("", 1), ("", 1)])
        }
        config::Algorithm::Global(_) => return None,
    };
    for (field, number) in numbers {
        if number == 0 {
            problems.add(at.field(name).field(field), "expected more than 0");
        }
    }
    let queue = queue.unwrap_or_default();
    match written {
        config::Algorithm::TokenBucket(bucket) => {
            limit::TokenBucket::new(bucket.max_tokens, bucket.tokens_per_fill, ns(bucket.fill_interval))
                .map(|bucket| Algorithm::TokenBucket(bucket.with_queue(queue)))
        }
        config::Algorithm::Gcra(gcra) => limit::Gcra::new(gcra.requests, ns(gcra.period), gcra.burst)
            .map(|gcra| Algorithm::Gcra(gcra.with_queue(queue))),
        config::Algorithm::FixedWindow(window) => {
            fixed_window(&at.field("fixed_window"), window, problems).map(Algorithm::FixedWindow)
        }
        config::Algorithm::SlidingWindow(window) => {
            limit::SlidingWindow::new(window.max_requests, ns(window.window)).map(Algorithm::SlidingWindow)
        }
        config::Algorithm::Concurrency(most) => {
            limit::Concurrency::new(most.max_requests).map(Algorithm::Concurrency)
        }
        config::Algorithm::Global(_) => None,
    }
}

fn fixed_window(
    at: &At<'_>,
    written: &config::FixedWindow,
    problems: &mut Problems,
) -> Option<limit::FixedWindow> {
    let max = written.max_requests.into();
    let window = match (written.window, written.calendar) {
        (Some(window), None) => limit::FixedWindow::new(max, weir_sdk::nanos(window.0)),
        (None, Some(Unit::Week)) => limit::FixedWindow::weeks(max),
        (None, Some(Unit::Month)) => limit::FixedWindow::months(max, 1),
        (None, Some(Unit::Year)) => limit::FixedWindow::months(max, 12),
        (None, Some(Unit::Day)) => limit::FixedWindow::new(max, 86_400_000_000_000),
        (None, Some(Unit::Hour)) => limit::FixedWindow::new(max, 3_600_000_000_000),
        (None, Some(Unit::Minute)) => limit::FixedWindow::new(max, 60_000_000_000),
        (None, Some(Unit::Second)) => limit::FixedWindow::new(max, 1_000_000_000),
        _ => {
            problems.add(at, "expected exactly one of `window` and `calendar`");
            return None;
        }
    }?;
    let Some(text) = &written.utc_offset else {
        return Some(window);
    };
    let offset = utc_offset(text);
    if offset.is_none() {
        wrong(
            at,
            "utc_offset",
            "expected a difference from UTC such as `+01:00` or `-08:00`, at most 18 hours",
            problems,
        );
    }
    Some(window.with_offset(offset?))
}

/// Seconds east of UTC.
fn utc_offset(text: &str) -> Option<i32> {
    let [sign, h1, h2, b':', m1, m2] = text.as_bytes() else {
        return None;
    };
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let number = |tens: &u8, ones: &u8| {
        let are_digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        let digit = |byte: &u8| i32::from(byte & 15);
        are_digits.then(|| digit(tens).saturating_mul(10).saturating_add(digit(ones)))
    };
    let minutes = number(m1, m2).filter(|minutes| *minutes <= 59)?;
    let minutes = number(h1, h2)?.saturating_mul(60).saturating_add(minutes);
    (minutes <= 18 * 60).then(|| minutes.saturating_mul(60).saturating_mul(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_or_refused() {
        for (text, want) in [
            ("+00:00", Some(0)),
            ("+05:30", Some(19_800)),
            ("-08:00", Some(-28_800)),
            ("+18:00", Some(64_800)),
            ("+18:01", None),
            ("+01:60", None),
            ("01:00", None),
            ("+1:00", None),
            ("+01", None),
            ("--1:00", None),
            ("Z", None),
            ("", None),
        ] {
            assert_eq!(utc_offset(text), want, "{text}");
        }
    }
}
