//! What a reference names: a repository of a registry, or an image layout. Reads nothing.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use oci_client::{ParseError, Reference};

use super::{OciError, check_digest};
use crate::style::{printable, shorten};

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a registry: `host/repository:tag`, `host/repository@sha256:…`, with or without `oci://` before it, as Istio writes it.
    Registry(Reference),
    /// In a folder: `oci:FOLDER`, `oci:FOLDER:TAG`, as `skopeo` writes it, or the folder itself.
    Layout {
        /// The folder.
        folder: PathBuf,
        /// The tag; the only image of the layout where there is none.
        tag: Option<String>,
    },
}

impl Place {
    /// Reads a reference. A folder with a file `oci-layout` is a layout.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, OciError> {
        if Path::new(text).join("oci-layout").is_file() {
            return Ok(Self::Layout { folder: PathBuf::from(text), tag: None });
        }
        if text == "oci:" {
            let reason = "it names no folder".to_owned();
            return Err(OciError::Reference { reference: text.to_owned(), reason });
        }
        if let Some(layout) = text.strip_prefix("oci:").filter(|rest| !rest.starts_with("//")) {
            // A tag has no `/`: what follows the last `:` is one unless it is a part of a path.
            let (folder, tag) = match layout.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
                Some((folder, tag)) => (folder, Some(tag.to_owned())),
                None => (layout, None),
            };
            return Ok(Self::Layout { folder: PathBuf::from(folder), tag });
        }
        let name = text.strip_prefix("oci://").unwrap_or(text);
        let wrong = |reason: String| OciError::Reference { reference: shown(text), reason };
        if let Some((scheme, _)) = name.split_once("://") {
            return Err(wrong(format!("`{}://` names no registry", printable(scheme.as_bytes()))));
        }
        let reference = read(name).map_err(|reason| {
            let is_here = !name.is_empty() && Path::new(text).exists();
            wrong(if is_here {
                "it is here, and no layout: there is no `oci-layout` in it".to_owned()
            } else {
                reason
            })
        })?;
        if let Some(digest) = reference.digest() {
            check_digest(&shown(name), digest)?;
        }
        Ok(Self::Registry(reference))
    }

    /// Whether a text can only mean an image: `oci:…`, a pinned digest, a layout, or a name whose first part is a host and that is no file.
    #[must_use]
    pub fn is_image(text: &str) -> bool {
        let host = text.split_once('/').map_or("", |(host, _)| host);
        let names_host = host.contains(['.', ':']) && !host.starts_with('.') || host == "localhost";
        text.starts_with("oci:")
            || text.contains("@sha256:")
            || Path::new(text).join("oci-layout").is_file()
            || (names_host && !Path::new(text).exists())
    }
}

/// Reads a reference to a registry.
fn read(name: &str) -> Result<Reference, String> {
    let (host, path) = name.split_once('/').unwrap_or(("", name));
    // Docker would ask its own registry for an image of this name.
    let is_host_only = |name: &str| {
        let (host, port) = name.split_once(':').unwrap_or((name, ""));
        host.contains('.') || (host == "localhost" && !port.is_empty())
    };
    if host.is_empty() && is_host_only(path.split('@').next().unwrap_or(path)) {
        return Err("it names a host or a file, and no repository".to_owned());
    }
    if host.contains('@') {
        return Err("it names a user; who asks is in docker's configuration".to_owned());
    }
    // An address of IPv6, which the parser does not know.
    if let Some((address, port)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        let port = port.strip_prefix(':').unwrap_or(if port.is_empty() { "0" } else { "" });
        if address.parse::<std::net::Ipv6Addr>().is_err() || port.parse::<u16>().is_err() {
            return Err(format!("`{}` is no address and port", printable(host.as_bytes())));
        }
        let named = read(&format!("host.invalid/{path}"))?;
        let (host, repository) = (host.to_owned(), named.repository().to_owned());
        return Ok(match (named.tag(), named.digest()) {
            (Some(tag), Some(digest)) => {
                Reference::with_tag_and_digest(host, repository, tag.to_owned(), digest.to_owned())
            }
            (None, Some(digest)) => Reference::with_digest(host, repository, digest.to_owned()),
            (tag, None) => Reference::with_tag(host, repository, tag.unwrap_or("latest").to_owned()),
        });
    }
    if let Some((host, port)) = host.rsplit_once(':')
        && port.parse::<u16>().is_err()
    {
        return Err(format!("`{}` has no port from 0 to 65535", printable(host.as_bytes())));
    }
    Reference::from_str(name).map_err(|error| reason(name, &error))
}

/// A reference for messages: short, and without what may be a password.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let host = rest.split('/').next().unwrap_or_default();
    let shown = match host.rsplit_once('@').filter(|_| rest.contains('/') && host.contains(':')) {
        Some((user, _)) if scheme.is_empty() => format!("…{}", &rest[user.len()..]),
        Some((user, _)) => format!("{scheme}://…{}", &rest[user.len()..]),
        None => text.to_owned(),
    };
    shorten(&printable(shown.as_bytes()), MOST)
}

/// Why a name is none.
fn reason(name: &str, error: &ParseError) -> String {
    let path = name.split('@').next().unwrap_or(name);
    let path = path.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(path, |(path, _)| path);
    let repository = path.split_once('/').map_or(path, |(_, repository)| repository);
    let tag = &name[path.len()..];
    match error {
        ParseError::NameEmpty => "it is empty".to_owned(),
        ParseError::DigestInvalidFormat | ParseError::DigestInvalidLength | ParseError::DigestUnsupported => {
            "its digest is none".to_owned()
        }
        _ if name.contains(char::is_whitespace) => "there is a space in it".to_owned(),
        _ if repository.contains(char::is_uppercase) => {
            "the name of a repository is in lower case".to_owned()
        }
        ParseError::NameTooLong => "the name of a repository has at most 255 characters".to_owned(),
        _ if tag.contains('@') => "its digest is none".to_owned(),
        _ if check_tag(tag.trim_start_matches(':')).is_err() && !tag.is_empty() => {
            "a tag has at most 128 letters, digits, `_`, `.` and `-`".to_owned()
        }
        _ => "a repository has letters, digits and, between them, `.`, `_`, `-` and `/`".to_owned(),
    }
}

/// Whether a registry takes that as a tag.
///
/// # Errors
/// What it would take.
pub fn check_tag(tag: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if (1..=128).contains(&tag.len()) && tag.chars().all(is_fine) && !tag.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(format!(
        "`{}` is no tag; expected at most 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`",
        printable(tag.as_bytes())
    ))
}

/// The tag of a version: `+`, which semantic versions may have and tags may not, becomes `_`.
#[must_use]
pub fn tag_of(version: &str) -> String {
    version.replace('+', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match Place::parse(text) {
            Ok(Place::Registry(reference)) => format!("registry {}", reference.whole()),
            Ok(Place::Layout { folder, tag }) => format!("layout {} {tag:?}", folder.display()),
            Err(error) => error.to_string(),
        };
        assert!(found.starts_with(expected), "{text}: {found}");
    }

    #[test]
    fn references() {
        check("registry.example:5000/weir/canary:1.0", "registry registry.example:5000/weir/canary:1.0");
        check("oci://registry.example/weir/canary:1.0", "registry registry.example/weir/canary:1.0");
        check("registry.example/weir/canary", "registry registry.example/weir/canary:latest");
        check("oci:out/canary", "layout out/canary None");
        check("oci:out/canary:1.0", "layout out/canary Some(\"1.0\")");
        check("oci:/a:b/canary", "layout /a:b/canary None");
        check(
            "https://registry.example/canary.wasm",
            "`https://registry.example/canary.wasm` is no image reference: `https://`",
        );
        check("registry.example/UPPER:1", "`registry.example/UPPER:1` is no image reference");
        check("", "`` is no image reference: it is empty");
        check("[::1]:5000/weir/canary:1.0", "registry [::1]:5000/weir/canary:1.0");
        check("[2001:db8::1]/canary", "registry [2001:db8::1]/canary:latest");
        check("canary:1", "registry docker.io/library/canary:1");
        check("weir/canary", "registry docker.io/weir/canary:latest");
    }

    #[test]
    fn what_is_none_says_why() {
        let hex = "0a".repeat(32);
        for (text, want) in [
            ("registry.example/weir/Canary:1", "the name of a repository is in lower case"),
            ("registry.example/weir/canary:1 0", "there is a space in it"),
            ("registry.example/weir/canary:", "a tag has at most 128 letters"),
            ("registry.example/weir/canary:-1", "a tag has at most 128 letters"),
            ("registry.example/weir/canary:1+2", "a tag has at most 128 letters"),
            ("registry.example/weir//canary", "a repository has"),
            ("registry.example/", "a repository has"),
            ("registry.example", "it names a host or a file, and no repository"),
            ("localhost:5000", "it names a host or a file, and no repository"),
            ("plugin.wasm", "it names a host or a file, and no repository"),
            ("registry.example:70000/a", "`registry.example` has no port from 0 to 65535"),
            ("registry.example:/a", "`registry.example` has no port from 0 to 65535"),
            ("[::1:5000/a", "a repository has"),
            ("[::x]:5000/a", "`[::x]:5000` is no address and port"),
            ("[::1]5000/a", "`[::1]5000` is no address and port"),
            ("registry.example/a@sha256:12", "its digest is none"),
            ("registry.example/a@md5:0123456789abcdef0123456789abcdef", "its digest is none"),
            ("registry.example/a@", "its digest is none"),
        ] {
            check(text, &format!("`{text}` is no image reference: {want}"));
        }
        check("oci:", "`oci:` is no image reference: it names no folder");
        check("me:pass@registry.example/a", "`…@registry.example/a` is no image reference: it names a user");
        check("https://me:pass@registry.example/a", "`https://…@registry.example/a` is no image reference");
        check("registry.example/\u{1b}[31m", "`registry.example/\\u{1b}[31m` is no image reference");
        let upper = format!("registry.example/a@sha256:{}", hex.to_uppercase());
        check(&upper, "registry.example/a@sha256:0A0A");
        check(&format!("registry.example/a@sha512:{hex}{hex}"), "registry.example/a@sha512:");
        check(&format!("registry.example/{}", "a/".repeat(200) + "a"), "`registry.example/a/a");
        check(&format!("registry.example/a:{}", "1".repeat(129)), "`registry.example/a:1111");
    }

    #[test]
    fn tags() {
        for tag in ["1.0", "latest", "_", &"a".repeat(128)] {
            assert_eq!(check_tag(tag), Ok(()), "{tag}");
        }
        for tag in ["", ".1", "-", "a b", "a+b", "a/b", "ä", &"a".repeat(129)] {
            assert!(check_tag(tag).is_err(), "{tag}");
        }
        assert_eq!(tag_of("1.0.0-rc.1+build.5"), "1.0.0-rc.1_build.5");
    }

    #[test]
    fn what_can_only_be_an_image() {
        for text in [
            "oci://a/b:1",
            "oci:out",
            "registry.example/a:1",
            "localhost/a",
            "localhost:5000/a",
            "a/b@sha256:00",
        ] {
            assert!(Place::is_image(text), "{text}");
        }
        for text in ["canary", "target/weir/canary.wasm", "./filters/canary", "../canary", "src/oci.rs"] {
            assert!(!Place::is_image(text), "{text}");
        }
    }
}
