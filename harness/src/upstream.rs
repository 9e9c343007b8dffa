//! Upstreams without a network: what a cluster answers to a request, and how late, by the script of the scenario, the recording, or as an
//! echo. Everything random comes from the scenario's seed and the cluster's name, so that every run is identical and no cluster's answers
//! depend on how others are used. Knows neither driver nor Wasm nor sockets: the harness and the servers behind a real Envoy both ask it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::exchange::Message;
use crate::scenario::Cluster;

mod echo;
mod latency;
pub(crate) mod message;
mod script;

pub use echo::{echo, echo_at};
pub use message::{grpc_frame, response};
pub use script::Script;

/// The scripts of all clusters of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Upstreams {
    scripts: BTreeMap<String, Script>,
}

impl Upstreams {
    /// The clusters' scripts from their beginning.
    #[must_use]
    pub fn new(clusters: &BTreeMap<String, Cluster>, seed: u64) -> Self {
        let scripts = clusters.iter().map(|(name, cluster)| (name.clone(), Script::new(name, cluster, seed)));
        Self { scripts: scripts.collect() }
    }

    /// What `cluster` answers to its next request. A cluster without a script answers as recorded, or 200 without a body where there is
    /// no recording (as of a callout). Whether the cluster exists and has a healthy host is for the caller to see first.
    pub fn turn<'a>(&mut self, cluster: &str, request: &Message, recorded: Option<&'a Message>) -> Turn<'a> {
        match self.scripts.get_mut(cluster) {
            Some(script) => script.turn(request, recorded),
            None => Turn::recorded(recorded),
        }
    }

    /// Whether the next request is not answered at all, whatever it still sends: no connection, a reset, silence.
    #[must_use]
    pub fn fails(&self, cluster: &str, head: &Message) -> bool {
        let next = |script: &Script| {
            matches!(
                script.clone().turn(head, None).answer,
                Answer::ConnectFailure | Answer::Reset | Answer::Silence
            )
        };
        self.scripts.get(cluster).is_some_and(next)
    }
}

/// One answer of an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<'a> {
    /// The time from the end of the request to the beginning of the answer, or to its failure.
    pub latency: Duration,
    /// The answer.
    pub answer: Answer<'a>,
}

/// What comes of a request at the upstream.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<'a> {
    /// A response, `:status` first.
    Message(Cow<'a, Message>),
    /// No connection comes about.
    ConnectFailure,
    /// The connection is closed before any answer.
    Reset,
    /// The response begins and its connection is closed after so many bytes of the body (at most all of them) and before its end.
    Cut {
        /// The whole response, as it would have been.
        message: Cow<'a, Message>,
        /// How much of the body comes.
        after_bytes: usize,
    },
    /// The request is taken and never answered.
    Silence,
}

impl<'a> Turn<'a> {
    /// At once, as recorded; 200 without a body where there is no recording.
    #[must_use]
    pub fn recorded(recorded: Option<&'a Message>) -> Self {
        Self { latency: Duration::ZERO, answer: Answer::Message(message::recorded(recorded)) }
    }

    /// The same without a borrow of the recording.
    #[must_use]
    pub fn into_owned(self) -> Turn<'static> {
        let owned = |message: Cow<'_, Message>| Cow::Owned(message.into_owned());
        let answer = match self.answer {
            Answer::Message(message) => Answer::Message(owned(message)),
            Answer::Cut { message, after_bytes } => Answer::Cut { message: owned(message), after_bytes },
            Answer::ConnectFailure => Answer::ConnectFailure,
            Answer::Reset => Answer::Reset,
            Answer::Silence => Answer::Silence,
        };
        Turn { latency: self.latency, answer }
    }
}

#[cfg(test)]
mod tests;
