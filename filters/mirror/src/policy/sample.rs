//! The share of the requests that a target gets: drawn anew for each, or fixed by a key.

use weir_sdk::{At, Draw, Key, Problems, RequestView, Salt};

use crate::config::{self, Missing};
use crate::policy::back_off::Part;
use crate::policy::check;
use crate::policy::why::Why;

/// What of a share is compiled.
#[derive(Clone, Debug)]
pub struct Sample {
    by: Vec<Key>,
    salt: Salt,
}

impl Sample {
    /// Checks and compiles what the target at `at` says.
    pub fn compile(at: &At<'_>, name: &str, target: &config::Target, problems: &mut Problems) -> Self {
        let mut by = Vec::new();
        let mut salt = name;
        if let Some(sample) = &target.sample {
            if sample.by.is_empty() {
                let reason = "expected at least one key such as `{cookie: session}`";
                check::refuse(problems, at, "sample.by", reason);
            }
            for (index, source) in sample.by.iter().enumerate() {
                by.extend(Key::compile(&at.item("sample.by", index), source, problems));
            }
            salt = sample.salt.as_deref().unwrap_or(name);
        }
        Self { by, salt: Salt::new(salt) }
    }

    /// Whether a request is one of the target's share, of which only a part is sent now; `drawn` is the draw, where one was needed.
    ///
    /// # Errors
    /// [`Why::NoKey`], [`Why::Sample`], [`Why::BackOff`].
    pub fn draw(
        &self,
        target: &config::Target,
        request: &dyn RequestView,
        random: &dyn Fn() -> u64,
        part: Part,
        drawn: &mut Option<Draw>,
    ) -> Result<(), Why> {
        let share = target.percentage.0;
        let ppm = share.ppm();
        let draw = match (&target.sample, self.by.iter().find_map(|key| key.of(request))) {
            (_, Some(key)) => Draw::sticky(&key, self.salt),
            (Some(sample), None) if sample.missing == Missing::Skip => return Err(Why::NoKey),
            // Nothing to be drawn.
            (None, None) if ppm == 1_000_000 && part == Part::Halved(0) => return Ok(()),
            _ => Draw::from_random(random()),
        };
        *drawn = Some(draw);
        match (share.includes(draw), part) {
            (false, _) => Err(Why::Sample),
            (true, Part::Halved(0)) => Ok(()),
            // The lower part of the share: of keys, those that stay are always the same.
            (true, part) if draw.ppm() < part.of(ppm) => Ok(()),
            (true, _) => Err(Why::BackOff),
        }
    }
}
