//! Many requests at once on few HTTP/2 connections: just enough of RFC 9113 and RFC 7541 for requests without a body and their answers.
//! Knows no proxy.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Until then all answers must have come.
const PATIENCE: Duration = Duration::from_secs(60);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// `streams` GET requests for `path` on each of `connections`, all sent before an answer is read. The time of each, and its body.
///
/// # Errors
/// When a connection or a stream ends without an answer.
pub fn storm(
    address: SocketAddr,
    connections: usize,
    streams: u32,
    path: &str,
) -> Result<Vec<(Duration, Vec<u8>)>> {
    storm_after(address, b"", connections, streams, path)
}

/// The same, with a line before all else, such as that of the PROXY protocol.
///
/// # Errors
/// When a connection or a stream ends without an answer.
pub fn storm_after(
    address: SocketAddr,
    line: &[u8],
    connections: usize,
    streams: u32,
    path: &str,
) -> Result<Vec<(Duration, Vec<u8>)>> {
    let mut readers = Vec::new();
    for _ in 0..connections {
        let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut out = [line, &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]].concat();
        frame(&mut out, SETTINGS, 0, 0, &[]);
        let block = block(path)?;
        for number in 0..streams {
            frame(&mut out, HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block);
        }
        let begin = Instant::now();
        connection.write_all(&out)?;
        readers.push(thread::spawn(move || read(connection, streams, begin)));
    }
    let mut answers = Vec::new();
    for reader in readers {
        let read = reader.join().ok().context("a reader panicked")?;
        answers.extend(read?);
    }
    Ok(answers)
}

fn read(connection: TcpStream, streams: u32, begin: Instant) -> Result<Vec<(Duration, Vec<u8>)>> {
    let mut input = BufReader::new(connection.try_clone()?);
    let mut output = connection;
    let mut bodies = vec![Vec::new(); streams as usize];
    let mut answers = Vec::new();
    while answers.len() < bodies.len() {
        let mut head = [0; 9];
        input.read_exact(&mut head).with_context(|| format!("{} of {streams} answers", answers.len()))?;
        let [a, b, c, kind, flags, d, e, f, g] = head;
        let stream = u32::from_be_bytes([d & 0x7f, e, f, g]);
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        input.read_exact(&mut payload)?;
        match kind {
            SETTINGS if flags & ACK == 0 => send(&mut output, SETTINGS, ACK, 0, &[])?,
            PING if flags & ACK == 0 => send(&mut output, PING, ACK, 0, &payload)?,
            RST_STREAM | GOAWAY => bail!("frame {kind} on stream {stream}: {payload:?}"),
            DATA | HEADERS => {
                let body = bodies.get_mut(stream as usize / 2).context("an unknown stream")?;
                if kind == DATA && !payload.is_empty() {
                    body.extend_from_slice(&payload);
                    // What was read may be sent again: without this a body ends at 65535 bytes, and Envoy resets the stream when it has waited for
                    // long enough (RFC 9113 §6.9).
                    let more = u32::try_from(payload.len())?.to_be_bytes();
                    send(&mut output, WINDOW_UPDATE, 0, 0, &more)?;
                    send(&mut output, WINDOW_UPDATE, 0, stream, &more)?;
                }
                if flags & END_STREAM != 0 {
                    answers.push((begin.elapsed(), std::mem::take(body)));
                }
            }
            _ => {}
        }
    }
    Ok(answers)
}

fn send(output: &mut TcpStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
    let mut out = Vec::new();
    frame(&mut out, kind, flags, stream, payload);
    Ok(output.write_all(&out)?)
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // Payloads here are of a few bytes.
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// `:method: GET`, `:scheme: http`, `:authority: a` and `:path` in HPACK, without a dynamic table and without Huffman codes.
fn block(path: &str) -> Result<Vec<u8>> {
    let length = u8::try_from(path.len()).ok().filter(|length| *length < 127).context("a long path")?;
    Ok([&[0x82, 0x86, 0x01, 1, b'a', 0x04, length], path.as_bytes()].concat())
}
