//! One stream on its way through a fault: what it waits for, and what comes then.

use std::rc::Rc;
use std::time::Duration;

use weir_sdk::digest::hex;
use weir_sdk::names::digits;
use weir_sdk::{Decision, Flow, Headers, Mutation, Salt};

use super::body::{Damaging, Outcome, Part};
use super::end::{End, gateway_timeout};
use super::rule::{Drawn, Rule};
use super::{Count, Counts, Step, Why, callers, response};
use crate::config::Then;

/// How long a reset waits behind bytes that are to arrive: HTTP/2 drops what it has not written when a stream is reset. Envoy writes at the end
/// of the event that brought the bytes.
pub(crate) const WRITTEN: Duration = Duration::from_millis(10);

/// What a stream remembers; nothing where no fault took it.
#[derive(Clone, Debug, Default)]
pub struct Stream(Option<Box<Active>>);

#[derive(Clone, Debug)]
struct Active {
    rule: Rc<Rule>,
    key: Vec<u8>,
    stage: Stage,
    /// What comes when the wait is over.
    end: Option<(End, Rc<str>)>,
    /// What becomes of the request's body.
    changing: Option<Damaging>,
    damaging: Option<Damaging>,
    /// What is counted when the response's body could be damaged; and else.
    damage: (Option<Count>, Count),
    dry_run: bool,
    /// It is counted among the active faults.
    entered: bool,
}

/// The way to the upstream, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The request has gone on.
    Passed,
    Delayed(Way),
    Held(Way, Then),
    /// The response has gone on.
    Answered,
    /// The body has been cut; the reset comes when what went before has been written.
    Cut,
    /// This filter has answered it, or reset it.
    Over,
}

impl Stream {
    /// A fault takes the stream.
    pub(crate) fn begin(
        &mut self,
        rule: &Rc<Rule>,
        drawn: Drawn,
        dry_run: bool,
        enter: &dyn Fn() -> bool,
        overflow: &Rc<str>,
        step: &mut Step,
    ) {
        let Drawn { limit, change, body, delay, end, draw, key } = drawn;
        let happens = limit.is_some() || change.is_some() || delay.is_some() || end.is_some();
        if !dry_run && happens && !enter() {
            step.counts.add(Count::Overflow);
            step.why = Some(Why::passes(&rule.label, overflow));
            return;
        }
        let status = end.as_ref().and_then(|(end, _)| match end {
            End::Abort(reply) => Some(reply.grpc_status.map_or(reply.status, u16::from)),
            End::Reset | End::BlackHole(..) => None,
        });
        let text = end.as_ref().map(|(_, text)| Rc::clone(text));
        // What callers ask for is not in the text.
        let status = status.filter(|_| text.as_deref().is_some_and(|text| text.ends_with("asks")));
        step.why = Some(Why {
            what: Rc::clone(&rule.label),
            passes: None,
            limit,
            change: change.as_ref().map(|(_, text)| Rc::clone(text)),
            delay,
            end: text,
            draw,
            status,
        });
        let mut active = Active {
            rule: Rc::clone(rule),
            key,
            stage: Stage::Passed,
            end,
            changing: None,
            damaging: None,
            damage: (None, Count::CorruptionSpared),
            dry_run,
            entered: happens && !dry_run,
        };
        if let Some(kbps) = limit {
            step.counts.add(Count::Limit);
            if !dry_run {
                let value = kbps.to_string().into();
                step.decision.mutations.push(Mutation::Set(callers::THROUGHPUT.into(), value));
            }
        }
        if let Some((mut mutations, _)) = change {
            step.counts.add(Count::Change);
            if matches!(body, Some(None)) {
                step.counts.add(Count::ChangeSpared);
            }
            if !dry_run {
                step.decision.mutations.append(&mut mutations);
                if let Some((changing, length)) = body.flatten() {
                    length.change(&mut step.decision.mutations);
                    active.changing = Some(changing);
                }
            }
        }
        step.decision.flow = active.go(delay, Way::There, &mut step.counts);
        if active.entered || active.rule.response.is_some() {
            self.0 = Some(Box::new(active));
        }
    }

    /// A wait is over.
    pub fn on_timer(&mut self) -> Step {
        let Some(active) = &mut self.0 else {
            return Step::default();
        };
        let mut step = Step { counts: Counts::new(active.dry_run), ..Step::default() };
        step.decision.flow = match active.stage {
            Stage::Delayed(way) => active.go(None, way, &mut step.counts),
            Stage::Held(way, Then::Continue) => {
                active.stage = past(way);
                Flow::Continue
            }
            Stage::Held(_, Then::Reset) => active.over(Flow::Reset),
            Stage::Held(_, Then::GatewayTimeout) => active.over(Flow::Reply(gateway_timeout())),
            Stage::Cut => active.over(Flow::Reset),
            Stage::Passed | Stage::Answered | Stage::Over => Flow::Continue,
        };
        step
    }

    /// Whether a response that comes now is the service's own, and not one that this filter made or brought about.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.0.as_ref().is_none_or(|active| active.stage == Stage::Passed)
    }

    /// The response's headers are here. `enter` is asked where the stream is not counted among the active faults yet.
    pub fn on_response(
        &mut self,
        headers: &dyn Headers,
        end_of_stream: bool,
        enter: &dyn Fn() -> bool,
    ) -> Step {
        let Some(active) = &mut self.0 else {
            return Step::default();
        };
        let mut step = Step { counts: Counts::new(active.dry_run), ..Step::default() };
        if active.stage != Stage::Passed {
            // Ours, or Envoy's own for a request that is still held: nothing more is to happen.
            active.stage = Stage::Over;
            return step;
        }
        active.stage = Stage::Answered;
        let rule = Rc::clone(&active.rule);
        let Some(fault) = rule.response.as_ref().filter(|fault| fault.is_match(headers)) else {
            return step;
        };
        // After 101 the bytes are another protocol's.
        let has_body = !end_of_stream && response::status(headers) != Some(101);
        let drawn = fault.draw(&rule.salts, &active.key, has_body);
        let length = content_length(headers);
        let salt = Salt::new(&hex(&active.key));
        let damaging = drawn
            .damage
            .as_ref()
            .and_then(|(damage, text)| Some((Damaging::begin(damage, length, salt)?, damage, text)));
        if drawn.delay.is_none() && drawn.end.is_none() && drawn.change.is_none() && damaging.is_none() {
            return step;
        }
        if !active.dry_run && !active.entered {
            if !enter() {
                step.counts.add(Count::Overflow);
                return step;
            }
            active.entered = true;
        }
        let text = drawn.end.as_ref().map(|(_, text)| text).or(damaging.as_ref().map(|(_, _, text)| *text));
        let why = step.why.insert(Why::of(&fault.label));
        why.delay = drawn.delay;
        why.end = text.cloned();
        active.end = drawn.end;
        if let Some((mut mutations, text)) = drawn.change {
            step.counts.add(Count::ResponseChange);
            why.change = Some(text);
            why.end = None;
            if !active.dry_run {
                step.decision.mutations.append(&mut mutations);
            }
        }
        if let Some(((damaging, length), damage, _)) = damaging {
            active.damage = match damage {
                _ if damage.is_change() => (None, Count::ChangeSpared),
                _ if damage.is_truncation() => (Some(Count::Truncation), Count::CorruptionSpared),
                _ => (Some(Count::Corruption), Count::CorruptionSpared),
            };
            if !active.dry_run {
                active.damaging = Some(damaging);
                length.change(&mut step.decision.mutations);
            } else if let Some(count) = active.damage.0 {
                step.counts.add(count);
            }
        }
        step.decision.flow = active.go(drawn.delay, Way::Back, &mut step.counts);
        step
    }

    /// Whether bodies of this stream are to be looked at.
    #[must_use]
    pub fn is_damaging(&self) -> bool {
        self.0.as_ref().is_some_and(|active| active.damaging.is_some())
    }

    /// Whether bodies of this stream's request are to be looked at.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.0.as_ref().is_some_and(|active| active.changing.is_some())
    }

    /// A part of the request's body is here: what becomes of it, and what is to be counted.
    pub fn on_request_body(
        &mut self,
        size: usize,
        end_of_stream: bool,
        bytes: &mut dyn FnMut() -> Vec<u8>,
    ) -> (Part, Counts) {
        let mut counts = Counts::default();
        let Some(changing) = self.0.as_mut().and_then(|active| active.changing.as_mut()) else {
            return (Part::Pass, counts);
        };
        let (part, outcome) = changing.part(size, end_of_stream, bytes);
        if outcome == Outcome::Spared {
            counts.add(Count::ChangeSpared);
        }
        (part, counts)
    }

    /// A part of the response's body is here: what becomes of it, and what is to be counted.
    pub fn on_response_body(
        &mut self,
        size: usize,
        end_of_stream: bool,
        bytes: &mut dyn FnMut() -> Vec<u8>,
    ) -> (Part, Counts) {
        let Some((damaging, damage, dry_run)) = self
            .0
            .as_mut()
            .and_then(|active| Some((active.damaging.as_mut()?, active.damage, active.dry_run)))
        else {
            return (Part::Pass, Counts::default());
        };
        let mut counts = Counts::new(dry_run);
        let (part, outcome) = damaging.part(size, end_of_stream, bytes);
        match outcome {
            Outcome::Unknown => {}
            Outcome::Damaged => damage.0.into_iter().for_each(|count| counts.add(count)),
            Outcome::Spared => counts.add(damage.1),
        }
        if part == Part::Reset
            && let Some(active) = &mut self.0
        {
            active.damaging = None;
            active.stage = Stage::Cut;
        }
        (part, counts)
    }

    /// The response's trailers are here.
    pub fn on_response_trailers(&mut self) -> Decision {
        match &mut self.0 {
            Some(active) if active.damaging.as_ref().is_some_and(Damaging::trailers) => {
                active.damaging = None;
                active.stage = Stage::Cut;
                Decision::wait(WRITTEN)
            }
            _ => Decision::next(),
        }
    }

    /// The stream is over: whether it was counted among the active faults.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some_and(|active| active.entered)
    }
}

impl Active {
    /// Waits first, or goes to the end; a dry run counts both, and goes on.
    fn go(&mut self, delay: Option<Duration>, way: Way, counts: &mut Counts) -> Flow {
        if let Some(delay) = delay {
            counts.add(way.count(Count::Delay, Count::ResponseDelay));
            if !self.dry_run {
                self.stage = Stage::Delayed(way);
                return Flow::Wait(delay);
            }
        }
        let Some((end, _)) = self.end.take() else {
            self.stage = past(way);
            return Flow::Continue;
        };
        counts.add(match &end {
            End::Abort(_) => way.count(Count::Abort, Count::ResponseAbort),
            End::Reset => way.count(Count::Reset, Count::ResponseReset),
            End::BlackHole(..) => way.count(Count::BlackHole, Count::ResponseBlackHole),
        });
        if self.dry_run {
            return Flow::Continue;
        }
        self.stage = Stage::Over;
        match end {
            End::Abort(reply) => Flow::Reply(reply),
            End::Reset => Flow::Reset,
            End::BlackHole(time, then) => {
                self.stage = Stage::Held(way, then);
                Flow::Wait(time)
            }
        }
    }

    fn over(&mut self, flow: Flow) -> Flow {
        self.stage = Stage::Over;
        flow
    }
}

impl Way {
    fn count(self, there: Count, back: Count) -> Count {
        match self {
            Self::There => there,
            Self::Back => back,
        }
    }
}

pub(super) fn content_length(headers: &dyn Headers) -> Option<u64> {
    digits(headers.get("content-length")?)
}

fn past(way: Way) -> Stage {
    match way {
        Way::There => Stage::Passed,
        Way::Back => Stage::Answered,
    }
}
