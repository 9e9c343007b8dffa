//! `request_headers_to_add`, `…_to_remove` and the same for responses, of one level of the configuration.

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
    value: String,
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

    pub(super) fn request(&self, headers: &mut Headers) {
        self.request.apply(headers, Kind::Request);
    }

    pub(super) fn response(&self, headers: &mut Headers) {
        self.response.apply(headers, Kind::Response);
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
            if value.replace("%%", "").contains('%') {
                let reason = "substitution formatters such as %REQ(...)% are not supported by the harness";
                return Err(header.error("value", reason));
            }
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
            changes.add.push(Add { name, value: value.replace("%%", "%"), action, keep_empty });
        }
        for (value, path) in fields.list(to_remove)? {
            changes.remove.push(string(value, &path)?.to_ascii_lowercase());
        }
        Ok(changes)
    }

    /// Removes first, then overwrites, then adds, as Envoy does.
    fn apply(&self, headers: &mut Headers, kind: Kind) {
        for name in &self.remove {
            headers.remove(name.as_bytes());
        }
        let given = || self.add.iter().filter(|add| !add.value.is_empty() || add.keep_empty);
        for add in given() {
            let there = headers.get(add.name.as_bytes()).is_some();
            let overwrites = match add.action {
                AppendAction::OverwriteIfExistsOrAdd => true,
                AppendAction::OverwriteIfExists => there,
                AppendAction::AppendIfExistsOrAdd | AppendAction::AddIfAbsent => false,
            };
            if overwrites {
                headers.replace(add.name.as_bytes(), add.value.as_bytes());
            }
        }
        for add in given() {
            let there = headers.get(add.name.as_bytes()).is_some();
            let adds = match add.action {
                AppendAction::AppendIfExistsOrAdd => true,
                AppendAction::AddIfAbsent => !there,
                AppendAction::OverwriteIfExistsOrAdd | AppendAction::OverwriteIfExists => false,
            };
            if adds {
                headers.add(add.name.as_bytes(), add.value.as_bytes(), kind);
            }
        }
    }
}
