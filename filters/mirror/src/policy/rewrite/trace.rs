//! Trace headers of a copy: W3C, B3, Jaeger, Datadog, X-Ray, Google.

use weir_sdk::HeaderMap;
use weir_sdk::digest::hex;

use crate::config::Trace;

/// What carries a trace.
const HEADERS: [&str; 16] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-ot-span-context",
    "sw8",
];

/// Applies what is chosen.
pub(crate) fn apply(trace: Trace, headers: &mut HeaderMap) {
    match trace {
        Trace::Keep => {}
        Trace::Drop => {
            for name in &HEADERS {
                headers.remove(name);
            }
        }
        Trace::Unsampled => unsample(headers),
    }
}

/// The trace's ids stay; what says whether it is sampled says no.
fn unsample(headers: &mut HeaderMap) {
    // https://www.w3.org/TR/trace-context/#traceparent-header: version-trace-parent-flags, the last bit of the flags being `sampled`.
    rewrite(headers, "traceparent", |value| {
        let (rest, flags) = value.split_at_checked(53)?;
        let (flags, rest_of_them) = flags.split_at_checked(2)?;
        let mut digits = 0;
        for digit in flags {
            digits = (digits << 4) | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
        Some([rest, hex(&[digits & !1]).as_bytes(), rest_of_them].concat())
    });
    // https://github.com/openzipkin/b3-propagation: `{trace}-{span}-{sampled}-{parent}`, or the sampling state alone.
    rewrite(headers, "b3", |value| {
        let mut parts: Vec<&[u8]> = value.split(|byte| *byte == b'-').collect();
        match parts.len() {
            1 => parts = vec![b"0"],
            2 => parts.push(b"0"),
            _ => *parts.get_mut(2)? = b"0",
        }
        Some(parts.join(&b'-'))
    });
    rewrite(headers, "x-b3-sampled", |_| Some(b"0".to_vec()));
    if headers.first("x-b3-traceid").is_some() {
        headers.set("x-b3-sampled", &b"0"[..]);
    }
    headers.remove("x-b3-flags");
    // https://www.jaegertracing.io/sdk-migration/#propagation-format: `{trace}:{span}:{parent}:{flags}`.
    rewrite(headers, "uber-trace-id", |value| {
        let at = value.iter().rposition(|byte| *byte == b':')?;
        Some([value.get(..=at)?, b"0"].concat())
    });
    rewrite(headers, "x-datadog-sampling-priority", |_| Some(b"0".to_vec()));
}

/// Replaces a value; one that is of another form is removed, since it would say what nobody knows.
fn rewrite(headers: &mut HeaderMap, name: &str, new: fn(&[u8]) -> Option<Vec<u8>>) {
    let Some(value) = headers.first(name) else {
        return;
    };
    match new(value) {
        Some(value) => headers.set(name, value.as_slice()),
        None => headers.remove(name),
    }
}
