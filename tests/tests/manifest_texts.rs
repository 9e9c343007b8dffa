//! `weir manifest`: what is refused and how that is said, the order of chains, and what is written, as golden files (`BLESS=1` writes them anew).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Output};

use conformance::tools;
use serde_json::Value;
use weir_harness::yaml;

const DIGEST: &str = "sha256:5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";
const CANARY: &[&str] = &["canary", "--config", "examples/bookinfo/policies/request-routing.yaml"];
const MIRROR: &[&str] = &["mirror", "--config", "examples/bookinfo/policies/mirror-ratings.yaml"];
const FAULT: &[&str] = &["fault", "--config", "examples/bookinfo/policies/abort-jason.yaml"];
const REGISTRY: &[&str] = &["--registry", "registry.example/weir"];

fn weir(arguments: &[&[&str]]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.arg("manifest").args(arguments.concat()).current_dir(tools::workspace());
    command.output().expect("weir runs")
}

#[track_caller]
fn written(arguments: &[&[&str]]) -> String {
    let output = weir(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(arguments: &[&[&str]], code: i32, says: &[&str]) {
    let output = weir(arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    for want in says {
        assert!(err.contains(want), "{arguments:?} does not say `{want}`: {err}");
    }
}

#[test]
fn a_configuration_is_refused_as_weir_check_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let file_name = file.to_str().unwrap();
    let target = ["--target", "wasmplugin"];
    let config = ["canary", "--config", file_name];
    fs::write(&file, "rules:\n- splt: [{arm: a, weight: 1}]\n").unwrap();
    let place = format!("{file_name}:2:3");
    let says = [
        &place,
        "error[plugin-schema]",
        "unknown field `splt`",
        "did you mean `split`?",
        "error[plugin-refused]",
    ];
    refused(&[&config, REGISTRY, &target], 3, &says);
    fs::write(&file, "rules: [{arm: a}\n").unwrap();
    refused(&[&config, REGISTRY, &target], 2, &[file_name, "line"]);
    refused(&[&["canary", "--config", "no-such.yaml"], REGISTRY, &target], 2, &["no-such.yaml"]);
}

#[test]
fn flags_that_are_missing_or_have_no_place_are_named() {
    let to = |target: &'static str| ["--target", target];
    for (more, target, says) in [
        (&[][..], "wasmplugin", "`--registry`: where is the image of `canary`?"),
        (&[], "envoyextensionpolicy", "`--target-ref`: what is the policy attached to?"),
        (&[], "envoy-yaml", "`--route`: where do requests go?"),
        (&["--route", "v1"], "envoy-yaml", "`--cluster`: routes name the cluster `v1`"),
        (&["--route", "x-a:1=v1"], "envoy-yaml", "`--route`: expected one route without a header, the last"),
        (&["--phase", "AUTHZ"], "envoyfilter", "`--phase`: the target `envoyfilter` has no place for it"),
        (&["--selector", "app=a"], "envoy", "`--selector`: the target `envoy` has no place for it"),
        (
            &["--env", "A=b"],
            "envoyextensionpolicy",
            "`--env`: the target `envoyextensionpolicy` has no place for it",
        ),
        (&["--vm-id", "a"], "wasmplugin", "`--vm-id`: the target `wasmplugin` has no place for it"),
        (&["--failure-policy", "FAIL_RELOAD"], "envoyextensionpolicy", "`--failure-policy`: "),
        (&["--url", "registry.example/canary:1"], "envoy", "`--url`: the target `envoy` has no place for it"),
        (&["--image-pull-secret", "a"], "envoyfilter-ecds", "istiod reads Secrets for WasmPlugin"),
        (
            &["--selector", "a=b", "--target-ref", "Gateway/a"],
            "wasmplugin",
            "`--selector`: stands beside `--target-ref`",
        ),
        (&["--target-ref", "Gatway/a"], "wasmplugin", "unknown kind `Gatway`; did you mean `Gateway`?"),
        (&["--digest", "sha256:12"], "wasmplugin", "64 hexadecimal digits"),
        (&["--port", "0"], "wasmplugin", "--port"),
    ] {
        let registry: &[&str] =
            if says.contains("--registry") || more.contains(&"--url") { &[] } else { REGISTRY };
        let registry = if target.starts_with("envoy") && !target.contains("ext") && !target.contains("ecds") {
            &[][..]
        } else {
            registry
        };
        refused(&[CANARY, more, registry, &to(target)], 2, &[says]);
    }
    refused(&[CANARY, &["fault", "--name", "x", "--target", "envoy"]], 2, &["`--name` is for one filter"]);
    refused(&[CANARY, &["--config", "b.yaml", "--target", "envoy"]], 2, &["there is no filter left for it"]);
    // What Kubernetes would refuse is refused here.
    refused(
        &[CANARY, REGISTRY, &["--name", "Not_A_Name", "--target", "wasmplugin"]],
        3,
        &["error[metadata]"],
    );
}

#[test]
fn clusters_that_nobody_explained_are_refused() {
    for (target, hint) in [
        ("wasmplugin", "--cluster ratings-shadow=NAME.NAMESPACE.svc.cluster.local:PORT"),
        ("envoyextensionpolicy", "--cluster ratings-shadow=NAME.NAMESPACE.svc.cluster.local:PORT"),
        ("envoy", "--cluster ratings-shadow=HOST:PORT"),
    ] {
        let more: &[&str] = match target {
            "envoy" => &[],
            "wasmplugin" => REGISTRY,
            _ => &["--registry", "registry.example/weir", "--target-ref", "Gateway/eg"],
        };
        refused(
            &[MIRROR, more, &["--target", target]],
            2,
            &["`ratings-shadow` at `/targets/0/cluster`", hint],
        );
    }
    let address = [
        "--cluster",
        "ratings-shadow=shadow:80",
        "--target-ref",
        "HTTPRoute/a",
        "--target",
        "envoyextensionpolicy",
    ];
    refused(
        &[MIRROR, REGISTRY, &address],
        2,
        &["`--gateway`: the policy is attached to no Gateway: of which is the cluster that a plugin calls?"],
    );
}

#[test]
fn several_filters_keep_their_order() {
    let chain =
        ["canary", "fault", "--config", "examples/bookinfo/policies/request-routing.yaml", "--config"];
    let chain = [&chain[..], &["fault=examples/bookinfo/policies/abort-jason.yaml"]].concat();
    let of = |target: &str, pointer: &str| {
        let registry: &[&str] = if target == "envoyfilter" { &[] } else { REGISTRY };
        let text = written(&[&chain, registry, &["--target", target, "--priority", "5"]]);
        let documents: Vec<Value> = yaml::parse_all(&text).unwrap();
        let names = documents.iter().map(|document| {
            (
                document["metadata"]["name"].as_str().unwrap().to_owned(),
                document.pointer(pointer).cloned().unwrap(),
            )
        });
        names.collect::<Vec<_>>()
    };
    let named = |canary: i32, fault: i32| {
        vec![("canary".to_owned(), canary.into()), ("fault".to_owned(), fault.into())]
    };
    // WasmPlugins: the highest first. EnvoyFilters: the lowest is applied first, and the later ones are nearer to the router.
    assert_eq!(of("wasmplugin", "/spec/priority"), named(15, 5));
    assert_eq!(of("trafficextension", "/spec/priority"), named(15, 5));
    assert_eq!(of("envoyfilter", "/spec/priority"), named(5, 15));
}

/// The manifest is the golden file, and `weir check` finds nothing in that.
#[track_caller]
fn golden(name: &str, arguments: &[&[&str]]) {
    let path = tools::workspace().join("tests/manifests").join(format!("{name}.yaml"));
    let text = written(arguments);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == want, "{} is not what is written; read it, then BLESS=1:\n{text}", path.display());
}

#[test]
fn what_is_written() {
    let arms = ["--route", "x-canary-arm:v2=v2", "--route", "v1"];
    let istio = [
        "--cluster",
        "v1=outbound|9080|v1|reviews.default.svc.cluster.local",
        "--cluster",
        "v2=outbound|9080|v2|reviews.default.svc.cluster.local",
    ];
    let place = ["--selector", "app=productpage", "--mode", "CLIENT", "--port", "9080", "--digest", DIGEST];
    golden("wasmplugin", &[CANARY, REGISTRY, &arms, &istio, &place, &["--target", "wasmplugin"]]);
    let alarm = [
        "canary",
        "--config",
        "examples/bookinfo/policies/canary-rollback.yaml",
        "--cluster",
        "alarm=hooks.example.com:443,tls",
    ];
    let more = [
        "--phase",
        "STATS",
        "--priority",
        "7",
        "--env",
        "STAGE=prod",
        "--host-env",
        "POD_NAME",
        "--image-pull-secret",
        "registry",
    ];
    golden("trafficextension", &[&alarm, REGISTRY, &place, &more, &["--target", "trafficextension"]]);
    golden(
        "envoyfilter",
        &[
            FAULT,
            &[
                "--selector",
                "app=ratings",
                "--mode",
                "SERVER",
                "--vm-id",
                "faults",
                "--target",
                "envoyfilter",
            ],
        ],
    );
    let ecds = ["--target", "envoyfilter-ecds", "--target-ref", "Gateway/ingress", "--digest", DIGEST];
    golden("envoyfilter-ecds", &[FAULT, REGISTRY, &ecds, &["--image-pull-policy", "IfNotPresent"]]);
    let policy =
        ["--target", "envoyextensionpolicy", "--target-ref", "HTTPRoute/ratings/reads", "--digest", DIGEST];
    let shadow = ["--cluster", "ratings-shadow=httproute/default/ratings-shadow/rule/0"];
    golden("envoyextensionpolicy", &[MIRROR, REGISTRY, &policy, &shadow]);
    let route =
        ["--target", "envoyextensionpolicy", "--target-ref", "HTTPRoute/reviews", "--gateway", "infra/eg"];
    let services = [
        "--cluster",
        "v1=reviews-v1.default.svc:9080",
        "--cluster",
        "v2=reviews-v2.next.svc.cluster.local:9080,http2",
    ];
    let hostname = ["--hostname", "reviews.example.com", "--digest", DIGEST];
    golden("http-route", &[CANARY, REGISTRY, &route, &arms, &services, &hostname]);
    let places = ["--cluster", "v1=127.0.0.1:9083", "--cluster", "v2=reviews.example:9084,http2"];
    golden("envoy-yaml", &[CANARY, &arms, &places, &["--modules", "/etc/weir", "--target", "envoy-yaml"]]);
    golden("envoy-routes", &[CANARY, &arms, &places, &["--modules", "/etc/weir", "--target", "envoy"]]);
    let sidecars = ["--selector", "app=productpage", "--mode", "CLIENT", "--target", "envoyfilter"];
    golden("envoyfilter-routes", &[CANARY, &arms, &istio, &sidecars]);
    golden(
        "envoy",
        &[
            MIRROR,
            &["--cluster", "ratings-shadow=shadow:9080", "--modules", "/etc/weir", "--target", "envoy"],
        ],
    );
}
