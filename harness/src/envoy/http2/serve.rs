//! The server's side of an HTTP/2 connection: it does what [`Answers`] says, as the HTTP/1 server does. A proxy that sends one request at a time
//! on a connection sees the failures of HTTP/1: a connection that closes is one request's.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Cursor};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::io::AsyncReadExt;

use super::WINDOW;
use crate::envoy::server::{Answers, Arrival, Reply};
use crate::exchange::Message;

/// What the requests of a connection have in common.
struct Connection {
    answers: Arc<dyn Answers>,
    called: Option<u16>,
    socket: TcpStream,
    /// To know that the other side has what was sent.
    ping: Mutex<Option<PingPong>>,
}

/// Serves a connection to its end; `begun` is what was read of it already.
///
/// # Errors
/// When the socket cannot be used.
pub(in crate::envoy) fn serve(
    socket: &TcpStream,
    begun: &[u8],
    called: Option<u16>,
    answers: &Arc<dyn Answers>,
) -> io::Result<()> {
    let own = socket.try_clone()?;
    let io = socket.try_clone()?;
    io.set_nonblocking(true)?;
    let connection = Connection { answers: Arc::clone(answers), called, socket: own, ping: Mutex::default() };
    super::runtime()?.block_on(async move {
        let (input, output) = tokio::net::TcpStream::from_std(io)?.into_split();
        let input = Cursor::new(begun.to_vec()).chain(input);
        // A connection that breaks is the proxy's affair: it shows in the outcome of the exchange.
        drop(requests(tokio::io::join(input, output), connection).await);
        Ok(())
    })
}

async fn requests<T>(io: T, mut connection: Connection) -> Result<(), h2::Error>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut builder = server::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let mut streams = builder.handshake::<_, Bytes>(io).await?;
    connection.ping = Mutex::new(streams.ping_pong());
    let connection = Arc::new(connection);
    while let Some(stream) = streams.accept().await {
        let (request, respond) = stream?;
        tokio::spawn(answer(Arc::clone(&connection), request, respond));
    }
    Ok(())
}

async fn answer(connection: Arc<Connection>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let mut request = super::of_request(&head);
    let answers = &connection.answers;
    let to_head = request.headers.get(b":method") == Some(b"HEAD");
    let opened = (connection.called.is_none() && is_stream(&request) && !body.is_end_stream())
        .then(|| answers.opened(&request));
    let (number, early) = opened.map_or((None, None), |(number, early)| (Some(number), early));
    let reply = if let Some(early) = early {
        early
    } else {
        let grew = |request: &Message| number.into_iter().for_each(|number| answers.grew(number, request));
        if super::receive(&mut body, &mut request, grew).await.is_err() {
            return;
        }
        answers.reply(Arrival { called: connection.called, opened: number, request })
    };
    let _over = Over { answers: Arc::clone(answers), at_once: reply.is_at_once() };
    if obey(&connection, reply, &mut respond, to_head).await.is_err() {
        respond.send_reset(Reason::INTERNAL_ERROR);
    }
}

/// Whether it is a gRPC stream of a filter's, which need not be whole to be answered: Envoy gives a call of one message a `grpc-timeout`.
fn is_stream(request: &Message) -> bool {
    let grpc = request.headers.get(b"content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
    grpc && request.headers.get(b"grpc-timeout").is_none()
}

/// Tells that a reply is over, however it ends.
struct Over {
    answers: Arc<dyn Answers>,
    at_once: bool,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.answers.done(self.at_once);
    }
}

async fn obey(
    connection: &Connection,
    reply: Reply,
    respond: &mut SendResponse<Bytes>,
    to_head: bool,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    match reply {
        Reply::Answer(after, message) => {
            if pass(respond, after).await {
                let body = if to_head { &[][..] } else { &message.body };
                let trailers =
                    (!message.trailers.is_empty()).then(|| super::lines(&message.trailers)).transpose()?;
                let bare = body.is_empty() && trailers.is_none();
                let mut stream = respond.send_response(super::response(&message)?, bare)?;
                super::send(&mut stream, body, trailers)?;
            }
        }
        Reply::Cut(after, message, bytes) => {
            if pass(respond, after).await {
                let body = message.body.get(..bytes).unwrap_or(&message.body);
                let mut stream = respond.send_response(super::response(&message)?, false)?;
                if !body.is_empty() {
                    stream.send_data(Bytes::copy_from_slice(body), false)?;
                }
                let ping = connection.ping.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(mut ping) = ping {
                    // What was sent before is there when this is answered.
                    drop(ping.ping(Ping::opaque()).await);
                }
                connection.close();
            }
        }
        Reply::Close(after) => {
            if pass(respond, after).await {
                connection.close();
            }
        }
        Reply::Silence => drop(poll_fn(|context| respond.poll_reset(context)).await),
    }
    Ok(())
}

impl Connection {
    /// Ends it without a word.
    fn close(&self) {
        // When it is closed already, it is closed.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Lets time pass; whether the other side is still there then.
async fn pass(respond: &mut SendResponse<Bytes>, time: Duration) -> bool {
    time.is_zero()
        || tokio::time::timeout(time, poll_fn(|context| respond.poll_reset(context))).await.is_err()
}
