//! The share of the requests that a target gets: drawn anew for each, or fixed by a key.

use weir_sdk::{At, Draw, FractionalPercent, Key, Problems, RequestView, Salt};

use crate::config::{self, Missing};
use crate::policy::back_off::Part;
use crate::policy::check;
use crate::policy::why::Why;

/// A compiled share.
#[derive(Clone, Debug)]
pub struct Sample {
    share: FractionalPercent,
    keys: Option<Keys>,
}

#[derive(Clone, Debug)]
struct Keys {
    by: Vec<Key>,
    salt: Salt,
    missing: Missing,
}

impl Sample {
    /// Checks and compiles what the target at `at` says.
    pub fn compile(at: &At<'_>, name: &str, target: &config::Target, problems: &mut Problems) -> Self {
        let keys = target.sample.as_ref().map(|sample| {
            if sample.by.is_empty() {
                let reason = "expected at least one key such as `{cookie: session}`";
                check::refuse(problems, at, "sample.by", reason);
            }
            let mut by = Vec::new();
            for (index, source) in sample.by.iter().enumerate() {
                by.extend(Key::compile(&at.item("sample.by", index), source, problems));
            }
            Keys { by, salt: Salt::new(sample.salt.as_deref().unwrap_or(name)), missing: sample.missing }
        });
        Self { share: target.percentage.0, keys }
    }

    /// Whether a request is one of the share, of which only a part is sent now: the draw, where one was needed.
    ///
    /// # Errors
    /// [`Why::NoKey`], [`Why::Sample`], [`Why::BackOff`].
    pub fn draw(
        &self,
        request: &dyn RequestView,
        random: &dyn Fn() -> u64,
        part: Part,
    ) -> (Option<Draw>, Result<(), Why>) {
        let ppm = self.share.ppm();
        let key = self.keys.as_ref().map(|keys| (keys, keys.by.iter().find_map(|key| key.of(request))));
        let draw = match key {
            Some((keys, Some(key))) => Draw::sticky(&key, keys.salt),
            Some((Keys { missing: Missing::Skip, .. }, None)) => return (None, Err(Why::NoKey)),
            // Nothing to be drawn.
            None if ppm == 1_000_000 && part == Part::Halved(0) => return (None, Ok(())),
            _ => Draw::from_random(random()),
        };
        let verdict = match (self.share.includes(draw), part) {
            (false, _) => Err(Why::Sample),
            (true, Part::Halved(0)) => Ok(()),
            // The lower part of the share: of keys, those that stay are always the same.
            (true, part) if draw.ppm() < part.of(ppm) => Ok(()),
            (true, _) => Err(Why::BackOff),
        };
        (Some(draw), verdict)
    }
}
