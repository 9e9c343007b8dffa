//! Routes for Envoy Gateway: what `weir manifest` writes, and what the Envoy behind it does with that. The filter's decision picks the backend.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conformance::gateway::{Translated, translated};
use conformance::services::{ask, cluster, service};
use conformance::tools;
use serde_json::{Value, json};
use weir_harness::build;
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::server::Server;
use weir_harness::yaml;

const ROUTES: &[&str] = &[
    "--route",
    "x-canary-arm:v2=v2",
    "--route",
    "v1",
    "--cluster",
    "v1=reviews-v1.default.svc.cluster.local:9080",
    "--cluster",
    "v2=reviews-v2.default.svc.cluster.local:9080",
];

fn weir(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.args(arguments).current_dir(tools::workspace()).output().unwrap()
}

/// Filters and their policies for Envoy Gateway.
fn manifest(filters: &[&str], policies: &[&str], more: &[&str]) -> Output {
    let policies: Vec<String> =
        policies.iter().map(|name| format!("examples/bookinfo/policies/{name}.yaml")).collect();
    let configs = policies.iter().flat_map(|policy| ["--config", policy]);
    let target = ["--target", "envoyextensionpolicy", "--registry", "registry.example/weir"];
    let arguments: Vec<&str> =
        ["manifest"].iter().chain(filters).copied().chain(configs).chain(target).collect();
    weir(&[&arguments, more].concat())
}

#[track_caller]
fn written(more: &[&str]) -> Vec<Value> {
    let output = manifest(&["canary"], &["request-routing"], more);
    assert_eq!(output.status.code(), Some(0), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
    yaml::parse_all(std::str::from_utf8(&output.stdout).unwrap()).unwrap()
}

/// The route among the documents.
#[track_caller]
fn route(documents: &[Value]) -> &Value {
    documents.iter().find(|document| document["kind"] == "HTTPRoute").unwrap()
}

#[track_caller]
fn refused(more: &[&str], says: &str) {
    let output = manifest(&["canary"], &["request-routing"], more);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{more:?}: {err}");
    // clap breaks lines.
    let flat = err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(says), "{more:?} does not say `{says}`: {err}");
}

#[test]
fn a_route_is_written_with_the_policy() {
    let documents = written(&[ROUTES, &["--target-ref", "Gateway/eg/https", "-n", "demo"]].concat());
    let rules = json!([
        {"matches": [{"headers": [{"name": "x-canary-arm", "value": "v2"}]}],
         "backendRefs": [{"name": "reviews-v2", "namespace": "default", "port": 9080}]},
        {"backendRefs": [{"name": "reviews-v1", "namespace": "default", "port": 9080}]},
    ]);
    let want = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "canary", "namespace": "demo"},
        "spec": {"parentRefs": [{"name": "eg", "sectionName": "https"}], "rules": rules}});
    assert_eq!(*route(&documents), want);

    let places =
        ["--target-ref", "HTTPRoute/reviews", "--gateway", "infra/eg", "--hostname", "reviews.example"];
    let documents = written(&[ROUTES, &places].concat());
    let route = route(&documents);
    assert_eq!(route["metadata"]["name"], "reviews");
    assert_eq!(route["spec"]["parentRefs"], json!([{"name": "eg", "namespace": "infra"}]));
    assert_eq!(route["spec"]["hostnames"], json!(["reviews.example"]));
    assert_eq!(route["spec"]["rules"][1]["backendRefs"], json!([{"name": "reviews-v1", "port": 9080}]));
}

#[test]
fn a_gateway_that_is_named_twice_is_one_parent() {
    let twice = ["--target-ref", "Gateway/eg", "--gateway", "default/eg"];
    let parents = |documents: &[Value]| route(documents)["spec"]["parentRefs"].clone();
    assert_eq!(parents(&written(&[ROUTES, &twice].concat())), json!([{"name": "eg"}]));
    let two = ["--target-ref", "ListenerSet/more", "--gateway", "eg"];
    let more = json!({"group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": "more"});
    assert_eq!(parents(&written(&[ROUTES, &two].concat())), json!([more, {"name": "eg"}]));
}

/// A policy with patches stands where the Gateway does.
#[test]
fn clusters_are_added_in_the_namespace_of_the_gateway() {
    let output = manifest(
        &["mirror"],
        &["mirror-ratings"],
        &[
            "--target-ref",
            "HTTPRoute/ratings",
            "--gateway",
            "infra/eg",
            "--cluster",
            "ratings-shadow=shadow:80",
        ],
    );
    let documents: Vec<Value> = yaml::parse_all(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    let patch = documents.iter().find(|document| document["kind"] == "EnvoyPatchPolicy").unwrap();
    assert_eq!(patch["metadata"], json!({"name": "mirror-clusters", "namespace": "infra"}));
}

#[test]
fn flags_say_what_is_accepted() {
    let gateway: &[&str] = &["--target-ref", "Gateway/eg"];
    for (more, says) in [
        (
            &[ROUTES, &["--target-ref", "HTTPRoute/a"]].concat()[..],
            "`--gateway`: the policy is attached to no Gateway: of which is the HTTPRoute? `--gateway NAME`",
        ),
        (
            &[ROUTES, &["--target-ref", "HTTPRoute/a/jack", "--gateway", "eg"]].concat(),
            "not for `jack`: expected HTTPRoute/a",
        ),
        (
            &[ROUTES, &["--target-ref", "HTTPRoute/a", "--target-ref", "HTTPRoute/b"]].concat(),
            "`--target-ref`: `--route` writes one HTTPRoute",
        ),
        (
            &[ROUTES, &["--target-ref", "GRPCRoute/a", "--gateway", "eg"]].concat(),
            "attached to a GRPCRoute: expected Gateway/NAME",
        ),
        (
            &[ROUTES, &["--target-ref", "HTTPRoute/a", "--gateway", "Eg"]].concat(),
            "expected NAME or NAMESPACE/NAME of a Gateway in lower case",
        ),
        (
            &[ROUTES, gateway, &["--hostname", "reviews:9080"]].concat(),
            "expected a name in lower case and without a port",
        ),
        (&[gateway, &["--hostname", "reviews"]].concat(), "`--hostname`: goes with `--route`"),
        (
            &[gateway, &["--route", "x-canary-arm:v2=v2"]].concat(),
            "`--route`: expected one route without a header, the last",
        ),
        (
            &[gateway, &["--route", "v1"]].concat(),
            "`--route`: `v1` is no Service: give `--cluster v1=NAME.NAMESPACE.svc.cluster.local:PORT`",
        ),
        (
            &[gateway, &["--route", "v1", "--cluster", "v1=192.0.2.1:80"]].concat(),
            "`--route`: `v1` is no Service",
        ),
        (
            &[gateway, &["--route", "v1", "--cluster", "v1=a.b.svc:80,tls"]].concat(),
            "`--route`: `v1` is no Service",
        ),
        (
            &[gateway, &["--route", "v1", "--cluster", "v1=outbound|80|v1|a.b.svc.cluster.local"]].concat(),
            "The Gateway API has no subsets",
        ),
        (
            &[gateway, ROUTES, &["--route", "x(y:v2=v2", "--route", "v1"]].concat(),
            "`--route`: expected one route without a header, the last",
        ),
        (
            &[&["--route", "x(y:v2=v2"], ROUTES, gateway].concat(),
            "`--route`: `x(y` is no name of a header: expected letters",
        ),
        (
            &[&["--route", "a:b=v2"].repeat(15), ROUTES, gateway].concat(),
            "`--route`: an HTTPRoute has at most 16 rules, and 17 are given",
        ),
    ] {
        refused(more, says);
    }
}

/// The folder of modules, as `<name>.wasm`.
fn modules() -> PathBuf {
    let canary = build::named("canary", tools::workspace()).unwrap();
    canary.parent().unwrap().to_owned()
}

/// An Envoy of the Gateway's with one listener, and the services behind it.
struct Stage {
    // Dropped first, so that the services end without open connections.
    envoy: Envoy,
    _servers: Vec<Server>,
}

impl Stage {
    fn start(binary: &Path, translated: &Translated) -> Self {
        let services = ["reviews-v1", "reviews-v2"].map(|name| (name, service(name).unwrap().0));
        let port = |name: &str| services.iter().find(|(known, _)| *known == name).unwrap().1.port();
        let clusters: Vec<Value> =
            translated.backends.iter().map(|(name, service)| cluster(name, port(service))).collect();
        let mut filters = translated.filters.clone();
        filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}));
        let listener = json!({
            "name": "http",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "http", "http_filters": filters, "route_config": translated.route_config}}]}],
        });
        let config = json!({
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": [listener], "clusters": clusters},
        });
        let envoy = match Envoy::start_with(binary, &config, 1, tempfile::tempdir().unwrap()).unwrap() {
            Started::Running(envoy) => *envoy,
            Started::Refused(log) => panic!("refused: {log}"),
        };
        Self { envoy, _servers: services.into_iter().map(|(_, server)| server).collect() }
    }

    /// The status and the service for a user, who may say an arm.
    fn ask(&self, user: &str, arm: Option<&str>) -> (String, String) {
        let mut lines =
            vec![(":method", "GET"), (":path", "/"), (":authority", "reviews:9080"), ("end-user", user)];
        lines.extend(arm.map(|arm| ("x-canary-arm", arm)));
        ask(&self.envoy, "http", &lines).unwrap()
    }
}

fn got(status: &str, service: &str) -> (String, String) {
    (status.to_owned(), service.to_owned())
}

/// The filter decides for everybody, whatever rule Envoy found first.
#[track_caller]
fn decides(name: &str, filters: &[&str], policies: &[&str], places: &[&str]) {
    let Some(binary) = tools::envoy_or_skip(name).unwrap() else { return };
    let output = manifest(filters, policies, &[ROUTES, places].concat());
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, text).unwrap();
    let checked = weir(&["check", file.to_str().unwrap(), "--warnings-as-errors"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    let documents: Vec<Value> = yaml::parse_all(text).unwrap();
    let stage = Stage::start(binary, &translated(&documents, &modules()).unwrap());
    assert_eq!(stage.ask("jack", None), got("200", "reviews-v2"));
    assert_eq!(stage.ask("jason", None), got("200", "reviews-v1"));
    // A client cannot choose: the filter runs for the rule that its header finds, too.
    assert_eq!(stage.ask("jason", Some("v2")), got("200", "reviews-v1"));
    assert_eq!(stage.ask("jack", Some("v1")), got("200", "reviews-v2"));
}

#[test]
fn a_canary_of_a_route_decides() {
    let places = ["--target-ref", "HTTPRoute/reviews", "--gateway", "eg", "--hostname", "reviews"];
    decides("a_canary_of_a_route_decides", &["canary"], &["request-routing"], &places);
}

#[test]
fn a_canary_of_a_gateway_decides_behind_another_filter() {
    let (filters, policies) = (["rate_limit", "canary"], ["rate-limit", "request-routing"]);
    decides("a_canary_of_a_gateway_decides", &filters, &policies, &["--target-ref", "Gateway/eg"]);
}

/// Why the policy is for the whole route, and why a rule without a header is asked for: which filters run is said by the rule that is found first.
#[test]
fn which_filters_run_is_said_by_the_first_choice() {
    let Some(binary) = tools::envoy_or_skip("which_filters_run_is_said_by_the_first_choice").unwrap() else {
        return;
    };
    let documents = written(&[ROUTES, &["--target-ref", "Gateway/eg"]].concat());
    let whole = translated(&documents, &modules()).unwrap();
    let routes = "/virtual_hosts/0/routes";

    // Attached to the arm's rule only: without the arm's header nobody comes to the filter.
    let mut by_rule = whole.clone();
    by_rule.route_config.pointer_mut(routes).unwrap()[1]["typed_per_filter_config"] = json!({});
    let stage = Stage::start(binary, &by_rule);
    assert_eq!(stage.ask("jack", None), got("200", "reviews-v1"));
    assert_eq!(stage.ask("jason", Some("v2")), got("200", "reviews-v1"));

    // Attached to the last rule only: who says an arm is not asked.
    let mut by_last = whole.clone();
    by_last.route_config.pointer_mut(routes).unwrap()[0]["typed_per_filter_config"] = json!({});
    let stage = Stage::start(binary, &by_last);
    assert_eq!(stage.ask("jack", None), got("200", "reviews-v2"));
    assert_eq!(stage.ask("jason", Some("v2")), got("200", "reviews-v2"));

    // No rule for everything else: no rule is found, so no filter runs.
    let mut without = whole;
    without.route_config.pointer_mut(routes).unwrap().as_array_mut().unwrap().pop();
    let stage = Stage::start(binary, &without);
    assert_eq!(stage.ask("jack", None), got("404", "none"));
}
