//! What the filter records in a real Envoy is a recording: it is read, and replayed.

use std::path::Path;
use std::process::Command;

use weir_harness::traffic;

use super::*;

/// A request without its answer's side: what must come back.
fn asked(exchange: &Exchange) -> (Vec<Option<Vec<u8>>>, Vec<u8>, bool) {
    let line = |name: &[u8]| exchange.request.headers.get(name).map(<[u8]>::to_vec);
    let lines = [&b":method"[..], b":path", b":authority", b"x-raw", b"authorization"];
    (lines.map(line).to_vec(), exchange.request.body.clone(), exchange.request.body_truncated)
}

fn replayed(recording: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_weir-under-test"))
        .args(["replay", "--format", "jsonl"])
        .arg(recording)
        .current_dir(tools::workspace())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_recorded_is_replayed() {
    let record = json!({"interval": "100ms", "client_address": true});
    let body = json!({"max_bytes": 1000, "over_limit": "TRUNCATE", "gzip_from_bytes": 1});
    let config = json!({"targets": [
        {"cluster": "collector", "record": record, "body": body, "redact": {"query": [{"key": "token"}]}},
    ]});
    let scenario = scenario(&config, &json!({"collector": {}}), &json!([]));
    let Some(proxy) = start("what_is_recorded_is_replayed", &scenario, 2) else { return };
    let sent = [
        request("GET", "/?token=s3cret&a=%20%22", &[("authorization", b"s3cret")], b""),
        request("POST", "/text", &[("x-raw", b"\xff\xfe")], "\"naïve\"\\\n\u{1}".as_bytes()),
        request("PUT", "/raw", &[], &[0xff, 0, 1, 2, 3]),
        request("POST", "/long", &[], &[b'x'; 3000]),
    ];
    for exchange in &sent {
        answered(&proxy, exchange);
    }
    metrics_when(&proxy, |metrics| {
        metrics.get("mirror.collector.sent") == Some(&4)
            && metrics.get("mirror.collector.in_flight") == Some(&0)
            && metrics.get("mirror.collector.record.batches").is_some_and(|batches| *batches > 0)
            && metrics.get("mirror.collector.gzipped") == metrics.get("mirror.collector.answered")
    });
    // A recording may be gzip, and gzip may be several files of it, one behind the other.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recorded.jsonl.gz");
    let (mut lines, mut recorded) = (Vec::new(), Vec::<Exchange>::new());
    while recorded.len() < sent.len() {
        for batch in to("collector", proxy.received()) {
            assert_eq!(batch.headers.get(b"content-encoding"), Some(&b"gzip"[..]));
            lines.extend(&batch.body);
            std::fs::write(&path, &lines).unwrap();
            let recording = traffic::open(&path, &traffic::Options::default()).unwrap();
            recorded = recording.collect::<Result<_, _>>().unwrap();
        }
    }
    assert!(!format!("{recorded:?}").contains("s3cret"));
    // Two workers send their own.
    recorded.sort_by_key(|exchange| exchange.start_ns);
    let mut want: Vec<_> = sent.iter().map(asked).collect();
    want[0].0[1] = Some(b"/?token=redacted&a=%20%22".to_vec());
    want[0].0[4] = None;
    // What cannot be looked through is not told.
    want[1].0[3] = None;
    want[3].1.truncate(1000);
    want[3].2 = true;
    assert_eq!(recorded.iter().map(asked).collect::<Vec<_>>(), want);
    for exchange in &recorded {
        let response = exchange.response.as_ref().unwrap();
        assert_eq!((response.body.as_slice(), response.body_truncated), (ANSWER, false));
        assert_eq!(response.headers.get(b":status"), Some(&b"200"[..]));
        assert_eq!(exchange.upstream_cluster.as_deref(), Some("primary"));
        let known = exchange.start_ns.is_some() && exchange.duration.is_some();
        assert!(known && exchange.downstream.address.is_some() && exchange.abort_after.is_none());
    }
    let report = replayed(&path);
    assert_eq!(report.lines().filter(|line| line.contains("\"kind\":\"exchange\"")).count(), sent.len());
}
