//! Which requests are copied, to where, and what the copies look like. Pure: the request and the dice are arguments.

use std::rc::Rc;

use weir_sdk::{Bytes, Callout, ConfigError, Draw, FractionalPercent, Problems, RequestView};

use crate::config::Config;

pub mod answer;
pub mod compare;
pub mod copy;
mod json;
mod json_path;
mod number;
pub mod redact;

/// A compiled [`Config`].
#[derive(Clone, Debug)]
pub struct Policy {
    targets: Vec<(Rc<str>, FractionalPercent)>,
}

impl TryFrom<Config> for Policy {
    type Error = ConfigError;

    fn try_from(config: Config) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        if config.targets.is_empty() {
            problems
                .add("targets", "expected at least one target such as `{cluster: shadow, percentage: 10}`");
        }
        problems.finish()?;
        let targets =
            config.targets.iter().map(|target| (target.cluster.as_str().into(), target.percentage.0));
        Ok(Self { targets: targets.collect() })
    }
}

impl Policy {
    /// The copies of a request without a body.
    pub fn copies(&self, request: &dyn RequestView, random: u64) -> Vec<Callout> {
        let draw = Draw::from_random(random);
        let wanted = self.targets.iter().filter(|(_, share)| share.includes(draw));
        wanted
            .map(|(cluster, _)| Callout {
                cluster: cluster.clone(),
                headers: request
                    .map()
                    .iter()
                    .map(|(name, value)| (String::from_utf8_lossy(name).into(), Bytes::from(value)))
                    .collect(),
                body: Bytes::from(""),
                trailers: Vec::new(),
                timeout: std::time::Duration::from_secs(5),
            })
            .collect()
    }
}
