//! Comparisons under way on this worker: collects answers, compares when all are there, counts, and reports.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use weir_sdk::{CalloutReply, HeaderMap, HostError, PluginHost, log};

use crate::held::{Account, Held};
use crate::metrics::Counters;
use crate::policy::answer::Answer;
use crate::policy::bytes::{joined, lossy, whole};
use crate::policy::compare::{Noise, Part, Verdict};
use crate::policy::copy::Copy;
use crate::policy::snapshot::size;
use crate::policy::target::Target;
use crate::policy::trial::{Answers, Slot, Trial};
use crate::reporter::Reporter;

/// The comparisons of one target.
pub(crate) struct Judge {
    noise: Cell<Noise>,
    counters: Counters,
}

/// What is counted: verdicts and parts by their places, [`MISSED`], [`CONTROLS`].
const COUNTERS: [&str; 8] = ["equal", "noise", "different", "status", "header", "body", "missed", "controls"];
const PARTS: usize = Verdict::ALL.len();
const MISSED: usize = 6;
const CONTROLS: usize = 7;

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

/// One comparison.
pub(crate) struct Case {
    /// The target's place.
    pub(crate) target: usize,
    /// What a record says of the exchange.
    context: Vec<(&'static str, String)>,
    answers: Cell<Answers>,
    held: Cell<Vec<Rc<Held>>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Primary,
    Copy,
    Control,
}

impl Judge {
    /// Defines what it counts; `target` is the first part of the names.
    ///
    /// # Errors
    /// The host refuses a metric.
    pub(crate) fn new(trial: &Trial, host: &PluginHost, target: &str) -> Result<Self, HostError> {
        let prefix = joined(target, ".compare.", "");
        let noise = Cell::new(trial.comparer.noise());
        Ok(Self { noise, counters: Counters::define(host, &prefix, &[&COUNTERS])? })
    }

    /// A control copy was sent.
    pub(crate) fn control(&self) {
        self.counters.add(CONTROLS, 1);
    }

    /// An answer has come, or will not.
    pub(crate) fn hear(
        &self,
        case: &Case,
        target: &Target,
        whose: Whose,
        slot: Slot,
        reporter: Option<&Reporter>,
        host: &PluginHost,
    ) {
        let mut answers = case.answers.take();
        let was_over = answers.is_over();
        let place = match whose {
            Whose::Primary => &mut answers.primary,
            Whose::Copy => &mut answers.copy,
            Whose::Control => &mut answers.control,
        };
        if !was_over {
            *place = slot;
        }
        let (false, true, Some(trial)) = (was_over, answers.is_over(), &target.trial) else {
            case.answers.set(answers);
            return;
        };
        // Whatever comes later finds a case that is closed.
        case.answers.set(Answers { primary: Slot::Never, copy: Slot::Never, control: Slot::Never });
        case.held.take();
        self.judge(case, trial, &answers, reporter, host);
    }

    fn judge(
        &self,
        case: &Case,
        trial: &Trial,
        answers: &Answers,
        reporter: Option<&Reporter>,
        host: &PluginHost,
    ) {
        let (Slot::Here(primary), Slot::Here(copy)) = (&answers.primary, &answers.copy) else {
            self.counters.add(MISSED, 1);
            return;
        };
        let control = match &answers.control {
            Slot::Here(control) => Some(&**control),
            _ => None,
        };
        let mut noise = self.noise.take();
        let comparison = trial.comparer.compare(primary, copy, control, &mut noise);
        self.noise.set(noise);
        let verdict = comparison.verdict();
        self.counters.add(verdict as usize, 1);
        for part in Part::ALL {
            let differs = comparison.differs(part);
            self.counters.add(PARTS.saturating_add(part as usize), u64::from(differs));
        }
        if verdict == Verdict::Different
            && let Some(reporter) = reporter.filter(|reporter| reporter.wants(host))
        {
            let context: Vec<(&str, &str)> =
                case.context.iter().map(|(name, text)| (*name, text.as_str())).collect();
            reporter.tell(&trial.comparer.record(&comparison, &context, &trial.redactor), host);
        }
    }
}

impl Case {
    /// Of a copy that was sent, or is about to be.
    pub(crate) fn new(index: usize, target: &Target, copy: &Copy, has_control: bool) -> Rc<Self> {
        let mut context = Vec::with_capacity(4);
        context.push(("target", String::from(&*target.name)));
        // What the copy says may be told: it has been redacted.
        for (name, header) in &[("method", ":method"), ("path", ":path"), ("request_id", "x-request-id")] {
            if let Some(value) = copy.headers.first(header) {
                context.push((*name, lossy(value)));
            }
        }
        let control = if has_control { Slot::Awaited } else { Slot::Never };
        Rc::new(Self {
            target: index,
            context,
            answers: Cell::new(Answers { primary: Slot::Awaited, copy: Slot::Awaited, control }),
            held: Cell::default(),
        })
    }

    /// Keeps an account of an answer's bytes as long as the answer.
    pub(crate) fn hold(&self, held: Rc<Held>) {
        let mut all = self.held.take();
        all.push(held);
        self.held.set(all);
    }

    /// The answer of a callout as far as it is kept; [`Slot::Never`] where Envoy answered for the cluster, or no memory is left.
    pub(crate) fn answer(&self, reply: CalloutReply, max_bytes: usize, account: &Account) -> Slot {
        let status = reply.status.filter(|_| reply.is_from_upstream());
        let (Some(status), mut body) = (status, reply.body) else {
            return Slot::Never;
        };
        let body_truncated = body.len() > max_bytes;
        body.truncate(max_bytes);
        let Some(held) = account.take(size(&reply.headers).saturating_add(body.len())) else {
            return Slot::Never;
        };
        self.hold(Rc::new(held));
        let (headers, trailers) = (reply.headers, HeaderMap::new());
        Slot::Here(Rc::new(Answer { status, headers, trailers, body, body_truncated }))
    }
}

/// The primary's answer while it comes.
#[derive(Debug)]
pub(crate) struct Primary {
    answer: Answer,
    limit: usize,
    held: Held,
    /// Whether it has come to its end.
    pub(crate) complete: bool,
}

impl Primary {
    /// Begins with its headers; nothing where no memory is left.
    pub(crate) fn begin(headers: &HeaderMap, limit: usize, end: bool, account: &Account) -> Option<Self> {
        let status = headers.first(":status").and_then(|status| u16::try_from(whole(status)?).ok());
        let answer = Answer {
            status: status.unwrap_or(0),
            headers: headers.clone(),
            trailers: HeaderMap::new(),
            body: Vec::new(),
            body_truncated: false,
        };
        Some(Self { answer, limit, held: account.take(size(headers))?, complete: end })
    }

    /// How many bytes of a part of this size are to be kept, or nothing where no memory is left.
    pub(crate) fn room(&mut self, size: usize) -> Option<usize> {
        let room = self.limit.saturating_sub(self.answer.body.len()).min(size);
        self.answer.body_truncated |= room < size;
        self.held.grow(room).then_some(room)
    }

    /// A part of the body.
    pub(crate) fn add(&mut self, kept: &[u8], end: bool) {
        self.answer.body.extend_from_slice(kept);
        self.complete |= end;
    }

    /// The trailers, which are its end; `false` where no memory is left.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) -> bool {
        self.complete = true;
        let fits = self.held.grow(size(trailers));
        if fits {
            self.answer.trailers = trailers.clone();
        }
        fits
    }

    /// The answer, as far as it has come; `whole` says whether that is all of it.
    pub(crate) fn end(mut self, whole: bool) -> (Answer, Held) {
        self.answer.body_truncated |= !whole;
        (self.answer, self.held)
    }
}

/// Says in the log what a record says, where there is no collector.
pub(crate) fn say(record: &[u8]) {
    log::info!("difference: {}", lossy(record));
}
