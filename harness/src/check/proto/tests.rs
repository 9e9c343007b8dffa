//! Values as Envoy takes and refuses them.

use serde_json::json;

use super::*;

#[track_caller]
fn check(name: &str, value: Value, want: &[(Problem, &str, &str)]) {
    let mistakes = mistakes(&message(name).unwrap(), &value, Wholeness::Whole);
    let got: Vec<(Problem, &str, &str)> =
        mistakes.iter().map(|one| (one.problem, one.pointer.as_str(), one.reason.as_str())).collect();
    assert_eq!(got, want);
}

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const HTTP_FILTER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";

#[test]
fn the_descriptors_are_whole() {
    assert!(POOL.files().len() > 500);
    assert!(message("envoy.extensions.filters.http.wasm.v3.Wasm").is_some());
}

#[test]
fn fields_have_both_spellings() {
    check(CLUSTER, json!({"name": "a", "connectTimeout": "1s", "lb_policy": "RANDOM", "type": 0}), &[]);
    check(
        CLUSTER,
        json!({"name": "a", "conect_timeout": "1s"}),
        &[(
            Problem::Field,
            "/conect_timeout",
            "unknown field `conect_timeout` of envoy.config.cluster.v3.Cluster",
        )],
    );
}

#[test]
fn values_are_of_the_fields_type() {
    let bad = json!({"name": 1, "connect_timeout": "1m", "lb_policy": "RANDM", "per_connection_buffer_limit_bytes": -1});
    let mistakes = mistakes(&message(CLUSTER).unwrap(), &bad, Wholeness::Whole);
    let got: Vec<&str> = mistakes.iter().map(|one| one.pointer.as_str()).collect();
    assert_eq!(got, ["/connect_timeout", "/lb_policy", "/name", "/per_connection_buffer_limit_bytes"]);
    assert_eq!(mistakes[0].reason, "expected a duration such as `1.5s`, found the text `1m`");
    assert!(mistakes[1].reason.contains("did you mean `RANDOM`?"), "{}", mistakes[1].reason);
}

#[test]
fn what_envoy_requires_is_required() {
    check(CLUSTER, json!({}), &[(Problem::Value, "", "the field `name` is missing")]);
    check(
        CLUSTER,
        json!({"name": "a", "connect_timeout": "0s"}),
        &[(Problem::Value, "/connect_timeout", "`0s` must be above 0s")],
    );
    let part = mistakes(&message(CLUSTER).unwrap(), &json!({}), Wholeness::Part);
    assert_eq!(part, []);
}

#[test]
fn types_inside_are_resolved() {
    let filter = |config: Value| json!({"name": "x", "typed_config": config});
    let url = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    check(
        HTTP_FILTER,
        filter(json!({"@type": url, "config": {"name": "x", "nam": 1}})),
        &[(
            Problem::Field,
            "/typed_config/config/nam",
            "unknown field `nam` of envoy.extensions.wasm.v3.PluginConfig",
        )],
    );
    let typed = json!({"@type": "type.googleapis.com/udpa.type.v1.TypedStruct", "type_url": url, "value": {"confg": {}}});
    check(
        HTTP_FILTER,
        filter(typed),
        &[(
            Problem::Field,
            "/typed_config/value/confg",
            "unknown field `confg` of envoy.extensions.filters.http.wasm.v3.Wasm",
        )],
    );
    check(
        HTTP_FILTER,
        filter(json!({"@type": "type.googleapis.com/envoy.Nothing"})),
        &[(Problem::Type, "/typed_config/@type", "Envoy has no type `envoy.Nothing`")],
    );
    check(
        HTTP_FILTER,
        json!({"name": "envoy.filters.http.router"}),
        &[(Problem::Untyped, "", "`envoy.filters.http.router` has no `typed_config`")],
    );
}
