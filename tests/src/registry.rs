//! A registry on loopback that answers as it is told: well, or in one of the many ways in which registries, and what stands before them, go wrong.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use weir_harness::oci::Image;

/// A module that Envoy would take, as text.
pub const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 16))"#;

/// What it was asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Who asked.
    pub authorization: Option<String>,
    /// What was sent.
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it is that method, and that stands in its path.
    #[must_use]
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, headers, body.
    Whole(u16, Vec<(String, String)>, Vec<u8>),
    /// These bytes, which may be no HTTP, and then nothing.
    Raw(Vec<u8>),
    /// A body that never ends.
    Endless(u16),
    /// A body of a byte now and then.
    Drip,
    /// Nothing; the connection stays.
    Silent,
}

impl Reply {
    /// Status, headers, body.
    #[must_use]
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::Whole(status, headers.collect(), body.to_vec())
    }
}

/// What decides; where it says nothing the registry answers well.
type Told = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

/// A registry.
pub struct Registry {
    /// Its address, as in references.
    pub host: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// By the last part of their paths: digests and tags.
    stored: Mutex<BTreeMap<String, Vec<u8>>>,
    asked: Mutex<Vec<Request>>,
    /// Connections that are not answered.
    held: Mutex<Vec<TcpStream>>,
}

impl Registry {
    /// Starts one with that image in any repository and under any tag.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(
        image: &Image,
        told: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let host = listener.local_addr()?.to_string();
        let state = Arc::new(State::default());
        for blob in &image.blobs {
            state.store(&blob.digest, &blob.bytes);
        }
        state.store(&image.digest, &image.manifest);
        state.store("tag", &image.manifest);
        let (told, shared): (Arc<Told>, _) = (Arc::new(told), Arc::clone(&state));
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, state) = (Arc::clone(&told), Arc::clone(&shared));
                // A client that goes away is its own affair.
                thread::spawn(move || state.serve(&stream, &*told));
            }
        });
        Ok(Self { host, state })
    }

    /// A reference to the image.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}/weir/odd:1", self.host)
    }

    /// What it was asked until now.
    #[must_use]
    pub fn asked(&self) -> Vec<Request> {
        lock(&self.state.asked).clone()
    }
}

impl State {
    fn store(&self, name: &str, bytes: &[u8]) {
        lock(&self.stored).insert(name.to_owned(), bytes.to_vec());
    }

    fn serve(&self, stream: &TcpStream, told: &Told) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader)? {
            lock(&self.asked).push(request.clone());
            let mut stream = stream;
            match told(&request).unwrap_or_else(|| self.answer(&request)) {
                Reply::Whole(status, headers, body) => {
                    let mut head = format!("HTTP/1.1 {status} as told\r\ncontent-length: {}\r\n", body.len());
                    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
                    stream.write_all(format!("{head}\r\n").as_bytes())?;
                    stream.write_all(if request.method == "HEAD" { b"" } else { &body })?;
                }
                Reply::Raw(bytes) => {
                    stream.write_all(&bytes)?;
                    return stream.shutdown(std::net::Shutdown::Both);
                }
                Reply::Endless(status) => {
                    stream.write_all(format!("HTTP/1.1 {status} as told\r\n\r\n").as_bytes())?;
                    loop {
                        stream.write_all(&[b' '; 65536])?;
                    }
                }
                Reply::Drip => {
                    stream.write_all(b"HTTP/1.1 200 as told\r\n\r\n")?;
                    loop {
                        stream.write_all(b" ")?;
                        thread::park_timeout(Duration::from_millis(20));
                    }
                }
                Reply::Silent => {
                    lock(&self.held).push(stream.try_clone()?);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What a registry answers that is in order.
    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        match request.method.as_str() {
            "POST" => Reply::new(202, &[("location", &format!("{path}1"))], b""),
            "PUT" => Reply::new(201, &[], b""),
            _ if path == "/v2/" => Reply::new(200, &[], b"{}"),
            _ => {
                let stored = lock(&self.stored);
                let tag = if path.contains("/manifests/") { stored.get("tag") } else { None };
                match stored.get(last).or(tag) {
                    Some(bytes) => Reply::new(200, &[], bytes),
                    None => Reply::new(404, &[], b"{}"),
                }
            }
        }
    }
}

/// The next request of a connection; `None` when it ends.
fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Request::default()
    };
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
