//! HTTP and gRPC calls of filters, row by row (`CALL-01` to `CALL-10`, `CALL-20` to `CALL-27`): what a filter is told of each, and what clusters
//! receive. The same in the harness and in a real Envoy; `callouts/told.txt` has it. `BLESS=1` writes it anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use conformance::run::Run;
use conformance::{run, tools};
use serde_json::json;
use weir_harness::envoy::compare;
use weir_harness::exchange::{Exchange, Message};
use weir_harness::scenario::{Filter, Scenario};

#[path = "callouts/guest.rs"]
mod guest;
#[path = "callouts/rows.rs"]
mod rows;

/// How clusters answer.
const CLUSTERS: &str = "
up: {}
plain: {response: {status: 201, headers: {x-b: '1'}, body: hi}}
empty: {response: {status: 204}}
trailing: {response: {body: hi, trailers: {x-t: '1'}}}
slow: {latency: 100ms, response: {body: hi}}
slower: {latency: 400ms, response: {body: later}}
silent: {failure: TIMEOUT}
closing: {failure: RESET}
refusing: {failure: CONNECT_FAILURE}
cutting: {failure: {type: RESET_IN_BODY, after_bytes: 5}, response: {body: helloworld}}
flaky: {sequence: [{failure: RESET}, {response: {status: 202}}]}
echo: {echo: true}
echo2: {echo: true, protocol: HTTP2}
plain2: {protocol: HTTP2, response: {status: 201, headers: {x-b: '1'}, body: hi}}
empty2: {protocol: HTTP2, response: {status: 204}}
trailing2: {protocol: HTTP2, response: {body: hi, trailers: {x-t: '1'}}}
slow2: {protocol: HTTP2, latency: 100ms, response: {body: hi}}
silent2: {protocol: HTTP2, failure: TIMEOUT}
closing2: {protocol: HTTP2, failure: RESET}
refusing2: {protocol: HTTP2, failure: CONNECT_FAILURE}
cutting2: {protocol: HTTP2, failure: {type: RESET_IN_BODY, after_bytes: 5}, response: {body: helloworld}}
dead: {endpoints: 0}
hello: {grpc: {messages: [hello], message: fine, initial_metadata: {x-i: '1'}, trailing_metadata: {x-t-bin: AAE=}}, latency: 20ms}
many: {grpc: {messages: [a, bb, '', ccc]}}
none: {grpc: {}}
nope: {grpc: {status: 5, message: 'no: ü %', initial_metadata: {x-i: '1'}}}
nope-late: {grpc: {status: 9, message: broken, messages: [half]}}
grpc-slow: {grpc: {messages: [late]}, latency: 150ms}
grpc-cut: {grpc: {messages: [hello, world]}, failure: {type: RESET_IN_BODY, after_bytes: 13}}
busy: {protocol: HTTP2, response: {status: 429, body: slow down}}
busy-bare: {protocol: HTTP2, response: {status: 503}}
unframed: {protocol: HTTP2, response: {headers: {content-type: application/grpc}, body: garbage, trailers: {grpc-status: '0'}}}
statusless: {protocol: HTTP2, response: {headers: {content-type: application/grpc}, body: {base64: AAAAAAJhYg==}}}
wrong-status: {protocol: HTTP2, response: {headers: {content-type: application/grpc}, body: {base64: AAAAAAJhYg==}, trailers: {grpc-status: '99'}}}
compressed: {protocol: HTTP2, response: {headers: {content-type: application/grpc}, body: {base64: AQAAAAJhYg==}, trailers: {grpc-status: '0'}}}
";

fn scenario(module: &Path) -> Scenario {
    let clusters: serde_json::Value = weir_harness::yaml::parse(CLUSTERS).unwrap();
    serde_json::from_value(json!({
        "filters": [Filter { name: "guest".to_owned(), module: Some(module.display().to_string()), ..Filter::default() }],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]}]},
        "clusters": clusters,
    }))
    .unwrap()
}

fn exchange(number: usize, name: &str) -> Exchange {
    let lines = [(":method", "GET"), (":path", "/"), (":authority", "example.com"), (":scheme", "http")];
    let mut request = Message { headers: lines.into_iter().collect(), ..Message::default() };
    request.headers.push("x-row", format!("{number:03}"));
    Exchange { origin: name.to_owned(), request, ..Exchange::default() }
}

/// What the filter was told in each row, one a line.
fn told(run: &Run, rows: &[rows::Named]) -> Vec<String> {
    let text = |(outcome, row): (&weir_harness::outcome::Outcome, &rows::Named)| {
        let said = outcome
            .response
            .as_ref()
            .map(|response| String::from_utf8_lossy(&response.body).trim().to_owned());
        let faults: String = outcome.faults.iter().map(|fault| format!(" fault: {fault}")).collect();
        format!("{}: {}{faults}", row.name, said.unwrap_or_else(|| format!("({})", outcome.end.name())))
    };
    run.outcomes.iter().zip(rows).map(text).collect()
}

#[test]
fn filters_are_told_of_their_calls_as_in_envoy() {
    let (rows, texts) = rows::all();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "each row has a name of its own");
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("guest.wasm");
    let does: Vec<guest::Row> = rows.iter().map(|row| row.row.clone()).collect();
    fs::write(&module, wat::parse_str(guest::module(&does, texts)).unwrap()).unwrap();
    let scenario = scenario(&module);
    let exchanges: Vec<Exchange> =
        rows.iter().enumerate().map(|(number, row)| exchange(number, row.name)).collect();
    let harness = run::in_harness(&scenario, folder.path(), &exchanges).unwrap();
    let ours = told(&harness, &rows);

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/callouts/told.txt");
    if env::var_os("BLESS").is_some() {
        fs::write(&golden, ours.join("\n") + "\n").unwrap();
    }
    let want = fs::read_to_string(&golden).unwrap();
    let mut wrong: Vec<String> = ours
        .iter()
        .zip(want.lines())
        .filter(|(ours, want)| ours.as_str() != *want)
        .map(|(ours, want)| format!("harness  {ours}\nexpected {want}"))
        .collect();
    assert_eq!(ours.len(), want.lines().count(), "a row for each line");

    if let Some(binary) = tools::envoy_or_skip("callouts").unwrap() {
        let envoy = run::in_envoy(binary, &scenario, folder.path(), &exchanges, &harness).unwrap();
        let theirs = told(&envoy, &rows);
        let pairs = ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs);
        wrong.extend(pairs.map(|(ours, theirs)| format!("harness {ours}\nenvoy   {theirs}")));
        let comparison = compare::compare(&harness, &envoy);
        let differing = comparison.exchanges.iter().zip(&rows);
        wrong
            .extend(differing.filter_map(|(one, row)| Some(format!("{}\n{}", row.name, one.as_ref()?.diff))));
        wrong.extend(comparison.others.iter().map(ToString::to_string));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
