//! The whole filter on the host in memory: what is sent, what is counted, what is logged.
use mirror::Mirror;
use weir_sdk::testing::Host;
#[test]
fn t() {
    let mut host = Host::new();
    let plugin = host.plugin::<Mirror>(serde_json::json!({"targets": [{"cluster": "shadow"}]})).unwrap();
    let mut stream = plugin.stream();
    let seen = stream.request(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    stream.end();
    assert_eq!(host.callouts().len(), 1);
    drop(seen);
}
