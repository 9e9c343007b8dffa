//! Reads the YAML and JSON forms of scenarios, cases and configurations. Every error carries line, column and the path of the field,
//! and says what would be accepted. Knows no form.
//!
//! YAML 1.2: only `true` and `false` are booleans, so `no`, `on` and `y` stay texts; `010` and `1_000` stay texts where no number is
//! asked for; a key that stands twice is refused; anchors and merge keys (`<<`) work; tags are ignored.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Location, Options};

/// A text that is not of the form it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// Line and column, both from 1; absent where the parser does not know.
    pub location: Option<(u64, u64)>,
    /// The path of the field, such as `filters[0].name`; empty for the whole text.
    pub path: String,
    /// What is wrong, and what would be accepted.
    pub reason: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.location {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for YamlError {}

/// A file that cannot be read as the form it should be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not there or cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not of the form.
    #[error("{}: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: YamlError,
    },
}

/// Reads a file of YAML or JSON (JSON is YAML).
///
/// # Errors
/// When it cannot be read, is not UTF-8, or is not of the form `T`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let text = str::from_utf8(&bytes).map_err(|error| FileError::Form {
        path: path.to_owned(),
        source: YamlError {
            location: None,
            path: String::new(),
            reason: format!("not UTF-8 from byte {} on", error.valid_up_to()),
        },
    })?;
    parse(text).map_err(|source| FileError::Form { path: path.to_owned(), source })
}

/// Parses a text of YAML or JSON.
///
/// # Errors
/// When it is not YAML or not of the form `T`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let mut path = String::new();
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    })
    .map_err(|error| explain(error, path.trim_end_matches(['.', '?']).to_owned()))
}

/// Parses a text that may hold several documents; empty ones are left out.
///
/// # Errors
/// When it is not YAML or one is not of the form `T`. The path of the field is not known.
pub fn parse_all<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, YamlError> {
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| explain(error, String::new()))
}

/// The most values of a file, and so of documents: what the parser has.
const MAX_VALUES: usize = 250_000;

const TOO_LARGE: &str =
    "is nested deeper, or larger, than such a file may be: at most 250000 values, 64 MiB and 64 levels";

/// What the parser says, where that is about the parser, and what it means.
const WORDS: [(&str, &str); 6] = [
    ("multiple YAML documents", "expected one document, found another one behind `---`"),
    ("weak recursion", "an anchor that holds itself"),
    ("budget breached", TOO_LARGE),
    ("recursion limit exceeded", TOO_LARGE),
    ("expected string scalar", "expected a text"),
    ("non-finite float", "expected a number that is finite, at most about 1.8e308"),
];

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
        // One file of a cluster's thousands of objects is one; what each of them costs is bounded by the number of values.
        budget: serde_saphyr::budget! { max_documents: MAX_VALUES },
    }
}

fn explain(error: Error, path: String) -> YamlError {
    let location = error.location().filter(|location| *location != Location::UNKNOWN);
    let location = location.map(|location| (location.line(), location.column()));
    let (path, reason) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            // serde names the unknown key as the last part of the path; the reason names it again.
            let parent =
                path.strip_suffix(&field).map_or(path.as_str(), |parent| parent.trim_end_matches('.'));
            (parent.to_owned(), unknown("field", &field, &expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => (path, unknown("value", &variant, &expected)),
        Error::SerdeMissingField { field, .. } => (path, format!("the field `{field}` is missing")),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (path, format!("expected {expected}, found {unexpected}"))
        }
        Error::DuplicateMappingKey { key: Some(key), .. } => (path, format!("the key `{key}` stands twice")),
        Error::InvalidScalar { ty, .. } => (path, format!("expected {}", scalar(ty))),
        Error::InvalidBooleanStrict { .. } => (path, "expected `true` or `false`".to_owned()),
        Error::Eof { .. } => (path, "the file is empty".to_owned()),
        Error::Budget { .. } => (path, TOO_LARGE.to_owned()),
        other => {
            let text = other.to_string();
            if let Some((_, ours)) = WORDS.iter().find(|(theirs, _)| text.contains(theirs)) {
                return YamlError { location, path, reason: (*ours).to_owned() };
            }
            // The parser appends the place, which stands in front already.
            let text = text.split(" at line ").next().unwrap_or_default();
            let text = text.strip_suffix('.').unwrap_or(text).replace('\n', " ");
            (path, text.replace("sequence start", "a list").replace("mapping start", "an object"))
        }
    };
    YamlError { location, path, reason }
}

/// What a Rust number type is in words.
fn scalar(ty: &str) -> String {
    match ty {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" => "a whole number from 0 to 18446744073709551615".to_owned(),
        "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        other => other.to_owned(),
    }
}

/// Says that `found` is not known, which known name is nearest, and which are known.
#[must_use]
pub fn unknown(kind: &str, found: &str, known: &[&str]) -> String {
    let mut text = format!("unknown {kind} `{found}`");
    if let Some(nearest) = nearest(found, known.iter().copied()) {
        text.push_str(&format!("; did you mean `{nearest}`?"));
    } else {
        text.push(';');
    }
    if known.is_empty() {
        text.push_str(" none is accepted here");
    } else {
        text.push_str(" accepted: ");
        text.push_str(&known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
    }
    text
}

/// The name of `known` that is nearest to `found`: at most a third of its letters differ.
#[must_use]
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (distance(found, name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= (found.len().max(name.len()) / 3).max(1))
        .map(|(_, name)| name)
}

/// Levenshtein's distance of two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let cost = if from.eq_ignore_ascii_case(to) { diagonal } else { diagonal + 1 };
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scenario::Scenario;

    #[track_caller]
    fn check_error(text: &str, want: &str) {
        let error = parse::<Scenario>(text).unwrap_err().to_string();
        assert_eq!(error, want);
    }

    #[track_caller]
    fn check_value(text: &str, want: Value) {
        assert_eq!(parse::<Value>(text).unwrap(), want);
    }

    #[test]
    fn errors_name_place_path_and_what_is_accepted() {
        check_error(
            "filters:\n  - name: a\n    modul: b\n",
            "line 3, column 5: `filters[0]`: unknown field `modul`; did you mean `module`? accepted: `name`, `module`, `config`, \
             `config_file`, `root_id`, `vm_id`, `failure_policy`, `allow_on_headers_stop_iteration`, `env`",
        );
        check_error(
            "filters:\n  - module: b\n",
            "line 2, column 5: `filters[0]`: the field `name` is missing",
        );
        check_error(
            "filters:\n  - name: a\n    failure_policy: FAIL_OPN\n",
            "line 3, column 21: `filters[0].failure_policy`: unknown value `FAIL_OPN`; did you mean `FAIL_OPEN`? accepted: \
             `FAIL_CLOSED`, `FAIL_OPEN`, `FAIL_RELOAD`",
        );
        check_error(
            "seed: many\n",
            "line 1, column 7: `seed`: expected a whole number from 0 to 18446744073709551615",
        );
        check_error("filters: {a: b}\n", "line 1, column 10: `filters`: expected a list");
        check_error(
            "seed: 1\n---\nseed: 2\n",
            "line 3, column 1: expected one document, found another one behind `---`",
        );
        check_error("clusters: &a\n  b: *a\n", "line 2, column 6: `clusters`: an anchor that holds itself");
        let deep = parse::<Value>(&format!("seed: {}", "[".repeat(5000))).unwrap_err();
        assert_eq!(deep.reason, TOO_LARGE);
        let documents = parse_all::<Value>(&"a: 1\n---\n".repeat(5000)).unwrap();
        assert_eq!(documents.len(), 5000);
        check_error("seed: 1\nseed: 2\n", "line 2, column 1: the key `seed` stands twice");
    }

    #[test]
    fn yaml_1_2_without_surprises() {
        check_value(
            "country: no\nswitch: on\nversion: 1.10\nmode: 010\nbig: 18446744073709551615\nnull_: ~\nyes_: true",
            json!({"country": "no", "switch": "on", "version": 1.1, "mode": "010", "big": 18446744073709551615_u64,
                   "null_": null, "yes_": true}),
        );
        check_value("a: &x {p: 1}\nb:\n  <<: *x\n  q: 2\n", json!({"a": {"p": 1}, "b": {"p": 1, "q": 2}}));
        check_value("{\"a\": [1, -2.5, \"x\\u00e9\"]}", json!({"a": [1, -2.5, "xé"]}));
    }
}
