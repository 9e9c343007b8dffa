//! Values of the flags of `weir manifest`.

use std::net::{IpAddr, SocketAddr};

use crate::manifest::{Cluster, Gateway, TargetRef};
use crate::oci::{OciError, Place};

/// `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// `LABEL=VALUE`, as Kubernetes takes them: with another one nothing would ever be selected.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (label, value) =
        pair(text).map_err(|_| "expected LABEL=VALUE, such as app=productpage".to_owned())?;
    let (prefix, name) = label.split_once('/').unwrap_or(("a", &label));
    let is_prefix = (1..=253).contains(&prefix.len())
        && prefix
            .split('.')
            .all(|part| is_word(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !is_prefix || !is_word(name, is_part) {
        return Err("a label is at most 63 letters, digits, `-`, `_` and `.`, the first and last a letter or digit; before it may stand a domain and `/`".to_owned());
    }
    if !value.is_empty() && !is_word(&value, is_part) {
        return Err("a label's value is at most 63 letters, digits, `-`, `_` and `.`, the first and last a letter or digit".to_owned());
    }
    Ok((label, value))
}

fn is_word(text: &str, is_part: impl Fn(char) -> bool) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.chars().all(is_part)
        && text.starts_with(ends)
        && text.ends_with(ends)
}

/// A port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "expected a port from 1 to 65535".to_owned())
}

/// The prefix of images, to which `/<filter>:<version>` is added.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let prefix = text.strip_prefix("oci://").unwrap_or(text).trim_end_matches('/');
    let example = "expected HOST/NAMESPACE, such as registry.example/weir";
    let last = prefix.rsplit('/').next().unwrap_or(prefix);
    if prefix.contains('@') || (prefix.contains('/') && last.contains(':')) {
        return Err(format!("{example}, without a tag or a digest"));
    }
    let whole = format!("{prefix}/filter:1");
    match Place::parse(&format!("oci://{whole}")) {
        // Without a host it would be docker's own registry, by whoever's name.
        Ok(Place::Registry(place)) if whole.starts_with(place.registry()) => Ok(prefix.to_owned()),
        Ok(_) => Err(example.to_owned()),
        Err(OciError::Reference { reason, .. }) => Err(format!("{reason}; {example}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Where a module is pulled from; what has no scheme is an image.
pub(super) fn url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("oci", text));
    let is_named = !rest.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    match scheme {
        "oci" => match Place::parse(&format!("oci://{rest}")) {
            Ok(_) => Ok(format!("oci://{rest}")),
            Err(error) => Err(error.to_string()),
        },
        "http" | "https" if is_named && !rest.starts_with(['/', ':', '?']) => Ok(text.to_owned()),
        "file" if is_named => Ok(text.to_owned()),
        _ => {
            Err("expected an image, or a file over https, such as https://files.example/canary.wasm"
                .to_owned())
        }
    }
}

/// `NAME=CLUSTER`.
pub(super) fn cluster(text: &str) -> Result<(String, Cluster), String> {
    let (name, place) = pair(text).map_err(|_| {
        "expected NAME=HOST:PORT, with `,http2` or `,tls` behind it, or NAME=CLUSTER for one that the proxies have".to_owned()
    })?;
    Ok((name, place.parse()?))
}

/// `KIND/NAME[/SECTION]`.
pub(super) fn target(text: &str) -> Result<TargetRef, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (kind, name, section) = match parts.as_slice() {
        [kind, name] => (*kind, *name, None),
        [kind, name, section] if !section.is_empty() => (*kind, *name, Some((*section).to_owned())),
        _ => ("", "", None),
    };
    if kind.is_empty() || name.is_empty() {
        return Err("expected KIND/NAME, such as Gateway/eg, or KIND/NAME/SECTION".to_owned());
    }
    object(name)?;
    Ok(TargetRef { kind: kind.to_owned(), name: name.to_owned(), section })
}

/// `[NAMESPACE/]NAME`.
pub(super) fn gateway(text: &str) -> Result<Gateway, String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if namespace.is_some_and(|namespace| object(namespace).is_err()) || object(name).is_err() {
        return Err("expected NAME or NAMESPACE/NAME of a Gateway in lower case, such as eg".to_owned());
    }
    Ok(Gateway { namespace: namespace.map(str::to_owned), name: name.to_owned() })
}

/// A hostname of the Gateway API.
pub(super) fn hostname(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if object(name).is_ok() && text.parse::<IpAddr>().is_err() {
        return Ok(text.to_owned());
    }
    Err("expected a name in lower case and without a port, such as reviews.example.com or *.example.com"
        .to_owned())
}

/// `HOST:PORT`, where a proxy listens: Envoy takes no names there.
pub(super) fn address(text: &str) -> Result<(String, u16), String> {
    let address: Option<SocketAddr> = text.parse().ok();
    let address = address.map(|address| (address.ip().to_string(), address.port()));
    address
        .ok_or_else(|| "expected an IP address and a port, such as 127.0.0.1:10000 or [::]:10000".to_owned())
}

/// The name of an object of Kubernetes.
pub(super) fn object(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.len() <= 253 && text.split('.').all(|part| is_word(part, is_part)) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no name of an object; expected lower case letters, digits, `-` and `.`, as in my-secret"
    ))
}

/// A folder at the proxies: an empty one would be their root.
pub(super) fn folder(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("expected a folder, such as /var/lib/weir".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// SHA-256 in hexadecimal digits, with or without `sha256:`.
pub(super) fn digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if digits.len() == 64 && digits.chars().all(is_digit) {
        return Ok(digits.to_owned());
    }
    Err("expected `sha256:` and 64 hexadecimal digits in lower case".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(address("[::1]:80"), Ok(("::1".to_owned(), 80)));
        let hex = "0a".repeat(32);
        assert_eq!(digest(&format!("sha256:{hex}")), Ok(hex.clone()));
        assert_eq!(digest(&hex), Ok(hex));
        let eg = |namespace: Option<&str>| Gateway {
            namespace: namespace.map(str::to_owned),
            name: "eg".to_owned(),
        };
        assert_eq!(gateway("eg"), Ok(eg(None)));
        assert_eq!(gateway("infra/eg"), Ok(eg(Some("infra"))));
        assert_eq!(hostname("*.a-b.example"), Ok("*.a-b.example".to_owned()));
        let section = target("Gateway/eg/https").unwrap().section;
        assert_eq!(section.as_deref(), Some("https"));
    }

    #[test]
    fn labels_are_those_of_kubernetes() {
        for text in ["app=productpage", "app=", "app.kubernetes.io/name=a.b-c_D", "A=1"] {
            assert!(label(text).is_ok(), "{text}");
        }
        let long = format!("app={}", "x".repeat(64));
        for text in [
            "app", "=x", "app=a b", "a/b/c=x", "-a=x", "/a=x", "A.b/c=x", "app=x,y", "app=-x", "app=a\n",
            "\u{e4}=x", &long,
        ] {
            assert!(label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn places_of_images_are_such() {
        assert_eq!(prefix("oci://registry.example/weir/"), Ok("registry.example/weir".to_owned()));
        for text in ["registry.example:5000", "localhost:5000/a", "docker.io/weir", "[::1]:5000/weir"] {
            assert_eq!(prefix(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "weir",
            "https://registry.example/weir",
            "registry.example/UPPER",
            "a b",
            "registry.example/w:1",
            "registry.example/w?x",
        ] {
            assert!(prefix(text).unwrap_err().contains("expected HOST/NAMESPACE"), "{text}");
        }
        assert_eq!(url("registry.example/a:1"), Ok("oci://registry.example/a:1".to_owned()));
        for text in [
            "https://a.example/b.wasm",
            "http://a.example:80/b.wasm",
            "file:///a.wasm",
            "oci://registry.example/a:1",
        ] {
            assert_eq!(url(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "a b",
            "https://",
            "https:///a",
            "https://a b",
            "oci://",
            "oci:///a",
            "oci://a.example/B:1",
            "ftp://a",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        assert_eq!(port("65535"), Ok(65535));
        assert!(["0", "65536", "x", "", "-1"].iter().all(|text| port(text).is_err()));
    }

    #[test]
    fn what_cannot_be_read_says_what_could() {
        assert!(pair("=b").is_err());
        for text in ["host", "localhost:80", "a b:80", "1.2.3.4", "1.2.3.4:99999", "::1:80", "[::1]"] {
            assert!(address(text).unwrap_err().contains("127.0.0.1:10000"), "{text}");
        }
        for text in ["", "UPPER", "a b", "a_b", "-a", "a.", &"a".repeat(254)] {
            assert!(object(text).is_err(), "{text}");
        }
        assert!(target("Gateway/UPPER").unwrap_err().contains("lower case"));
        assert!(folder("").is_err());
        assert!(digest("sha256:12").unwrap_err().contains("64 hexadecimal digits"));
        assert!(target("eg").unwrap_err().contains("Gateway/eg"));
        assert!(target("Gateway/a/b/c").is_err());
        for text in ["", "Eg", "infra/", "/eg", "a/b/c", "eg_1"] {
            assert!(gateway(text).unwrap_err().contains("NAMESPACE/NAME"), "{text}");
        }
        for text in
            ["", "*", "a.example:80", "http://a.example", "10.0.0.1", "A.example", "a..b", "*.*.a", "-a"]
        {
            assert!(hostname(text).unwrap_err().contains("without a port"), "{text}");
        }
        assert!(cluster("shadow").unwrap_err().contains("HOST:PORT"));
    }
}
