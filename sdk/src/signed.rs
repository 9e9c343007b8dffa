//! Signed headers: `expires=<unix seconds>,sha256=<64 hexadecimal digits>`, HMAC-SHA-256 over a text that says what is signed.
//!
//! For filters whose callers prove that they may, or whose decisions others follow. Knows no host and no clock: the time is an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;

use crate::digest::{equal, hex, hmac_sha256};
use crate::names::{cut, digits};
use crate::{At, FromConfig, Problems};

/// A secret shorter than this can be guessed.
const MIN_SECRET_BYTES: usize = 16;

/// Where a secret is; at least 16 bytes, blanks at its ends not counted.
#[derive(Clone, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// Here, as text. Everybody who may read the configuration can read it, and Envoy's `/config_dump` shows it.
    Inline(String),
    /// The environment variable of this name, which `vm_config.environment_variables` hands to the filter.
    Environment(String),
    /// The whole `vm_config.configuration`; `true`.
    VmConfiguration(bool),
}

impl Secret {
    /// What stands here; nothing of one that is elsewhere.
    #[must_use]
    pub fn inline(&self) -> Option<Vec<u8>> {
        match self {
            Self::Inline(text) => Some(text.clone().into_bytes()),
            Self::Environment(_) | Self::VmConfiguration(_) => None,
        }
    }

    fn missing(&self) -> String {
        match self {
            Self::Inline(_) => String::from("expected a text"),
            Self::Environment(name) => {
                let list = "`; list it in `vm_config.environment_variables` (Istio: `vmConfig.env`)";
                ["there is no environment variable `", name, list].concat()
            }
            Self::VmConfiguration(false) => String::from("expected `true`"),
            Self::VmConfiguration(true) => String::from("`vm_config.configuration` is empty"),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(…)"),
            Self::Environment(name) => f.debug_tuple("Environment").field(name).finish(),
            Self::VmConfiguration(_) => f.write_str("VmConfiguration"),
        }
    }
}

/// Secrets of which any may have signed, and the first of which signs: two while one takes the other's place.
#[derive(Clone)]
pub struct Secrets(Vec<Vec<u8>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Checks what stands at a place. `find` looks one up.
    pub fn compile(
        at: &At<'_>,
        written: &[Secret],
        find: &dyn Fn(&Secret) -> Option<Vec<u8>>,
        problems: &mut Problems,
    ) -> Self {
        if written.is_empty() {
            problems.add(at, "expected at least one");
        }
        let mut secrets = Vec::new();
        for (index, secret) in written.iter().enumerate() {
            let at = at.index(index);
            match find(secret) {
                None => problems.add(at, secret.missing()),
                Some(bytes) if bytes.trim_ascii().len() < MIN_SECRET_BYTES => {
                    problems.add(at, "expected a secret of at least 16 bytes");
                }
                Some(bytes) => secrets.push(bytes.trim_ascii().to_vec()),
            }
        }
        Self(secrets)
    }

    /// Whether a header's value signs `text`, which is told when the signature expires, and holds: it has not expired, and does so in
    /// `max_validity`, at least a second, at the latest.
    #[must_use]
    pub fn holds(
        &self,
        value: &[u8],
        now: SystemTime,
        max_validity: Duration,
        text: &dyn Fn(u64) -> Vec<u8>,
    ) -> bool {
        let Some((expires, signature)) = parse(value) else {
            return false;
        };
        let now = unix_seconds(now);
        if expires <= now || expires > now.saturating_add(max_validity.as_secs().max(1)) {
            return false;
        }
        let text = text(expires);
        // Every secret is tried, so that the time does not tell which one it was.
        self.0.iter().fold(false, |holds, secret| {
            holds | equal(hex(&hmac_sha256(secret, &text)).as_bytes(), signature)
        })
    }

    /// The value of a header that signs `text`, which is to tell when the signature expires.
    #[must_use]
    pub fn sign(&self, expires: u64, text: &[u8]) -> String {
        let key = self.0.first().map(Vec::as_slice).unwrap_or_default();
        ["expires=", &crate::config::number(expires), ",sha256=", &hex(&hmac_sha256(key, text))].concat()
    }
}

/// When a signature expires, and its digits.
#[must_use]
pub fn parse(value: &[u8]) -> Option<(u64, &[u8])> {
    let rest = value.trim_ascii().strip_prefix(b"expires=")?;
    let (seconds, signature) = cut(rest, b',');
    Some((digits(seconds)?, signature?.strip_prefix(b"sha256=")?))
}

/// Whole seconds since 1970; 0 before.
#[must_use]
pub fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_holds_for_its_text_and_time_only() {
        let mut problems = Problems::new();
        let secrets = |list: &[&str], problems: &mut Problems| {
            let list: Vec<Secret> = list.iter().map(|text| Secret::Inline((*text).to_owned())).collect();
            Secrets::compile(&At::of("s"), &list, &Secret::inline, problems)
        };
        let old = secrets(&["an old secret of ours"], &mut problems);
        let both = secrets(&["a new secret of ours", "an old secret of ours\n"], &mut problems);
        problems.finish().unwrap();
        let text = |expires: u64| format!("text {expires}").into_bytes();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        let signed = old.sign(1060, &text(1060));
        let holds = |value: &str, now| both.holds(value.as_bytes(), at(now), minute, &text);
        assert!(
            holds(&signed, 1000) && holds(&signed, 1059) && !holds(&signed, 1060) && !holds(&signed, 999)
        );
        assert!(!old.holds(both.sign(1060, &text(1060)).as_bytes(), at(1000), minute, &text));
        assert!(!both.holds(signed.as_bytes(), at(1000), minute, &|_| b"other".to_vec()));
        for bad in ["", "expires=", "expires=1", "expires=x,sha256=", &signed[..signed.len() - 1]] {
            assert!(!holds(bad, 1000), "{bad}");
        }
        let mut problems = Problems::new();
        secrets(&["short"], &mut problems);
        secrets(&[], &mut problems);
        let error = problems.finish().unwrap_err().to_string();
        assert!(
            error.contains("`s[0]`: expected a secret of at least 16") && error.contains("`s`: expected at")
        );
    }
}
