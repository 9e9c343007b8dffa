//! `Set-Cookie`, made of a template at configure (RFC 6265 §4.1).

use weir_sdk::{At, Bytes, Problems};

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
        let mut refuse = |field: &str, reason: String| problems.add(at.field(field), reason);
        if let Err(reason) = names::cookie(&cookie.name) {
            refuse("name", reason);
        }
        let mut attributes = String::new();
        if let Some(domain) = &cookie.domain {
            if let Err(reason) = names::cookie_attribute(domain) {
                refuse("domain", reason);
            }
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        if let Err(reason) = names::cookie_attribute(&cookie.path) {
            refuse("path", reason);
        } else if !cookie.path.starts_with('/') {
            refuse("path", format!("expected a path that begins with `/`, found `{}`", cookie.path));
        }
        attributes.push_str("; Path=");
        attributes.push_str(&cookie.path);
        if let Some(age) = &cookie.max_age {
            if age.0.subsec_nanos() != 0 {
                refuse("max_age", "expected whole seconds, such as `86400s`".to_owned());
            }
            attributes.push_str(&format!("; Max-Age={}", age.0.as_secs()));
        }
        if cookie.secure {
            attributes.push_str("; Secure");
        }
        if cookie.http_only {
            attributes.push_str("; HttpOnly");
        }
        attributes.push_str(match cookie.same_site {
            None => "",
            Some(SameSite::Strict) => "; SameSite=Strict",
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
        });
        if cookie.same_site == Some(SameSite::None) && !cookie.secure {
            refuse("same_site", "`NONE` needs `secure: true`, or browsers drop the cookie".to_owned());
        }
        if (cookie.name.starts_with("__Secure-") || cookie.name.starts_with("__Host-")) && !cookie.secure {
            refuse("secure", format!("`{}` needs `secure: true`, or browsers drop the cookie", cookie.name));
        }
        if cookie.name.starts_with("__Host-") && (cookie.domain.is_some() || cookie.path != "/") {
            refuse("name", "`__Host-` needs path `/` and no domain, or browsers drop the cookie".to_owned());
        }
        Self { name: cookie.name.clone(), attributes }
    }

    /// The header's value.
    pub(crate) fn line(&self, value: &str) -> Bytes {
        let mut line = String::with_capacity(
            self.name
                .len()
                .saturating_add(value.len())
                .saturating_add(self.attributes.len())
                .saturating_add(1),
        );
        line.push_str(&self.name);
        line.push('=');
        line.push_str(value);
        line.push_str(&self.attributes);
        Bytes::from(line)
    }
}
