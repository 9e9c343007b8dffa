//! The engine against `regex-lite`, and what each of the syntax means.

use proptest::prelude::*;

use super::Regex;

/// Where the first match begins and ends, then its groups.
fn found(expression: &str, text: &str, start: usize) -> Option<Vec<Option<usize>>> {
    let regex = Regex::new(expression).unwrap();
    let mut places = vec![None; 2 * (regex.groups() + 1)];
    regex.find_at(text, start, &mut places).then_some(places)
}

fn check(expression: &str, text: &str, expected: Option<&str>) {
    let found = found(expression, text, 0).map(|places| &text[places[0].unwrap()..places[1].unwrap()]);
    assert_eq!(found, expected, "{expression} in {text:?}");
}

#[test]
fn leftmost_and_preferred_first() {
    check("a|ab", "xab", Some("a"));
    check("ab|a", "xab", Some("ab"));
    check("a*", "xaa", Some(""));
    check("a+", "xaa", Some("aa"));
    check("a+?", "xaa", Some("a"));
    check("(?U)a+", "xaa", Some("a"));
    check("(?U)a+?", "xaa", Some("aa"));
    check("a{2,3}", "aaaa", Some("aaa"));
    check("a{2,3}?", "aaaa", Some("aa"));
    check("a{2,}", "aaaa", Some("aaaa"));
    check("a{2}", "a", None);
    check("a{0}b", "ab", Some("b"));
    check("(?:ab|c)+d", "xcabcd", Some("cabcd"));
}

#[test]
fn characters_and_classes() {
    check(".", "\né", Some("é"));
    check("(?s).", "\né", Some("\n"));
    check("[^a]", "aé", Some("é"));
    check("[]a]+", "x]a]", Some("]a]"));
    check("[a-c-]+", "x-b", Some("-b"));
    check("[a\\-c]+", "b-c", Some("-c"));
    check("[[:^digit:]x]+", "12ab", Some("ab"));
    check("[\\D]", "1\u{10ffff}", Some("\u{10ffff}"));
    check("(?i)[b-y]É", "Bé BÉ", Some("BÉ"));
    check("(?i)[^b]", "Bx", Some("x"));
    check("(?i:a)b", "AB Ab", Some("Ab"));
    check("\\x41\\x{1f600}", "A😀", Some("A😀"));
    check("\\.\\/\\-\\<\\_", "./-<_", Some("./-<_"));
    check("a{,2}[[&&]", "a{,2}&", Some("a{,2}&"));
    check("(?x) a \\  # a comment\n [ ] b", "a  b", Some("a  b"));
    check("\\s", "\u{0b}\u{0c}", Some("\u{0c}"));
}

#[test]
fn assertions() {
    check("^b", "a\nb", None);
    check("(?m)^b$", "a\nb\nc", Some("b"));
    check("b$", "b\n", None);
    check("\\Aa\\z", "a", Some("a"));
    check("\\bb\\b", "ab éb", Some("b"));
    check("\\Bb", "b ab", Some("b"));
    assert_eq!(found("^a", "aa", 1), None);
    assert_eq!(found("\\ba", "aa", 1), None);
}

#[test]
fn groups() {
    let places = found("(a)|(?P<last>b)(?:c)(?<x>)", "xbc", 0);
    assert_eq!(places, Some(vec![Some(1), Some(3), None, None, Some(1), Some(2), Some(3), Some(3)]));
    assert_eq!(found("(a|b)*", "ab", 0), Some(vec![Some(0), Some(2), Some(1), Some(2)]));
}

#[test]
fn whole_texts() {
    let matches = |expression: &str, text: &str| Regex::new(expression).unwrap().matches(text);
    assert!(matches("a|ab", "ab") && matches("", "") && matches("a*?", "aa") && matches("(?s).*", "a\n"));
    assert!(!matches("a|b", "ab") && !matches("b", "ab") && !matches("", "a") && !matches("a$", "a\n"));
    assert!(!matches("(a*)*b", &"a".repeat(20_000)));
}

#[test]
fn what_is_refused() {
    let cases = [
        ("a(b", "a group has no closing `)`"),
        ("a)b", "a `)` closes no group at the end of `a)`"),
        ("(?=a)", "this kind of group is not known; look-around is not supported at the end of `(?=`"),
        ("(?<!a)", "this kind of group is not known; look-around is not supported at the end of `(?<!`"),
        ("(?-)", "this kind of group is not known; look-around is not supported"),
        ("(?i", "a group has no closing `)`"),
        (
            "(?P<a b>c)",
            "expected a name of a group, of ASCII letters, digits and `_`, and `>` at the end of `(?P<a `",
        ),
        ("[a", "a class has no closing `]`"),
        ("[]", "a class has no closing `]`"),
        ("[b-a]c", "a range ends before it begins, or at a class at the end of `[b-a`"),
        ("[a-\\d]c", "a range ends before it begins, or at a class at the end of `[a-\\d`"),
        ("[[:letter:]]", "expected a class such as `[:alpha:]` at the end of `[[:`"),
        (
            "[\\b]",
            "this escape is not known; back-references and classes of Unicode are not supported at the end of `[\\b`",
        ),
        (
            "\\p{L}",
            "this escape is not known; back-references and classes of Unicode are not supported at the end of `\\p`",
        ),
        ("(a)\\1", "this escape is not known; back-references and classes of Unicode are not supported"),
        ("\\x{110000}", "expected a character's number in hexadecimal digits"),
        ("\\x{}", "expected a character's number in hexadecimal digits"),
        ("\\x{d800}", "expected a character's number in hexadecimal digits"),
        ("\\x4", "expected a character's number in hexadecimal digits"),
        ("a\\", "a backslash at the end"),
        ("*a", "there is nothing to repeat at the end of `*`"),
        ("a|+", "there is nothing to repeat"),
        ("a{2,1}", "the most is below the least"),
        ("a{1001}", "more than 1000 repetitions"),
        ("a{1,99999999999999999999}", "more than 1000 repetitions"),
        ("(a{1000}){1000}b", "it is too large when compiled at the end of `(a{1000}){1000}`"),
    ];
    for (expression, expected) in cases {
        assert_eq!(Regex::new(expression).err().as_deref(), Some(expected), "{expression}");
    }
    assert!(Regex::new(&"a".repeat(1024)).is_ok() && Regex::new(&"a".repeat(1025)).is_err());
    assert!(Regex::new(&["(".repeat(50), ")".repeat(50)].concat()).is_ok());
    let error = Regex::new(&["(".repeat(51), ")".repeat(51)].concat()).err();
    assert!(error.is_some_and(|error| error.starts_with("groups within more than 50 groups")));
}

/// Parts of expressions that mean the same to `regex-lite`.
const PARTS: [&str; 43] = [
    "a",
    "b",
    "A",
    "é",
    "1",
    "_",
    "-",
    ".",
    "\\n",
    "\\d",
    "\\D",
    "\\w",
    "\\W",
    "\\S",
    "[ab]",
    "[^a-c]",
    "[[:alpha:]_é]",
    "[[:^alpha:]]",
    "[\\d\\-a-b]",
    "[^\\W]",
    "(",
    "(",
    "(?:",
    "(?i:",
    ")",
    ")",
    ")",
    "|",
    "|",
    "*",
    "+",
    "?",
    "{2}",
    "{0,2}",
    "{1,}",
    "^",
    "$",
    "\\b",
    "\\B",
    "(?i)a",
    "(?s-i).",
    "(?m)^",
    "(?U)b",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn as_regex_lite(
        parts in prop::collection::vec(prop::sample::select(PARTS.as_slice()), 1..12),
        text in "[abABcé1_ \n-]{0,12}",
    ) {
        // Brackets that are open are closed: most expressions are some.
        let mut expression = String::new();
        let mut open = 0usize;
        for part in parts {
            match part {
                ")" if open == 0 => continue,
                ")" => open -= 1,
                "(" | "(?:" | "(?i:" => open += 1,
                _ => {}
            }
            expression.push_str(part);
        }
        expression.push_str(&")".repeat(open));
        let ours = Regex::new(&expression);
        let theirs = regex_lite::Regex::new(&expression);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {:?} {:?}", expression, ours, theirs);
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { return Ok(()) };
        prop_assert_eq!(ours.groups() + 1, theirs.captures_len());
        let mut start = 0;
        while start <= text.len() {
            let mut places = vec![None; 2 * (ours.groups() + 1)];
            let is_match = ours.find_at(&text, start, &mut places);
            let expected = theirs.captures_at(&text, start);
            prop_assert_eq!(is_match, expected.is_some(), "{} in {:?} from {}", expression, text, start);
            if let Some(expected) = expected {
                let expected: Vec<_> = (0..expected.len())
                    .flat_map(|group| {
                        let group = expected.get(group);
                        [group.map(|group| group.start()), group.map(|group| group.end())]
                    })
                    .collect();
                prop_assert_eq!(places, expected, "{} in {:?} from {}", expression, text, start);
            }
            start += text[start..].chars().next().map_or(1, char::len_utf8);
        }
        let whole = regex_lite::Regex::new(&format!("^(?:{expression})$")).unwrap();
        prop_assert_eq!(ours.matches(&text), whole.is_match(&text), "{} is {:?}", expression, text);
    }
}
