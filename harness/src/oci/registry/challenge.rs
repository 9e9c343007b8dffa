//! How a registry asks who is there: the header `WWW-Authenticate` (RFC 9110). Asks nobody.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a registry asks who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// `Basic` or `Bearer`.
    pub scheme: String,
    /// Where a token is to be had; for `Basic` a mere name.
    pub realm: String,
    /// What the token is for.
    pub service: Option<String>,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header: of several challenges the first `Bearer`, else the first. What cannot be read has no scheme.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let mut all = all(header);
        let best = all.iter().position(Self::is_bearer).unwrap_or(0);
        if all.is_empty() { Self::default() } else { all.swap_remove(best) }
    }

    /// The same for all such headers of an answer; `None` when there is none.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let all: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
        let texts: Vec<String> =
            all.iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        (!texts.is_empty()).then(|| Self::parse(&texts.join(", ")))
    }

    /// Whether a token is asked for.
    pub(super) fn is_bearer(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("bearer")
    }

    /// Whether a user and a password are asked for.
    pub(super) fn is_basic(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("basic")
    }
}

/// All challenges of a header, in order.
fn all(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() && after.is_empty() {
            return found;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else {
            found.push(Challenge { scheme: word.to_owned(), ..Challenge::default() });
            rest = after;
            continue;
        };
        let (value, after) = self::value(value.trim_start());
        if let Some(challenge) = found.last_mut() {
            match word.to_ascii_lowercase().as_str() {
                "realm" => challenge.realm = value,
                "service" => challenge.service = Some(value),
                _ => {}
            }
        }
        rest = after;
    }
}

/// A value, which may be quoted, and what stands behind it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, scheme: &str, realm: &str, service: Option<&str>) {
        let want =
            Challenge { scheme: scheme.into(), realm: realm.into(), service: service.map(str::to_owned) };
        assert_eq!(Challenge::parse(header), want, "{header}");
    }

    #[test]
    fn challenges() {
        check("Basic realm=\"basic-realm\"", "Basic", "basic-realm", None);
        let bearer = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\"";
        check(bearer, "Bearer", "https://auth.example/token", Some("registry.example"));
        check("Bearer service=x, Realm=https://a.example, scope=y", "Bearer", "https://a.example", Some("x"));
        check("Negotiate", "Negotiate", "", None);
        check("", "", "", None);
    }

    #[test]
    fn of_several_the_one_with_a_token() {
        let both = "Basic realm=\"a, b=c\", Bearer realm=\"https://a.example/?x=\\\"1\\\"\", service = \"s\"";
        check(both, "Bearer", "https://a.example/?x=\"1\"", Some("s"));
        check("Basic realm=\"a\", Negotiate abc==", "Basic", "a", None);
    }

    #[test]
    fn what_is_malformed_ends() {
        check("Bearer realm=\"https://a.example", "Bearer", "https://a.example", None);
        check("Bearer", "Bearer", "", None);
        check("Bearer realm=", "Bearer", "", None);
        check("=\"x\",,, realm=\"y\"", "", "", None);
        check("Bearer realm=\"\\", "Bearer", "", None);
        check(",,, \t", "", "", None);
    }
}
