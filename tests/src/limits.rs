//! Two filters beside each other in one Envoy that limit: a listener for each, and a client that asks on a connection that stays. Knows no test, and panics
//! where one would.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what tests share fails as they do"
)]

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::{Value, json};
use weir_harness::envoy::client::PATIENCE;
use weir_harness::envoy::wire;
use weir_harness::exchange::Message;

/// Begins the names of Envoy's extensions.
pub const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// A connection that stays.
#[derive(Debug)]
pub struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Client {
    /// Connects.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let output = TcpStream::connect(address).unwrap();
        output.set_nodelay(true).unwrap();
        output.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { input: BufReader::new(output.try_clone().unwrap()), output }
    }

    /// `GET /` with these header lines, and its answer.
    pub fn ask(&mut self, more: &[(&str, &str)]) -> Message {
        let lines = [(":method", "GET"), (":path", "/"), (":authority", "a")];
        let headers = lines.into_iter().chain(more.iter().copied()).collect();
        let mut bytes = Vec::new();
        wire::write_request(&mut bytes, &Message { headers, ..Message::default() }).unwrap();
        self.output.write_all(&bytes).unwrap();
        wire::read_response(&mut self.input, false).unwrap().expect("an answer")
    }

    /// The status of `GET /` of this `end-user`.
    pub fn status(&mut self, user: &str) -> String {
        header(&self.ask(&[("end-user", user)]), ":status").expect("a status")
    }
}

/// A header of a message, as text.
#[must_use]
pub fn header(message: &Message, name: &str) -> Option<String> {
    message.headers.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
}

/// A listener with one filter, whose route does `action` with all requests: a `route` or `direct_response`. Its access log tells codes and details.
#[must_use]
pub fn listener(name: &str, filter: &Value, action: (&str, Value), access_log: &Path) -> Value {
    let router = json!({"name": "router", "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")}});
    let log = json!({"name": "log", "typed_config": {
        "@type": format!("{TYPES}.access_loggers.file.v3.FileAccessLog"),
        "path": access_log,
        "log_format": {"json_format": {"listener": name, "code": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%"}},
    }});
    let (field, action) = action;
    let manager = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "access_log": [log],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, field: action},
        ]}]},
        "http_filters": [filter, router],
    });
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    })
}
