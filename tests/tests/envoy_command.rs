//! `weir envoy`: a scenario in a real Envoy in the foreground. Requests through it are what the scenario says; whatever ends it, it leaves
//! nothing behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;

use conformance::tools;
use serde_json::Value;
use tempfile::TempDir;
use weir_harness::envoy::client::{self, Wait};
use weir_harness::envoy::server::Server;
use weir_harness::exchange::Message;

const USAGE: i32 = 2;
const REFUSED: i32 = 3;
/// 128 and the number of the signal, as shells have it.
const SIGNALS: [(&str, i32); 3] = [("-HUP", 129), ("-INT", 130), ("-TERM", 143)];

/// The command, running.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Where it puts its files.
    scratch: TempDir,
    listener: SocketAddr,
    admin: SocketAddr,
    banner: String,
}

fn command(envoy: &Path, scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-under-test"));
    command
        .arg("envoy")
        .args(arguments)
        .current_dir(tools::workspace())
        .env("WEIR_ENVOY", envoy)
        .env("TMPDIR", scratch)
        .stdin(Stdio::null());
    command
}

impl Running {
    fn start(envoy: &Path, arguments: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut command = command(envoy, scratch.path(), arguments);
        let mut child =
            command.args(["--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("\ntry ") {
            assert!(out.read_line(&mut banner).unwrap() > 0, "ended at: {banner}");
        }
        // The empty line after it.
        out.read_line(&mut banner).unwrap();
        let address = |name: &str| {
            let line = banner.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit_once("http://").unwrap().1.parse().unwrap()
        };
        let (listener, admin) = (address("listener"), address("admin"));
        Self { child, out, scratch, listener, admin, banner }
    }

    fn ask(&self, authority: &str, path: &str, lines: &[(&str, &str)]) -> Message {
        let mut headers: Vec<(&str, &str)> =
            vec![(":method", "GET"), (":path", path), (":authority", authority)];
        headers.extend(lines);
        let request = Message { headers: headers.into_iter().collect(), ..Message::default() };
        client::exchange(self.listener, None, &request, Wait::default()).unwrap().unwrap()
    }

    /// What it says up to a line with `text`.
    fn until(&mut self, text: &str) -> String {
        let mut said = String::new();
        while !said.contains(text) {
            let start = said.len();
            assert!(self.out.read_line(&mut said).unwrap() > 0, "ended at: {said}");
            assert!(said.len() > start);
        }
        said
    }

    /// The process ids of its children: Envoy.
    fn children(&self) -> Vec<String> {
        let mut found = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap() {
            let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap();
            found.extend(children.split_whitespace().map(str::to_owned));
        }
        found
    }

    /// Sends it a signal; how it ended, and what it said until then. It must leave nothing behind.
    fn end(mut self, signal: &str) -> (ExitStatus, String) {
        let children = self.children();
        assert_eq!(children.len(), 1, "{children:?}");
        assert!(fs::read_dir(&self.scratch).unwrap().count() > 0);
        kill(signal, &self.child.id().to_string());
        self.ended(&children)
    }

    fn ended(&mut self, children: &[String]) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        for child in children {
            assert!(!Path::new(&format!("/proc/{child}")).exists(), "process {child} is left");
        }
        let left: Vec<PathBuf> =
            fs::read_dir(&self.scratch).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "files are left: {left:?}");
        (status, rest)
    }
}

impl Drop for Running {
    /// A test that failed leaves nothing behind either.
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill("-INT", &self.child.id().to_string());
            let _ = self.child.wait();
        }
    }
}

fn kill(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

#[track_caller]
fn cluster_of(answer: &Message) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["cluster"].as_str().unwrap().to_owned()
}

/// Runs it to its end; the code, and what it said on standard error.
fn run(envoy: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let scratch = tempfile::tempdir().unwrap();
    let output = command(envoy, scratch.path(), arguments).output().unwrap();
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "files are left");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn requests_are_routed_as_the_scenario_says() {
    let Some(envoy) = tools::envoy_or_skip("requests_are_routed_as_the_scenario_says").unwrap() else {
        return;
    };
    let mut weir = Running::start(envoy, &["examples/bookinfo"]);
    for text in [
        "filters   canary",
        "reviews-v2: prefix /, x-canary-arm: v2 → reviews-v2",
        "ratings  simulated",
        "try       curl -H 'host: bookinfo.example.com' http://127.0.0.1:",
    ] {
        assert!(weir.banner.contains(text), "`{text}`: {}", weir.banner);
    }
    let jack = weir.ask("reviews:9080", "/reviews/0?a=b", &[("end-user", "jack"), ("x-mine", "1")]);
    let body: Value = serde_json::from_slice(&jack.body).unwrap();
    let want = ("reviews-v2", "GET", "/reviews/0?a=b", "1");
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap();
    assert_eq!((text("/cluster"), text("/method"), text("/path"), text("/headers/x-mine")), want);
    let said = weir.until("via_upstream");
    assert!(said.contains("debug    canary  decision: "), "{said}");
    assert!(
        said.contains("200      GET reviews:9080/reviews/0?a=b  reviews-v2 → reviews-v2  via_upstream  "),
        "{said}"
    );

    assert_eq!(cluster_of(&weir.ask("reviews:9080", "/reviews/0", &[])), "reviews-v1");
    assert_eq!(weir.ask("nowhere", "/", &[]).headers.get(b":status"), Some(&b"404"[..]));
    let said = weir.until("route_not_found");
    assert!(said.contains("404      GET nowhere/  (no route name)  NR route_not_found"), "{said}");
    let stats = client::exchange(weir.admin, None, &client::get("/ready"), Wait::default()).unwrap().unwrap();
    assert!(stats.body.starts_with(b"LIVE"));
    assert_eq!(weir.end("-INT").0.code(), Some(130));
}

#[test]
fn every_signal_ends_it() {
    let Some(envoy) = tools::envoy_or_skip("every_signal_ends_it").unwrap() else { return };
    for (signal, code) in SIGNALS {
        let weir = Running::start(envoy, &["examples/bookinfo"]);
        assert_eq!(weir.end(signal).0.code(), Some(code), "{signal}");
    }
}

/// Something in the place of Envoy: a shell script that knows its version, and then runs these commands.
fn instead(envoy: &Path, folder: &Path, commands: &str) -> PathBuf {
    let file = folder.join("envoy");
    let version = format!("case \"$*\" in *--version*) exec {} --version;; esac", envoy.display());
    fs::write(&file, format!("#!/bin/sh\n{version}\ncd {}\n{commands}\n", folder.display())).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    file
}

/// While Envoy is starting, too: it has a process and files by then.
#[test]
fn a_signal_while_envoy_starts() {
    let Some(envoy) = tools::envoy_or_skip("a_signal_while_envoy_starts").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let never = instead(envoy, folder.path(), "echo $$ >pid\nexec sleep 600");
    let pid = folder.path().join("pid");
    for (signal, code) in SIGNALS {
        let _ = fs::remove_file(&pid);
        let scratch = tempfile::tempdir().unwrap();
        let mut weir = command(&never, scratch.path(), &["examples/bookinfo", "--port", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = loop {
            let pid = fs::read_to_string(&pid).unwrap_or_default();
            if pid.ends_with('\n') {
                break pid.trim().to_owned();
            }
            assert!(weir.try_wait().unwrap().is_none(), "it ended before");
            std::thread::yield_now();
        };
        kill(signal, &weir.id().to_string());
        assert_eq!(weir.wait().unwrap().code(), Some(code), "{signal}");
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "files are left");
    }
}

/// Not what it says when it refuses what it was given.
#[test]
fn an_envoy_that_dies_while_it_starts() {
    let Some(envoy) = tools::envoy_or_skip("an_envoy_that_dies_while_it_starts").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (commands, want) in [
        (
            "echo out of memory >&2\nkill -KILL $$",
            "(signal: 9 (SIGKILL)); the last it wrote:\n  out of memory\n",
        ),
        ("exit 127", "(exit status: 127) and wrote nothing\n"),
    ] {
        let dies = instead(envoy, folder.path(), commands);
        let (code, _, said) = run(&dies, &["examples/bookinfo", "--port", "0"]);
        assert_eq!(code, Some(USAGE), "{said}");
        assert!(said.contains(&format!("error: envoy ended by itself while it started {want}")), "{said}");
    }
}

#[test]
fn an_envoy_that_ends_by_itself_is_told_of() {
    let Some(envoy) = tools::envoy_or_skip("an_envoy_that_ends_by_itself_is_told_of").unwrap() else {
        return;
    };
    let mut weir = Running::start(envoy, &["examples/bookinfo"]);
    let children = weir.children();
    kill("-KILL", &children[0]);
    assert_eq!(weir.ended(&children).0.code(), Some(USAGE));
    let mut said = String::new();
    weir.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("error: Envoy ended by itself (signal: 9 (SIGKILL))"), "{said}");
}

/// Servers answer as scripts say; a cluster that is named is asked itself.
const SCRIPTED: &str = "
clusters:
  slow: {response: {status: 201, body: slow}}
  gone: {endpoints: 0}
  real: {}
route_config:
  virtual_hosts:
  - name: all
    domains: ['*']
    routes:
    - {match: {prefix: /slow}, route: {cluster: slow}}
    - {match: {prefix: /gone}, route: {cluster: gone}}
    - {match: {prefix: /}, route: {cluster: real}}
";

#[test]
fn clusters_are_scripted_or_real() {
    let Some(envoy) = tools::envoy_or_skip("clusters_are_scripted_or_real").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.yaml");
    fs::write(&file, SCRIPTED).unwrap();
    let headers = [(":status", "200"), ("content-length", "4")].into_iter().collect();
    let answer = Message { headers, body: b"real".to_vec(), ..Message::default() };
    let server = Server::start(Arc::new(answer)).unwrap();
    let upstream = format!("real=localhost:{}", server.port());
    let weir = Running::start(envoy, &[file.to_str().unwrap(), "--upstream", &upstream]);
    assert!(weir.banner.contains(&format!("real  localhost:{}", server.port())), "{}", weir.banner);
    assert!(weir.banner.contains("gone  no endpoint"), "{}", weir.banner);
    assert_eq!(weir.ask("a", "/", &[]).body, b"real");
    let slow = weir.ask("a", "/slow", &[]);
    assert_eq!((slow.headers.get(b":status"), slow.body.as_slice()), (Some(&b"201"[..]), &b"slow"[..]));
    assert_eq!(weir.ask("a", "/gone", &[]).headers.get(b":status"), Some(&b"503"[..]));
    weir.end("-INT");
}

#[test]
fn one_filter_without_a_scenario() {
    let Some(envoy) = tools::envoy_or_skip("one_filter_without_a_scenario").unwrap() else { return };
    let module = weir_harness::build::named("hello-filter", tools::workspace()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hello.yaml");
    fs::write(&config, "greeting: good morning\n").unwrap();
    let filter = format!("{}={}", module.display(), config.display());
    let weir = Running::start(envoy, &["--filter", &filter]);
    let answer = weir.ask("a", "/", &[]);
    assert_eq!(cluster_of(&answer), "upstream");
    assert_eq!(answer.headers.get(b"x-greeting"), Some(&b"good morning"[..]));
    weir.end("-INT");
}

#[test]
fn a_configuration_that_is_refused() {
    let Some(envoy) = tools::envoy_or_skip("a_configuration_that_is_refused").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.yaml");
    fs::write(&file, "ruls: []\n").unwrap();
    let filter = format!("canary={}", file.display());
    let (code, _, said) = run(envoy, &["examples/bookinfo", "--port", "0", "--filter", &filter]);
    assert_eq!(code, Some(REFUSED), "{said}");
    assert!(
        said.contains("error: a filter refused its configuration\n") && said.contains("`ruls`"),
        "{said}"
    );
}

#[test]
fn routes_that_envoy_refuses() {
    let Some(envoy) = tools::envoy_or_skip("routes_that_envoy_refuses").unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.yaml");
    fs::write(&file, "virtual_hosts: [{name: a, domains: ['*'], routes: [{match: {prefix: /}}]}]\n").unwrap();
    let (code, _, said) = run(envoy, &["--routes", file.to_str().unwrap(), "--port", "0"]);
    assert_eq!(code, Some(USAGE), "{said}");
    assert!(said.contains("envoy refuses its configuration"), "{said}");
}

#[test]
fn a_port_that_is_taken() {
    let Some(envoy) = tools::envoy_or_skip("a_port_that_is_taken").unwrap() else { return };
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, said) = run(envoy, &["examples/bookinfo", "--port", &port]);
    assert_eq!(code, Some(USAGE), "{said}");
    assert!(said.contains(&format!("port {port} cannot be had (--port takes another")), "{said}");
    assert!(said.contains("Address already in use"), "{said}");
}

#[test]
fn the_configuration_can_be_printed() {
    let Some(envoy) = tools::envoy_or_skip("the_configuration_can_be_printed").unwrap() else { return };
    let upstream = ["--upstream", "reviews-v2=localhost:9080", "--upstream", "reviews-v3=127.0.0.1:9081"];
    let arguments = [&["examples/bookinfo", "--print-config"][..], &upstream].concat();
    let (code, config, said) = run(envoy, &arguments);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("note: nobody stands behind details, productpage, ratings, reviews-v1:"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    fs::write(&file, &config).unwrap();
    let output = Command::new(envoy).args(["--mode", "validate", "-c"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Without an Envoy it can be printed, too.
    let (code, again, _) = run(Path::new("no/such/envoy"), &arguments);
    assert_eq!((code, again), (Some(0), config));
}
