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

/// Manifests and parts of Envoy configurations in the READMEs: the first as they are, the second in a whole configuration.
#[test]
fn what_the_readmes_show_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = 0;
    for path in readmes() {
        let text = fs::read_to_string(&path).unwrap();
        for (number, block) in blocks(&text).into_iter().enumerate() {
            let whole = if block.contains("apiVersion:") {
                block.to_owned()
            } else if block.starts_with("http_filters:") {
                configuration(block)
            } else {
                continue;
            };
            let file = folder.path().join("snippet.yaml");
            fs::write(&file, whole).unwrap();
            let output = weir(&[file.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{}, YAML {number}: {said}", path.display());
            found += 1;
        }
    }
    assert!(found >= 10, "only {found} are found");
}

fn readmes() -> Vec<std::path::PathBuf> {
    let root = tools::workspace();
    let mut found = vec![root.join("README.md"), root.join("sdk/README.md"), root.join("docs/operating.md")];
    for folder in ["filters", "examples"] {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        found.extend(
            entries.map(|entry| entry.unwrap().path().join("README.md")).filter(|path| path.exists()),
        );
    }
    found.sort();
    found
}

fn blocks(text: &str) -> Vec<&str> {
    text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// A whole Envoy configuration around `http_filters`, and `routes` and `clusters` where they stand beside it.
fn configuration(parts: &str) -> String {
    let mut filled =
        [("http_filters", 10, String::new()), ("routes", 14, String::new()), ("clusters", 2, String::new())];
    let mut to = None;
    for line in parts.lines() {
        if let Some(key) = line.strip_suffix(':').filter(|key| !key.starts_with([' ', '-'])) {
            to = filled.iter().position(|(name, ..)| *name == key);
            assert!(to.is_some(), "where does `{key}` belong?");
        }
        let (_, depth, text) = &mut filled[to.unwrap()];
        *text += &format!("{}{line}\n", " ".repeat(*depth));
    }
    let [(_, _, filters), (_, _, routes), (_, _, mut clusters)] = filled;
    // Of the operator's own clusters a README shows the names only.
    for rest in routes.split("route: {cluster: ").skip(1) {
        let name = rest.split(['}', ',']).next().unwrap();
        if clusters.is_empty() {
            clusters += "  clusters:\n";
        }
        clusters += &format!("  - {{name: {name}}}\n");
    }
    let routes = if routes.is_empty() {
        "              routes: [{match: {prefix: /}, direct_response: {status: 200}}]\n".to_owned()
    } else {
        routes
    };
    format!(
        r#"static_resources:
  listeners:
  - name: all
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
{routes}{filters}{clusters}"#
    )
}

#[test]
fn nothing_to_check_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nothing.yaml");
    check(&[folder.path().to_str().unwrap()], 2, &["there is nothing to check in", "expected manifests"]);
    for text in ["", "# only\n---\n# comments\n"] {
        fs::write(&file, text).unwrap();
        check(&[file.to_str().unwrap()], 2, &["there is nothing to check in", "nothing.yaml"]);
        check(&[folder.path().to_str().unwrap()], 2, &["there is nothing to check in"]);
    }
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

/// With `--envoy`.
#[track_caller]
fn check_in_envoy(test: &str, arguments: &[&str], code: i32, says: &[&str], says_not: &[&str]) {
    let Some(envoy) = tools::envoy_or_skip(test).unwrap() else { return };
    let envoy = envoy.to_str().unwrap();
    let arguments = [arguments, &["--envoy", "--envoy-path", envoy]].concat();
    check(&arguments, code, says);
    let text = String::from_utf8(weir(&arguments).stdout).unwrap();
    for never in says_not {
        assert!(!text.contains(never), "says `{never}`: {text}");
    }
}

#[test]
fn a_real_envoy_accepts_the_examples() {
    let never = ["envoy-refused", "envoy-accepts", "envoy-unasked"];
    check_in_envoy(
        "a_real_envoy_accepts_the_examples",
        &["examples/bookinfo/envoy", "--warnings-as-errors"],
        0,
        &["documents checked"],
        &never,
    );
}

/// A bootstrap, and parts of one: what no rule of ours finds, what ours finds as well, what Envoy finds first.
#[test]
fn what_a_real_envoy_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let test = "what_a_real_envoy_refuses";
    let alone = "; nothing else was found wrong with it";
    // A cluster in two addresses of one name, which only a running Envoy sees.
    let twice = file(
        "twice.yaml",
        "static_resources:\n  clusters:\n  - {name: a, connect_timeout: 1s}\n  - {name: a, connect_timeout: 1s}\n",
    );
    check_in_envoy(
        test,
        &[&twice],
        3,
        &["error[envoy-refused]", "twice.yaml:3:12", "duplicate cluster 'a'", alone],
        &[],
    );
    let field = file("field.yaml", "static_resources:\n  clusters:\n  - name: a\n    typo: 1\n");
    let says = ["error[envoy-field] ", "error[envoy-refused] ", "field.yaml:4:5: ", "no such field: 'typo'"];
    check_in_envoy(test, &[&field], 3, &says, &[alone]);
    let cluster = file(
        "cluster.yaml",
        "name: a\nconnect_timeout: 1s\ntype: STATIC\nload_assignment:\n  cluster_name: a\n  endpoints:\n  - lb_endpoints:\n    - endpoint: {address: {socket_address: {address: not-an-address, port_value: 80}}}\n",
    );
    check_in_envoy(test, &[&cluster], 3, &["error[envoy-refused]", "cluster.yaml:8:", "not-an-address"], &[]);
    let routes = file(
        "routes.yaml",
        "virtual_hosts:\n- name: a\n  domains: ['*']\n  routes:\n  - match: {safe_regex: {regex: '('}}\n    route: {cluster: later}\n",
    );
    check_in_envoy(
        test,
        &[&routes],
        3,
        &["error[envoy-refused]", "routes.yaml:5:", "missing )"],
        &["cluster"],
    );
    let missing = file(
        "missing.yaml",
        "name: x\ntyped_config:\n  \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n  config:\n    vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {filename: gone.wasm}}}\n",
    );
    let resources = fs::read_to_string(&missing).unwrap().replace('\n', "\n  ");
    let resources = format!(
        "resources:\n- \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig\n  {}",
        resources.trim_end()
    );
    let missing = file("missing.yaml", &format!("{resources}\n"));
    check_in_envoy(
        test,
        &[&missing],
        0,
        &["note[envoy-unasked]", "there is no `gone.wasm`", "--module NAME=FILE"],
        &["envoy-refused"],
    );
}

/// An `EnvoyFilter` with these patches.
fn filter(patches: &str) -> String {
    let begin = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: a, namespace: a}\nspec:\n  configPatches:\n";
    format!("{begin}{patches}")
}

/// Values that are patched in, each kind once as Envoy accepts it, and then with a mistake that no rule of ours finds.
#[test]
fn what_a_real_envoy_says_of_patches() {
    const ACCEPTED: &str = r#"
  - {applyTo: CLUSTER, patch: {operation: ADD, value: {name: a, connect_timeout: 1s, type: STRICT_DNS}}}
  - {applyTo: CLUSTER, patch: {operation: MERGE, value: {connectTimeout: 500ms, lb_policy: RING_HASH}}}
  - {applyTo: LISTENER, patch: {operation: MERGE, value: {per_connection_buffer_limit_bytes: 1024}}}
  - {applyTo: LISTENER_FILTER, patch: {operation: INSERT_FIRST, value: {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}}}
  - {applyTo: FILTER_CHAIN, patch: {operation: MERGE, value: {transport_socket_connect_timeout: 1s}}}
  - {applyTo: NETWORK_FILTER, patch: {operation: MERGE, value: {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, server_name: a}}}}
  - {applyTo: NETWORK_FILTER, patch: {operation: INSERT_FIRST, value: {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC, stat_prefix: a}}}}
  - {applyTo: NETWORK_FILTER, patch: {operation: REPLACE, value: {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, cluster: b}}}}
  - {applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1, typo: 1}}}}
  - {applyTo: HTTP_FILTER, patch: {operation: MERGE, value: {typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer}}}}
  - {applyTo: HTTP_FILTER, patch: {operation: ADD, value: {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}
  - {applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: {name: a.lua, config_discovery: {config_source: {ads: {}, resource_api_version: V3}, type_urls: [type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua]}}}}
  - {applyTo: EXTENSION_CONFIG, patch: {operation: ADD, value: {name: a.lua, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, default_source_code: {inline_string: "-- nothing"}}}}}
  - {applyTo: ROUTE_CONFIGURATION, patch: {operation: MERGE, value: {max_direct_response_body_size_bytes: 1}}}
  - {applyTo: VIRTUAL_HOST, patch: {operation: ADD, value: {name: a, domains: [a], routes: [{match: {prefix: /}, route: {cluster: c}}]}}}
  - {applyTo: HTTP_ROUTE, patch: {operation: MERGE, value: {route: {timeout: 1s, retry_policy: {retry_on: 5xx}}}}}
  - {applyTo: HTTP_ROUTE, patch: {operation: INSERT_FIRST, value: {match: {safe_regex: {regex: /a.*}}, redirect: {path_redirect: /b}}}}
  - {applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {stats_flush_interval: 5s}}}
"#;
    // Each with the place of what is wrong, and words of Envoy's.
    const REFUSED: &[(&str, &str, &str)] = &[
        (
            "{applyTo: CLUSTER, patch: {operation: ADD, value: {name: a, type: STATIC, load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: WRONG, port_value: 1}}}}]}]}}}}",
            "not-an-address",
            "not-an-address",
        ),
        (
            "{applyTo: LISTENER, patch: {operation: MERGE, value: {address: {socket_address: {address: WRONG}}}}}",
            "not-an-address",
            "not-an-address",
        ),
        (
            "{applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: {name: a, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, default_source_code: {inline_string: WRONG}}}}}",
            "\"function (\"",
            "script load error",
        ),
        (
            "{applyTo: VIRTUAL_HOST, patch: {operation: ADD, value: {name: a, domains: [a], routes: [{match: {safe_regex: {regex: WRONG}}, route: {cluster: c}}]}}}",
            "\"(\"",
            "missing )",
        ),
        (
            "{applyTo: HTTP_ROUTE, patch: {operation: MERGE, value: {match: {safe_regex: {regex: WRONG}}}}}",
            "\"(\"",
            "missing )",
        ),
        (
            "{applyTo: NETWORK_FILTER, patch: {operation: INSERT_FIRST, value: {name: a, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.ratelimit.v3.RateLimit, stat_prefix: a, domain: a, descriptors: [{entries: [{key: a}]}], rate_limit_service: {transport_api_version: V3, grpc_service: {google_grpc: {target_uri: a, stat_prefix: WRONG}}}}}}}",
            "\"\"",
            "StatPrefix",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter.yaml");
    let path = file.to_str().unwrap();
    let test = "what_a_real_envoy_says_of_patches";
    fs::write(&file, filter(ACCEPTED.trim_start_matches('\n'))).unwrap();
    check_in_envoy(
        test,
        &[path],
        0,
        &["document checked"],
        &["envoy-refused", "envoy-unasked", "envoy-accepts"],
    );
    for (patch, wrong, words) in REFUSED {
        let text = filter(&format!("  - {}\n", patch.replace("WRONG", wrong)));
        fs::write(&file, &text).unwrap();
        let place = format!("filter.yaml:6:{}: ", 5 + patch.find("WRONG").unwrap());
        check_in_envoy(test, &[path], 3, &["error[envoy-refused]", &place, words], &[]);
    }
}

/// Istio's agent fetches the module: here it is the one that is named, and Envoy hands it its configuration.
#[test]
fn the_module_of_a_patch_is_the_one_that_is_named() {
    let test = "the_module_of_a_patch_is_the_one_that_is_named";
    let module = weir_harness::build::named("hello-filter", tools::workspace()).unwrap();
    let module = format!("greeter={}", module.display());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter.yaml");
    let path = file.to_str().unwrap();
    let write = |greeting: &str| {
        let remote = "{remote: {http_uri: {uri: \"oci://registry.example.com/greeter:1\", timeout: 1s, cluster: _}, sha256: nil}}";
        let config = format!(
            "{{root_id: greeter, vm_config: {{runtime: envoy.wasm.runtime.v8, code: {remote}}}, configuration: {{\"@type\": \
             type.googleapis.com/google.protobuf.StringValue, value: '{greeting}'}}}}"
        );
        let typed = format!(
            "{{\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {config}}}"
        );
        let patch = format!(
            "  - {{applyTo: EXTENSION_CONFIG, patch: {{operation: ADD, value: {{name: a, typed_config: {typed}}}}}}}\n"
        );
        fs::write(&file, filter(&patch)).unwrap();
    };
    write(r#"{"greeting": "hello"}"#);
    let never = ["envoy-refused", "envoy-accepts", "envoy-unasked", "plugin-"];
    check_in_envoy(test, &[path, "--module", &module], 0, &["document checked"], &never);
    let says = ["note[envoy-unasked]", "the module of `oci://registry.example.com/greeter:1` is not at hand"];
    check_in_envoy(test, &[path], 0, &says, &["envoy-refused"]);
    write("{}");
    let says = ["error[plugin-refused]", "error[envoy-refused]", "Unable to create Wasm plugin"];
    check_in_envoy(test, &[path, "--module", &module], 3, &says, &[]);
}

#[test]
fn a_real_envoy_is_asked_about_its_own_configurations_only() {
    let says = ["`--envoy` is for Envoy configurations", "weir envoy"];
    check(&["examples/bookinfo", "--envoy"], 2, &says);
}
