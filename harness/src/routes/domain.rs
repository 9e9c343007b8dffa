//! Which virtual host a request belongs to, by its host: exact, then `*suffix`, then `prefix*`, then `*`; the longest first.

use std::borrow::Cow;
use std::collections::HashMap;

use super::parse::RouteError;

/// The domains of all virtual hosts.
#[derive(Debug, Default)]
pub(super) struct Domains {
    exact: HashMap<Vec<u8>, usize>,
    /// `*.example.com`, longest first.
    suffixes: Vec<(Vec<u8>, usize)>,
    /// `example.*`, longest first.
    prefixes: Vec<(Vec<u8>, usize)>,
    any: Option<usize>,
    ignore_port: bool,
}

impl Domains {
    pub(super) fn new(ignore_port: bool) -> Self {
        Self { ignore_port, ..Self::default() }
    }

    /// Adds a domain of a virtual host.
    pub(super) fn add(&mut self, domain: &str, host: usize, path: &str) -> Result<(), RouteError> {
        let error = |reason: String| RouteError { path: path.to_owned(), reason };
        let lower = domain.to_ascii_lowercase().into_bytes();
        let duplicate = match (lower.strip_prefix(b"*"), lower.strip_suffix(b"*")) {
            _ if lower.is_empty() => {
                return Err(error("is empty; expected a domain, such as \"*\"".to_owned()));
            }
            (Some([]), _) => self.any.replace(host).is_some(),
            (Some(suffix), None) if !suffix.contains(&b'*') => insert(&mut self.suffixes, suffix, host),
            (None, Some(prefix)) if !prefix.contains(&b'*') => insert(&mut self.prefixes, prefix, host),
            (None, None) if !lower.contains(&b'*') => self.exact.insert(lower, host).is_some(),
            _ => {
                return Err(error(format!(
                    "`{domain}`: a `*` is allowed at the beginning or at the end, once"
                )));
            }
        };
        if duplicate {
            return Err(error(format!(
                "only unique values for domains are permitted; `{domain}` is there twice"
            )));
        }
        Ok(())
    }

    /// The virtual host of an authority.
    pub(super) fn find(&self, authority: &[u8]) -> Option<usize> {
        let mut host = Cow::Borrowed(authority);
        if authority.iter().any(u8::is_ascii_uppercase) {
            host.to_mut().make_ascii_lowercase();
        }
        if self.ignore_port
            && let Some(colon) = host.iter().rposition(|byte| *byte == b':')
            && colon + 1 < host.len()
            && host[colon + 1..].iter().all(u8::is_ascii_digit)
        {
            host = match host {
                Cow::Borrowed(host) => Cow::Borrowed(&host[..colon]),
                Cow::Owned(host) => Cow::Owned(host[..colon].to_vec()),
            };
        }
        let wild = |(part, _): &&(Vec<u8>, usize), found: bool| found && host.len() > part.len();
        self.exact.get(&*host).copied().or_else(|| {
            let suffix = self.suffixes.iter().find(|entry| wild(entry, host.ends_with(&entry.0)));
            let prefix = || self.prefixes.iter().find(|entry| wild(entry, host.starts_with(&entry.0)));
            suffix.or_else(prefix).map(|(_, host)| *host).or(self.any)
        })
    }
}

/// Keeps the longest first; whether it was there.
fn insert(list: &mut Vec<(Vec<u8>, usize)>, part: &[u8], host: usize) -> bool {
    if list.iter().any(|(known, _)| known == part) {
        return true;
    }
    let at = list.iter().position(|(known, _)| known.len() < part.len()).unwrap_or(list.len());
    list.insert(at, (part.to_vec(), host));
    false
}
