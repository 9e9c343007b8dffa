//! Values as Istio takes them: durations, ports, shares, statuses, headers. Each check gives the reason why a value is none.

use crate::check::cel;

const MILLISECOND: i64 = 1_000_000;

/// What statuses of HTTP Go has a name for, by which Istio knows them.
const STATUSES: &[std::ops::RangeInclusive<u16>] = &[
    100..=103,
    200..=208,
    226..=226,
    300..=305,
    307..=308,
    400..=418,
    421..=426,
    428..=429,
    431..=431,
    451..=451,
    500..=508,
    510..=511,
];

/// What Envoy retries on, in HTTP and in gRPC.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// The statuses of gRPC, by name.
const GRPC: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The methods that a CORS policy may name.
const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

const PSEUDO_HEADERS: &[&str] = &[":method", ":scheme", ":authority", ":path", ":status"];

/// A duration must be of whole milliseconds. That it is one, and not shorter than one of them, the schemas say.
pub(super) fn precision(text: &str) -> Option<String> {
    let nanoseconds = cel::nanoseconds(text).filter(|nanoseconds| *nanoseconds >= MILLISECOND)?;
    (nanoseconds % MILLISECOND != 0).then(|| format!("`{text}` is more exact than milliseconds"))
}

/// As [`precision`], where the schema has no lower end, and nothing at all is accepted.
pub(super) fn duration_or_none(text: &str) -> Option<String> {
    let nanoseconds = cel::nanoseconds(text)?;
    if nanoseconds <= -MILLISECOND {
        return Some(format!("`{text}` is below 0"));
    }
    precision(text)
}

/// A port.
pub(super) fn port(number: f64) -> Option<String> {
    (!(1.0..=65535.0).contains(&number)).then(|| format!("`{number}` is no port: 1 to 65535"))
}

/// A share in percent.
pub(super) fn percent(value: f64) -> Option<String> {
    (!(0.0..=100.0).contains(&value)).then(|| format!("`{value}` is no percentage: 0 to 100"))
}

/// A share in percent of something that Envoy draws by millionths.
pub(super) fn fine_percent(value: f64) -> Option<String> {
    let is_too_small = value > 0.0 && value < 0.0001;
    percent(value)
        .or_else(|| is_too_small.then(|| format!("`{value}` is less than 0.0001, the least share above 0")))
}

/// A status of HTTP that is answered with.
pub(super) fn status(number: f64) -> Option<String> {
    (!(200.0..=600.0).contains(&number))
        .then(|| format!("`{number}` is no status to answer with: 200 to 599"))
}

/// A status of gRPC.
pub(super) fn grpc_status(text: &str) -> Option<String> {
    (!GRPC.contains(&text)).then(|| crate::yaml::unknown("gRPC status", text, GRPC))
}

/// A method that a CORS policy may name.
pub(super) fn cors_method(text: &str) -> Option<String> {
    (!METHODS.contains(&text)).then(|| crate::yaml::unknown("method", text, METHODS))
}

/// What is retried on: names and statuses, with commas between them.
pub(super) fn retry_on(text: &str) -> Option<String> {
    let is_status = |text: &str| {
        text.parse::<u16>().is_ok_and(|status| STATUSES.iter().any(|range| range.contains(&status)))
    };
    let wrong = text.split(',').find(|one| !RETRY_ON.contains(one) && !is_status(one))?;
    if RETRY_ON.contains(&wrong.trim()) || is_status(wrong.trim()) {
        return Some(format!("`{wrong}` has a space: there is none around the commas"));
    }
    Some(format!("{}, or a status", crate::yaml::unknown("condition", wrong, RETRY_ON)))
}

/// The header of a request that is matched: by its name, or a claim of its JWT.
pub(super) fn matched_header(name: &str) -> Option<String> {
    if is_claim(name) || PSEUDO_HEADERS.contains(&name) {
        return None;
    }
    header(name)
}

/// A header that a CORS policy names.
pub(super) fn cors_header(name: &str) -> Option<String> {
    header(name)
}

/// Whether a header stands for a claim of a JWT.
pub(super) fn is_claim(name: &str) -> bool {
    const BEGIN: &str = "@request.auth.claims";
    let begin = name.get(..BEGIN.len()).filter(|begin| begin.eq_ignore_ascii_case(BEGIN));
    let rest = begin.map_or("", |_| &name[BEGIN.len()..]);
    let in_brackets = rest.starts_with('[') && rest.ends_with(']');
    rest.len() > 1 && rest.starts_with('.') || in_brackets && rest.len() > 2
}

fn header(name: &str) -> Option<String> {
    let is = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (name.is_empty() || !name.bytes().all(is)).then(|| format!("`{name}` is no name of a header"))
}

/// Whether a header is the host of a request, by either name.
pub(super) fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}

/// The header of a request that is set or added to.
pub(super) fn set_header(name: &str) -> Option<String> {
    if is_authority(name) { None } else { changed_header(name) }
}

/// A header that is removed, or is of a response.
pub(super) fn changed_header(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the name of a header must not be empty".to_owned());
    }
    let is_fixed = name.starts_with(':') || name.eq_ignore_ascii_case("host");
    is_fixed.then(|| format!("`{name}` is no header that can be changed here"))
}

/// The value of a header, with what Envoy fills in between `%`.
pub(super) fn header_value(value: &str) -> Option<String> {
    if value.bytes().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
        return Some("has characters that no header may have".to_owned());
    }
    let mut at = Within::Literal;
    let mut bytes = value.bytes().peekable();
    while let Some(byte) = bytes.next() {
        at = match (at, byte) {
            (Within::Literal, b'%') => match bytes.peek() {
                None => return Some("a `%` that stands for itself is written `%%`".to_owned()),
                Some(b'%') => {
                    bytes.next();
                    Within::Literal
                }
                Some(_) => Within::Name,
            },
            (Within::Name | Within::End, b'%') => Within::Literal,
            (Within::Name, b'(') => Within::Arguments,
            (Within::Arguments, b'[') | (Within::AfterText, b',') => Within::List,
            (Within::List, b'"') => Within::Text,
            (Within::Text, b'\\') => match bytes.next() {
                Some(_) => Within::Text,
                None => return Some("nothing follows the `\\` at its end".to_owned()),
            },
            (Within::Text | Within::AfterList, b')') => Within::End,
            (Within::Text, b'"') => Within::AfterText,
            (Within::AfterText, b']') => Within::AfterList,
            (Within::Literal | Within::Name | Within::Text, _) => at,
            (_, b' ') => at,
            (Within::Arguments, _) => Within::Text,
            (Within::List | Within::AfterText | Within::AfterList | Within::End, _) => {
                let found = char::from(byte);
                return Some(format!("`{found}` where {} is expected in a `%NAME(…)%`", at.expected()));
            }
        };
    }
    let is_whole = matches!(at, Within::Literal);
    (!is_whole).then(|| "a `%NAME%` without its end; a `%` that stands for itself is written `%%`".to_owned())
}

/// Where in the value of a header one is.
#[derive(Clone, Copy)]
enum Within {
    /// What stands for itself.
    Literal,
    /// Behind `%`.
    Name,
    /// Behind `(`.
    Arguments,
    /// Behind `[`, or a comma there: a quoted text comes.
    List,
    /// An argument, quoted or not.
    Text,
    /// Behind a quoted text.
    AfterText,
    /// Behind `]`.
    AfterList,
    /// Behind `)`.
    End,
}

impl Within {
    fn expected(self) -> &'static str {
        match self {
            Self::List => "`\"`",
            Self::AfterText => "`,` or `]`",
            Self::AfterList => "`)`",
            Self::Literal | Self::Name | Self::Arguments | Self::Text | Self::End => "`%`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<V: Copy + std::fmt::Debug>(of: fn(V) -> Option<String>, good: &[V], bad: &[V]) {
        good.iter().for_each(|value| assert_eq!(of(*value), None, "{value:?}"));
        bad.iter().for_each(|value| assert!(of(*value).is_some(), "{value:?}"));
    }

    #[test]
    fn numbers_and_durations() {
        // What is no duration, or too short, the schemas say.
        check(precision, &["1ms", "1.5s", "1h", "x", "1us", "-1s"], &["1.0001s", "1001us", "1ms1ns"]);
        check(duration_or_none, &["0s", "0.1us", "2s"], &["-1s", "1.0001s"]);
        check(port, &[1.0, 65535.0], &[0.0, 65536.0]);
        check(percent, &[0.0, 100.0], &[-1.0, 100.5]);
        check(fine_percent, &[0.0, 0.0001, 100.0], &[0.000_01, 101.0]);
        check(status, &[200.0, 599.0], &[100.0, 601.0]);
    }

    #[test]
    fn words() {
        check(grpc_status, &["OK", "UNAVAILABLE"], &["", "14", "Unavailable"]);
        check(cors_method, &["GET", "*"], &["get", ""]);
        check(retry_on, &["5xx", "reset,503,unavailable"], &["5xx, reset", "", "6xx", "599", "503,"]);
    }

    #[test]
    fn names_of_headers() {
        let claims = ["@request.auth.claims.group", "@REQUEST.auth.claims[a][b]"];
        check(
            matched_header,
            &[":path", "x-a", claims[0], claims[1]],
            &["", ":x", "a b", "@request.auth.claims", "é"],
        );
        check(cors_header, &["*", "x-a"], &["", ":path", "a:b"]);
        check(set_header, &["x", ":authority", "Host"], &["", ":path"]);
        check(changed_header, &["x", "a b"], &["", ":authority", "Host"]);
        assert!(!is_claim("@request.auth.claims[]") && !is_claim("x"));
    }

    #[test]
    fn values_of_headers() {
        let good = [
            "",
            "a",
            "100%%",
            "a%HOSTNAME%b",
            "%REQ(:path)%",
            "%START_TIME(%s)% x",
            "%DYNAMIC_METADATA([\"a\", \"b\\\"]\"])%",
            "%A( [ \"a\" ] ) %",
        ];
        let bad = [
            "%",
            "a%b",
            "%A%%",
            "%A(",
            "%A(x)",
            "%A(x)b%",
            "%A(x\\",
            "%A([a])%",
            "%A([\"a\"",
            "%A([\"a\" \"b\"])%",
            "%A([\"a\"]%",
            "%A()%",
            "a\nb",
            "a\u{7f}",
        ];
        check(header_value, &good, &bad);
    }
}
