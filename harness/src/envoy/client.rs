//! A client of a proxy: one exchange on a connection of its own, as raw HTTP/1 or as HTTP/2. Knows no Envoy.

use std::io::{BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::wire::{self, WireError};
use super::{EnvoyError, http2};
use crate::exchange::{Message, Protocol};

/// Until then an answer must have come where nothing holds it back; only a hung machine takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Who a connection says it comes from, and where it says it goes to: the line of the PROXY protocol ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The client.
    pub source: SocketAddr,
    /// The port that it says it called.
    pub port: u16,
}

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For an answer; that none has come after this is an error.
    Answer(Duration),
    /// Until then, and leaves when the answer is not whole.
    Leave(Duration),
}

impl Default for Wait {
    fn default() -> Self {
        Self::Answer(PATIENCE)
    }
}

/// A GET request of `example.com`.
#[must_use]
pub fn get(path: &str) -> Message {
    let lines = [(":method", "GET"), (":path", path), (":authority", "example.com")];
    Message { headers: lines.into_iter().collect(), ..Message::default() }
}

/// One exchange in HTTP/1 on a connection of its own; nothing when the connection was closed without an answer, or the client left.
///
/// # Errors
/// When there is no connection, no answer in time, or no HTTP.
pub fn exchange(
    address: SocketAddr,
    parties: Option<Parties>,
    request: &Message,
    wait: Wait,
) -> Result<Option<Message>, EnvoyError> {
    let failed = |source| EnvoyError::Wire { what: format!("an exchange with {address}"), source };
    converse(address, parties, request, wait).map_err(failed)
}

/// As [`exchange`], in HTTP/2 where it is that.
///
/// # Errors
/// As there, and when HTTP/2 cannot carry the request.
pub fn exchange_in(
    protocol: Protocol,
    address: SocketAddr,
    parties: Option<Parties>,
    request: &Message,
    wait: Wait,
) -> Result<Option<Message>, EnvoyError> {
    if protocol != Protocol::Http2 {
        return exchange(address, parties, request, wait);
    }
    let failed = |source| EnvoyError::Wire { what: format!("an HTTP/2 exchange with {address}"), source };
    let ask = || {
        let mut stream = connect(address)?;
        stream.write_all(parties.map(|parties| parties.line()).unwrap_or_default().as_bytes())?;
        http2::ask::ask(stream, request, wait)
    };
    ask().map_err(failed)
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn converse(
    address: SocketAddr,
    parties: Option<Parties>,
    request: &Message,
    wait: Wait,
) -> Result<Option<Message>, WireError> {
    let stream = connect(address)?;
    let (Wait::Answer(longest) | Wait::Leave(longest)) = wait;
    // A timeout of zero would be none.
    stream.set_read_timeout(Some(longest.max(Duration::from_millis(1))))?;
    let mut out = parties.map(|parties| parties.line()).unwrap_or_default().into_bytes();
    wire::write_request(&mut out, request)?;
    // A proxy that answers early may close before it has read everything: what it answered counts, not that this failed.
    let _ = (&stream).write_all(&out);
    let to_head = request.headers.get(b":method") == Some(b"HEAD");
    match wire::read_response(&mut BufReader::new(&stream), to_head) {
        Err(WireError::Io(error)) if error.kind() == ErrorKind::ConnectionReset => Ok(None),
        Err(WireError::Io(error)) if is_timeout(&error) && matches!(wait, Wait::Leave(_)) => Ok(None),
        answer => answer,
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Parties {
    fn line(&self) -> String {
        let (family, to) = if self.source.is_ipv4() { ("TCP4", "127.0.0.1") } else { ("TCP6", "::1") };
        format!("PROXY {family} {} {to} {} {}\r\n", self.source.ip(), self.source.port(), self.port)
    }
}
