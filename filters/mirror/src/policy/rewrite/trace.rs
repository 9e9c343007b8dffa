//! Trace headers of a copy: W3C, B3, Jaeger, Datadog, X-Ray, Google.

use weir_sdk::HeaderMap;

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
    rewrite(headers, "traceparent", traceparent);
    rewrite(headers, "b3", b3);
    rewrite(headers, "x-b3-sampled", no);
    if headers.first("x-b3-traceid").is_some() {
        headers.set("x-b3-sampled", &b"0"[..]);
    }
    headers.remove("x-b3-flags");
    rewrite(headers, "uber-trace-id", uber);
    rewrite(headers, "x-datadog-sampling-priority", no);
}

/// <https://www.w3.org/TR/trace-context/#traceparent-header>: version-trace-parent-flags, the last bit of the flags being `sampled`.
fn traceparent(value: &[u8]) -> Option<Vec<u8>> {
    let mut value = value.to_vec();
    let Some([high, low]) = value.get_mut(53..55) else { return None };
    if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
        return None;
    }
    high.make_ascii_lowercase();
    low.make_ascii_lowercase();
    // `0` is even, `a` is odd, as bytes.
    let letter = u8::from(low.is_ascii_lowercase());
    *low = (low.wrapping_sub(letter) & !1).wrapping_add(letter);
    Some(value)
}

/// <https://github.com/openzipkin/b3-propagation>: `{trace}-{span}-{sampled}-{parent}`, or the sampling state alone.
fn b3(value: &[u8]) -> Option<Vec<u8>> {
    let mut new = Vec::new();
    let mut dashes = 0_usize;
    for byte in value {
        let is_dash = *byte == b'-';
        dashes = dashes.wrapping_add(usize::from(is_dash));
        if is_dash || dashes != 2 {
            new.push(*byte);
            if is_dash && dashes == 2 {
                new.push(b'0');
            }
        }
    }
    match dashes {
        0 => return no(value),
        1 => new.extend_from_slice(b"-0"),
        _ => {}
    }
    Some(new)
}

/// <https://www.jaegertracing.io/sdk-migration/#propagation-format>: `{trace}:{span}:{parent}:{flags}`.
fn uber(mut value: &[u8]) -> Option<Vec<u8>> {
    while let [before @ .., last] = value {
        if *last == b':' {
            return Some([value, b"0"].concat());
        }
        value = before;
    }
    None
}

fn no(_: &[u8]) -> Option<Vec<u8>> {
    Some(b"0".to_vec())
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
