//! Forms of clusters that are refused, and what the refusal says.

use std::path::Path;

use super::*;
use crate::yaml;

#[track_caller]
fn refused(cluster: &str, field: &str, reason: &str) {
    let cluster: Cluster = yaml::parse(cluster).unwrap_or_else(|error| panic!("{error}\n{cluster}"));
    let (at, why) = cluster.validate().expect_err("refused");
    assert_eq!(at, field, "{why}");
    assert!(why.contains(reason), "{field}: {why}");
}

#[test]
fn what_makes_no_sense_is_refused_by_its_path() {
    refused("{response: {}, echo: true}", "echo", "beside `response`");
    refused("{echo: true, grpc: {}}", "grpc", "beside `echo`");
    refused("{sequence: [{}], response: {}}", "response", "beside `sequence`");
    refused("{sequence: [{}], failure: RESET}", "failure", "beside `sequence`");
    refused("{after_sequence: LAST}", "after_sequence", "no `sequence`");
    refused("{sequence: [{}, {times: 0}]}", "sequence[1].times", "at least 1");
    refused("{match: [{response: {}}]}", "match[0]", "every request");
    refused("{match: [{path_prefix: a}]}", "match[0].path_prefix", "begins with `/`");
    refused(
        "{match: [{method: GET, sequence: [{response: {status: 99}}]}]}",
        "match[0].sequence[0].response.status",
        "200 to 599",
    );
    refused("{response: {headers: {':status': '1'}}}", "response.headers[0]", "not a header name");
    refused("{response: {headers: {a: \"x\\ny\"}}}", "response.headers[0]", "CR, LF or NUL");
    refused("{response: {trailers: {'': a}}}", "response.trailers[0]", "not a header name");
    refused("{grpc: {status: 17}}", "grpc.status", "0 to 16");
    refused("{grpc: {}, protocol: HTTP1}", "protocol", "`HTTP2`");
    refused("{latency: {uniform: {min: 2s, max: 1s}}}", "latency.uniform.min", "at most `max`");
    refused("{latency: {lognormal: {median: 0s, p99: 1s}}}", "latency.lognormal.median", "more than 0");
    refused("{latency: {lognormal: {median: 2s, p99: 1s}}}", "latency.lognormal.p99", "at least");
    refused("{latency: {percentiles: {}}}", "latency.percentiles", "at least one");
    refused("{latency: {percentiles: {p101: 1s}}}", "latency.percentiles.p101", "`p0` to `p100`");
    refused("{latency: {percentiles: {p50: 2s, p99: 1s}}}", "latency.percentiles.p99", "as much as `p50`");
    refused("{latency: {percentiles: {p50: 1s, p50.0: 1s}}}", "latency.percentiles.p50.0", "once");
    refused("{failure: {type: RESET, percentage: 101}}", "failure.percentage", "0 to 100");
    refused("{failure: {type: RESET, percentage: .nan}}", "failure.percentage", "0 to 100");
    refused("{failure: {type: RESET, after_bytes: 1}}", "failure.after_bytes", "`RESET_IN_BODY`");
}

#[track_caller]
fn malformed(cluster: &str, want: &str) {
    let error = yaml::parse::<Cluster>(cluster).expect_err("malformed").to_string();
    assert!(error.contains(want), "{error}");
}

#[test]
fn what_has_another_form_is_refused_with_what_would_be_accepted() {
    malformed("{latency: 20}", "a duration such as `250ms`");
    malformed("{latency: 20 ms}", "`latency`: expected a duration such as `250ms`");
    malformed("{latency: {zipf: {}}}", "`zipf`");
    malformed("{latency: {uniform: {min: 1s}}}", "`max`");
    malformed("{failure: SLOW}", "`SLOW`");
    malformed("{failure: {kind: RESET}}", "`kind`");
    malformed("{response: {body: 12}}", "in quotes");
    malformed("{response: {body: {base64: '*'}}}", "base64");
    malformed("{response: {body: {base64: '', file: a}}}", "stands beside");
    malformed("{respons: {}}", "`respons`");
}

#[test]
fn files_are_read_when_a_scenario_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.bin"), b"\xff\x00").unwrap();
    let mut cluster: Cluster = yaml::parse(
        "{match: [{method: GET, sequence: [{grpc: {messages: [{file: a.bin}]}}]}], response: {body: {file: a.bin}}}",
    )
    .unwrap();
    cluster.read_files(folder.path()).unwrap();
    assert_eq!(cluster.response.as_ref().map(|response| response.body.bytes()), Some(vec![0xff, 0]));
    let step = &cluster.rules[0].sequence[0];
    assert_eq!(step.grpc.as_ref().map(|grpc| grpc.messages[0].bytes()), Some(vec![0xff, 0]));
    let mut gone: Cluster = yaml::parse("{sequence: [{response: {body: {file: gone}}}]}").unwrap();
    let (field, _) = gone.read_files(Path::new(folder.path())).unwrap_err();
    assert_eq!(field, "sequence[0].response.body.file");
}

/// What is written comes back from what it is written as.
#[test]
fn a_cluster_survives_being_written() {
    let text = "{match: [{path_prefix: /a, headers: {x: y}, echo: true, latency: 1ms}], latency: {percentiles: {p50: 20ms}}, \
                sequence: [{times: 3, failure: {type: RESET_IN_BODY, percentage: 12.5, after_bytes: 3}}, {grpc: {status: 3, messages: [a]}}], \
                after_sequence: REPEAT, endpoints: 2, metadata: {filter_metadata: {}}}";
    let cluster: Cluster = yaml::parse(text).unwrap();
    let again: Cluster = yaml::parse(&serde_json::to_string(&cluster).unwrap()).unwrap();
    assert_eq!(cluster, again);
}

/// A published schema that the forms keep to, in both ways of writing each.
#[test]
fn forms_are_of_the_schema() {
    let schema: Value = schemars::schema_for!(Cluster).into();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (text, good) in [
        ("{latency: 20ms, failure: RESET, response: {headers: {a: b}, body: {file: x}}}", true),
        ("{latency: {uniform: {min: 1s, max: 2s}}, failure: {type: TIMEOUT, percentage: 1}}", true),
        ("{response: {headers: [[a, b], [a, {base64: AA==}]]}}", true),
        ("{match: [{method: GET, echo: true}], protocol: HTTP2, grpc: {messages: [{base64: AA==}]}}", true),
        ("{latency: soon}", false),
        ("{failure: SLOW}", false),
        ("{nothing: 1}", false),
    ] {
        let value: Value = yaml::parse(text).unwrap();
        assert_eq!(validator.is_valid(&value), good, "{text}");
    }
}
