//! What is known of noise: how often each place differs between two answers of one cluster, and how often between primary and copy.
//!
//! Pure: a state and its steps. Knows no answer; places are names with `[*]` for every element. Counts are halved when there are enough, so
//! that what no longer happens is forgotten.

use crate::config;
use crate::policy::sort::sort;

/// The state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Noise {
    /// Ascending by name.
    places: Vec<Known>,
    /// Comparisons of primary and copy.
    copies: u32,
    /// Comparisons of primary and control.
    controls: u32,
}

/// What is known of a place: how often it differed.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    place: String,
    copies: u32,
    controls: u32,
}

impl Noise {
    /// Of how many places something is known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.places.len()
    }

    /// Learns from a comparison: the places at which primary and copy differ and, when there was a control answer, those at which primary and
    /// control do. A place counts once, however often it is there.
    pub(super) fn learn(&mut self, rules: &config::Noise, copies: &[String], controls: Option<&[String]>) {
        self.copies = self.copies.saturating_add(1);
        self.controls = self.controls.saturating_add(u32::from(controls.is_some()));
        for place in unique(controls.unwrap_or_default()) {
            if let Some(known) = self.note(place, rules.max_places) {
                known.controls = known.controls.saturating_add(1);
            }
        }
        for place in unique(copies) {
            if let Some(known) = self.note(place, rules.max_places) {
                known.copies = known.copies.saturating_add(1);
            }
        }
        if self.copies > rules.window {
            self.copies /= 2;
            self.places.iter_mut().for_each(|known| known.copies /= 2);
        }
        if self.controls > rules.window {
            self.controls /= 2;
            self.places.iter_mut().for_each(|known| known.controls /= 2);
        }
        self.places.retain(|known| known.copies > 0 || known.controls > 0);
    }

    /// Whether a difference at this place, or around it, is expected anyway.
    #[must_use]
    pub(super) fn is_noisy(&self, rules: &config::Noise, place: &str) -> bool {
        if self.controls < rules.min_samples {
            return false;
        }
        let part = |count: u32, of: u32| f64::from(count) / f64::from(of.max(1));
        self.places.iter().any(|known| {
            let noise = part(known.controls, self.controls);
            known.controls > 0
                && super::is_within(place, &known.place)
                && noise >= rules.relative * part(known.copies, self.copies)
        })
    }

    /// What is known of a place; a new one takes the room of the rarest.
    fn note(&mut self, place: &str, most: usize) -> Option<&mut Known> {
        let at = match self.places.binary_search_by(|known| known.place.as_str().cmp(place)) {
            Ok(at) => at,
            Err(mut at) => {
                if self.places.len() >= most {
                    let times = |known: &Known| known.copies.saturating_add(known.controls);
                    let rarest = (0..self.places.len()).min_by_key(|at| self.places.get(*at).map(times))?;
                    self.places.remove(rarest);
                    at = at.saturating_sub(usize::from(rarest < at));
                }
                self.places.insert(at, Known { place: String::from(place), copies: 0, controls: 0 });
                at
            }
        };
        self.places.get_mut(at)
    }
}

fn unique(places: &[String]) -> Vec<&str> {
    let mut places: Vec<&str> = places.iter().map(String::as_str).collect();
    sort(&mut places);
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state and its rules.
    struct Learner(Noise, config::Noise);

    impl Learner {
        fn is_noisy(&self, place: &str) -> bool {
            self.0.is_noisy(&self.1, place)
        }

        fn known(&self) -> usize {
            self.0.known()
        }
    }

    fn noise(min_samples: u32, relative: f64, window: u32, max_places: usize) -> Learner {
        Learner(Noise::default(), config::Noise { min_samples, relative, window, max_places })
    }

    fn learn(noise: &mut Learner, times: usize, copies: &[&str], controls: Option<&[&str]>) {
        let owned = |places: &[&str]| places.iter().map(|place| String::from(*place)).collect::<Vec<_>>();
        for _ in 0..times {
            noise.0.learn(&noise.1, &owned(copies), controls.map(owned).as_deref());
        }
    }

    #[test]
    fn noise_is_learned_and_forgotten() {
        let mut noise = noise(10, 0.8, 100, 8);
        learn(&mut noise, 9, &["body.date"], Some(&["body.date"]));
        assert!(!noise.is_noisy("body.date"), "too few");
        learn(&mut noise, 1, &["body.date"], Some(&["body.date"]));
        assert!(noise.is_noisy("body.date") && noise.is_noisy("body.date.year"));
        assert!(!noise.is_noisy("body.dates") && !noise.is_noisy("body"));
        // The cluster stopped, the copy did not.
        learn(&mut noise, 1000, &["body.date"], Some(&[]));
        assert!(!noise.is_noisy("body.date"));
    }

    #[test]
    fn noise_must_be_as_frequent_as_the_difference() {
        let mut noise = noise(10, 0.8, 1000, 8);
        learn(&mut noise, 50, &["body.a", "body.b"], Some(&["body.b"]));
        learn(&mut noise, 50, &["body.a", "body.b"], Some(&["body.a", "body.b"]));
        assert!(!noise.is_noisy("body.a"), "half of the controls, all of the copies");
        assert!(noise.is_noisy("body.b"));
        assert!(!noise.is_noisy("body.c"));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut noise = noise(1, 0.5, 100, 4);
        learn(&mut noise, 3, &["a", "c"], Some(&["a", "c"]));
        for index in 0..1000 {
            let place = format!("b{index}");
            learn(&mut noise, 1, &[&place], Some(&[]));
            assert!(noise.known() <= 4);
            assert!(noise.0.places.is_sorted_by_key(|known| known.place.clone()));
        }
    }
}
