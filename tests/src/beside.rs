//! Our fault filter and Envoy's own beside each other: listeners of one Envoy, one pair for each configuration, and clients that ask both the
//! same. Knows no test.

use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use weir_harness::envoy::client::{self, PATIENCE, Wait};
use weir_harness::envoy::process::{Envoy, Started};
use weir_harness::envoy::wire;
use weir_harness::exchange::Message;

use crate::tools;

/// One question: how each filter is configured for it.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Names the listeners: `<name>-native` and `<name>-ours`.
    pub name: &'static str,
    /// Envoy's `HTTPFault`.
    pub native: Value,
    /// Our configuration; a list of them is as many filters behind each other.
    pub ours: Value,
    /// Envoy's `HTTPFault` behind ours.
    pub behind: Option<Value>,
}

/// A running Envoy with all pairs.
#[derive(Debug)]
pub struct Beside(Box<Envoy>);

/// What a client got, and what the access log says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Header lines but `date`, the body and trailers; nothing when there was no answer.
    pub message: Option<Message>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// `%RESPONSE_FLAGS%`.
    pub flags: String,
}

impl Beside {
    /// Starts Envoy with a listener for each side of each pair, and `none` without a filter. All of them answer 200 `hello` themselves.
    ///
    /// # Errors
    /// When a module does not build or Envoy does not start.
    pub fn start(binary: &Path, pairs: &[Pair], workers: u32) -> Result<Self> {
        let module = weir_harness::build::named("fault", tools::workspace())?;
        let folder = tempfile::Builder::new().prefix("weir-envoy-").tempdir()?;
        let log = folder.path().join("access.log");
        let mut listeners = vec![listener("none", &[], &log)];
        for Pair { name, native, ours, behind } in pairs {
            listeners.push(listener(&format!("{name}-native"), &[fault(native)], &log));
            let mut chain: Vec<Value> = match ours {
                Value::Array(several) => several
                    .iter()
                    .enumerate()
                    .map(|(index, config)| wasm(&format!("{name}{index}"), &module, config))
                    .collect(),
                one => vec![wasm(name, &module, one)],
            };
            chain.extend(behind.iter().map(fault));
            listeners.push(listener(&format!("{name}-ours"), &chain, &log));
        }
        let bootstrap = json!({
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": listeners},
        });
        match Envoy::start_with(binary, &bootstrap, workers, folder)? {
            Started::Running(envoy) => Ok(Self(envoy)),
            Started::Refused(log) => bail!("envoy refuses its configuration: {log}"),
        }
    }

    /// Envoy itself.
    #[must_use]
    pub fn envoy(&self) -> &Envoy {
        &self.0
    }

    /// Where one side of a pair listens: `<name>-native` or `<name>-ours`.
    ///
    /// # Errors
    /// When there is none.
    pub fn address(&self, listener: &str) -> Result<SocketAddr> {
        Ok(self.0.listener(listener)?)
    }

    /// Asks one side; `number` tells the entries of the access log apart.
    ///
    /// # Errors
    /// When nothing answers.
    pub fn ask(&self, listener: &str, request: &Message, number: usize) -> Result<Option<Message>> {
        let mut request = request.clone();
        request.headers.push("x-number", number.to_string());
        let answer = client::exchange(self.address(listener)?, None, &request, Wait::default())?;
        Ok(answer.map(|mut answer| {
            answer.headers.remove(b"date");
            answer
        }))
    }

    /// What was answered to each number, with what the access log says; waits for so many entries.
    ///
    /// # Errors
    /// When they do not come.
    pub fn answers(&self, messages: Vec<Option<Message>>) -> Result<Vec<Answer>> {
        let log = self.0.access_log(messages.len())?;
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or("-").to_owned();
        let answer = |(number, message)| {
            let number: usize = number;
            let is_its = |entry: &&Value| entry["number"] == json!(number.to_string());
            let entry = log.iter().find(is_its).with_context(|| format!("no entry for {number}"))?;
            Ok(Answer { message, details: text(entry, "details"), flags: text(entry, "flags") })
        };
        messages.into_iter().enumerate().map(answer).collect()
    }

    /// A metric of the plugin's, waited for until it has a value.
    ///
    /// # Errors
    /// When it has not in time: tells the value that it has.
    pub fn wait_for(&self, metric: &str, want: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(metric)?;
            if value == want {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("`{metric}` is {value}, not {want}, after {PATIENCE:?}");
            }
            // The look at the admin interface is the pause.
        }
    }

    /// A metric of the plugin's; 0 where there is none.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn metric(&self, name: &str) -> Result<u64> {
        Ok(self.0.metrics()?.into_iter().find(|(found, _)| found == name).map_or(0, |(_, value)| value))
    }
}

/// A connection that is kept, so that only the exchange is measured.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Connects to a listener that wants to hear by the PROXY protocol who calls, as those of `weir test --envoy` do.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open_announced(address: SocketAddr) -> Result<Self> {
        let mut this = Self::open(address)?;
        std::io::Write::write_all(this.stream.get_mut(), b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 10000\r\n")?;
        Ok(this)
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, request: &Message) -> Result<()> {
        let mut out = Vec::new();
        wire::write_request(&mut out, request)?;
        std::io::Write::write_all(self.stream.get_mut(), &out)?;
        Ok(())
    }

    /// One exchange, and how long it took.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn exchange(&mut self, request: &Message) -> Result<(Message, Duration)> {
        let begin = Instant::now();
        self.send(request)?;
        let answer = wire::read_response(&mut self.stream, false)?.context("no answer")?;
        Ok((answer, begin.elapsed()))
    }
}

/// A GET request with these headers.
#[must_use]
pub fn get(path: &str, lines: &[(&str, &str)]) -> Message {
    let mut request = client::get(path);
    for (name, value) in lines {
        request.headers.push(name, value);
    }
    request
}

fn listener(name: &str, filters: &[Value], log: &Path) -> Value {
    let mut chain = filters.to_vec();
    chain.push(json!({"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}));
    let entry = json!({"number": "%REQ(x-number)%", "details": "%RESPONSE_CODE_DETAILS%", "flags": "%RESPONSE_FLAGS%"});
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "codec_type": "AUTO",
            "access_log": [{"name": "envoy.access_loggers.file", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": log, "log_format": {"json_format": entry}}}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}},
            ]}]},
            "http_filters": chain,
        }}]}],
    })
}

fn fault(config: &Value) -> Value {
    let mut config = config.clone();
    config["@type"] = json!("type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault");
    json!({"name": "envoy.filters.http.fault", "typed_config": config})
}

fn wasm(name: &str, module: &PathBuf, config: &Value) -> Value {
    let mut config = config.clone();
    config["stat_prefix"] = json!(name);
    json!({"name": "envoy.filters.http.wasm", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": name, "root_id": name,
            "vm_config": {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config.to_string()},
        },
    }})
}
