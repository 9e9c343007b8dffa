//! Reads what an Envoy says it did: entries of its access log, lines of its own log. Pure: knows texts, not processes.

use std::time::Duration;

use crate::exchange::Message;
use crate::outcome::{End, LogLine, Outcome};
use serde_json::Value;

use super::bootstrap::Plugin;

/// The outcome of an exchange from its access log entry, what the upstream received with the name of its cluster, and what the client did.
///
/// The end is told from `%RESPONSE_CODE_DETAILS%`: what is not Envoy's own is a filter's local reply.
#[must_use]
pub fn outcome(entry: &Value, upstream: Option<(String, Message)>, response: Option<Message>) -> Outcome {
    let text = |field: &str| match entry.get(field).and_then(Value::as_str) {
        None | Some("-" | "") => None,
        Some(text) => Some(text.to_owned()),
    };
    let details = text("details").unwrap_or_default();
    let (cluster, request) = upstream.unzip();
    let end = end(&details, response.is_some());
    // Envoy selects a route before the first filter runs, and logs it also where a filter ended the stream and nothing was routed.
    let routed = request.is_some() || matches!(end, End::Forwarded | End::Direct | End::Refused);
    Outcome {
        end,
        route: text("route").filter(|_| routed),
        cluster: cluster.or_else(|| text("cluster").filter(|_| routed)),
        upstream_request: request,
        response,
        flags: text("flags").unwrap_or_default(),
        details,
        duration: Duration::from_millis(number(entry, "duration").unwrap_or_default()),
        ..Outcome::default()
    }
}

fn end(details: &str, answered: bool) -> End {
    let base = details.split('{').next().unwrap_or_default();
    match base {
        "via_upstream" if answered => End::Forwarded,
        "wasm_close_stream" | "via_upstream" | "upstream_reset_after_response_started" => End::Reset,
        "downstream_remote_disconnect" => End::Aborted,
        "wasm_fail_stream" => End::Trapped,
        "stream_idle_timeout" | "request_overall_timeout" => End::Stalled,
        "direct_response" => End::Direct,
        "route_not_found"
        | "cluster_not_found"
        | "no_healthy_upstream"
        | "upstream_reset_before_response_started"
        | "response_timeout"
        | "upstream_per_try_timeout"
        | "absolute_path_rejected"
        | "missing_host_header"
        | "filter_removed_required_request_headers"
        | "filter_removed_required_response_headers"
        | "request_payload_too_large"
        | "response_payload_too_large" => End::Refused,
        _ => End::LocalReply,
    }
}

/// The port that the client of an access log entry called.
#[must_use]
pub fn called(entry: &Value) -> Option<u16> {
    number(entry, "called")?.try_into().ok()
}

/// A field that Envoy writes as a number or as a text.
fn number(entry: &Value, field: &str) -> Option<u64> {
    let value = entry.get(field)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// What an Envoy that did not start complains of: its last line at level critical or error, else all that it said.
#[must_use]
pub fn complaint(log: &str) -> String {
    let mut said = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("][critical][").or_else(|| line.split_once("][error]["))?;
        Some(rest.split_once("] ")?.1.split_once("] ").map_or(rest, |(_, said)| said).to_owned())
    });
    said.next_back().unwrap_or_else(|| log.trim().to_owned())
}

/// The lines that plugins logged, in order; a line of a root context, which Envoy does not name, belongs to no plugin.
///
/// Envoy writes `[time][thread][level][wasm] [file:line] wasm log name root_id vm_id: message` and further lines of a message as they are.
#[must_use]
pub fn plugin_log(log: &str, plugins: &[Plugin]) -> Vec<LogLine> {
    let mut lines: Vec<LogLine> = Vec::new();
    let mut is_plugin = false;
    for line in log.lines() {
        if let Some((level, rest)) = entry(line) {
            let said = rest.split_once("wasm log").filter(|(before, _)| before.ends_with("] "));
            is_plugin = said.is_some();
            if let Some((_, text)) = said {
                lines.push(message(level, text, plugins));
            }
        } else if let Some(last) = lines.last_mut().filter(|_| is_plugin) {
            last.message.push('\n');
            last.message.push_str(line);
        }
    }
    lines
}

/// The beginning of an entry of Envoy's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// The time of the day, as Envoy writes it: `09:00:00.123`.
    pub time: &'a str,
    /// The level.
    pub level: &'static str,
    /// The plugin that logged it, an empty text where Envoy does not say which; absent of what Envoy itself says.
    pub plugin: Option<String>,
    /// The first line of what it says.
    pub message: String,
}

/// An entry of Envoy's log, when a line begins one.
#[must_use]
pub fn log_entry<'a>(line: &'a str, plugins: &[Plugin]) -> Option<LogEntry<'a>> {
    let (level, rest) = entry(line)?;
    let time = line.get("[2026-05-04 ".len()..)?.split(']').next()?;
    let said = rest.split_once("wasm log").filter(|(before, _)| before.ends_with("] "));
    if let Some((_, text)) = said {
        let LogLine { plugin, level, message } = message(level, text, plugins);
        return Some(LogEntry { time, level, plugin: Some(plugin), message });
    }
    // `name] [file:line] what`, or without the place.
    let (_, what) = rest.split_once("] ")?;
    let place = what.strip_prefix('[').and_then(|what| what.split_once("] "));
    let message = place.map_or(what, |(_, what)| what).to_owned();
    Some(LogEntry { time, level: level.unwrap_or("info"), plugin: None, message })
}

/// The level and the rest, when a line begins an entry of Envoy's `wasm` logger; no level when it is another logger's.
fn entry(line: &str) -> Option<(Option<&'static str>, &str)> {
    let mut parts = line.strip_prefix("[20")?.splitn(5, "][");
    let (_time, _thread, level, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let levels = ["trace", "debug", "info", "warning", "error", "critical"];
    Some((levels.into_iter().find(|name| *name == level), rest))
}

fn message(level: Option<&'static str>, text: &str, plugins: &[Plugin]) -> LogLine {
    let level = level.unwrap_or("info");
    for plugin in plugins {
        let parts = [&plugin.name, &plugin.root_id, &plugin.vm_id];
        let prefix: String =
            parts.into_iter().filter(|part| !part.is_empty()).map(|part| format!(" {part}")).collect();
        if let Some(rest) = text.strip_prefix(&prefix).and_then(|rest| rest.strip_prefix(": ")) {
            return LogLine { plugin: plugin.name.clone(), level, message: rest.to_owned() };
        }
    }
    let message = text.split_once(": ").map_or(text, |(_, message)| message);
    LogLine { plugin: String::new(), level, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_end(details: &str, answered: bool, want: End) {
        let entry = json!({"details": details, "flags": "-", "cluster": "c"});
        let got = outcome(&entry, None, answered.then(Message::default));
        let cluster = matches!(want, End::Forwarded | End::Refused).then_some("c");
        assert_eq!((got.end, got.flags.as_str(), got.cluster.as_deref()), (want, "", cluster));
    }

    #[test]
    fn the_end_is_told_from_the_details() {
        check_end("via_upstream", true, End::Forwarded);
        check_end("wasm_close_stream", false, End::Reset);
        check_end("wasm_fail_stream", true, End::Trapped);
        check_end("upstream_reset_before_response_started{overflow}", true, End::Refused);
        check_end("stream_idle_timeout", true, End::Stalled);
        check_end("", true, End::LocalReply);
        check_end("my_filter", true, End::LocalReply);
    }

    #[test]
    fn lines_belong_to_their_plugin() {
        let log = "[2026-05-04 09:00:00.000][12][debug][wasm] [source/extensions/common/wasm/context.cc:1196] wasm log a root: one: two\n\
                   three\n\
                   [2026-05-04 09:00:00.000][12][info][main] [source/server/server.cc:1] starting\n\
                   more of that\n\
                   [2026-05-04 09:00:00.000][12][warning][wasm] [source/extensions/common/wasm/context.cc:1196] wasm log root: hello\n\
                   [2026-05-04 09:00:00.000][12][error][wasm] [source/extensions/common/wasm/context.cc:1196] wasm log: bare\n";
        let plugin = Plugin { name: "a".to_owned(), root_id: "root".to_owned(), ..Plugin::default() };
        let got = plugin_log(log, &[plugin]);
        let got: Vec<_> =
            got.iter().map(|line| (line.plugin.as_str(), line.level, line.message.as_str())).collect();
        assert_eq!(got, [("a", "debug", "one: two\nthree"), ("", "warning", "hello"), ("", "error", "bare")]);
    }
}
