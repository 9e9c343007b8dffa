//! gRPC calls of the host in memory: what was asked, and the answers that a test gives.

use super::{Host, state, stream};
use crate::host::Callbacks;
use crate::{GrpcCall, GrpcReply};

impl Host {
    /// The gRPC calls that are not answered, oldest first.
    #[must_use]
    pub fn grpc_calls(&self) -> Vec<GrpcCall> {
        self.state.borrow().grpc_calls.iter().map(|call| call.callout.clone()).collect()
    }

    /// Answers the oldest gRPC call: with its message, or a status that is not 0 (`CALL-22`).
    ///
    /// # Panics
    /// No gRPC call is waiting for an answer.
    #[track_caller]
    #[expect(
        clippy::panic,
        clippy::needless_pass_by_value,
        reason = "an assertion of the test; reads best with a literal"
    )]
    pub fn answer_grpc(&mut self, reply: GrpcReply) {
        let Some(call) = self.state.borrow_mut().grpc_calls.pop_front() else {
            panic!("no gRPC call is waiting for an answer");
        };
        self.deliver_grpc(&call, &reply);
    }

    pub(super) fn deliver_grpc(&self, call: &state::Call<GrpcCall>, reply: &GrpcReply) {
        let before = self.state.borrow_mut().grpc_message.replace(reply.message.clone());
        for guest in self.guests_once() {
            if guest.callbacks().has(Callbacks::ON_GRPC_REPLY | Callbacks::ON_PLUGIN_GRPC_REPLY) {
                state::enter(&self.state, call.root, || match reply.status {
                    0 => guest.on_grpc_receive(call.root, call.token, reply.message.len() as u32),
                    status => guest.on_grpc_close(call.root, call.token, status),
                });
                stream::run_deferred(&self.state, &*guest);
            }
        }
        self.state.borrow_mut().grpc_message = before;
    }
}
