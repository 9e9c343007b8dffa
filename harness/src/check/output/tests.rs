//! One report in every format.

use super::*;
use crate::check::{NoRunner, check};

fn rendered(format: Format) -> String {
    let text = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: x, namespace: demo}\n\
                spec:\n  type: NETWORK\n  url: fake://x, 100%\n  phas: AUTHN\n";
    let sources = [Source { file: "a b.yaml".to_owned(), text: text.to_owned(), is_named: true }];
    render(&check(&sources, &mut NoRunner), &sources, format, false)
}

#[test]
fn as_text() {
    let want = "\
error[schema-cel] a b.yaml:6:8: WasmPlugin demo/x: `spec.url`: url must have schema one of [http, https, file, oci]
    6 |   url: fake://x, 100%
      |        ^

error[schema-unknown-field] a b.yaml:7:3: WasmPlugin demo/x: `spec.phas`: unknown field `phas`
    7 |   phas: AUTHN
      |   ^
  hint: did you mean `phase`?

1 document checked: 2 errors
";
    assert_eq!(rendered(Format::Text), want);
}

#[test]
fn as_annotations() {
    let want = "\
::error file=a b.yaml,line=6,col=8,title=schema-cel::`spec.url`: url must have schema one of [http, https, file, oci]
::error file=a b.yaml,line=7,col=3,title=schema-unknown-field::`spec.phas`: unknown field `phas`%0Ahint: did you mean `phase`?
";
    assert_eq!(rendered(Format::Github), want);
}

#[test]
fn as_sarif() {
    let log: serde_json::Value = serde_json::from_str(&rendered(Format::Sarif)).unwrap();
    let result = &log["runs"][0]["results"][1];
    assert_eq!(result["ruleId"], "schema-unknown-field");
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][index]["id"], "schema-unknown-field");
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "a%20b.yaml");
    assert_eq!(location["region"], serde_json::json!({"startLine": 7, "startColumn": 3}));
}

/// Whether it is SARIF: the schema of its standard says so.
fn is_sarif(log: &serde_json::Value) -> Result<(), String> {
    let mut schema: serde_json::Value =
        serde_json::from_str(include_str!("sarif-2.1.0.schema.json")).unwrap();
    // The pattern of languages, which are not written here, has a `]` too many to be a regular expression everywhere.
    for message in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][message]["properties"]["language"];
        language.as_object_mut().unwrap().remove("pattern").unwrap();
    }
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> =
        schema.iter_errors(log).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

#[test]
fn sarif_is_as_its_schema_says() {
    let log: serde_json::Value = serde_json::from_str(&rendered(Format::Sarif)).unwrap();
    assert_eq!(is_sarif(&log), Ok(()));
    // Nothing found, and findings of whole files, which have no line.
    for text in ["a: [", "kind: WasmPlugin\napiVersion: extensions.istio.io/v2\n", "{}"] {
        let sources = [Source { file: "ä:b\\c.yaml".to_owned(), text: text.to_owned(), is_named: false }];
        let log = render(&check(&sources, &mut NoRunner), &sources, Format::Sarif, false);
        assert_eq!(is_sarif(&serde_json::from_str(&log).unwrap()), Ok(()), "{text}");
    }
    for (pointer, wrong) in [
        ("/runs/0/results/0/level", serde_json::json!("bad")),
        ("/runs/0/results/0/locations/0/physicalLocation/region/startLine", serde_json::json!(0)),
        ("/runs/0/tool/driver/name", serde_json::Value::Null),
    ] {
        let mut broken = log.clone();
        *broken.pointer_mut(pointer).unwrap() = wrong;
        assert!(is_sarif(&broken).is_err(), "{pointer}");
    }
}

#[test]
fn as_json() {
    let report: serde_json::Value = serde_json::from_str(&rendered(Format::Json)).unwrap();
    assert_eq!(report["checked"], 1);
    assert_eq!(report["findings"][0]["rule"], "schema-cel");
    assert_eq!(report["findings"][0]["path"], "spec.url");
}
