//! Answers of callouts and gRPC calls: whose they are, and who hears of them.

use super::super::plugin::lent;
use super::super::stream::Until;
use super::super::views::read_map;
use super::super::wire::{BufferType, MapType};
use super::super::{Callbacks, HostError, Registered, abi, grpc};
use super::{Dispatcher, failed};
use crate::{CalloutId, CalloutReply, GrpcReply, HttpFilter, names};

impl<F: HttpFilter + Registered> Dispatcher<F> {
    /// `proxy_on_http_call_response`: always to the root context (`CALL-05`), also after the stream's end (`CALL-08`).
    pub fn on_callout_reply(&self, root: u32, token: u32, headers: u32, body_size: u32) {
        let Some(caller) = lent(&self.vm().calls).remove(token) else {
            return;
        };
        let Some(plugin) = self.plugin(caller.root) else {
            return;
        };
        let before = self.enter(root);
        let limit = plugin.filter().callout_body_limit(CalloutId(token));
        let mut reply = Some(read_reply(headers, body_size, limit).unwrap_or_else(|error| {
            failed(&plugin.host, ": answer of a callout", &error);
            CalloutReply::default()
        }));
        if let Some((stream, side)) = caller.stream
            && F::CALLBACKS.has(Callbacks::ON_CALLOUT_REPLY)
        {
            self.resume(stream, side, Until::Callout(token), &mut |filter, state| {
                filter.on_callout_reply(state, reply.take().unwrap_or_default())
            });
        }
        if let Some(reply) = reply
            && F::CALLBACKS.has(Callbacks::ON_PLUGIN_CALLOUT_REPLY)
        {
            plugin.filter().on_plugin_callout_reply(&plugin.host, CalloutId(token), reply);
        }
        self.leave(before);
    }

    /// `proxy_on_grpc_receive`: the answer to a call of one message, and its end (`CALL-22`).
    pub fn on_grpc_receive(&self, root: u32, token: u32, size: u32) {
        self.grpc_reply(root, token, &|limit| grpc::read_reply(size, limit));
    }

    /// `proxy_on_grpc_close`: a call has failed. Comes also for calls that could not be made, whose token nobody knows (`CALL-21`).
    pub fn on_grpc_close(&self, root: u32, token: u32, status: u32) {
        self.grpc_reply(root, token, &|_| grpc::closed(status));
    }

    fn grpc_reply(&self, root: u32, token: u32, read: &dyn Fn(usize) -> GrpcReply) {
        let Some(caller) = lent(&self.vm().calls).remove(token) else {
            return;
        };
        let Some(plugin) = self.plugin(caller.root) else {
            return;
        };
        let before = self.enter(root);
        let mut reply = Some(read(plugin.filter().callout_body_limit(CalloutId(token))));
        if let Some((stream, side)) = caller.stream
            && F::CALLBACKS.has(Callbacks::ON_GRPC_REPLY)
        {
            self.resume(stream, side, Until::Callout(token), &mut |filter, state| {
                filter.on_grpc_reply(state, reply.take().unwrap_or_else(grpc_refused))
            });
        }
        if let Some(reply) = reply
            && F::CALLBACKS.has(Callbacks::ON_PLUGIN_GRPC_REPLY)
        {
            plugin.filter().on_plugin_grpc_reply(&plugin.host, CalloutId(token), reply);
        }
        self.leave(before);
    }
}

/// What is told of a call that could not be made: as Envoy tells of one that reached nobody.
pub(super) fn grpc_refused() -> GrpcReply {
    GrpcReply::failed(14)
}

/// The answer to a callout, while the host holds it. No headers: it broke behind them (`CALL-07`).
fn read_reply(headers: u32, body_size: u32, limit: usize) -> Result<CalloutReply, HostError> {
    if headers == 0 {
        return Ok(CalloutReply::default());
    }
    let headers = read_map(MapType::CalloutHeaders)?;
    let status = headers.first(":status").and_then(names::digits);
    let status = status.and_then(|status| u16::try_from(status).ok());
    let body = match usize::try_from(body_size).unwrap_or(usize::MAX).min(limit) {
        0 => Vec::new(),
        size => abi::buffer(BufferType::CalloutBody, 0, size)?.unwrap_or_default(),
    };
    Ok(CalloutReply { status, headers, body })
}
