//! The whole filter on the host in memory: no Wasm, no Envoy.

use hello_filter::Hello;
use serde_json::json;
use weir_sdk::testing::Host;

#[test]
fn greets() {
    let plugin = Host::new().plugin::<Hello>(json!({"greeting": "hello"})).unwrap();
    assert_eq!(plugin.stream().response(&[(":status", "200")]).header("x-greeting"), Some("hello"));
}
