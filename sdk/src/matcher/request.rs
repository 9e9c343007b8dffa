//! Matching of a whole request: AND inside a block, OR between blocks.
//!
//! Knows the other matchers only.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::compiled::Compile;
use super::value::Named;
use super::{
    AttributeMatch, AttributeMatcher, AuthorityMatch, AuthorityMatcher, CidrMatch, CidrMatcher, CookieMatch,
    HeaderMatch, PathMatch, PathMatcher, QueryParameterMatch, cookie, query_parameter,
};
use crate::config::{Node, Reader, joined, serde_form};
use crate::{At, ConfigError, FromConfig, Problems, RequestView};

/// A block of conditions, all of which a request must meet. An empty block matches every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromConfig, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestMatch {
    /// The path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method is one of these, in upper case; any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// The host, with or without its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityMatch>,
    /// The scheme, `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Headers, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_parameters: Vec<QueryParameterMatch>,
    /// Cookies, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<CookieMatch>,
    /// The address the request comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<CidrMatch>,
    /// Attributes, all of which must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<AttributeMatch>,
    /// Blocks, none of which may match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<RequestMatch>,
}

impl RequestMatch {
    /// Whether there is no condition, so that every request matches.
    fn is_empty(&self) -> bool {
        let Self {
            path,
            methods,
            authority,
            scheme,
            headers,
            query_parameters,
            cookies,
            source_address,
            attributes,
            none_of,
        } = self;
        let no_value = path.is_none() && authority.is_none() && scheme.is_none() && source_address.is_none();
        let no_list = methods.is_empty()
            && headers.is_empty()
            && query_parameters.is_empty()
            && cookies.is_empty()
            && attributes.is_empty()
            && none_of.is_empty();
        no_value && no_list
    }
}

/// What requests are meant: one block, or a list of blocks of which one must match. Nothing, or an empty list, means every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestMatches {
    /// One block.
    One(Box<RequestMatch>),
    /// Any of several blocks.
    Any(Vec<RequestMatch>),
}

impl Default for RequestMatches {
    fn default() -> Self {
        Self::Any(Vec::new())
    }
}

serde_form!(RequestMatches);

impl FromConfig for RequestMatches {
    fn from_config(node: &Node, reader: &mut Reader) -> Option<Self> {
        match node {
            Node::Object(_) => FromConfig::from_config(node, reader).map(Self::One),
            Node::List(_) => FromConfig::from_config(node, reader).map(Self::Any),
            _ => reader.expected("an object of conditions, or a list of such objects", node),
        }
    }

    fn blank() -> Self {
        Self::default()
    }
}

impl Serialize for RequestMatches {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(block) => block.serialize(serializer),
            Self::Any(blocks) => blocks.serialize(serializer),
        }
    }
}

impl JsonSchema for RequestMatches {
    fn schema_name() -> Cow<'static, str> {
        "RequestMatches".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<RequestMatch>();
        json_schema!({
            "description": "One block of conditions, all of which must be met, or a list of blocks of which one must match. \
                            Empty: every request.",
            "oneOf": [block, { "type": "array", "items": block }],
        })
    }
}

/// Compiled [`RequestMatches`].
#[derive(Clone, Debug, Default)]
pub struct RequestMatcher(Vec<Block>);

/// Conditions in the order in which they are asked: headers, which are here, before attributes, which are asked for.
#[derive(Clone, Debug)]
struct Block(Vec<Condition>);

#[derive(Clone, Debug)]
enum Condition {
    Methods(Vec<String>),
    Path(PathMatcher),
    Authority(AuthorityMatcher),
    Scheme(String),
    Named(Part, Box<Named>),
    SourceAddress(CidrMatcher),
    Attribute(Box<AttributeMatcher>),
    NoneOf(Vec<Block>),
}

/// What has names.
#[derive(Clone, Copy, Debug)]
enum Part {
    Header,
    QueryParameter,
    Cookie,
}

impl TryFrom<RequestMatches> for RequestMatcher {
    type Error = ConfigError;

    fn try_from(wire: RequestMatches) -> Result<Self, ConfigError> {
        Self::try_from(&wire)
    }
}

impl TryFrom<&RequestMatches> for RequestMatcher {
    type Error = ConfigError;

    fn try_from(wire: &RequestMatches) -> Result<Self, ConfigError> {
        let mut problems = Problems::new();
        let matcher = Self::compile(wire, &At::ROOT, &mut problems);
        matcher.ok_or_else(|| problems.into_error())
    }
}

impl TryFrom<RequestMatch> for RequestMatcher {
    type Error = ConfigError;

    fn try_from(wire: RequestMatch) -> Result<Self, ConfigError> {
        Self::try_from(RequestMatches::One(Box::new(wire)))
    }
}

fn blocks_of(blocks: &[RequestMatch], at: &At<'_>, problems: &mut Problems) -> Vec<Block> {
    let mut compiled = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        compiled.push(block_of(block, &at.index(index), problems));
    }
    compiled
}

/// Compiles a block. What cannot be compiled is noted and left out: the block is then not used.
#[inline(never)]
fn block_of(wire: &RequestMatch, at: &At<'_>, problems: &mut Problems) -> Block {
    for (index, method) in wire.methods.iter().enumerate() {
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_lowercase()) {
            let reason = "expected a method in upper case, such as \"GET\", found ";
            problems.add(at.item("methods", index), joined(reason, &crate::config::quoted(method), ""));
        }
    }
    if wire.scheme.as_ref().is_some_and(|scheme| !matches!(scheme.as_str(), "http" | "https")) {
        problems.refuse(at, "scheme", "expected \"http\" or \"https\"");
    }
    for (index, block) in wire.none_of.iter().enumerate() {
        if block.is_empty() {
            problems.add(
                at.item("none_of", index),
                "is empty and matches every request, so nothing would be left",
            );
        }
    }
    let mut conditions = Vec::new();
    let mut add = |condition: Option<Condition>| {
        if let Some(condition) = condition {
            conditions.push(condition);
        }
    };
    if !wire.methods.is_empty() {
        add(Some(Condition::Methods(wire.methods.clone())));
    }
    add(wire.scheme.clone().map(Condition::Scheme));
    if let Some(path) = &wire.path {
        add(path.compile(&at.field("path"), problems).map(Condition::Path));
    }
    if let Some(authority) = &wire.authority {
        add(authority.compile(&at.field("authority"), problems).map(Condition::Authority));
    }
    let source = wire.source_address.as_ref();
    let source = source.and_then(|source| source.compile(&at.field("source_address"), problems));
    for (index, header) in wire.headers.iter().enumerate() {
        let header = header.compile(&at.item("headers", index), problems);
        add(header.map(|header| Condition::Named(Part::Header, header.0)));
    }
    for (index, parameter) in wire.query_parameters.iter().enumerate() {
        let at = at.item("query_parameters", index);
        let parameter = parameter.compile(&at, problems);
        add(parameter.map(|parameter| Condition::Named(Part::QueryParameter, parameter.0)));
    }
    for (index, cookie) in wire.cookies.iter().enumerate() {
        let cookie = cookie.compile(&at.item("cookies", index), problems);
        add(cookie.map(|cookie| Condition::Named(Part::Cookie, cookie.0)));
    }
    add(source.map(Condition::SourceAddress));
    for (index, attribute) in wire.attributes.iter().enumerate() {
        add(attribute
            .compile(&at.item("attributes", index), problems)
            .map(|attribute| Condition::Attribute(Box::new(attribute))));
    }
    if !wire.none_of.is_empty() {
        add(Some(Condition::NoneOf(blocks_of(&wire.none_of, &at.field("none_of"), problems))));
    }
    Block(conditions)
}

impl RequestMatcher {
    /// Compiles what stands at a place; `None` after noting what is wrong.
    pub fn compile(wire: &RequestMatches, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let blocks = match wire {
            RequestMatches::One(block) => vec![block_of(block, at, problems)],
            RequestMatches::Any(blocks) => blocks_of(blocks, at, problems),
        };
        if problems.len() != before {
            return None;
        }
        Some(Self(blocks))
    }

    /// Whether one of the blocks matches the request; always when there is none.
    #[must_use]
    pub fn is_match(&self, request: &dyn RequestView) -> bool {
        self.0.is_empty() || any(&self.0, request)
    }
}

fn any(blocks: &[Block], request: &dyn RequestView) -> bool {
    blocks.iter().any(|block| block.0.iter().all(|condition| condition.is_match(request)))
}

impl Condition {
    fn is_match(&self, request: &dyn RequestView) -> bool {
        match self {
            Self::Methods(methods) => {
                request.method().is_some_and(|method| methods.iter().any(|m| m.as_bytes() == method))
            }
            Self::Path(matcher) => request.path().is_some_and(|path| matcher.is_match(path)),
            Self::Authority(matcher) => request.authority().is_some_and(|host| matcher.is_match(host)),
            Self::Scheme(wanted) => {
                request.get(":scheme").is_some_and(|scheme| scheme.eq_ignore_ascii_case(wanted.as_bytes()))
            }
            Self::Named(part, named) => {
                let joined;
                let value = match part {
                    Part::Header => {
                        joined = request.joined(&named.name);
                        joined.as_deref().or(named.missing_is_empty.then_some(&[]))
                    }
                    Part::QueryParameter => query_parameter(request.path().unwrap_or_default(), &named.name),
                    Part::Cookie => cookie(request, &named.name),
                };
                named.value.is_match(value)
            }
            Self::SourceAddress(matcher) => matcher.is_match(request),
            Self::Attribute(matcher) => matcher.is_match(request),
            Self::NoneOf(blocks) => !any(blocks, request),
        }
    }
}
