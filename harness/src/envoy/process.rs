//! One Envoy process: started on ports of its own choice, waited for, asked through its admin interface, killed when dropped. Knows its
//! bootstrap as JSON, and nothing of scenarios.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::EnvoyError;
use super::bootstrap::{self, Plan};
use super::client::{self, Wait};

mod watched;

pub use watched::{LAST, Line, Watched, last};

/// Until then it must be up; compiling modules on a busy machine takes seconds.
const START: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// So much of the log is shown when something fails.
const TAIL: usize = 4000;

/// Every Envoy of this process.
static ALL: Mutex<Vec<Weak<Process>>> = Mutex::new(Vec::new());

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Arc<Process>,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
}

/// The process and the folder that it writes to; both go when this does.
#[derive(Debug)]
struct Process {
    child: Mutex<Child>,
    folder: TempDir,
}

/// Ends this process with that code, and first every Envoy that it started, with its files.
pub fn exit(code: i32) -> ! {
    // Held to the end: no other Envoy starts, and nobody complains that one is gone.
    let mut all = lock(&ALL);
    for process in all.drain(..).filter_map(|process| process.upgrade()) {
        process.end();
        let _ = fs::remove_dir_all(process.folder.path());
    }
    std::process::exit(code)
}

/// Goes on unless this process is ending by [`exit`]: that an Envoy is gone is then nothing to tell of.
pub fn unless_ending() {
    drop(lock(&ALL));
}

impl Process {
    fn end(&self) {
        let mut child = lock(&self.child);
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub fn start(binary: &Path, plan: &Plan, workers: u32) -> Result<Started, EnvoyError> {
        let folder = folder()?;
        let config = bootstrap::bootstrap(plan, &folder.path().join("access.log"));
        Self::start_with(binary, &config, workers, folder)
    }

    /// As [`Envoy::start`], with a bootstrap of somebody else's; `folder` is where its files go.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(
        binary: &Path,
        config: &Value,
        workers: u32,
        folder: TempDir,
    ) -> Result<Started, EnvoyError> {
        let mut command = command(binary, workers, "debug", &folder);
        let log = File::create(folder.path().join("envoy.log"));
        command.stdout(Stdio::null()).stderr(log.map_err(EnvoyError::io("cannot make envoy's log"))?);
        let mut envoy = Self::of(Process::spawn(command, config, folder)?);
        Ok(if envoy.comes_up()? { Started::Running(Box::new(envoy)) } else { Started::Refused(envoy.log()) })
    }

    fn of(process: Arc<Process>) -> Self {
        Self { process, admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), listeners: Vec::new() }
    }

    /// Waits until it serves, or has ended.
    fn comes_up(&mut self) -> Result<bool, EnvoyError> {
        let deadline = Instant::now() + START;
        while !self.is_live() {
            let ended = lock(&self.process.child).try_wait();
            if ended.map_err(EnvoyError::io("cannot look after envoy"))?.is_some() {
                return Ok(false);
            }
            if Instant::now() > deadline {
                return Err(self.unexpected(&format!("is not up after {START:?}")));
            }
            thread::sleep(LOOK);
        }
        self.listeners = self.ask_listeners()?;
        Ok(true)
    }

    /// Where the listener of that name listens.
    ///
    /// # Errors
    /// When there is none.
    pub fn listener(&self, name: &str) -> Result<SocketAddr, EnvoyError> {
        let found = self.listeners.iter().find(|(key, _)| key == name);
        let missing = || EnvoyError::Unexpected { what: format!("has no listener `{name}`") };
        Ok(found.ok_or_else(missing)?.1)
    }

    /// Where its admin interface is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        lock(&self.process.child).id()
    }

    /// The body of an answer of the admin interface.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, path: &str) -> Result<String, EnvoyError> {
        let answer = client::exchange(self.admin, None, &client::get(path), Wait::default())?;
        let answer = answer.ok_or_else(|| self.unexpected("does not answer on its admin interface"))?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Counters and gauges that plugins defined, by name without prefix.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn metrics(&self) -> Result<Vec<(String, u64)>, EnvoyError> {
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
        let bytes = fs::read(self.process.folder.path().join("envoy.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it wrote to standard error from that byte on; moves the byte to the end.
    #[must_use]
    pub fn log_since(&self, start: &mut u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.process.folder.path().join("envoy.log"))
            && file.seek(SeekFrom::Start(*start)).is_ok()
            && file.read_to_end(&mut bytes).is_ok()
        {
            *start = start.saturating_add(bytes.len() as u64);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// That it did not do what it does, with the end of its log.
    #[must_use]
    pub fn unexpected(&self, what: &str) -> EnvoyError {
        EnvoyError::Unexpected { what: format!("{what}; {}", self.tail()) }
    }

    /// The end of its log, to be shown when something fails.
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
    pub fn access_log(&self, entries: usize) -> Result<Vec<Value>, EnvoyError> {
        let path = self.process.folder.path().join("access.log");
        let deadline = Instant::now() + client::PATIENCE;
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
            if whole.len() >= entries {
                let read = |line| {
                    serde_json::from_str(line)
                        .map_err(|error| self.unexpected(&format!("logs no JSON: {error}")))
                };
                return whole.into_iter().map(read).collect();
            }
            if Instant::now() > deadline {
                let (found, time) = (whole.len(), client::PATIENCE);
                return Err(
                    self.unexpected(&format!("wrote {found} of {entries} access log entries in {time:?}"))
                );
            }
            thread::sleep(LOOK);
        }
    }

    fn is_live(&mut self) -> bool {
        let Ok(text) = fs::read_to_string(self.process.folder.path().join("admin")) else { return false };
        let Ok(address) = text.trim().parse() else { return false };
        self.admin = address;
        self.get("/ready").is_ok_and(|text| text.starts_with("LIVE"))
    }

    fn ask_listeners(&self) -> Result<Vec<(String, SocketAddr)>, EnvoyError> {
        let answer: Value = serde_json::from_str(&self.get("/listeners?format=json")?).unwrap_or_default();
        let statuses = answer.get("listener_statuses").and_then(Value::as_array);
        let parse = |status: &Value| {
            let socket = status.pointer("/local_address/socket_address")?;
            let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
            Some((status.get("name")?.as_str()?.to_owned(), SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
        };
        Ok(statuses.into_iter().flatten().filter_map(parse).collect())
    }
}

impl Process {
    fn spawn(mut command: Command, config: &Value, folder: TempDir) -> Result<Arc<Self>, EnvoyError> {
        let file = folder.path().join("envoy.json");
        let write = EnvoyError::io(format!("cannot write {}", file.display()));
        fs::write(&file, config.to_string()).map_err(write)?;
        // None starts between the end of all and the end of this process.
        let mut all = lock(&ALL);
        let failed = EnvoyError::io(format!("cannot start {}", command.get_program().display()));
        let child = command.spawn().map_err(failed)?;
        let process = Arc::new(Self { child: Mutex::new(child), folder });
        all.retain(|process| process.strong_count() > 0);
        all.push(Arc::downgrade(&process));
        Ok(process)
    }
}

/// How it is started; the caller says where its output goes.
fn command(binary: &Path, workers: u32, wasm_level: &str, folder: &TempDir) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("-c")
        .arg(folder.path().join("envoy.json"))
        .arg("--admin-address-path")
        .arg(folder.path().join("admin"))
        .args(["--concurrency", &workers.to_string(), "--disable-hot-restart"])
        .args(["--file-flush-interval-msec", "10"])
        .args(["--component-log-level", &format!("wasm:{wasm_level}")])
        .stdin(Stdio::null());
    command
}

/// A folder for the files of an Envoy.
fn folder() -> Result<TempDir, EnvoyError> {
    tempfile::Builder::new().prefix("weir-envoy-").tempdir().map_err(EnvoyError::io("cannot make a folder"))
}
