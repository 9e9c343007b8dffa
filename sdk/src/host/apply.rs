//! The only place where a [`Decision`] becomes host calls.

use super::stream::{Point, Until};
use super::timers::Sleeper;
use super::wire;
use super::{Callbacks, HostError, PluginHost, Registered, Status, abi, logger};
use crate::config::joined;
use crate::{Decision, Flow, HeaderMap, LocalReply, Mutation};

/// What a decision has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The stream goes on.
    Continue,
    /// The stream waits.
    Hold(Until),
    /// The body is to be held.
    Buffer,
    /// The stream has been answered or reset.
    Over,
    /// The callout could not be made: `on_callout_reply` hears so and decides anew.
    Refused,
    /// The same of a gRPC call, and `on_grpc_reply`.
    GrpcRefused,
}

/// Carries a decision out. `known` is the map that mutations change, where it has been read in this callback.
///
/// # Errors
/// What the host refuses, and what it must not get; in the latter case nothing has been changed.
pub(crate) fn apply<F: Registered>(
    decision: &Decision,
    plugin: &PluginHost,
    stream: u32,
    point: Point,
    known: Option<&HeaderMap>,
) -> Result<Applied, HostError> {
    check::<F>(decision)?;
    let mut done: &[Mutation] = &[];
    for (index, mutation) in decision.mutations.iter().enumerate() {
        mutate(mutation, point, known, done)?;
        done = decision.mutations.get(..=index).unwrap_or_default();
    }
    if let Some(explanation) = &decision.explanation {
        logger::say(log::Level::Debug, || joined("decision: ", &explanation.line(), ""));
    }
    match &decision.flow {
        Flow::Continue => Ok(Applied::Continue),
        Flow::Buffer => Ok(Applied::Buffer),
        Flow::Reply(reply) => answer(reply).map(|()| Applied::Over),
        Flow::Reset => abi::close_stream(point.side).map(|()| Applied::Over),
        // Known when the module is built, so a filter that never waits carries no timers.
        Flow::Wait(_) if !F::CALLBACKS.has(Callbacks::ON_TIMER) => Ok(Applied::Continue),
        Flow::Await(_) if !F::CALLBACKS.has(Callbacks::ON_CALLOUT_REPLY) => Ok(Applied::Continue),
        Flow::AwaitGrpc(_) if !F::CALLBACKS.has(Callbacks::ON_GRPC_REPLY) => Ok(Applied::Continue),
        Flow::Wait(time) => {
            let key = plugin.sleep(*time, Sleeper::Stream(stream, point.side))?;
            Ok(Applied::Hold(Until::Timer(key)))
        }
        Flow::Await(callout) => match plugin.call(callout, Some((stream, point.side))) {
            Ok(token) => Ok(Applied::Hold(Until::Callout(token))),
            Err(HostError { status: Status::BadArgument | Status::InternalFailure, .. }) => {
                Ok(Applied::Refused)
            }
            Err(error) => Err(error),
        },
        Flow::AwaitGrpc(call) => match plugin.call_grpc(call, Some((stream, point.side))) {
            Ok(token) => Ok(Applied::Hold(Until::Callout(token))),
            Err(HostError { status: Status::BadArgument | Status::InternalFailure, .. }) => {
                Ok(Applied::GrpcRefused)
            }
            Err(error) => Err(error),
        },
    }
}

/// What a filter may not want: looked at before anything is changed.
#[inline(never)]
fn check<F: Registered>(decision: &Decision) -> Result<(), HostError> {
    for mutation in &decision.mutations {
        let (name, value): (_, &[u8]) = match mutation {
            Mutation::Append(name, value)
            | Mutation::AddIfAbsent(name, value)
            | Mutation::Set(name, value) => (name, value.as_slice()),
            Mutation::Remove(name) => (name, &[]),
            Mutation::FilterState(..) | Mutation::Property(..) | Mutation::ClearRouteCache => continue,
        };
        if !wire::is_name(name.as_bytes()) || !wire::is_value(value) {
            return Err(HostError::new("proxy_replace_header_map_value", Status::BadArgument));
        }
    }
    let (callback, call) = match &decision.flow {
        Flow::Await(_) => (Callbacks::ON_CALLOUT_REPLY, "on_callout_reply"),
        Flow::AwaitGrpc(_) => (Callbacks::ON_GRPC_REPLY, "on_grpc_reply"),
        Flow::Wait(_) => (Callbacks::ON_TIMER, "on_timer"),
        // Below 200 a client waits for more, from 600 on nothing is defined (`FLOW-28`).
        Flow::Reply(reply) if !(200..600).contains(&reply.status) => {
            return Err(HostError::new("proxy_send_local_response", Status::BadArgument));
        }
        _ => return Ok(()),
    };
    if F::CALLBACKS.has(callback) {
        return Ok(());
    }
    // Nothing would ever wake the stream.
    Err(HostError::new(call, Status::Unimplemented))
}

#[inline(never)]
fn mutate(
    mutation: &Mutation,
    point: Point,
    known: Option<&HeaderMap>,
    done: &[Mutation],
) -> Result<(), HostError> {
    let map = point.map();
    // Whether the map is known to lack a name: then `add` does for half the price of `replace` (`HDR-21`), and nothing is to be
    // removed. `host` is `:authority` (`HDR-12`).
    let absent = |name: &str| {
        known.is_some_and(|known| {
            name != "host"
                && !name.bytes().any(|byte| byte.is_ascii_uppercase())
                && known.first(name).is_none()
        }) && !done.iter().any(|done| header(done).is_some_and(|other| other.eq_ignore_ascii_case(name)))
    };
    match mutation {
        Mutation::Append(name, value) => abi::add_header(map, name.as_bytes(), value.as_slice()),
        Mutation::Set(name, value) if absent(name) => abi::add_header(map, name.as_bytes(), value.as_slice()),
        Mutation::Set(name, value) => abi::replace_header(map, name.as_bytes(), value.as_slice()),
        Mutation::AddIfAbsent(name, value) => {
            if absent(name) || abi::header_value(map, name.as_bytes())?.is_none() {
                abi::add_header(map, name.as_bytes(), value.as_slice())?;
            }
            Ok(())
        }
        Mutation::Remove(name) if absent(name) => Ok(()),
        Mutation::Remove(name) => abi::remove_header(map, name.as_bytes()),
        Mutation::FilterState(path, value) => {
            let arguments = wire::filter_state(path.as_bytes(), value.as_slice());
            abi::call_foreign_function(b"set_envoy_filter_state", &arguments).map(|_| ())
        }
        Mutation::Property(name, value) => abi::set_property(name.as_bytes(), value.as_slice()),
        Mutation::ClearRouteCache => abi::call_foreign_function(b"clear_route_cache", b"").map(|_| ()),
    }
}

/// The header that a mutation gives a line.
fn header(mutation: &Mutation) -> Option<&str> {
    match mutation {
        Mutation::Append(name, _) | Mutation::AddIfAbsent(name, _) | Mutation::Set(name, _) => Some(name),
        Mutation::Remove(_)
        | Mutation::FilterState(..)
        | Mutation::Property(..)
        | Mutation::ClearRouteCache => None,
    }
}

fn answer(reply: &LocalReply) -> Result<(), HostError> {
    let headers = wire::lines("proxy_send_local_response", &reply.headers)?;
    // -1 lets Envoy derive it from the HTTP status (`FLOW-29`).
    let grpc_status = reply.grpc_status.map_or(-1, i32::from);
    abi::local_reply(
        u32::from(reply.status),
        reply.details.as_bytes(),
        reply.body.as_slice(),
        &headers,
        grpc_status,
    )
}

/// Ends a stream whose callback failed, so that nothing passes that the filter has not let pass.
///
/// # Errors
/// The host refuses even that; the stream must stay held.
pub(crate) fn fail_closed(point: Point) -> Result<(), HostError> {
    abi::local_reply(503, b"weir_host_error", b"", b"", -1).or_else(|_| abi::close_stream(point.side))
}

impl Point {
    /// Lets the stream go on, from outside of its callbacks. Inside of one the returned value does (`FLOW-14`). A response is only
    /// ever continued from a point that one of its own callbacks made, so never before its headers are there (`DIE-01`).
    pub(crate) fn go_on(self) -> Result<(), HostError> {
        abi::continue_stream(self.side)
    }
}
