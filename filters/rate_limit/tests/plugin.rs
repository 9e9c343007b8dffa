//! The whole filter on the host in memory: streams that overlap, wait and are given up; a store that fails; clocks.

use std::time::Duration;

use rate_limit::RateLimit;
use serde_json::{Value, json};
use weir_sdk::Status;
use weir_sdk::testing::{Host, Outcome, Plugin, Seen, Stream};

const GET: [(&str, &str); 3] = [(":method", "GET"), (":path", "/"), (":authority", "a")];

fn ask(plugin: &Plugin, user: &str) -> (Stream, Seen) {
    let mut stream = plugin.stream();
    let seen = stream.request(&[GET[0], GET[1], GET[2], ("end-user", user)]);
    (stream, seen)
}

fn is_refused(plugin: &Plugin, user: &str) -> bool {
    ask(plugin, user).1.reply().is_some_and(|reply| reply.status == 429)
}

fn one_limit(algorithm: Value, more: Value) -> Value {
    let mut limit = json!({"name": "all", "key": [{"header": "end-user"}], "algorithm": algorithm});
    for (name, value) in more.as_object().into_iter().flatten() {
        limit[name] = value.clone();
    }
    json!({"limits": [limit]})
}

fn bucket(max_tokens: u32, fill_interval: &str) -> Value {
    json!({"token_bucket": {"max_tokens": max_tokens, "fill_interval": fill_interval}})
}

#[test]
fn so_many_at_a_time_however_streams_end() {
    let mut host = Host::new();
    let config = one_limit(json!({"concurrency": {"max_requests": 2}}), json!({}));
    let plugin = host.plugin::<RateLimit>(config).unwrap();
    for _ in 0..3 {
        let (mut first, seen) = ask(&plugin, "ann");
        assert_eq!(seen.outcome, Outcome::Continued);
        let (second, _) = ask(&plugin, "ann");
        assert!(is_refused(&plugin, "ann") && !is_refused(&plugin, "bob"));
        first.response(&[(":status", "200")]);
        first.end();
        assert!(!is_refused(&plugin, "ann"));
        // The client of this one has gone, without a response.
        second.end();
    }
    assert_eq!(host.metric("rate_limit.rate_limited"), 3);
}

#[test]
fn who_waits_is_served_in_order_and_who_goes_makes_room() {
    let mut host = Host::new();
    let queue = json!({"queue": {"max_queued": 2, "max_wait": "5s"}});
    let plugin = host.plugin::<RateLimit>(one_limit(bucket(1, "1s"), queue)).unwrap();
    assert_eq!(ask(&plugin, "ann").1.outcome, Outcome::Continued);
    let (second, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Waiting);
    let (third, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Waiting);
    assert!(is_refused(&plugin, "ann"));
    host.advance(Duration::from_millis(999));
    assert_eq!(second.seen_request().outcome, Outcome::Waiting);
    host.advance(Duration::from_millis(2));
    assert_eq!(second.seen_request().outcome, Outcome::Continued);
    assert_eq!(third.seen_request().outcome, Outcome::Waiting);
    // What it would have taken is there for the next.
    third.end();
    let (fourth, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Waiting);
    host.advance(Duration::from_millis(1_000));
    assert_eq!(fourth.seen_request().outcome, Outcome::Continued);
    assert_eq!(host.metric("rate_limit.queued"), 3);
}

#[test]
fn a_refused_request_has_taken_nothing() {
    let mut host = Host::new();
    let plugin = host
        .plugin::<RateLimit>(json!({"limits": [
            {"name": "at-once", "algorithm": {"concurrency": {"max_requests": 2}}},
            {"name": "hour", "algorithm": {"fixed_window": {"max_requests": 9, "window": "1h"}}},
            {"name": "ten", "algorithm": {"sliding_window": {"max_requests": 9, "window": "10s"}}},
            {"name": "user", "key": [{"header": "end-user"}], "algorithm": bucket(1, "1h")},
        ]}))
        .unwrap();
    let (one, _) = ask(&plugin, "u0");
    for _ in 0..20 {
        assert!(is_refused(&plugin, "u0"));
    }
    let (two, _) = ask(&plugin, "u1");
    assert!(is_refused(&plugin, "u2"), "a third at the same time");
    drop((one, two));
    for user in 2..9 {
        assert!(!is_refused(&plugin, &format!("u{user}")), "{user}");
    }
    assert!(is_refused(&plugin, "u9"), "the tenth of the hour");
}

#[test]
fn a_store_that_fails_gives_nothing_away() {
    for (on_error, refused) in [("DENY", true), ("ALLOW", false)] {
        for (status, counter) in [(Status::CasMismatch, "contended"), (Status::InternalFailure, "error")] {
            let mut host = Host::new();
            let mut config = one_limit(bucket(1, "1h"), json!({}));
            config["on_error"] = on_error.into();
            let plugin = host.plugin::<RateLimit>(config).unwrap();
            host.fail("proxy_set_shared_data", status);
            assert_eq!(is_refused(&plugin, "ann"), refused, "{on_error} {status:?}");
            assert_eq!(host.metric(&format!("rate_limit.{counter}")), 1);
            host.heal();
            assert!(!is_refused(&plugin, "ann") && is_refused(&plugin, "ann"));
        }
    }
}

#[test]
fn what_could_not_be_given_back_is_later() {
    let mut host = Host::new();
    let plugin =
        host.plugin::<RateLimit>(one_limit(json!({"concurrency": {"max_requests": 1}}), json!({}))).unwrap();
    let (stream, _) = ask(&plugin, "ann");
    host.fail("proxy_set_shared_data", Status::CasMismatch);
    stream.end();
    host.heal();
    let (_stream, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Continued);
    assert!(is_refused(&plugin, "ann"));
}

#[test]
fn no_clock_is_no_request() {
    let mut host = Host::new();
    let plugin = host.plugin::<RateLimit>(one_limit(bucket(1, "1h"), json!({}))).unwrap();
    host.fail("clock_time_get", Status::InternalFailure);
    host.fail("proxy_get_current_time_nanoseconds", Status::InternalFailure);
    assert_eq!(ask(&plugin, "ann").1.reply().map(|reply| reply.status), Some(503));
}

#[test]
fn plugins_have_their_own_and_a_changed_limit_begins_anew() {
    let mut host = Host::new();
    let config = one_limit(bucket(1, "1h"), json!({}));
    let one = host.plugin_named::<RateLimit>("one", config.clone()).unwrap();
    let two = host.plugin_named::<RateLimit>("two", config.clone()).unwrap();
    assert!(!is_refused(&one, "ann") && is_refused(&one, "ann"));
    assert!(!is_refused(&two, "ann") && is_refused(&two, "ann"));
    // The same again: nothing is forgotten. A larger one begins anew.
    one.configure(&config).unwrap();
    assert!(is_refused(&one, "ann"));
    one.configure(&one_limit(bucket(2, "1h"), json!({}))).unwrap();
    assert!(!is_refused(&one, "ann") && !is_refused(&one, "ann") && is_refused(&one, "ann"));

    let shared = one_limit(bucket(1, "1h"), json!({"share": "tenants"}));
    let three = host.plugin_named::<RateLimit>("three", shared.clone()).unwrap();
    let four = host.plugin_named::<RateLimit>("four", shared).unwrap();
    assert!(!is_refused(&three, "ann") && is_refused(&four, "ann"));
}

#[test]
fn a_stream_that_outlives_a_change_gives_back_where_it_has_taken() {
    let mut host = Host::new();
    let config = |most: u32| one_limit(json!({"concurrency": {"max_requests": most}}), json!({}));
    let plugin = host.plugin::<RateLimit>(config(1)).unwrap();
    let (old, _) = ask(&plugin, "ann");
    plugin.configure(&config(2)).unwrap();
    let (new, _) = ask(&plugin, "ann");
    old.end();
    plugin.configure(&config(1)).unwrap();
    let (again, seen) = ask(&plugin, "ann");
    assert_eq!(seen.outcome, Outcome::Continued);
    drop((new, again));
}

#[test]
fn trailers_and_time_are_charged() {
    let mut host = Host::new();
    let limit = |name: &str, path: &str, charge: Value| {
        json!({"name": name, "match": {"path": {"prefix": path}}, "charge": charge,
            "algorithm": bucket(10, "1h")})
    };
    let plugin = host
        .plugin::<RateLimit>(json!({"headers": {"x_ratelimit": true}, "limits": [
            limit("trailer", "/t", json!({"response_trailer": "x-tokens"})),
            limit("latency", "/l", json!({"latency": {"unit": "100ms"}})),
        ]}))
        .unwrap();
    let left = |path: &str| {
        let mut stream = plugin.stream();
        stream.set_attribute(&["request", "duration"], Duration::from_millis(250));
        stream.request(&[(":method", "GET"), (":path", path), (":authority", "a")]);
        let seen = stream.response_headers(&[(":status", "200")]);
        stream.response_trailers(&[("x-tokens", "4")]);
        stream.end();
        seen.header("x-ratelimit-remaining").map(str::to_owned)
    };
    assert_eq!([left("/t"), left("/t"), left("/t")], ["9", "5", "1"].map(|left| Some(left.to_owned())));
    assert_eq!([left("/l"), left("/l"), left("/l")], ["9", "6", "3"].map(|left| Some(left.to_owned())));
}

#[test]
fn half_are_enforced() {
    let mut host = Host::new();
    let mut config = one_limit(bucket(1, "1h"), json!({}));
    config["enforced"] = 50.into();
    let plugin = host.plugin::<RateLimit>(config).unwrap();
    ask(&plugin, "ann");
    let refused = (0..400).filter(|_| is_refused(&plugin, "ann")).count();
    assert!((140..260).contains(&refused), "{refused}");
    assert_eq!(host.metric("rate_limit.rate_limited"), 400);
    assert_eq!(host.metric("rate_limit.enforced"), refused as u64);
}
