//! What names a module from afar: references of images as Istio's agent and Envoy Gateway read them, URLs, and digests. Fetches nothing.

use serde_json::Value;

use super::findings::Findings;
use super::rules;
use super::url;

/// How long a SHA-256 is in hexadecimal digits.
const DIGITS: usize = 64;

/// A module's URL, the digest beside it, and where both stand.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) url: &'a str,
    pub(super) url_at: &'a str,
    pub(super) sha256: &'a str,
    pub(super) sha256_at: &'a str,
}

impl Named<'_> {
    /// A module of Istio's plugins; whether there is anything to pull. What the schema of the kind refuses is not said again.
    pub(super) fn check_istio(self, findings: &mut Findings<'_>) -> bool {
        let scheme = match url::scheme(self.url) {
            Some(scheme) => scheme,
            // A name without a scheme is an image's.
            None if url::scheme(&format!("http://{}", self.url)).is_some() => String::new(),
            None => return false,
        };
        let is_sound = match scheme.as_str() {
            "" | "oci" => self.check_image(findings),
            "http" | "https" => self.check_host(findings),
            _ => return false,
        };
        self.check_same(findings);
        is_sound
    }

    /// An image of Envoy Gateway's; whether there is one.
    pub(super) fn check_gateway_image(self, findings: &mut Findings<'_>) -> bool {
        self.check_digest(findings);
        self.check_same(findings);
        self.check_image(findings)
    }

    /// A file that Envoy Gateway fetches; whether it can.
    pub(super) fn check_gateway_file(self, findings: &mut Findings<'_>) -> bool {
        self.check_digest(findings);
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            let reason = format!("Envoy Gateway cannot fetch `{}`: http and https only", self.url);
            findings.add(&rules::MODULE_URL, self.url_at, reason).hint("an image goes with `type: Image`");
            return false;
        }
        self.check_host(findings)
    }

    /// What Istio's agent fetches for an EXTENSION_CONFIG: it takes a `sha256` of `nil` for none.
    fn check_agent(self, findings: &mut Findings<'_>) {
        if self.sha256 != "nil" {
            self.check_digest(findings);
            self.check_same(findings);
        }
        match self.url.split_once("://").map(|(scheme, _)| scheme) {
            Some("oci") => drop(self.check_image(findings)),
            Some("http" | "https") => drop(self.check_host(findings)),
            _ => {
                let reason = format!("Istio's agent cannot fetch `{}`: oci, http and https only", self.url);
                findings.add(&rules::MODULE_URL, self.url_at, reason);
            }
        }
    }

    fn check_image(self, findings: &mut Findings<'_>) -> bool {
        let Some(reason) = problem(without_scheme(self.url)) else { return true };
        findings.add(&rules::IMAGE, self.url_at, format!("names no image: {reason}"));
        false
    }

    fn check_host(self, findings: &mut Findings<'_>) -> bool {
        let rest = without_scheme(self.url);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let has_host = !host.is_empty() && url::is_authority(host);
        if !has_host {
            let reason = format!("`{}` names no host to fetch the module from", self.url);
            findings.add(&rules::MODULE_URL, self.url_at, reason);
        }
        has_host
    }

    /// Whether the digest is one.
    pub(super) fn check_digest(self, findings: &mut Findings<'_>) {
        if !self.sha256.is_empty()
            && let Some(reason) = no_digits(self.sha256)
        {
            let finding = findings.add(&rules::SHA256, self.sha256_at, reason);
            if self.sha256.starts_with("sha256:") {
                finding.hint("without `sha256:`");
            }
        }
    }

    /// Whether the URL names another digest than the one beside it.
    fn check_same(self, findings: &mut Findings<'_>) {
        let Some((_, digest)) = self.url.split_once("@sha256:") else { return };
        let are_digests = [self.sha256, digest].iter().all(|digits| no_digits(digits).is_none());
        if are_digests && digest != self.sha256 {
            let reason = "is another digest than that in the URL: no image has both";
            findings.add(&rules::SHA256, self.sha256_at, reason);
        }
    }
}

/// Code of Envoy's `PluginConfig` at `at` that is fetched: by Istio's agent, or by Envoy itself.
pub(super) fn check_remote(value: &Value, at: &str, by_agent: bool, findings: &mut Findings<'_>) {
    let code = format!("{at}/vm_config/code/remote");
    let Some(remote) = value.pointer(&code) else { return };
    let text = |pointer: &str| remote.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (url_at, sha256_at) = (format!("{code}/http_uri/uri"), format!("{code}/sha256"));
    let named =
        Named { url: text("/http_uri/uri"), url_at: &url_at, sha256: text("/sha256"), sha256_at: &sha256_at };
    if by_agent {
        named.check_agent(findings);
        return;
    }
    named.check_digest(findings);
    if !named.url.starts_with("http://") && !named.url.starts_with("https://") {
        let reason = format!("Envoy cannot fetch `{}`: http and https only", named.url);
        findings.add(&rules::REMOTE, &url_at, reason).hint(
            "Istio's agent fetches images for EXTENSION_CONFIG patches, which an HTTP_FILTER with `config_discovery` takes up",
        );
    }
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// Why a text is no reference of an image, as the library reads them that Istio's agent and Envoy Gateway have (`pkg/name` of
/// go-containerregistry).
fn problem(reference: &str) -> Option<String> {
    // The agent looks at host and path only.
    let reference = reference.split(['?', '#']).next().unwrap_or_default();
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if let Some(digest) = digest {
        if digest.contains('@') {
            return Some("more than one `@`".to_owned());
        }
        let Some(digits) = digest.strip_prefix("sha256:") else {
            return Some(format!("`{digest}` is no digest, which is `sha256:` and {DIGITS} digits"));
        };
        if let Some(reason) = no_digits(digits) {
            return Some(format!("its digest {reason}"));
        }
    }
    let (name, tag) = match name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
        Some((name, tag)) => (name, tag),
        None => (name, ""),
    };
    let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if tag.len() > 127 || !tag.bytes().all(is_tag) {
        return Some(format!("`{tag}` is no tag: up to 127 letters, digits, `_`, `-` and `.`"));
    }
    let (registry, repository) = match name.split_once('/') {
        Some((registry, rest)) if registry.contains(['.', ':']) => (registry, rest),
        _ => ("", name),
    };
    if registry.contains('@') || !url::is_authority(registry) {
        return Some(format!("`{registry}` is no registry's host"));
    }
    let is_repository =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-./".contains(&byte);
    if !(2..=255).contains(&repository.len()) || !repository.bytes().all(is_repository) {
        let what = "2 to 255 lower-case letters, digits, `_`, `-`, `.` and `/`";
        return Some(format!("`{repository}` is no repository: {what}"));
    }
    None
}

/// Why a text is no SHA-256 in the form that is compared with.
fn no_digits(text: &str) -> Option<String> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let wrong = match text.len() {
        DIGITS if text.bytes().all(is_digit) => return None,
        DIGITS => "has others".to_owned(),
        length => format!("has {length} characters"),
    };
    Some(format!("is no SHA-256 of {DIGITS} lower-case hexadecimal digits: it {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";

    #[track_caller]
    fn check(reference: &str, want: Option<&str>) {
        let got = problem(&reference.replace("DIGEST", DIGEST));
        match want {
            None => assert_eq!(got, None, "{reference}"),
            Some(want) => assert!(got.as_ref().is_some_and(|got| got.contains(want)), "{reference}: {got:?}"),
        }
    }

    #[test]
    fn references_are_read_as_the_agent_reads_them() {
        for reference in [
            "registry.example/weir/canary:1.0",
            "registry.example:5000/weir/canary",
            "registry.example/weir/canary@sha256:DIGEST",
            "registry.example/weir/canary:1.0@sha256:DIGEST",
            "localhost:5000/x_y/c-d.e:A_b-1.",
            "weir/canary:1",
            "canary",
            "registry.example/weir/canary:",
            "registry.example/weir/canary:1?x=y",
        ] {
            check(reference, None);
        }
        check("registry.example/weir/canary@sha256:xyz", Some("its digest is no SHA-256"));
        check("registry.example/weir/canary@sha512:DIGEST", Some("is no digest"));
        check("registry.example/weir/canary@sha256:DIGESTaa", Some("it has 66 characters"));
        check(&format!("x/y@sha256:{}", DIGEST.to_uppercase()), Some("it has others"));
        check("x/y@a@sha256:DIGEST", Some("more than one `@`"));
        check("x/y:1+2", Some("`1+2` is no tag"));
        check(&format!("x/y:{}", "a".repeat(128)), Some("is no tag"));
        check("registry.example/Weir/canary:1", Some("`Weir/canary` is no repository"));
        check("registry.example/", Some("`` is no repository"));
        check("registry.example/x", Some("`x` is no repository"));
        check("", Some("`` is no repository"));
        check("a.b:port/x/y:1", Some("`a.b:port` is no registry's host"));
    }
}
