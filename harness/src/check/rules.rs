//! The rules: a stable name, a severity, and what each looks for. The table of CHECKS.md is made of these. Checks nothing.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know; changes no exit code.
    Note,
    /// Accepted, and probably not what is meant.
    Warning,
    /// Refused by who reads it: Kubernetes, Istio, Envoy Gateway, Envoy or the plugin.
    Error,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A rule. Its name never changes its meaning.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name, for `--allow` and for reports.
    pub id: &'static str,
    /// How bad it is when it is broken.
    pub severity: Severity,
    /// What is wrong when it is broken, and who says so.
    pub says: &'static str,
}

macro_rules! rules {
    ($($name:ident = $id:literal $severity:ident $says:literal;)*) => {
        $(
            #[doc = $says]
            pub static $name: Rule = Rule { id: $id, severity: Severity::$severity, says: $says };
        )*
        /// All rules, in the order of the table.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    YAML = "yaml-syntax" Error "The file is not YAML or JSON, or a key stands twice.";
    KIND = "kind-unknown" Error "A document that was named on the command line is of a kind that is not checked.";
    VERSION = "kind-version" Error "The API has no such version.";
    SCHEMA = "schema" Error "A field is not as the schema of the custom resource says: type, range, pattern, required, one of.";
    UNKNOWN_FIELD = "schema-unknown-field" Error "The schema of the custom resource has no such field; Kubernetes refuses it (strict) or drops it.";
    CEL = "schema-cel" Error "A rule of the custom resource's `x-kubernetes-validations` (CEL) does not hold.";
    LIST = "schema-list" Error "A list that is a map or a set has an entry twice (`x-kubernetes-list-type`).";
    METADATA = "metadata" Error "`metadata` is not what Kubernetes accepts: a name, labels and annotations that are texts.";
    ANNOTATION = "istio-annotation" Error "Istio's webhook refuses the annotation: it is Istio's own, or for another kind.";
    SELECTOR = "istio-selector" Warning "A selector without labels selects every workload of the namespace.";
    TARGET = "istio-target" Error "A `targetRef` names something that Istio attaches no plugin to (webhook).";
    ENVOY_FILTER = "istio-envoy-filter" Error "Istio's webhook refuses the patch: `applyTo`, match, operation and value must be there and fit.";
    ENVOY_FILTER_EFFECT = "istio-envoy-filter-effect" Warning "A part of the patch has no effect, or another than it says.";
    ENVOY_FILTER_NAME = "istio-filter-name" Warning "A filter's name that Envoy no longer uses.";
    ISTIO_ENVOY_FIELD = "istio-envoy-field" Warning "A patch sets a field that Envoy's message does not have; Istio warns and drops it.";
    ISTIO_UNTYPED = "istio-envoy-untyped" Warning "A patch adds a filter by its name, without `typed_config`; Istio warns, Envoy refuses.";
    VIRTUAL_SERVICE = "istio-virtual-service" Error "Istio's webhook refuses the `VirtualService`: hosts, gateways, matches, and what a route does.";
    DESTINATION_RULE = "istio-destination-rule" Error "Istio's webhook refuses the `DestinationRule`: its host, subsets, and traffic policies.";
    UNREACHABLE = "istio-unreachable" Warning "A route or a match of a `VirtualService` that nothing reaches: what stands before takes it all.";
    ISTIO_WARNS = "istio-warning" Warning "Istio's webhook warns: an old form of a field, or what has no effect.";
    ECDS = "istio-ecds-missing" Warning "A patch takes its configuration by `config_discovery`, and no EXTENSION_CONFIG of the same object has that name.";
    ECDS_WAIT = "istio-ecds-wait" Note "With `initial_fetch_timeout: 0s` the listener waits for the plugin for ever.";
    AGENT = "istio-agent" Warning "Istio's agent fetches modules for EXTENSION_CONFIGs typed as Wasm or `udpa.type.v1.TypedStruct` only.";
    REMOTE = "envoy-remote" Error "Envoy itself fetches modules over http and https only.";
    SUBSET = "subset-missing" Warning "A route names a subset that the host's DestinationRule lacks.";
    ISTIO_CLUSTER = "istio-cluster" Warning "A plugin names a cluster that is neither Istio's (`outbound|port||host`) nor added by a patch.";
    GATEWAY_CLUSTER = "istio-gateway-cluster" Note "Gateways and waypoints have the clusters of referenced services only.";
    ENVOY_TYPE = "envoy-type" Error "Envoy 1.40 has no such type (`@type`, `type_url`).";
    ENVOY_FIELD = "envoy-field" Error "Envoy's message has no such field.";
    ENVOY_VALUE = "envoy-value" Error "A value that the field cannot have, or that breaks what Envoy requires of it.";
    ENVOY_UNTYPED = "envoy-untyped" Error "A filter without `typed_config`: Envoy no longer looks filters up by name.";
    ENVOY_DEPRECATED = "envoy-deprecated" Warning "A field that Envoy will drop.";
    ENVOY_CHAIN = "envoy-chain" Error "A filter stands after the router.";
    ENVOY_REFUSED = "envoy-refused" Error "With `--envoy`: a real Envoy refuses it (`envoy --mode validate`).";
    ENVOY_ACCEPTS = "envoy-accepts" Note "With `--envoy`: a real Envoy accepts a configuration in which errors were found.";
    ENVOY_UNASKED = "envoy-unasked" Note "With `--envoy`: a file is not on this machine, so a real Envoy could not say.";
    CLUSTER = "cluster-missing" Error "A route of a static configuration names a cluster that is not there; Envoy does not start.";
    CLUSTER_LATER = "cluster-absent" Warning "A filter names a cluster that is not there; its calls fail.";
    PLUGIN_CLUSTER = "plugin-cluster" Warning "A plugin's configuration names a cluster that is not there.";
    STRUCT = "plugin-struct" Error "A configuration given as `google.protobuf.Struct` reaches the plugin as protobuf's bytes.";
    FAILURE_TWICE = "plugin-failure-twice" Error "`fail_open` and `failure_policy` are both set; Envoy refuses that.";
    RUNTIME = "plugin-runtime" Warning "A Wasm runtime that published Envoys do not have.";
    CONFIGURATION = "plugin-schema" Error "The plugin's configuration is not as the module's own schema says.";
    REFUSED = "plugin-refused" Error "The module, run, refused the configuration: Envoy does not start, or rejects the update.";
    TRAPPED = "plugin-trapped" Error "The module, run, trapped on the configuration.";
    MODULE = "plugin-module" Error "The module cannot be read, or Envoy would not load it.";
    UNTRIED = "plugin-untried" Note "No module is at hand, so the plugin's configuration was not tried.";
    OPEN_GUARD = "fail-open-guard" Warning "A plugin that decides who may pass fails open: after a failure everybody passes.";
    OPEN = "fail-open" Note "Failing open does not help the failing request, streams that are held, or a refused configuration.";
    ORDER = "plugin-order" Warning "Two plugins of one phase and priority may meet in one workload: their order is by age.";
    LATEST = "image-latest" Warning "An image without a version, or `latest`.";
    UNPINNED = "image-unpinned" Note "An image by tag, without a digest.";
    UNPINNED_HTTP = "module-unpinned" Warning "A module over http(s) without `sha256`.";
    IMAGE = "image-reference" Error "No image has such a name: the registry, the repository, the tag or the digest is malformed.";
    MODULE_URL = "module-url" Error "A URL that a module cannot be fetched from: its scheme, or its host.";
    SHA256 = "module-digest" Error "A `sha256` that no module or image has: malformed, or another than the digest in the URL.";
    GATEWAY_URL = "gateway-image-url" Warning "Envoy Gateway documents image URLs without a scheme; at d32f282 it takes `oci://` as well, other releases may not.";
    PATCH = "gateway-patch" Error "Envoy Gateway refuses the patch: its target, or what stands beside `op`.";
    PATCH_NAME = "gateway-patch-name" Warning "A patch adds a resource under another name than it says.";
    GATEWAY_PLUGIN_CLUSTER = "gateway-cluster" Warning "A plugin names a cluster that is neither a route's (`httproute/NAMESPACE/NAME/rule/0`) nor added by a patch.";
    GATEWAY_SECTION = "gateway-section" Warning "A `sectionName` that the HTTPRoute or the Gateway lacks: no rule or listener has that name.";
    SECRET = "env-secret" Warning "An environment variable that looks like a secret stands in the manifest.";
}

/// The rule of this name.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        for (index, rule) in ALL.iter().enumerate() {
            assert!(rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", rule.id);
            assert!(ALL.iter().skip(index + 1).all(|other| other.id != rule.id), "{}", rule.id);
            assert!(rule.says.ends_with('.'), "{}", rule.id);
            assert_eq!(find(rule.id), Some(*rule));
        }
    }
}
