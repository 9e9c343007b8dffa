//! `Set-Cookie`, made of a template at configure (RFC 6265 §4.1).

use weir_sdk::{At, Bytes, Problems, RequestView, cookie};

use crate::config::{Cookie, SameSite};
use crate::policy::names;

/// A cookie whose attributes are written out; only the value is missing.
#[derive(Clone, Debug)]
pub(crate) struct CookieTemplate {
    pub(crate) name: String,
    attributes: String,
}

impl CookieTemplate {
    /// Checks and writes out.
    pub(crate) fn compile(at: &At<'_>, cookie: &Cookie, problems: &mut Problems) -> Self {
        let mut refuse = |field: &str, reason: &str| problems.add(at.field(field), reason);
        if let Err(reason) = names::cookie(&cookie.name) {
            refuse("name", &reason);
        }
        let mut attributes = String::new();
        if let Some(domain) = &cookie.domain {
            if let Err(reason) = names::cookie_attribute(domain) {
                refuse("domain", &reason);
            }
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        if let Err(reason) = names::cookie_attribute(&cookie.path) {
            refuse("path", &reason);
        } else if !cookie.path.starts_with('/') {
            refuse("path", &["expected a path that begins with `/`, found `", &cookie.path, "`"].concat());
        }
        attributes.push_str("; Path=");
        attributes.push_str(&cookie.path);
        if let Some(age) = &cookie.max_age {
            if age.0.subsec_nanos() != 0 {
                refuse("max_age", "expected whole seconds, such as `86400s`");
            }
            attributes.push_str("; Max-Age=");
            attributes.push_str(&age.0.as_secs().to_string());
        }
        let is_none = cookie.same_site == Some(SameSite::None);
        for &(given, attribute) in &[
            (cookie.secure, "; Secure"),
            (cookie.http_only, "; HttpOnly"),
            (cookie.same_site == Some(SameSite::Strict), "; SameSite=Strict"),
            (cookie.same_site == Some(SameSite::Lax), "; SameSite=Lax"),
            (is_none, "; SameSite=None"),
        ] {
            attributes.push_str(if given { attribute } else { "" });
        }
        if is_none && !cookie.secure {
            refuse("same_site", "`NONE` needs `secure: true`, or browsers drop the cookie");
        }
        let is_host = cookie.name.starts_with("__Host-");
        if (is_host || cookie.name.starts_with("__Secure-")) && !cookie.secure {
            let reason = ["`", &cookie.name, "` needs `secure: true`, or browsers drop the cookie"].concat();
            refuse("secure", &reason);
        }
        if is_host && (cookie.domain.is_some() || cookie.path != "/") {
            refuse("name", "`__Host-` needs path `/` and no domain, or browsers drop the cookie");
        }
        Self { name: cookie.name.clone(), attributes }
    }

    /// The header's value.
    #[inline(never)]
    pub(crate) fn line(&self, value: &str) -> Bytes {
        Bytes::from([&self.name, "=", value, &self.attributes].concat())
    }

    /// What a request brings in it.
    pub(crate) fn value<'r>(&self, request: &'r dyn RequestView) -> Option<&'r [u8]> {
        cookie(request, &self.name).filter(|value| !value.is_empty())
    }
}
