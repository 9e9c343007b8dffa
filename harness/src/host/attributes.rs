//! What `proxy_get_property` answers: attributes of the stream, of the plugin and of the node (section 7 of the semantics). Plain data.

use std::net::SocketAddr;

use super::{Filter, Host, Info, Owner, Phase, Stream, value};
use crate::exchange::Protocol;
use crate::headers::Headers;

mod xds;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No such attribute now.
    NotFound,
    /// It is a group, or a null message (`PROP-03`).
    NotSerializable,
}

type Found = Result<(), Missing>;
type Attribute = fn(Seen<'_>, &[&[u8]], &mut Vec<u8>) -> Found;

/// Who looks: a filter at its stream.
#[derive(Clone, Copy)]
struct Seen<'a> {
    host: &'a Host,
    stream: &'a Stream,
    filter: &'a Filter,
}

/// Writes the value of the property `path` (segments joined by NUL) as `owner` sees it.
pub(crate) fn property(host: &Host, owner: Option<Owner>, path: &[u8], out: &mut Vec<u8>) -> Found {
    if path.is_empty() {
        return Err(Missing::NotSerializable);
    }
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let segments: Vec<&[u8]> = path.split(|byte| *byte == 0).collect();
    let (first, rest) = match segments.split_first() {
        Some((first, rest)) => (*first, rest),
        None => return Err(Missing::NotFound),
    };
    let stream = match owner {
        Some(Owner::Stream { at, filter }) => {
            let stream = &host.streams[at];
            stream.filters.get(filter).filter(|_| stream.phase != Phase::None).map(|filter| (stream, filter))
        }
        _ => None,
    };
    match (first, stream) {
        (b"xds", None) => return xds::node(rest, out),
        (_, Some((stream, filter))) => {
            let seen = Seen { host, stream, filter };
            if let Some(found) = of_stream(seen, first, rest, out) {
                return found;
            }
        }
        _ => {}
    }
    let plugin = owner.and_then(|owner| host.plugin_of(owner)).and_then(|plugin| host.plugins.get(plugin));
    match (first, plugin, stream) {
        (b"plugin_name", Some(plugin), _) => text(plugin.name.as_bytes(), out),
        (b"plugin_root_id", Some(plugin), _) => text(plugin.root_id.as_bytes(), out),
        (b"plugin_vm_id", Some(plugin), _) => text(plugin.vm_id.as_bytes(), out),
        (b"connection_id", _, Some((stream, _))) => number(stream.info.connection_id, out),
        (_, _, Some((stream, _))) if rest.is_empty() => {
            let state = stream.filter_state(&[b"wasm.", first].concat());
            state.map_or(Err(Missing::NotFound), |bytes| text(bytes, out))
        }
        _ => Err(Missing::NotFound),
    }
}

/// Attributes of the stream; absent when the group is not one of them.
fn of_stream(seen: Seen<'_>, group: &[u8], rest: &[&[u8]], out: &mut Vec<u8>) -> Option<Found> {
    let known: Attribute = match group {
        b"request" => request,
        b"response" => response,
        b"connection" => connection,
        b"source" => |seen, rest, out| address(seen.stream.info.source, rest, out),
        b"destination" => |seen, rest, out| address(seen.stream.info.destination, rest, out),
        b"upstream" => upstream,
        b"metadata" => |_, rest, out| match rest {
            [b"filter_metadata"] => text(value::NO_PAIRS, out),
            _ => Err(Missing::NotFound),
        },
        b"filter_state" | b"upstream_filter_state" => filter_state,
        b"xds" => |seen, rest, out| xds::attribute(seen.host, &seen.stream.info, rest, out),
        _ => return None,
    };
    // The only group that is a message of its own: dynamic metadata, and there is none (`PROP-10`).
    if (group, rest) == (b"metadata", &[]) {
        return Some(Ok(()));
    }
    Some(if rest.is_empty() { Err(Missing::NotSerializable) } else { known(seen, rest, out) })
}

fn request(Seen { stream, filter, .. }: Seen<'_>, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    let Info { start_ns, end_ns, protocol, .. } = stream.info;
    let side = &stream.request;
    let readable = filter.request.headers || (stream.phase == Phase::Log && side.present);
    let headers = readable.then_some(&side.headers);
    let content_length = headers.and_then(|headers| headers.get(b"content-length")).and_then(parse_number);
    match rest {
        [b"time"] => return number(start_ns, out),
        [b"protocol"] => return text(protocol_name(protocol).as_bytes(), out),
        [b"duration"] => return end_ns.map_or(Err(Missing::NotFound), |end| number(end - start_ns, out)),
        [b"size"] => return number(content_length.unwrap_or(side.bytes), out),
        [b"total_size"] => {
            return number(side.bytes + headers.map_or(0, |headers| headers.byte_size() as u64), out);
        }
        [b"headers_bytes"] => return number(side.headers.byte_size() as u64, out),
        _ => {}
    }
    let headers = headers.ok_or(Missing::NotFound)?;
    let path = || headers.get(b":path");
    let cut = |path: &[u8]| path.iter().position(|byte| *byte == b'?');
    match rest {
        [b"path"] => optional(path(), out),
        [b"url_path"] => optional(path().map(|path| &path[..cut(path).unwrap_or(path.len())]), out),
        [b"query"] => optional(path().map(|path| cut(path).map_or(&b""[..], |at| &path[at + 1..])), out),
        [b"host"] => optional(headers.get(b":authority"), out),
        [b"scheme"] => optional(headers.get(b":scheme"), out),
        [b"method"] => optional(headers.get(b":method"), out),
        [b"referer"] => optional(headers.get(b"referer"), out),
        [b"useragent"] => optional(headers.get(b"user-agent"), out),
        [b"id"] => optional(headers.get(b"x-request-id"), out),
        [b"headers", rest @ ..] => map(Some(headers), rest, out),
        _ => Err(Missing::NotFound),
    }
}

fn response(Seen { stream, filter, .. }: Seen<'_>, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    let info = &stream.info;
    let side = &stream.response;
    let log = stream.phase == Phase::Log;
    let headers = (filter.response.headers || (log && side.present)).then_some(&side.headers);
    let trailers = (filter.response.trailers || (log && side.has_trailers)).then_some(&side.trailers);
    let headers_bytes = side.headers.byte_size() as u64;
    match rest {
        [b"code"] => info.code.map_or(Err(Missing::NotFound), |code| number(u64::from(code), out)),
        [b"code_details"] if info.details.is_empty() => Err(Missing::NotFound),
        [b"code_details"] => text(info.details.as_bytes(), out),
        [b"flags"] => number(info.flags, out),
        [b"size"] => number(side.bytes, out),
        [b"total_size"] => number(side.bytes + headers_bytes, out),
        [b"headers_bytes"] => number(headers_bytes, out),
        [b"headers", rest @ ..] => map(headers, rest, out),
        [b"trailers", rest @ ..] => map(trailers, rest, out),
        [b"grpc_status"] => {
            let own = trailers.and_then(|map| map.get(b"grpc-status"));
            let own = own.or_else(|| headers.and_then(|map| map.get(b"grpc-status"))).and_then(parse_number);
            match (own, info.code) {
                (Some(status), _) => number(status, out),
                (None, Some(code)) => number(crate::host::grpc_status(u32::from(code)), out),
                (None, None) => Err(Missing::NotFound),
            }
        }
        [b"backend_latency"] if log && info.upstream => number(info.upstream_ns, out),
        _ => Err(Missing::NotFound),
    }
}

fn connection(seen: Seen<'_>, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    let info = &seen.stream.info;
    match rest {
        [b"id"] => number(info.connection_id, out),
        [b"mtls"] => boolean(false, out),
        [b"requested_server_name"] => text(b"", out),
        [b"tls_version"] if info.tls => text(b"TLSv1.3", out),
        _ => Err(Missing::NotFound),
    }
}

fn upstream(Seen { host, stream, .. }: Seen<'_>, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    let info = &stream.info;
    match rest {
        [b"request_attempt_count"] => number(u64::from(info.upstream), out),
        [b"num_endpoints"] => {
            let cluster = info.cluster.as_deref().ok_or(Missing::NotFound)?;
            number(u64::from(host.clusters.endpoints(cluster)), out)
        }
        [b"transport_failure_reason"] if info.upstream => text(b"", out),
        [b"cx_pool_ready_duration"] if info.upstream => number(0, out),
        [b"locality"] if info.upstream => text(b"", out),
        _ => Err(Missing::NotFound),
    }
}

fn filter_state(seen: Seen<'_>, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    match rest {
        [key] => optional(seen.stream.filter_state(key), out),
        _ => Err(Missing::NotFound),
    }
}

fn address(address: SocketAddr, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    match rest {
        [b"address"] => text(address.to_string().as_bytes(), out),
        [b"port"] => number(u64::from(address.port()), out),
        _ => Err(Missing::NotFound),
    }
}

/// A header map as a whole, or the joined value of one name.
fn map(headers: Option<&Headers>, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    match (headers, rest) {
        (Some(headers), []) => {
            value::write_headers(headers, out);
            Ok(())
        }
        (None, []) => text(value::NO_PAIRS, out),
        (Some(headers), [name]) => optional(headers.joined(name).as_deref(), out),
        _ => Err(Missing::NotFound),
    }
}

pub(crate) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http10 => "HTTP/1.0",
        Protocol::Http11 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
        Protocol::Http3 => "HTTP/3",
    }
}

fn parse_number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) -> Found {
    bytes.map_or(Err(Missing::NotFound), |bytes| text(bytes, out))
}

fn text(bytes: &[u8], out: &mut Vec<u8>) -> Found {
    out.extend_from_slice(bytes);
    Ok(())
}

fn number(number: u64, out: &mut Vec<u8>) -> Found {
    text(&number.to_le_bytes(), out)
}

fn boolean(value: bool, out: &mut Vec<u8>) -> Found {
    text(&[u8::from(value)], out)
}
