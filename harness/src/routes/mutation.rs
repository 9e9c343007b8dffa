//! `request_headers_to_add`, `…_to_remove` and the same for responses, of one level of the configuration.

use std::borrow::Cow;

use super::format::{Facts, Format};
use super::parse::{Fields, RouteError, object, string};
use crate::headers::{Headers, Kind};

/// Header changes of a level.
#[derive(Debug, Default)]
pub(super) struct Mutations {
    request: Changes,
    response: Changes,
}

#[derive(Debug, Default)]
struct Changes {
    add: Vec<Add>,
    remove: Vec<String>,
}

#[derive(Debug)]
struct Add {
    name: String,
    value: Format,
    action: AppendAction,
    keep_empty: bool,
}

#[derive(Clone, Copy, Debug)]
enum AppendAction {
    AppendIfExistsOrAdd,
    AddIfAbsent,
    OverwriteIfExistsOrAdd,
    OverwriteIfExists,
}

impl Mutations {
    pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self, RouteError> {
        Ok(Self {
            request: Changes::parse(fields, "request_headers_to_add", "request_headers_to_remove")?,
            response: Changes::parse(fields, "response_headers_to_add", "response_headers_to_remove")?,
        })
    }

    pub(super) fn request(&self, headers: &mut Headers, facts: &Facts<'_>) {
        self.request.apply(headers, Kind::Request, facts);
    }

    pub(super) fn response(&self, headers: &mut Headers, facts: &Facts<'_>) {
        self.response.apply(headers, Kind::Response, facts);
    }
}

impl Changes {
    fn parse(fields: &mut Fields<'_>, to_add: &str, to_remove: &str) -> Result<Self, RouteError> {
        let mut changes = Self::default();
        for (value, path) in fields.list(to_add)? {
            let mut option = object(value, &path)?;
            let Some((header, header_path)) = option.child("header") else {
                return Err(option.error("header", "is missing"));
            };
            let mut header = object(header, &header_path)?;
            let name = header.required_string("key")?.to_ascii_lowercase();
            let value = header.string("value")?.unwrap_or_default();
            let value = Format::parse(&value).map_err(|reason| header.error("value", &reason))?;
            header.finish()?;
            let append = option.optional_bool("append")?;
            let action = match (option.string("append_action")?.as_deref(), append) {
                (None, Some(false)) => AppendAction::OverwriteIfExistsOrAdd,
                (None | Some("APPEND_IF_EXISTS_OR_ADD"), _) => AppendAction::AppendIfExistsOrAdd,
                (Some("ADD_IF_ABSENT"), _) => AppendAction::AddIfAbsent,
                (Some("OVERWRITE_IF_EXISTS_OR_ADD"), _) => AppendAction::OverwriteIfExistsOrAdd,
                (Some("OVERWRITE_IF_EXISTS"), _) => AppendAction::OverwriteIfExists,
                (Some(_), _) => return Err(option.error("append_action", "is not one of Envoy's")),
            };
            let keep_empty = option.bool("keep_empty_value")?;
            option.finish()?;
            changes.add.push(Add { name, value, action, keep_empty });
        }
        for (value, path) in fields.list(to_remove)? {
            changes.remove.push(string(value, &path)?.to_ascii_lowercase());
        }
        Ok(changes)
    }

    /// Removes first; then every value is made and every condition asked of what is left; then overwrites, then adds: as Envoy does.
    fn apply(&self, headers: &mut Headers, kind: Kind, facts: &Facts<'_>) {
        for name in &self.remove {
            headers.remove(name.as_bytes());
        }
        if self.add.is_empty() {
            return;
        }
        let mut overwrites: Vec<(&str, Cow<'_, [u8]>)> = Vec::new();
        let mut adds = Vec::new();
        for add in &self.add {
            let value = add.value.value(headers, facts);
            if value.is_empty() && !add.keep_empty {
                continue;
            }
            let there = || headers.get(add.name.as_bytes()).is_some();
            match add.action {
                AppendAction::AppendIfExistsOrAdd => adds.push((add.name.as_str(), value)),
                AppendAction::AddIfAbsent if !there() => adds.push((&add.name, value)),
                AppendAction::OverwriteIfExistsOrAdd => overwrites.push((&add.name, value)),
                AppendAction::OverwriteIfExists if there() => overwrites.push((&add.name, value)),
                AppendAction::AddIfAbsent | AppendAction::OverwriteIfExists => {}
            }
        }
        for (name, value) in overwrites {
            headers.replace(name.as_bytes(), &value);
        }
        for (name, value) in adds {
            headers.add(name.as_bytes(), &value, kind);
        }
    }
}
