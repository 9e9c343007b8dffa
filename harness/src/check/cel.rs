//! The rules that custom resources carry in CEL (`x-kubernetes-validations`), with the functions that Kubernetes adds to the language and
//! that these rules use: `isURL`, `url(…).getScheme`, `duration`, `upperAscii`, `split`. Knows no resource.

mod names;

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, ExecutionError, Program, Value as CelValue};
use serde_json::Value;

use super::url;

/// Compiled rules by their text: many stand in a schema a dozen times.
#[derive(Default)]
pub(super) struct Programs(BTreeMap<String, Result<Program, String>>);

impl Programs {
    /// Whether a rule holds for a value of a schema, which says what its fields are called in CEL.
    ///
    /// # Errors
    /// When the rule is no CEL, or ends in an error on this value.
    pub(super) fn holds(&mut self, rule: &str, schema: &Value, value: &Value) -> Result<bool, String> {
        let program = self.0.entry(rule.to_owned()).or_insert_with(|| {
            Program::compile(rule).map_err(|error| format!("cannot be read as CEL: {error}"))
        });
        let program = program.as_ref().map_err(Clone::clone)?;
        let mut context = Context::default();
        add_functions(&mut context)?;
        let value = names::escaped(rule, schema, value);
        context.add_variable("self", value.as_ref()).map_err(|error| error.to_string())?;
        match program.execute(&context) {
            Ok(CelValue::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("comes to {other:?}, which is neither true nor false")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn add_functions(context: &mut Context<'_, '_>) -> Result<(), String> {
    fn text(error: impl std::fmt::Debug) -> String {
        format!("{error:?}")
    }
    context.add_function("isURL", |text: Arc<String>| url::scheme(&text).is_some()).map_err(text)?;
    // A URL stays a text: its scheme is all that is asked of it.
    context.add_function("url", url_of).map_err(text)?;
    let scheme = |This(url): This<Arc<String>>| url::scheme(&url).unwrap_or_default();
    context.add_function("getScheme", scheme).map_err(text)?;
    // Durations are compared only: nanoseconds do for that.
    context.add_function("duration", duration).map_err(text)?;
    context.add_function("split", split).map_err(text)?;
    let upper = |This(value): This<Arc<String>>| value.to_ascii_uppercase();
    context.add_function("upperAscii", upper).map_err(text)
}

fn split(This(text): This<Arc<String>>, separator: Arc<String>) -> CelValue {
    let parts = text.split(separator.as_str()).map(|part| part.to_owned().into());
    CelValue::List(Arc::new(parts.collect()))
}

fn url_of(text: Arc<String>) -> Result<Arc<String>, ExecutionError> {
    match url::scheme(&text) {
        Some(_) => Ok(text),
        None => Err(ExecutionError::function_error("url", format!("`{text}` is no URL"))),
    }
}

fn duration(text: Arc<String>) -> Result<i64, ExecutionError> {
    nanoseconds(&text)
        .ok_or_else(|| ExecutionError::function_error("duration", format!("`{text}` is no duration")))
}

/// How long a duration of Go is; nothing where a text is none.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    Some(sign * go_duration(unsigned)?)
}

/// A duration as Go writes it: numbers with units one after another, such as `1h30m` or `1.5s`.
fn go_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let unit_end = rest[number..].find(|character: char| character.is_ascii_digit() || character == '.');
        let end = unit_end.map_or(rest.len(), |length| number + length);
        let amount: f64 = rest[..number].parse().ok()?;
        let unit = match &rest[number..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        let nanoseconds = amount * unit;
        if nanoseconds > 9e18 {
            return None;
        }
        total = total.checked_add(nanoseconds as i64)?;
        rest = &rest[end..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(rule: &str, value: Value, want: Result<bool, ()>) {
        assert_eq!(
            Programs::default().holds(rule, &json!({}), &value).map_err(|_| ()),
            want,
            "{rule} on {value}"
        );
    }

    #[test]
    fn rules_of_kubernetes_are_understood() {
        check("(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) <= 1", json!({"a": {}, "b": []}), Ok(false));
        check("self.all(key, !key.contains(\"*\"))", json!({"a*": "x"}), Ok(false));
        check("self.all(key, key.size() != 0)", json!({"a": "x"}), Ok(true));
        check("has(self.wasm) != has(self.lua)", json!({"lua": {}}), Ok(true));
        check(
            "!has(self.a) || self.a.all(f, f.kind == 'Service')",
            json!({"a": [{"kind": "Pod"}]}),
            Ok(false),
        );
        check("self.exists(e, e == 'a') == self.exists(e, e == 'b')", json!(["a", "b"]), Ok(true));
        check("has(self.m) && self.m.upperAscii() in ['POST', 'PUT']", json!({"m": "put"}), Ok(true));
        check("0 < self && self <= 65535", json!(65536), Ok(false));
        check("self.matches(r\"\"\"^(\\*\\.)?[-a-z.]+$\"\"\")", json!("*.example.com"), Ok(true));
        check("self.matches(r\"\"\"^(\\*\\.)?[-a-z.]+$\"\"\")", json!("a*"), Ok(false));
        check("self.all(a, self.exists_one(b, a.n == b.n))", json!([{"n": 1}, {"n": 2}]), Ok(true));
        check("self.all(a, self.exists_one(b, a.n == b.n))", json!([{"n": 1}, {"n": 1}]), Ok(false));
        check("(self.size() > 0 ? self[0].matches.size() : 0) <= 1", json!([{"matches": [1, 2]}]), Ok(false));
        check("size(self.a) > 0 || size(self.b) > 0", json!({"b": {"c": "d"}}), Ok(true));
        check("size(self.a) > 0 || size(self.b) > 0", json!({}), Err(()));
        check("has(self.a.b)", json!({}), Err(()));
        check("1 +", json!({}), Err(()));
        check("1", json!({}), Err(()));
    }

    #[test]
    fn functions_that_kubernetes_adds() {
        let url = "isURL(self) ? (url(self).getScheme() in [\"\", \"oci\"]) : (isURL(\"http://\" + self) &&\n\
                   url(\"http://\" + self).getScheme() in [\"http\"])";
        check(url, json!("oci://x/y"), Ok(true));
        check(url, json!("x/y"), Ok(true));
        check(url, json!("fake://x/y"), Ok(false));
        check(url, json!("#%blah$#@"), Ok(false));
        check("duration(self) >= duration('1ms')", json!("1h30m"), Ok(true));
        check("duration(self) >= duration('1ms')", json!("999us"), Ok(false));
        check("duration(self) >= duration('1ms')", json!("-1s"), Ok(false));
        check("duration(self) >= duration('1ms')", json!("1"), Err(()));
        check("duration(self) > duration('0s')", json!("1.5s"), Ok(true));
        check("self.split('/')[0].size() < 4", json!("a.b/c"), Ok(true));
        check("self.split('/').size() == 1", json!("a.b"), Ok(true));
    }
}
