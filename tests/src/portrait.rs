//! An outcome as text, without what two proxies cannot agree on, so that equality is equality of texts and a difference is a diff.

use std::fmt::Write;

use similar::TextDiff;
use weir_harness::exchange::Message;
use weir_harness::outcome::Outcome;

/// Headers that are there on both sides and whose values no two runs share: the value is left out, the place is compared.
const VALUE_VARIES: [&str; 1] = ["x-request-id"];
/// Headers that only a running proxy adds, or that belong to one connection: left out.
const LEFT_OUT: [&str; 6] =
    ["connection", "date", "keep-alive", "server", "transfer-encoding", "x-envoy-upstream-service-time"];

/// Everything of an outcome that must be equal wherever the exchange runs.
#[must_use]
pub fn portrait(outcome: &Outcome) -> String {
    let mut text = String::new();
    let none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    for (name, value) in [
        ("end", outcome.end.name().to_owned()),
        ("route", none(&outcome.route)),
        ("cluster", none(&outcome.cluster)),
        ("details", outcome.details.clone()),
        ("flags", outcome.flags.clone()),
    ] {
        let _ = writeln!(text, "{name}: {value}");
    }
    message(&mut text, "upstream request", outcome.upstream_request.as_ref());
    message(&mut text, "response", outcome.response.as_ref());
    for line in outcome.log.iter().filter(|line| !line.plugin.is_empty() && line.level != "trace") {
        let _ = writeln!(text, "log {}: {}: {}", line.plugin, line.level, line.message);
    }
    text
}

/// How two outcomes differ; nothing when they do not. Lines of the first begin with `-`, of the second with `+`.
#[must_use]
pub fn difference(harness: &Outcome, envoy: &Outcome) -> Option<String> {
    let (harness, envoy) = (portrait(harness), portrait(envoy));
    if harness == envoy {
        return None;
    }
    let diff = TextDiff::from_lines(&harness, &envoy);
    Some(diff.unified_diff().context_radius(2).header("harness", "envoy").to_string())
}

fn message(text: &mut String, name: &str, message: Option<&Message>) {
    let Some(message) = message else {
        let _ = writeln!(text, "{name}: none");
        return;
    };
    let _ = writeln!(text, "{name}:");
    for (prefix, headers) in [("", &message.headers), ("trailer ", &message.trailers)] {
        for (name, value) in headers.iter() {
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
    use weir_harness::headers::Headers;

    use super::*;

    fn outcome(headers: &[(&str, &str)]) -> Outcome {
        let response =
            Message { headers: headers.iter().copied().collect::<Headers>(), ..Message::default() };
        Outcome { response: Some(response), ..Outcome::default() }
    }

    #[track_caller]
    fn check(one: &[(&str, &str)], other: &[(&str, &str)], equal: bool) {
        let difference = difference(&outcome(one), &outcome(other));
        assert_eq!(difference.is_none(), equal, "{}", difference.unwrap_or_default());
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
