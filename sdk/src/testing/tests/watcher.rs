//! The shell's promises about a filter that only watches.

use serde_json::{Value, json};

use super::{GET, reply};
use crate::testing::Host;
use crate::{
    Callbacks, ConfigError, Decision, FailurePolicy, HostError, HttpFilter, PluginHost, Registered, Request,
    Status,
};

/// Decides what its configuration says.
struct Watcher(Value);

impl Watcher {
    fn decides(&self, decision: &str) -> bool {
        self.0["decision"] == decision
    }
}

impl Registered for Watcher {
    const CALLBACKS: Callbacks = Callbacks::ON_REQUEST_HEADERS;
}

impl HttpFilter for Watcher {
    type Config = Value;
    type Stream = ();

    const ONLY_WATCHES: bool = true;

    fn configure(config: Value, _: &PluginHost) -> Result<Self, ConfigError> {
        Ok(Self(config))
    }

    fn on_request_headers(&self, _: &mut (), _: &Request) -> Result<Decision, HostError> {
        let next = Decision::next();
        if self.decides("fail") {
            return Err(HostError { call: "x", status: Status::Empty });
        }
        Ok(match () {
            () if self.decides("set") => next.set("x-a", "1"),
            () if self.decides("because") => next.because("it is so"),
            () if self.decides("reply") => Decision::reply(reply(403)),
            () => next,
        })
    }

    fn failure_policy(&self) -> FailurePolicy {
        if self.0["fail_open"] == true { FailurePolicy::FailOpen } else { FailurePolicy::FailClosed }
    }
}

#[test]
fn whoever_only_watches_decides_nothing() {
    for fail_open in [true, false] {
        for (decision, failure) in [
            ("next", None),
            ("fail", Some("callback failed: `x`: empty")),
            ("set", Some("callback failed: `ONLY_WATCHES`: unimplemented")),
            ("because", Some("callback failed: `ONLY_WATCHES`: unimplemented")),
            ("reply", Some("callback failed: `ONLY_WATCHES`: unimplemented")),
        ] {
            let mut host = Host::new();
            let config = json!({ "decision": decision, "fail_open": fail_open });
            let plugin = host.plugin::<Watcher>(config).unwrap();
            let seen = plugin.stream().request(&GET);
            let want = failure.filter(|_| !fail_open).map(|_| 503);
            assert_eq!(seen.reply().map(|reply| reply.status), want, "{decision}");
            assert_eq!(seen.header("x-a"), None, "{decision}");
            let said: Vec<_> = host.log().into_iter().map(|line| line.text).collect();
            assert_eq!(said.iter().any(|line| Some(line.as_str()) == failure), failure.is_some(), "{said:?}");
        }
    }
}
