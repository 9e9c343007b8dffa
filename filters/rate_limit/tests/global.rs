//! Limits that a service knows, on the host in memory: what is asked, what answers do, streams that are gone, and tokens in advance.

use std::time::Duration;

use rate_limit::RateLimit;
use serde_json::{Value, json};
use weir_sdk::protobuf::{Fields, Value as Field, put_bytes, put_number};
use weir_sdk::testing::{Host, Outcome, Plugin, Seen, Stream};
use weir_sdk::{GrpcCall, GrpcReply, Status};

const OK: u64 = 1;
const OVER_LIMIT: u64 = 2;

fn config(global: Value, more: Value) -> Value {
    let mut config = json!({
        "service": {"cluster": "limiter", "domain": "edge"},
        "limits": [{"name": "user", "key": [{"header": "end-user"}], "algorithm": {"global": global}}],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    config
}

fn ask(plugin: &Plugin, user: &str) -> (Stream, Seen) {
    let mut stream = plugin.stream();
    let lines = [(":method", "GET"), (":path", "/"), (":authority", "a"), ("end-user", user)];
    let seen = stream.request(&lines);
    (stream, seen)
}

fn answer(code: u64) -> GrpcReply {
    let mut message = Vec::new();
    put_number(&mut message, 1, code);
    GrpcReply { status: 0, message }
}

/// An answer with one status that ends in so many seconds.
fn answer_until(code: u64, seconds: u64) -> GrpcReply {
    let (mut time, mut status, mut reply) = (Vec::new(), Vec::new(), answer(code));
    put_number(&mut time, 1, seconds);
    put_number(&mut status, 1, code);
    put_bytes(&mut status, 4, &time);
    put_bytes(&mut reply.message, 2, &status);
    reply
}

fn hits(call: &GrpcCall) -> u64 {
    let number = |(number, value)| match value {
        Field::Number(hits) if number == 3 => Some(hits),
        _ => None,
    };
    Fields::new(call.message.as_slice()).find_map(number).unwrap_or(1)
}

fn is_refused(seen: &Seen) -> bool {
    seen.reply().is_some_and(|reply| reply.status == 429)
}

#[test]
fn one_call_asks_for_all_and_the_answer_decides() {
    let mut host = Host::new();
    let limits = json!([
        {"name": "user", "key": [{"header": "end-user"}], "algorithm": {"global": {}}},
        {"name": "everybody", "algorithm": {"global": {}}},
    ]);
    let plugin = host.plugin::<RateLimit>(config(json!({}), json!({"limits": limits}))).unwrap();
    let (first, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Waiting);
    let (second, _) = ask(&plugin, "bob");
    let call = &host.grpc_calls()[0];
    assert_eq!((&*call.cluster, &*call.service), ("limiter", "envoy.service.ratelimit.v3.RateLimitService"));
    assert_eq!((&*call.method, call.timeout), ("ShouldRateLimit", Duration::from_millis(20)));
    let want = b"\x0a\x04edge\x12\x11\x0a\x0f\x0a\x08end-user\x12\x03ann\
        \x12\x1a\x0a\x18\x0a\x0bgeneric_key\x12\x09everybody";
    assert_eq!(call.message.as_slice(), want);
    host.answer_grpc(answer(OK));
    host.answer_grpc(answer(OVER_LIMIT));
    assert_eq!(first.seen_request().outcome, Outcome::Continued);
    let reply = second.seen_request();
    let reply = reply.reply().unwrap();
    assert_eq!(
        (reply.status, reply.body.as_slice(), &*reply.details),
        (429, &b""[..], "request_rate_limited")
    );
    assert_eq!(&*reply.headers[0].0, "x-envoy-ratelimited");
}

#[test]
fn a_stream_that_goes_while_it_waits_gives_back_what_it_has_taken() {
    let mut host = Host::new();
    let limits = json!([
        {"name": "at-once", "algorithm": {"concurrency": {"max_requests": 1}}},
        {"name": "day", "algorithm": {"token_bucket": {"max_tokens": 1, "fill_interval": "1d"}}},
        {"name": "user", "algorithm": {"global": {}}},
    ]);
    let plugin = host.plugin::<RateLimit>(config(json!({}), json!({"limits": limits}))).unwrap();
    let (first, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Waiting);
    assert!(is_refused(&ask(&plugin, "ann").1));
    first.end();
    // The answer comes too late, for nobody.
    host.answer_grpc(answer(OVER_LIMIT));
    assert_eq!(host.metric("rate_limit.service.over_limit"), 0);
    let (second, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Waiting);
    host.answer_grpc(answer(OVER_LIMIT));
    assert!(is_refused(&second.seen_request()));
    drop(second);
    let (third, _) = ask(&plugin, "ann");
    host.answer_grpc(answer(OK));
    assert_eq!(third.seen_request().outcome, Outcome::Continued);
    drop(third);
    assert!(is_refused(&ask(&plugin, "ann").1), "the day's only one is taken");
}

#[test]
fn a_service_that_fails_is_as_the_failure_mode_says() {
    for (denies, want) in
        [(json!({}), None), (json!({"failure_mode_deny": true, "status_on_error": 503}), Some(503))]
    {
        let mut host = Host::new();
        let mut written = config(json!({}), json!({}));
        for (name, value) in denies.as_object().unwrap() {
            written["service"][name] = value.clone();
        }
        let plugin = host.plugin::<RateLimit>(written).unwrap();
        let replies = [GrpcReply::failed(14), GrpcReply { status: 0, message: b"garbage".into() }, answer(0)];
        for reply in replies {
            let (stream, _) = ask(&plugin, "ann");
            host.answer_grpc(reply);
            assert_eq!(stream.seen_request().reply().map(|reply| reply.status), want);
        }
        // Too long to be read, too late, and not to be called at all.
        let (stream, _) = ask(&plugin, "ann");
        host.answer_grpc(GrpcReply { status: 0, message: vec![0; 70_000] });
        assert_eq!(stream.seen_request().reply().map(|reply| reply.status), want);
        let (stream, _) = ask(&plugin, "ann");
        host.advance(Duration::from_millis(20));
        assert_eq!(stream.seen_request().reply().map(|reply| reply.status), want);
        host.fail("proxy_grpc_call", Status::InternalFailure);
        assert_eq!(ask(&plugin, "ann").1.reply().map(|reply| reply.status), want);
        assert_eq!(host.metric("rate_limit.service.error"), 6);
        let allowed = if want.is_none() { 6 } else { 0 };
        assert_eq!(host.metric("rate_limit.service.failure_mode_allowed"), allowed);
    }
}

#[test]
fn who_waits_for_its_turn_waits_after_the_service() {
    let mut host = Host::new();
    let bucket = json!({"token_bucket": {"max_tokens": 1, "fill_interval": "1s"}});
    let limits = json!([
        {"name": "turn", "algorithm": bucket, "queue": {"max_queued": 5, "max_wait": "5s"}},
        {"name": "user", "algorithm": {"global": {}}},
    ]);
    let plugin = host.plugin::<RateLimit>(config(json!({}), json!({"limits": limits}))).unwrap();
    let (first, _) = ask(&plugin, "ann");
    let (second, _) = ask(&plugin, "ann");
    host.answer_grpc(answer(OK));
    host.answer_grpc(answer(OK));
    assert_eq!(first.seen_request().outcome, Outcome::Continued);
    assert_eq!(second.seen_request().outcome, Outcome::Waiting);
    host.advance(Duration::from_millis(1_001));
    assert_eq!(second.seen_request().outcome, Outcome::Continued);
}

#[test]
fn tokens_in_advance_are_shared_by_workers_and_expire() {
    let mut host = Host::new();
    let lease = json!({"lease": {"tokens": 10, "refill_below": 3, "duration": "1m", "hot_after": 0}});
    let plugin = host.plugin::<RateLimit>(config(lease.clone(), json!({}))).unwrap();
    let (stream, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Waiting);
    assert_eq!(
        host.grpc_calls().iter().map(hits).collect::<Vec<_>>(),
        [10, 1],
        "the request asks for itself"
    );
    host.answer_grpc(answer(OK));
    host.answer_grpc(answer(OK));
    assert_eq!(stream.seen_request().outcome, Outcome::Continued);
    // The same configuration again, as another worker has it.
    plugin.configure(&config(lease, json!({}))).unwrap();
    for _ in 0..7 {
        assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Continued);
    }
    assert!(host.grpc_calls().is_empty());
    assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Continued);
    assert_eq!(host.grpc_calls().iter().map(hits).collect::<Vec<_>>(), [8]);
    // Nobody waits for it, and others have nothing of it.
    assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Continued);
    let (_bob, seen) = ask(&plugin, "bob");
    assert_eq!(seen.outcome, Outcome::Waiting);
    host.answer_grpc(answer(OK));
    for _ in 0..9 {
        assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Continued);
    }
    assert_eq!(host.metric("rate_limit.lease.spent"), 18);
    host.advance(Duration::from_secs(61));
    assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Waiting, "what was left has expired");
}

#[test]
fn who_is_over_the_limit_is_not_asked_about_until_then() {
    let mut host = Host::new();
    let lease = json!({"lease": {"tokens": 10, "duration": "1m", "hot_after": 5}});
    let plugin = host.plugin::<RateLimit>(config(lease, json!({}))).unwrap();
    let (stream, _) = ask(&plugin, "ann");
    host.answer_grpc(answer_until(OVER_LIMIT, 7));
    assert!(is_refused(&stream.seen_request()));
    let (_, seen) = ask(&plugin, "ann");
    let retry = seen.reply().unwrap().headers.iter().find(|(name, _)| &**name == "retry-after").cloned();
    assert_eq!(retry.unwrap().1.as_slice(), b"7");
    assert_eq!(ask(&plugin, "bob").1.outcome, Outcome::Waiting);
    host.advance(Duration::from_secs(7));
    assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Waiting);
    assert_eq!(host.metric("rate_limit.lease.refused"), 1);
}

#[test]
fn a_refused_request_gives_its_token_back() {
    let mut host = Host::new();
    let limits = json!([
        {"name": "user", "key": [{"header": "end-user"}],
            "algorithm": {"global": {"lease": {"tokens": 2, "refill_below": 1, "duration": "1h", "hot_after": 0}}}},
        {"name": "at-once", "algorithm": {"concurrency": {"max_requests": 1}}},
    ]);
    let plugin = host.plugin::<RateLimit>(config(json!({}), json!({"limits": limits}))).unwrap();
    let (stream, _) = ask(&plugin, "ann");
    host.answer_grpc(answer(OK));
    host.answer_grpc(answer(OK));
    for _ in 0..9 {
        assert!(is_refused(&ask(&plugin, "ann").1));
    }
    drop(stream);
    for _ in 0..2 {
        assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Continued);
    }
}

#[test]
fn a_worker_that_is_gone_keeps_nobody_from_asking() {
    let mut host = Host::new();
    let lease = json!({"lease": {"tokens": 10, "duration": "10s", "hot_after": 0}});
    let plugin = host.plugin::<RateLimit>(config(lease.clone(), json!({}))).unwrap();
    host.fail("proxy_grpc_call", Status::InternalFailure);
    // The service fails: after `duration` it is tried again.
    assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Continued);
    host.heal();
    let calls = |host: &Host| host.grpc_calls().iter().map(hits).collect::<Vec<_>>();
    let (_, _) = ask(&plugin, "ann");
    assert_eq!(calls(&host), [1]);
    host.advance(Duration::from_secs(10));
    let (_, _) = ask(&plugin, "ann");
    assert_eq!(calls(&host), [10, 1]);
    // Its answer goes to a configuration that is not there any more.
    plugin.configure(&config(lease, json!({"dry_run": true}))).unwrap();
    host.answer_grpc(answer(OK));
    assert_eq!(host.metric("rate_limit.lease.spent"), 0);
}

#[test]
fn a_store_that_fails_leaves_the_service() {
    let mut host = Host::new();
    let lease = json!({"lease": {"tokens": 10, "duration": "10s", "hot_after": 0}});
    let plugin = host.plugin::<RateLimit>(config(lease, json!({}))).unwrap();
    for call in ["proxy_set_shared_data", "proxy_get_shared_data"] {
        host.fail(call, Status::InternalFailure);
        let (stream, seen) = ask(&plugin, "ann");
        assert_eq!(seen.outcome, Outcome::Waiting);
        host.answer_grpc(answer(OVER_LIMIT));
        assert!(is_refused(&stream.seen_request()));
        host.heal();
    }
    assert_eq!(host.metric("rate_limit.error"), 2);
}
