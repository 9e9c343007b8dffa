//! The states of one algorithm: how much, under which name they are kept, and what clients are told of it.

use std::rc::Rc;

use weir_sdk::Problems;
use weir_sdk::limit::{self, Algorithm, Queue, Table};

use super::Setup;
use crate::config;

/// States of one algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) table: Table,
    /// Whether its clock is the time of day.
    pub(crate) of_day: bool,
    /// Its item of `RateLimit-Policy`.
    pub(crate) policy: Rc<str>,
}

/// The longest wait.
const LONGEST_WAIT_NS: u64 = 3_600_000_000_000;

impl Bucket {
    pub(crate) fn new(
        limit: &config::Limit,
        place: usize,
        algorithm: Algorithm,
        single: bool,
        setup: &Setup<'_>,
    ) -> Self {
        let scope = match &limit.share {
            Some(share) => ["share/", share].concat(),
            None => ["plugin/", setup.scope, "/", &limit.name].concat(),
        };
        // States are of one meaning only as long as the limit is written alike.
        let meaning = format!("{algorithm:?}/{:?}/{:?}/{}", limit.key, limit.on_full, limit.max_keys);
        let name = format!("weir.rate_limit/1/{scope}/{place}/{meaning}");
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
            policy: policy(&limit.name, &algorithm),
            table,
        }
    }
}

/// An item of `RateLimit-Policy`: what comes over a long time.
fn policy(name: &str, algorithm: &Algorithm) -> Rc<str> {
    let mut state = vec![0; algorithm.state_bytes()];
    let quota = algorithm.take(&mut state, 0, 0).limit;
    // A whole quota has come back after the time that it takes for all to be there again.
    let full = algorithm.take(&mut state, 0, quota).full_ns;
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
pub(crate) fn queue(path: &str, limit: &config::Limit, problems: &mut Problems) -> Option<Queue> {
    let queue = limit.queue.as_ref()?;
    let path = format!("{path}.queue");
    if !may_queue(&limit.algorithm) {
        problems.add(&path, "is for `token_bucket` and `gcra` only");
    }
    if queue.max_queued == 0 {
        problems.add(format!("{path}.max_queued"), "expected 1 or more, found 0");
    }
    let max_wait_ns = u64::try_from(queue.max_wait.0.as_nanos()).unwrap_or(u64::MAX);
    if !(1..=LONGEST_WAIT_NS).contains(&max_wait_ns) {
        let reason = format!("expected more than 0 and at most `1h`, found `{}`", queue.max_wait);
        problems.add(format!("{path}.max_wait"), reason);
    }
    Some(Queue { max_queued: queue.max_queued.into(), max_wait_ns })
}

/// Checks and compiles what stands at `path`.
pub(crate) fn algorithm(
    path: &str,
    written: &config::Algorithm,
    queue: Option<Queue>,
    problems: &mut Problems,
) -> Option<Algorithm> {
    let ns = |time: weir_sdk::ConfigDuration| u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX);
    let (name, numbers) = match written {
        config::Algorithm::TokenBucket(bucket) => (
            "token_bucket",
            vec![
                ("max_tokens", bucket.max_tokens.into()),
                ("tokens_per_fill", bucket.tokens_per_fill.into()),
                ("fill_interval", ns(bucket.fill_interval)),
            ],
        ),
        config::Algorithm::Gcra(gcra) => (
            "gcra",
            vec![
                ("requests", gcra.requests.into()),
                ("period", ns(gcra.period)),
                ("burst", gcra.burst.into()),
            ],
        ),
        config::Algorithm::FixedWindow(window) => (
            "fixed_window",
            vec![("max_requests", window.max_requests.into()), ("window", ns(window.window))],
        ),
        config::Algorithm::SlidingWindow(window) => (
            "sliding_window",
            vec![("max_requests", window.max_requests.into()), ("window", ns(window.window))],
        ),
        config::Algorithm::Concurrency(most) => {
            ("concurrency", vec![("max_requests", most.max_requests.into())])
        }
        config::Algorithm::Global(_) => return None,
    };
    for (field, _) in numbers.iter().filter(|(_, number)| *number == 0_u64) {
        problems.add(format!("{path}.{name}.{field}"), "expected more than 0");
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
            limit::FixedWindow::new(window.max_requests.into(), ns(window.window)).map(Algorithm::FixedWindow)
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
