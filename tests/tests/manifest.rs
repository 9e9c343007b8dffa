//! `weir manifest`: what it writes is accepted by `weir check` and by a real Envoy, and does what the policy says, for every filter and every target.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::Receiver;

use conformance::delivered::{Delivered, delivered};
use conformance::services::{self, cluster, service};
use conformance::tools;
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_harness::build;
use weir_harness::envoy::client::PATIENCE;
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::server::Server;
use weir_harness::exchange::Message;
use weir_harness::yaml;

/// Every target, and the flags that it needs.
const TARGETS: &[(&str, &[&str])] = &[
    ("wasmplugin", &["--registry", "registry.example/weir", "--selector", "app=reviews", "--mode", "CLIENT"]),
    (
        "trafficextension",
        &["--registry", "registry.example/weir", "--selector", "app=reviews", "--phase", "AUTHZ"],
    ),
    ("envoyfilter", &["--selector", "app=reviews", "--mode", "SERVER", "--port", "9080"]),
    ("envoyfilter-ecds", &["--registry", "registry.example/weir", "--target-ref", "Gateway/ingress"]),
    ("envoyextensionpolicy", &["--registry", "registry.example/weir", "--target-ref", "HTTPRoute/reviews"]),
    ("envoy", &[]),
];

/// Every filter, its policy, and the cluster that it names.
const FILTERS: &[(&str, &str)] = &[
    ("canary", "request-routing"),
    ("rate_limit", "rate-limit"),
    ("circuit_breaker", "circuit-breaker"),
    ("fault", "abort-jason"),
    ("mirror", "mirror-ratings"),
];

/// What the mirror's cluster is called in the proxies of a target.
fn shadow(target: &str) -> &'static str {
    match target {
        "envoyextensionpolicy" => "httproute/default/ratings-shadow/rule/0",
        "envoy" | "envoy-yaml" => "ratings-shadow",
        _ => "outbound|9080||ratings-shadow.default.svc.cluster.local",
    }
}

fn policy(name: &str) -> String {
    format!("examples/bookinfo/policies/{name}.yaml")
}

fn weir(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.args(arguments).current_dir(tools::workspace()).output().expect("weir runs")
}

/// Runs it; standard output.
#[track_caller]
fn done(arguments: &[&str]) -> String {
    let output = weir(arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}{err}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The modules of all filters, as `<name>.wasm` in one folder.
fn modules() -> PathBuf {
    let paths: Vec<PathBuf> =
        FILTERS.iter().map(|(filter, _)| build::named(filter, tools::workspace()).unwrap()).collect();
    paths.first().and_then(|path| path.parent()).unwrap().to_owned()
}

/// The manifest of filters for a target of [`TARGETS`]; `more` are other flags.
#[track_caller]
fn manifest(filters: &[(&str, &str)], target: &str, more: &[&str]) -> String {
    let (_, flags) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let mut arguments = vec!["manifest".to_owned()];
    arguments.extend(filters.iter().map(|(filter, _)| (*filter).to_owned()));
    for (_, name) in filters {
        let file = if name.ends_with(".yaml") { (*name).to_owned() } else { policy(name) };
        arguments.extend(["--config".to_owned(), file]);
    }
    arguments.extend(["--target".to_owned(), target.to_owned()]);
    arguments.extend(flags.iter().chain(more).map(|flag| (*flag).to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    done(&arguments)
}

fn documents(text: &str) -> Vec<Value> {
    yaml::parse_all(text).unwrap()
}

/// `weir check` on what was written for a target, all of it together.
#[track_caller]
fn accepted(files: &[PathBuf], modules: &Path) {
    let named = |(filter, _): &(&str, &str)| {
        ["--module".to_owned(), format!("{filter}={}", modules.join(format!("{filter}.wasm")).display())]
    };
    let known: Vec<String> = FILTERS.iter().flat_map(named).collect();
    let arguments = ["check"].into_iter().chain(files.iter().map(|file| file.to_str().unwrap()));
    let arguments = arguments.chain(known.iter().map(String::as_str));
    // Alternatives, not a chain: that they have no order among them is no matter.
    let arguments: Vec<&str> = arguments.chain(["--allow", "plugin-order", "--warnings-as-errors"]).collect();
    done(&arguments);
}

// ---- accepted by a real Envoy, and acts

/// An Envoy with a listener for each chain, and the services behind it.
struct Stage {
    // Dropped first, so that the services end without open connections.
    envoy: Envoy,
    shadow: Receiver<Message>,
    _servers: Vec<Server>,
}

/// The services, by the names that clusters have for them, and what the shadow receives.
fn services() -> (Vec<(&'static str, Server)>, Receiver<Message>) {
    let (shadow, copies) = service("ratings-shadow").unwrap();
    let others = ["v1", "v2", "v3"].map(|name| (name, service(name).unwrap().0));
    (others.into_iter().chain([("ratings-shadow", shadow)]).collect(), copies)
}

/// A bootstrap around what manifests brought: a listener for each.
fn bootstrap(chains: &[(&str, Delivered)], known: &[(&str, u16)], folder: &Path) -> Value {
    let mut clusters: Vec<Value> = known.iter().map(|(name, port)| cluster(name, *port)).collect();
    let mut listeners = Vec::new();
    for (name, chain) in chains {
        clusters.extend(chain.clusters.iter().cloned());
        let mut filters = chain.filters.clone();
        for filter in &mut filters {
            let Some(extension) = chain.extensions.iter().find(|one| one["name"] == filter["name"]) else {
                continue;
            };
            // From a file in place of the control plane's stream.
            let mut resource = extension.clone();
            resource["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
            let file = folder.join(format!("{name}.json"));
            fs::write(&file, json!({"version_info": "1", "resources": [resource]}).to_string()).unwrap();
            filter["config_discovery"]["config_source"] = json!({"path_config_source": {"path": file}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
        }
        filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}));
        let arm = |version: &str| {
            json!({"match": {"prefix": "/", "headers": [{"name": "x-canary-arm", "string_match": {"exact": version}}]},
                   "route": {"cluster": version}})
        };
        let routes = json!([arm("v2"), arm("v3"), {"match": {"prefix": "/"}, "route": {"cluster": "v1"}}]);
        listeners.push(json!({
            "name": name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name, "http_filters": filters,
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}}}]}],
        }));
    }
    json!({
        // Who asks for discovered configurations says who it is.
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// `envoy --mode validate` on a file.
#[track_caller]
fn validate(envoy: &Path, file: &Path) {
    let mut command = Command::new(envoy);
    let output = command.args(["--mode", "validate", "-c"]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn run(envoy: &Path, config: &Value, folder: TempDir) -> Envoy {
    match Envoy::start_with(envoy, config, 1, folder).unwrap() {
        Started::Running(envoy) => *envoy,
        Started::Refused(log) => panic!("refused: {log}"),
    }
}

impl Stage {
    /// All filters, each in a chain of its own, as a target delivers them.
    fn start(target: &str) -> Option<Self> {
        let envoy = tools::envoy_or_skip(target).unwrap()?;
        let (servers, copies) = services();
        let folder = tempfile::tempdir().unwrap();
        // All of it, not a tenth.
        let all = folder.path().join("all.yaml");
        fs::write(&all, "targets: [{cluster: ratings-shadow, match: {authority: {exact: ratings}}}]\n")
            .unwrap();
        let modules = modules();
        let place = format!("ratings-shadow={}", shadow(target));
        let mut chains = Vec::new();
        let mut files = Vec::new();
        for (filter, name) in FILTERS {
            let name = if *filter == "mirror" { all.to_str().unwrap() } else { name };
            let flags = ["--cluster", &place, "--modules", modules.to_str().unwrap()];
            let text = manifest(&[(filter, name)], target, &flags);
            files.push(folder.path().join(format!("{filter}.yaml")));
            fs::write(files.last().unwrap(), &text).unwrap();
            chains.push((*filter, delivered(&documents(&text), &modules).unwrap()));
        }
        accepted(&files, &modules);
        let mut known: Vec<(&str, u16)> =
            servers.iter().map(|(name, server)| (*name, server.port())).collect();
        let port = known.last().unwrap().1;
        known.push((shadow(target), port));
        known.dedup_by_key(|(name, _)| *name);
        let config = bootstrap(&chains, &known, folder.path());
        let file = folder.path().join("bootstrap.json");
        fs::write(&file, config.to_string()).unwrap();
        validate(envoy, &file);
        let servers = servers.into_iter().map(|(_, server)| server).collect();
        Some(Self { envoy: run(envoy, &config, folder), shadow: copies, _servers: servers })
    }

    /// The status, and the service that answered.
    fn ask(&self, listener: &str, authority: &str, path: &str, user: &str) -> (String, String) {
        ask(&self.envoy, listener, authority, path, user)
    }
}

fn ask(envoy: &Envoy, listener: &str, authority: &str, path: &str, user: &str) -> (String, String) {
    let lines = [(":method", "GET"), (":path", path), (":authority", authority), ("end-user", user)];
    services::ask(envoy, listener, &lines).unwrap()
}

fn got(status: &str, service: &str) -> (String, String) {
    (status.to_owned(), service.to_owned())
}

/// Every filter, as the target delivers it, does what its policy says.
#[track_caller]
fn acts(target: &str) {
    let Some(stage) = Stage::start(target) else { return };
    assert_eq!(stage.ask("canary", "reviews:9080", "/", "jack"), got("200", "v2"), "{target}");
    assert_eq!(stage.ask("canary", "reviews:9080", "/", "jason"), got("200", "v1"), "{target}");
    assert_eq!(stage.ask("fault", "ratings:9080", "/", "jason"), got("500", "none"), "{target}");
    assert_eq!(stage.ask("fault", "ratings:9080", "/", "jack"), got("200", "v1"), "{target}");
    for _ in 0..10 {
        assert_eq!(stage.ask("rate_limit", "reviews:9080", "/", "jack"), got("200", "v1"), "{target}");
    }
    assert_eq!(stage.ask("rate_limit", "reviews:9080", "/", "jack"), got("429", "none"), "{target}");
    for _ in 0..5 {
        assert_eq!(
            stage.ask("circuit_breaker", "ratings:9080", "/broken", "jack"),
            got("503", "v1"),
            "{target}"
        );
    }
    assert_eq!(stage.ask("circuit_breaker", "ratings:9080", "/", "jack"), got("503", "none"), "{target}");
    assert_eq!(stage.ask("mirror", "ratings:9080", "/ratings/7", "jack"), got("200", "v1"), "{target}");
    let copy = stage.shadow.recv_timeout(PATIENCE).expect("a copy");
    assert_eq!(copy.headers.get(b":path"), Some(&b"/ratings/7"[..]), "{target}");
}

#[test]
fn a_wasm_plugin_acts() {
    acts("wasmplugin");
}

#[test]
fn a_traffic_extension_acts() {
    acts("trafficextension");
}

#[test]
fn an_envoy_filter_acts() {
    acts("envoyfilter");
}

#[test]
fn an_envoy_filter_by_ecds_acts() {
    acts("envoyfilter-ecds");
}

#[test]
fn an_envoy_extension_policy_acts() {
    acts("envoyextensionpolicy");
}

/// Beside the policy: clusters by an `EnvoyPatchPolicy`.
#[test]
fn what_an_envoy_extension_policy_needs_acts() {
    let Some(envoy) = tools::envoy_or_skip("what_an_envoy_extension_policy_needs_acts").unwrap() else {
        return;
    };
    let (servers, copies) = services();
    let port = |name: &str| servers.iter().find(|(known, _)| *known == name).unwrap().1.port();
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("all.yaml");
    fs::write(&all, "targets: [{cluster: ratings-shadow}]\n").unwrap();
    let modules = modules();
    let shadow = format!("ratings-shadow=127.0.0.1:{}", port("ratings-shadow"));
    let flags = ["--cluster", &shadow, "--gateway", "eg"];
    let chain = [("canary", "request-routing"), ("mirror", all.to_str().unwrap())];
    let text = manifest(&chain, "envoyextensionpolicy", &flags);
    let kinds: Vec<Value> = documents(&text).iter().map(|document| document["kind"].clone()).collect();
    assert_eq!(kinds, ["EnvoyExtensionPolicy", "EnvoyPatchPolicy"]);
    let file = folder.path().join("policy.yaml");
    fs::write(&file, &text).unwrap();
    accepted(&[file], &modules);
    // The bootstrap's routes have an arm for each.
    let known = [("v1", port("v1")), ("v2", port("v2")), ("v3", port("v3"))];
    let chains = [("main", delivered(&documents(&text), &modules).unwrap())];
    assert_eq!(chains[0].1.clusters.len(), 1);
    let config = bootstrap(&chains, &known, folder.path());
    let file = folder.path().join("bootstrap.json");
    fs::write(&file, config.to_string()).unwrap();
    validate(envoy, &file);
    let envoy = run(envoy, &config, folder);
    assert_eq!(ask(&envoy, "main", "reviews:9080", "/a", "jack"), got("200", "v2"));
    assert_eq!(ask(&envoy, "main", "reviews:9080", "/a", "jason"), got("200", "v1"));
    let copy = copies.recv_timeout(PATIENCE).expect("a copy");
    assert_eq!(copy.headers.get(b":path"), Some(&b"/a"[..]));
}

#[test]
fn entries_for_envoy_act() {
    acts("envoy");
}

#[test]
fn a_whole_envoy_yaml_starts_and_acts() {
    let Some(envoy) = tools::envoy_or_skip("envoy-yaml").unwrap() else { return };
    let (servers, copies) = services();
    let places: Vec<String> =
        servers.iter().map(|(name, server)| format!("{name}=127.0.0.1:{}", server.port())).collect();
    let modules = modules();
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("all.yaml");
    fs::write(&all, "targets: [{cluster: ratings-shadow, match: {authority: {exact: ratings}}}]\n").unwrap();
    let file = folder.path().join("envoy.yaml");
    let mut arguments = vec!["manifest", "canary", "rate_limit", "circuit_breaker", "fault", "mirror"];
    let policies: Vec<String> = FILTERS.iter().map(|(_, name)| policy(name)).collect();
    for (config, (filter, _)) in policies.iter().zip(FILTERS) {
        let config = if *filter == "mirror" { all.to_str().unwrap() } else { config };
        arguments.extend(["--config", config]);
    }
    places.iter().for_each(|place| arguments.extend(["--cluster", place]));
    arguments.extend([
        "--target",
        "envoy-yaml",
        "--modules",
        modules.to_str().unwrap(),
        "--out",
        file.to_str().unwrap(),
    ]);
    arguments.extend(["--route", "x-canary-arm:v2=v2", "--route", "x-canary-arm:v3=v3", "--route", "v1"]);
    arguments.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(done(&arguments), "");
    done(&["check", file.to_str().unwrap(), "--warnings-as-errors"]);
    validate(envoy, &file);
    let envoy = run(envoy, &yaml::read(&file).unwrap(), folder);
    let ask = |authority: &str, path: &str, user: &str| ask(&envoy, "main", authority, path, user);
    assert_eq!(ask("reviews:9080", "/", "jack"), got("200", "v2"));
    assert_eq!(ask("reviews:9080", "/", "jason"), got("200", "v1"));
    assert!((0..9).all(|_| ask("reviews:9080", "/", "jack") == got("200", "v2")));
    assert_eq!(ask("reviews:9080", "/", "jack"), got("429", "none"));
    assert_eq!(ask("ratings:9080", "/", "jason"), got("500", "none"));
    assert_eq!(ask("ratings:9080", "/r", "jack"), got("200", "v1"));
    let copy = copies.recv_timeout(PATIENCE).expect("a copy");
    assert_eq!(copy.headers.get(b":path"), Some(&b"/r"[..]));
    assert!((0..5).all(|_| ask("ratings:9080", "/broken", "jack") == got("503", "v1")));
    // The circuit stands before the fault.
    assert_eq!(ask("ratings:9080", "/", "jason"), got("503", "none"));
}
