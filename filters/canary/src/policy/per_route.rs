//! Overrides by route metadata: `filter_metadata.<namespace>`, read in one hostcall (`PROP-10`).

use weir_sdk::{Problems, RequestView};

use crate::config;

/// A compiled [`config::PerRoute`].
#[derive(Clone, Debug)]
pub(crate) struct PerRoute {
    namespace: String,
}

/// What the route says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) disabled: bool,
    pub(crate) dry_run: Option<bool>,
    pub(crate) arm: Option<Vec<u8>>,
    pub(crate) policy: Option<Vec<u8>>,
}

impl PerRoute {
    /// Checks and compiles.
    pub(crate) fn compile(per_route: &config::PerRoute, problems: &mut Problems) -> Self {
        if per_route.namespace.is_empty() {
            problems.add("per_route.namespace", "expected a namespace such as `weir.canary`, found nothing");
        }
        Self { namespace: per_route.namespace.clone() }
    }

    /// Reads the metadata of the request's route. Keys that mean nothing here are others'.
    pub(crate) fn read(&self, request: &dyn RequestView) -> Override {
        let mut found = Override::default();
        let path = ["xds", "route_metadata", "filter_metadata", &self.namespace];
        for (key, value) in request.attribute_map(&path).unwrap_or_default() {
            match key.as_slice() {
                b"disabled" => found.disabled = boolean(&value).unwrap_or(false),
                b"dry_run" => found.dry_run = boolean(&value),
                b"arm" => found.arm = Some(value),
                b"policy" => found.policy = Some(value),
                _ => {}
            }
        }
        found
    }
}

/// A boolean as Envoy encodes it (one byte), or as people write it in a string.
fn boolean(value: &[u8]) -> Option<bool> {
    match value {
        [1] | b"true" => Some(true),
        [0] | b"false" => Some(false),
        _ => None,
    }
}
