//! The way to the upstream and back: what it answers, when, and what Envoy's router makes of an upstream that fails. How upstreams answer is
//! written in [`crate::upstream`].

use std::borrow::Cow;
use std::time::Duration;

use super::Replay;
use super::events::{Events, What};
use super::stream::Run;
use crate::clock::nanoseconds;
use crate::exchange::Message;
use crate::headers::Kind;
use crate::host::{Host, Slot, StreamId};
use crate::outcome::End;
use crate::upstream::{Answer, Turn};

/// Sends the request to the upstream: the answer, or the route's timeout, is due later.
pub(super) fn ask(host: &mut Host, run: &mut Run, events: &mut Events, at: Slot, recorded: Option<&Message>) {
    let (true, Some(request)) = (run.waiting, &run.upstream) else { return };
    let now = host.clock.now_ns();
    let Turn { latency, answer } =
        host.upstreams.turn(run.cluster.as_deref().unwrap_or_default(), request, recorded);
    let latency = nanoseconds(latency);
    let silent = matches!(answer, Answer::Silence);
    (run.asked, run.asked_ns) = (true, now);
    run.answer = match answer {
        Answer::Message(Cow::Borrowed(message)) if recorded.is_some_and(|own| std::ptr::eq(own, message)) => {
            None
        }
        answer => Some(Box::new(Turn { latency: Duration::ZERO, answer }.into_owned().answer)),
    };
    let id = StreamId { slot: at, number: host.streams[at].number };
    if run.timeout_ns > 0 && (silent || latency > run.timeout_ns) {
        events.push(now.saturating_add(run.timeout_ns), id, What::Timeout);
    } else if !silent {
        run.answer_ns = Some(now.saturating_add(latency));
        events.push(now.saturating_add(latency), id, What::Answer);
    }
}

impl Replay {
    /// The upstream answers: as it was recorded, or otherwise.
    pub(super) fn answer(&mut self, at: Slot, recorded: Option<&Message>) {
        if !self.lives[at].run.waiting {
            return;
        }
        self.stop_waiting(at);
        if matches!(self.lives[at].run.answer.as_deref(), Some(Answer::ConnectFailure)) {
            // Nothing was sent.
            self.lives[at].run.upstream = None;
        }
        match self.lives[at].run.answer.take().map(|answer| *answer) {
            None => self.respond(at, recorded.unwrap_or(&Message::default()), None),
            Some(Answer::Message(message)) => self.respond(at, &message, None),
            Some(Answer::Cut { message, after_bytes }) => self.respond(at, &message, Some(after_bytes)),
            Some(Answer::ConnectFailure) => self.refuse(
                at,
                503,
                b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
                "UF",
            ),
            Some(Answer::Reset) => self.refuse(
                at,
                503,
                b"upstream connect error or disconnect/reset before headers. reset reason: connection termination",
                "upstream_reset_before_response_started{connection_termination}",
                "UC",
            ),
            Some(Answer::Silence) => {}
        }
    }

    /// A response comes from the upstream; with `cut` its connection is closed after so many bytes of the body.
    fn respond(&mut self, at: Slot, message: &Message, cut: Option<usize>) {
        let run = &self.lives[at].run;
        let body = if run.head { &[][..] } else { &message.body };
        let body = cut.and_then(|cut| body.get(..cut)).unwrap_or(body);
        let milliseconds = run.upstream_ns / 1_000_000;
        let stream = &mut self.host.streams[at];
        "via_upstream".clone_into(&mut stream.info.details);
        stream.info.code = crate::host::status(&message.headers);
        stream.info.upstream_ns = run.upstream_ns;
        let headers = &mut stream.response.headers;
        headers.clear();
        for (name, value) in message.headers.iter() {
            headers.add(name, value, Kind::Response);
        }
        if milliseconds == 0 {
            headers.replace(b"x-envoy-upstream-service-time", b"0");
        } else {
            headers.replace(b"x-envoy-upstream-service-time", milliseconds.to_string().as_bytes());
        }
        let mut headers = std::mem::take(headers);
        self.finish_response(at, &mut headers);
        self.host.streams[at].response.headers = headers;
        self.message(at, true, body, &message.trailers, cut.is_none());
        if cut.is_some() && !self.lives[at].run.over {
            self.broken_off(at);
        }
    }

    /// The upstream's connection is closed in the middle of a response: the client's stream is reset. In HTTP/1 the codec says so first.
    fn broken_off(&mut self, at: Slot) {
        let http2 = self.upstream_is_http2(at);
        let (flag, reason) = if http2 { ("UC", "connection_termination") } else { ("UPE", "protocol_error") };
        self.flag(at, flag);
        self.host.streams[at].info.details.clear();
        self.reset(at, &format!("upstream_reset_after_response_started{{{reason}}}"));
    }

    /// Whether HTTP/2 is spoken to the stream's cluster.
    pub(super) fn upstream_is_http2(&self, at: Slot) -> bool {
        self.lives[at].run.cluster.as_deref().is_some_and(|name| self.host.clusters.is_http2(name))
    }

    /// The upstream has not answered in the time that the route gives it.
    pub(super) fn route_timeout(&mut self, at: Slot) {
        if self.lives[at].run.waiting {
            self.stop_waiting(at);
            self.refuse(at, 504, b"upstream request timeout", "response_timeout", "UT");
        }
    }

    /// The router waits no longer.
    pub(super) fn stop_waiting(&mut self, at: Slot) {
        let run = &mut self.lives[at].run;
        if std::mem::take(&mut run.waiting) {
            run.upstream_ns += self.host.clock.now_ns() - run.asked_ns;
        }
    }

    /// The client leaves (`LIFE-12`): the request upstream is given up.
    pub(super) fn client_leaves(&mut self, at: Slot) {
        if self.lives[at].run.over {
            return;
        }
        self.stop_waiting(at);
        let stream = &mut self.host.streams[at];
        stream.info.details.clear();
        self.flag(at, "DC");
        self.reset(at, "downstream_remote_disconnect");
        self.lives[at].run.end = Some(End::Aborted);
    }
}
