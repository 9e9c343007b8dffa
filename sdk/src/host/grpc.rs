//! gRPC calls with one message each way: made, and their answers handed out.

use super::wire::{self, BufferType, Side};
use super::{Callbacks, HostError, PluginHost, Status, abi, logger};
use crate::{CalloutId, GrpcCall, GrpcReply};

/// gRPC's own status for a message that is too long.
const RESOURCE_EXHAUSTED: u32 = 8;
/// And for what nobody can explain.
const INTERNAL: u32 = 13;

impl PluginHost {
    /// Makes a gRPC call that no stream waits for; the answer goes to
    /// [`HttpFilter::on_plugin_grpc_reply`](crate::HttpFilter::on_plugin_grpc_reply), or nowhere when that is not registered.
    ///
    /// # Errors
    /// [`Status::InternalFailure`] for a cluster that does not exist or has no healthy host; no answer comes then.
    /// [`Status::BadArgument`] for a cluster without a name, or a timeout of 0.
    pub fn grpc_callout(&self, call: &GrpcCall) -> Result<CalloutId, HostError> {
        self.call_grpc(call, None).map(CalloutId)
    }

    /// Makes a call and notes who gets the answer.
    pub(crate) fn call_grpc(&self, call: &GrpcCall, stream: Option<(u32, Side)>) -> Result<u32, HostError> {
        let timeout_ms = wire::timeout_ms(call.timeout);
        if call.cluster.is_empty() || timeout_ms == 0 {
            return Err(HostError::new("proxy_grpc_call", Status::BadArgument));
        }
        let metadata = wire::lines_or_none("proxy_grpc_call", &call.metadata)?;
        let token = abi::grpc_call(
            &wire::grpc_service(call.cluster.as_bytes()),
            call.service.as_bytes(),
            call.method.as_bytes(),
            &metadata,
            call.message.as_slice(),
            timeout_ms,
        )?;
        self.note_call(token, Callbacks::ON_GRPC_REPLY | Callbacks::ON_PLUGIN_GRPC_REPLY, stream);
        Ok(token)
    }
}

/// The answer to a call, while the host holds it.
pub(crate) fn read_reply(size: u32, limit: usize) -> GrpcReply {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > limit {
        return GrpcReply::failed(RESOURCE_EXHAUSTED);
    }
    let message = match size {
        0 => Ok(Some(Vec::new())),
        size => abi::buffer(BufferType::GrpcMessage, 0, size),
    };
    match message {
        Ok(message) => GrpcReply { status: 0, message: message.unwrap_or_default() },
        Err(error) => {
            logger::failed("answer of a gRPC call", &error);
            GrpcReply::failed(INTERNAL)
        }
    }
}

/// The end of a call that brought no message. A host that closes with success has lost it.
pub(crate) fn closed(status: u32) -> GrpcReply {
    GrpcReply::failed(if status == 0 { INTERNAL } else { status })
}
