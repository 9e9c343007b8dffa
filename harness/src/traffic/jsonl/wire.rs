//! The wire form of Weir's JSON lines: shape only, borrowed from the line where it can be.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::headers::Headers;

/// One recorded exchange.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(title = "WeirExchange")]
pub(super) struct Line<'a> {
    /// The version of this form: 1.
    pub(super) weir: u64,
    /// Where the exchange stood in the recording it was converted from. Default: the file and line it is read from.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<Cow<'a, str>>,
    /// When the request began: nanoseconds since 1970-01-01T00:00:00Z. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) start_ns: Option<u64>,
    /// How long the exchange took, in nanoseconds. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub(super) duration_ns: Option<u128>,
    /// How long after the start the client left without waiting for the end, in nanoseconds. Absent: it stayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u64>")]
    pub(super) abort_after_ns: Option<u128>,
    /// Who called.
    #[serde(default, skip_serializing_if = "Downstream::is_default")]
    pub(super) downstream: Downstream,
    /// The request.
    #[serde(borrow)]
    pub(super) request: Message<'a>,
    /// The response. Absent: there was none, or the recording does not say.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) response: Option<Message<'a>>,
    /// The cluster that answered. Absent: not known.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) upstream_cluster: Option<Cow<'a, str>>,
}

/// The client's side.
#[derive(Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Downstream {
    /// The client's address and port, such as `192.0.2.1:40000` or `[2001:db8::1]:40000`. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) address: Option<SocketAddr>,
    /// The HTTP version. Default `HTTP/1.1`.
    #[serde(default)]
    pub(super) protocol: Protocol,
    /// Tells connections apart. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) connection_id: Option<u64>,
    /// Whether the connection was TLS. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) tls: bool,
}

impl Downstream {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The HTTP version, as Envoy writes it.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub(super) enum Protocol {
    #[serde(rename = "HTTP/1.0")]
    Http10,
    #[default]
    #[serde(rename = "HTTP/1.1")]
    Http11,
    #[serde(rename = "HTTP/2")]
    Http2,
    #[serde(rename = "HTTP/3")]
    Http3,
}

/// One side of the exchange.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message<'a> {
    /// The header lines in order as `[name, value]`, pseudo headers among them: `:method`, `:path`, `:authority` of a request (`:scheme`
    /// is `http` when it is absent), `:status` of a response.
    pub(super) headers: Lines<'a>,
    /// The body. Default empty.
    #[serde(borrow, default, skip_serializing_if = "Bytes::is_empty")]
    pub(super) body: Bytes<'a>,
    /// Whether there was more of the body than was recorded. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) body_truncated: bool,
    /// The trailer lines. Default none.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub(super) trailers: Lines<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A text, or any bytes as `{"base64": …}`.
#[derive(Debug, Default)]
pub(crate) struct Bytes<'a>(Cow<'a, [u8]>);

impl<'a> Bytes<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        self.0.into_owned()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &BASE64.encode(&self.0))?;
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = Bytes<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or {\"base64\": …}")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Borrowed(text.as_bytes())))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(text.as_bytes().to_vec())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let Some((key, text)) = map.next_entry::<Cow<'de, str>, Cow<'de, str>>()? else {
                    return Err(de::Error::missing_field("base64"));
                };
                if key != "base64" || map.next_key::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::custom(format_args!(
                        "unknown field `{key}`, expected only `base64`"
                    )));
                }
                let bytes = BASE64.decode(text.as_bytes());
                bytes
                    .map(|bytes| Bytes(Cow::Owned(bytes)))
                    .map_err(|error| de::Error::custom(format_args!("`base64`: {error}")))
            }
        }
        deserializer.deserialize_any(BytesVisitor)
    }
}

impl JsonSchema for Bytes<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text, or bytes that are not UTF-8 in base64 (RFC 4648 §4, padded).",
            "oneOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "base64": { "type": "string", "contentEncoding": "base64" } },
                    "required": ["base64"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// Header lines: a list of `[name, value]`.
#[derive(Debug)]
pub(super) enum Lines<'a> {
    Borrowed(&'a Headers),
    Owned(Headers),
}

impl<'a> Lines<'a> {
    pub(super) fn of(headers: &'a Headers) -> Self {
        Self::Borrowed(headers)
    }

    pub(super) fn into_headers(self) -> Headers {
        match self {
            Self::Borrowed(headers) => headers.clone(),
            Self::Owned(headers) => headers,
        }
    }

    fn headers(&self) -> &Headers {
        match self {
            Self::Borrowed(headers) => headers,
            Self::Owned(headers) => headers,
        }
    }

    fn is_empty(&self) -> bool {
        self.headers().is_empty()
    }
}

impl Default for Lines<'_> {
    fn default() -> Self {
        Self::Owned(Headers::new())
    }
}

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut lines = serializer.serialize_seq(Some(self.headers().len()))?;
        for (name, value) in self.headers().iter() {
            lines.serialize_element(&(Bytes::of(name), Bytes::of(value)))?;
        }
        lines.end()
    }
}

impl<'de> Deserialize<'de> for Lines<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LinesVisitor;
        impl<'de> Visitor<'de> for LinesVisitor {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of [name, value]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Self::Value, A::Error> {
                let mut headers = Headers::new();
                while let Some((name, value)) = lines.next_element::<(Bytes<'de>, Bytes<'de>)>()? {
                    headers.push(&name.0, &value.0);
                }
                Ok(headers)
            }
        }
        deserializer.deserialize_seq(LinesVisitor).map(Self::Owned)
    }
}

impl JsonSchema for Lines<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Lines".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bytes = generator.subschema_for::<Bytes<'_>>();
        json_schema!({
            "description": "Header lines in order: [name, value] each. Names are lower case.",
            "type": "array",
            "items": { "type": "array", "prefixItems": [bytes, bytes], "items": false, "minItems": 2 }
        })
    }
}
