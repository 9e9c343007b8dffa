//! Our reader of JSON beside `serde_json`: the same trees, the same refusals at the same places.

use proptest::prelude::*;

use crate::config::json;
use crate::config::node::Node;

/// Both take it as the same tree, or both refuse it at the same place.
fn compare(text: &str) -> Result<(), TestCaseError> {
    match (json::parse(text), serde_json::from_str::<Node>(text)) {
        (Ok(ours), Ok(theirs)) => prop_assert!(is_same(&ours, &theirs), "{ours:?} {theirs:?}"),
        (Err(ours), Err(theirs)) => prop_assert_eq!(
            (ours.line, ours.column),
            (theirs.line(), theirs.column()),
            "{:?}: {} {}",
            text,
            ours.reason,
            theirs
        ),
        (ours, theirs) => prop_assert!(false, "{text:?}: {ours:?} {theirs:?}"),
    }
    Ok(())
}

/// Equal, but for the last digits of numbers with many.
fn is_same(ours: &Node, theirs: &Node) -> bool {
    match (ours, theirs) {
        (Node::Float(a), Node::Float(b)) => a == b || ((a - b) / b).abs() < 1e-14,
        (Node::List(a), Node::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Node::Object(a), Node::Object(b)) => {
            let is_same =
                |((a, one), (b, other)): (&(String, Node), &(String, Node))| a == b && is_same(one, other);
            a.len() == b.len() && a.iter().zip(b).all(is_same)
        }
        _ => ours == theirs,
    }
}

#[test]
fn numbers_and_strings_are_read_as_serde_json_reads_them() {
    for text in [
        "0",
        "-0",
        "-1",
        "00",
        "01",
        "-",
        "-a",
        "1.",
        "1.x",
        "1.5",
        "0.0001",
        "99.9999",
        "1e",
        "1e+",
        "1e-4",
        "1E2",
        "1e400",
        "-1e400",
        "0e999999",
        "1e-999999",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890.5e-3",
        "0.30000000000000004",
        "5e-324",
        "1.79e308",
        r#""\u00e9\ud83d\ude00\/\b\f\n\r\t\"\\""#,
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\x""#,
        r#""\ud83d\u0041""#,
        r#""\ude00""#,
        r#""\u12"#,
        r#""\u12g4""#,
        r#""\q""#,
        "\"a\nb\"",
        "\"",
        "\"é",
        "tru",
        "trux",
        "nul",
        "[1,]",
        "[1 2]",
        "[,1]",
        "{,}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\"}",
        "{\"a\":1,2}",
        "[",
        "[1",
        "[1,",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "",
        " ",
        "\n\n x",
        "1 2",
        "\u{feff}1",
    ] {
        compare(text).unwrap();
    }
}

proptest! {
    #[test]
    fn any_text_of_json_letters_is_read_as_serde_json_reads_it(text in r#"[\[\]{}:,"\\ \nnulltruefalse0-9.eE+u-]{0,24}"#) {
        compare(&text)?;
    }

    #[test]
    fn json_with_a_part_cut_out_is_read_as_serde_json_reads_it(cut in 0..200_usize, length in 0..4_usize, more in ".{0,2}") {
        const WHOLE: &str = r#"{"a": [1, -2.5e3, true, null, {"b": "c\u00e9\"\\d", "é": []}], "": {"x": false, "y": 0.25}, "z": [[[]], {}]}"#;
        let start = (0..=cut.min(WHOLE.len())).rev().find(|at| WHOLE.is_char_boundary(*at)).unwrap();
        let end = (start + length..).find(|at| *at >= WHOLE.len() || WHOLE.is_char_boundary(*at)).unwrap().min(WHOLE.len());
        compare(&[&WHOLE[..start], &more, &WHOLE[end..]].concat())?;
    }
}
