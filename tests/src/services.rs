//! Services behind an Envoy that tell which of them was asked, and what arrived. Knows no test.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use weir_harness::envoy::client::{self, Wait};
use weir_harness::envoy::process::Envoy;
use weir_harness::envoy::server::{Answers, Arrival, Reply, Server};
use weir_harness::exchange::Message;

/// Answers its name, or 503 when asked for `/broken`; tells what arrives.
struct Service {
    name: &'static str,
    arrivals: Mutex<Sender<Message>>,
}

impl Answers for Service {
    fn reply(&self, arrival: Arrival) -> Reply {
        let status = if arrival.request.headers.get(b":path") == Some(b"/broken") { "503" } else { "200" };
        // Nobody may be waiting.
        let _ = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).send(arrival.request);
        let headers = [(":status", status), ("x-service", self.name)].into_iter().collect();
        Reply::Answer(Duration::ZERO, Message { headers, ..Message::default() })
    }
}

/// Starts a service of this name; what it receives can be read.
///
/// # Errors
/// When it cannot listen.
pub fn service(name: &'static str) -> Result<(Server, Receiver<Message>)> {
    let (sender, receiver) = channel();
    Ok((Server::start(Arc::new(Service { name, arrivals: Mutex::new(sender) }))?, receiver))
}

/// Envoy's cluster for a service on this machine.
#[must_use]
pub fn cluster(name: &str, port: u16) -> Value {
    json!({"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": {"cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}]}]}})
}

/// Asks a listener with these header lines: the status, and the service that answered, else `none`.
///
/// # Errors
/// When nobody answers.
pub fn ask(envoy: &Envoy, listener: &str, lines: &[(&str, &str)]) -> Result<(String, String)> {
    let request = Message { headers: lines.iter().copied().collect(), ..Message::default() };
    let answer = client::exchange(envoy.listener(listener)?, None, &request, Wait::default())?;
    let answer = answer.context("no answer")?;
    let text =
        |name: &[u8]| String::from_utf8_lossy(answer.headers.get(name).unwrap_or(b"none")).into_owned();
    Ok((text(b":status"), text(b"x-service")))
}
