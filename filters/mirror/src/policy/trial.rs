//! How the answers to a target's copies are compared.

use std::rc::Rc;

use weir_sdk::{At, FromConfig as _, Problems};

use crate::config;
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
    #[inline(never)]
    pub fn compile(
        at: &At<'_>,
        target: &mut config::Target,
        redactor: Option<Rc<Redactor>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (found, most) = (target.max_answer_bytes, 16 << 20);
        check::at_most(problems, at, "max_answer_bytes", found, most, "16777216 (16 MiB)");
        if target.control.as_ref().is_some_and(|control| control.cluster.is_empty()) {
            check::refuse(problems, at, "control.cluster", "expected the name of a cluster, found nothing");
        }
        let Some(compare) = target.compare.take() else {
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
