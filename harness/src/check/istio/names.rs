//! Names as Istio takes them: hosts, gateways, subsets, labels, networks. Each check gives the reason why a text is none.

use std::net::IpAddr;

const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 255;

/// Whether a text is one label of a name: letters, digits and `-` between them.
pub(super) fn is_label(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LONGEST_LABEL
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && is_end(bytes.first())
        && is_end(bytes.last())
}

/// A name of several labels; the last may be empty.
pub(super) fn domain(text: &str) -> Option<String> {
    length(text).or_else(|| labels(text, text))
}

/// A name whose first label may be `*`, or begin so.
pub(super) fn host(text: &str) -> Option<String> {
    if let Some(reason) = length(text) {
        return Some(reason);
    }
    let (first, rest) = text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let is_wildcard = first
        .strip_prefix('*')
        .is_some_and(|tail| tail.is_empty() || is_label(tail.strip_prefix('-').unwrap_or(tail)));
    if first.len() > LONGEST_LABEL || !(is_wildcard || is_label(first)) {
        return Some(format!("`{text}` is no host: `{first}` is no label, `*` or `*-…`"));
    }
    labels(rest?, text)
}

/// A host that a gateway tells apart by SNI: as [`host`], or `outbound_.PORT_._.HOST` as Istio's own gateways write it.
pub(super) fn sni_host(text: &str) -> Option<String> {
    if !text.starts_with("outbound_") {
        return host(text);
    }
    let parts: Vec<&str> = text.split('_').collect();
    let has = |index: usize, is: fn(&u8) -> bool| {
        parts.get(index).is_some_and(|part| part.trim_matches('.').as_bytes().iter().any(is))
    };
    let is_one = has(1, u8::is_ascii_digit) && has(3, u8::is_ascii_alphabetic);
    (!is_one).then(|| format!("`{text}` is no host of SNI: `outbound_.PORT_._.HOST`"))
}

fn length(text: &str) -> Option<String> {
    match text.len() {
        0 => Some("a host must not be empty".to_owned()),
        1..=LONGEST_NAME => None,
        length => Some(format!("a host of {length} bytes is too long: {LONGEST_NAME} at most")),
    }
}

fn labels(labels: &str, whole: &str) -> Option<String> {
    let last = labels.rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(format!("`{whole}` is no host: its last part `{last}` is a number"));
    }
    let rest = labels.strip_suffix('.').unwrap_or(labels);
    let wrong = rest.split('.').find(|label| !is_label(label)).filter(|_| !labels.is_empty())?;
    Some(format!("`{whole}` is no host: `{wrong}` is no label of one"))
}

/// Whether a text is an address of IPv4 or IPv6.
pub(super) fn is_address(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => zone.is_none(),
        Ok(IpAddr::V6(_)) => zone != Some(""),
        Err(_) => false,
    }
}

/// An address, or a network: `10.0.0.0/8`.
pub(super) fn subnet(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let most = if address.contains(':') { 128 } else { 32 };
    let is_length = |bits: &str| {
        let is_plain = bits == "0" || !bits.starts_with(['0', '+']);
        is_plain && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    };
    let is_one = is_address(address) && bits.is_none_or(|bits| is_length(bits) && !address.contains('%'));
    (!is_one).then(|| format!("`{text}` is neither an address nor a network such as `10.0.0.0/8`"))
}

/// The name of a subset.
pub(super) fn subset(text: &str) -> Option<String> {
    (!is_label(text))
        .then(|| format!("`{text}` is no name of a subset: letters, digits and `-` between them"))
}

/// The key of a label: a name, with or without a domain before it.
pub(super) fn label_key(text: &str) -> Option<String> {
    let (prefix, name) = text.rsplit_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let is_prefix = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_domain_label);
    let is_one = is_qualified(name) && name.len() <= LONGEST_LABEL && prefix.is_none_or(is_prefix);
    (!is_one).then(|| format!("`{text}` is no key of a label"))
}

/// The value of a label; it may be empty.
pub(super) fn label_value(text: &str) -> Option<String> {
    (!text.is_empty() && !is_qualified(text)).then(|| format!("`{text}` is no value of a label"))
}

/// As [`is_label`], of any length.
fn is_domain_label(text: &str) -> bool {
    is_qualified(text) && !text.contains(['_', '.'])
}

fn is_qualified(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && is_end(bytes.first())
        && is_end(bytes.last())
}

/// The name of a gateway: `NAMESPACE/NAME`, or a name alone.
pub(super) fn gateway(text: &str) -> Option<String> {
    let Some((namespace, name)) = text.split_once('/') else { return domain(text) };
    let wrong = [namespace, name].into_iter().find(|part| !is_label(part))?;
    Some(format!("`{text}` is no gateway, which is `NAMESPACE/NAME`: `{wrong}` is no name"))
}

/// Whether a host is the other, or one of those that it stands for, or the other way round.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    covers(a, b) || covers(b, a)
}

/// Whether `wide` stands for `narrow`, too.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (Some(tail), is_wildcard) = (wide.strip_prefix('*'), narrow.starts_with('*')) else {
        return wide == narrow;
    };
    narrow.len() >= wide.len() - usize::from(!is_wildcard) && narrow.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(of: fn(&str) -> Option<String>, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|text| assert_eq!(of(text), None, "{text}"));
        bad.iter().for_each(|text| assert!(of(text).is_some(), "{text}"));
    }

    #[test]
    fn hosts() {
        let good = ["*", "a", "*.a.b", "*-a.b", "*a.b", "A-1.example.com", "a.b.", "a."];
        let long = "a.".repeat(128);
        let bad = ["", "a.*", "**", "*-", "a..b", "-a.b", "a-.b", "a_b", "10.0.0.1", "a.1", "a:80", &long];
        check(host, &good, &bad);
        check(host, &[&"a".repeat(63)], &[&"a".repeat(64), &format!("*{}", "a".repeat(63))]);
        check(domain, &["a", "a.b.c", "a.b."], &["*.a", "", ".a"]);
        check(
            sni_host,
            &["a.b", "outbound_.80_._.a.b", "outbound_.80_.v1_.a.b"],
            &["outbound_.80_.a", "outbound_.x_._.a", "outbound_.80_._.1"],
        );
    }

    #[test]
    fn networks_labels_and_gateways() {
        check(
            subnet,
            &["10.0.0.1", "10.0.0.0/8", "::/0", "2001:db8::1/64", "fe80::1%eth0"],
            &[
                "10.0.0.0/33",
                "10.0.0",
                "10.0.0.0/",
                "a/8",
                "10.0.0.0/08",
                "10.0.0.0/8/8",
                "::1/129",
                "fe80::1%eth0/64",
            ],
        );
        check(subset, &["v1", "V-1"], &["", "v.1", "v_1", "-v"]);
        check(
            label_key,
            &["app", "a.b/c_d", "A.b-c"],
            &["", "a b", "/a", "a/", "-a", "a_b/c", &"a".repeat(64), &format!("{}a/b", "a.".repeat(127))],
        );
        check(label_value, &["", "v1", "a_b.c"], &["a b", "-", "a/b"]);
        check(
            gateway,
            &["mesh", "edge", "edge.demo", "demo/edge"],
            &["", "/edge", "demo/", "demo/a.b", "a_b", "*/edge"],
        );
    }

    #[test]
    fn hosts_cover_others() {
        for (wide, narrow, want) in [
            ("a.com", "a.com", true),
            ("a.com", "b.com", false),
            ("*.com", "a.com", true),
            ("a.com", "*.com", false),
            ("*.a.com", "a.com", false),
            ("*.com", "*.a.com", true),
            ("*.a.com", "*.com", false),
            ("*", "*.com", true),
            ("*", "a", true),
        ] {
            assert_eq!(covers(wide, narrow), want, "{wide} {narrow}");
        }
        assert!(overlap("a.com", "*.com") && !overlap("a.com", "*.org"));
    }
}
