//! HTTP/1 over a socket, bytes in and bytes out: no header is checked, reordered or decoded, so that what a proxy did can be seen.
//! Knows messages, not proxies.

use std::io::{self, BufRead, Read, Write};

use crate::exchange::Message;

/// What a block of headers may have at most: a peer that sends more is no HTTP peer. Recordings have far less.
const HEAD_LIMIT: usize = 1 << 20;
/// Bodies without a length are sent in chunks of this size, so that more than one chunk is seen.
const CHUNK: usize = 4096;

/// What came is no whole message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The HTTP/2 connection or stream broke.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// What is to be sent is no HTTP/2.
    #[error(transparent)]
    NotSendable(#[from] super::http2::NotSendable),
    /// Something else than HTTP/1.
    #[error("not HTTP/1: {0}")]
    NotHttp(String),
    /// The connection ended too early.
    #[error("the connection ended {0}")]
    Ended(String),
}

type Result<T> = std::result::Result<T, WireError>;

/// Writes a request: `:method :path :authority` make its first lines, the other headers follow in order.
///
/// A body without `content-length`, or trailers, go out chunked. Absent pseudo headers: `GET`, `/`, no `host` line.
///
/// # Errors
/// When the socket fails.
pub fn write_request(out: &mut impl Write, request: &Message) -> io::Result<()> {
    let pseudo = |name: &[u8]| request.headers.get(name);
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(pseudo(b":method").unwrap_or(b"GET"));
    head.push(b' ');
    head.extend_from_slice(pseudo(b":path").unwrap_or(b"/"));
    head.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = pseudo(b":authority") {
        line(&mut head, b"host", authority);
    }
    write_rest(out, head, request, !request.body.is_empty() || !request.trailers.is_empty())
}

/// Writes a response. Without `content-length`, a body goes out chunked and an absent one as `content-length: 0`.
///
/// # Errors
/// When the socket fails.
pub fn write_response(out: &mut impl Write, response: &Message, to_head: bool) -> io::Result<()> {
    let status = response.headers.get(b":status").unwrap_or(b"200");
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status);
    head.extend_from_slice(b" OK\r\n");
    let bodiless = to_head || no_body(status);
    let empty = response.body.is_empty() && response.trailers.is_empty();
    if empty && !bodiless && response.headers.get(b"content-length").is_none() {
        line(&mut head, b"content-length", b"0");
    }
    write_rest(out, head, response, !empty && !bodiless)
}

fn write_rest(out: &mut impl Write, mut head: Vec<u8>, message: &Message, body: bool) -> io::Result<()> {
    let chunked = body && message.headers.get(b"content-length").is_none();
    for (name, value) in message.headers.iter() {
        let framing = name == b"transfer-encoding" || (name == b"content-length" && chunked);
        if !name.starts_with(b":") && !framing {
            line(&mut head, name, value);
        }
    }
    if chunked {
        line(&mut head, b"transfer-encoding", b"chunked");
    }
    head.extend_from_slice(b"\r\n");
    if chunked {
        for chunk in message.body.chunks(CHUNK) {
            write!(head, "{:x}\r\n", chunk.len())?;
            head.extend_from_slice(chunk);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"0\r\n");
        for (name, value) in message.trailers.iter() {
            line(&mut head, name, value);
        }
        head.extend_from_slice(b"\r\n");
    } else if body {
        head.extend_from_slice(&message.body);
    }
    out.write_all(&head)?;
    out.flush()
}

fn line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// Reads a request; nothing when the connection ends before one begins.
///
/// # Errors
/// When the connection breaks inside it or it is no HTTP/1.
pub fn read_request(input: &mut impl BufRead) -> Result<Option<Message>> {
    let Some(first) = read_line(input)? else { return Ok(None) };
    let mut parts = first.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(path), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(not_http("request line", &first));
    };
    let (mut message, mut rest) = (Message::default(), Message::default());
    read_headers(input, &mut rest)?;
    message.headers.push(":method", method);
    message.headers.push(":path", path);
    if let Some(host) = rest.headers.get(b"host") {
        message.headers.push(":authority", host);
    }
    for (name, value) in rest.headers.iter().filter(|(name, _)| *name != b"host") {
        message.headers.push(name, value);
    }
    read_body(input, &mut message, false)?;
    Ok(Some(message))
}

/// Reads a final response (1xx are passed over); nothing when the connection ends before one begins.
///
/// # Errors
/// When it is no HTTP/1. A body that breaks off is no error: it is marked as truncated.
pub fn read_response(input: &mut impl BufRead, to_head: bool) -> Result<Option<Message>> {
    loop {
        let Some(first) = read_line(input)? else { return Ok(None) };
        let status = first.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        if !first.starts_with(b"HTTP/1.") || status.is_empty() {
            return Err(not_http("status line", &first));
        }
        let mut message = Message::default();
        message.headers.push(":status", status);
        read_headers(input, &mut message)?;
        if status.len() == 3 && status.starts_with(b"1") {
            continue;
        }
        if !to_head && !no_body(status) && read_body(input, &mut message, true).is_err() {
            message.body_truncated = true;
        }
        return Ok(Some(message));
    }
}

fn no_body(status: &[u8]) -> bool {
    status == b"204" || status == b"304"
}

fn read_headers(input: &mut impl BufRead, message: &mut Message) -> Result<()> {
    let mut size = 0;
    loop {
        let line = read_line(input)?.ok_or_else(|| ended("inside the headers"))?;
        size += line.len();
        if line.is_empty() {
            return Ok(());
        }
        if size > HEAD_LIMIT {
            return Err(WireError::NotHttp(format!("headers of more than {HEAD_LIMIT} bytes")));
        }
        let (name, value) = split_header(&line)?;
        message.headers.push(name, value);
    }
}

fn split_header(line: &[u8]) -> Result<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) =
        colon.and_then(|at| line.split_at_checked(at)).ok_or_else(|| not_http("header line", line))?;
    Ok((name, value.get(1..).unwrap_or_default().trim_ascii()))
}

fn read_body(input: &mut impl BufRead, message: &mut Message, until_close: bool) -> Result<()> {
    let header = |name: &[u8]| message.headers.get(name);
    if header(b"transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
        return read_chunks(input, message);
    }
    if let Some(length) = header(b"content-length") {
        let length = number(length, 10)?;
        return read_exactly(input, length, &mut message.body);
    }
    if until_close {
        input.read_to_end(&mut message.body)?;
    }
    Ok(())
}

fn read_chunks(input: &mut impl BufRead, message: &mut Message) -> Result<()> {
    let cut = || ended("inside a chunked body");
    loop {
        let size = number(&read_line(input)?.ok_or_else(cut)?, 16)?;
        if size == 0 {
            break;
        }
        read_exactly(input, size, &mut message.body)?;
        read_line(input)?.ok_or_else(cut)?;
    }
    loop {
        let line = read_line(input)?.ok_or_else(cut)?;
        if line.is_empty() {
            return Ok(());
        }
        let (name, value) = split_header(&line)?;
        message.trailers.push(name, value);
    }
}

/// Reads so many bytes more; what came is kept when the input ends before.
fn read_exactly(input: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> Result<()> {
    let read = input.take(length as u64).read_to_end(body)?;
    if read < length {
        return Err(ended(&format!("after {read} of {length} bytes")));
    }
    Ok(())
}

fn number(text: &[u8], radix: u32) -> Result<usize> {
    let number =
        std::str::from_utf8(text).ok().and_then(|text| usize::from_str_radix(text.trim(), radix).ok());
    number.ok_or_else(|| not_http("length", text))
}

fn not_http(expected: &str, found: &[u8]) -> WireError {
    WireError::NotHttp(format!("expected a {expected}, found `{}`", found.escape_ascii()))
}

fn ended(place: &str) -> WireError {
    WireError::Ended(place.to_owned())
}

/// A line without its end; nothing at the end of the input.
fn read_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = (&mut *input).take(HEAD_LIMIT as u64).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(ended("inside a line"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests;
