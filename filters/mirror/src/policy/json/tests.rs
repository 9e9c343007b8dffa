//! Tokens as data.

use super::*;

/// The tokens as text: written again without space, or why not.
fn read(mut tokens: Tokens<'_>) -> Result<String, Broken> {
    let mut out = String::new();
    while let Some(token) = tokens.next()? {
        match token {
            Token::Object => out.push('{'),
            Token::Array => out.push('['),
            Token::End => out.push('^'),
            Token::Key(key) => out.push_str(&format!("{:?}:", key.decode())),
            Token::Text(text) => out.push_str(&format!("{:?} ", text.decode())),
            Token::Number(text) | Token::Literal(text) => out.push_str(&format!("{text} ")),
        }
    }
    Ok(out)
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(read(Tokens::new(text)).as_deref(), Ok(expected), "{text}");
    assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
}

#[test]
fn documents_are_read() {
    check("{}", "{^");
    check(" [ ] ", "[^");
    check(r#"{"a":1,"b":[true,false,null]}"#, r#"{"a":1 "b":[true false null ^^"#);
    check("-0.5e+10", "-0.5e+10 ");
    check(r#""\u0070\ud83d\ude00\n\/""#, "\"p😀\\n/\" ");
    check(r#"{"a":{"a":{}},"a":[[]]}"#, r#"{"a":{"a":{^^"a":[[^^^"#);
    check("123456789012345678901234567890.000", "123456789012345678901234567890.000 ");
}

#[test]
fn what_is_no_json_is_refused() {
    let broken = [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "[1 2]",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "NaN",
        "Infinity",
        "tru",
        "\"",
        "\"\n\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\u0041\"",
        "[1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "1 2",
        "{} {}",
        "[1]]",
        "// x\n1",
        "\u{feff}{}",
        "{\"a\":1 \"b\":2}",
        "[,1]",
        "{,}",
        "\u{a0}1",
        "nul",
    ];
    for text in broken {
        assert_eq!(read(Tokens::new(text)), Err(Broken::Syntax), "{text:?}");
    }
}

#[test]
fn depth_costs_a_bounded_stack() {
    let deep = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(read(Tokens::new(&deep(MAX_DEPTH))).is_ok());
    assert_eq!(read(Tokens::new(&deep(MAX_DEPTH + 1))), Err(Broken::Depth));
    assert_eq!(read(Tokens::new(&"[".repeat(100_000))), Err(Broken::Depth));
    assert_eq!(read(Tokens::new(&"{\"a\":".repeat(100_000))), Err(Broken::Depth));
}

#[test]
fn lines_are_documents() {
    assert_eq!(read(Tokens::of_lines("{}\n[1]\r\n2\n")).as_deref(), Ok("{^[1 ^2 "));
    assert_eq!(read(Tokens::of_lines("{}[]")), Err(Broken::Syntax));
    assert_eq!(read(Tokens::of_lines("1 2")), Err(Broken::Syntax));
}

#[test]
fn strings_are_written_as_they_are_read() {
    for text in ["", "a\"b\\c", "\u{1f}\n\r\t\u{8}", "é😀\u{2028}"] {
        let mut out = Vec::new();
        push_string(&mut out, text);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        let mut tokens = Tokens::new(&out);
        assert!(matches!(tokens.next(), Ok(Some(Token::Text(read))) if read.decode() == text));
    }
}
