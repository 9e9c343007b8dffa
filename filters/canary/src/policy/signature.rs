//! The arm, signed on its way to the next services.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use weir_sdk::signed::{Secret, Secrets, unix_seconds};
use weir_sdk::{At, Mutation, Problems, RequestView};

use super::names;
use crate::config;

/// A compiled [`config::Signature`].
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) header: Rc<str>,
    secrets: Secrets,
    validity: Duration,
}

impl Signature {
    /// Checks and compiles. `find` looks secrets up.
    pub(crate) fn compile(
        written: &config::Signature,
        find: &dyn Fn(&Secret) -> Option<Vec<u8>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let header = names::header_at(&At::of("signature.header"), &written.header, problems);
        if written.validity.0 < Duration::from_secs(1) {
            problems.add("signature.validity", "expected at least `1s`");
        }
        let secrets = Secrets::compile(&At::of("signature.secrets"), &written.secrets, find, problems);
        Some(Self { header: header?, secrets, validity: written.validity.0 })
    }

    /// Signs an arm from now on, or takes away what is there.
    pub(crate) fn sign(&self, arm: Option<&str>, now: SystemTime) -> Mutation {
        let Some(arm) = arm else {
            return Mutation::Remove(Rc::clone(&self.header));
        };
        let expires = unix_seconds(now).saturating_add(self.validity.as_secs());
        let value = self.secrets.sign(expires, &text(expires, arm));
        Mutation::Set(Rc::clone(&self.header), value.into())
    }

    /// Whether the request brings a signature of this arm that holds.
    pub(crate) fn holds(&self, arm: &str, request: &dyn RequestView, now: SystemTime) -> bool {
        request
            .get(&self.header)
            .is_some_and(|value| self.secrets.holds(value, now, self.validity, &|expires| text(expires, arm)))
    }
}

/// What is signed. No name has a line feed.
fn text(expires: u64, arm: &str) -> Vec<u8> {
    ["weir-canary-1\n", &expires.to_string(), "\n", arm, "\n"].concat().into_bytes()
}
