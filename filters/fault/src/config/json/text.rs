//! Values as JSON text: as serde_json writes them, objects by the names of their members.

use weir_sdk::config::Node;

/// Appends a value.
pub(super) fn push(out: &mut String, node: &Node) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Unsigned(value) => out.push_str(&value.to_string()),
        Node::Negative(value) => out.push_str(&value.to_string()),
        Node::Float(value) => push_float(out, *value),
        Node::Text(text) => push_string(out, text),
        Node::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push(out, item);
            }
            out.push(']');
        }
        Node::Object(fields) => {
            out.push('{');
            for (index, (name, value)) in sorted(fields).into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_string(out, name);
                out.push(':');
                push(out, value);
            }
            out.push('}');
        }
    }
}

/// The fields of an object by their names. They are few: each goes to its place.
pub(super) fn sorted(fields: &[(String, Node)]) -> Vec<&(String, Node)> {
    let mut sorted: Vec<&(String, Node)> = Vec::with_capacity(fields.len());
    for field in fields {
        let place = sorted.iter().filter(|(name, _)| *name < field.0).count();
        sorted.insert(place, field);
    }
    sorted
}

/// Appends a string with its quotes.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..' ' => {
                out.push_str(if char < '\u{10}' { "\\u000" } else { "\\u001" });
                out.extend(char::from_digit(u32::from(char) & 0xf, 16));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
}

/// Most digits of a number; no float needs more.
const DIGITS: i32 = 17;

/// Appends a float with as few digits as it is read back from, without the tables of the code that prints any float.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "digits are below 10^18, and no more than the float has"
)]
fn push_float(out: &mut String, value: f64) {
    if value.is_sign_negative() {
        out.push('-');
    }
    let value = value.abs();
    if value == 0.0 {
        out.push_str("0.0");
        return;
    }
    // 10^point is the first power of ten above the value.
    let mut point = -323_i32;
    while point < 309 && times_power(1.0, point) <= value {
        point = point.saturating_add(1);
    }
    let (mut digits, mut exponent) = (0_u64, 0_i32);
    for count in 1..=DIGITS {
        exponent = point.saturating_sub(count);
        digits = times_power(value, exponent.saturating_neg()).round() as u64;
        if times_power(digits as f64, exponent) == value {
            break;
        }
    }
    push_decimal(out, digits, exponent);
}

/// `value` × 10^`exponent`.
fn times_power(value: f64, exponent: i32) -> f64 {
    let (mut value, mut exponent) = (value, exponent);
    // The powers of ten up to 10^308 are floats, and those up to 10^22 exact ones.
    while exponent < -308 {
        value /= 1e308;
        exponent = exponent.saturating_add(308);
    }
    while exponent > 308 {
        value *= 1e308;
        exponent = exponent.saturating_sub(308);
    }
    let scale = 10_f64.powi(exponent.saturating_abs());
    if exponent < 0 { value / scale } else { value * scale }
}

/// Appends `digits` × 10^`exponent`, with a point where that is short.
fn push_decimal(out: &mut String, digits: u64, exponent: i32) {
    let all = digits.to_string();
    let digits = all.trim_end_matches('0');
    let whole = |length: usize| i32::try_from(length).unwrap_or_default();
    let exponent = exponent.saturating_add(whole(all.len().saturating_sub(digits.len())));
    let point = whole(digits.len()).saturating_add(exponent);
    let is_plain = (-4..=16).contains(&point);
    // The point stands behind so many digits.
    let behind = if is_plain { point.max(1) } else { 1 };
    let mut written = 0_i32;
    let mut push = |digit: char| {
        if written == behind {
            out.push('.');
        }
        out.push(digit);
        written = written.saturating_add(1);
    };
    if is_plain {
        (point..1).for_each(|_| push('0'));
    }
    digits.chars().for_each(&mut push);
    if is_plain {
        // One more stands behind the point.
        (0..=exponent).for_each(|_| push('0'));
    } else {
        out.push_str(if point > 0 { "e+" } else { "e" });
        out.push_str(&i64::from(point.saturating_sub(1)).to_string());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::config::Json;

    /// As serde_json reads and writes it.
    #[track_caller]
    fn check(text: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        let json: Json = weir_sdk::parse(Some(text.as_bytes())).unwrap();
        assert_eq!(json.0, value.to_string());
    }

    #[test]
    fn values_are_written_as_serde_json_does() {
        for text in [
            "null",
            "[true, false, [], {}]",
            "0",
            "-1",
            "18446744073709551615",
            "-9223372036854775808",
            r#"{"b": {"d": 1, "c": [null]}, "a": "\u0000\u001f\b\f\n\r\t\"\\/\u00e9\ud83d\ude00"}"#,
            "0.0",
            "-0.0",
            "1.0",
            "-1.5",
            "0.1",
            "99.95",
            "1e15",
            "1e16",
            "123456789012345.6",
            "1e17",
            "1.5e300",
            "1e308",
            "0.0001",
            "0.00001",
            "0.000012345",
            "5e-324",
            "1e-300",
            "1e21",
            "1e22",
            "1e23",
            "0.3",
            "1234567.125",
        ] {
            check(text);
        }
    }

    proptest! {
        #[test]
        fn decimals_are_written_as_they_are_read(digits in 0_u64..1_000_000_000_000_000, decimals in 0_i32..22) {
            check(&format!("{digits}e-{decimals}"));
        }

        #[test]
        fn any_float_is_written_as_it_is_nearly(value in any::<f64>()) {
            prop_assume!(value.is_finite());
            let mut text = String::new();
            push_float(&mut text, value);
            let read: f64 = text.parse().unwrap();
            prop_assert!((read - value).abs() <= 1e-15 * value.abs() || (read - value).abs() <= 5e-324, "{value:e} is {text}");
        }

        #[test]
        fn any_string_is_written_as_serde_json_does(text in any::<String>()) {
            check(&Value::from(text).to_string());
        }
    }
}
