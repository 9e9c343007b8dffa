//! What one line of an access log says, field by field, and the exchange that it makes. Knows no form of a log.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::start_time::{self, StartTime};
use crate::exchange::{Downstream, Exchange, Message, Protocol};
use crate::headers::Headers;
use crate::traffic::Options;
use crate::traffic::normal::{self, Known};

/// What a value of the log means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A request header, pseudo headers among them.
    Request(String),
    /// A response header.
    Response(String),
    /// A response trailer.
    Trailer(String),
    /// When the request began.
    Start(StartTime),
    /// The same, as a number of unknown unit or RFC 3339.
    AnyStart,
    /// HTTP version.
    Protocol,
    /// HTTP status.
    Status,
    /// Why Envoy answered itself.
    Flags,
    /// Bytes of the request's body.
    BytesReceived,
    /// Bytes of the response's body.
    BytesSent,
    /// Milliseconds.
    Duration,
    /// The cluster.
    Cluster,
    /// The client's address.
    RemoteAddress,
    /// Set for TLS connections only.
    Tls,
    /// The connection.
    ConnectionId,
    /// The whole request line, `GET /path HTTP/1.1`.
    RequestLine,
    /// Nothing about the exchange.
    Ignored,
}

impl Field {
    /// The meaning of an operator without argument.
    pub(super) fn of_operator(name: &str) -> Self {
        match name {
            "START_TIME" => Self::AnyStart,
            "PROTOCOL" => Self::Protocol,
            "RESPONSE_CODE" => Self::Status,
            "RESPONSE_FLAGS" => Self::Flags,
            "BYTES_RECEIVED" => Self::BytesReceived,
            "BYTES_SENT" => Self::BytesSent,
            "DURATION" => Self::Duration,
            "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Self::Cluster,
            "DOWNSTREAM_REMOTE_ADDRESS"
            | "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
            | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS"
            | "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Self::RemoteAddress,
            "REQUESTED_SERVER_NAME" | "DOWNSTREAM_TLS_VERSION" | "DOWNSTREAM_TLS_CIPHER" => Self::Tls,
            "CONNECTION_ID" => Self::ConnectionId,
            _ => Self::Ignored,
        }
    }

    /// The regular expression of its values, as narrow as can be so that free text beside it cannot run over.
    pub(super) fn pattern(&self) -> &'static str {
        match self {
            Self::Request(name) if name == ":method" => r"[!-~]*?",
            Self::Request(name) if name == ":authority" => r#"[^\s/"]*"#,
            Self::Request(name) if name == ":scheme" => r"[A-Za-z][A-Za-z0-9+.-]*|-|",
            Self::Start(format) if *format == StartTime::default() => r"[0-9T:.Z+-]*",
            Self::Protocol => r"HTTP/[0-9.]+|-|",
            Self::Status | Self::BytesReceived | Self::BytesSent | Self::Duration | Self::ConnectionId => {
                r"[0-9]*|-"
            }
            Self::Flags => r"[A-Za-z0-9_,]*|-",
            Self::RemoteAddress | Self::Cluster | Self::Tls => r"\S*",
            _ => ".*?",
        }
    }

    /// Takes a value; `-` and nothing mean that there is none.
    ///
    /// # Errors
    /// The value cannot be.
    pub(super) fn apply(&self, value: &[u8], record: &mut Record) -> Result<(), String> {
        if value == b"-" || value.is_empty() {
            return Ok(());
        }
        let wrong = |what: &str| format!("`{}` is no {what}", value.escape_ascii());
        let text = || std::str::from_utf8(value).map(str::trim).map_err(|_| wrong("UTF-8"));
        let number = |what| text()?.parse::<u64>().map_err(|_| wrong(what));
        match self {
            Self::Request(name) => record.request_header(name, value),
            Self::Response(name) => record.response.push(name, value),
            Self::Trailer(name) => record.trailers.push(name, value),
            Self::Start(format) => {
                record.start_ns = Some(format.read(text()?).ok_or_else(|| wrong("time of that format"))?)
            }
            Self::AnyStart => {
                let text = text()?;
                let start = StartTime::default().read(text).or_else(|| start_time::bare_number(text));
                record.start_ns =
                    Some(start.ok_or_else(|| wrong("time such as `2026-01-31T12:00:00.000Z`"))?);
            }
            Self::Protocol => record.protocol = normal::protocol(text()?),
            Self::Status => record.status = Some(number("status")?),
            Self::Flags => record.flags = text()?.to_owned(),
            Self::BytesReceived => record.received = number("number of bytes")? > 0,
            Self::BytesSent => record.sent = number("number of bytes")? > 0,
            Self::Duration => {
                record.duration = Some(duration(text()?).ok_or_else(|| wrong("number of milliseconds"))?)
            }
            Self::Cluster => record.cluster = Some(text()?.to_owned()),
            Self::RemoteAddress => record.address = address(text()?).or(record.address),
            Self::Tls => record.tls = true,
            Self::ConnectionId => record.connection_id = Some(number("connection id")?),
            Self::RequestLine => {
                let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
                let names = [":method", ":path"];
                for (name, word) in names.into_iter().zip(&mut words) {
                    Self::Request(name.to_owned()).apply(word, record)?;
                }
                if let Some(version) = words.next() {
                    Self::Protocol.apply(version, record)?;
                }
            }
            Self::Ignored => {}
        }
        Ok(())
    }
}

/// Milliseconds, or a number with a unit.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let seconds = match unit.trim() {
        "" | "ms" => 1e-3,
        "s" => 1.0,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    let digits = &text[..text.len() - unit.len()];
    match digits.parse::<u64>() {
        Ok(millis) if seconds == 1e-3 => Some(Duration::from_millis(millis)),
        _ => Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * seconds).ok(),
    }
}

/// An address with port, or without: port 0. Nothing for one that is no IP address.
fn address(text: &str) -> Option<SocketAddr> {
    let ip = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    text.parse().ok().or_else(|| Some(SocketAddr::new(ip().ok()?, 0)))
}

/// What one line says.
#[derive(Debug, Default)]
pub(super) struct Record {
    method: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    authority: Option<Vec<u8>>,
    scheme: Option<Vec<u8>>,
    request: Headers,
    response: Headers,
    trailers: Headers,
    start_ns: Option<u64>,
    duration: Option<Duration>,
    protocol: Option<Protocol>,
    status: Option<u64>,
    flags: String,
    received: bool,
    sent: bool,
    cluster: Option<String>,
    address: Option<SocketAddr>,
    tls: bool,
    connection_id: Option<u64>,
}

impl Record {
    fn request_header(&mut self, name: &str, value: &[u8]) {
        // What the client asked for, before a route rewrote it.
        if name == "x-envoy-original-path" {
            self.path = Some(value.to_vec());
            return;
        }
        let pseudo = match name {
            ":method" => &mut self.method,
            ":path" => &mut self.path,
            ":authority" | "host" => &mut self.authority,
            ":scheme" => &mut self.scheme,
            _ => {
                // A format may log one header in several places.
                if self.request.get(name.as_bytes()).is_none() {
                    self.request.push(name, value);
                }
                return;
            }
        };
        if pseudo.is_none() {
            *pseudo = Some(value.to_vec());
        }
    }

    /// Makes an exchange, without its origin.
    ///
    /// # Errors
    /// There is no request that could be replayed.
    pub(super) fn exchange(self, options: &Options) -> Result<Exchange, String> {
        if self.method.is_none() && self.path.is_none() {
            let flags = if self.flags.is_empty() { "none" } else { &self.flags };
            return Err(format!(
                "has no request: Envoy logged neither method nor path (response flags: {flags})"
            ));
        }
        let forwarded = self.request.get(b"x-forwarded-proto").map(<[u8]>::to_vec);
        let scheme = if self.tls { Some(b"https".to_vec()) } else { forwarded };
        let known = Known {
            method: self.method.as_deref(),
            target: self.path.as_deref(),
            scheme: self.scheme.as_deref().or(scheme.as_deref()),
            authority: self.authority.as_deref().or(options.authority.as_deref().map(str::as_bytes)),
        };
        let headers = normal::request(self.request, known)?;
        let response = match self.status.filter(|status| *status != 0) {
            None => None,
            Some(status) => {
                let status = status.to_string();
                Some(Message {
                    headers: normal::response(self.response, Some(status.as_bytes()))?,
                    body: Vec::new(),
                    body_truncated: self.sent,
                    trailers: normal::trailers(self.trailers)?,
                })
            }
        };
        Ok(Exchange {
            origin: String::new(),
            start_ns: self.start_ns,
            duration: self.duration,
            downstream: Downstream {
                address: self.address,
                protocol: self.protocol.unwrap_or_default(),
                connection_id: self.connection_id,
                tls: self.tls || normal::is_https(&headers),
            },
            request: Message {
                headers,
                body: Vec::new(),
                body_truncated: self.received,
                trailers: Headers::new(),
            },
            response,
            abort_after: None,
            upstream_cluster: self.cluster,
        })
    }
}
