//! What fields are called in CEL: Kubernetes writes names that are no identifiers or are words of the language in another way, such as
//! `__namespace__`. Knows no resource.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Words that CEL keeps for itself.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The value with the names that its fields have in a rule. Keys that are data (`additionalProperties`) stay as they are.
pub(super) fn escaped<'a>(rule: &str, schema: &Value, value: &'a Value) -> Cow<'a, Value> {
    // Only a rule that says such a name needs them.
    if rule.contains("__") { Cow::Owned(fields(schema, value)) } else { Cow::Borrowed(value) }
}

fn fields(schema: &Value, value: &Value) -> Value {
    let part = |name: &str| schema.get(name).unwrap_or(&Value::Null);
    match value {
        Value::Object(map) => {
            let field = |(key, value): (&String, &Value)| match part("properties").get(key) {
                Some(schema) => (name(key), fields(schema, value)),
                None => (key.clone(), fields(part("additionalProperties"), value)),
            };
            Value::Object(map.iter().map(field).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| fields(part("items"), item)).collect(),
        other => other.clone(),
    }
}

/// A field's name in CEL.
fn name(field: &str) -> String {
    if RESERVED.contains(&field) {
        return format!("__{field}__");
    }
    let escaped = field.replace("__", "__underscores__");
    escaped.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_have_names_that_cel_can_say() {
        for (field, want) in [
            ("name", "name"),
            ("namespace", "__namespace__"),
            ("x-prop", "x__dash__prop"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("redact__d", "redact__underscores__d"),
            ("_a", "_a"),
        ] {
            assert_eq!(name(field), want);
        }
    }

    #[test]
    fn keys_that_are_data_stay() {
        let texts = json!({"additionalProperties": {"properties": {"namespace": {}}}});
        let schema = json!({"items": {"properties": {"namespace": {}, "labels": texts}}});
        let value = json!([{"namespace": "a", "labels": {"namespace": {"namespace": 1}}}]);
        let rule = "self[0].__namespace__ == 'a' && self[0].labels['namespace'].__namespace__ == 1";
        let got = escaped(rule, &schema, &value);
        assert_eq!(*got, json!([{"__namespace__": "a", "labels": {"namespace": {"__namespace__": 1}}}]));
        assert_eq!(crate::check::cel::Programs::default().holds(rule, &schema, &value), Ok(true));
        assert_eq!(*escaped("self[0].name", &schema, &value), value);
    }
}
