//! The gRPC calls and streams of one VM: tokens, what is going on, what is being shown. Knows neither clusters nor Wasm.

use std::collections::BTreeMap;

use super::StreamId;
use crate::headers::Headers;
use crate::upstream::Turn;

/// The gRPC side of a VM.
#[derive(Debug)]
pub(crate) struct Grpc {
    next_call: u32,
    next_stream: u32,
    live: BTreeMap<u32, Live>,
    /// What the running callback may read.
    pub shown: Shown,
    /// The stream whose callbacks run within the hostcall that opens it (`CALL-26`).
    pub opening: Option<u32>,
    /// The call or stream of whose end the running callback tells.
    pub closing: Option<u32>,
}

/// What the running callback may read of a call.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Shown {
    #[default]
    Nothing,
    InitialMetadata(Headers),
    TrailingMetadata(Headers),
    Message(Vec<u8>),
}

/// A call or stream that is going on.
#[derive(Debug)]
pub(crate) struct Live {
    /// The root that is told of it.
    pub root: usize,
    /// The id of its outcome, and the stream that made it.
    pub callout: u64,
    pub by: Option<StreamId>,
    pub made_ns: u64,
    /// What the cluster answers when the guest has sent everything; absent when it has.
    pub waiting: Option<Turn<'static>>,
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            next_call: 5,
            next_stream: 6,
            live: BTreeMap::new(),
            shown: Shown::Nothing,
            opening: None,
            closing: None,
        }
    }
}

impl Grpc {
    /// A new token of a call: 5, 9, … (`CALL-03`).
    pub(crate) fn call_token(&mut self) -> u32 {
        let token = self.next_call;
        self.next_call = token.wrapping_add(4);
        token
    }

    /// A new token of a stream: 6, 10, … (`CALL-03`).
    pub(crate) fn stream_token(&mut self) -> u32 {
        let token = self.next_stream;
        self.next_stream = token.wrapping_add(4);
        token
    }

    /// Whether it is the token of a call.
    pub(crate) fn is_call(token: u32) -> bool {
        token % 4 == 1
    }

    /// Whether it is the token of a stream.
    pub(crate) fn is_stream(token: u32) -> bool {
        token % 4 == 2
    }

    pub(crate) fn add(&mut self, token: u32, live: Live) {
        self.live.insert(token, live);
    }

    pub(crate) fn get(&mut self, token: u32) -> Option<&mut Live> {
        self.live.get_mut(&token)
    }

    pub(crate) fn remove(&mut self, token: u32) -> Option<Live> {
        self.live.remove(&token)
    }

    /// Metadata that the running callback may read: initial (map 4) or trailing (map 5).
    pub(crate) fn metadata(&self, trailing: bool) -> Option<&Headers> {
        match &self.shown {
            Shown::InitialMetadata(headers) if !trailing => Some(headers),
            Shown::TrailingMetadata(headers) if trailing => Some(headers),
            _ => None,
        }
    }

    /// The message that the running callback may read (buffer 5).
    pub(crate) fn message(&self) -> &[u8] {
        match &self.shown {
            Shown::Message(message) => message,
            _ => &[],
        }
    }
}
