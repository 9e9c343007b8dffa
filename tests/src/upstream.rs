//! A server behind a proxy: one thread a connection, answers what it is told, remembers exactly what it received. Loopback only.

use std::io::BufReader;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use weir_harness::exchange::Message;

use crate::wire;

/// A running upstream; stopped when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stopped: AtomicBool,
    answer: Mutex<Message>,
    received: Mutex<Vec<Message>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl Upstream {
    /// Starts one on a port of the system's choice; it answers 200 without a body until told otherwise.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let acceptor = thread::spawn(move || accept(&listener, &shared));
        Ok(Self { address, state, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it answers from now on.
    pub fn answer(&self, response: Message) {
        *lock(&self.state.answer) = response;
    }

    /// What it received since the last time this was asked, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Message> {
        std::mem::take(&mut *lock(&self.state.received))
    }
}

impl Drop for Upstream {
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
            // A broken connection is the proxy's affair: it shows in the outcome of the exchange.
            let _ = serve(stream, &state);
        }));
    }
    for connection in lock(&state.connections).drain(..) {
        let _ = connection.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve(stream: TcpStream, state: &State) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = wire::read_request(&mut input)? {
        let to_head = request.headers.get(b":method") == Some(b"HEAD");
        let answer = lock(&state.answer).clone();
        lock(&state.received).push(request);
        wire::write_response(&mut out, &answer, to_head)?;
    }
    Ok(())
}
