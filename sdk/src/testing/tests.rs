//! The shell's promises, each on a whole filter in the in-memory host.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::scripted::{Called, Scripted, script};
use super::{Host, Outcome, Plugin};
use crate::{
    Attributes, Bytes, Callout, CalloutReply, ConfigError, Decision, Explanation, Flow, Headers, HostError,
    HttpFilter, LocalReply, Mutation, PluginHost, Request, Status, register,
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

#[test]
fn a_refused_configuration_changes_nothing() {
    let (mut host, plugin) = start(|_| Ok(Decision::next()));
    plugin.configure(&json!({"name": "old"})).unwrap();
    let refused = plugin.configure(&json!({"name": 3, "fail_opem": true})).unwrap_err();
    assert_eq!(refused.log.len(), 2, "a line for each problem: {refused}");
    assert!(refused.log.iter().all(|line| line.starts_with("test: configuration refused: `")), "{refused}");
    let mut stream = plugin.stream();
    stream.request(&GET);
    assert_eq!(stream.response(&OK).header("x-plugin"), Some("old"));
    host.fail("proxy_get_buffer_bytes", Status::InternalFailure);
    assert!(plugin.configure(&json!({"name": "new"})).is_err());
    assert!(host.plugin::<Scripted>(json!({"name": "other"})).is_err());
    host.heal();
    script(|called| match called {
        Called::Configure(host) => host.counter("c").map(|_| Decision::next()),
        _ => Ok(Decision::next()),
    });
    host.fail("proxy_define_metric", Status::BadArgument);
    let refused = plugin.configure(&json!({})).unwrap_err();
    assert!(refused.log[0].contains("`proxy_define_metric`: bad argument"), "{refused}");
}

#[test]
fn plugins_of_one_vm_keep_apart() {
    script(|_| Ok(Decision::next()));
    let mut host = Host::new();
    let one = host.plugin_named::<Scripted>("a", json!({"name": "one"})).unwrap();
    let two = host.plugin_named::<Scripted>("b", json!({"name": "two"})).unwrap();
    let (mut first, mut second) = (one.stream(), two.stream());
    first.request(&GET);
    second.request(&GET);
    one.end();
    assert_eq!(second.response(&OK).header("x-plugin"), Some("two"));
    assert_eq!(
        first.response(&OK).header("x-plugin"),
        Some("one"),
        "streams outlive their plugin (`LOAD-41`)"
    );
}

#[test]
fn an_explanation_is_logged_at_debug() {
    let (mut host, plugin) = start(|called| match called {
        Called::Request(_) => Ok(Decision {
            explanation: Some(Explanation { draw_ppm: Some(12_345), ..Explanation::of(&"because".into()) }),
            ..Default::default()
        }),
        _ => Ok(Decision::next()),
    });
    plugin.stream().request(&GET);
    assert_eq!(
        host.log().last().map(|line| line.text.clone()).as_deref(),
        Some("decision: because (draw 1.2345 %)")
    );
    host.set_log_level(log::Level::Info);
    plugin.stream().request(&GET);
    assert_eq!(host.log().len(), 1);
}

#[test]
fn attributes_time_chance_and_filter_state() {
    let (_, plugin) = start(|called| match called {
        Called::Request(request) => {
            assert_eq!(request.attribute_str(&["source", "address"]), Some(b"10.0.0.1:80".to_vec()));
            assert_eq!(request.attribute_uint(&["connection", "id"]), Some(7));
            assert_eq!(request.attribute_str(&["request", "path"]), Some(b"/p?q".to_vec()));
            assert_eq!(request.attribute_str(&["request", "nothing"]), None);
            assert_eq!(request.plugin().name(), "test");
            assert_ne!(request.random(), request.random());
            let since = request.now().duration_since(std::time::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), 1_767_225_600);
            let value = Bytes::from("v".repeat(200));
            Ok(Decision::next()
                .with(Mutation::FilterState("envoy.string".into(), value))
                .with(Mutation::Property("arm".into(), "v2".into()))
                .with(Mutation::ClearRouteCache))
        }
        _ => Ok(Decision::next()),
    });
    let mut stream = plugin.stream();
    stream.set_attribute(&["source", "address"], "10.0.0.1:80");
    stream.set_attribute(&["connection", "id"], 7_u64);
    assert_eq!(stream.request(&GET).outcome, Outcome::Continued);
    assert_eq!(stream.attribute(&["filter_state", "envoy.string"]), Some(vec![b'v'; 200]));
    assert_eq!(stream.attribute(&["filter_state", "wasm.arm"]), Some(b"v2".to_vec()));
}

#[test]
fn the_end_of_a_stream_shows_what_went_out() {
    let (host, plugin) = start(|called| match called {
        Called::Configure(_) | Called::Request(_) => Ok(Decision::next()),
        Called::Response(_) => Ok(Decision::next().set("x-a", "1")),
        Called::Log(ended) => {
            let status = ended.response().get(":status").unwrap_or(b"none");
            let text = format!("{} {:?}", String::from_utf8_lossy(status), ended.request().path());
            ended.plugin().histogram(&text)?.record(1);
            Ok(Decision::next())
        }
        _ => Ok(Decision::next()),
    });
    let mut stream = plugin.stream();
    stream.request(&GET);
    stream.response(&OK);
    stream.end();
    plugin.stream().end();
    assert_eq!(host.histogram(&format!("200 {:?}", Some(b"/p?q"))), [1]);
    assert_eq!(host.histogram("none None"), [1], "a stream that never came here ends, too (`LIFE-03`)");
}

#[test]
fn of_two_workers_that_found_nothing_the_slower_tries_again() {
    let (host, plugin) = start(|called| match called {
        Called::Request(request) => {
            let total = request.plugin().shared::<u64>("total");
            let rival = total.clone();
            let tries = Cell::new(0);
            let seen = total.update(|old| {
                tries.set(tries.get() + 1);
                if tries.get() == 1 {
                    rival.set(&40).unwrap();
                }
                (old.unwrap_or(0) + 2, old)
            })?;
            Ok(Decision::next().set("x-seen", format!("{seen:?} {}", tries.get())))
        }
        _ => Ok(Decision::next()),
    });
    assert_eq!(plugin.stream().request(&GET).header("x-seen"), Some("Some(40) 2"));
    assert_eq!(host.shared_data("total"), Some(42_u64.to_le_bytes().to_vec()));
}

#[test]
fn an_update_that_always_comes_too_late_gives_up() {
    let tries = Rc::new(Cell::new(0));
    let counted = Rc::clone(&tries);
    let (mut host, plugin) = start(move |called| match called {
        Called::Request(request) => {
            let total = request.plugin().shared::<u64>("total");
            let error = total.update(|_| (counted.replace(counted.get() + 1), ())).unwrap_err();
            assert_eq!(error.status, Status::CasMismatch);
            Ok(Decision::next())
        }
        _ => Ok(Decision::next()),
    });
    host.fail("proxy_set_shared_data", Status::CasMismatch);
    plugin.stream().request(&GET);
    assert_eq!(tries.get(), 32);
}

/// Waits, and has not registered what would wake it.
struct Sleeper;

impl HttpFilter for Sleeper {
    type Config = super::scripted::Config;
    type Stream = ();

    fn configure(_: Self::Config, _: &PluginHost) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn on_request_headers(&self, _: &mut (), _: &Request) -> Result<Decision, HostError> {
        Ok(Decision::wait(Duration::from_secs(1)))
    }

    fn on_response_headers(&self, _: &mut (), _: &crate::Response) -> Result<Decision, HostError> {
        Ok(Decision::next().set("x-never", "1"))
    }
}

register!(Sleeper: on_request_headers);

#[test]
fn a_callback_that_is_not_registered_is_not_called_nor_waited_for() {
    let mut host = Host::new();
    let plugin = host.plugin::<Sleeper>(json!(null)).unwrap();
    let mut stream = plugin.stream();
    assert_eq!(stream.request(&GET).reply().map(|reply| reply.status), Some(503));
    assert!(host.log()[0].text.contains("`on_timer`: unimplemented"), "{:?}", host.log());
    assert_eq!(plugin.stream().response(&OK).header("x-never"), None);
}
