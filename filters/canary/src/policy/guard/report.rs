//! A rollback in words: for the log and explanations, and for the webhook.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::{At, Bytes, Callout, Problems};

use super::counts::Counts;
use super::record::Rolled;
use super::rules::{Cause, nanoseconds, ppm};
use crate::config;
use crate::policy::names;

/// A compiled [`config::Webhook`].
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    cluster: Rc<str>,
    headers: Vec<(Rc<str>, Bytes)>,
    timeout: Duration,
}

impl Webhook {
    pub(super) fn compile(at: &At<'_>, written: &config::Webhook, problems: &mut Problems) -> Self {
        let at = at.field("webhook");
        for &(field, text) in &[("cluster", &written.cluster), ("authority", &written.authority)] {
            if text.is_empty() {
                problems.add(at.field(field), "expected a name, found nothing");
            }
        }
        if !written.path.starts_with('/') {
            problems.add(at.field("path"), "expected a path that begins with `/`");
        }
        for &(field, text) in &[("path", &written.path), ("authority", &written.authority)] {
            if let Err(reason) = names::header_value(text) {
                problems.add(at.field(field), reason);
            }
        }
        if nanoseconds(written.timeout) == 0 {
            problems.add(at.field("timeout"), "expected more than 0, such as `5s`");
        }
        let pseudo = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", &written.authority),
            (":path", &written.path),
            ("content-type", "application/json"),
        ];
        let mut headers: Vec<(Rc<str>, Bytes)> = Vec::new();
        for &(name, value) in &pseudo {
            headers.push((name.into(), value.into()));
        }
        headers.extend(crate::policy::arms::lines(&at.field("headers"), &written.headers, problems));
        Self { cluster: written.cluster.as_str().into(), headers, timeout: written.timeout.0 }
    }

    /// The call that tells it.
    #[must_use]
    pub(crate) fn call(&self, body: String) -> Callout {
        Callout {
            cluster: self.cluster.clone(),
            headers: self.headers.clone(),
            body: body.into(),
            trailers: Vec::new(),
            timeout: self.timeout,
        }
    }
}

/// A share in percent with two decimals.
fn percent(share: (u64, u64)) -> String {
    let hundredths = ppm(share) / 100;
    // With its zero at the left.
    let decimals = (hundredths % 100).saturating_add(100).to_string();
    [&(hundredths / 100).to_string(), ".", decimals.strip_prefix('1').unwrap_or_default()].concat()
}

pub(super) fn reason(label: &str, arm: &str, rolled: &Rolled) -> String {
    let kind = match rolled.cause {
        Cause::Errors => "errors",
        Cause::Slow => "slow calls",
    };
    let share = |counts: Counts| percent(counts.bad(rolled.cause));
    [
        label,
        ", ",
        arm,
        " rolled back: ",
        &share(rolled.arm),
        " % ",
        kind,
        " of ",
        &rolled.arm.calls.to_string(),
        ", stable ",
        &share(rolled.stable),
        " % of ",
        &rolled.stable.calls.to_string(),
    ]
    .concat()
}

pub(super) fn json(names: &[(&str, &str)], rolled: &Rolled, unix_ms: u64) -> String {
    let mut text = String::from("{\"event\":\"rolled_back\"");
    for (name, value) in names {
        for part in &[",\"", name, "\":"] {
            text.push_str(part);
        }
        quote(&mut text, value);
    }
    let cause = match rolled.cause {
        Cause::Errors => "ERROR_RATE",
        Cause::Slow => "SLOW",
    };
    for part in &[",\"cause\":\"", cause, "\",\"unix_ms\":", &unix_ms.to_string()] {
        text.push_str(part);
    }
    for &(name, counts) in &[("arm_calls", rolled.arm), ("stable_calls", rolled.stable)] {
        let number = |number: u64| number.to_string();
        let share = |count: u64| percent((count, counts.calls));
        for part in &[
            ",\"",
            name,
            "\":{\"calls\":",
            &number(counts.calls),
            ",\"errors\":",
            &number(counts.errors),
            ",\"errors_percent\":",
            &share(counts.errors),
            ",\"slow\":",
            &number(counts.slow),
            ",\"slow_percent\":",
            &share(counts.slow),
            "}",
        ] {
            text.push_str(part);
        }
    }
    text + "}"
}

/// A JSON string.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        if matches!(character, '\0'..='\x1f') {
            text.push_str(if character < '\x10' { "\\u000" } else { "\\u001" });
            text.extend(char::from_digit(u32::from(character) & 15, 16));
            continue;
        }
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_json_whatever_the_rule_is_called() {
        let arm = Counts { calls: 30, errors: 10, slow: 1 };
        let stable = Counts { calls: 1000, errors: 1, slow: 0 };
        let rolled = Rolled { since_ns: 7, cause: Cause::Errors, arm, stable };
        assert_eq!(
            reason("rule `r`", "v2", &rolled),
            "rule `r`, v2 rolled back: 33.33 % errors of 30, stable 0.10 % of 1000"
        );
        let text = json(&[("rule", "a \"b\\\n"), ("arm", "v2")], &rolled, 1_000);
        let want = serde_json::json!({
            "event": "rolled_back", "rule": "a \"b\\\n", "arm": "v2", "cause": "ERROR_RATE", "unix_ms": 1000,
            "arm_calls": {"calls": 30, "errors": 10, "errors_percent": 33.33, "slow": 1, "slow_percent": 3.33},
            "stable_calls": {"calls": 1000, "errors": 1, "errors_percent": 0.1, "slow": 0, "slow_percent": 0.0},
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), want);
    }
}
