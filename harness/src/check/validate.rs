//! What a real Envoy says of a configuration: made whole, handed over by a [`Runner`], and the place found that its words mean. Pure.

use serde_json::{Value, json};

use self::frame::{Framed, Kind};
use super::document::{Document, step};
use super::findings::Findings;
use super::plugin::{self, Plugin, Runner};
use super::{Source, envoy, rules};

mod frame;
mod patches;
mod words;

/// A bootstrap for a real Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The bootstrap.
    pub text: String,
    /// How a file of it is named: `yaml` or `json`.
    pub extension: &'static str,
}

/// What a real Envoy said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would start.
    Accepts,
    /// It would not, and said this.
    Refuses(String),
}

/// Something that is asked about.
struct Part {
    kind: Kind,
    /// As Envoy is given it.
    value: Value,
    /// Where it stands in the document.
    pointer: String,
}

/// Says what Envoy says of a document, and where that differs from what was found in it so far.
pub(super) fn check(
    message: &str,
    source: &Source,
    document: &Document,
    errors: &[String],
    runner: &mut dyn Runner,
    findings: &mut Findings<'_>,
) {
    let mut value = document.value.clone();
    let located = locate(&mut value, "", Fetched::ByEnvoy, runner, findings);
    let Some(as_written) = located else { return };
    let parts = parts(message, &value);
    let mut accepts = !parts.is_empty();
    for part in &parts {
        // As it is written where that can be: Envoy's YAML is not everybody's.
        let written = (part.kind == Kind::Bootstrap && as_written && source.is_one(document)).then(|| {
            let extension = if source.text.trim_start().starts_with('{') { "json" } else { "yaml" };
            Question { text: source.text.clone(), extension }
        });
        match ask(part, written, runner) {
            Some((_, Answer::Accepts)) => {}
            Some((framed, Answer::Refuses(said))) => {
                accepts = false;
                let alone = if errors.is_empty() { ALONE } else { "" };
                say(part, &framed, &said, alone, document, findings);
            }
            None => accepts = false,
        }
    }
    if let Some(first) = errors.first().filter(|_| accepts) {
        note_accepted(first, findings);
    }
}

/// Says what Envoy says of the values that a resource patches in, each in a configuration of its own.
pub(super) fn check_patches(
    resource: &str,
    document: &Document,
    errors: &[String],
    runner: &mut dyn Runner,
    findings: &mut Findings<'_>,
) {
    for mut patch in patches::of(resource, &document.value) {
        let fetched = if patch.by_agent { Fetched::ByAgent } else { Fetched::ByEnvoy };
        if locate(&mut patch.value, &patch.pointer, fetched, runner, findings).is_none() {
            continue;
        }
        let within = format!("{}/", patch.pointer);
        let error = errors.iter().find(|at| **at == patch.pointer || at.starts_with(&within));
        let part = Part { kind: patch.kind, value: patch.value, pointer: patch.pointer };
        match ask(&part, None, runner) {
            // What is merged elsewhere may be wrong there.
            Some((_, Answer::Accepts)) if !patch.is_part => {
                error.iter().for_each(|at| note_accepted(at, findings));
            }
            Some((framed, Answer::Refuses(said))) => {
                let alone = if error.is_none() { ALONE } else { "" };
                let place = place(&part, &framed, &said, document);
                let is_there = place.is_some_and(|place| document.value.pointer(&place).is_some());
                // What a part lacks may stand in what it is merged into.
                if is_there || !patch.is_part {
                    say(&part, &framed, &said, alone, document, findings);
                }
            }
            _ => {}
        }
    }
}

const ALONE: &str = "; nothing else was found wrong with it";

fn note_accepted(at: &str, findings: &mut Findings<'_>) {
    let reason = "Envoy itself accepts this configuration, in which other rules found errors";
    findings.at_key(&rules::ENVOY_ACCEPTS, at, reason);
}

/// What Envoy says of a part, and the bootstrap that it stood in. A filter after which nothing may stand is asked about once more as the last.
fn ask(part: &Part, written: Option<Question>, runner: &mut dyn Runner) -> Option<(Framed, Answer)> {
    let framed = part.kind.frame(&part.value, false)?;
    let question = written.unwrap_or_else(|| json_of(&framed));
    let answer = runner.ask_envoy(&question)?;
    let Answer::Refuses(said) = &answer else { return Some((framed, answer)) };
    let is_filter = matches!(part.kind, Kind::HttpFilter | Kind::NetworkFilter);
    if !(is_filter && said.contains("must be the last filter in a")) {
        return Some((framed, answer));
    }
    let framed = part.kind.frame(&part.value, true)?;
    let answer = runner.ask_envoy(&json_of(&framed))?;
    Some((framed, answer))
}

fn json_of(framed: &Framed) -> Question {
    Question { text: framed.whole.to_string(), extension: "json" }
}

/// The place in the document that Envoy's words mean; nothing where the part has none.
fn place(part: &Part, framed: &Framed, said: &str, document: &Document) -> Option<String> {
    let said = words::said(said);
    let place = words::place(&said, &framed.whole);
    let place = place.as_deref().and_then(|place| place.strip_prefix(framed.inside)).map(str::to_owned);
    let written = document.value.pointer(&part.pointer)?;
    // The value that its words quote, anywhere in the part.
    let place = place.or_else(|| words::quoted(&said, written))?;
    Some(format!("{}{place}", part.pointer))
}

fn say(
    part: &Part,
    framed: &Framed,
    said: &str,
    alone: &str,
    document: &Document,
    findings: &mut Findings<'_>,
) {
    let place = place(part, framed, said, document).unwrap_or_else(|| part.pointer.clone());
    let said = words::said(said);
    if words::is_about_a_file(&said) {
        let reason = format!("Envoy needs a file that is not there, so it did not look further: {said}");
        findings.at_key(&rules::ENVOY_UNASKED, &place, reason);
        return;
    }
    let reason = format!("Envoy refuses this: {said}{alone}");
    if said.contains("no such field: ") {
        findings.at_key(&rules::ENVOY_REFUSED, &place, reason);
    } else {
        findings.add(&rules::ENVOY_REFUSED, &place, reason);
    }
}

/// Who fetches a module that is elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fetched {
    ByEnvoy,
    ByAgent,
}

/// Has the modules of the plugins in a value, which stands at `base`, be those that are here; whether nothing had to be changed for that. Nothing
/// when one is not here.
fn locate(
    value: &mut Value,
    base: &str,
    fetched: Fetched,
    runner: &mut dyn Runner,
    findings: &mut Findings<'_>,
) -> Option<bool> {
    let mut as_written = true;
    let mut is_whole = true;
    for (at, is_http) in envoy::plugins(value) {
        let code = format!("{at}/vm_config/code");
        let text = |field: &str| value.pointer(&format!("{code}/{field}")).and_then(Value::as_str);
        let (field, written) = match (text(LOCAL), text(REMOTE)) {
            (Some(file), _) => (LOCAL, file.to_owned()),
            (None, Some(url)) if fetched == Fetched::ByAgent => (REMOTE, url.to_owned()),
            // Envoy is content to fetch it later.
            _ => continue,
        };
        let nothing = Document::default();
        let mut unheard = Findings::new("", String::new(), &nothing);
        let plugin = plugin::of_envoy(value, &at, is_http, &mut unheard);
        // One whose configuration has no form that reaches it has a module all the same.
        let plugin = plugin.unwrap_or_else(|| Plugin {
            names: vec![plugin::last_segment(&written).to_owned()],
            module: written.clone(),
            ..Plugin::default()
        });
        let Some(found) = runner.locate(&plugin) else {
            let (reason, hint) = if field == LOCAL {
                let reason = format!("Envoy was not asked: there is no `{written}`");
                (
                    reason,
                    "relative paths are of the folder in which Envoy is started; `--module NAME=FILE` names another file for this",
                )
            } else {
                let reason = format!("Envoy was not asked: the module of `{written}` is not at hand");
                (reason, "`--module NAME=FILE` names it")
            };
            findings.add(&rules::ENVOY_UNASKED, &format!("{base}{code}/{field}"), reason).hint(hint);
            is_whole = false;
            continue;
        };
        if (field == REMOTE || found != written)
            && let Some(place) = value.pointer_mut(&code)
        {
            *place = json!({"local": {"filename": found}});
            as_written = false;
        }
    }
    is_whole.then_some(as_written)
}

const LOCAL: &str = "local/filename";
const REMOTE: &str = "remote/http_uri/uri";

/// The parts of a document that Envoy can be asked about.
fn parts(message: &str, value: &Value) -> Vec<Part> {
    let part = |message: &str, value: &Value, pointer: String| {
        let kind = Kind::of(message, value)?;
        Some(Part { kind, value: value.clone(), pointer })
    };
    let listed =
        value.get("resources").and_then(Value::as_array).filter(|_| message.ends_with("DiscoveryResponse"));
    if let Some(resources) = listed {
        let resources = resources.iter().enumerate();
        return resources
            .filter_map(|(index, one)| part(typed(one)?, one, format!("/resources/{index}")))
            .collect();
    }
    let message = if message == "google.protobuf.Any" { typed(value) } else { Some(message) };
    message.and_then(|message| part(message, value, String::new())).into_iter().collect()
}

fn typed(value: &Value) -> Option<&str> {
    value.get("@type")?.as_str()?.rsplit('/').next()
}

impl Source {
    /// Whether the file is this document and nothing else.
    fn is_one(&self, document: &Document) -> bool {
        super::document::read(&self.text)
            .is_ok_and(|documents| matches!(documents.as_slice(), [only] if only.value == document.value))
    }
}

/// One step of a pointer of a field or an element.
fn steps(path: &str) -> String {
    let mut pointer = String::new();
    for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty() && *part != "<any>") {
        pointer.push_str(&step(part));
    }
    pointer
}
