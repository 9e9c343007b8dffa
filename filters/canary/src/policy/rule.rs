//! One rule: whom it is for and what becomes of them.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use weir_sdk::{At, Draw, Problems, RequestMatcher, RequestView, Split, cookie};

use crate::config::{self, Color};
use crate::policy::Inputs;
use crate::policy::arms::{ArmId, Arms};
use crate::policy::guard::{Guard, Site, Watch};
use crate::policy::ramp::Ramp;
use crate::policy::schedule::Schedule;
use crate::policy::sticky::{Pull, Sticky};
use crate::policy::{Cause, Choice, names, text};

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
            Some(name) => ["rule `", name, "`"].concat(),
            None => at.to_string(),
        };
        let sticky = rule.sticky.as_ref().map(|sticky| {
            let salt = rule.name.as_deref().unwrap_or_default();
            Sticky::compile(&at.field("sticky"), sticky, &label, salt, arms, problems)
        });
        if sticky.is_some() && !matches!(outcome, None | Some(Outcome::Split { .. } | Outcome::Ramp { .. })) {
            problems.add(at.field("sticky"), "is for `split` and `ramp`; here nothing is drawn");
        }
        let mut guard = None;
        if let Some(outcome) = &outcome
            && let Some(made) = Guard::compile(&outcome.site(at, &label), rule, arms, problems)
        {
            guard = Some((guards.len(), Rc::clone(&made)));
            guards.push(made);
        }
        let texts = Texts {
            plain: text(&[&label]),
            forced: text(&[&label, ", forced by the client"]),
            preview: text(&[&label, ", preview"]),
            random: text(&[&label, ", drawn at random"]),
            stable: text(&[&label, ", no key"]),
        };
        let (Some(matcher), Some(outcome)) = (matcher, outcome) else { return None };
        if problems.len() != before {
            return None;
        }
        Some(Self { matcher, schedule, force, outcome, sticky, guard, texts })
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
    pub(crate) fn choose<'a>(&'a self, inputs: &Inputs<'_>, arms: &Arms, choice: &mut Choice<'a>) {
        self.pick(inputs, arms, choice);
        let Some((index, guard)) = &self.guard else { return };
        let Some(lane) = choice.arm.and_then(|arm| guard.lane(arm)) else { return };
        let mut watch = Watch { guard: *index, lane, resets: guard.resets(inputs.request) };
        if let Some(why) = (inputs.rolled_back)(watch) {
            choice.arm = guard.stable();
            choice.rolled_back = Some(why);
            // It would name, or draw, the arm that is out.
            choice.set_cookie = None;
            choice.cause = Some(Cause::RolledBack);
            watch.lane = 0;
        }
        choice.watch = Some(watch);
    }

    fn pick<'a>(&'a self, inputs: &Inputs<'_>, arms: &Arms, choice: &mut Choice<'a>) {
        if let Some(arm) = self.force.as_ref().and_then(|force| force.arm(inputs.request)) {
            choice.set(Some(arm), &self.texts.forced);
            choice.cause = Some(Cause::Forced);
            return;
        }
        match &self.outcome {
            Outcome::Arm(arm) => choice.set(Some(*arm), &self.texts.plain),
            Outcome::BlueGreen { live, idle, preview } => match preview {
                Some(preview) if preview.is_match(inputs.request) => {
                    choice.set(Some(*idle), &self.texts.preview);
                }
                _ => choice.set(Some(*live), &self.texts.plain),
            },
            Outcome::Split { arms: shares, .. } => {
                self.draw(inputs, arms, UNIX_EPOCH, shares.last().copied(), choice);
            }
            Outcome::Ramp { from, .. } => self.draw(inputs, arms, (inputs.now)(), Some(*from), choice),
        }
    }

    fn draw<'a>(
        &'a self,
        inputs: &Inputs<'_>,
        arms: &Arms,
        now: SystemTime,
        stable: Option<ArmId>,
        choice: &mut Choice<'a>,
    ) {
        choice.why = &self.texts.random;
        let mut pull = Pull::Random;
        if let Some(sticky) = &self.sticky {
            pull = sticky.pull(inputs, arms, &|arm| self.outcome.has_share(arm, now), choice);
        }
        let draw = match pull {
            Pull::Drawn(draw) => draw,
            Pull::Random | Pull::Write(_) => Draw::from_random((inputs.random)()),
            Pull::Kept(arm) => {
                choice.arm = Some(arm);
                return;
            }
            Pull::Stable(arm) => {
                choice.set(arm.or(stable), &self.texts.stable);
                return;
            }
        };
        choice.draw = Some(draw);
        choice.arm = self.outcome.at(draw, now);
        if let Pull::Write(cookie) = pull {
            choice.set_cookie = arms.name(choice.arm).map(|name| cookie.line(name));
        }
    }
}

impl Outcome {
    /// What a guard must know of it.
    fn site<'a>(&self, at: &'a At<'a>, label: &'a str) -> Site<'a> {
        let (arms, has_stable, compares) = match self {
            Self::Arm(arm) => (vec![*arm], false, false),
            Self::Split { arms, .. } => (arms.clone(), true, true),
            Self::Ramp { from, to, .. } => (vec![*to, *from], true, true),
            Self::BlueGreen { live, idle, .. } => (vec![*live, *idle], true, false),
        };
        Site { at, label, arms, has_stable, compares }
    }

    /// The arm of a point.
    fn at(&self, draw: Draw, now: SystemTime) -> Option<ArmId> {
        match self {
            Self::Split { arms, split } => arms.get(split.pick(draw)).copied(),
            Self::Ramp { from, to, ramp } => Some(if ramp.includes(draw, now) { *to } else { *from }),
            Self::Arm(_) | Self::BlueGreen { .. } => None,
        }
    }

    /// Whether some points are an arm's.
    fn has_share(&self, arm: ArmId, now: SystemTime) -> bool {
        match self {
            Self::Split { arms, split } => {
                arms.iter().enumerate().any(|(index, share)| *share == arm && split.weight(index) > 0)
            }
            Self::Ramp { from, to, ramp } => {
                (arm == *to && !ramp.is_before(now)) || (arm == *from && !ramp.is_full(now))
            }
            Self::Arm(_) | Self::BlueGreen { .. } => false,
        }
    }
}

impl Force {
    fn arm(&self, request: &dyn RequestView) -> Option<ArmId> {
        let header = self.header.as_ref().and_then(|name| request.joined(name));
        if let Some(arm) = header.and_then(|value| self.meant(&value)) {
            return Some(arm);
        }
        self.meant(cookie(request, self.cookie.as_ref()?)?)
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
    let header = force.header.as_ref().and_then(|name| names::header_at(&at.field("header"), name, problems));
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
    let mut found = String::new();
    let mut count = 0_u8;
    for &(name, given) in &[
        ("`arm`", rule.arm.is_some()),
        ("`split`", rule.split.is_some()),
        ("`ramp`", rule.ramp.is_some()),
        ("`blue_green`", rule.blue_green.is_some()),
    ] {
        if given {
            found.push_str(if count > 0 { " and " } else { "" });
            found.push_str(name);
            count = count.saturating_add(1);
        }
    }
    if count != 1 {
        let found = if count == 0 { "none" } else { &found };
        let expected = "expected exactly one of `arm`, `split`, `ramp` and `blue_green`, found ";
        problems.add(at, [expected, found].concat());
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
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for (index, share) in split.iter().enumerate() {
        let at = at.index(index);
        let at = at.field("arm");
        if let Some(id) = arms.named(&at, &share.arm, problems) {
            if ids.contains(&id) {
                let reason = ["`", &share.arm, "` is in this split already; expected each arm once"].concat();
                problems.add(at, reason);
            }
            ids.push(id);
        }
        weights.push(share.weight.into());
    }
    let Some(split) = Split::new(&weights) else {
        problems
            .add(at, "expected weights of which at least one is not 0 and whose sum is at most 4294967295");
        return None;
    };
    if ids.len() < weights.len() {
        return None;
    }
    Some(Outcome::Split { arms: ids, split })
}
