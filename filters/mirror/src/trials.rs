//! Comparisons under way on this worker: collects answers, compares when all are there, counts, and reports.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use weir_sdk::{CalloutReply, HeaderMap, PluginHost, log::Level};

use crate::held::{Account, Held};
use crate::metrics::{Counters, Definer};
use crate::policy::answer::Answer;
use crate::policy::bytes::{joined, lossy, whole};
use crate::policy::compare::{Noise, Part, Verdict};
use crate::policy::copy::Copy;
use crate::policy::snapshot::size;
use crate::policy::target::Target;
use crate::policy::trial::Trial;
use crate::reporter::Reporter;

/// The comparisons of one target.
pub(crate) struct Judge {
    noise: RefCell<Noise>,
    counters: Counters,
}

/// What is counted: verdicts and parts by their places, [`MISSED`], [`CONTROLS`].
const COUNTERS: &str = "equal noise different status header body missed controls";
const PARTS: usize = Verdict::ALL.len();
const MISSED: usize = 6;
const CONTROLS: usize = 7;

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

/// One comparison: the answers of the primary, of the copy and perhaps of a control copy, in whatever order they come.
pub(crate) struct Case {
    /// The target's place.
    pub(crate) target: usize,
    /// What a record says of the exchange.
    context: Vec<(&'static str, String)>,
    /// Those that are here, by [`Whose`].
    answers: [Cell<Option<Rc<Kept>>>; 3],
    /// A bit for each that may come yet, by [`Whose`]; none when the comparison is over.
    awaited: Cell<u8>,
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
    pub(crate) fn new(trial: &Trial, definer: &mut Definer<'_>, target: &str) -> Self {
        let counters = definer.counters(&joined(target, ".compare.", ""), COUNTERS);
        Self { noise: RefCell::new(trial.comparer.noise()), counters }
    }

    /// A control copy was sent.
    pub(crate) fn control(&self) {
        self.counters.add(CONTROLS, 1);
    }

    /// An answer has come, or will not.
    pub(crate) fn hear(
        &self,
        case: &Case,
        trial: &Trial,
        whose: Whose,
        answer: Option<Rc<Kept>>,
        reporter: Option<&Reporter>,
        host: &PluginHost,
    ) {
        let bit = 1_u8.wrapping_shl(whose as u32);
        let awaited = case.awaited.get();
        if awaited & bit == 0 {
            return;
        }
        // Without one of the two there is nothing to wait for; whatever comes later finds a case that is closed.
        let lacks = answer.is_none() && whose != Whose::Control;
        case.awaited.set(if lacks { 0 } else { awaited & !bit });
        if let Some(place) = case.answers.get(whose as usize) {
            place.set(answer);
        }
        if case.awaited.get() == 0 {
            let [primary, copy, control] = &case.answers;
            let (primary, copy, control) = (primary.take(), copy.take(), control.take());
            match (&primary, &copy) {
                (Some(primary), Some(copy)) => {
                    let control = control.as_ref().map(|control| &control.answer);
                    self.judge(case, trial, &primary.answer, &copy.answer, control, reporter, host);
                }
                _ => self.counters.add(MISSED, 1),
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "it is called once")]
    fn judge(
        &self,
        case: &Case,
        trial: &Trial,
        primary: &Answer,
        copy: &Answer,
        control: Option<&Answer>,
        reporter: Option<&Reporter>,
        host: &PluginHost,
    ) {
        let comparison = trial.comparer.compare(primary, copy, control, &mut self.noise.borrow_mut());
        let verdict = comparison.verdict();
        self.counters.add(verdict as usize, 1);
        for part in Part::ALL {
            let differs = comparison.differs(part);
            self.counters.add(PARTS.saturating_add(part as usize), u64::from(differs));
        }
        if verdict == Verdict::Different
            && let Some(reporter) = reporter.filter(|reporter| reporter.wants(host))
        {
            reporter.tell(&trial.comparer.record(&comparison, &case.context, &trial.redactor), host);
        }
    }
}

impl Case {
    /// Of a copy that is about to be sent.
    pub(crate) fn new(index: usize, target: &Target, copy: &Copy) -> Rc<Self> {
        let mut context = Vec::with_capacity(4);
        context.push(("target", String::from(&*target.name)));
        // What the copy says may be told: it has been redacted.
        for (name, header) in &[("method", ":method"), ("path", ":path"), ("request_id", "x-request-id")] {
            if let Some(value) = copy.headers.first(header) {
                context.push((*name, lossy(value)));
            }
        }
        // Primary and copy.
        Rc::new(Self { target: index, context, answers: Default::default(), awaited: Cell::new(0b011) })
    }

    /// A control copy was sent too.
    pub(crate) fn await_control(&self) {
        self.awaited.set(0b111);
    }
}

/// An answer as far as it is kept, and its bytes in the account.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) answer: Answer,
    /// Bytes of the body that are kept at most.
    limit: usize,
    held: Held,
    /// Whether it has come to its end.
    pub(crate) complete: bool,
}

impl Kept {
    /// Nothing where no memory is left.
    fn new(
        status: u16,
        headers: HeaderMap,
        body: Vec<u8>,
        limit: usize,
        account: &Account,
    ) -> Option<Rc<Self>> {
        let held = account.take(size(&headers).saturating_add(body.len().min(limit)))?;
        let body_truncated = body.len() > limit;
        let mut answer = Answer { status, headers, trailers: HeaderMap::new(), body, body_truncated };
        answer.body.truncate(limit);
        Some(Rc::new(Self { answer, limit, held, complete: false }))
    }

    /// The primary's answer, which begins with its headers; nothing where no memory is left.
    pub(crate) fn begin(headers: &HeaderMap, limit: usize, account: &Account) -> Option<Rc<Self>> {
        let status = headers.first(":status").and_then(|status| u16::try_from(whole(status)?).ok());
        Self::new(status.unwrap_or(0), headers.clone(), Vec::new(), limit, account)
    }

    /// The answer of a callout; nothing where Envoy answered for the cluster, or no memory is left.
    pub(crate) fn of(reply: CalloutReply, limit: usize, account: &Account) -> Option<Rc<Self>> {
        let status = reply.status.filter(|_| reply.is_from_upstream())?;
        Self::new(status, reply.headers, reply.body, limit, account)
    }

    /// How many bytes of a part of this size are to be kept, or nothing where no memory is left.
    pub(crate) fn room(&mut self, size: usize) -> Option<usize> {
        let room = self.limit.saturating_sub(self.answer.body.len()).min(size);
        self.answer.body_truncated |= room < size;
        self.held.grow(room).then_some(room)
    }

    /// A part of the body.
    pub(crate) fn add(&mut self, kept: &[u8]) {
        self.answer.body.extend_from_slice(kept);
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
}

/// Says in the log what a record says, where there is no collector.
pub(crate) fn say(record: &[u8]) {
    weir_sdk::say(Level::Info, || joined("difference: ", &lossy(record), ""));
}
