//! A value against a JSON Schema: what is wrong, where, and what would be accepted, in words. Knows no Kubernetes and no plugin.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::document::step;
use crate::yaml;

/// A schema that is ready to be used.
pub(super) struct Schema {
    schema: Value,
    validator: Validator,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The value's JSON pointer; that of the field itself where there should be none.
    pub(super) pointer: String,
    /// There should be no such field.
    pub(super) is_unknown: bool,
    /// What is wrong, and what would be accepted.
    pub(super) reason: String,
    /// What is probably meant.
    pub(super) hint: Option<String>,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When it is no schema.
    pub(super) fn new(schema: Value) -> Result<Self, String> {
        let validator = jsonschema::options().build(&schema).map_err(|error| error.to_string())?;
        Ok(Self { schema, validator })
    }

    /// All mistakes of a value, in the order of the schema.
    #[must_use]
    pub(super) fn mistakes(&self, value: &Value) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for error in self.validator.iter_errors(value) {
            self.explain(&error, value, &mut mistakes);
        }
        mistakes
    }

    fn explain(&self, error: &ValidationError<'_>, value: &Value, mistakes: &mut Vec<Mistake>) {
        let pointer = error.instance_path().as_str().to_owned();
        if let Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } =
            error.kind()
        {
            let known = self.siblings(error);
            for field in unexpected {
                let nearest = yaml::nearest(field, known.iter().map(String::as_str));
                mistakes.push(Mistake {
                    pointer: format!("{pointer}{}", step(field)),
                    is_unknown: true,
                    reason: format!("unknown field `{field}`"),
                    hint: nearest
                        .map(|nearest| format!("did you mean `{nearest}`?"))
                        .or_else(|| accepted(&known)),
                });
            }
            return;
        }
        if let Kind::OneOfNotValid { context } | Kind::AnyOf { context } = error.kind()
            && let Some(branch) = nearest_branch(context, &pointer)
        {
            branch.iter().for_each(|error| self.explain(error, value, mistakes));
            return;
        }
        let found = value.pointer(&pointer).unwrap_or(&Value::Null);
        let (reason, hint) = self.reason(error, found);
        mistakes.push(Mistake { pointer, is_unknown: false, reason, hint });
    }

    /// The fields beside the one that a schema does not know.
    fn siblings(&self, error: &ValidationError<'_>) -> Vec<String> {
        let path = error.schema_path().as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let fields = self.schema.pointer(parent).and_then(|parent| parent.get("properties"));
        fields.and_then(Value::as_object).map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    }

    fn reason(&self, error: &ValidationError<'_>, found: &Value) -> (String, Option<String>) {
        let reason = match error.kind() {
            Kind::Required { property } => {
                format!("the field `{}` is missing", property.as_str().unwrap_or_default())
            }
            Kind::Type { kind } => {
                let expected = match kind {
                    TypeKind::Single(one) => article(one.as_str()),
                    TypeKind::Multiple(several) => {
                        several.iter().map(|one| article(one.as_str())).collect::<Vec<_>>().join(" or ")
                    }
                };
                format!("expected {expected}, found {}", describe(found))
            }
            Kind::Enum { options } => {
                let options: Vec<&str> =
                    options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                match found.as_str() {
                    Some(found) => yaml::unknown("value", found, &options),
                    None => format!("expected one of `{}`, found {}", options.join("`, `"), describe(found)),
                }
            }
            Kind::Pattern { pattern } => format!("{} does not match `{pattern}`", describe(found)),
            Kind::Minimum { limit } => format!("{} is below {limit}, the least accepted", describe(found)),
            Kind::Maximum { limit } => format!("{} is above {limit}, the most accepted", describe(found)),
            Kind::ExclusiveMinimum { limit } => format!("{} must be above {limit}", describe(found)),
            Kind::ExclusiveMaximum { limit } => format!("{} must be below {limit}", describe(found)),
            Kind::MinLength { limit: 1 } => "must not be empty".to_owned(),
            Kind::MinLength { limit } => format!("is shorter than {limit} characters"),
            Kind::MaxLength { limit } => format!("is longer than {limit} characters"),
            Kind::MinItems { limit } => format!("has fewer than {limit} entries"),
            Kind::MaxItems { limit } => format!("has more than {limit} entries"),
            Kind::MinProperties { limit } => format!("has fewer than {limit} fields"),
            Kind::MaxProperties { limit } => format!("has more than {limit} fields"),
            Kind::UniqueItems => "has an entry twice".to_owned(),
            Kind::Format { format } => format!("{} is not of the format `{format}`", describe(found)),
            Kind::Constant { expected_value } => {
                format!("expected {expected_value}, found {}", describe(found))
            }
            Kind::OneOfNotValid { .. }
            | Kind::OneOfMultipleValid { .. }
            | Kind::AnyOf { .. }
            | Kind::Not { .. } => {
                return self.choice(error, found);
            }
            _ => error.to_string(),
        };
        (reason, None)
    }

    /// A choice of fields, of which too many or none are set.
    fn choice(&self, error: &ValidationError<'_>, found: &Value) -> (String, Option<String>) {
        let schema = self.schema.pointer(error.schema_path().as_str()).unwrap_or(&Value::Null);
        let branches = schema.as_array().cloned().unwrap_or_default();
        let mut fields: Vec<String> = Vec::new();
        let mut is_optional = false;
        for branch in &branches {
            is_optional |= branch.get("not").is_some();
            let required = branch["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            fields.extend(required.map(str::to_owned));
        }
        if fields.is_empty() {
            let text = format!("{} is none of the accepted forms", describe(found));
            return (text, forms(&branches));
        }
        let set: Vec<&str> =
            fields.iter().filter(|field| found.get(field.as_str()).is_some()).map(String::as_str).collect();
        let many = if is_optional { "at most one" } else { "exactly one" };
        let set = if set.is_empty() { "none".to_owned() } else { format!("`{}`", set.join("`, `")) };
        (format!("{many} of `{}` is accepted, found {set}", fields.join("`, `")), None)
    }
}

/// The branch of a choice that the value was probably meant to be: the one that went wrong deepest inside.
fn nearest_branch<'a>(
    branches: &'a [Vec<ValidationError<'static>>],
    pointer: &str,
) -> Option<&'a [ValidationError<'static>]> {
    let depth = |branch: &[ValidationError<'static>]| {
        branch.iter().map(|error| error.instance_path().as_str().matches('/').count()).max().unwrap_or(0)
    };
    let branch = branches.iter().max_by_key(|branch| depth(branch))?;
    (depth(branch) > pointer.matches('/').count()).then_some(branch)
}

/// What the branches of a choice accept, where they say it with a name.
fn forms(branches: &[Value]) -> Option<String> {
    let name = |branch: &Value| -> Option<String> {
        if let Some(constant) = branch.get("const") {
            return Some(format!("`{constant}`"));
        }
        let field = branch["required"].as_array().and_then(|fields| fields.first()).and_then(Value::as_str);
        field.map(|field| format!("`{{{field}: …}}`")).or_else(|| branch["type"].as_str().map(article))
    };
    let names: Vec<String> = branches.iter().filter_map(name).collect();
    (!names.is_empty()).then(|| format!("accepted: {}", names.join(", ")))
}

fn accepted(known: &[String]) -> Option<String> {
    match known {
        [] => None,
        known if known.len() > 12 => None,
        known => Some(format!("accepted: `{}`", known.join("`, `"))),
    }
}

fn article(kind: &str) -> String {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "null" => "nothing",
        other => other,
    }
    .to_owned()
}

/// A value in few words.
#[must_use]
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing (`null`)".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) if text.chars().count() > 60 => "a text".to_owned(),
        Value::String(text) => format!("the text `{}`", text.escape_debug()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: Value, value: Value, want: &[(&str, &str)]) {
        let mistakes = Schema::new(schema).unwrap().mistakes(&value);
        let got: Vec<(&str, &str)> =
            mistakes.iter().map(|mistake| (mistake.pointer.as_str(), mistake.reason.as_str())).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn mistakes_say_what_would_be_accepted() {
        let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
            "a": {"type": "integer", "maximum": 7}, "mode": {"enum": ["OFF", "ON"]}}});
        check(schema.clone(), json!({"a": 9}), &[("/a", "`9` is above 7, the most accepted")]);
        check(schema.clone(), json!({"a": "x"}), &[("/a", "expected a whole number, found the text `x`")]);
        check(schema.clone(), json!({}), &[("", "the field `a` is missing")]);
        check(schema.clone(), json!({"a": 1, "mod": "ON"}), &[("/mod", "unknown field `mod`")]);
        let reason = "unknown value `OFFF`; did you mean `OFF`? accepted: `OFF`, `ON`";
        check(schema, json!({"a": 1, "mode": "OFFF"}), &[("/mode", reason)]);
    }

    #[test]
    fn choices_are_explained() {
        let fields = json!({"oneOf": [
            {"not": {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}}, {"required": ["a"]}, {"required": ["b"]}]});
        check(
            fields,
            json!({"a": 1, "b": 2}),
            &[("", "at most one of `a`, `b` is accepted, found `a`, `b`")],
        );
        let forms = json!({"oneOf": [
            {"type": "object", "required": ["exact"], "properties": {"exact": {"type": "string"}}, "additionalProperties": false},
            {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}, "additionalProperties": false}]});
        check(
            forms.clone(),
            json!({"size": "x"}),
            &[("/size", "expected a whole number, found the text `x`")],
        );
        check(
            forms,
            json!({"size": 1, "exact": "x", "more": 1}),
            &[("", "exactly one of `exact`, `size` is accepted, found `exact`, `size`")],
        );
    }
}
