//! One rule: whom it is for and what becomes of them.

use std::rc::Rc;
use std::time::SystemTime;

use weir_sdk::{At, Draw, Problems, RequestMatcher, RequestView, Split, cookie};

use crate::config::{self, Color};
use crate::policy::Inputs;
use crate::policy::arms::{ArmId, Arms};
use crate::policy::guard::{Guard, Site, Watch};
use crate::policy::ramp::Ramp;
use crate::policy::schedule::Schedule;
use crate::policy::sticky::{Pull, Sticky};
use crate::policy::{Cause, Choice, names};

/// A compiled [`config::Rule`].
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    matcher: RequestMatcher,
    schedule: Option<Schedule>,
    force: Option<Force>,
    outcome: Outcome,
    pub(crate) sticky: Option<Sticky>,
    /// With its place among all guards.
    guard: Option<(usize, Rc<Guard>)>,
    texts: Texts,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Arm(ArmId),
    Split { arms: Vec<ArmId>, split: Split },
    Ramp { from: ArmId, to: ArmId, ramp: Ramp },
    BlueGreen { live: ArmId, idle: ArmId, preview: Option<RequestMatcher> },
}

#[derive(Clone, Debug)]
struct Force {
    header: Option<Rc<str>>,
    cookie: Option<String>,
    always: Option<ArmId>,
    never: Option<ArmId>,
    always_value: String,
    never_value: String,
}

/// What explanations say, made once.
#[derive(Clone, Debug)]
struct Texts {
    plain: Rc<str>,
    forced: Rc<str>,
    preview: Rc<str>,
    random: Rc<str>,
    stable: Rc<str>,
}

impl Rule {
    /// Checks and compiles the rule; its guard, if it has one, joins `guards`.
    pub(crate) fn compile(
        at: &At<'_>,
        rule: &config::Rule,
        arms: &mut Arms,
        guards: &mut Vec<Rc<Guard>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let matcher = RequestMatcher::compile(&rule.matches, &at.field("match"), problems);
        let schedule = rule
            .schedule
            .as_ref()
            .map(|schedule| Schedule::compile(&at.field("schedule"), schedule, problems));
        let outcome = outcome(at, rule, arms, problems);
        let force = rule.force.as_ref().map(|force| compile_force(&at.field("force"), force, arms, problems));
        let label = match &rule.name {
            Some(name) => format!("rule `{name}`"),
            None => at.to_string(),
        };
        let sticky = rule.sticky.as_ref().map(|sticky| {
            let salt = rule.name.as_deref().unwrap_or_default();
            Sticky::compile(&at.field("sticky"), sticky, &label, salt, arms, problems)
        });
        if sticky.is_some() && !matches!(outcome, None | Some(Outcome::Split { .. } | Outcome::Ramp { .. })) {
            problems.add(at.field("sticky"), "is for `split` and `ramp`; here nothing is drawn");
        }
        let guard = outcome.as_ref().and_then(|outcome| {
            let site = outcome.site(at, &label);
            let guard = Rc::new(Guard::compile(&site, rule, arms, problems)?);
            guards.push(Rc::clone(&guard));
            Some((guards.len().saturating_sub(1), guard))
        });
        let texts = Texts {
            plain: label.as_str().into(),
            forced: format!("{label}, forced by the client").into(),
            preview: format!("{label}, preview").into(),
            random: format!("{label}, drawn at random").into(),
            stable: format!("{label}, no key").into(),
        };
        (problems.len() == before).then_some(())?;
        Some(Self { matcher: matcher?, schedule, force, outcome: outcome?, sticky, guard, texts })
    }

    /// What it makes of a request.
    pub(crate) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Whether the request is one of the rule's.
    pub(crate) fn is_match(&self, inputs: &Inputs<'_>) -> bool {
        self.matcher.is_match(inputs.request)
            && self.schedule.as_ref().is_none_or(|schedule| schedule.is_on((inputs.now)()))
    }

    /// What becomes of the request.
    pub(crate) fn choose(&self, inputs: &Inputs<'_>, arms: &Arms) -> Choice {
        let choice = self.pick(inputs, arms);
        let Some((index, guard)) = &self.guard else {
            return choice;
        };
        let Some(lane) = choice.arm.and_then(|arm| guard.lane(arm)) else {
            return choice;
        };
        let watch = Watch { guard: *index, lane, resets: guard.resets(inputs.request) };
        match (inputs.rolled_back)(watch) {
            // Its cookie would name, or draw, the arm that is out.
            Some(why) => {
                Choice { arm: guard.stable(), set_cookie: None, draw: choice.draw, ..Choice::none(&why) }
                    .caused(Cause::RolledBack)
                    .watched(Watch { lane: 0, ..watch })
            }
            None => choice.watched(watch),
        }
    }

    fn pick(&self, inputs: &Inputs<'_>, arms: &Arms) -> Choice {
        if let Some(arm) = self.force.as_ref().and_then(|force| force.arm(inputs.request)) {
            return Choice::of(arm, &self.texts.forced).caused(Cause::Forced);
        }
        match &self.outcome {
            Outcome::Arm(arm) => Choice::of(*arm, &self.texts.plain),
            Outcome::BlueGreen { live, idle, preview } => match preview {
                Some(preview) if preview.is_match(inputs.request) => Choice::of(*idle, &self.texts.preview),
                _ => Choice::of(*live, &self.texts.plain),
            },
            Outcome::Split { arms: shares, split } => {
                let at = |draw: Draw| shares.get(split.pick(draw)).copied();
                let has_share = |arm: ArmId| {
                    shares.iter().enumerate().any(|(index, share)| *share == arm && split.weight(index) > 0)
                };
                self.draw(inputs, arms, at, has_share, shares.last().copied())
            }
            Outcome::Ramp { from, to, ramp } => {
                let now: SystemTime = (inputs.now)();
                let at = |draw: Draw| Some(if ramp.includes(draw, now) { *to } else { *from });
                let has_share =
                    |arm: ArmId| (arm == *to && !ramp.is_before(now)) || (arm == *from && !ramp.is_full(now));
                self.draw(inputs, arms, at, has_share, Some(*from))
            }
        }
    }

    fn draw(
        &self,
        inputs: &Inputs<'_>,
        arms: &Arms,
        at: impl Fn(Draw) -> Option<ArmId>,
        has_share: impl Fn(ArmId) -> bool,
        stable: Option<ArmId>,
    ) -> Choice {
        let random = || Draw::from_random((inputs.random)());
        let Some(sticky) = &self.sticky else {
            let draw = random();
            return Choice::drawn(at(draw), &self.texts.random, draw);
        };
        match sticky.pull(inputs, arms, has_share, &self.texts.random) {
            Pull::Drawn { draw, why, set_cookie, key_missing } => {
                let choice = Choice::drawn(at(draw), why, draw).with_cookie(set_cookie);
                if key_missing { choice.caused(Cause::KeyMissing) } else { choice }
            }
            Pull::Kept { arm, why } => Choice::of(arm, why),
            Pull::Write { cookie, why } => {
                let draw = random();
                let arm = at(draw);
                let line = arm.and_then(|arm| arms.get(arm)).map(|arm| cookie.line(&arm.name));
                Choice::drawn(arm, why, draw).with_cookie(line)
            }
            Pull::Stable => Choice { arm: sticky.stable.or(stable), ..Choice::none(&self.texts.stable) }
                .caused(Cause::KeyMissing),
        }
    }
}

impl Outcome {
    /// What a guard must know of it.
    fn site<'a>(&self, at: &'a At<'a>, label: &'a str) -> Site<'a> {
        let site = |arms: Vec<ArmId>, has_stable, compares| Site { at, label, arms, has_stable, compares };
        match self {
            Self::Arm(arm) => site(vec![*arm], false, false),
            Self::Split { arms, .. } => site(arms.clone(), true, true),
            Self::Ramp { from, to, .. } => site(vec![*to, *from], true, true),
            Self::BlueGreen { live, idle, .. } => site(vec![*live, *idle], true, false),
        }
    }
}

impl Force {
    fn arm(&self, request: &dyn RequestView) -> Option<ArmId> {
        let by_header = || self.header.as_ref().and_then(|name| self.meant(&request.joined(name)?));
        let by_cookie = || self.cookie.as_ref().and_then(|name| self.meant(cookie(request, name)?));
        by_header().or_else(by_cookie)
    }

    fn meant(&self, value: &[u8]) -> Option<ArmId> {
        if value == self.always_value.as_bytes() {
            self.always
        } else if value == self.never_value.as_bytes() {
            self.never
        } else {
            None
        }
    }
}

fn compile_force(at: &At<'_>, force: &config::Force, arms: &mut Arms, problems: &mut Problems) -> Force {
    if force.header.is_none() && force.cookie.is_none() {
        problems.add(at, "expected `header` or `cookie`, or both");
    }
    if force.always.is_none() && force.never.is_none() {
        problems.add(at, "expected the arm of `always` or of `never`, or both");
    }
    if force.always_value == force.never_value {
        problems.add(at.field("never_value"), "is the same as `always_value`; expected another");
    }
    if let Some(Err(reason)) = force.cookie.as_deref().map(names::cookie) {
        problems.add(at.field("cookie"), reason);
    }
    let header = force
        .header
        .as_deref()
        .and_then(|name| names::header(name).map_err(|reason| problems.add(at.field("header"), reason)).ok());
    let mut arm = |field: &str, name: &Option<String>| {
        name.as_deref().and_then(|name| arms.named(&at.field(field), name, problems))
    };
    Force {
        header,
        cookie: force.cookie.clone(),
        always: arm("always", &force.always),
        never: arm("never", &force.never),
        always_value: force.always_value.clone(),
        never_value: force.never_value.clone(),
    }
}

fn outcome(at: &At<'_>, rule: &config::Rule, arms: &mut Arms, problems: &mut Problems) -> Option<Outcome> {
    let given: Vec<&str> = [
        ("arm", rule.arm.is_some()),
        ("split", rule.split.is_some()),
        ("ramp", rule.ramp.is_some()),
        ("blue_green", rule.blue_green.is_some()),
    ]
    .iter()
    .filter_map(|(name, given)| given.then_some(*name))
    .collect();
    if given.len() != 1 {
        let found = if given.is_empty() { "none".to_owned() } else { format!("`{}`", given.join("` and `")) };
        problems.add(
            at,
            format!("expected exactly one of `arm`, `split`, `ramp` and `blue_green`, found {found}"),
        );
        return None;
    }
    if let Some(arm) = &rule.arm {
        return arms.named(&at.field("arm"), arm, problems).map(Outcome::Arm);
    }
    if let Some(split) = &rule.split {
        return compile_split(&at.field("split"), split, arms, problems);
    }
    if let Some(ramp) = &rule.ramp {
        let at = at.field("ramp");
        let from = arms.named(&at.field("from"), &ramp.from, problems);
        let to = arms.named(&at.field("to"), &ramp.to, problems);
        if ramp.from == ramp.to {
            problems.add(at.field("to"), "is the same arm as `from`; expected another");
        }
        let ramp = Ramp::compile(&at, ramp, problems)?;
        return Some(Outcome::Ramp { from: from?, to: to?, ramp });
    }
    let blue_green = rule.blue_green.as_ref()?;
    let at = at.field("blue_green");
    let blue = arms.named(&at.field("blue"), &blue_green.blue, problems);
    let green = arms.named(&at.field("green"), &blue_green.green, problems);
    if blue_green.blue == blue_green.green {
        problems.add(at.field("green"), "is the same arm as `blue`; expected another");
    }
    let preview = blue_green
        .preview
        .as_ref()
        .and_then(|preview| RequestMatcher::compile(preview, &at.field("preview"), problems));
    let (live, idle) = match blue_green.live {
        Color::Blue => (blue?, green?),
        Color::Green => (green?, blue?),
    };
    Some(Outcome::BlueGreen { live, idle, preview })
}

fn compile_split(
    at: &At<'_>,
    split: &[config::WeightedArm],
    arms: &mut Arms,
    problems: &mut Problems,
) -> Option<Outcome> {
    let mut ids = Vec::new();
    for (index, share) in split.iter().enumerate() {
        let at = at.index(index);
        let at = at.field("arm");
        let id = arms.named(&at, &share.arm, problems);
        if id.is_some() && ids.contains(&id) {
            problems.add(at, format!("`{}` is in this split already; expected each arm once", share.arm));
        }
        ids.push(id);
    }
    let weights: Vec<u64> = split.iter().map(|share| share.weight.into()).collect();
    let Some(split) = Split::new(&weights) else {
        problems
            .add(at, "expected weights of which at least one is not 0 and whose sum is at most 4294967295");
        return None;
    };
    Some(Outcome::Split { arms: ids.into_iter().collect::<Option<_>>()?, split })
}
