//! That the cases show every rule: each place of the code that finds something, each rule of the schemas in CEL, and of what Istio refuses
//! what it accepts there.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::Location;

use regex::Regex;

use super::*;
use crate::check::document::readable;

/// A line of a file of the crate.
pub(super) type Site = (String, usize);

thread_local! {
    /// Where findings were made in this thread.
    static MADE: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
}

/// Notes where a finding is made.
pub(in crate::check) fn note(site: &Location<'_>) {
    let file = site.file().replace('\\', "/");
    let file = file.rsplit_once("src/check").map_or(file.as_str(), |(_, rest)| rest);
    let line = usize::try_from(site.line()).unwrap();
    MADE.with_borrow_mut(|made| made.insert((file.to_owned(), line)));
}

/// Where findings were made in this thread since the last time.
pub(super) fn made() -> BTreeSet<Site> {
    MADE.take()
}

/// The code that checks, by its path behind `src/check`, without tests.
fn code() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap().replace('\\', "/");
            if path.is_dir() {
                walk(&path, files);
            } else if name.ends_with(".rs") && !name.contains("/tests") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                files.push((name.rsplit_once("src/check").unwrap().1.to_owned(), text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![(".rs".to_owned(), fs::read_to_string(root.join("src/check.rs")).unwrap())];
    walk(&root.join("src/check"), &mut files);
    files
}

/// Where the code makes findings: calls of what notes its caller.
fn sites() -> BTreeSet<Site> {
    // These hand on what others say.
    const WRAPPERS: &[&str] = &["/findings.rs", "/istio/object.rs"];
    let call =
        r"(?:findings|hook|within|self)\s*\.(?:add|at_key|push|refuse|refuse_for|refuse_key_for|warn)\(";
    let call = Regex::new(call).unwrap();
    let handed_on = Regex::new(r"(?s)#\[track_caller\]\n    fn .*?\n    \}\n").unwrap();
    let mut sites = BTreeSet::new();
    for (file, text) in code().into_iter().filter(|(file, _)| !WRAPPERS.contains(&file.as_str())) {
        let text = handed_on.replace_all(&text, |found: &regex::Captures<'_>| {
            found[0].chars().filter(|c| *c == '\n').collect::<String>()
        });
        for found in call.find_iter(&text) {
            sites.insert((file.clone(), text[..found.end()].lines().count()));
        }
    }
    sites
}

/// What is too long to stand in a file of cases.
fn long() -> Vec<Source> {
    let body = |name: &str, kind: &str, size: usize| {
        let text = "a".repeat(size);
        let file = name.to_owned();
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{hosts: [a], http: [{{directResponse: {{status: 200, \
             body: {{{kind}: {text}}}}}}}]}}\n"
        );
        Source { file, text, is_named: true }
    };
    vec![
        body("accepted", "string", 100 * 1024),
        body("large", "string", 100 * 1024 + 1),
        body("too-large", "bytes", 1024 * 1024 / 3 * 4 + 8),
    ]
}

#[test]
fn long_bodies_are_told_of() {
    let found: Vec<Vec<&str>> = long()
        .into_iter()
        .map(|source| check(&[source], &mut Bench).findings.iter().map(|found| found.rule).collect())
        .collect();
    assert_eq!(found, [&[][..], &["istio-warning"], &["istio-virtual-service"]]);
}

#[test]
fn every_place_that_finds_something_has_a_case() {
    let mut made = CHECKED.sites.clone();
    let _ = check(&long(), &mut Bench);
    // A configuration in a file of its own.
    let broken = Source { file: "level.yaml".to_owned(), text: "level: [".to_owned(), is_named: true };
    assert_eq!(configuration(&broken, Plugin::default(), &mut Bench).findings.len(), 1);
    made.append(&mut MADE.take());
    let sites = sites();
    assert!(sites.len() > 150, "{}", sites.len());
    let missing: Vec<String> =
        sites.difference(&made).map(|(file, line)| format!("src/check{file}:{line}")).collect();
    assert!(missing.is_empty(), "no case has a finding of:\n{}", missing.join("\n"));
    // What is found and not seen here would make the list above shorter than it is.
    let unseen: Vec<&Site> = made.difference(&sites).collect();
    assert!(unseen.is_empty(), "these make findings, too: {unseen:?}");
}

#[test]
fn every_rule_of_istios_schemas_has_a_case() {
    let mut said = BTreeSet::new();
    for (_, report) in &CHECKED.reports {
        let findings = report.findings.iter().filter(|finding| finding.rule == rules::CEL.id);
        said.extend(findings.map(|finding| finding.message.as_str()));
    }
    let missing: Vec<&str> = crd::cel_rules("istio.io")
        .filter(|(rule, _)| !rule.contains("oldSelf"))
        .filter(|(rule, message)| {
            !said.iter().any(|said| *said == message.trim() || message.is_empty() && said.contains(rule))
        })
        .map(|(rule, _)| rule)
        .collect();
    let missing: BTreeSet<&str> = missing.into_iter().collect();
    assert!(missing.is_empty(), "no case breaks:\n{}", missing.into_iter().collect::<Vec<_>>().join("\n"));
}

/// What Istio and who pulls refuse or warn of, value by value.
const REFUSALS: &[&Rule] = &[
    &rules::SELECTOR,
    &rules::TARGET,
    &rules::ENVOY_FILTER,
    &rules::VIRTUAL_SERVICE,
    &rules::DESTINATION_RULE,
    &rules::ISTIO_WARNS,
    &rules::IMAGE,
    &rules::MODULE_URL,
    &rules::SHA256,
];

/// Fields that are never accepted.
const NEVER: &[&str] =
    &["consecutiveErrors", "mirrorPercent", "minimumRingSize", "http2Error", "exponentialDelay"];

/// Objects with names of their own: which name it is does not tell whether a rule holds.
const MAPS: &[&str] = &[
    "match/[]/headers",
    "withoutHeaders",
    "queryParams",
    "set",
    "add",
    "to",
    "labels",
    "matchLabels",
    "sourceLabels",
];

/// The place of a path in any object: without what tells one element from another, and one traffic policy from another.
fn place(path: &str) -> String {
    let part = Regex::new(r#"\["([^"]*)"\]|\[\d+\]|([^.\[\]]+)"#).unwrap();
    let mut place = String::new();
    for found in part.captures_iter(path) {
        let name = found.get(1).or_else(|| found.get(2)).map_or("[]", |name| name.as_str());
        let is_any = MAPS.iter().any(|map| place.ends_with(&format!("/{map}")));
        place.push('/');
        place.push_str(if is_any { "*" } else { name });
    }
    place.replace("/subsets/[]/trafficPolicy", "/trafficPolicy").replace("/portLevelSettings/[]", "")
}

fn places(value: &Value, pointer: &str, found: &mut BTreeSet<String>) {
    found.insert(place(&readable(pointer)));
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| {
                places(value, &format!("{pointer}{}", document::step(key)), found);
            });
        }
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(at, value)| places(value, &format!("{pointer}/{at}"), found));
        }
        _ => {}
    }
}

/// What Istio refuses or warns of is accepted elsewhere: some object of the same kind has a value at the same place, and no finding there.
#[test]
fn what_istio_refuses_it_accepts_elsewhere() {
    let mut accepted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut refused: BTreeSet<(String, String)> = BTreeSet::new();
    for (source, report) in &CHECKED.reports {
        let is_refusal = |found: &&Finding| REFUSALS.iter().any(|rule| rule.id == found.rule);
        let findings: Vec<&Finding> = report.findings.iter().filter(is_refusal).collect();
        for document in
            document::read(&source.text).unwrap_or_default().into_iter().flat_map(Document::resources)
        {
            let name = object(&document.value);
            let Some((kind, _)) = name.split_once(' ') else { continue };
            let mut places_of = BTreeSet::new();
            places(&document.value, "", &mut places_of);
            for found in findings.iter().filter(|found| found.object == name) {
                places_of.remove(&place(&found.path));
                refused.insert((kind.to_owned(), place(&found.path)));
            }
            accepted.entry(kind.to_owned()).or_default().extend(places_of);
        }
    }
    assert!(refused.len() > 100, "{}", refused.len());
    let is_never = |place: &str| NEVER.iter().any(|field| place.ends_with(&format!("/{field}")));
    let is_alone = |(kind, place): &&(String, String)| {
        !is_never(place) && !accepted.get(kind).is_some_and(|accepted| accepted.contains(place))
    };
    let alone: Vec<_> = refused.iter().filter(is_alone).collect();
    assert!(alone.is_empty(), "nothing is accepted at {alone:#?}");
}
