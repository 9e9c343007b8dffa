//! What happens to a response.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::matcher::HeaderMatcher;
use weir_sdk::names::{digits, dotted};
use weir_sdk::{At, Headers, Mutation, Problems};

use super::body::{Damage, body_limit};
use super::change::ResponseChange;
use super::delay::{Delay, sum};
use super::dice::{Purpose, Salts, Share};
use super::end::{End, Ending};
use super::rule::several;
use crate::config::{self, CorruptSpec, StatusMatch};

/// A compiled [`config::ResponseFault`].
#[derive(Clone, Debug)]
pub(crate) struct ResponseFault {
    statuses: Vec<StatusMatch>,
    headers: Vec<HeaderMatcher>,
    delay: Option<Delay>,
    ending: Option<Ending>,
    damage: Option<(Rc<Damage>, Share, Rc<str>)>,
    change: Option<ResponseChange>,
    /// How it is called in explanations.
    pub(crate) label: Rc<str>,
}

/// What has been drawn for a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drawn {
    pub(crate) delay: Option<Duration>,
    pub(crate) end: Option<(End, Rc<str>)>,
    pub(crate) damage: Option<(Rc<Damage>, Rc<str>)>,
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
            if let Some(header) = HeaderMatcher::compile(header, &at, problems) {
                headers.push(header);
            }
        }
        let delay = delay
            .as_ref()
            .and_then(|delay| Delay::compile(&at.field("delay"), delay, true, longest, problems));
        let ending =
            Ending::compile(at, abort.as_ref(), reset.as_ref(), black_hole.as_ref(), true, longest, problems);
        sum(at, delay.as_ref(), black_hole.as_ref(), longest, problems);
        let change =
            change.as_ref().map(|change| ResponseChange::compile(&at.field("change"), change, problems));
        if several(&[
            abort.is_some(),
            reset.is_some(),
            black_hole.is_some(),
            truncate.is_some(),
            corrupt.is_some(),
            change.is_some(),
        ]) {
            problems.add(
                at,
                "expected at most one of `abort`, `reset`, `black_hole`, `truncate`, `corrupt` and `change`",
            );
        }
        let mut damage = None;
        if let Some(truncate) = truncate {
            let reset = if truncate.reset { " and reset" } else { "" };
            let text = ["cut after ", &truncate.after_bytes.to_string(), " bytes", reset].concat();
            let cut = Damage::Truncate { after: truncate.after_bytes, reset: truncate.reset };
            damage = Some((Rc::new(cut), Share::of(truncate.percentage), text.into()));
        }
        if let Some(corrupt) = corrupt {
            let (how, text) = compile_corrupt(&at.field("corrupt.with"), &corrupt.with, problems);
            damage = Some((Rc::new(how), Share::of(corrupt.percentage), text.into()));
        }
        let change = change.flatten();
        let ends = ending.is_some() || damage.is_some() || change.is_some();
        if delay.is_none() && !ends && problems.len() == before {
            problems.add(at,
                "expected at least one of `delay`, `abort`, `reset`, `black_hole`, `truncate`, `corrupt` and `change`",
            );
        }
        let statuses = matches.status.clone();
        if problems.len() != before {
            return None;
        }
        let label = [label, ", response"].concat().into();
        Some(Self { statuses, headers, delay, ending, damage, change, label })
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
        let hits = |share, purpose| salts.hit(share, key, purpose);
        let mut drawn = Drawn::default();
        if let Some(delay) = &self.delay
            && hits(delay.share, Purpose::ResponseDelay)
        {
            drawn.delay = delay.time(&|| salts.draw(key, Purpose::ResponseDelayTime), None);
        }
        if let Some(ending) = &self.ending
            && hits(ending.share, Purpose::ResponseEnd)
        {
            drawn.end = ending.certain();
        }
        if let Some((damage, share, text)) = &self.damage
            && has_body
            && hits(*share, Purpose::ResponseEnd)
        {
            drawn.damage = Some((Rc::clone(damage), Rc::clone(text)));
        }
        if let Some(change) = &self.change
            && (has_body || !change.mutations.is_empty())
            && hits(change.share, Purpose::ResponseEnd)
        {
            if let Some(body) = &change.body
                && has_body
            {
                drawn.damage = Some((Rc::clone(body), Rc::clone(&change.text)));
            }
            drawn.change = Some((change.mutations.clone(), Rc::clone(&change.text)));
        }
        drawn
    }
}

/// `:status`.
pub(crate) fn status(response: &dyn Headers) -> Option<u16> {
    u16::try_from(digits(response.get(":status")?)?).ok()
}

fn compile_corrupt(at: &At<'_>, with: &CorruptSpec, problems: &mut Problems) -> (Damage, String) {
    match with {
        CorruptSpec::FlipBytes(flip) => {
            if flip.every == 0 {
                problems.add(at.field("flip_bytes.every"), "expected at least 1");
            }
            let every = u64::from(flip.every);
            (Damage::Flip { every }, ["flip a byte of ", &every.to_string()].concat())
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
            (damage, ["replace `", &dotted(&field.path), "`"].concat())
        }
        CorruptSpec::InvalidUtf8(place) => {
            let at = place.at_byte;
            (Damage::Utf8 { at }, ["break UTF-8 at byte ", &at.to_string()].concat())
        }
        CorruptSpec::ContentLength(length) => {
            if length.add == 0 {
                problems.add(at.field("content_length.add"), "expected any number but 0");
            }
            let sign = if length.add < 0 { "-" } else { "+" };
            let more = u64::from(length.add.unsigned_abs()).to_string();
            (Damage::Length { add: length.add }, ["content-length ", sign, &more].concat())
        }
    }
}
