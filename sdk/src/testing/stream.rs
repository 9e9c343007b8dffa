//! One exchange as Envoy takes it through a filter: which callback comes when, and what its answer does.

use std::cell::RefCell;
use std::rc::Rc;

use super::lines::Lines;
use super::state::{self, Deferred, Event, State, Stopped};
use super::{Guest, Outcome, Plugin, Seen};
use crate::host::Callbacks;
use crate::host::wire::Side;
use crate::testing::attribute::ToAttribute;

/// A stream through one plugin. Ends when it is dropped.
pub struct Stream {
    state: Rc<RefCell<State>>,
    guest: Rc<dyn Guest>,
    id: u32,
    ended: bool,
}

impl Stream {
    pub(super) fn begin(plugin: &Plugin) -> Self {
        let mut state = plugin.state.borrow_mut();
        state.last_context += 1;
        let id = state.last_context;
        state.streams.insert(id, state::Stream::new(plugin.root));
        drop(state);
        let stream =
            Self { state: Rc::clone(&plugin.state), guest: Rc::clone(&plugin.guest), id, ended: false };
        state::enter(&stream.state, id, || stream.guest.on_context_create(id, plugin.root));
        stream
    }

    /// Sets an attribute, such as `["source", "address"]`. `request.path`, `.method`, `.host`, `.scheme` and `.headers.…` follow
    /// the request's headers by themselves.
    pub fn set_attribute(&mut self, path: &[&str], value: impl ToAttribute) {
        self.with(|stream| stream.attributes.insert(path.join("\0").into_bytes(), value.to_attribute()));
    }

    /// The bytes of an attribute, also of what the filter has set: `["filter_state", "envoy.string"]`.
    #[must_use]
    pub fn attribute(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.with(|stream| stream.attributes.get(path.join("\0").as_bytes()).cloned())
    }

    /// A request without a body.
    pub fn request<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, headers: &[(N, V)]) -> Seen {
        self.headers(Side::Request, Lines::new(true, headers), true);
        self.seen_request()
    }

    /// A request's headers, with more to come.
    pub fn request_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, headers: &[(N, V)]) -> Seen {
        self.headers(Side::Request, Lines::new(true, headers), false);
        self.seen_request()
    }

    /// A part of a request's body. HTTP/1 ends a body by an empty part (`LIFE-10`).
    pub fn request_body(&mut self, bytes: impl AsRef<[u8]>, end_of_stream: bool) -> Seen {
        self.event(Side::Request, Event::Body(bytes.as_ref().to_vec(), end_of_stream));
        self.seen_request()
    }

    /// A request's trailers.
    pub fn request_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, trailers: &[(N, V)]) -> Seen {
        self.event(Side::Request, Event::Trailers(Lines::new(true, trailers)));
        self.seen_request()
    }

    /// A response without a body.
    pub fn response<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, headers: &[(N, V)]) -> Seen {
        self.headers(Side::Response, Lines::new(false, headers), true);
        self.seen_response()
    }

    /// A response's headers, with more to come.
    pub fn response_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, headers: &[(N, V)]) -> Seen {
        self.headers(Side::Response, Lines::new(false, headers), false);
        self.seen_response()
    }

    /// A part of a response's body.
    pub fn response_body(&mut self, bytes: impl AsRef<[u8]>, end_of_stream: bool) -> Seen {
        self.event(Side::Response, Event::Body(bytes.as_ref().to_vec(), end_of_stream));
        self.seen_response()
    }

    /// A response's trailers.
    pub fn response_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, trailers: &[(N, V)]) -> Seen {
        self.event(Side::Response, Event::Trailers(Lines::new(false, trailers)));
        self.seen_response()
    }

    /// The request as it is now: after a callout is answered or time has passed.
    #[must_use]
    pub fn seen_request(&self) -> Seen {
        self.seen(Side::Request)
    }

    /// The response as it is now; of a local reply, as the filter's own response callbacks have left it (`FLOW-22`).
    #[must_use]
    pub fn seen_response(&self) -> Seen {
        self.seen(Side::Response)
    }

    /// The end of the stream, whether it is complete or the client has gone: `on_log`, then its state is dropped.
    pub fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.with(|stream| stream.ending = true);
        if self.guest.callbacks().has(Callbacks::ON_LOG) {
            state::enter(&self.state, self.id, || self.guest.on_log(self.id));
        }
        state::enter(&self.state, self.id, || self.guest.on_delete(self.id));
        self.state.borrow_mut().streams.remove(&self.id);
        run_deferred(&self.state, &*self.guest);
    }

    fn with<R>(&self, look: impl FnOnce(&mut state::Stream) -> R) -> R
    where
        R: Default,
    {
        self.state.borrow_mut().streams.get_mut(&self.id).map(look).unwrap_or_default()
    }

    fn headers(&mut self, side: Side, lines: Lines, end_of_stream: bool) {
        headers(&self.state, &*self.guest, self.id, side, lines, end_of_stream);
    }

    fn event(&mut self, side: Side, event: Event) {
        let event = self.with(|stream| {
            let half = stream.half(side);
            match half.stopped {
                Some(Stopped::All | Stopped::Trailers) => {
                    half.pending.push_back(event);
                    None
                }
                _ => Some(event),
            }
        });
        if let Some(event) = event {
            happen(&self.state, &*self.guest, self.id, side, event);
        }
    }

    fn seen(&self, side: Side) -> Seen {
        let mut state = self.state.borrow_mut();
        let Some(stream) = state.streams.get_mut(&self.id) else {
            return Seen::default();
        };
        let stopped = stream.half(side).stopped;
        let outcome = match (&stream.reply, stream.reset, stopped) {
            (Some(reply), ..) => Outcome::Replied(reply.clone()),
            (None, true, _) => Outcome::Reset,
            (None, false, Some(_)) => Outcome::Waiting,
            (None, false, None) => Outcome::Continued,
        };
        let half = stream.half(side);
        Seen {
            headers: half.headers.as_ref().map(Lines::map).unwrap_or_default(),
            body: half.sent.clone(),
            trailers: half.trailers.as_ref().map(Lines::map).unwrap_or_default(),
            outcome,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // While a test fails, its streams end silently.
        if !std::thread::panicking() {
            self.finish();
        }
    }
}

fn over(stream: &state::Stream) -> bool {
    stream.reply.is_some() || stream.reset
}

/// Runs `change` on a stream that still exists.
fn change<R: Default>(state: &RefCell<State>, id: u32, change: impl FnOnce(&mut state::Stream) -> R) -> R {
    state.borrow_mut().streams.get_mut(&id).map(change).unwrap_or_default()
}

fn headers(state: &Rc<RefCell<State>>, guest: &dyn Guest, id: u32, side: Side, lines: Lines, end: bool) {
    change(state, id, |stream| {
        let half = stream.half(side);
        half.headers = Some(lines);
        half.headers_open = true;
        half.ended = end;
    });
    let registered = match side {
        Side::Request => Callbacks::ON_REQUEST_HEADERS,
        Side::Response => Callbacks::ON_RESPONSE_HEADERS,
    };
    let action = match guest.callbacks().has(registered) {
        false => 0,
        true => state::enter(state, id, || match side {
            Side::Request => guest.on_request_headers(id, end),
            Side::Response => guest.on_response_headers(id, end),
        }),
    };
    change(state, id, |stream| {
        let half = stream.half(side);
        // 2 is as 0 (`FLOW-01`).
        half.stopped = (action != 0 && action != 2).then_some(Stopped::All);
        half.headers_open = half.stopped.is_some();
    });
    run_deferred(state, guest);
}

fn happen(state: &Rc<RefCell<State>>, guest: &dyn Guest, id: u32, side: Side, event: Event) {
    if change(state, id, |stream| side == Side::Request && over(stream)) {
        return;
    }
    match event {
        Event::Body(bytes, end) => body(state, guest, id, side, bytes, end),
        Event::Trailers(lines) => trailers(state, guest, id, side, lines),
    }
}

fn body(state: &Rc<RefCell<State>>, guest: &dyn Guest, id: u32, side: Side, bytes: Vec<u8>, end: bool) {
    let size = change(state, id, |stream| {
        let half = stream.half(side);
        half.ended = end;
        let mut visible = std::mem::take(&mut half.held);
        visible.extend(bytes);
        let size = visible.len() as u32;
        half.visible = Some(visible);
        size
    });
    let registered = match side {
        Side::Request => Callbacks::ON_REQUEST_BODY,
        Side::Response => Callbacks::ON_RESPONSE_BODY,
    };
    let action = match guest.callbacks().has(registered) {
        false => 0,
        true => state::enter(state, id, || match side {
            Side::Request => guest.on_request_body(id, size, end),
            Side::Response => guest.on_response_body(id, size, end),
        }),
    };
    change(state, id, |stream| {
        let half = stream.half(side);
        let visible = half.visible.take().unwrap_or_default();
        match action {
            0 => {
                half.sent.extend(visible);
                half.stopped = None;
                half.headers_open = false;
            }
            // The other two ways to hold differ in what the next callback sees; the SDK does not use them.
            _ => {
                half.held = visible;
                half.stopped = Some(Stopped::Body);
            }
        }
    });
    run_deferred(state, guest);
}

fn trailers(state: &Rc<RefCell<State>>, guest: &dyn Guest, id: u32, side: Side, lines: Lines) {
    change(state, id, |stream| {
        let half = stream.half(side);
        half.ended = true;
        half.trailers = Some(lines);
        half.trailers_open = true;
        half.visible = Some(half.held.clone());
    });
    let registered = match side {
        Side::Request => Callbacks::ON_REQUEST_TRAILERS,
        Side::Response => Callbacks::ON_RESPONSE_TRAILERS,
    };
    let action = match guest.callbacks().has(registered) {
        false => 0,
        true => state::enter(state, id, || match side {
            Side::Request => guest.on_request_trailers(id),
            Side::Response => guest.on_response_trailers(id),
        }),
    };
    change(state, id, |stream| {
        let half = stream.half(side);
        half.visible = None;
        if action == 0 {
            go_on(half);
        } else {
            half.stopped = Some(Stopped::Trailers);
        }
    });
    run_deferred(state, guest);
}

fn go_on(half: &mut state::Half) {
    half.sent.append(&mut half.held);
    half.stopped = None;
    half.headers_open = false;
    half.trailers_open = false;
}

/// What the callback has asked for, now that it has returned (`FLOW-10`).
pub(super) fn run_deferred(state: &Rc<RefCell<State>>, guest: &dyn Guest) {
    loop {
        let next = state.borrow_mut().deferred.pop_front();
        let Some((id, deferred)) = next else {
            return;
        };
        match deferred {
            Deferred::Close => change(state, id, |stream| stream.reset = true),
            Deferred::Continue(side) => resume(state, guest, id, side),
            Deferred::Reply(reply) => answer(state, guest, id, reply),
        }
    }
}

fn resume(state: &Rc<RefCell<State>>, guest: &dyn Guest, id: u32, side: Side) {
    let go = change(state, id, |stream| {
        let go = !over(stream) && stream.half(side).stopped.is_some();
        if go {
            go_on(stream.half(side));
        }
        go
    });
    while go
        && change(state, id, |stream| {
            !matches!(stream.half(side).stopped, Some(Stopped::All | Stopped::Trailers))
        })
    {
        match change(state, id, |stream| stream.half(side).pending.pop_front()) {
            Some(event) => happen(state, guest, id, side, event),
            None => return,
        }
    }
}

fn answer(state: &Rc<RefCell<State>>, guest: &dyn Guest, id: u32, reply: crate::LocalReply) {
    let started = change(state, id, |stream| {
        if over(stream) {
            return None;
        }
        let half = stream.half(Side::Response);
        let started = half.headers.is_some();
        if started && half.stopped != Some(Stopped::All) {
            // The headers have gone out: the client sees its response cut off (`FLOW-26`).
            stream.reset = true;
            return None;
        }
        stream.reply = Some(reply.clone());
        Some(started)
    });
    let Some(started) = started else { return };
    let mut lines = Lines::new(false, &[(":status", reply.status.to_string())]);
    for (name, value) in &reply.headers {
        if !matches!(&**name, ":status" | "content-length") {
            lines.add(name.as_bytes(), value.as_slice());
        }
    }
    let body = reply.body.as_slice().to_vec();
    if !body.is_empty() {
        lines.add(b"content-length", body.len().to_string().as_bytes());
        if lines.get(b"content-type").is_none() {
            lines.add(b"content-type", b"text/plain");
        }
    }
    if started {
        // Over a response that is held, no callback runs (`FLOW-25`).
        change(state, id, |stream| {
            let half = stream.half(Side::Response);
            *half = state::Half { headers: Some(lines), sent: body, ended: true, ..Default::default() };
        });
        return;
    }
    headers(state, guest, id, Side::Response, lines, body.is_empty());
    if !body.is_empty() {
        self::body(state, guest, id, Side::Response, body, true);
    }
}
