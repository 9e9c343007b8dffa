//! One Envoy process: started on ports of its own choice, waited for, asked through its admin interface, killed when dropped.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use weir_harness::exchange::Message;

use super::bootstrap::{self, Plan};
use crate::wire;

/// Until then it must be up; compiling modules on a busy machine takes seconds.
const START: Duration = Duration::from_secs(60);
/// Until then an answer must have come.
const ANSWER: Duration = Duration::from_secs(20);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// So much of the log is shown when something fails.
const TAIL: usize = 4000;

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
    folder: TempDir,
}

/// What came of starting one.
#[derive(Debug)]
pub enum Started {
    /// It serves.
    Running(Box<Envoy>),
    /// It refused its configuration and ended; its log.
    Refused(String),
}

impl Envoy {
    /// Starts the binary with so many workers and waits until it serves or ends.
    ///
    /// # Errors
    /// When it cannot be started or does neither in time; shows the end of its log.
    pub fn start(binary: &Path, plan: &Plan, workers: u32) -> Result<Started> {
        let folder = tempfile::tempdir()?;
        let config = bootstrap::bootstrap(plan, &folder.path().join("access.log"));
        Self::start_with(binary, &config, workers, folder)
    }

    /// As [`Envoy::start`], with a bootstrap of somebody else's; `folder` is where its files go.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(binary: &Path, config: &Value, workers: u32, folder: TempDir) -> Result<Started> {
        let at = |name: &str| folder.path().join(name);
        fs::write(at("envoy.json"), serde_json::to_vec_pretty(config)?)?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(at("envoy.json"))
            .arg("--admin-address-path")
            .arg(at("admin"))
            .args([
                "--concurrency",
                &workers.to_string(),
                "--disable-hot-restart",
                "--file-flush-interval-msec",
                "10",
            ])
            .args(["--component-log-level", "wasm:debug"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(at("envoy.log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut envoy = Self { child, admin, listeners: Vec::new(), folder };
        let deadline = Instant::now() + START;
        while !envoy.is_live() {
            if envoy.child.try_wait()?.is_some() {
                return Ok(Started::Refused(envoy.log()));
            }
            if Instant::now() > deadline {
                bail!("envoy is not up after {START:?}: {}", envoy.tail());
            }
            thread::sleep(LOOK);
        }
        envoy.listeners = envoy.ask_listeners()?;
        Ok(Started::Running(Box::new(envoy)))
    }

    /// Where the listener of that name listens.
    ///
    /// # Errors
    /// When there is none.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        let found = self.listeners.iter().find(|(key, _)| key == name);
        Ok(found.with_context(|| format!("envoy has no listener `{name}`"))?.1)
    }

    /// The body of an answer of the admin interface.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, path: &str) -> Result<String> {
        let answer = exchange(self.admin, &get(path))?.context("no answer from envoy's admin interface")?;
        Ok(String::from_utf8(answer.body)?)
    }

    /// Counters and gauges that plugins defined, by name without prefix.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn metrics(&self) -> Result<Vec<(String, u64)>> {
        let text = self.get("/stats?filter=^wasmcustom")?;
        let parse = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.strip_prefix("wasmcustom.")?.to_owned(), value.trim().parse().ok()?))
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    /// Everything it wrote to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.path().join("envoy.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it wrote to standard error from that byte on; moves the byte to the end.
    #[must_use]
    pub fn log_since(&self, start: &mut u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.folder.path().join("envoy.log"))
            && file.seek(SeekFrom::Start(*start)).is_ok()
            && file.read_to_end(&mut bytes).is_ok()
        {
            *start = start.saturating_add(bytes.len() as u64);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of its log, to be shown when a test fails.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = self.log();
        let start = (log.len().saturating_sub(TAIL)..log.len()).find(|at| log.is_char_boundary(*at));
        format!("the end of its log:\n{}", start.and_then(|at| log.get(at..)).unwrap_or_default())
    }

    /// The first entries of the access log, waited for until there are so many.
    ///
    /// # Errors
    /// When they do not come in time.
    pub fn access_log(&self, entries: usize) -> Result<Vec<Value>> {
        let path = self.folder.path().join("access.log");
        let deadline = Instant::now() + ANSWER;
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
            if whole.len() >= entries {
                return whole.into_iter().map(|line| Ok(serde_json::from_str(line)?)).collect();
            }
            if Instant::now() > deadline {
                bail!("{} of {entries} access log entries after {ANSWER:?}: {}", whole.len(), self.tail());
            }
            thread::sleep(LOOK);
        }
    }

    fn is_live(&mut self) -> bool {
        let Ok(text) = fs::read_to_string(self.folder.path().join("admin")) else { return false };
        let Ok(address) = text.trim().parse() else { return false };
        self.admin = address;
        self.get("/ready").is_ok_and(|text| text.starts_with("LIVE"))
    }

    fn ask_listeners(&self) -> Result<Vec<(String, SocketAddr)>> {
        let answer: Value = serde_json::from_str(&self.get("/listeners?format=json")?)?;
        let statuses = answer.get("listener_statuses").and_then(Value::as_array);
        let parse = |status: &Value| {
            let socket = status.pointer("/local_address/socket_address")?;
            let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
            Some((status.get("name")?.as_str()?.to_owned(), SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        };
        Ok(statuses.into_iter().flatten().filter_map(parse).collect())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A GET request of `example.com`.
#[must_use]
pub fn get(path: &str) -> Message {
    let lines = [(":method", "GET"), (":path", path), (":authority", "example.com")];
    Message { headers: lines.into_iter().collect(), ..Message::default() }
}

/// One exchange on a connection of its own; nothing when the connection was closed without an answer.
///
/// # Errors
/// When there is no connection, no answer in time, or no HTTP.
pub fn exchange(address: SocketAddr, request: &Message) -> Result<Option<Message>> {
    exchange_as(address, None, request)
}

/// As [`exchange`]; `source` goes ahead as a PROXY protocol line.
///
/// # Errors
/// As there.
pub fn exchange_as(
    address: SocketAddr,
    source: Option<SocketAddr>,
    request: &Message,
) -> Result<Option<Message>> {
    let stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    let mut out = Vec::new();
    if let Some(source) = source {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let to = if source.is_ipv4() { "127.0.0.1" } else { "::1" };
        out.extend(
            format!("PROXY {family} {} {to} {} {}\r\n", source.ip(), source.port(), address.port()).bytes(),
        );
    }
    wire::write_request(&mut out, request)?;
    // A proxy that answers early may close before it has read everything: what it answered counts, not that this failed.
    let _ = (&stream).write_all(&out);
    let to_head = request.headers.get(b":method") == Some(b"HEAD");
    match wire::read_response(&mut BufReader::new(&stream), to_head) {
        Err(error) if is_reset(&error) => Ok(None),
        answer => answer,
    }
}

fn is_reset(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::ConnectionReset)
}
