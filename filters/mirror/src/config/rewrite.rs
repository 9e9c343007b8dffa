//! The wire form of what makes a copy different from its request.

use schemars::JsonSchema;
use weir_sdk::FromConfig;

/// The copy's authority.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// Text behind the host and before the port: with `-shadow`, as Envoy's own mirror does, `reviews:9080` becomes `reviews-shadow:9080`.
    Suffix(String),
    /// Exactly this, such as `shadow.example.com`.
    Literal(String),
}

/// The copy's path; the query stays.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// Exactly this; begins with `/`.
    Replace(String),
    /// Another beginning.
    Prefix(PrefixRewrite),
    /// Every match of a regular expression is replaced, as by Envoy's `regex_rewrite`. A request whose path is not UTF-8 is not copied.
    Regex(RegexRewrite),
}

/// Another beginning of a path. A path with none such stays as it is.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefixRewrite {
    /// The beginning, byte for byte; begins with `/`.
    pub from: String,
    /// What stands in its place; begins with `/`.
    pub to: String,
}

/// Replacement of what a regular expression matches.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegexRewrite {
    /// The regular expression; it matches anywhere in the path, as often as it can.
    pub pattern: String,
    /// What stands in place of each match; `\1` to `\9` are groups of the pattern, `\0` is all of the match, `\\` is a backslash.
    pub substitution: String,
}

/// Changes of headers, in this order: `remove`, `set`, `append`.
#[derive(Clone, Debug, Default, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderMutations {
    /// Headers that the copy does not have.
    pub remove: Vec<String>,
    /// Headers that have exactly this value.
    pub set: Vec<HeaderLine>,
    /// Lines that are added.
    pub append: Vec<HeaderLine>,
}

/// A line of a header block.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The header's name: an ordinary one, not `:authority`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// The header that says that a request is a copy. A copy with only the beginning of the body also has `<name>-truncated` with the number of bytes
/// of the whole.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mark {
    /// The header's name. Default `x-shadow`.
    pub name: String,
    /// Its value. Default `1`.
    pub value: String,
}

impl Default for Mark {
    fn default() -> Self {
        Self { name: "x-shadow".to_owned(), value: "1".to_owned() }
    }
}

/// What becomes of trace headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Trace {
    /// They stay: the copy's spans are part of the request's trace.
    #[default]
    Keep,
    /// They stay, and say that the trace is not sampled.
    Unsampled,
    /// They are removed: the target begins traces of its own.
    Drop,
}
