//! A filter whose callbacks a test writes: shared by the tests of the shell.

use std::cell::RefCell;
use std::rc::Rc;

use schemars::JsonSchema;

use crate::{
    Body, CalloutId, CalloutReply, ConfigError, Decision, Ended, FailurePolicy, FromConfig, GrpcReply,
    HostError, HttpFilter, PluginHost, Request, RequestTrailers, Response, ResponseTrailers,
};

/// A callback and what it is given.
pub(crate) enum Called<'a> {
    Configure(&'a PluginHost),
    Request(&'a Request),
    RequestBody(&'a Body),
    RequestTrailers(&'a RequestTrailers),
    Response(&'a Response),
    ResponseBody(&'a Body),
    ResponseTrailers(&'a ResponseTrailers),
    Reply(CalloutReply),
    GrpcReply(GrpcReply),
    Timer,
    Log(&'a Ended),
    PluginReply(&'a PluginHost, CalloutReply),
    PluginGrpcReply(&'a PluginHost, GrpcReply),
    PluginTimer(&'a PluginHost),
}

type Script = Rc<dyn Fn(Called<'_>) -> Result<Decision, HostError>>;

thread_local! {
    static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
}

/// Sets what the callbacks of this thread's [`Scripted`] do.
pub(crate) fn script(script: impl Fn(Called<'_>) -> Result<Decision, HostError> + 'static) {
    SCRIPT.set(Some(Rc::new(script)));
}

fn play(called: Called<'_>) -> Result<Decision, HostError> {
    match SCRIPT.with_borrow(Clone::clone) {
        Some(script) => script(called),
        None => Ok(Decision::next()),
    }
}

#[derive(Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) fail_open: bool,
    #[serde(default)]
    pub(crate) name: String,
}

/// Bytes of an answer that the filter reads.
pub(crate) const BODY_LIMIT: usize = 1000;

/// The filter.
pub(crate) struct Scripted(Config);

impl HttpFilter for Scripted {
    type Config = Config;
    /// The plugin's name, once a request has come.
    type Stream = String;

    fn configure(config: Config, host: &PluginHost) -> Result<Self, ConfigError> {
        let _ = play(Called::Configure(host))?;
        Ok(Self(config))
    }

    fn on_request_headers(&self, stream: &mut String, request: &Request) -> Result<Decision, HostError> {
        stream.clone_from(&self.0.name);
        play(Called::Request(request))
    }

    fn on_request_body(&self, _: &mut String, body: &Body) -> Result<Decision, HostError> {
        play(Called::RequestBody(body))
    }

    fn on_request_trailers(&self, _: &mut String, trailers: &RequestTrailers) -> Result<Decision, HostError> {
        play(Called::RequestTrailers(trailers))
    }

    fn on_response_headers(&self, stream: &mut String, response: &Response) -> Result<Decision, HostError> {
        let decision = play(Called::Response(response))?;
        Ok(if stream.is_empty() { decision } else { decision.append("x-plugin", stream.as_str()) })
    }

    fn on_response_body(&self, _: &mut String, body: &Body) -> Result<Decision, HostError> {
        play(Called::ResponseBody(body))
    }

    fn on_response_trailers(
        &self,
        _: &mut String,
        trailers: &ResponseTrailers,
    ) -> Result<Decision, HostError> {
        play(Called::ResponseTrailers(trailers))
    }

    fn on_callout_reply(&self, _: &mut String, reply: CalloutReply) -> Result<Decision, HostError> {
        play(Called::Reply(reply))
    }

    fn on_grpc_reply(&self, _: &mut String, reply: GrpcReply) -> Result<Decision, HostError> {
        play(Called::GrpcReply(reply))
    }

    fn on_timer(&self, _: &mut String) -> Result<Decision, HostError> {
        play(Called::Timer)
    }

    fn on_log(&self, _: &mut String, ended: &Ended) {
        let _ = play(Called::Log(ended));
    }

    fn on_plugin_callout_reply(&self, host: &PluginHost, _id: CalloutId, reply: CalloutReply) {
        let _ = play(Called::PluginReply(host, reply));
    }

    fn on_plugin_grpc_reply(&self, host: &PluginHost, _id: CalloutId, reply: GrpcReply) {
        let _ = play(Called::PluginGrpcReply(host, reply));
    }

    fn on_plugin_timer(&self, host: &PluginHost) {
        let _ = play(Called::PluginTimer(host));
    }

    fn callout_body_limit(&self, _id: CalloutId) -> usize {
        BODY_LIMIT
    }

    fn failure_policy(&self) -> FailurePolicy {
        if self.0.fail_open { FailurePolicy::FailOpen } else { FailurePolicy::FailClosed }
    }
}

crate::register!(Scripted);
