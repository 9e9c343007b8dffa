//! What a filter wants to happen: a value, so that a unit test is one `assert_eq!`, a log line is `{:?}` and a dry run is free.
//!
//! Knows no host; `host` carries decisions out, and nothing else does.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::HeaderMap;
use crate::fraction::drawn;

/// The bytes of a header value or name-like constant, cheap to clone: policies make them once, at configure.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(Rc<[u8]>);

impl Bytes {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&Bytes> for Bytes {
    fn from(bytes: &Bytes) -> Self {
        bytes.clone()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// One change to a stream, carried out in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Adds a line; Envoy joins it to the present one for inline headers (`HDR-20`).
    Append(Rc<str>, Bytes),
    /// Adds a line when the name is absent.
    AddIfAbsent(Rc<str>, Bytes),
    /// Leaves exactly this value.
    Set(Rc<str>, Bytes),
    /// Removes every line of the name.
    Remove(Rc<str>),
    /// Sets a filter state object that Envoy's routes and other filters read (`FF-03`: only keys with an object factory, such as
    /// `envoy.string`). Does not choose the route again: add [`Mutation::ClearRouteCache`].
    FilterState(Rc<str>, Bytes),
    /// Sets the filter state `wasm.<name>` (`PROP-20`), which access logs, routes and later filters read.
    Property(Rc<str>, Bytes),
    /// Lets Envoy choose the route again. A change of request headers does so by itself (`HDR-40`).
    ClearRouteCache,
}

/// What happens to the stream after the mutations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// The next filter goes on.
    #[default]
    Continue,
    /// The filter answers itself.
    Reply(LocalReply),
    /// The stream waits for an answer; `on_callout_reply` decides on.
    Await(Callout),
    /// The stream waits for the answer of a gRPC call; `on_grpc_reply` decides on.
    AwaitGrpc(GrpcCall),
    /// The stream waits, early by 2 ms at most or late by what the worker is busy with; `on_timer` decides on.
    Wait(Duration),
    /// Body callbacks: hold what came and call again with more.
    Buffer,
    /// The stream is reset without an answer.
    Reset,
}

/// Why a decision was made, for people: `weir replay` prints it, Envoy logs it at debug level. Made at configure, so that a stream
/// formats nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What decided, such as ``rule `jack` ``.
    pub text: Rc<str>,
    /// What was chosen, such as `v2`.
    pub choice: Option<Rc<str>>,
    /// The number that was drawn, where one was: parts of a million.
    pub draw_ppm: Option<u32>,
}

impl Explanation {
    /// What decided, and nothing else.
    #[must_use]
    pub fn of(text: &Rc<str>) -> Self {
        Self { text: text.clone(), choice: None, draw_ppm: None }
    }
}

/// Texts of explanations and names of headers, made once, at configure, and found by their place in a list.
#[derive(Clone, Debug)]
pub struct Texts(Vec<Rc<str>>);

impl Texts {
    /// These, each behind what all begin with.
    #[must_use]
    pub fn new(beginning: &str, texts: &[&str]) -> Self {
        let mut made = Vec::with_capacity(texts.len());
        for text in texts {
            made.push([beginning, text].concat().into());
        }
        Self(made)
    }

    /// The text at a place; an empty one where there is none.
    #[must_use]
    #[inline(never)]
    pub fn at(&self, place: usize) -> Rc<str> {
        self.0.get(place).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

impl Explanation {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::from(&*self.text);
        if let Some(choice) = &self.choice {
            line.push_str(" → ");
            line.push_str(choice);
        }
        if let Some(ppm) = self.draw_ppm {
            line.push_str(&drawn(ppm));
        }
        line
    }
}

/// What a filter wants to happen to a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a decision does nothing until it is returned"]
pub struct Decision {
    /// Changes, in order.
    pub mutations: Vec<Mutation>,
    /// What happens then.
    pub flow: Flow,
    /// Why, where a reader would ask.
    pub explanation: Option<Explanation>,
}

impl Decision {
    /// Hands the stream to the next filter.
    #[inline(never)]
    pub fn next() -> Self {
        Self::default()
    }

    /// Answers here.
    pub fn reply(reply: LocalReply) -> Self {
        Self { flow: Flow::Reply(reply), ..Self::default() }
    }

    /// Holds the stream until the callout is answered.
    pub fn call(callout: Callout) -> Self {
        Self { flow: Flow::Await(callout), ..Self::default() }
    }

    /// Holds the stream until the gRPC call is answered.
    pub fn call_grpc(call: GrpcCall) -> Self {
        Self { flow: Flow::AwaitGrpc(call), ..Self::default() }
    }

    /// Holds the stream for a time.
    pub fn wait(time: Duration) -> Self {
        Self { flow: Flow::Wait(time), ..Self::default() }
    }

    /// Leaves exactly this value of a header.
    pub fn set(mut self, name: impl Into<Rc<str>>, value: impl Into<Bytes>) -> Self {
        self.mutations.push(Mutation::Set(name.into(), value.into()));
        self
    }

    /// Adds a line.
    pub fn append(mut self, name: impl Into<Rc<str>>, value: impl Into<Bytes>) -> Self {
        self.mutations.push(Mutation::Append(name.into(), value.into()));
        self
    }

    /// Removes every line of a header.
    pub fn remove(mut self, name: impl Into<Rc<str>>) -> Self {
        self.mutations.push(Mutation::Remove(name.into()));
        self
    }

    /// Adds any change.
    pub fn with(mut self, mutation: Mutation) -> Self {
        self.mutations.push(mutation);
        self
    }

    /// Says why.
    pub fn because(self, text: impl Into<Rc<str>>) -> Self {
        self.explained(Explanation { text: text.into(), choice: None, draw_ppm: None })
    }

    /// As [`Decision::because`], with all that there is to say.
    #[inline(never)]
    pub fn explained(mut self, explanation: Explanation) -> Self {
        self.explanation = Some(explanation);
        self
    }
}

/// An answer made by a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status, 200 to 599.
    pub status: u16,
    /// Further headers; `content-length` and `:status` are Envoy's.
    pub headers: Vec<(Rc<str>, Bytes)>,
    /// The body; `text/plain` unless a `content-type` is given.
    pub body: Bytes,
    /// What the access log's `%RESPONSE_CODE_DETAILS%` says: lower case with underscores.
    pub details: Rc<str>,
    /// The gRPC status for gRPC requests, 0 to 16; Envoy maps the HTTP status when absent (`FLOW-29`).
    pub grpc_status: Option<u8>,
}

/// An HTTP call to a cluster of Envoy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// The cluster's name.
    pub cluster: Rc<str>,
    /// Must hold `:method`, `:path` and `:authority`.
    pub headers: Vec<(Rc<str>, Bytes)>,
    /// The body.
    pub body: Bytes,
    /// The trailers. Sent over HTTP/2 only; over HTTP/1 Envoy leaves them out beside its `content-length` (`CALL-04`).
    pub trailers: Vec<(Rc<str>, Bytes)>,
    /// How long to wait for the answer; Envoy then answers 504 itself (`CALL-07`). Zero is no limit.
    pub timeout: Duration,
}

/// A gRPC call to a cluster of Envoy's, with one message each way. The cluster must speak HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcCall {
    /// The cluster's name; not empty.
    pub cluster: Rc<str>,
    /// The service's full name, such as `envoy.service.ratelimit.v3.RateLimitService`.
    pub service: Rc<str>,
    /// The method's name, such as `ShouldRateLimit`.
    pub method: Rc<str>,
    /// Initial metadata. Envoy encodes values of names that end in `-bin` itself.
    pub metadata: Vec<(Rc<str>, Bytes)>,
    /// The message, as protobuf writes it.
    pub message: Bytes,
    /// How long to wait for the answer; more than 0, as the server would take 0 for a time that is over (`CALL-23`).
    pub timeout: Duration,
}

/// The answer to a [`GrpcCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcReply {
    /// 0 when there is a message, else why there is none: the server's status, or Envoy's own, 13 after the timeout and 14 when nobody was
    /// reached (`CALL-23`).
    pub status: u32,
    /// The message; empty unless `status` is 0.
    pub message: Vec<u8>,
}

impl GrpcReply {
    /// There is no message.
    #[must_use]
    pub fn failed(status: u32) -> Self {
        Self { status, message: Vec::new() }
    }

    /// The message, where there is one.
    #[must_use]
    pub fn ok(&self) -> Option<&[u8]> {
        (self.status == 0).then_some(&self.message)
    }
}

/// Tells the answers of a plugin's callouts apart; unique among those that are not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CalloutId(pub(crate) u32);

/// The answer to a [`Callout`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CalloutReply {
    /// `:status`; absent when the answer broke after its headers, or the call could not be made.
    pub status: Option<u16>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl CalloutReply {
    /// Whether the called cluster has answered. Otherwise Envoy did, for it: 504 after the timeout, 503 when there was no connection or it
    /// broke (`CALL-07`); or nothing whole came.
    #[must_use]
    pub fn is_from_upstream(&self) -> bool {
        // Envoy's router adds it to every answer that comes from an upstream, and to no other (`CALL-06`).
        self.status.is_some() && self.headers.first("x-envoy-upstream-service-time").is_some()
    }
}
