//! What is planned for one request: a verdict for each target, for counting and for people.

use std::fmt;
use std::rc::Rc;

use weir_sdk::Draw;
use weir_sdk::fraction::drawn;

use crate::policy::target::Wanted;
use crate::policy::why::Why;

/// What becomes of a request at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A copy is to be sent when the request is complete.
    Wanted(Wanted),
    /// A copy was sent.
    Sent,
    /// The exchange is recorded, when it is over.
    Recorded,
    /// There is none.
    Skipped(Why),
}

/// One target's part of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The target's place in the policy.
    pub target: usize,
    /// Its name.
    pub name: Rc<str>,
    /// What was drawn, where anything was.
    pub draw: Option<Draw>,
    /// What becomes of the request.
    pub verdict: Verdict,
    /// More of the reason, where there is more.
    pub detail: Option<&'static str>,
}

/// What is planned for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each target that was asked, in their order.
    pub entries: Vec<Entry>,
    /// Everything happens but that copies are sent.
    pub dry_run: bool,
    /// The route named a policy that is not there.
    pub route_invalid: bool,
}

impl Plan {
    /// Whether any copy is to be sent yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.verdict, Verdict::Wanted(_)))
    }

    /// Whether the request is none for any target, so that nobody would ask why it was not copied.
    #[must_use]
    pub fn leaves_alone(&self) -> bool {
        let is_none = |entry: &Entry| matches!(entry.verdict, Verdict::Skipped(why) if why.is_choice());
        !self.route_invalid && self.entries.iter().all(is_none)
    }

    /// Bytes of the body that are to be kept: the most that any copy may have.
    #[must_use]
    pub fn body_limit(&self) -> usize {
        let mut most = 0;
        for entry in &self.entries {
            if let Verdict::Wanted(wanted) = &entry.verdict {
                most = wanted.body_limit.max(most);
            }
        }
        most
    }

    /// Copies that a body of this length forbids are skipped.
    pub fn grow(&mut self, length: u64) {
        self.skip_if(Why::Body, |wanted| wanted.refuses(length));
    }

    /// All copies that are to be sent are skipped.
    pub fn give_up(&mut self, why: Why) {
        self.skip_if(why, |_| true);
    }

    fn skip_if(&mut self, why: Why, is_over: impl Fn(&Wanted) -> bool) {
        for entry in &mut self.entries {
            if matches!(&entry.verdict, Verdict::Wanted(wanted) if is_over(wanted)) {
                entry.verdict = Verdict::Skipped(why);
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Plan {
    /// As it is displayed, without the code that formats.
    #[must_use]
    pub fn text(&self) -> String {
        if self.entries.is_empty() {
            return String::from("no target");
        }
        let mut text = String::new();
        for (index, Entry { name, draw, verdict, detail, .. }) in self.entries.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            let (said, why) = match verdict {
                Verdict::Wanted(_) => ("wanted", ""),
                Verdict::Sent if self.dry_run => ("would be copied", ""),
                Verdict::Sent => ("copied", ""),
                Verdict::Recorded if self.dry_run => ("would be recorded", ""),
                Verdict::Recorded => ("recorded", ""),
                Verdict::Skipped(why) => ("not copied, ", why.text()),
            };
            for part in [comma, name, ": ", said, why] {
                text.push_str(part);
            }
            if let Some(detail) = detail {
                text.push_str(": ");
                text.push_str(detail);
            }
            if let Some(draw) = draw {
                text.push_str(&drawn(draw.ppm()));
            }
        }
        text
    }
}
