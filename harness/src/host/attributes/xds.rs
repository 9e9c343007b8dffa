//! `xds.*`: what Envoy's configuration says about the stream: route, virtual host, cluster, node (`PROP-05`).

use serde_json::Value;

use super::{Found, Missing, number, optional, text};
use crate::host::clusters::State;
use crate::host::{Host, Info, value};

/// What a listener that receives requests says of itself: `TrafficDirection.INBOUND`.
const INBOUND: u64 = 1;

pub(super) fn attribute(host: &Host, info: &Info, rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    let (first, path) = rest.split_first().ok_or(Missing::NotSerializable)?;
    let route = info.route.as_ref();
    match *first {
        // A cluster that does not exist has no name.
        b"cluster_name" => {
            let exists = |name: &&str| !matches!(host.clusters.state(name), State::Unknown);
            optional(info.cluster.as_deref().filter(exists).map(str::as_bytes), out)
        }
        b"cluster_metadata" => {
            let cluster = info.cluster.as_deref().ok_or(Missing::NotFound)?;
            metadata(host.clusters.metadata(cluster), path, out)
        }
        b"route_name" => optional(route.map(|route| route.route().name.as_bytes()), out),
        b"route_metadata" => metadata(route.ok_or(Missing::NotFound)?.route().metadata.as_ref(), path, out),
        b"virtual_host_name" => optional(route.map(|route| route.virtual_host().name.as_bytes()), out),
        b"virtual_host_metadata" => {
            metadata(route.ok_or(Missing::NotFound)?.virtual_host().metadata.as_ref(), path, out)
        }
        b"upstream_host_metadata" if info.upstream => Err(Missing::NotSerializable),
        b"filter_chain_name" => text(b"", out),
        b"listener_direction" => number(INBOUND, out),
        b"listener_metadata" => metadata(None, path, out),
        _ => node(rest, out),
    }
}

/// `xds.node.*`: readable without a stream too (`LOAD-37`).
pub(super) fn node(rest: &[&[u8]], out: &mut Vec<u8>) -> Found {
    match rest {
        [] => Err(Missing::NotSerializable),
        [b"node", b"id"] => text(b"weir", out),
        [b"node", b"cluster"] => text(b"weir", out),
        [b"node", b"metadata"] => text(value::NO_PAIRS, out),
        _ => Err(Missing::NotFound),
    }
}

/// A path into Envoy's `Metadata`: `filter_metadata`, a namespace, keys of nested structs.
fn metadata(metadata: Option<&Value>, path: &[&[u8]], out: &mut Vec<u8>) -> Found {
    let Some((first, keys)) = path.split_first() else {
        // A message as a whole would be its protobuf serialisation: empty when there is none.
        return if metadata.is_none() { Ok(()) } else { Err(Missing::NotSerializable) };
    };
    if *first != b"filter_metadata" {
        return Err(Missing::NotFound);
    }
    let mut found = metadata.and_then(|all| all.get("filter_metadata").or_else(|| all.get("filterMetadata")));
    if keys.is_empty() && found.is_none() {
        return text(value::NO_PAIRS, out);
    }
    for key in keys {
        let key = std::str::from_utf8(key).map_err(|_| Missing::NotFound)?;
        found = found.and_then(|value| value.get(key));
    }
    let found = found.ok_or(Missing::NotFound)?;
    value::write_json(found, out).ok_or(Missing::NotSerializable)
}
