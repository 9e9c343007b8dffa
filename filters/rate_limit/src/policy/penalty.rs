//! Who does not heed refusals is refused for longer. A bucket holds the refusals that are forgiven; one that finds it empty leaves a debt in it,
//! which takes as long to come back as the key is blocked.

use weir_sdk::limit::{self, Algorithm, OnFull, Store, Table, TokenBucket};
use weir_sdk::{At, ConfigDuration, Problems, Status};

use super::Setup;
use super::meaning::meaning;
use super::wrong;
use crate::config;

const DAY_NS: u64 = 86_400_000_000_000;

/// A compiled [`config::Penalty`].
#[derive(Clone, Debug)]
pub(crate) struct Penalty {
    forgiven: Table,
    debt: u64,
}

impl Penalty {
    /// Checks and compiles that of the limit at a place.
    pub(crate) fn compile(
        at: &At<'_>,
        limit: &config::Limit,
        setup: &Setup<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let written = limit.penalty.as_ref()?;
        let at = at.field("penalty");
        if limit.key.is_empty() || matches!(limit.algorithm, config::Algorithm::Global(_)) {
            problems.add(at, "needs a limit with a `key`, and not a `global` one");
        }
        if !(1..=1_000_000).contains(&written.after) {
            wrong(&at, "after", "expected 1 to 1000000", problems);
        }
        let mut time = |field: &str, time: ConfigDuration| {
            let ns = weir_sdk::nanos(time.0);
            if !(1_000_000..=DAY_NS).contains(&ns) {
                wrong(&at, field, "expected 1ms to 1d", problems);
            }
            ns
        };
        let (within, block) = (time("within", written.within), time("block", written.block));
        let bucket = TokenBucket::new(written.after, written.after, within)?;
        // What comes in that time; one more, as a refused take leaves up to one.
        let come = u128::from(block).saturating_mul(written.after.into());
        let debt = limit::div_ceil(come, within.max(1)).map_or(u64::MAX, |debt| debt.saturating_add(1));
        let algorithm = Algorithm::TokenBucket(bucket);
        let meaning = meaning((&limit.key, algorithm));
        let name = format!("weir.rate_limit/1/penalty/{}/{}/{meaning}", setup.scope, limit.name);
        // Who has no place of its own is never punished for others.
        let forgiven = Table::keyed(&name, algorithm, limit.max_keys, setup.seed, OnFull::Deny);
        Some(Self { forgiven, debt })
    }

    /// How long the key is blocked from now on, where it is.
    pub(crate) fn blocked_ns(&self, store: &dyn Store, key: &[u8], now: u64) -> Result<Option<u64>, Status> {
        let look = self.forgiven.look(store, key, now).map_err(|error| error.status)?;
        Ok(if look.admitted { None } else { look.reset_ns })
    }

    /// The key was refused.
    pub(crate) fn refused(&self, store: &dyn Store, key: &[u8], now: u64) -> Result<(), Status> {
        let take = |cost| self.forgiven.take(store, key, now, cost).map_err(|error| error.status);
        let taken = take(1)?;
        if taken.admission.admitted || taken.overflowed {
            return Ok(());
        }
        // A take of nothing tells where.
        match take(0)?.receipt {
            Some(receipt) => {
                self.forgiven.charge(store, &receipt, now, self.debt).map_err(|error| error.status)
            }
            // Blocked already.
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use serde_json::json;
    use weir_sdk::HostError;

    use super::*;

    #[derive(Default)]
    struct Memory(RefCell<BTreeMap<Vec<u8>, Vec<u8>>>);

    impl Store for Memory {
        fn update(
            &self,
            key: &[u8],
            next: &mut dyn FnMut(Option<Vec<u8>>) -> Option<Vec<u8>>,
        ) -> Result<(), HostError> {
            let old = self.0.borrow().get(key).cloned();
            if let Some(new) = next(old) {
                self.0.borrow_mut().insert(key.to_vec(), new);
            }
            Ok(())
        }
    }

    fn penalty(after: u32, within_ms: u64, block_ms: u64) -> Penalty {
        let limit = json!({
            "name": "a", "key": [{"header": "user"}], "max_keys": 8,
            "algorithm": {"concurrency": {"max_requests": 1}},
            "penalty": {"after": after, "within": format!("{within_ms}ms"), "block": format!("{block_ms}ms")},
        });
        let mut problems = Problems::new();
        let limit = weir_sdk::parse::<config::Limit>(Some(limit.to_string().as_bytes())).unwrap();
        let penalty =
            Penalty::compile(&weir_sdk::At::of("l"), &limit, &Setup { scope: "s", seed: 7 }, &mut problems);
        problems.finish().unwrap();
        penalty.unwrap()
    }

    /// One that is refused while it is not blocked, at random times: blocked for more than is forgiven at once, for `block` and at most one refusal's
    /// time longer, whatever it does meanwhile.
    #[test]
    fn a_key_is_blocked_for_what_is_not_forgiven() {
        // Knuth's multiplier instead of dice.
        let mut seed = 1_u64;
        let mut draw = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let mut blocks = 0;
        for _ in 0..200 {
            let (after, within_ms, block_ms) = (1 + draw(5), 1 + draw(500), 1 + draw(2_000));
            let penalty = penalty(u32::try_from(after).unwrap(), within_ms, block_ms);
            let (within, block) = (within_ms * 1_000_000, block_ms * 1_000_000);
            let store = Memory::default();
            let (mut now, mut refusals) = (1_u64 << 40, Vec::new());
            for _ in 0..100 {
                now += draw(3) * draw(within);
                assert_eq!(penalty.blocked_ns(&store, b"k", now), Ok(None));
                penalty.refused(&store, b"k", now).unwrap();
                refusals.push(now);
                let recent = refusals.iter().filter(|at| now - **at < within).count() as u64;
                let Some(time) = penalty.blocked_ns(&store, b"k", now).unwrap() else {
                    assert!(recent <= 2 * after);
                    continue;
                };
                blocks += 1;
                let one = within.div_ceil(after);
                assert!((block..=block + 2 * one).contains(&time), "{time} for {block}, one in {one}");
                // Refusals do not make it longer, and others are not blocked.
                penalty.refused(&store, b"k", now).unwrap();
                assert_eq!(penalty.blocked_ns(&store, b"k", now), Ok(Some(time)));
                assert_eq!(penalty.blocked_ns(&store, b"other", now), Ok(None));
                now += time;
                assert!(penalty.blocked_ns(&store, b"k", now - 1).unwrap().is_some());
            }
        }
        assert!(blocks > 1000, "{blocks}");
    }

    #[test]
    fn so_many_are_forgiven() {
        let penalty = penalty(3, 60_000, 300_000);
        let store = Memory::default();
        let now = 1 << 40;
        for _ in 0..3 {
            penalty.refused(&store, b"k", now).unwrap();
            assert_eq!(penalty.blocked_ns(&store, b"k", now), Ok(None));
        }
        penalty.refused(&store, b"k", now).unwrap();
        assert!(penalty.blocked_ns(&store, b"k", now + 299_000_000_000).unwrap().is_some());
        assert_eq!(penalty.blocked_ns(&store, b"k", now + 320_000_000_000), Ok(None));
        // A row of eight is full: nobody else is punished.
        for key in 0..20_u8 {
            for _ in 0..5 {
                penalty.refused(&store, &[key], now).unwrap();
            }
        }
        let blocked = (0..20_u8).filter(|key| penalty.blocked_ns(&store, &[*key], now).unwrap().is_some());
        assert_eq!(blocked.count(), 7);
    }
}
