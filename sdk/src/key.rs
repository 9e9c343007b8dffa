//! Keys: what of a request tells one client, session or tenant from another. Knows not what a key is for.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;

use schemars::JsonSchema;

use crate::{
    At, FromConfig, Problems, RequestView, address, config, cookie, names, query_parameter, source_address,
};

/// Where a key comes from.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The value of a request header; several lines are joined with `,`. An empty value is no key.
    Header(String),
    /// The value of a cookie. An empty value is no key.
    Cookie(String),
    /// The value of a query parameter, as written. An empty value is no key.
    QueryParameter(String),
    /// The client's address.
    SourceAddress(AddressKey),
    /// Any attribute that Envoy gives as text, a segment each: `[xds, route_name]`. An empty value is no key.
    Attribute(Vec<String>),
}

/// The client's address as a key.
#[derive(Clone, Debug, Hash, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressKey {
    /// How many proxies in front of this Envoy are trusted to write `x-forwarded-for`: the address is the one before the last that many
    /// entries. Default 0: what Envoy itself takes for the client's.
    #[serde(default)]
    pub xff_num_trusted_hops: u32,
    /// Bits of an IPv4 address that count, 1 to 32. Default 32.
    #[serde(default = "v4")]
    pub prefix_len_v4: u8,
    /// Bits of an IPv6 address that count, 1 to 128. Default 64: one client usually has a whole such network.
    #[serde(default = "v6")]
    pub prefix_len_v6: u8,
}

fn v4() -> u8 {
    32
}

fn v6() -> u8 {
    64
}

/// A compiled [`KeySource`].
#[derive(Clone, Debug)]
pub enum Key {
    /// A header, in lower case; `host` is `:authority`.
    Header(Rc<str>),
    /// A cookie.
    Cookie(String),
    /// A query parameter.
    QueryParameter(String),
    /// The client's address.
    SourceAddress(AddressKey),
    /// An attribute.
    Attribute(Vec<String>),
}

impl Key {
    /// Checks and compiles what stands at a place.
    pub fn compile(at: &At<'_>, source: &KeySource, problems: &mut Problems) -> Option<Self> {
        let mut refuse = |field: &str, reason: &str| problems.add(at.field(field), reason);
        Some(match source {
            KeySource::Header(name) => match names::readable_header(name, "end-user") {
                Ok(name) => Self::Header(name),
                Err(reason) => {
                    refuse("header", &reason);
                    return None;
                }
            },
            KeySource::Cookie(name) => {
                if let Err(reason) = names::cookie(name) {
                    refuse("cookie", &reason);
                    return None;
                }
                Self::Cookie(name.clone())
            }
            KeySource::QueryParameter(name) => {
                if name.is_empty() {
                    refuse("query_parameter", "expected the name of a query parameter, found nothing");
                }
                Self::QueryParameter(name.clone())
            }
            KeySource::SourceAddress(options) => {
                for &(field, value, most) in &[
                    ("source_address.prefix_len_v4", options.prefix_len_v4, 32),
                    ("source_address.prefix_len_v6", options.prefix_len_v6, 128),
                ] {
                    if !(1..=most).contains(&value) {
                        let (most, value) = (config::number(most.into()), config::number(value.into()));
                        refuse(
                            field,
                            &config::joined("expected 1 to ", &most, &config::joined(", found ", &value, "")),
                        );
                    }
                }
                Self::SourceAddress(options.clone())
            }
            KeySource::Attribute(segments) => {
                if segments.is_empty() || segments.iter().any(String::is_empty) {
                    refuse("attribute", "expected a path such as `[xds, route_name]`, no segment empty");
                }
                Self::Attribute(segments.clone())
            }
        })
    }

    /// The key of this request; nothing where it has none.
    #[must_use]
    pub fn of<'a>(&self, request: &'a dyn RequestView) -> Option<Cow<'a, [u8]>> {
        let value = match self {
            Self::Header(name) => request.joined(name),
            Self::Cookie(name) => cookie(request, name).map(Cow::Borrowed),
            Self::QueryParameter(name) => {
                request.path().and_then(|path| query_parameter(path, name)).map(Cow::Borrowed)
            }
            Self::SourceAddress(options) => source_address(request, options.xff_num_trusted_hops)
                .map(|address| Cow::Owned(masked(address, options.prefix_len_v4, options.prefix_len_v6))),
            Self::Attribute(segments) => {
                let mut path = Vec::with_capacity(segments.len());
                for segment in segments {
                    path.push(segment.as_str());
                }
                request.attribute(&path).map(Cow::Owned)
            }
        };
        value.filter(|value| !value.is_empty())
    }

    /// What the key is, for explanations: ``header `end-user` ``.
    #[must_use]
    pub fn describe(&self) -> String {
        let path;
        let (kind, name) = match self {
            Self::Header(name) => ("header `", &**name),
            Self::Cookie(name) => ("cookie `", name.as_str()),
            Self::QueryParameter(name) => ("query parameter `", name.as_str()),
            Self::SourceAddress(_) => return String::from("source address"),
            Self::Attribute(segments) => {
                path = names::dotted(segments);
                ("attribute `", path.as_str())
            }
        };
        config::joined(kind, name, "`")
    }
}

/// The address as text with the bits beyond the prefix cleared: what stands in a log, so that a person can repeat the hash.
#[must_use]
pub fn masked(address: IpAddr, v4: u8, v6: u8) -> Vec<u8> {
    let masked = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(v4.into())).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            crate::matcher::mask(&mut octets, v6);
            IpAddr::V6(octets.into())
        }
    };
    address::text(masked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderMap;

    #[track_caller]
    fn check(source: serde_json::Value, lines: &[(&str, &str)], want: Result<Option<&str>, &str>) {
        let source: KeySource = serde_json::from_value(source).unwrap();
        let mut problems = Problems::new();
        let key = Key::compile(&At::of("key"), &source, &mut problems);
        let request: HeaderMap = lines.iter().copied().collect();
        let got = problems.finish().map(|()| {
            key.and_then(|key| key.of(&request).map(|key| String::from_utf8_lossy(&key).into_owned()))
        });
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got.as_deref(), want),
            (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
            (got, want) => panic!("{got:?}, not {want:?}"),
        }
    }

    #[test]
    fn keys_are_what_the_request_has() {
        use serde_json::json;
        check(json!({"header": "End-User"}), &[("end-user", "a"), ("end-user", "b")], Ok(Some("a,b")));
        check(json!({"header": "host"}), &[(":authority", "h")], Ok(Some("h")));
        check(json!({"header": "end-user"}), &[("end-user", "")], Ok(None));
        check(json!({"cookie": "u"}), &[("cookie", "x=1; u=jack")], Ok(Some("jack")));
        check(json!({"query_parameter": "u"}), &[(":path", "/?u=jack")], Ok(Some("jack")));
        check(json!({"attribute": ["xds", "route_name"]}), &[], Ok(None));
        check(json!({"header": "a b"}), &[], Err("`key.header`"));
        check(json!({"source_address": {"prefix_len_v4": 33}}), &[], Err("expected 1 to 32, found 33"));
        check(json!({"attribute": []}), &[], Err("`key.attribute`"));
    }

    #[test]
    fn addresses_are_masked() {
        let masked = |text: &str, v4, v6| String::from_utf8(masked(text.parse().unwrap(), v4, v6)).unwrap();
        assert_eq!(masked("10.1.2.3", 24, 64), "10.1.2.0");
        assert_eq!(masked("2001:db8::1:2:3:4", 32, 64), "2001:db8::");
    }
}
