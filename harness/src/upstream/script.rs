//! The script of one cluster, and where it stands.

use std::borrow::Cow;
use std::time::Duration;

use super::{Answer, Turn, echo, latency, message};
use crate::clock::Random;
use crate::exchange::Message;
use crate::headers::Headers;
use crate::scenario::{
    AfterSequence, Cluster, ClusterProtocol, Failure, FailureType, Fields, Latency, Rule, Step,
};

/// Headers of one connection (RFC 9113, 8.2.2).
const OF_HOP: [&[u8]; 5] =
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];

/// How one cluster answers, one request after another. Usable alone: what it does depends on its own requests only.
#[derive(Clone, Debug)]
pub struct Script {
    rules: Vec<(Condition, Track)>,
    rest: Track,
    /// Whether it answers in HTTP/2, which has no headers of one connection.
    http2: bool,
}

/// Which requests a rule answers.
#[derive(Clone, Debug)]
struct Condition {
    path_prefix: Option<Vec<u8>>,
    method: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Steps one after another, and where they stand.
#[derive(Clone, Debug)]
struct Track {
    steps: Vec<(u64, Action)>,
    after: AfterSequence,
    /// How many requests came so far.
    turns: u64,
    seed: u64,
}

/// What comes of one request.
#[derive(Clone, Debug)]
struct Action {
    answer: Written,
    latency: Option<Latency>,
    failure: Option<Failure>,
}

#[derive(Clone, Debug)]
enum Written {
    Recorded,
    Echo,
    Message(Message),
}

impl Script {
    /// The script of the cluster `name`, from its beginning. The seed is the scenario's.
    #[must_use]
    pub fn new(name: &str, cluster: &Cluster, seed: u64) -> Self {
        let seed = mixed(seed, name);
        let mut own = Random::new(seed);
        let rules = cluster.rules.iter().map(|rule| {
            let mut fields = rule.fields();
            fields.latency = fields.latency.or(cluster.latency.as_ref());
            let track = Track::new(fields, &rule.sequence, rule.after_sequence, own.next_u64());
            (Condition::new(rule), track)
        });
        let rules = rules.collect();
        let rest = Track::new(cluster.fields(), &cluster.sequence, cluster.after_sequence, seed);
        Self { rules, rest, http2: cluster.protocol() == ClusterProtocol::Http2 }
    }

    /// What the cluster answers to its next request: by the first rule that it matches, else by the rest of the script; as recorded where
    /// that says nothing, or 200 without a body where there is no recording.
    pub fn turn<'a>(&mut self, request: &Message, recorded: Option<&'a Message>) -> Turn<'a> {
        let rule = self.rules.iter_mut().find(|(condition, _)| condition.is_match(&request.headers));
        let mut turn = rule.map_or(&mut self.rest, |(_, track)| track).turn(request, recorded);
        if self.http2
            && let Answer::Message(message) | Answer::Cut { message, .. } = &mut turn.answer
            && message.headers.iter().any(|(name, _)| OF_HOP.contains(&name))
        {
            message.to_mut().headers.retain(|name, _| !OF_HOP.contains(&name));
        }
        turn
    }
}

impl Condition {
    fn new(rule: &Rule) -> Self {
        let bytes = |text: &String| text.clone().into_bytes();
        Self {
            path_prefix: rule.path_prefix.as_ref().map(bytes),
            method: rule.method.as_ref().map(bytes),
            headers: rule.headers.iter().map(|(name, value)| (name.clone(), bytes(value))).collect(),
        }
    }

    fn is_match(&self, headers: &Headers) -> bool {
        let path = headers.get(b":path").unwrap_or_default();
        self.path_prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix))
            && self.method.as_ref().is_none_or(|method| headers.get(b":method") == Some(method))
            && self.headers.iter().all(|(name, value)| {
                headers.joined(name.as_bytes()).is_some_and(|found| found.as_ref() == value.as_slice())
            })
    }
}

impl Track {
    fn new(fields: Fields<'_>, sequence: &[Step], after: Option<AfterSequence>, seed: u64) -> Self {
        let mut steps: Vec<_> = sequence
            .iter()
            .map(|step| {
                let mut own = step.fields();
                own.latency = own.latency.or(fields.latency);
                (u64::from(step.times), Action::new(own))
            })
            .collect();
        if steps.is_empty() {
            steps.push((1, Action::new(fields)));
        }
        Self { steps, after: after.unwrap_or_default(), turns: 0, seed }
    }

    fn turn<'a>(&mut self, request: &Message, recorded: Option<&'a Message>) -> Turn<'a> {
        let turn = self.turns;
        self.turns = turn.wrapping_add(1);
        // Each turn has its own numbers, so that what one takes changes nothing for the next.
        let mut random = Random::new(Random::new(self.seed ^ turn).next_u64());
        match self.step(turn) {
            Some(action) => action.turn(request, recorded, &mut random),
            None => Turn::recorded(recorded),
        }
    }

    /// The step that the turn belongs to; absent where the recording answers.
    fn step(&self, turn: u64) -> Option<&Action> {
        let all: u64 = self.steps.iter().map(|(times, _)| times).sum();
        let mut left = match self.after {
            AfterSequence::Repeat => turn.checked_rem(all)?,
            AfterSequence::Last => turn.min(all.checked_sub(1)?),
            AfterSequence::Recorded => turn,
        };
        for (times, action) in &self.steps {
            if left < *times {
                return Some(action);
            }
            left -= times;
        }
        None
    }
}

impl Action {
    fn new(fields: Fields<'_>) -> Self {
        let answer = match (fields.response, fields.grpc) {
            (Some(response), _) => Written::Message(message::response(response)),
            (None, Some(response)) => Written::Message(message::grpc(response)),
            (None, None) if fields.echo => Written::Echo,
            (None, None) => Written::Recorded,
        };
        Self { answer, latency: fields.latency.cloned(), failure: fields.failure.copied() }
    }

    fn turn<'a>(&self, request: &Message, recorded: Option<&'a Message>, random: &mut Random) -> Turn<'a> {
        let latency = self.latency.as_ref().map_or(Duration::ZERO, |latency| latency::draw(latency, random));
        let failure = self.failure.filter(|failure| latency::happens(failure.percentage, random));
        let message = || match &self.answer {
            Written::Recorded => message::recorded(recorded),
            Written::Echo => Cow::Owned(echo(request)),
            Written::Message(message) => Cow::Owned(message.clone()),
        };
        let answer = match failure.map(|failure| failure.kind) {
            None => Answer::Message(message()),
            Some(FailureType::ConnectFailure) => Answer::ConnectFailure,
            Some(FailureType::Reset) => Answer::Reset,
            Some(FailureType::Timeout) => Answer::Silence,
            Some(FailureType::ResetInBody) => {
                let message = message();
                let given = failure.and_then(|failure| failure.after_bytes);
                let given = given.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                let after_bytes = given.unwrap_or(message.body.len() / 2).min(message.body.len());
                Answer::Cut { message, after_bytes }
            }
        };
        Turn { latency, answer }
    }
}

/// The seed of a cluster: the scenario's and its name's, by FNV-1a (Fowler, Noll, Vo; 64 bits) and one step of the generator.
fn mixed(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Random::new(seed ^ hash).next_u64()
}
