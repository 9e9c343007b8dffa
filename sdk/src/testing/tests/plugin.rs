//! The shell's promises about plugins: configurations, several in a VM, what they share, what they see.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::{GET, OK, start};
use crate::testing::scripted::{Called, Config, Scripted, script};
use crate::testing::{Host, Outcome};
use crate::{
    Attributes, Bytes, ConfigError, Decision, Explanation, Headers, HostError, HttpFilter, Mutation,
    PluginHost, Request, Status, register,
};

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
    type Config = Config;
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

#[test]
fn what_is_formatted_is_logged_and_what_is_only_said_too() {
    let (mut host, plugin) = start(|called| {
        if let Called::Request(request) = called {
            let path = String::from_utf8_lossy(request.path().unwrap_or_default());
            log::info!("asked for {path:?}");
            log::debug!("{} is not formatted", NotFormatted);
            crate::say(log::Level::Warn, || String::from("said"));
            crate::say(log::Level::Debug, || unreachable!("what the host drops is not made"));
        }
        Ok(Decision::next())
    });
    host.set_log_level(log::Level::Info);
    let _ = plugin.stream().request(&GET);
    let said: Vec<_> = host.log().into_iter().map(|line| (line.level, line.text)).collect();
    let want = [(log::Level::Info, "asked for \"/p?q\""), (log::Level::Warn, "said")];
    assert_eq!(said, want.map(|(level, text)| (level, text.to_owned())));
}

struct NotFormatted;

impl std::fmt::Display for NotFormatted {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        unreachable!("what the host drops is not formatted")
    }
}
