//! The client's side of an HTTP/2 connection: one exchange.

use std::io::{Error, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use h2::client;

use super::{WINDOW, request};
use crate::envoy::client::Wait;
use crate::envoy::wire::WireError;
use crate::exchange::Message;

/// Asks once on a connection on which HTTP/2 may begin; nothing when there was no answer, or the client left before it came.
///
/// # Errors
/// When it may not be asked so, the connection breaks before the answer, or none comes in time.
pub(in crate::envoy) fn ask(
    socket: TcpStream,
    message: &Message,
    wait: Wait,
) -> Result<Option<Message>, WireError> {
    socket.set_nonblocking(true)?;
    let (Wait::Answer(longest) | Wait::Leave(longest)) = wait;
    super::runtime()?.block_on(async {
        let socket = tokio::net::TcpStream::from_std(socket)?;
        let mut answer = None;
        // A timeout of zero would be none.
        let longest = longest.max(Duration::from_millis(1));
        match tokio::time::timeout(longest, exchange(socket, message, &mut answer)).await {
            Ok(Err(WireError::Http2(error)))
                if answer.is_none() && (error.is_reset() || error.is_go_away() || error.is_io()) =>
            {
                Ok(None)
            }
            Ok(Err(error)) if answer.is_none() => Err(error),
            Err(_) if answer.is_none() && matches!(wait, Wait::Answer(_)) => {
                Err(Error::from(ErrorKind::TimedOut).into())
            }
            Ok(Ok(())) => Ok(answer),
            _ => {
                // It broke off, or the client left.
                if let Some(answer) = &mut answer {
                    answer.body_truncated = true;
                }
                Ok(answer)
            }
        }
    })
}

async fn exchange(
    socket: tokio::net::TcpStream,
    message: &Message,
    answer: &mut Option<Message>,
) -> Result<(), WireError> {
    let mut builder = client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).enable_push(false);
    let (client, connection) = builder.handshake(socket).await?;
    // How the connection ends shows in the stream.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let mut client = client.ready().await?;
    let trailers = (!message.trailers.is_empty()).then(|| super::lines(&message.trailers)).transpose()?;
    let bare = message.body.is_empty() && trailers.is_none();
    let (response, mut stream) = client.send_request(request(message)?, bare)?;
    // A proxy that answers early may end the stream before it has read everything: what it answered counts, not that this failed.
    drop(super::send(&mut stream, &message.body, trailers));
    let (head, mut body) = response.await?.into_parts();
    let answer = answer.insert(super::of_response(&head));
    super::receive(&mut body, answer, |_| ()).await?;
    driver.abort();
    Ok(())
}
