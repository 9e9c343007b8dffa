//! A token bucket. Pure: a state and a time go in, a state and a verdict come out.

use weir_sdk::{At, Problems, SharedValue, nanos};

use super::check;
pub use crate::config::TokenBucket;

/// What a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    tokens: u32,
    /// The last fill that counted.
    filled_ns: u64,
}

impl SharedValue for Level {
    fn encode(&self) -> Vec<u8> {
        [&self.tokens.to_le_bytes()[..], &self.filled_ns.to_le_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tokens, filled_ns) = bytes.split_first_chunk::<4>()?;
        let filled_ns = u64::from_le_bytes(filled_ns.try_into().ok()?);
        Some(Self { tokens: u32::from_le_bytes(*tokens), filled_ns })
    }
}

impl TokenBucket {
    /// Checks what stands at `at`.
    pub fn check(&self, at: &At<'_>, problems: &mut Problems) {
        check::number(problems, at, "max_tokens", self.max_tokens, (1, 1_000_000));
        check::number(problems, at, "tokens_per_fill", self.tokens_per_fill, (1, 1_000_000));
        check::time(problems, at, "fill_interval", self.fill_interval.0, (1, check::DAY), "1ms to a day");
    }

    /// Takes a token now, in nanoseconds of the clock. A bucket that nobody has seen is full; one from the future, as after a restart of the machine, too.
    #[must_use]
    pub fn take(&self, level: Option<Level>, now_ns: u64) -> (Level, bool) {
        let interval_ns = nanos(self.fill_interval.0);
        let full = Level { tokens: self.max_tokens, filled_ns: now_ns };
        let level = level.filter(|level| level.filled_ns <= now_ns).unwrap_or(full);
        let passed = now_ns.saturating_sub(level.filled_ns);
        let fills = passed.checked_div(interval_ns).unwrap_or(0);
        // More fills than tokens fill no more: two numbers of 32 bits, whose product overflows no more than the time that has passed.
        let came = fills.min(u64::from(self.max_tokens)).wrapping_mul(u64::from(self.tokens_per_fill));
        let tokens = u64::from(level.tokens).saturating_add(came).min(u64::from(self.max_tokens));
        let tokens = u32::try_from(tokens).unwrap_or(self.max_tokens);
        let filled_ns = level.filled_ns.wrapping_add(fills.wrapping_mul(interval_ns));
        match tokens.checked_sub(1) {
            Some(tokens) => (Level { tokens, filled_ns }, true),
            None => (Level { tokens, filled_ns }, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use weir_sdk::ConfigDuration;

    use super::*;

    fn bucket(max: u32, per_fill: u32, ms: u64) -> TokenBucket {
        let fill_interval = ConfigDuration(Duration::from_millis(ms));
        TokenBucket { max_tokens: max, tokens_per_fill: per_fill, fill_interval }
    }

    #[test]
    fn tokens_come_at_their_times() {
        let bucket = bucket(2, 1, 1000);
        let mut level = None;
        for (ms, want) in [
            (0, true),
            (0, true),
            (0, false),
            (999, false),
            (1000, true),
            (1500, false),
            (9000, true),
            (9000, true),
            (9000, false),
        ] {
            let (next, taken) = bucket.take(level, ms * 1_000_000);
            assert_eq!(taken, want, "at {ms} ms");
            level = Some(next);
        }
        let (_, taken) = bucket.take(Some(Level { tokens: 0, filled_ns: u64::MAX }), 0);
        assert!(taken, "a bucket from the future is full");
    }

    #[test]
    fn a_level_is_read_as_it_was_written() {
        let level = Level { tokens: 7, filled_ns: 1 << 40 };
        assert_eq!(Level::decode(&level.encode()), Some(level));
        assert_eq!((Level::decode(b""), Level::decode(b"abcdefghijklm")), (None, None));
    }

    proptest! {
        #[test]
        fn never_more_than_the_bucket_gives(
            max in 1_u32..20, per_fill in 1_u32..20, ms in 1_u64..50,
            waits in prop::collection::vec(0_u64..40, 1..300),
        ) {
            let bucket = bucket(max, per_fill, ms);
            let (mut level, mut now, mut taken) = (None, 0, 0_u64);
            for wait in waits {
                now += wait;
                let (next, is_taken) = bucket.take(level, now * 1_000_000);
                prop_assert!(next.tokens < max || !is_taken);
                taken += u64::from(is_taken);
                level = Some(next);
                prop_assert!(taken <= u64::from(max) + (now / ms) * u64::from(per_fill));
            }
        }
    }
}
