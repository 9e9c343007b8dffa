//! What the windows say beside what opens a circuit at once: how fast an error budget burns, and how much is shed. Pure.

use super::circuit::{Circuit, Head};
use super::machine::{Admission, Call, Refusal, Why};
use super::rules::{Burn, MILLION, Reason, Rules, Shed};
use super::window::Tally;

impl Circuit {
    /// What one of `Rules::more` holds now.
    pub(super) fn tally(&mut self, at: usize, now_ns: u64) -> Tally {
        self.more.get_mut(at).map(|window| window.tally(now_ns)).unwrap_or_default()
    }

    /// Whether the error budget burns too fast, over the long and over the short window.
    pub(super) fn burns(&mut self, rules: &Rules, now_ns: u64) -> Option<Reason> {
        let Burn { short, long, ppm, minimum } = rules.burn?;
        let tally = self.tally(long, now_ns);
        let fast = |tally: Tally| tally.is_rate(tally.errors, ppm);
        (tally.calls >= minimum && fast(tally) && fast(self.tally(short, now_ns))).then_some(Reason::BurnRate)
    }

    /// Finds how much is shed.
    pub(super) fn weigh(&mut self, rules: &Rules, now_ns: u64) {
        self.head.shed_ppm = match &rules.shed {
            Some(shed) => shed.probability_ppm(self.tally(shed.window, now_ns)),
            None => 0,
        };
    }
}

impl Head {
    /// Sheds by another draw than that of a recovery.
    pub(super) fn shed(&self, rules: &Rules, call: &Call) -> Option<Admission> {
        let shed = rules.shed.as_ref()?;
        if self.shed_ppm == 0 {
            return None;
        }
        // A class with half of the room is shed twice as often.
        let ppm = u64::from(self.shed_ppm).saturating_mul(MILLION.into());
        let ppm = ppm.checked_div(call.share_ppm.into()).unwrap_or(0).min(shed.most_ppm.into());
        let drawn = u128::from(call.random.rotate_left(32)).saturating_mul(MILLION.into()) >> 64;
        (drawn < u128::from(ppm)).then_some(Admission::Refused(Refusal { why: Why::Shed, retry_ns: 0 }))
    }

    /// How many calls may be under way for a request of this class to come in.
    pub(super) fn room(&self, rules: &Rules, call: &Call) -> u32 {
        let room = u64::from(self.limit(rules)).saturating_mul(call.share_ppm.into());
        let room = room.checked_div(MILLION.into()).unwrap_or(0);
        u32::try_from(room).unwrap_or(u32::MAX).max(1)
    }
}

impl Shed {
    /// `max(0, (n − s / success_rate) / (n + 1)) ^ (1 / aggression)` of `n` calls of which `s` were no errors, as Envoy's admission_control has
    /// it, but at most `most_ppm`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1000000, and the cast saturates"
    )]
    pub(super) fn probability_ppm(&self, tally: Tally) -> u32 {
        let million = f64::from(MILLION);
        let calls = f64::from(tally.calls);
        if calls * 1_000_000_000.0 < f64::from(self.minimum_rps) * self.window_ns {
            return 0;
        }
        let good = f64::from(tally.calls.saturating_sub(tally.errors));
        let share = (calls - good * million / f64::from(self.success_ppm)) / (calls + 1.0);
        (root(share.max(0.0), self.aggression) * million).min(f64::from(self.most_ppm)) as u32
    }
}

/// The root of this degree of a number from 0 to 1, to a millionth: by halving, since a module is larger by kilobytes with `powf`.
fn root(number: f64, degree: i32) -> f64 {
    if degree <= 1 {
        return number;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..20 {
        let middle: f64 = (low + high) / 2.0;
        *if middle.powi(degree) < number { &mut low } else { &mut high } = middle;
    }
    if number == 0.0 { 0.0 } else { high }
}
