//! Matchers: what requests a rule is for, with the semantics of Envoy's route matchers.
//!
//! Each has a wire form (`…Match`: read from configurations, with a JSON Schema) and a compiled form (`…Matcher`), made with `TryFrom`. Compiled forms
//! allocate nothing per stream but what joining several header lines takes, and are total: any bytes match or do not.
//! Knows no host.

mod attribute;
mod authority;
mod cidr;
mod compiled;
mod cookie;
mod header;
mod path;
mod query_parameter;
mod request;
mod string;
mod value;

#[cfg(test)]
mod tests;

pub use attribute::{AttributeMatch, AttributeMatcher, AttributeType};
pub use authority::{AuthorityMatch, AuthorityMatcher};
pub(crate) use cidr::mask;
pub use cidr::{Cidr, CidrMatch, CidrMatcher, source_address};
pub use cookie::{CookieMatch, CookieMatcher, cookie};
pub use header::{HeaderMatch, HeaderMatcher};
pub use path::{PathMatch, PathMatcher};
pub use query_parameter::{QueryParameterMatch, QueryParameterMatcher, query_parameter};
pub use request::{RequestMatch, RequestMatcher, RequestMatches};
pub use string::{StringMatch, StringMatcher};
pub use value::IntegerRange;
