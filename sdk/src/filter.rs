//! `HttpFilter`: the contract between a filter and the SDK.

use crate::host::{Body, Ended, HostError, PluginHost, Request, RequestTrailers, Response, ResponseTrailers};
use crate::{CalloutId, CalloutReply, ConfigError, Decision, FromConfig, GrpcReply};

/// A filter: made once from its configuration, called for every stream, never changed by one.
///
/// All callbacks but `configure` have a default that lets the stream go on.
pub trait HttpFilter: Sized + 'static {
    /// What is written under `pluginConfig`: `config.rs`.
    type Config: FromConfig + schemars::JsonSchema;
    /// What one stream remembers between callbacks; `()` when nothing.
    type Stream: Default + 'static;

    /// Whether the filter leaves every stream as it is: all its decisions are [`Decision::next`] and nothing else, not even an explanation; any
    /// other counts as a callback that failed, with [`Status::Unimplemented`](crate::Status::Unimplemented). Its module then has none of the code
    /// that carries decisions out, some 3 kB. Default: false.
    const ONLY_WATCHES: bool = false;

    /// Makes the filter. Called at load and at every change of the configuration, on every worker and on the main thread (`LOAD-32`).
    ///
    /// # Errors
    /// A configuration that means nothing; Envoy then keeps the old one, or does not start (`LOAD-11`).
    fn configure(config: Self::Config, host: &PluginHost) -> Result<Self, ConfigError>;

    /// The request's headers are here.
    ///
    /// # Errors
    /// A host call failed; [`HttpFilter::failure_policy`] says what happens to the stream.
    fn on_request_headers(
        &self,
        _stream: &mut Self::Stream,
        _request: &Request,
    ) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// A part of the request's body is here.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_request_body(&self, _stream: &mut Self::Stream, _body: &Body) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// The request's trailers are here.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_request_trailers(
        &self,
        _stream: &mut Self::Stream,
        _trailers: &RequestTrailers,
    ) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// The response's headers are here: the upstream's, Envoy's own, or another filter's local reply.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_response_headers(
        &self,
        _stream: &mut Self::Stream,
        _response: &Response,
    ) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// A part of the response's body is here.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_response_body(&self, _stream: &mut Self::Stream, _body: &Body) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// The response's trailers are here.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_response_trailers(
        &self,
        _stream: &mut Self::Stream,
        _trailers: &ResponseTrailers,
    ) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// The stream waited for this answer ([`Flow::Await`](crate::Flow::Await)) and is still there.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_callout_reply(
        &self,
        _stream: &mut Self::Stream,
        _reply: CalloutReply,
    ) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// The stream waited for the answer of this gRPC call ([`Flow::AwaitGrpc`](crate::Flow::AwaitGrpc)) and is still there.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_grpc_reply(&self, _stream: &mut Self::Stream, _reply: GrpcReply) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// The time of a [`Flow::Wait`](crate::Flow::Wait) has passed and the stream is still there.
    ///
    /// # Errors
    /// As for [`HttpFilter::on_request_headers`].
    fn on_timer(&self, _stream: &mut Self::Stream) -> Result<Decision, HostError> {
        Ok(Decision::next())
    }

    /// The stream is over, however it ended; the last call for it. Comes also for streams that no other callback was called for,
    /// because an earlier filter answered them (`LIFE-03`): their state is as new.
    fn on_log(&self, _stream: &mut Self::Stream, _ended: &Ended) {}

    /// An answer to a callout of the plugin itself ([`PluginHost::callout`] has told its id), or to one whose stream is gone.
    fn on_plugin_callout_reply(&self, _host: &PluginHost, _id: CalloutId, _reply: CalloutReply) {}

    /// An answer to a gRPC call of the plugin itself ([`PluginHost::grpc_callout`] has told its id), or to one whose stream is gone.
    fn on_plugin_grpc_reply(&self, _host: &PluginHost, _id: CalloutId, _reply: GrpcReply) {}

    /// How many bytes of an answer's body are read; the rest stays where it is. A longer message of gRPC, which means nothing in part, is not
    /// read: its status is 8. Asked before the answer is handed out. Default: all of them, however many the called cluster sends.
    fn callout_body_limit(&self, _id: CalloutId) -> usize {
        usize::MAX
    }

    /// A plugin timer ([`PluginHost::wake_after`]) is due.
    fn on_plugin_timer(&self, _host: &PluginHost) {}

    /// What happens to a stream whose callback failed.
    fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy::FailClosed
    }
}

/// What happens to a stream whose callback failed: Envoy's words; Istio calls it `failStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// 503 with the details `weir_host_error`.
    FailClosed,
    /// The stream goes on as if the filter were not there.
    FailOpen,
}
