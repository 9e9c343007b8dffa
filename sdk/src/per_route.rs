//! Overrides by route metadata: `filter_metadata.<namespace>` of the route, read in one hostcall (`PROP-10`).

use schemars::JsonSchema;

use crate::config::joined;
use crate::{FromConfig, Problems, RequestView};

/// What a filter with per-route configuration takes from the metadata of the request's route, under
/// `metadata.filter_metadata.<namespace>`.
#[derive(Clone, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerRouteConfig {
    /// The namespace in `filter_metadata`, such as `weir.fault`. The keys that are read there: `disabled` (boolean: the filter does nothing),
    /// `dry_run` (boolean) and `policy` (the name of one of `policies`). Other keys are others'.
    pub namespace: String,
}

/// A compiled [`PerRouteConfig`].
#[derive(Clone, Debug)]
pub struct PerRoute {
    namespace: String,
}

/// What the route says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// The filter does nothing here.
    pub disabled: bool,
    /// In place of the configuration's `dry_run`.
    pub dry_run: Option<bool>,
    /// The name of a policy of the configuration.
    pub policy: Option<Vec<u8>>,
    /// All other keys and their values, as Envoy encodes them.
    pub others: Vec<(Vec<u8>, Vec<u8>)>,
}

impl PerRoute {
    /// Checks and compiles; `example` is the namespace that would be usual.
    pub fn compile(namespace: &str, example: &str, problems: &mut Problems) -> Self {
        if namespace.is_empty() {
            let reason = joined("expected a namespace such as `", example, "`, found nothing");
            problems.add("per_route.namespace", reason);
        }
        Self { namespace: namespace.to_owned() }
    }

    /// Reads the metadata of the request's route. A value that means nothing is as if it were not there.
    #[must_use]
    pub fn read(&self, request: &dyn RequestView) -> Override {
        let mut found = Override::default();
        let path = ["xds", "route_metadata", "filter_metadata", &self.namespace];
        for (key, value) in request.attribute_map(&path).unwrap_or_default() {
            match key.as_slice() {
                b"disabled" => found.disabled = boolean(&value).unwrap_or(false),
                b"dry_run" => found.dry_run = boolean(&value),
                b"policy" => found.policy = Some(value),
                _ => found.others.push((key, value)),
            }
        }
        found
    }
}

impl Override {
    /// The value of another key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.others.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value.as_slice())
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
