//! An outcome as text, without what two proxies cannot agree on, so that equality is equality of texts and a difference is a diff.

use std::fmt::Write;

use crate::exchange::Message;
use crate::outcome::{LogLine, Outcome};

/// Headers that are there on both sides and whose values no two runs share: the value is left out, the place is compared.
const VALUE_VARIES: [&str; 1] = ["x-request-id"];
/// Headers that only a running proxy adds, or that belong to one connection: left out.
const LEFT_OUT: [&str; 6] =
    ["connection", "date", "keep-alive", "server", "transfer-encoding", "x-envoy-upstream-service-time"];

/// What an HTTP/1 request line and `host` do not carry, and HTTP/2 does.
const NOT_ON_THE_WIRE: &str = ":scheme";

/// Everything of an outcome that must be equal wherever the exchange runs; its log lines only where they are known to be its.
#[must_use]
pub fn portrait(outcome: &Outcome, with_log: bool) -> String {
    let mut text = String::new();
    let none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    // Of a cluster that does not exist Envoy logs no name.
    let cluster = if outcome.flags == "NC" { "not there".to_owned() } else { none(&outcome.cluster) };
    for (name, value) in [
        ("end", outcome.end.name().to_owned()),
        ("route", none(&outcome.route)),
        ("cluster", cluster),
        ("details", outcome.details.clone()),
        ("flags", outcome.flags.clone()),
    ] {
        let _ = writeln!(text, "{name}: {value}");
    }
    message(&mut text, "upstream request", outcome.upstream_request.as_ref());
    message(&mut text, "response", outcome.response.as_ref());
    if with_log {
        text.push_str(&log(&outcome.log).concat());
    }
    text
}

/// Log lines as portraits have them. Lines of root contexts, which Envoy does not name, and of level trace are left out.
#[must_use]
pub fn log<'a>(lines: impl IntoIterator<Item = &'a LogLine>) -> Vec<String> {
    let lines = lines.into_iter().filter(|line| !line.plugin.is_empty() && line.level != "trace");
    let text =
        |line: &LogLine| format!("log {}: {}: {}\n", line.plugin, line.level, without_draw(&line.message));
    lines.map(text).collect()
}

/// A call of a filter: what the cluster received.
#[must_use]
pub fn call(cluster: &str, request: &Message) -> String {
    let mut text = String::new();
    message(&mut text, cluster, Some(request));
    text
}

/// A filter that tells where its die fell (`(draw 12.5 %)`) tells another number each time.
fn without_draw(message: &str) -> String {
    let cut = || {
        let (before, rest) = message.split_once("(draw ")?;
        let (_, after) = rest.split_once(" %)")?;
        Some(format!("{before}(draw …){after}"))
    };
    cut().unwrap_or_else(|| message.to_owned())
}

fn message(text: &mut String, name: &str, message: Option<&Message>) {
    let Some(message) = message else {
        let _ = writeln!(text, "{name}: none");
        return;
    };
    let _ = writeln!(text, "{name}:");
    for (prefix, headers) in [("", &message.headers), ("trailer ", &message.trailers)] {
        // Pseudo headers have no order on an HTTP/1 wire.
        let mut lines: Vec<_> =
            headers.iter().filter(|(name, _)| *name != NOT_ON_THE_WIRE.as_bytes()).collect();
        lines.sort_by_key(|(name, _)| if name.starts_with(b":") { *name } else { b";" });
        for (name, value) in lines {
            let name = name.escape_ascii().to_string();
            let varies = VALUE_VARIES.contains(&name.as_str());
            if !LEFT_OUT.contains(&name.as_str()) {
                let value = if varies { "…".to_owned() } else { value.escape_ascii().to_string() };
                let _ = writeln!(text, "  {prefix}{name}: {value}");
            }
        }
    }
    let cut = if message.body_truncated { ", cut" } else { "" };
    let _ = writeln!(text, "  body ({} bytes{cut}): {}", message.body.len(), message.body.escape_ascii());
}

#[cfg(test)]
mod tests {
    use crate::headers::Headers;

    use super::*;

    fn outcome(headers: &[(&str, &str)]) -> Outcome {
        let response =
            Message { headers: headers.iter().copied().collect::<Headers>(), ..Message::default() };
        Outcome { response: Some(response), ..Outcome::default() }
    }

    #[track_caller]
    fn check(one: &[(&str, &str)], other: &[(&str, &str)], equal: bool) {
        let (one, other) = (portrait(&outcome(one), true), portrait(&outcome(other), true));
        assert_eq!(one == other, equal, "{one}\n{other}");
    }

    #[test]
    fn only_what_varies_is_left_out() {
        check(&[("a", "1")], &[("a", "1"), ("date", "today")], true);
        check(&[("x-request-id", "1")], &[("x-request-id", "2")], true);
        check(&[("x-request-id", "1")], &[], false);
        check(&[("a", "1"), ("b", "2")], &[("b", "2"), ("a", "1")], false);
        check(&[("a", "1")], &[("a", "1"), ("a", "1")], false);
        check(&[("a", "1")], &[("a", "")], false);
    }
}
