//! The calls that a circuit looks at: the last so many, or those of the last time in a ring of buckets. Knows no clock.

use super::bytes;

/// How many of which calls there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub calls: u32,
    /// Of these, errors.
    pub errors: u32,
    /// Of these, slow ones; one that is an error, too, is both.
    pub slow: u32,
}

impl Tally {
    /// Whether `part` is this share of the calls, in parts of a million, or more.
    pub(super) fn is_rate(self, part: u32, ppm: u32) -> bool {
        u64::from(part).saturating_mul(1_000_000) >= u64::from(self.calls).saturating_mul(ppm.into())
    }
}

/// What a window is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// The last so many calls.
    Calls(u16),
    /// A ring of buckets.
    Time {
        /// The time of one bucket.
        bucket_ns: u64,
        /// How many.
        buckets: u8,
    },
}

/// A window and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    shape: Shape,
    /// `Calls`: where the next mark goes. `Time`: the number of the newest bucket since 1970.
    newest: u64,
    /// `Calls`: a byte for each call, at most as many as the shape says.
    marks: Vec<u8>,
    /// `Time`: as many as the shape says; bucket `n` is at `n` modulo their number.
    buckets: Vec<Tally>,
}

const ERROR: u8 = 1;
const SLOW: u8 = 2;

impl Default for Window {
    fn default() -> Self {
        Self::new(Shape::Calls(0))
    }
}

impl Window {
    pub(super) fn new(shape: Shape) -> Self {
        let buckets = match shape {
            Shape::Calls(_) => Vec::new(),
            Shape::Time { buckets, .. } => vec![Tally::default(); usize::from(buckets)],
        };
        Self { shape, newest: 0, marks: Vec::new(), buckets }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Adds a call that has ended now.
    pub(super) fn add(&mut self, now_ns: u64, error: bool, slow: bool) {
        match self.shape {
            Shape::Calls(size) => {
                let mark = if error { ERROR } else { 0 } | if slow { SLOW } else { 0 };
                let is_filling = self.marks.len() < usize::from(size);
                match self.marks.get_mut(usize::try_from(self.newest).unwrap_or(usize::MAX)) {
                    Some(place) => *place = mark,
                    None if is_filling => self.marks.push(mark),
                    None => {}
                }
                self.newest = self.newest.saturating_add(1).checked_rem(u64::from(size)).unwrap_or(0);
            }
            Shape::Time { .. } => {
                let index = self.advance(now_ns);
                if let Some(bucket) = self.buckets.get_mut(index) {
                    bucket.calls = bucket.calls.saturating_add(1);
                    bucket.errors = bucket.errors.saturating_add(error.into());
                    bucket.slow = bucket.slow.saturating_add(slow.into());
                }
            }
        }
    }

    /// What the window holds now.
    pub(super) fn tally(&mut self, now_ns: u64) -> Tally {
        let mut sum = Tally::default();
        if matches!(self.shape, Shape::Time { .. }) {
            self.advance(now_ns);
        }
        for mark in &self.marks {
            sum.calls = sum.calls.saturating_add(1);
            sum.errors = sum.errors.saturating_add((mark & ERROR != 0).into());
            sum.slow = sum.slow.saturating_add((mark & SLOW != 0).into());
        }
        for bucket in &self.buckets {
            sum.calls = sum.calls.saturating_add(bucket.calls);
            sum.errors = sum.errors.saturating_add(bucket.errors);
            sum.slow = sum.slow.saturating_add(bucket.slow);
        }
        sum
    }

    /// Empties the buckets that time has passed by, and tells the place of the one that counts now.
    fn advance(&mut self, now_ns: u64) -> usize {
        let Shape::Time { bucket_ns, buckets } = self.shape else {
            return 0;
        };
        let count = u64::from(buckets);
        let now = now_ns.checked_div(bucket_ns).unwrap_or(0);
        let place = |number: u64| usize::try_from(number.checked_rem(count).unwrap_or(0)).unwrap_or(0);
        // Another worker asked the clock a moment later than this one: that is the same bucket or the next. More, and the clock was set back.
        let number = if now.saturating_add(1) == self.newest { self.newest } else { now };
        if number < self.newest || number.saturating_sub(self.newest) >= count {
            self.buckets.fill(Tally::default());
        } else {
            for passed in self.newest.saturating_add(1)..=number {
                if let Some(bucket) = self.buckets.get_mut(place(passed)) {
                    *bucket = Tally::default();
                }
            }
        }
        self.newest = number;
        place(number)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self.shape {
            Shape::Calls(size) => {
                out.push(0);
                bytes::put_u64(out, size.into());
            }
            Shape::Time { bucket_ns, buckets } => {
                out.push(buckets);
                bytes::put_u64(out, bucket_ns);
            }
        }
        bytes::put_u64(out, self.newest);
        for tally in &self.buckets {
            for number in [tally.calls, tally.errors, tally.slow] {
                bytes::put_u32(out, number);
            }
        }
        bytes::put_u32(out, u32::try_from(self.marks.len()).unwrap_or(0));
        out.extend_from_slice(&self.marks);
    }

    /// The window of what [`Window::encode`] wrote.
    pub(super) fn decode(from: &mut &[u8]) -> Option<Self> {
        let [buckets] = bytes::take(from)?;
        let size = bytes::take_u64(from)?;
        let shape = match buckets {
            0 => Shape::Calls(u16::try_from(size).ok()?),
            buckets => Shape::Time { bucket_ns: size, buckets },
        };
        let mut window = Self::new(shape);
        window.newest = bytes::take_u64(from)?;
        for tally in &mut window.buckets {
            for number in [&mut tally.calls, &mut tally.errors, &mut tally.slow] {
                *number = bytes::take_u32(from)?;
            }
        }
        let marks = usize::try_from(bytes::take_u32(from)?).ok()?;
        let room = if let Shape::Calls(size) = shape { usize::from(size) } else { 0 };
        let (marks, rest) = from.split_at_checked(marks).filter(|(marks, _)| marks.len() <= room)?;
        window.marks = marks.to_vec();
        *from = rest;
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(calls: u32, errors: u32, slow: u32) -> Tally {
        Tally { calls, errors, slow }
    }

    #[test]
    fn the_last_calls_count_and_the_one_before_them_does_not() {
        let mut window = Window::new(Shape::Calls(3));
        for (error, slow) in [(true, false), (true, true), (false, false)] {
            window.add(0, error, slow);
        }
        assert_eq!(window.tally(0), tally(3, 2, 1));
        window.add(0, false, false);
        assert_eq!(window.tally(0), tally(3, 1, 1));
        window.add(0, false, false);
        assert_eq!(window.tally(u64::MAX), tally(3, 0, 0));
    }

    #[test]
    fn a_bucket_leaves_when_the_window_has_passed_it() {
        let mut window = Window::new(Shape::Time { bucket_ns: 10, buckets: 3 });
        window.add(1000, true, false);
        window.add(1010, true, false);
        window.add(1029, false, true);
        assert_eq!(window.tally(1029), tally(3, 2, 1));
        assert_eq!(window.tally(1030), tally(2, 1, 1));
        assert_eq!(window.tally(1049), tally(1, 0, 1));
        assert_eq!(window.tally(1050), tally(0, 0, 0));
        // A worker that asked the clock a moment ago.
        window.add(1049, true, false);
        assert_eq!(window.tally(1050), tally(1, 1, 0));
        // The clock was set back: begun anew, not stuck.
        window.add(5, true, true);
        assert_eq!(window.tally(5), tally(1, 1, 1));
        assert_eq!(window.tally(u64::MAX), tally(0, 0, 0));
    }

    #[test]
    fn bytes_and_back() {
        let mut calls = Window::new(Shape::Calls(5));
        let mut time = Window::new(Shape::Time { bucket_ns: 7, buckets: 4 });
        for step in 0..9 {
            calls.add(step * 5, step % 2 == 0, step % 3 == 0);
            time.add(step * 5, step % 2 == 0, step % 3 == 0);
        }
        for window in [calls, time, Window::default()] {
            let mut bytes = Vec::new();
            window.encode(&mut bytes);
            bytes.extend([7; 3]);
            let mut from = bytes.as_slice();
            assert_eq!((Window::decode(&mut from), from), (Some(window), &[7; 3][..]));
        }
    }
}
