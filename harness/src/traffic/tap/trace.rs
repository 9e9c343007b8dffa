//! One trace of `envoy.data.tap.v3` to an exchange. Names may be in snake case, as Envoy writes them, or in camel case, as protobuf's
//! JSON has them. Knows no bytes of a file.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::exchange::{Downstream, Exchange, Message, Protocol};
use crate::headers::Headers;
use crate::traffic::json::{self, kind};
use crate::traffic::normal::{self, Known};
use crate::traffic::{Options, time};

const BUFFERED: [&str; 2] = ["http_buffered_trace", "httpBufferedTrace"];
const SEGMENT: [&str; 2] = ["http_streamed_trace_segment", "httpStreamedTraceSegment"];
const SOCKET: [&str; 4] = [
    "socket_buffered_trace",
    "socketBufferedTrace",
    "socket_streamed_trace_segment",
    "socketStreamedTraceSegment",
];
const MEMBERS: [[&str; 2]; 4] = [
    ["request", "request"],
    ["response", "response"],
    ["downstream_connection", "downstreamConnection"],
    ["upstream_connection", "upstreamConnection"],
];

/// Whether a key is one of `TraceWrapper`'s.
pub(super) fn is_wrapper(key: &str) -> bool {
    BUFFERED.contains(&key) || SEGMENT.contains(&key) || SOCKET.contains(&key)
}

/// Whether a key is one of `HttpBufferedTrace`'s.
pub(super) fn is_buffered_member(key: &str) -> bool {
    MEMBERS.iter().flatten().any(|member| *member == key)
}

/// A member by its name in snake case or camel case.
fn get<'a>(object: &'a Value, name: [&'static str; 2], at: &str) -> Result<Option<&'a Value>, String> {
    Ok(match json::object(object, name[0], at)? {
        Some(value) => Some(value),
        None => json::object(object, name[1], at)?,
    })
}

fn get_text(object: &Value, name: [&'static str; 2], at: &str) -> Result<Option<String>, String> {
    Ok(match json::text(object, name[0], at)? {
        Some(text) => Some(text),
        None => json::text(object, name[1], at)?,
    })
}

/// Makes an exchange, without its origin, of a buffered trace, wrapped or bare.
pub(super) fn buffered(value: &Value, options: &Options) -> Result<Exchange, String> {
    if !value.is_object() {
        return Err(format!("expected an object, found {}", kind(value)));
    }
    if SOCKET.iter().any(|key| value.get(key).is_some()) {
        return Err(
            "is a trace of a transport socket: only those of the HTTP tap filter can be replayed".to_owned()
        );
    }
    let trace = match get(value, BUFFERED, "")? {
        Some(trace) => trace,
        None if value.get("request").is_some() => value,
        None => return Err("`http_buffered_trace` is missing".to_owned()),
    };
    let request = get(trace, MEMBERS[0], "")?.ok_or("`request` is missing")?;
    let response = get(trace, MEMBERS[1], "")?;
    let start_ns = received(request, "request.")?;
    let end_ns = response.map(|response| received(response, "response.")).transpose()?.flatten();
    let connection = get(trace, MEMBERS[2], "")?;
    let response = response.map(|response| message(response, "response.")).transpose()?;
    let parts = Parts {
        request: message(request, "request.")?,
        response,
        start_ns,
        end_ns,
        address: connection.and_then(remote_address),
    };
    parts.exchange(options)
}

/// What a trace says, before it is made an exchange.
#[derive(Default)]
struct Parts {
    request: Message,
    response: Option<Message>,
    start_ns: Option<u64>,
    end_ns: Option<u64>,
    address: Option<SocketAddr>,
}

impl Parts {
    fn exchange(self, options: &Options) -> Result<Exchange, String> {
        let known = Known { authority: options.authority.as_deref().map(str::as_bytes), ..Known::default() };
        let mut request = self.request;
        request.headers = normal::request(request.headers, known)
            .map_err(|reason| format!("`request.headers`: {reason}"))?;
        request.body_truncated |= request.body.is_empty() && normal::declares_body(&request.headers);
        let mut response = self.response.filter(|response| !response.headers.is_empty());
        if let Some(response) = &mut response {
            response.headers = normal::response(std::mem::take(&mut response.headers), None)
                .map_err(|reason| format!("`response.headers`: {reason}"))?;
            let bodiless =
                normal::is_bodiless(request.headers.get(b":method"), response.headers.get(b":status"));
            response.body_truncated |=
                !bodiless && response.body.is_empty() && normal::declares_body(&response.headers);
        }
        let duration = self.start_ns.zip(self.end_ns).and_then(|(start, end)| end.checked_sub(start));
        Ok(Exchange {
            origin: String::new(),
            start_ns: self.start_ns,
            duration: duration.map(Duration::from_nanos),
            downstream: Downstream {
                address: self.address,
                protocol: Protocol::default(),
                connection_id: None,
                tls: normal::is_https(&request.headers),
            },
            request,
            response,
            abort_after: None,
            upstream_cluster: None,
        })
    }
}

fn message(value: &Value, at: &str) -> Result<Message, String> {
    let mut message = Message {
        headers: lines(value, "headers", at)?,
        trailers: normal::trailers(lines(value, "trailers", at)?)
            .map_err(|reason| format!("`{at}trailers`: {reason}"))?,
        ..Message::default()
    };
    if let Some(body) = json::object(value, "body", at)? {
        chunk(body, &format!("{at}body."), usize::MAX, &mut message)?;
    }
    Ok(message)
}

/// Adds a body or a part of one.
fn chunk(body: &Value, at: &str, limit: usize, message: &mut Message) -> Result<(), String> {
    let bytes = match get_text(body, ["as_bytes", "asBytes"], at)? {
        Some(text) => json::base64(&text, &format!("{at}as_bytes"))?,
        None => get_text(body, ["as_string", "asString"], at)?.unwrap_or_default().into_bytes(),
    };
    let truncated = body.get("truncated").and_then(Value::as_bool).unwrap_or_default();
    if message.body.len().saturating_add(bytes.len()) <= limit {
        message.body.extend_from_slice(&bytes);
        message.body_truncated |= truncated;
    } else {
        message.body_truncated = true;
    }
    Ok(())
}

fn lines(value: &Value, key: &str, at: &str) -> Result<Headers, String> {
    let mut headers = Headers::new();
    for (index, line) in json::list(value, key, at)?.iter().enumerate() {
        let place = format!("{at}{key}[{index}].");
        let name = json::text(line, "key", &place)?.ok_or_else(|| format!("`{place}key` is missing"))?;
        let value = json::text(line, "value", &place)?.unwrap_or_default();
        let raw = get_text(line, ["raw_value", "rawValue"], &place)?.filter(|raw| !raw.is_empty());
        match raw.filter(|_| value.is_empty()) {
            Some(raw) => {
                headers.push(name, json::base64(&raw, &format!("{place}raw_value"))?);
            }
            None => headers.push(name, value),
        }
    }
    Ok(headers)
}

fn received(message: &Value, at: &str) -> Result<Option<u64>, String> {
    let text = get_text(message, ["headers_received_time", "headersReceivedTime"], at)?;
    text.map(|text| {
        time::rfc3339(&text).ok_or_else(|| {
            format!(
                "`{at}headers_received_time` is `{text}`: expected a time such as `2026-01-31T12:00:00.000Z`"
            )
        })
    })
    .transpose()
}

/// The client's address; nothing for one that is no IP address.
fn remote_address(connection: &Value) -> Option<SocketAddr> {
    let either = |value: &'_ Value, names: [&str; 2]| names.iter().find_map(|name| value.get(name)).cloned();
    let remote = either(connection, ["remote_address", "remoteAddress"])?;
    let socket = either(&remote, ["socket_address", "socketAddress"])?;
    let ip = socket.get("address")?.as_str()?.parse().ok()?;
    let port =
        either(&socket, ["port_value", "portValue"]).and_then(|port| port.as_u64()).unwrap_or_default();
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

/// A segment of a streamed trace.
pub(super) struct Segment<'a> {
    value: &'a Value,
    id: String,
}

/// The segment in a value; nothing when it is something else.
pub(super) fn segment(value: &Value) -> Option<Result<Segment<'_>, String>> {
    let value = SEGMENT.iter().find_map(|key| value.get(key))?;
    let id = get_text(value, ["trace_id", "traceId"], "");
    Some(id.map(|id| Segment { value, id: id.unwrap_or_default() }))
}

impl Segment<'_> {
    /// The trace it belongs to.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// A streamed trace being put together.
pub(super) struct Streamed {
    id: String,
    place: String,
    parts: Parts,
}

impl Streamed {
    /// Begins one.
    pub(super) fn new(segment: &Segment<'_>, place: &str) -> Self {
        Self { id: segment.id.clone(), place: place.to_owned(), parts: Parts::default() }
    }

    /// The trace's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Where its first segment stands.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Adds a segment; bodies over `limit` are cut.
    pub(super) fn with(mut self, segment: &Segment<'_>, limit: usize) -> Result<Self, String> {
        let value = segment.value;
        let parts = &mut self.parts;
        if let Some(headers) = get(value, ["request_headers", "requestHeaders"], "")? {
            parts.request.headers = lines(headers, "headers", "request_headers.")?;
            parts.start_ns = received(headers, "request_headers.")?;
        }
        if parts.request.headers.is_empty() {
            return Err(format!(
                "is a segment of trace {} without its request headers before it: segments of one trace must follow one another; \
                 record with `streaming: false`, or one file a trace",
                self.id
            ));
        }
        if let Some(body) = get(value, ["request_body_chunk", "requestBodyChunk"], "")? {
            chunk(body, "request_body_chunk.", limit, &mut parts.request)?;
        }
        if let Some(trailers) = get(value, ["request_trailers", "requestTrailers"], "")? {
            parts.request.trailers = normal::trailers(lines(trailers, "headers", "request_trailers.")?)?;
        }
        let response = parts.response.get_or_insert_default();
        if let Some(headers) = get(value, ["response_headers", "responseHeaders"], "")? {
            response.headers = lines(headers, "headers", "response_headers.")?;
            parts.end_ns = received(headers, "response_headers.")?;
        }
        if let Some(body) = get(value, ["response_body_chunk", "responseBodyChunk"], "")? {
            chunk(body, "response_body_chunk.", limit, response)?;
        }
        if let Some(trailers) = get(value, ["response_trailers", "responseTrailers"], "")? {
            response.trailers = normal::trailers(lines(trailers, "headers", "response_trailers.")?)?;
        }
        Ok(self)
    }

    /// Ends it.
    pub(super) fn exchange(self, options: &Options) -> Result<Exchange, String> {
        self.parts.exchange(options)
    }
}
