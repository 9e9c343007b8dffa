//! What the servers behind an Envoy know together: which exchanges are under way, how each of their requests is answered, and what arrived.
//! Knows no sockets and no Envoy.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::server::{Answers, Arrival, Reply};
use crate::exchange::Message;
use crate::scenario::Cluster;
use crate::upstream::{Answer, Turn, Upstreams};

/// What all servers of a run share.
#[derive(Debug, Default)]
pub struct Stage {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// Exchanges under way, by the port that their client called: the number, and the recorded answer.
    under_way: BTreeMap<u16, (usize, Option<Message>)>,
    upstreams: Upstreams,
    /// By their numbers, in the order in which they arrived.
    received: BTreeMap<usize, Received>,
    arrived: usize,
    activity: Activity,
}

/// A request that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The cluster it arrived at.
    pub cluster: String,
    /// The exchange whose request it is; absent for a call of a filter.
    pub exchange: Option<usize>,
    /// The request; of a stream that is not whole, what came of it.
    pub request: Message,
}

/// What is going on at the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// How many calls of filters arrived so far.
    pub calls: usize,
    /// How many bytes of bodies those of them had that may never be whole.
    pub streamed: usize,
    /// How many of those calls have begun and are not whole.
    pub partial: usize,
    /// How many requests of any kind are being answered.
    pub open: usize,
    /// How many of those are answered at once: they are over in no time.
    pub soon: usize,
}

impl Stage {
    /// For clusters that answer as the scenario and its seed say.
    #[must_use]
    pub fn new(clusters: &BTreeMap<String, Cluster>, seed: u64) -> Self {
        let inner = Inner { upstreams: Upstreams::new(clusters, seed), ..Inner::default() };
        Self { inner: Mutex::new(inner), ..Self::default() }
    }

    /// An exchange begins: the request of the client who calls this port is its, and is answered so where the cluster has no answer of its own.
    pub fn begin(&self, port: u16, number: usize, recorded: Option<Message>) {
        self.lock().under_way.insert(port, (number, recorded));
    }

    /// It is over.
    pub fn end(&self, port: u16) {
        self.lock().under_way.remove(&port);
    }

    /// What arrived since the last time this was asked, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.lock().received).into_values().collect()
    }

    /// What is going on.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.lock().activity
    }

    /// Waits until so many calls arrived in all and what is answered at once is answered, or it takes too long.
    pub fn settle(&self, calls: usize, longest: Duration) -> Activity {
        self.wait(longest, |now| now.calls >= calls && now.soon == 0)
    }

    /// Waits until so many bytes of streams of filters arrived, or it takes too long.
    pub fn settle_streams(&self, bytes: usize, longest: Duration) -> Activity {
        self.wait(longest, |now| now.streamed >= bytes)
    }

    /// Waits until every call that has begun is whole, or it takes too long.
    pub fn settle_bodies(&self, longest: Duration) -> Activity {
        self.wait(longest, |now| now.partial == 0)
    }

    /// Waits until every request is answered or given up, or it takes too long.
    pub fn finish(&self, longest: Duration) -> Activity {
        self.wait(longest, |now| now.open == 0)
    }

    fn wait(&self, longest: Duration, until: impl Fn(Activity) -> bool) -> Activity {
        let deadline = Instant::now() + longest;
        let mut inner = self.lock();
        while !until(inner.activity) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.activity
    }

    fn reply(&self, cluster: &str, arrival: Arrival) -> Reply {
        let mut inner = self.lock();
        let whose = arrival.called.and_then(|port| inner.under_way.get(&port).cloned());
        let (exchange, recorded) = whose.map_or((None, None), |(number, recorded)| (Some(number), recorded));
        let reply = inner.begin(cluster, &arrival.request, recorded.as_ref());
        match arrival.opened {
            Some(number) => {
                inner.grew(number, arrival.request);
                inner.activity.partial = inner.activity.partial.saturating_sub(1);
            }
            None => drop(inner.keep(cluster, exchange, arrival.request)),
        }
        self.changed.notify_all();
        reply
    }

    fn opened(&self, cluster: &str, head: &Message) -> (usize, Option<Reply>) {
        let mut inner = self.lock();
        let number = inner.keep(cluster, None, head.clone());
        inner.activity.partial += 1;
        let early = inner.upstreams.fails(cluster, head).then(|| inner.begin(cluster, head, None));
        self.changed.notify_all();
        (number, early)
    }

    fn grew(&self, number: usize, request: &Message) {
        self.lock().grew(number, request.clone());
        self.changed.notify_all();
    }

    fn done(&self, at_once: bool) {
        let activity = &mut self.lock().activity;
        activity.open = activity.open.saturating_sub(1);
        activity.soon = activity.soon.saturating_sub(usize::from(at_once));
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Begins to answer a request.
    fn begin(&mut self, cluster: &str, request: &Message, recorded: Option<&Message>) -> Reply {
        let reply = reply(self.upstreams.turn(cluster, request, recorded));
        self.activity.open += 1;
        self.activity.soon += usize::from(reply.is_at_once());
        reply
    }

    /// Keeps a request under a new number.
    fn keep(&mut self, cluster: &str, exchange: Option<usize>, request: Message) -> usize {
        let number = self.arrived;
        self.arrived += 1;
        self.activity.calls += usize::from(exchange.is_none());
        self.received.insert(number, Received { cluster: cluster.to_owned(), exchange, request });
        number
    }

    /// There is more of a stream that was kept.
    fn grew(&mut self, number: usize, request: Message) {
        if let Some(received) = self.received.get_mut(&number) {
            let grown = request.body.len().saturating_sub(received.request.body.len());
            self.activity.streamed += grown;
            received.request = request;
        }
    }
}

/// One cluster's side of a stage.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The stage.
    pub stage: std::sync::Arc<Stage>,
    /// The cluster.
    pub cluster: String,
}

impl Answers for Seat {
    fn reply(&self, arrival: Arrival) -> Reply {
        self.stage.reply(&self.cluster, arrival)
    }

    fn opened(&self, head: &Message) -> (usize, Option<Reply>) {
        self.stage.opened(&self.cluster, head)
    }

    fn grew(&self, number: usize, request: &Message) {
        self.stage.grew(number, request);
    }

    fn done(&self, at_once: bool) {
        self.stage.done(at_once);
    }
}

/// What a server does for a turn. No server can refuse a connection that it has accepted: it closes it.
pub(super) fn reply(turn: Turn<'_>) -> Reply {
    match turn.answer {
        Answer::Message(message) => Reply::Answer(turn.latency, message.into_owned()),
        Answer::Cut { message, after_bytes } => Reply::Cut(turn.latency, message.into_owned(), after_bytes),
        Answer::ConnectFailure | Answer::Reset => Reply::Close(turn.latency),
        Answer::Silence => Reply::Silence,
    }
}
