//! Substitution formatters in header values, such as `%REQ(x-user)%`: read once, written for each stream. What is not there writes nothing.
//! Those whose value a replay cannot know, or that tell of Envoy's own machine, are refused by name.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde_json::Value;

use crate::clock::civil;
use crate::headers::Headers;
use crate::host::{ClusterState, Clusters, Info, attributes};

/// What formatters can tell of a stream.
pub(crate) struct Facts<'a> {
    /// The request; absent where the block that is being changed is the request's.
    pub(crate) request: Option<&'a Headers>,
    pub(crate) info: &'a Info,
    /// `%RESPONSE_FLAGS%`; empty when there are none.
    pub(crate) flags: &'a str,
    pub(crate) filter_state: &'a [(Vec<u8>, Vec<u8>)],
    pub(crate) clusters: &'a Clusters,
}

/// A header value.
#[derive(Debug)]
pub(super) struct Format(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    /// The longest it may be follows.
    Command(Command, usize),
}

#[derive(Debug)]
enum Command {
    /// A header, and the one to take where it is missing.
    Request(String, Option<String>),
    Response(String, Option<String>),
    Protocol,
    Remote(Address),
    Local(Address),
    Cluster,
    /// In the notation of `strftime`.
    Time(String),
    Route,
    Code,
    Details,
    Flags,
    Connection,
    FilterState(String),
    /// Namespace and keys.
    Metadata(Of, Vec<String>),
}

#[derive(Clone, Copy, Debug)]
enum Address {
    Whole,
    Ip,
    Port,
}

#[derive(Clone, Copy, Debug)]
enum Of {
    Route,
    VirtualHost,
    Cluster,
}

/// `%START_TIME%` without a format of its own.
const DEFAULT_TIME: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

const KNOWN: &str = "REQ, RESP, PROTOCOL, START_TIME, ROUTE_NAME, UPSTREAM_CLUSTER, RESPONSE_CODE, RESPONSE_CODE_DETAILS, RESPONSE_FLAGS, \
                     CONNECTION_ID, DOWNSTREAM_REMOTE_ADDRESS, DOWNSTREAM_LOCAL_ADDRESS (both also _WITHOUT_PORT), DOWNSTREAM_REMOTE_PORT, \
                     DOWNSTREAM_LOCAL_PORT, FILTER_STATE(key:PLAIN) and METADATA(ROUTE|VIRTUAL_HOST|CLUSTER:namespace:key)";

impl Format {
    /// Reads a value; the error is its reason.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            let (part, after) = command(after)?;
            parts.push(part);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The value for a stream; `block` is the header block that is being changed.
    pub(super) fn value(&self, block: &Headers, facts: &Facts<'_>) -> Cow<'_, [u8]> {
        match self.0.as_slice() {
            [] => Cow::Borrowed(b""),
            [Part::Text(text)] => Cow::Borrowed(text.as_bytes()),
            parts => {
                let mut out = Vec::new();
                for part in parts {
                    match part {
                        Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Part::Command(command, longest) => {
                            let start = out.len();
                            command.write(block, facts, &mut out);
                            out.truncate(start.saturating_add(*longest));
                        }
                    }
                }
                Cow::Owned(out)
            }
        }
    }
}

/// Reads what follows a `%`: a command, its arguments, its length, the closing `%`.
fn command(text: &str) -> Result<(Part, &str), String> {
    let letter = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    let open =
        || format!("`%{text}`: expected a command such as %REQ(name)%; a percent sign is written `%%`");
    let end = text.find(|other| !letter(other)).filter(|end| *end > 0).ok_or_else(open)?;
    let (name, mut rest) = text.split_at(end);
    let mut arguments = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let (inside, after) = inner.split_once(')').ok_or_else(open)?;
        (arguments, rest) = (Some(inside), after);
    }
    let mut longest = None;
    if let Some(after) = rest.strip_prefix(':') {
        let end = after.find(|other: char| !other.is_ascii_digit()).ok_or_else(open)?;
        longest = Some(after[..end].parse::<usize>().map_err(|_| open())?);
        rest = &after[end..];
    }
    let rest = rest.strip_prefix('%').ok_or_else(open)?;
    let command = named(name, arguments)?;
    let cut = matches!(
        command,
        Command::Request(..) | Command::Response(..) | Command::FilterState(_) | Command::Metadata(..)
    );
    if longest.is_some() && !cut {
        return Err(format!("%{name}% takes no length"));
    }
    Ok((Part::Command(command, longest.unwrap_or(usize::MAX)), rest))
}

fn named(name: &str, arguments: Option<&str>) -> Result<Command, String> {
    let given = arguments.filter(|arguments| !arguments.is_empty());
    let needed = |example: &str| given.ok_or_else(|| format!("%{name}% requires parameters: {example}"));
    let command = match name {
        "REQ" | "RESP" => {
            let (first, other) = match needed("%REQ(name)%, %REQ(name?other)%")?.split_once('?') {
                Some((first, other)) => (first, Some(header(other, name))),
                None => (needed("")?, None),
            };
            let first = header(first, name);
            return Ok(if name == "REQ" {
                Command::Request(first, other)
            } else {
                Command::Response(first, other)
            });
        }
        "START_TIME" => {
            let format = given.unwrap_or(DEFAULT_TIME);
            write_time(0, format, &mut Vec::new()).ok_or_else(|| {
                format!(
                    "%START_TIME({format})%: the harness knows %Y %m %d %H %M %S %F %T %s %z and %1f to %9f"
                )
            })?;
            return Ok(Command::Time(format.to_owned()));
        }
        "FILTER_STATE" => {
            let plain = needed("%FILTER_STATE(wasm.name:PLAIN)%")?.strip_suffix(":PLAIN");
            let key = plain.ok_or(
                "%FILTER_STATE(key)% is supported by the harness as PLAIN only: %FILTER_STATE(key:PLAIN)%",
            )?;
            return Ok(Command::FilterState(key.to_owned()));
        }
        "METADATA" => return metadata(needed("%METADATA(ROUTE:namespace:key)%")?),
        "PROTOCOL" => Command::Protocol,
        "DOWNSTREAM_REMOTE_ADDRESS" => Command::Remote(Address::Whole),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Command::Remote(Address::Ip),
        "DOWNSTREAM_REMOTE_PORT" => Command::Remote(Address::Port),
        "DOWNSTREAM_LOCAL_ADDRESS" => Command::Local(Address::Whole),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Command::Local(Address::Ip),
        "DOWNSTREAM_LOCAL_PORT" => Command::Local(Address::Port),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => Command::Cluster,
        "ROUTE_NAME" => Command::Route,
        "RESPONSE_CODE" => Command::Code,
        "RESPONSE_CODE_DETAILS" => Command::Details,
        "RESPONSE_FLAGS" => Command::Flags,
        "CONNECTION_ID" => Command::Connection,
        _ => return Err(format!("%{name}% is not supported by the harness, which knows {KNOWN}")),
    };
    if arguments.is_some() {
        return Err(format!("%{name}% takes no parameters"));
    }
    Ok(command)
}

/// A header's name as it is kept; `host` is `:authority` in requests.
fn header(name: &str, command: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name == "host" && command == "REQ" { ":authority".to_owned() } else { name }
}

fn metadata(arguments: &str) -> Result<Command, String> {
    let mut parts = arguments.split(':');
    let of = match parts.next() {
        Some("ROUTE") => Of::Route,
        Some("VIRTUAL_HOST") => Of::VirtualHost,
        Some("CLUSTER") => Of::Cluster,
        _ => {
            let reason = "the harness knows metadata of ROUTE, VIRTUAL_HOST and CLUSTER";
            return Err(format!("%METADATA({arguments})%: {reason}"));
        }
    };
    let keys: Vec<String> = parts.map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(format!(
            "%METADATA({arguments})%: expected a namespace, as in %METADATA(ROUTE:namespace:key)%"
        ));
    }
    Ok(Command::Metadata(of, keys))
}

impl Command {
    fn write(&self, block: &Headers, facts: &Facts<'_>, out: &mut Vec<u8>) {
        let info = facts.info;
        match self {
            Self::Request(name, other) => {
                write_header(facts.request.unwrap_or(block), name, other.as_deref(), out)
            }
            // A request is changed before there is a response.
            Self::Response(..) if facts.request.is_none() => {}
            Self::Response(name, other) => write_header(block, name, other.as_deref(), out),
            Self::Protocol => out.extend_from_slice(attributes::protocol_name(info.protocol).as_bytes()),
            Self::Remote(part) => write_address(info.source, *part, out),
            Self::Local(part) => write_address(info.destination, *part, out),
            Self::Cluster => {
                let known = |name: &&str| !matches!(facts.clusters.state(name), ClusterState::Unknown);
                out.extend_from_slice(info.cluster.as_deref().filter(known).unwrap_or_default().as_bytes());
            }
            Self::Time(format) => drop(write_time(info.start_ns, format, out)),
            Self::Route => {
                let name = info.route.as_ref().map(|route| route.route().name.as_str());
                out.extend_from_slice(name.unwrap_or_default().as_bytes());
            }
            Self::Code => out.extend_from_slice(info.code.unwrap_or(0).to_string().as_bytes()),
            Self::Details => out.extend_from_slice(info.details.as_bytes()),
            Self::Flags if facts.flags.is_empty() => out.push(b'-'),
            Self::Flags => out.extend_from_slice(facts.flags.as_bytes()),
            Self::Connection => out.extend_from_slice(info.connection_id.to_string().as_bytes()),
            Self::FilterState(key) => {
                let found = facts.filter_state.iter().find(|(known, _)| known == key.as_bytes());
                out.extend_from_slice(found.map(|(_, value)| value.as_slice()).unwrap_or_default());
            }
            Self::Metadata(of, keys) => {
                let route = info.route.as_ref();
                let all = match of {
                    Of::Route => route.and_then(|route| route.route().metadata.as_ref()),
                    Of::VirtualHost => route.and_then(|route| route.virtual_host().metadata.as_ref()),
                    Of::Cluster => info.cluster.as_deref().and_then(|name| facts.clusters.metadata(name)),
                };
                let all =
                    all.and_then(|all| all.get("filter_metadata").or_else(|| all.get("filterMetadata")));
                if let Some(value) = keys.iter().try_fold(all, |found, key| Some(found?.get(key))).flatten() {
                    write_value(value, out);
                }
            }
        }
    }
}

/// The first line of a header.
fn write_header(headers: &Headers, name: &str, other: Option<&str>, out: &mut Vec<u8>) {
    let value = headers.get(name.as_bytes()).or_else(|| headers.get(other?.as_bytes()));
    out.extend_from_slice(value.unwrap_or_default());
}

fn write_address(address: SocketAddr, part: Address, out: &mut Vec<u8>) {
    let text = match part {
        Address::Whole => address.to_string(),
        Address::Ip => address.ip().to_string(),
        Address::Port => address.port().to_string(),
    };
    out.extend_from_slice(text.as_bytes());
}

/// A value of metadata: strings as they are, anything else as compact JSON.
fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => out.extend_from_slice(text.as_bytes()),
        other => out.extend_from_slice(whole(other).to_string().as_bytes()),
    }
}

/// Numbers without a fraction are written without one, as protobuf does.
fn whole(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and below 2^53")]
            Some(float) if float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 => {
                (float as i64).into()
            }
            _ => value.clone(),
        },
        Value::Array(values) => values.iter().map(whole).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), whole(value))).collect(),
        other => other.clone(),
    }
}

/// Writes a time in a `strftime` notation; nothing where the notation has more than is known here.
fn write_time(time_ns: u64, format: &str, out: &mut Vec<u8>) -> Option<()> {
    let seconds = time_ns / 1_000_000_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        let text = match (letter, if letter == '%' { letters.next()? } else { letter }) {
            ('%', 'Y') => format!("{year:04}"),
            ('%', 'm') => format!("{month:02}"),
            ('%', 'd') => format!("{day:02}"),
            ('%', 'H') => format!("{hour:02}"),
            ('%', 'M') => format!("{minute:02}"),
            ('%', 'S') => format!("{second:02}"),
            ('%', 'F') => format!("{year:04}-{month:02}-{day:02}"),
            ('%', 'T') => format!("{hour:02}:{minute:02}:{second:02}"),
            ('%', 's') => seconds.to_string(),
            ('%', 'z') => "+0000".to_owned(),
            ('%', digits @ '1'..='9') if letters.next() == Some('f') => {
                let digits = digits.to_digit(10)? as usize;
                format!("{:09}", time_ns % 1_000_000_000)[..digits].to_owned()
            }
            ('%', _) => return None,
            (letter, _) => letter.to_string(),
        };
        out.extend_from_slice(text.as_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests;
