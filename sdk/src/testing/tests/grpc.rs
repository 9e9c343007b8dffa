//! gRPC calls: made, answered, failed, late, and those whose token nobody was told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::{GET, reply, start};
use crate::testing::scripted::{BODY_LIMIT, Called};
use crate::testing::{Outcome, state};
use crate::{Decision, GrpcCall, GrpcReply, Status};

fn call() -> GrpcCall {
    GrpcCall {
        cluster: "users".into(),
        service: "a.b.Service".into(),
        method: "Ask".into(),
        metadata: vec![("x-token".into(), "t".into())],
        message: b"\x08\x01".as_slice().into(),
        timeout: Duration::from_millis(20),
    }
}

fn decide(called: Called<'_>) -> Decision {
    match called {
        Called::Request(_) => Decision::call_grpc(call()),
        Called::GrpcReply(answer) => match answer.ok() {
            Some(message) => Decision::next().set("x-user", message),
            None => Decision::reply(reply(500)).because(answer.status.to_string()),
        },
        _ => Decision::next(),
    }
}

#[test]
fn an_answer_resumes_its_stream() {
    let (mut host, plugin) = start(|called| Ok(decide(called)));
    let (mut first, mut second, mut third) = (plugin.stream(), plugin.stream(), plugin.stream());
    for stream in [&mut first, &mut second, &mut third] {
        assert_eq!(stream.request_headers(&GET).outcome, Outcome::Waiting);
    }
    assert_eq!(host.grpc_calls(), [call(), call(), call()]);
    host.answer_grpc(GrpcReply { status: 0, message: b"ann".into() });
    assert_eq!(first.seen_request().header("x-user"), Some("ann"));
    host.answer_grpc(GrpcReply::failed(7));
    assert!(second.seen_request().reply().is_some());
    assert_eq!(third.seen_request().outcome, Outcome::Waiting);
    host.advance(Duration::from_millis(20));
    assert!(third.seen_request().reply().is_some());
    let told = |status: &str| host.log().iter().any(|line| line.text == format!("decision: {status}"));
    assert!(told("7") && told("13"), "{:?}", host.log());
}

#[test]
fn a_late_answer_goes_to_the_plugin() {
    let late = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&late);
    let (mut host, plugin) = start(move |called| {
        if let Called::PluginGrpcReply(_, answer) = called {
            heard.borrow_mut().push(answer);
            return Ok(Decision::next());
        }
        Ok(decide(called))
    });
    for _ in 0..2 {
        let mut stream = plugin.stream();
        stream.request(&GET);
        stream.end();
    }
    let answers = [GrpcReply { status: 0, message: b"m".into() }, GrpcReply::failed(14)];
    for answer in answers.clone() {
        host.answer_grpc(answer);
    }
    assert_eq!(*late.borrow(), answers);
}

#[test]
fn a_call_that_cannot_be_made_is_heard_of_at_once() {
    for status in [Status::BadArgument, Status::InternalFailure] {
        let (mut host, plugin) = start(|called| Ok(decide(called)));
        host.fail("proxy_grpc_call", status);
        assert!(plugin.stream().request(&GET).reply().is_some());
        assert!(host.log().iter().any(|line| line.text == "decision: 14"), "{:?}", host.log());
        // Envoy tells its end nevertheless, with a token that nobody was told (`CALL-21`).
        host.heal();
        let mut waiting = plugin.stream();
        waiting.request(&GET);
        state::enter(&plugin.state, plugin.root, || plugin.guest.on_grpc_close(plugin.root, 4711, 14));
        assert_eq!(waiting.seen_request().outcome, Outcome::Waiting);
    }
}

#[test]
fn what_would_be_misread_is_not_sent() {
    let broken: [fn(&mut GrpcCall); 3] = [
        |call| call.cluster = "".into(),
        |call| call.timeout = Duration::ZERO,
        |call| call.metadata = vec![("a".into(), "b\r\nc: d".into())],
    ];
    for broken in broken {
        let mut wrong = call();
        broken(&mut wrong);
        let (host, plugin) = start(move |called| match called {
            Called::Request(_) => Ok(Decision::call_grpc(wrong.clone())),
            called => Ok(decide(called)),
        });
        assert!(plugin.stream().request(&GET).reply().is_some());
        assert!(host.grpc_calls().is_empty());
    }
}

#[test]
fn a_filter_that_calls_for_ever_fails() {
    let (mut host, plugin) = start(|called| match called {
        Called::Request(_) | Called::GrpcReply(_) => Ok(Decision::call_grpc(call())),
        _ => Ok(Decision::next()),
    });
    host.fail("proxy_grpc_call", Status::InternalFailure);
    assert_eq!(plugin.stream().request(&GET).reply().map(|reply| reply.status), Some(503));
}

#[test]
fn a_message_that_is_too_long_is_not_read() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = Rc::clone(&heard);
    let (mut host, plugin) = start(move |called| {
        match called {
            Called::Request(request) => request.plugin().grpc_callout(&call()).map(|_| ())?,
            Called::PluginGrpcReply(_, answer) => {
                hears.borrow_mut().push((answer.status, answer.message.len()));
            }
            _ => {}
        }
        Ok(Decision::next())
    });
    for size in [0, BODY_LIMIT, BODY_LIMIT + 1] {
        plugin.stream().request(&GET);
        host.answer_grpc(GrpcReply { status: 0, message: vec![7; size] });
    }
    assert_eq!(*heard.borrow(), [(0, 0), (0, BODY_LIMIT), (8, 0)]);
}

#[test]
fn a_plugin_that_has_ended_hears_nothing() {
    let (mut host, plugin) = start(|called| {
        if let Called::Request(request) = called {
            request.plugin().grpc_callout(&call())?;
        }
        Ok(Decision::next())
    });
    plugin.stream().request(&GET);
    plugin.clone().end();
    host.advance(Duration::from_secs(1));
    assert!(host.grpc_calls().is_empty());
}
