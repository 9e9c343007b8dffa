//! Credential helpers: programs that keep secrets, and may ask a user before they give one.

use std::io::{ErrorKind, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Credentials;
use crate::style::{printable, shorten};

/// The most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// How long a helper may take before somebody is told whom we wait for.
const BEFORE_WORDS: Duration = Duration::from_secs(3);
/// How long its last words may take when it has ended.
const AFTER_THE_END: Duration = Duration::from_millis(500);
/// The name that says that the secret is an identity token.
const TOKEN: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks `docker-credential-<helper>` for a registry; nobody when it has nothing. What it prints may be secret: only what it says when it fails is told.
pub(super) fn ask(helper: &str, registry: &str, patience: Duration) -> Result<Credentials, String> {
    let program = format!("docker-credential-{helper}");
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("there is no `{program}` on the PATH"),
            _ => format!("`{program}` cannot be run: {error}"),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read what it is asked will say so itself.
        let _ = stdin.write_all(registry.as_bytes());
    }
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    let deadline = Instant::now() + patience;
    let Some(status) = wait(&mut child, deadline, &program) else {
        // It is not waited for any longer, whatever becomes of it.
        let _ = child.kill();
        return Err(format!("`{program}` has not answered in {} s", patience.as_secs()));
    };
    let (out, err) = (all(&out), all(&err));
    if !status.success() {
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (out, err) = (said(&out), said(&err));
        // The words of docker's own helpers, which say so by an error.
        if [&out, &err].iter().any(|said| said.contains("credentials not found")) {
            return Ok(Credentials::Nobody);
        }
        let said = if err.is_empty() { out } else { err };
        let said = if said.is_empty() { "it says nothing".to_owned() } else { printable(said.as_bytes()) };
        return Err(format!("`{program}` failed ({status}): {}", shorten(&said, 300)));
    }
    let answer: Answer = serde_json::from_slice(&out).map_err(|_| {
        format!(
            "what `{program}` answers is not understood; expected a JSON object with `Username` and `Secret`"
        )
    })?;
    Ok(match answer.username.as_str() {
        TOKEN => Credentials::Identity(answer.secret),
        "" if answer.secret.is_empty() => Credentials::Nobody,
        _ => Credentials::Password { user: answer.username, password: answer.secret },
    })
}

/// Reads a pipe beside the others, so that none fills up.
fn read(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        // Dropped behind that many bytes, the pipe ends who prints without end.
        let mut pipe = pipe.take(MAX_ANSWER_BYTES);
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut part) {
            if said.send(part.get(..count).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    heard
}

/// What has come when it has ended. What it started may hold the pipe open: nobody waits for that.
fn all(pipe: &mpsc::Receiver<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(part) = pipe.recv_timeout(AFTER_THE_END) {
        bytes.extend(part);
    }
    bytes
}

/// Waits until it ends; `None` when it does not.
fn wait(child: &mut Child, deadline: Instant, program: &str) -> Option<ExitStatus> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let now = Instant::now();
        if now >= deadline {
            return None;
        }
        if !told && now.duration_since(begun) >= BEFORE_WORDS {
            told = true;
            eprintln!("waiting for `{program}` …");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
