//! What stands in place of a value.
//!
//! Knows no place: the values are decoded text, and what it makes needs no encoding in a header, a query or a form.

use std::borrow::Cow;

use weir_sdk::digest::{hex, hmac_sha256};

use crate::config::Action;

/// Bytes of the HMAC that are told: equal by chance among a million values once in 37 million.
const HASH_BYTES: usize = 8;

/// Shortest value of which [`Action::Mask`] tells anything: a card number has 13, a telephone number or a PIN fewer.
const MIN_MASKED: usize = 12;

/// Makes what stands in place of values.
#[derive(Clone, Debug)]
pub(super) struct Values {
    replacement: String,
    hash_key: Vec<u8>,
}

impl Values {
    pub(super) fn new(replacement: &str, hash_key: Option<&str>) -> Self {
        Self {
            replacement: String::from(replacement),
            hash_key: hash_key.unwrap_or_default().as_bytes().to_vec(),
        }
    }

    pub(super) fn replacement(&self) -> &str {
        &self.replacement
    }

    /// What stands in place of `value`; `None` when it goes with its name.
    pub(super) fn instead(&self, action: Action, value: &str) -> Option<Cow<'static, str>> {
        match action {
            Action::Drop => None,
            Action::Hash => {
                let mac = hmac_sha256(&self.hash_key, value.as_bytes());
                Some(Cow::Owned(hex(mac.get(..HASH_BYTES).unwrap_or_default())))
            }
            Action::Mask => Some(mask(value)),
            Action::Replace | Action::Keep => Some(Cow::Owned(self.replacement.clone())),
        }
    }
}

fn mask(value: &str) -> Cow<'static, str> {
    // Only what needs no encoding anywhere is told.
    let (mut last, mut count) = (0_u32, 0_usize);
    for byte in value.bytes().filter(u8::is_ascii_alphanumeric) {
        last = last.wrapping_shl(8) | u32::from(byte);
        count = count.saturating_add(1);
    }
    if count < MIN_MASKED {
        return Cow::Borrowed("****");
    }
    let mut masked = String::from("****");
    masked.extend(last.to_be_bytes().map(char::from));
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_as_far_as_asked() {
        let values = Values::new("gone", Some("0123456789abcdef"));
        let instead = |action, value| values.instead(action, value).map(Cow::into_owned);
        assert_eq!(instead(Action::Drop, "x"), None);
        assert_eq!(instead(Action::Replace, "x").as_deref(), Some("gone"));
        assert_eq!(instead(Action::Mask, "4111 1111 1111 1234").as_deref(), Some("****1234"));
        assert_eq!(instead(Action::Mask, "0123-4567").as_deref(), Some("****"));
        assert_eq!(instead(Action::Mask, "").as_deref(), Some("****"));
        let hash = instead(Action::Hash, "jack");
        assert_eq!(hash.as_deref().map(str::len), Some(16));
        assert_eq!(hash, instead(Action::Hash, "jack"));
        assert_ne!(hash, instead(Action::Hash, "jason"));
        let other = Values::new("gone", Some("fedcba9876543210"));
        assert_ne!(other.instead(Action::Hash, "jack").map(Cow::into_owned), hash);
    }
}
