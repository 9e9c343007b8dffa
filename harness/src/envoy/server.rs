//! A server behind a proxy: one thread a connection; what it answers is asked of whoever started it. Loopback only. Speaks HTTP/1 and, where the
//! other side begins so, HTTP/2, and the line of the PROXY protocol that may stand before them. Knows no clusters and no scenario.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{http2, wire};
use crate::exchange::Message;

/// What arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// The port that the client of the proxy called, where the connection says it comes from a client's: its line of the PROXY protocol. A
    /// call that the proxy makes of its own names none.
    pub called: Option<u16>,
    /// The number that it got when it was [opened](Answers::opened); absent of one that was not told of before.
    pub opened: Option<usize>,
    /// The request.
    pub request: Message,
}

/// What a server does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answers after this time.
    Answer(Duration, Message),
    /// Begins to answer after this time, and closes after so many bytes of the body.
    Cut(Duration, Message, usize),
    /// Closes the connection after this time, without a byte.
    Close(Duration),
    /// Never answers, and keeps the connection until the other side ends it.
    Silence,
}

impl Default for Reply {
    fn default() -> Self {
        Self::Answer(Duration::ZERO, Message::default())
    }
}

impl Reply {
    /// Whether no time passes before it.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        match self {
            Self::Answer(after, _) | Self::Cut(after, ..) | Self::Close(after) => after.is_zero(),
            Self::Silence => false,
        }
    }
}

/// What to do with a request; asked in the thread of its connection.
pub trait Answers: Send + Sync {
    /// What to do with this one.
    fn reply(&self, arrival: Arrival) -> Reply;

    /// A stream of a filter's begins, which may never be whole: its number, and what to do with it where that does not wait for its end.
    fn opened(&self, _head: &Message) -> (usize, Option<Reply>) {
        (0, None)
    }

    /// The stream of this number has sent so much by now.
    fn grew(&self, _number: usize, _request: &Message) {}

    /// A reply is over: it was written, or the other side did not wait for it.
    fn done(&self, _at_once: bool) {}
}

/// The same answer to everybody.
impl Answers for Message {
    fn reply(&self, _: Arrival) -> Reply {
        Reply::Answer(Duration::ZERO, self.clone())
    }
}

/// A running server; stopped when dropped.
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

struct State {
    stopped: AtomicBool,
    answers: Arc<dyn Answers>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Server {
    /// Starts one on a port of the system's choice.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(answers: Arc<dyn Answers>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state =
            Arc::new(State { stopped: AtomicBool::new(false), answers, connections: Mutex::default() });
        let shared = Arc::clone(&state);
        let acceptor = thread::spawn(move || accept(&listener, &shared));
        Ok(Self { address, state, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor; when even that fails there is nobody to wait for.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    let mut threads = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if state.stopped.load(Ordering::SeqCst) {
            break;
        }
        let Ok(clone) = stream.try_clone() else { continue };
        lock(&state.connections).push(clone);
        let state = Arc::clone(state);
        threads.push(thread::spawn(move || {
            let port = stream.local_addr().map(|address| address.port()).unwrap_or_default();
            // A broken connection is the proxy's affair: it shows in the outcome of the exchange.
            let _ = serve(&stream, port, &state.answers);
            let _ = stream.shutdown(Shutdown::Both);
        }));
    }
    for connection in lock(&state.connections).drain(..) {
        let _ = connection.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve(stream: &TcpStream, port: u16, answers: &Arc<dyn Answers>) -> Result<(), wire::WireError> {
    stream.set_nodelay(true)?;
    let mut out = stream;
    let mut input = BufReader::new(stream);
    let called = called(&mut input, port)?;
    if input.fill_buf()?.starts_with(http2::PREFACE) {
        return Ok(http2::serve::serve(stream, input.buffer(), called, answers)?);
    }
    while let Some(request) = wire::read_request(&mut input)? {
        let to_head = request.headers.get(b":method") == Some(b"HEAD");
        let reply = answers.reply(Arrival { called, opened: None, request });
        let at_once = reply.is_at_once();
        let done = obey(reply, &mut input, &mut out, to_head);
        answers.done(at_once);
        if !done? {
            break;
        }
    }
    Ok(())
}

/// Does it; whether the connection goes on.
fn obey(
    reply: Reply,
    input: &mut BufReader<&TcpStream>,
    out: &mut &TcpStream,
    to_head: bool,
) -> io::Result<bool> {
    match reply {
        Reply::Answer(after, message) => {
            if !pass(input, after)? {
                return Ok(false);
            }
            wire::write_response(out, &message, to_head)?;
            Ok(true)
        }
        Reply::Cut(after, message, bytes) => {
            if pass(input, after)? {
                let mut whole = Vec::new();
                wire::write_response(&mut whole, &message, to_head)?;
                let head = head_length(&whole);
                whole.truncate(head.saturating_add(framed(&whole, head, bytes)));
                out.write_all(&whole)?;
                out.flush()?;
            }
            Ok(false)
        }
        Reply::Close(after) => pass(input, after).map(|_| false),
        Reply::Silence => {
            input.get_ref().set_read_timeout(None)?;
            io::copy(&mut input.by_ref(), &mut io::sink())?;
            Ok(false)
        }
    }
}

/// Lets time pass; whether the other side is still there then.
fn pass(input: &mut BufReader<&TcpStream>, time: Duration) -> io::Result<bool> {
    if time.is_zero() {
        return Ok(true);
    }
    // Waiting for a byte that should not come shows that the other side leaves as soon as it does.
    input.get_ref().set_read_timeout(Some(time))?;
    let there = match input.fill_buf() {
        Ok(bytes) => !bytes.is_empty(),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
        Err(error) => return Err(error),
    };
    input.get_ref().set_read_timeout(None)?;
    Ok(there)
}

fn head_length(message: &[u8]) -> usize {
    message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at.saturating_add(4))
}

/// How many bytes on the wire after the head carry so many bytes of the body: more where it is chunked, as its first chunk has a size line.
fn framed(message: &[u8], head: usize, bytes: usize) -> usize {
    let rest = message.get(head..).unwrap_or_default();
    let chunked = message
        .get(..head)
        .is_some_and(|head| String::from_utf8_lossy(head).contains("transfer-encoding: chunked\r\n"));
    let line = rest.iter().position(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    bytes.saturating_add(if chunked && bytes > 0 { line } else { 0 })
}

/// Reads a line of the PROXY protocol where there is one: the port that the client called. A proxy's own connection goes to this very port.
fn called(input: &mut BufReader<&TcpStream>, own: u16) -> Result<Option<u16>, wire::WireError> {
    const LINE: &[u8] = b"PROXY ";
    // Whoever sends such a line sends it in one piece; anything else is a request.
    if !input.fill_buf()?.starts_with(LINE) {
        return Ok(None);
    }
    let mut line = Vec::new();
    // Its longest form has 107 bytes.
    input.by_ref().take(107).read_until(b'\n', &mut line)?;
    let port = line.trim_ascii().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let port = str::from_utf8(port).ok().and_then(|port| port.parse().ok());
    Ok(port.filter(|port| *port != own))
}
