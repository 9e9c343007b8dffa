//! `weir check` on what this repository ships, and on what is wrong in it: with the real modules.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::{Command, Output};

use conformance::tools;

fn weir(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command.arg("check").args(arguments).current_dir(tools::workspace()).output().expect("weir runs")
}

#[track_caller]
fn check(arguments: &[&str], code: i32, says: &[&str]) {
    let output = weir(arguments);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for want in says {
        assert!(text.contains(want), "does not say `{want}`: {text}");
    }
}

/// A file made of one of the examples, with one text in the place of another.
#[track_caller]
fn check_changed(example: &str, from: &str, to: &str, code: i32, says: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(tools::workspace().join("examples/bookinfo").join(example)).unwrap();
    assert!(text.contains(from), "{example} has no `{from}`");
    let path = folder.path().join("changed.yaml");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    check(&[path.to_str().unwrap()], code, says);
}

#[test]
fn the_examples_are_accepted() {
    // The policies are alternatives: that two of them have no order among them is a warning.
    check(&["examples/bookinfo/istio"], 0, &["documents checked"]);
    check(&["examples/bookinfo/envoy", "--warnings-as-errors"], 0, &["documents checked"]);
}

#[test]
fn a_plugin_configuration_inside_of_a_manifest() {
    check_changed(
        "istio/traffic-shifting.yaml",
        "      split:",
        "      splt:",
        3,
        &["error[plugin-schema]", "unknown field `splt`", "did you mean `split`?", "error[plugin-refused]"],
    );
    // What no schema can say, the module says.
    let (from, to) = ("{arm: v1, weight: 50}", "{arm: v3, weight: 50}");
    check_changed(
        "istio/traffic-shifting.yaml",
        from,
        to,
        3,
        &["error[plugin-refused]", "`rules[0].split[1].arm`"],
    );
}

#[test]
fn a_plugin_configuration_inside_of_a_text() {
    let says =
        ["changed.yaml:31:89: ", "error[plugin-schema]", "unknown field `splt`", "error[plugin-refused]"];
    check_changed("envoy/traffic-shifting.yaml", "\"split\"", "\"splt\"", 3, &says);
}

#[test]
fn clusters_that_are_not_there() {
    let says = ["error[cluster-missing]", "unknown cluster `review-v2`; did you mean `reviews-v2`?"];
    check_changed("envoy/traffic-shifting.yaml", "{cluster: reviews-v2}", "{cluster: review-v2}", 3, &says);
}

#[test]
fn what_is_asked_for_wrongly() {
    check(&["examples/bookinfo/istio", "--allow", "plugin-ordr"], 2, &["did you mean `plugin-order`?"]);
    check(&["examples/bookinfo/istio", "--module", "canary"], 2, &["expected NAME=FILE"]);
    check(&["examples/bookinfo/istio/routes.yaml", "no-such.yaml"], 2, &["cannot read `no-such.yaml`"]);
}
