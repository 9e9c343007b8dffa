//! The shell's promises, each on a whole filter in the in-memory host: what becomes of one stream. `plugin` and `timers` have the rest.

mod grpc;
mod plugin;
mod timers;
mod watcher;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::scripted::BODY_LIMIT;
use super::scripted::{Called, Scripted, script};
use super::{Host, Outcome, Plugin};
use crate::{
    Callout, CalloutReply, Decision, Flow, HeaderMap, Headers, HostError, LocalReply, Mutation, Status,
};

const GET: [(&str, &str); 4] =
    [(":authority", "a"), (":path", "/p?q"), (":method", "GET"), (":scheme", "http")];
const OK: [(&str, &str); 1] = [(":status", "200")];

fn start(run: impl Fn(Called<'_>) -> Result<Decision, HostError> + 'static) -> (Host, Plugin) {
    script(run);
    let mut host = Host::new();
    let plugin = host.plugin::<Scripted>(json!({})).unwrap();
    (host, plugin)
}

fn callout() -> Callout {
    let headers = [(":method", "GET"), (":path", "/"), (":authority", "auth")];
    Callout {
        cluster: "auth".into(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        body: "".into(),
        trailers: Vec::new(),
        timeout: Duration::from_secs(1),
    }
}

fn reply(status: u16) -> LocalReply {
    LocalReply {
        status,
        headers: vec![("x-by".into(), "me".into())],
        body: "no".into(),
        details: "d e".into(),
        grpc_status: None,
    }
}

/// What one decision about a request's headers makes of them; the explanation of a failure is in the log.
#[track_caller]
fn mutated(read_first: bool, decision: Decision, want: Option<&[(&str, &str)]>) {
    let (host, plugin) = start(move |called| match called {
        Called::Request(request) => {
            if read_first {
                assert_eq!(request.path(), Some(b"/p?q".as_slice()));
            }
            Ok(decision.clone())
        }
        _ => Ok(Decision::next()),
    });
    let seen = plugin.stream().request(&[&GET[..], &[("x-a", "1"), ("x-a", "2"), ("accept", "b")]].concat());
    match want {
        Some(want) => {
            let lines: Vec<_> = seen.headers.iter().skip(GET.len()).collect();
            let want: Vec<_> = want.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            assert_eq!((lines, &seen.outcome), (want, &Outcome::Continued));
        }
        None => {
            assert_eq!(
                seen.reply().map(|reply| (reply.status, &*reply.details)),
                Some((503, "weir_host_error"))
            );
            assert!(host.log().iter().any(|line| line.text.contains("bad argument")), "{:?}", host.log());
        }
    }
}

#[test]
fn mutations_are_the_same_whether_the_map_was_read_or_not() {
    for read in [false, true] {
        let next = Decision::next;
        let untouched = [("x-a", "1"), ("x-a", "2"), ("accept", "b")];
        mutated(read, next(), Some(&untouched));
        mutated(read, next().set("x-b", "3"), Some(&[&untouched[..], &[("x-b", "3")]].concat()));
        mutated(read, next().set("X-A", "3"), Some(&[("accept", "b"), ("x-a", "3")]));
        mutated(
            read,
            next().append("x-b", "3").set("x-b", "4"),
            Some(&[&untouched[..], &[("x-b", "4")]].concat()),
        );
        mutated(read, next().set("x-b", "3").remove("x-b"), Some(&untouched));
        mutated(read, next().remove("x-a").remove("x-none"), Some(&[("accept", "b")]));
        mutated(read, next().append("accept", "c"), Some(&[("x-a", "1"), ("x-a", "2"), ("accept", "b,c")]));
        let add = |name: &str| next().with(Mutation::AddIfAbsent(name.into(), "9".into()));
        mutated(read, add("x-a"), Some(&untouched));
        mutated(read, add("x-b"), Some(&[&untouched[..], &[("x-b", "9")]].concat()));
        let bytes: &[u8] = b"\xff\xfe";
        mutated(read, next().set("x-a", bytes).remove("x-a"), Some(&[("accept", "b")]));
    }
}

#[test]
fn what_would_split_a_message_is_refused_before_anything_changes() {
    for read in [false, true] {
        mutated(read, Decision::next().remove("x-a").set("x-b", "1\r\nset-cookie: a"), None);
        mutated(read, Decision::next().set("x b", "1"), None);
        mutated(read, Decision::next().append("", "1"), None);
        mutated(read, Decision::reply(LocalReply { status: 199, ..reply(200) }), None);
        mutated(
            read,
            Decision::reply(LocalReply { headers: vec![("a".into(), "\n".into())], ..reply(200) }),
            None,
        );
    }
}

#[test]
fn a_reply_passes_the_filters_own_response_callbacks() {
    let (_, plugin) = start(|called| match called {
        Called::Request(_) => Ok(Decision::reply(reply(429))),
        Called::Response(response) => {
            assert_eq!(response.get(":status"), Some(b"429".as_slice()));
            Ok(Decision::next().set("x-arm", "v2"))
        }
        _ => Ok(Decision::next()),
    });
    let mut stream = plugin.stream();
    let seen = stream.request(&GET);
    assert_eq!(seen.reply().map(|reply| (reply.status, &*reply.details)), Some((429, "d_e")));
    let seen = stream.seen_response();
    assert_eq!((seen.header("x-arm"), seen.header("content-type")), (Some("v2"), Some("text/plain")));
    assert_eq!(seen.body, b"no");
}

#[test]
fn an_answered_callout_resumes_its_stream() {
    let (mut host, plugin) = start(|called| match called {
        Called::Request(_) => Ok(Decision::call(callout())),
        Called::Reply(answer) if answer.status == Some(200) => {
            Ok(Decision::next().set("x-user", answer.body))
        }
        Called::Reply(answer) => Ok(Decision::reply(reply(answer.status.unwrap_or(500)))),
        _ => Ok(Decision::next()),
    });
    let (mut first, mut second, mut third) = (plugin.stream(), plugin.stream(), plugin.stream());
    for stream in [&mut first, &mut second, &mut third] {
        assert_eq!(stream.request_headers(&GET).outcome, Outcome::Waiting);
        assert_eq!(stream.request_body("body", true).body, b"");
    }
    assert_eq!(host.callouts()[0], callout());
    host.answer(CalloutReply { status: Some(200), body: b"ann".into(), ..Default::default() });
    assert_eq!(
        (first.seen_request().header("x-user"), first.seen_request().body),
        (Some("ann"), b"body".to_vec())
    );
    host.answer(CalloutReply { status: Some(403), ..Default::default() });
    assert_eq!(second.seen_request().reply().map(|reply| reply.status), Some(403));
    assert_eq!(third.seen_request().outcome, Outcome::Waiting);
    host.advance(Duration::from_secs(1));
    assert_eq!(third.seen_request().reply().map(|reply| reply.status), Some(504));
}

#[test]
fn an_answer_that_comes_after_its_stream_goes_to_the_plugin() {
    let late = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&late);
    let (mut host, plugin) = start(move |called| match called {
        Called::Request(_) => Ok(Decision::call(callout())),
        Called::PluginReply(_, answer) => {
            heard.borrow_mut().push(answer.status);
            Ok(Decision::next())
        }
        Called::Reply(_) => unreachable!("the stream is gone"),
        _ => Ok(Decision::next()),
    });
    let mut stream = plugin.stream();
    stream.request(&GET);
    stream.end();
    host.answer(CalloutReply { status: Some(200), ..Default::default() });
    assert_eq!(*late.borrow(), [Some(200)]);
}

#[test]
fn a_borrowed_callout_is_as_any_other() {
    let (host, plugin) = start(|called| {
        if let Called::Request(request) = called {
            let (headers, trailers) = (request.map(), HeaderMap::from_iter([("x-end", b"\xff")]));
            let timeout = request.plugin().uptime()?.min(Duration::from_secs(7)) + Duration::from_nanos(1);
            request.plugin().callout_of(b"shadow", headers, b"body", &trailers, timeout)?;
        }
        Ok(Decision::next())
    });
    plugin.stream().request(&GET);
    let calls = host.callouts();
    assert_eq!((&*calls[0].cluster, calls[0].body.as_slice()), ("shadow", &b"body"[..]));
    assert_eq!((calls[0].headers.len(), &*calls[0].trailers[0].0), (GET.len(), "x-end"));
    assert_eq!(calls[0].trailers[0].1.as_slice(), b"\xff");
    // Rounded up: 0 would be no timeout at all.
    assert!(!calls[0].timeout.is_zero());
}

#[test]
fn no_more_of_an_answer_is_read_than_the_filter_wants() {
    let read = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&read);
    let (mut host, plugin) = start(move |called| {
        match called {
            Called::Request(request) => request.plugin().callout(&callout()).map(|_| ())?,
            Called::PluginReply(_, answer) => heard.borrow_mut().push(answer.body),
            _ => {}
        }
        Ok(Decision::next())
    });
    plugin.stream().request(&GET);
    host.answer(CalloutReply { status: Some(200), body: vec![7; BODY_LIMIT + 1], ..Default::default() });
    assert_eq!(*read.borrow(), [vec![7; BODY_LIMIT]]);
}

#[test]
fn a_callout_that_cannot_be_made_is_heard_of_at_once() {
    for status in [Status::BadArgument, Status::InternalFailure] {
        let (mut host, plugin) = start(|called| match called {
            Called::Request(_) => Ok(Decision::call(callout())),
            Called::Reply(answer) => Ok(Decision::next().set("x-none", format!("{:?}", answer.status))),
            _ => Ok(Decision::next()),
        });
        host.fail("proxy_http_call", status);
        let seen = plugin.stream().request(&GET);
        assert_eq!((seen.header("x-none"), &seen.outcome), (Some("None"), &Outcome::Continued));
    }
}

#[test]
fn a_filter_that_calls_for_ever_fails() {
    let (mut host, plugin) = start(|called| match called {
        Called::Request(_) | Called::Reply(_) => Ok(Decision::call(callout())),
        _ => Ok(Decision::next()),
    });
    host.fail("proxy_http_call", Status::InternalFailure);
    assert_eq!(plugin.stream().request(&GET).reply().map(|reply| reply.status), Some(503));
}

#[test]
fn thousands_of_streams_wait_on_one_tick() {
    let count = Rc::new(Cell::new(0_u64));
    let (mut host, plugin) = start(move |called| match called {
        Called::Request(_) => {
            count.set(count.get() + 1);
            Ok(Decision::wait(Duration::from_millis(count.get() * 7 % 1000 + 1)))
        }
        Called::Timer => Ok(Decision::next().set("x-waited", "1")),
        _ => Ok(Decision::next()),
    });
    let mut streams: Vec<_> = (0..3000).map(|_| plugin.stream()).collect();
    for stream in &mut streams {
        assert_eq!(stream.request(&GET).outcome, Outcome::Waiting);
    }
    host.advance(Duration::from_millis(500));
    let waiting = |streams: &[super::Stream]| {
        streams.iter().filter(|stream| stream.seen_request().outcome == Outcome::Waiting).count()
    };
    assert_eq!(waiting(&streams), 1500);
    streams.truncate(2000);
    host.advance(Duration::from_millis(501));
    assert_eq!(waiting(&streams), 0);
    assert_eq!(streams[0].seen_request().header("x-waited"), Some("1"));
    assert!(
        host.state.borrow().roots.values().all(|root| root.tick.is_none()),
        "the tick is off when nobody waits"
    );
}

#[test]
fn the_plugin_wakes_once_for_each_time_it_asked() {
    let (mut host, _plugin) = start(|called| match called {
        Called::Configure(host) => {
            host.wake_after(Duration::from_millis(1500))?;
            host.wake_after(Duration::from_secs(1)).map(|()| Decision::next())
        }
        Called::PluginTimer(host) => {
            host.counter("woken")?.increment();
            Ok(Decision::next())
        }
        _ => Ok(Decision::next()),
    });
    for (ms, want) in [(999, 0), (1, 1), (499, 1), (1, 2), (10_000, 2)] {
        host.advance(Duration::from_millis(ms));
        assert_eq!(host.metric("woken"), want);
    }
}

#[test]
fn a_body_is_held_until_it_is_whole() {
    let (_, plugin) = start(|called| match called {
        Called::RequestBody(body) if !body.end_of_stream() => {
            Ok(Decision { flow: Flow::Buffer, ..Default::default() })
        }
        Called::RequestBody(body) => {
            let bytes = body.bytes()?;
            body.replace(&bytes.to_ascii_uppercase())?;
            body.append(b"!")?;
            Ok(Decision::next())
        }
        _ => Ok(Decision::next()),
    });
    let mut stream = plugin.stream();
    stream.request_headers(&GET);
    assert_eq!(stream.request_body("ab", false).outcome, Outcome::Waiting);
    assert_eq!(stream.request_body("cd", false).body, b"");
    let seen = stream.request_body("", true);
    assert_eq!((seen.body, seen.outcome), (b"ABCD!".to_vec(), Outcome::Continued));
}

#[test]
fn a_wait_in_the_body_holds_what_comes_behind() {
    let (mut host, plugin) = start(|called| match called {
        Called::RequestBody(_) => Ok(Decision::wait(Duration::from_secs(1))),
        _ => Ok(Decision::next()),
    });
    let mut stream = plugin.stream();
    stream.request_headers(&GET);
    stream.request_body("ab", false);
    assert_eq!(stream.request_body("cd", true).outcome, Outcome::Waiting);
    host.advance(Duration::from_secs(1));
    assert_eq!(
        (stream.seen_request().body, stream.seen_request().outcome),
        (b"abcd".to_vec(), Outcome::Continued)
    );
}

#[test]
fn trailers_are_read_and_changed() {
    let (_, plugin) = start(|called| match called {
        Called::RequestTrailers(trailers) => {
            assert_eq!(trailers.get("x-t"), Some(b"1".as_slice()));
            Ok(Decision::next().set("x-t", "2"))
        }
        _ => Ok(Decision::next()),
    });
    let mut stream = plugin.stream();
    stream.request_headers(&GET);
    let seen = stream.request_trailers(&[("x-t", "1")]);
    assert_eq!(seen.trailers.first("x-t"), Some(b"2".as_slice()));
}

#[test]
fn the_failure_policy_decides_over_a_failed_callback() {
    for (fail_open, want) in [(false, Some(503)), (true, None)] {
        script(|called| match called {
            Called::Request(request) => {
                let _ = request.path();
                Ok(Decision::next().set("x-a", "1"))
            }
            _ => Ok(Decision::next()),
        });
        let mut host = Host::new();
        let plugin = host.plugin::<Scripted>(json!({ "fail_open": fail_open })).unwrap();
        host.fail("proxy_get_header_map_pairs", Status::InternalFailure);
        let seen = plugin.stream().request(&GET);
        assert_eq!(seen.reply().map(|reply| reply.status), want);
        assert_eq!(seen.header("x-a"), None);
    }
}

#[test]
fn a_stream_that_cannot_be_answered_is_reset_or_held() {
    let refuse = |_: Called<'_>| Err(HostError { call: "x", status: Status::Empty });
    script(|_| Ok(Decision::next()));
    let mut host = Host::new();
    let plugin = host.plugin::<Scripted>(json!({})).unwrap();
    script(refuse);
    host.fail("proxy_send_local_response", Status::InternalFailure);
    assert_eq!(plugin.stream().request(&GET).outcome, Outcome::Reset);
    host.fail("proxy_close_stream", Status::InternalFailure);
    let mut stream = plugin.stream();
    assert_eq!(stream.request_headers(&GET).outcome, Outcome::Waiting);
    host.advance(Duration::from_secs(100));
    assert_eq!(stream.request_body("more", true).outcome, Outcome::Waiting);
}
