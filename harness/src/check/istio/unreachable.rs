//! Routes and matches of a `VirtualService` that nothing reaches: what stands before them takes it all. Istio warns of them.

use serde_json::Value;

use super::object::Part;
use crate::check::findings::Findings;
use crate::check::rules;

/// Says which of the routes of one protocol, and which of their matches, nothing reaches.
pub(super) fn check(routes: &[Part<'_>], findings: &mut Findings<'_>) {
    let mut catches_all: Option<&Part<'_>> = None;
    let mut seen: Vec<(Value, Part<'_>)> = Vec::new();
    let mut prefixes: Vec<(Prefix, Part<'_>)> = Vec::new();
    for route in routes {
        if let Some(before) = catches_all {
            let reason = format!("nothing comes here: {} has no `match` and takes everything", name(before));
            findings.add(&rules::UNREACHABLE, route.at(), reason);
            continue;
        }
        let matches = route.list("match");
        if matches.is_empty() {
            catches_all = Some(route);
        }
        for one in matches {
            let plain = without_name(one.value());
            if let Some((_, before)) = seen.iter().find(|(known, _)| *known == plain) {
                let reason = format!("nothing comes here: {} matches the same", name(before));
                findings.add(&rules::UNREACHABLE, one.at(), reason);
                continue;
            }
            if let Some(prefix) = Prefix::of(&one) {
                let covering = prefixes.iter().find(|(before, _)| before.covers(&prefix));
                if let Some((before, at)) = covering {
                    let reason = format!("nothing comes here: {} matches `{}…`", name(at), before.uri);
                    findings.add(&rules::UNREACHABLE, one.at(), reason);
                }
                prefixes.push((prefix, one.clone()));
            }
            seen.push((plain, one));
        }
    }
}

/// A route or a match, as a reader finds it.
fn name(part: &Part<'_>) -> String {
    match part.text("name") {
        "" => format!("`{}`", crate::check::document::readable(part.at())),
        name => format!("`{name}`"),
    }
}

fn without_name(one: &Value) -> Value {
    let mut plain = one.clone();
    if let Some(fields) = plain.as_object_mut() {
        fields.remove("name");
    }
    plain
}

/// A match of a URI by its prefix, and what else it asks for.
struct Prefix {
    uri: String,
    /// Each by its field and name; of a text that must be equal, and of one that must begin so, what it is.
    asks: Vec<(String, String)>,
}

/// What a match may ask for beside the URI that can be compared.
const FIELDS: &[&str] = &["method", "authority"];
const MAPS: &[&str] = &["headers", "queryParams", "withoutHeaders"];
/// What is compared as it stands; with others, nothing is said.
const KNOWN: &[&str] =
    &["name", "uri", "port", "method", "authority", "headers", "queryParams", "withoutHeaders"];

impl Prefix {
    /// Nothing where the match is not by prefix, or asks for more than can be compared.
    fn of(one: &Part<'_>) -> Option<Self> {
        let uri = one.field("uri")?.text("prefix").to_owned();
        let fields = one.value().as_object()?;
        if uri.is_empty() || fields.keys().any(|field| !KNOWN.contains(&field.as_str())) {
            return None;
        }
        let mut asks = vec![("port".to_owned(), one.number("port").to_string())];
        for field in FIELDS {
            asks.extend(one.field(field).map(|text| ((*field).to_owned(), text.value().to_string())));
        }
        for map in MAPS {
            let entries = one.entries(map).into_iter();
            asks.extend(entries.map(|(key, text)| (format!("{map}/{key}"), text.value().to_string())));
        }
        Some(Self { uri, asks })
    }

    /// Whether whatever the other takes is taken here.
    fn covers(&self, other: &Self) -> bool {
        let asks_less = || self.asks.iter().all(|ask| other.asks.contains(ask) || *ask == free_port());
        other.uri != self.uri && other.uri.starts_with(&self.uri) && asks_less()
    }
}

/// Any port.
fn free_port() -> (String, String) {
    ("port".to_owned(), "0".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_covers(a: Value, b: Value, want: bool) {
        let of = |value: &Value| Prefix::of(&Part::of(value, "").unwrap());
        let covers = of(&a).is_some_and(|a| of(&b).is_some_and(|b| a.covers(&b)));
        assert_eq!(covers, want, "{a} {b}");
    }

    #[test]
    fn a_prefix_covers_what_is_longer_and_asks_for_as_much() {
        let uri = |prefix: &str| json!({"prefix": prefix});
        check_covers(json!({"uri": uri("/a")}), json!({"uri": uri("/ab")}), true);
        check_covers(json!({"uri": uri("/ab")}), json!({"uri": uri("/a")}), false);
        check_covers(json!({"uri": uri("/a")}), json!({"uri": {"exact": "/ab"}}), false);
        let header = |value: &str| json!({"x": {"exact": value}});
        check_covers(json!({"uri": uri("/a")}), json!({"uri": uri("/ab"), "headers": header("1")}), true);
        check_covers(json!({"uri": uri("/a"), "headers": header("1")}), json!({"uri": uri("/ab")}), false);
        check_covers(
            json!({"uri": uri("/a"), "headers": header("1")}),
            json!({"uri": uri("/ab"), "headers": header("1"), "port": 80}),
            true,
        );
        check_covers(json!({"uri": uri("/a"), "port": 80}), json!({"uri": uri("/ab")}), false);
        check_covers(json!({"uri": uri("/a"), "sourceNamespace": "x"}), json!({"uri": uri("/ab")}), false);
        check_covers(json!({"uri": uri("/a"), "ignoreUriCase": true}), json!({"uri": uri("/ab")}), false);
    }
}
