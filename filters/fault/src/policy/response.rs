//! What happens to a response.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::matcher::HeaderMatcher;
use weir_sdk::{At, Headers, Mutation, Problems};

use super::body::{Damage, body_limit};
use super::change::ResponseChange;
use super::delay::{Delay, sum};
use super::dice::{Purpose, Salts, Share};
use super::end::{End, Ending};
use crate::config::{self, CorruptSpec, StatusMatch};

/// A compiled [`config::ResponseFault`].
#[derive(Clone, Debug)]
pub(crate) struct ResponseFault {
    statuses: Vec<StatusMatch>,
    headers: Vec<HeaderMatcher>,
    delay: Option<Delay>,
    ending: Option<Ending>,
    damage: Option<(Damage, Share, Rc<str>)>,
    change: Option<ResponseChange>,
    /// How it is called in explanations.
    pub(crate) label: Rc<str>,
}

/// What has been drawn for a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) delay: Option<Duration>,
    pub(crate) end: Option<(End, Rc<str>)>,
    pub(crate) damage: Option<(Damage, Rc<str>)>,
    /// What is changed of the headers, and how people call it; the body's part is in `damage`.
    pub(crate) change: Option<(Vec<Mutation>, Rc<str>)>,
}

impl ResponseFault {
    /// Checks and compiles what stands at `at`.
    pub(crate) fn compile(
        at: &At<'_>,
        label: &str,
        config: &config::ResponseFault,
        longest: Duration,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let config::ResponseFault { matches, delay, abort, reset, black_hole, truncate, corrupt, change } =
            config;
        let mut headers = Vec::new();
        for (index, header) in matches.headers.iter().enumerate() {
            let at = at.item("match.headers", index);
            headers.extend(problems.take(at, HeaderMatcher::try_from(header)));
        }
        let delay = delay
            .as_ref()
            .and_then(|delay| Delay::compile(&at.field("delay"), delay, true, longest, problems));
        let ending =
            Ending::compile(at, abort.as_ref(), reset.as_ref(), black_hole.as_ref(), true, longest, problems);
        sum(at, delay.as_ref(), black_hole.as_ref(), longest, problems);
        let change =
            change.as_ref().map(|change| ResponseChange::compile(&at.field("change"), change, problems));
        let ends = [
            abort.is_some(),
            reset.is_some(),
            black_hole.is_some(),
            truncate.is_some(),
            corrupt.is_some(),
            change.is_some(),
        ];
        if ends.iter().filter(|there| **there).count() > 1 {
            problems.add(
                at,
                "expected at most one of `abort`, `reset`, `black_hole`, `truncate`, `corrupt` and `change`",
            );
        }
        let mut damage = None;
        if let Some(truncate) = truncate {
            let reset = if truncate.reset { " and reset" } else { "" };
            let text = format!("cut after {} bytes{reset}", truncate.after_bytes);
            let cut = Damage::Truncate { after: truncate.after_bytes, reset: truncate.reset };
            damage = Some((cut, Share(truncate.percentage.map(|share| share.0)), text.into()));
        }
        if let Some(corrupt) = corrupt {
            let (how, text) = compile_corrupt(&at.field("corrupt.with"), &corrupt.with, problems);
            damage = Some((how, Share(corrupt.percentage.map(|share| share.0)), text.into()));
        }
        let change = change.flatten();
        let ends = ending.is_some() || damage.is_some() || change.is_some();
        if delay.is_none() && !ends && problems.len() == before {
            problems.add(at,
                "expected at least one of `delay`, `abort`, `reset`, `black_hole`, `truncate`, `corrupt` and `change`",
            );
        }
        let statuses = matches.status.clone();
        (problems.len() == before).then(|| Self {
            statuses,
            headers,
            delay,
            ending,
            damage,
            change,
            label: [label, ", response"].concat().into(),
        })
    }

    /// Whether the response is one of these.
    pub(crate) fn is_match(&self, response: &dyn Headers) -> bool {
        let meant =
            |status: u16| self.statuses.iter().any(|meant| (meant.first..=meant.last).contains(&status));
        (self.statuses.is_empty() || status(response).is_some_and(meant))
            && self.headers.iter().all(|header| header.is_match(response))
    }

    /// Throws the dice. A body is there unless the headers were the end.
    pub(crate) fn draw(&self, salts: &Salts, key: &[u8], has_body: bool) -> Drawn {
        let draw = |purpose| move || salts.draw(key, purpose);
        let delay = self.delay.as_ref().filter(|delay| delay.share.includes(draw(Purpose::ResponseDelay)));
        let ending = self.ending.as_ref().filter(|ending| ending.share.includes(draw(Purpose::ResponseEnd)));
        let damage = self
            .damage
            .as_ref()
            .filter(|(_, share, _)| has_body && share.includes(draw(Purpose::ResponseEnd)));
        let damage = damage.map(|(damage, _, text)| (damage.clone(), Rc::clone(text)));
        let change = self.change.as_ref().filter(|change| {
            (has_body || !change.mutations.is_empty()) && change.share.includes(draw(Purpose::ResponseEnd))
        });
        let body = change.and_then(|change| Some((change.body.clone()?, Rc::clone(&change.text))));
        Drawn {
            delay: delay.and_then(|delay| delay.time(draw(Purpose::ResponseDelayTime), None)),
            end: ending.and_then(Ending::certain),
            damage: damage.or(body.filter(|_| has_body)),
            change: change.map(|change| (change.mutations.clone(), Rc::clone(&change.text))),
        }
    }
}

/// `:status`.
pub(crate) fn status(response: &dyn Headers) -> Option<u16> {
    std::str::from_utf8(response.get(":status")?).ok()?.parse().ok()
}

fn compile_corrupt(at: &At<'_>, with: &CorruptSpec, problems: &mut Problems) -> (Damage, String) {
    match with {
        CorruptSpec::FlipBytes(flip) => {
            if flip.every == 0 {
                problems.add(at.field("flip_bytes.every"), "expected at least 1");
            }
            (Damage::Flip { every: u64::from(flip.every) }, format!("flip a byte of {}", flip.every))
        }
        CorruptSpec::JsonField(field) => {
            if field.path.is_empty() {
                problems.add(at.field("json_field.path"), "expected at least one name, such as `[rating]`");
            }
            let damage = Damage::Json {
                path: field.path.clone(),
                value: field.value.0.clone().into_bytes(),
                max: body_limit(&at.field("json_field"), field.max_body_bytes, problems),
            };
            (damage, format!("replace `{}`", field.path.join(".")))
        }
        CorruptSpec::InvalidUtf8(place) => {
            (Damage::Utf8 { at: place.at_byte }, format!("break UTF-8 at byte {}", place.at_byte))
        }
        CorruptSpec::ContentLength(length) => {
            if length.add == 0 {
                problems.add(at.field("content_length.add"), "expected any number but 0");
            }
            (Damage::Length { add: length.add }, format!("content-length {:+}", length.add))
        }
    }
}
