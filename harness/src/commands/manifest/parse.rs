//! Values of the flags of `weir manifest`.

use std::net::IpAddr;

use crate::manifest::{Cluster, Gateway, TargetRef};

/// `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
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
    Ok(TargetRef { kind: kind.to_owned(), name: name.to_owned(), section })
}

/// `[NAMESPACE/]NAME`.
pub(super) fn gateway(text: &str) -> Result<Gateway, String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if namespace.is_some_and(|namespace| !is_name(namespace)) || !is_name(name) {
        return Err("expected NAME or NAMESPACE/NAME of a Gateway in lower case, such as eg".to_owned());
    }
    Ok(Gateway { namespace: namespace.map(str::to_owned), name: name.to_owned() })
}

/// A hostname of the Gateway API.
pub(super) fn hostname(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if is_name(name) && text.parse::<IpAddr>().is_err() {
        return Ok(text.to_owned());
    }
    Err("expected a name in lower case and without a port, such as reviews.example.com or *.example.com"
        .to_owned())
}

/// Whether it is a name as DNS and Kubernetes have them.
fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_inner)
            && label.ends_with(is_inner)
            && label.chars().all(|c| is_inner(c) || c == '-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// `HOST:PORT`.
pub(super) fn address(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let address =
        parts.and_then(|(host, port)| Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?)));
    address.ok_or_else(|| "expected HOST:PORT, such as 127.0.0.1:10000".to_owned())
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
    fn what_cannot_be_read_says_what_could() {
        assert!(pair("=b").is_err());
        assert!(address("host").is_err());
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
