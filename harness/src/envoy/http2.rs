//! HTTP/2 over a socket, by prior knowledge: messages as the `h2` library has them, and back. Unlike HTTP/1 here, what no HTTP/2 peer may send
//! is not sent; lines of one name stand together at the place of the first. Knows messages, not proxies.

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::uri::PathAndQuery;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, request, response,
};
use tokio::runtime::{Builder, Runtime};

use crate::exchange::Message;
use crate::headers::Headers;

pub(super) mod ask;
pub(super) mod serve;

/// How much a peer may send before it is read: more than any recording has, so that nobody waits for room.
const WINDOW: u32 = 1 << 24;
/// How the client's side of an HTTP/2 connection begins (RFC 9113, 3.4), as far as tells it from HTTP/1.
pub(super) const PREFACE: &[u8] = b"PRI ";

/// The headers of one connection, which HTTP/2 does not have (RFC 9113, 8.2.2).
const OF_HOP: [&[u8]; 6] =
    [b"connection", b"host", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];

/// What no HTTP/2 peer may send.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP/2 message: {0}")]
pub struct NotSendable(String);

fn not_sendable(what: &str, found: &[u8]) -> NotSendable {
    NotSendable(format!("{what} `{}`", found.escape_ascii()))
}

/// A request's head. Absent pseudo headers: `GET`, `http`, `/`.
///
/// # Errors
/// When an HTTP/2 client may not send it, or lines of a name do not stand together.
pub fn request(message: &Message) -> Result<Request<()>, NotSendable> {
    let headers = &message.headers;
    let pseudo = |name: &[u8], default: &'static [u8]| headers.get(name).unwrap_or(default);
    let (method, path) = (pseudo(b":method", b"GET"), pseudo(b":path", b"/"));
    let (scheme, authority) = (pseudo(b":scheme", b"http"), pseudo(b":authority", b""));
    let target = PathAndQuery::try_from(path).ok().filter(|target| target.as_str().as_bytes() == path);
    let target = target.ok_or_else(|| not_sendable("path", path))?;
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target);
    let uri = uri
        .build()
        .map_err(|_| not_sendable("scheme or authority", &[scheme, b"://", authority].concat()))?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).map_err(|_| not_sendable("method", method))?;
    *request.uri_mut() = uri;
    *request.headers_mut() = lines(headers)?;
    if let Some((name, _)) = headers.iter().find(|(name, _)| OF_HOP.contains(name)) {
        return Err(not_sendable("header of one connection", name));
    }
    if grouped(headers) != *headers {
        return Err(NotSendable("lines of a name apart from each other".to_owned()));
    }
    lines(&message.trailers)?;
    Ok(request)
}

/// The lines with those of one name at the place of the first.
#[must_use]
pub fn grouped(headers: &Headers) -> Headers {
    let mut all = Headers::new();
    for (name, _) in headers.iter() {
        if all.get(name).is_none() {
            headers.get_all(name).for_each(|value| all.push(name, value));
        }
    }
    all
}

/// A response's head; headers of one connection are left out.
fn response(message: &Message) -> Result<Response<()>, NotSendable> {
    let status = message.headers.get(b":status").unwrap_or(b"200");
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_bytes(status).map_err(|_| not_sendable("status", status))?;
    *response.headers_mut() = lines(&message.headers)?;
    for name in OF_HOP.iter().filter_map(|name| HeaderName::from_bytes(name).ok()) {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// Lines without pseudo headers.
fn lines(headers: &Headers) -> Result<HeaderMap, NotSendable> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let key = HeaderName::from_bytes(name).map_err(|_| not_sendable("header name", name))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| not_sendable("header value", value))?;
        map.append(key, value);
    }
    Ok(map)
}

/// The message that a request's head begins.
fn of_request(head: &request::Parts) -> Message {
    let mut message = Message::default();
    let uri = &head.uri;
    message.headers.push(":method", head.method.as_str());
    message.headers.push(":path", uri.path_and_query().map_or("/", PathAndQuery::as_str));
    if let Some(authority) = uri.authority() {
        message.headers.push(":authority", authority.as_str());
    }
    message.headers.push(":scheme", uri.scheme_str().unwrap_or("http"));
    add(&mut message.headers, &head.headers);
    message
}

/// The message that a response's head begins.
fn of_response(head: &response::Parts) -> Message {
    let mut message = Message::default();
    message.headers.push(":status", head.status.as_str());
    add(&mut message.headers, &head.headers);
    message
}

fn add(headers: &mut Headers, map: &HeaderMap) {
    for (name, value) in map {
        headers.push(name, value.as_bytes());
    }
}

/// Reads body and trailers to the end; what came before it broke off is in the message.
async fn receive(
    body: &mut RecvStream,
    message: &mut Message,
    mut grew: impl FnMut(&Message),
) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        message.body.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
        grew(message);
    }
    if let Some(trailers) = body.trailers().await? {
        add(&mut message.trailers, &trailers);
    }
    Ok(())
}

/// Sends body and trailers; the end comes with the last of them.
fn send(stream: &mut SendStream<Bytes>, body: &[u8], trailers: Option<HeaderMap>) -> Result<(), h2::Error> {
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), trailers.is_none())?;
    }
    trailers.map_or(Ok(()), |trailers| stream.send_trailers(trailers))
}

/// What drives one connection, in the thread that asks.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

#[cfg(test)]
mod tests;
