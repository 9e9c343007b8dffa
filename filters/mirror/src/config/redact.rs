//! What of a request must not reach a mirror target, as it is written under `redact`. Shape only.

use schemars::JsonSchema;
use weir_sdk::FromConfig;

/// What is taken out of a copy before it is sent. When it says anything about bodies, a body that cannot be looked through with certainty is
/// not sent (`unreadable_body`).
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redact {
    /// Whether headers that carry credentials are dropped without being named: `authorization`, `proxy-authorization`, `cookie`, `set-cookie`,
    /// `x-api-key`, `api-key`, `x-auth-token`, `x-access-token`, `x-csrf-token`, `x-xsrf-token`, `x-forwarded-client-cert`,
    /// `x-amz-security-token`, `x-amzn-oidc-accesstoken`, `x-amzn-oidc-data`, `x-goog-iap-jwt-assertion`, `x-vault-token`, `private-token`,
    /// `authentication-info`, `proxy-authentication-info`, `dpop`; and what stands before an `@` in `:authority`. Default true.
    #[serde(default = "yes")]
    pub default_headers: bool,
    /// Headers and trailers by name, in any case; before the default ones, so that `KEEP` lets one of those pass.
    #[serde(default)]
    pub headers: Vec<RedactHeader>,
    /// Cookies by name, in `cookie` and `set-cookie`; `*` is all others. When given, these two headers are not dropped whole, and a cookie that
    /// is not named is dropped. Default: none.
    #[serde(default)]
    #[schemars(with = "Vec<RedactCookie>")]
    pub cookies: Vec<RedactHeader>,
    /// Parameters of the query by key: in `:path`, in every header that holds a URL, and in URLs within bodies that are looked through.
    #[serde(default)]
    pub query: Vec<RedactParameter>,
    /// Segments of `:path` that follow one of this name.
    #[serde(default)]
    pub path_segments: Vec<RedactSegment>,
    /// Values of JSON bodies by path; the first path that matches a value counts.
    #[serde(default)]
    pub json: Vec<RedactJson>,
    /// Fields of form bodies by key: `application/x-www-form-urlencoded`, and parts of `multipart/form-data`.
    #[serde(default)]
    pub form: Vec<RedactParameter>,
    /// What is recognised by its look, wherever it stands.
    #[serde(default)]
    pub patterns: Vec<RedactPattern>,
    /// Whether keys of parameters, of JSON and of cookies match in either case, as many servers read them; spaces and invisible characters in them do not
    /// count then either. Default true.
    #[serde(default = "yes")]
    pub ignore_case: bool,
    /// What stands in place of a value that is replaced: 1 to 64 visible ASCII characters that mean nothing in a URL, a header and JSON. Default `redacted`.
    #[serde(default = "replacement")]
    pub replacement: String,
    /// Key of `HASH`, at least 16 bytes. Whoever has it can try out values: keep it from those who read the copies.
    #[serde(default)]
    pub hash_key: Option<String>,
    /// What becomes of a copy whose body cannot be looked through with certainty. Default `REFUSE`.
    #[serde(default)]
    pub unreadable_body: UnreadableBody,
    /// Content types, such as `text/plain`, whose bodies are looked through as plain UTF-8 text. Default: none, so that only JSON, forms and
    /// multipart forms are looked through, and any other body counts as unreadable.
    #[serde(default)]
    pub text_types: Vec<String>,
    /// Bodies with more bytes than this count as unreadable. Default 1048576.
    #[serde(default = "max_body_bytes")]
    pub max_body_bytes: usize,
}

impl Default for Redact {
    fn default() -> Self {
        Self::blank()
    }
}

/// A header.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactHeader {
    /// The name, in any case; no pseudo header.
    pub name: String,
    /// What becomes of each line. Default `DROP`.
    #[serde(default = "drop_it")]
    pub action: Action,
}

/// A cookie.
// What is read is a [`RedactHeader`], which has the same fields and defaults; this is for the schema.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RedactCookie {
    /// The name; case counts as `ignore_case` says. `*` is every cookie that is not named.
    pub name: String,
    /// What becomes of its value. Default `DROP`.
    #[schemars(default = "drop_it")]
    pub action: Action,
}

/// A parameter of a query or a field of a form.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactParameter {
    /// The key, decoded. `password` is also found in `user[password]`, `user.password`, `password[]` and, encoded, in `p%61ssword`.
    pub key: String,
    /// What becomes of every value of it. Default `REPLACE`.
    #[serde(default)]
    pub action: Action,
}

/// A segment of the path.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactSegment {
    /// The segment before it, decoded: `reset` finds `abc` in `/reset/abc`.
    pub after: String,
    /// What becomes of it. Default `REPLACE`.
    #[serde(default)]
    pub action: Action,
}

/// A place in a JSON document.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactJson {
    /// Keys joined by `.`: `user.password`, `items[*].card`, `items[0].card`; `*` is any key or element, `**` any number of them
    /// (`**.token`); a key with special characters stands in `["a.b"]`.
    pub path: String,
    /// What becomes of the value, whatever its type. Default `REPLACE`.
    #[serde(default)]
    pub action: Action,
}

/// Something that is recognised by its look.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedactPattern {
    /// What is looked for.
    pub find: Find,
    /// What becomes of what is found; not `KEEP`. Default `REPLACE`.
    #[serde(default)]
    pub action: Action,
    /// Where it is looked for. Default: everywhere.
    #[serde(default = "everywhere", rename = "in")]
    pub places: Vec<Place>,
}

/// What is recognised by its look.
#[derive(Clone, Debug, FromConfig, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Find {
    /// Payment card numbers: 13 to 19 digits that begin with 2 to 6 or 8 and satisfy the Luhn formula, also in groups with spaces, dashes or dots
    /// between them, and as JSON numbers.
    CardNumber {},
    /// E-mail addresses.
    Email {},
    /// What follows `Bearer` or `Basic`, JSON Web Tokens, and what stands before the `@` in `https://user:password@host`.
    Credentials {},
    /// What a regular expression finds, as in RE2; at most 1024 bytes, and it must not match nothing. It sees decoded text. Its work is bounded: what takes more counts as unreadable.
    Regex(String),
}

/// A part of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Place {
    /// Values of headers, cookies and trailers.
    Headers,
    /// `:path`, with its query.
    Path,
    /// The body.
    Body,
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// It stays. Lets through what a later rule would take.
    Keep,
    /// It goes, with its name.
    Drop,
    /// `replacement` stands in its place.
    #[default]
    Replace,
    /// The first 16 hexadecimal digits of HMAC-SHA-256 under `hash_key` stand in its place: equal values stay equal, and cannot be guessed.
    Hash,
    /// `****` and its last four characters; of values with fewer than twelve letters and digits, and of JSON objects and arrays, nothing but `****`.
    Mask,
}

/// What becomes of a copy whose body cannot be looked through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromConfig, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnreadableBody {
    /// The copy is not sent.
    #[default]
    Refuse,
    /// The copy is sent without its body.
    DropBody,
}

fn yes() -> bool {
    true
}

fn drop_it() -> Action {
    Action::Drop
}

fn everywhere() -> Vec<Place> {
    vec![Place::Headers, Place::Path, Place::Body]
}

fn replacement() -> String {
    "redacted".to_owned()
}

fn max_body_bytes() -> usize {
    1 << 20
}
