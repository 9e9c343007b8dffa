//! What a caller asks for by headers, by the rules of Envoy's own fault filter, and whether its signature holds.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use weir_sdk::signed::{self, Secret, Secrets};
use weir_sdk::{At, Headers, Problems, RequestView, names};

use crate::config;

pub(crate) const DELAY: &str = "x-envoy-fault-delay-request";
pub(crate) const DELAY_PERCENTAGE: &str = "x-envoy-fault-delay-request-percentage";
pub(crate) const ABORT: &str = "x-envoy-fault-abort-request";
pub(crate) const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
pub(crate) const ABORT_PERCENTAGE: &str = "x-envoy-fault-abort-request-percentage";
pub(crate) const THROUGHPUT: &str = "x-envoy-fault-throughput-response";
pub(crate) const THROUGHPUT_PERCENTAGE: &str = "x-envoy-fault-throughput-response-percentage";

/// The headers that a signature covers, in its order.
const SIGNED: [&str; 7] =
    [ABORT_GRPC, ABORT, ABORT_PERCENTAGE, DELAY, DELAY_PERCENTAGE, THROUGHPUT, THROUGHPUT_PERCENTAGE];

/// A number as Envoy reads it from these headers: decimal digits, perhaps a `+` before them, perhaps blanks around.
pub(crate) fn number(headers: &dyn Headers, name: &str) -> Option<u64> {
    let text = headers.get(name)?.trim_ascii();
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The numerator that a caller asks for; `None` where it says none that means anything.
pub(crate) fn numerator(headers: &dyn Headers, name: &str) -> Option<u32> {
    number(headers, name).and_then(|number| u32::try_from(number).ok())
}

/// The delay in ms. What Envoy's signed milliseconds cannot hold is none.
pub(crate) fn delay_ms(headers: &dyn Headers) -> Option<u64> {
    number(headers, DELAY).filter(|ms| i64::try_from(*ms).is_ok())
}

/// The HTTP status.
pub(crate) fn abort(headers: &dyn Headers) -> Option<u16> {
    number(headers, ABORT)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|status| (200..600).contains(status))
}

/// The gRPC status.
pub(crate) fn abort_grpc(headers: &dyn Headers) -> Option<u8> {
    number(headers, ABORT_GRPC).and_then(|status| u8::try_from(status).ok()).filter(|status| *status <= 16)
}

/// The throughput in KiB/s.
pub(crate) fn throughput(headers: &dyn Headers) -> Option<u64> {
    number(headers, THROUGHPUT).filter(|kbps| *kbps > 0)
}

/// A compiled [`config::Signature`].
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) header: Rc<str>,
    secrets: Secrets,
    pub(crate) max_validity: Duration,
    /// Each signature is good once.
    single_use: bool,
}

impl Signature {
    /// Checks and compiles what stands at `at`. `find` looks a secret up that stands elsewhere.
    pub(crate) fn compile(
        at: &At<'_>,
        config: &config::Signature,
        find: &dyn Fn(&Secret) -> Option<Vec<u8>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let header = names::header(&config.header, "x-envoy-fault-signature");
        let header = header.map_err(|reason| problems.add(at.field("header"), reason)).ok();
        if header.as_deref().is_some_and(|header| SIGNED.contains(&header)) {
            problems.add(at.field("header"), "is a header that is signed; expected another one");
        }
        if config.max_validity.0.is_zero() {
            problems.add(at.field("max_validity"), "expected more than 0");
        }
        let secrets = Secrets::compile(&at.field("secrets"), &config.secrets, find, problems);
        Some(Self {
            header: header?,
            secrets,
            max_validity: config.max_validity.0,
            single_use: config.single_use,
        })
    }

    /// Whether the request asks for faults at all.
    pub(crate) fn is_asked(request: &dyn RequestView) -> bool {
        SIGNED.iter().any(|name| request.get(name).is_some())
    }

    /// Whether the request is signed, and still is.
    pub(crate) fn holds(&self, request: &dyn RequestView, now: SystemTime) -> bool {
        request.get(&self.header).is_some_and(|value| {
            self.secrets.holds(value, now, self.max_validity, &|expires| signed_text(expires, request))
        })
    }
}

impl Signature {
    /// The number of the request's signature, where each is good once; `None` where it may be used again.
    pub(crate) fn single(&self, request: &dyn RequestView) -> Option<u64> {
        let (_, signature) = request.get(&self.header).and_then(signed::parse).filter(|_| self.single_use)?;
        Some(super::rule::hash(signature))
    }
}

/// What is signed, line by line, each with a line feed behind it: `weir-fault-1`, `expires`, method, authority, path with query, and
/// `<name>:<value>` of each header in [`SIGNED`], empty where it is absent. No value can hold a line feed.
pub(crate) fn signed_text(expires: u64, request: &dyn RequestView) -> Vec<u8> {
    let mut text = b"weir-fault-1\n".to_vec();
    text.extend_from_slice(expires.to_string().as_bytes());
    text.push(b'\n');
    for &value in &[request.method(), request.authority(), request.path()] {
        text.extend_from_slice(value.unwrap_or_default());
        text.push(b'\n');
    }
    for name in &SIGNED {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        text.extend_from_slice(&request.joined(name).unwrap_or_default());
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use weir_sdk::HeaderMap;
    use weir_sdk::digest::{hex, hmac_sha256};

    use super::*;

    #[track_caller]
    fn check(value: &str, want: Option<u64>) {
        let headers: HeaderMap = [("n", value)].into_iter().collect();
        assert_eq!(number(&headers, "n"), want, "{value:?}");
    }

    #[test]
    fn numbers_are_read_as_envoy_reads_them() {
        for (value, want) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("+5", Some(5)),
            (" 5 ", Some(5)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+", None),
            ("-1", None),
            ("1.5", None),
            ("0x10", None),
            ("5ms", None),
            ("٣", None),
        ] {
            check(value, want);
        }
    }

    const SECRET: &str = "a secret of thirty-two characters";

    fn signature() -> Signature {
        let config =
            serde_json::json!({"secrets": [{"inline": "another one, the last"}, {"inline": SECRET}]});
        let config: config::Signature = serde_json::from_value(config).unwrap();
        Signature::compile(&At::ROOT, &config, &Secret::inline, &mut Problems::new()).unwrap()
    }

    fn request(signed: &str) -> HeaderMap {
        let lines = [
            (":method", "GET"),
            (":authority", "a"),
            (":path", "/?q"),
            (DELAY, "5"),
            ("x-envoy-fault-signature", signed),
        ];
        lines.into_iter().collect()
    }

    /// Repeated with `printf … | openssl dgst -sha256 -hmac "$SECRET"`.
    #[test]
    fn the_signed_text_is_frozen() {
        assert_eq!(
            String::from_utf8(signed_text(1_772_366_460, &request(""))).unwrap(),
            "weir-fault-1\n1772366460\nGET\na\n/?q\nx-envoy-fault-abort-grpc-request:\nx-envoy-fault-abort-request:\n\
             x-envoy-fault-abort-request-percentage:\nx-envoy-fault-delay-request:5\nx-envoy-fault-delay-request-percentage:\n\
             x-envoy-fault-throughput-response:\nx-envoy-fault-throughput-response-percentage:\n"
        );
    }

    #[test]
    fn a_signature_holds_for_its_request_and_time_only() {
        let now = 1_772_366_400;
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let sign = |expires: u64, request: &HeaderMap| {
            let mac = hex(&hmac_sha256(SECRET.as_bytes(), &signed_text(expires, request)));
            format!("expires={expires},sha256={mac}")
        };
        let signature = signature();
        let good = sign(now + 60, &request(""));
        assert!(signature.holds(&request(&good), at(now)));
        assert!(signature.holds(&request(&good), at(now + 59)));
        assert!(!signature.holds(&request(&good), at(now + 60)), "expired");
        assert!(!signature.holds(&request(&good), at(now - 300)), "too far in the future");
        let mut other = request(&good);
        other.set(DELAY, "6");
        assert!(!signature.holds(&other, at(now)), "another delay");
        let mut more = request(&good);
        more.push(ABORT, "503");
        assert!(!signature.holds(&more, at(now)), "a header more");
        for bad in
            ["", "expires=", "expires=1", "expires=x,sha256=", &good.to_uppercase(), &good[..good.len() - 1]]
        {
            assert!(!signature.holds(&request(bad), at(now)), "{bad}");
        }
    }
}
