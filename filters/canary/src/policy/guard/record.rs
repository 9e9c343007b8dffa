//! What all workers know of a rule's arms: the window, and which of them are rolled back. Steps from one value to the next; the clock is an
//! argument.

use weir_sdk::SharedValue;

use super::counts::{Counts, Slices};
use super::rules::{Cause, Rules};

/// The shared state of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The last part of the window in which a test was made.
    looked: u64,
    /// By lane, the stable arm's (0) left out.
    out: Vec<Option<Rolled>>,
    slices: Slices,
}

/// An arm is rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rolled {
    /// On the monotonic clock.
    pub(crate) since_ns: u64,
    /// What gave it away.
    pub(crate) cause: Cause,
    /// The arm's calls in the window then.
    pub(crate) arm: Counts,
    /// The stable arm's.
    pub(crate) stable: Counts,
}

/// What a step has changed: it is written by one worker, so it happens once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Lanes that were rolled back, and why.
    pub(crate) rolled: Vec<(usize, Rolled)>,
    /// Lanes that came back.
    pub(crate) back: Vec<usize>,
}

impl Record {
    /// Adds what a worker counted since it did so last, by lane, and tests each arm where a test is due.
    pub(crate) fn merge(&mut self, rules: &Rules, now_ns: u64, counts: &[Counts]) -> Step {
        let mut step = Step { back: self.expire(rules, now_ns), ..Step::default() };
        self.out.truncate(counts.len().saturating_sub(1));
        while self.out.len().saturating_add(1) < counts.len() {
            self.out.push(None);
        }
        let slice = rules.slice(now_ns);
        self.slices.advance(slice);
        self.slices.add(slice, counts);
        // The clock was set back.
        self.looked = self.looked.min(slice);
        if self.looked == slice && slice > 0 {
            return step;
        }
        self.looked = slice;
        let stable = self.slices.sum(0);
        for (lane, out) in (1_usize..).zip(&mut self.out) {
            let arm = self.slices.sum(lane);
            if out.is_none()
                && let Some(cause) = rules.test(arm, stable)
            {
                let rolled = Rolled { since_ns: now_ns, cause, arm, stable };
                *out = Some(rolled);
                step.rolled.push((lane, rolled));
            }
        }
        step
    }

    /// Lets all arms come back, watched anew.
    pub(crate) fn reset(&mut self) -> Step {
        let mut back = Vec::new();
        for (lane, out) in (1_usize..).zip(&self.out) {
            if out.is_some() {
                back.push(lane);
            }
        }
        *self = Self { looked: self.looked, ..Self::default() };
        Step { back, ..Step::default() }
    }

    /// Why an arm is out, where it is.
    #[must_use]
    pub(crate) fn rolled(&self, rules: &Rules, lane: usize, now_ns: u64) -> Option<&Rolled> {
        let rolled = self.out.get(lane.checked_sub(1)?)?.as_ref()?;
        (!rules.is_over(rolled, now_ns)).then_some(rolled)
    }

    /// How many arms are written as rolled back.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.out.iter().flatten().count()
    }

    fn expire(&mut self, rules: &Rules, now_ns: u64) -> Vec<usize> {
        let mut back = Vec::new();
        for (lane, out) in (1_usize..).zip(&mut self.out) {
            if out.as_ref().is_some_and(|rolled| rules.is_over(rolled, now_ns)) {
                *out = None;
                self.slices.clear(lane);
                back.push(lane);
            }
        }
        back
    }
}

/// Numbers of 64 bits, little-endian: the last test, the lanes, each lane's state, then the parts of the window.
impl SharedValue for Record {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |word: u64| bytes.extend_from_slice(&word.to_le_bytes());
        fn put_counts(put: &mut dyn FnMut(u64), counts: &Counts) {
            put(counts.calls);
            put(counts.errors);
            put(counts.slow);
        }
        put(self.looked);
        put(u64::try_from(self.out.len()).unwrap_or(0));
        for out in &self.out {
            let Some(rolled) = out else {
                put(0);
                continue;
            };
            put(match rolled.cause {
                Cause::Errors => 1,
                Cause::Slow => 2,
            });
            put(rolled.since_ns);
            put_counts(&mut put, &rolled.arm);
            put_counts(&mut put, &rolled.stable);
        }
        for (number, counts) in &self.slices.0 {
            put(*number);
            put(u64::try_from(counts.len()).unwrap_or(0));
            counts.iter().for_each(|counts| put_counts(&mut put, counts));
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let mut words = Words(words);
        let (looked, lanes) = (words.next()?, words.next()?);
        let mut record = Self { looked, ..Self::default() };
        for _ in 0..lanes {
            let cause = match words.next()? {
                0 => {
                    record.out.push(None);
                    continue;
                }
                1 => Cause::Errors,
                2 => Cause::Slow,
                _ => return None,
            };
            let since_ns = words.next()?;
            record.out.push(Some(Rolled { since_ns, cause, arm: words.counts()?, stable: words.counts()? }));
        }
        while let Some(number) = words.next() {
            let mut lanes = Vec::new();
            for _ in 0..words.next()? {
                lanes.push(words.counts()?);
            }
            record.slices.0.push((number, lanes));
        }
        Some(record)
    }
}

/// What is not read yet.
struct Words<'b>(&'b [[u8; 8]]);

impl Words<'_> {
    #[inline(never)]
    fn next(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    #[inline(never)]
    fn counts(&mut self) -> Option<Counts> {
        Some(Counts { calls: self.next()?, errors: self.next()?, slow: self.next()? })
    }
}
