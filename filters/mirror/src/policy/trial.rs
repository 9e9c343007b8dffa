//! A comparison that waits for its answers: the primary's, the copy's, and perhaps a control's, in whatever order they come.

use std::rc::Rc;

use weir_sdk::{At, FromConfig as _, Problems};

use crate::config;
use crate::policy::answer::Answer;
use crate::policy::check;
use crate::policy::compare::Comparer;
use crate::policy::redact::Redactor;

/// How the answers to a target's copies are compared.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Compares.
    pub comparer: Comparer,
    /// Says what may be told of values: the target's, or that of the defaults.
    pub redactor: Rc<Redactor>,
}

impl Trial {
    /// Checks and compiles what the target at `at` says.
    pub fn compile(
        at: &At<'_>,
        target: &config::Target,
        redactor: Option<Rc<Redactor>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (found, most) = (target.max_answer_bytes, 16 << 20);
        check::at_most(problems, at, "max_answer_bytes", found, most, "16777216 (16 MiB)");
        if target.control.as_ref().is_some_and(|control| control.cluster.is_empty()) {
            check::refuse(problems, at, "control.cluster", "expected the name of a cluster, found nothing");
        }
        let Some(compare) = &target.compare else {
            if target.control.is_some() {
                check::refuse(problems, at, "control", "is for targets with `compare`");
            }
            return None;
        };
        let redactor = redactor
            .unwrap_or_else(|| Rc::new(Redactor::compile(&At::ROOT, &config::Redact::blank(), problems)));
        Some(Self { comparer: Comparer::compile(&at.field("compare"), compare, problems), redactor })
    }
}

/// An answer that is awaited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// It may come yet.
    #[default]
    Awaited,
    /// It is here.
    Here(Rc<Answer>),
    /// It will not come.
    Never,
}

/// The answers of one comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The primary's.
    pub primary: Slot,
    /// The copy's.
    pub copy: Slot,
    /// The control copy's.
    pub control: Slot,
}

impl Answers {
    /// Whether nothing is awaited any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Without one of the two there is nothing to wait for.
        let lacks = self.primary == Slot::Never || self.copy == Slot::Never;
        lacks || [&self.primary, &self.copy, &self.control].iter().all(|slot| **slot != Slot::Awaited)
    }
}
