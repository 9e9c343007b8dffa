//! The schemas themselves: they are understood, and each of their rules in CEL is evaluated on the cases in `cases/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::super::document::{self, Document};
use super::*;

/// What came of a rule on all objects: how often it holds, how often not, and the errors.
#[derive(Default)]
struct Tally {
    holds: usize,
    is_broken: usize,
    errors: Vec<String>,
}

/// Rules by kind and text.
type Tallies = BTreeMap<(String, String), Tally>;

fn rules(schema: &Value) -> impl Iterator<Item = &str> {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let texts = rules.into_iter().flatten().filter_map(|rule| rule["rule"].as_str());
    // They need two versions of an object.
    texts.filter(|text| !text.contains("oldSelf"))
}

fn all(kind: &str, schema: &Value, tallies: &mut Tallies) {
    for rule in rules(schema) {
        tallies.entry((kind.to_owned(), rule.to_owned())).or_default();
    }
    match schema {
        Value::Object(map) => map.values().for_each(|schema| all(kind, schema, tallies)),
        Value::Array(values) => values.iter().for_each(|schema| all(kind, schema, tallies)),
        _ => {}
    }
}

/// Evaluates the rules of a schema on a value.
fn evaluate(kind: &str, schema: &Value, value: &Value, programs: &mut Programs, tallies: &mut Tallies) {
    for rule in rules(schema) {
        let tally = tallies.entry((kind.to_owned(), rule.to_owned())).or_default();
        match programs.holds(rule, schema, value) {
            Ok(true) => tally.holds += 1,
            Ok(false) => tally.is_broken += 1,
            Err(error) => tally.errors.push(error),
        }
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(schema) = part(schema, name) {
                    evaluate(kind, schema, value, programs, tallies);
                }
            }
        }
        Value::Array(values) => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            values.iter().for_each(|value| evaluate(kind, items, value, programs, tallies));
        }
        _ => {}
    }
}

/// The custom resources of all cases.
fn resources() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/check/cases");
    let texts = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let documents = texts.filter_map(|text| document::read(&text).ok()).flatten();
    documents.flat_map(Document::resources).map(|document| document.value).collect()
}

#[test]
fn every_schema_is_understood() {
    assert_eq!(CRDS.len(), FILES.len());
    assert!(find("extensions.istio.io/v1alpha1", "WasmPlugin").is_some());
    assert!(find("networking.istio.io/v1beta1", "VirtualService").is_some());
    assert!(find("gateway.networking.k8s.io/v1", "HTTPRoute").is_some());
    assert!(find("v1", "Service").is_none());
}

#[test]
fn every_rule_of_the_schemas_holds_in_a_case_and_is_broken_in_another() {
    let mut tallies = Tallies::new();
    CRDS.iter().for_each(|crd| all(&crd.kind, &crd.closed, &mut tallies));
    assert!(tallies.len() > 100, "{}", tallies.len());
    let mut programs = Programs::default();
    for mut value in resources() {
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        if let Some(crd) = find(&text("apiVersion"), &text("kind")) {
            set_defaults(&crd.closed, &mut value);
            evaluate(&crd.kind, &crd.closed, &value, &mut programs, &mut tallies);
        }
    }
    let mut wrong = String::new();
    for ((kind, rule), Tally { holds, is_broken, errors }) in &tallies {
        let is_fine = *holds > 0 && *is_broken > 0;
        if !is_fine {
            wrong.push_str(&format!("{kind}: {holds} hold, {is_broken} do not, {errors:?}: {rule}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
