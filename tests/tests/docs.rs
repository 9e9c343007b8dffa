//! What is generated from the code is current: JSON Schemas, and the tables of fields in READMEs. `BLESS=1` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The file is `want`, or is written so.
#[track_caller]
fn check(path: &str, want: &str) {
    let path = root().join(path);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, want).expect("the file is written");
    }
    let got = fs::read_to_string(&path).unwrap_or_default();
    assert!(got == want, "{} is not current; write it anew with BLESS=1", path.display());
}

#[test]
fn canary() {
    filter("canary", &schemars::schema_for!(canary::Config).to_value());
}

#[test]
fn mirror() {
    filter("mirror", &schemars::schema_for!(mirror::Config).to_value());
}

#[test]
fn circuit_breaker() {
    filter("circuit_breaker", &schemars::schema_for!(circuit_breaker::Config).to_value());
}

#[test]
fn fault() {
    filter("fault", &schemars::schema_for!(fault::Config).to_value());
}

#[test]
fn rate_limit() {
    filter("rate_limit", &schemars::schema_for!(rate_limit::Config).to_value());
}

#[track_caller]
fn filter(name: &str, schema: &Value) {
    let text = serde_json::to_string_pretty(schema).expect("JSON");
    check(&format!("filters/{name}/config.schema.json"), &format!("{text}\n"));

    let path = format!("filters/{name}/README.md");
    let readme = fs::read_to_string(root().join(&path)).expect("a README");
    let (before, rest) = readme.split_once("<!-- fields -->\n").expect("`<!-- fields -->`");
    let (_, after) = rest.split_once("<!-- end of fields -->\n").expect("`<!-- end of fields -->`");
    check(&path, &format!("{before}<!-- fields -->\n{}<!-- end of fields -->\n{after}", tables(schema)));
}

/// A table for the configuration, and one for each type it is made of, in the order in which they are met.
fn tables(schema: &Value) -> String {
    let mut text = String::new();
    let mut queue = Vec::new();
    table(&mut text, "The configuration", schema, &mut queue);
    let mut next = 0;
    while let Some(name) = queue.get(next).cloned() {
        next += 1;
        table(&mut text, &format!("`{name}`"), &schema["$defs"][&name], &mut queue);
    }
    text
}

fn table(text: &mut String, title: &str, schema: &Value, queue: &mut Vec<String>) {
    let description = line(&schema["description"]);
    writeln!(text, "\n**{title}**: {description}\n").expect("a string");
    let variants = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    if let Some(properties) = schema["properties"].as_object() {
        text.push_str("| field | type | meaning |\n|---|---|---|\n");
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in properties {
            let need = if required.contains(&name.as_str()) { " (required)" } else { "" };
            let kind = kind(field, queue);
            writeln!(text, "| `{name}`{need} | {kind} | {} |", line(&field["description"]))
                .expect("a string");
        }
    } else if let Some(variants) = variants {
        text.push_str("| one of | meaning |\n|---|---|\n");
        for variant in variants {
            let name = match (variant["const"].as_str(), variant["properties"].as_object()) {
                (Some(name), _) => format!("`{name}`"),
                (None, Some(properties)) => {
                    let named: Vec<String> = properties
                        .iter()
                        .map(|(name, field)| format!("`{{{name}: …}}`, {}", kind(field, queue)))
                        .collect();
                    named.join(", ")
                }
                (None, None) => kind(variant, queue),
            };
            writeln!(text, "| {name} | {} |", line(&variant["description"])).expect("a string");
        }
    }
}

/// The type of a field as a reader says it; types of the schema's own are queued for a table.
fn kind(field: &Value, queue: &mut Vec<String>) -> String {
    if let Some(reference) = field["$ref"].as_str() {
        let name = reference.trim_start_matches("#/$defs/").to_owned();
        if !queue.contains(&name) {
            queue.push(name.clone());
        }
        return format!("`{name}`");
    }
    if let Some(several) = field["anyOf"].as_array().or(field["oneOf"].as_array()) {
        let kinds: Vec<String> =
            several.iter().filter(|kind| kind["type"] != "null").map(|one| kind(one, queue)).collect();
        return kinds.join(" or ");
    }
    let name = match &field["type"] {
        Value::String(name) => name.clone(),
        Value::Array(names) => {
            let names: Vec<&str> =
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect();
            names.join(" or ")
        }
        _ => "any".to_owned(),
    };
    match name.as_str() {
        "array" => format!("list of {}", kind(&field["items"], queue)),
        other => other.to_owned(),
    }
}

/// A description on one line, safe in a table.
fn line(description: &Value) -> String {
    description
        .as_str()
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
