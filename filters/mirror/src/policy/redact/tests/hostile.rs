//! Generated copies in which a secret stands where it must not be told, in every way the formats allow: it is never told. Documents without
//! one stay what they were; no bytes make it panic.

use serde_json::{Value, json};

use super::super::*;
use super::{copy, redactor};

/// Copies per format. `HOSTILE=200000` tries more.
fn rounds() -> u64 {
    std::env::var("HOSTILE").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(500)
}

/// What must not be told. No part of it stands in anything else.
const SECRET: &str = "Zq7-jX k9\"Qw";

/// Seeded choices (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn likely(&mut self) -> bool {
        self.below(3) > 0
    }
}

/// A JSON string with escapes wherever they are allowed.
fn json_text(dice: &mut Dice, text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match dice.below(3) {
            0 if (char as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", char as u32)),
            1 if (char as u32) < 0x10000 => out.push_str(&format!("\\u{:04X}", char as u32)),
            _ if matches!(char, '"' | '\\') => out.extend(['\\', char]),
            _ if (char as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", char as u32)),
            _ if char == '/' && dice.likely() => out.push_str("\\/"),
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

/// Some other spelling of a key that a server may take for the same.
fn spelled(dice: &mut Dice, key: &str) -> String {
    let cased: String =
        key.chars().map(|char| if dice.below(3) == 0 { char.to_ascii_uppercase() } else { char }).collect();
    match dice.below(8) {
        0 => cased.replace('s', "\u{17f}"),
        1 => format!(" {cased}\u{200b}"),
        _ => cased,
    }
}

/// Percent-encoded, not always, sometimes several times.
fn percent(dice: &mut Dice, text: &str, must: &str) -> String {
    let mut out = text.to_owned();
    for _ in 0..1 + dice.below(2) {
        out = out
            .bytes()
            .map(|byte| {
                let plain =
                    byte.is_ascii_alphanumeric() || (b"-._~".contains(&byte) && !must.contains(byte as char));
                if plain && dice.likely() { char::from(byte).to_string() } else { format!("%{byte:02x}") }
            })
            .collect();
    }
    out
}

fn space(dice: &mut Dice) -> &'static str {
    dice.one(&["", "", " ", "\n", "\t\r\n "])
}

/// A value without the secret.
fn harmless(dice: &mut Dice, depth: usize) -> String {
    match dice.below(if depth == 0 { 5 } else { 7 }) {
        0 => dice.one(&["0", "-1.50e+3", "12345678901234567890.001", "1E40"]).to_owned(),
        1 => dice.one(&["true", "false", "null"]).to_owned(),
        2..=4 => {
            let text = dice.one(&[
                "",
                "hello",
                "[draft]",
                "50% off & more",
                "a=b;c",
                "{}",
                "é😀\u{1}",
                "https://x/?q=1",
            ]);
            json_text(dice, text)
        }
        5 => {
            let items: Vec<String> = (0..dice.below(4)).map(|_| harmless(dice, depth - 1)).collect();
            format!("[{}{}]", space(dice), items.join(","))
        }
        _ => {
            let names = ["a", "b", "user", "items", "a", "x y"];
            let members: Vec<String> = (0..dice.below(4))
                .map(|_| {
                    let name = dice.one(&names);
                    format!(
                        "{}{}:{}{}",
                        space(dice),
                        json_text(dice, name),
                        space(dice),
                        harmless(dice, depth - 1)
                    )
                })
                .collect();
            format!("{{{}{}}}", members.join(","), space(dice))
        }
    }
}

/// The secret as the value of a redacted key, within arrays, objects and strings that are JSON.
fn with_secret(dice: &mut Dice, depth: usize) -> String {
    match dice.below(if depth == 0 { 1 } else { 5 }) {
        0 => {
            let secret = match dice.below(3) {
                0 => json_text(dice, SECRET),
                1 => format!("[{},{}]", harmless(dice, 1), json_text(dice, SECRET)),
                _ => format!("{{{}:{}}}", json_text(dice, SECRET), json_text(dice, SECRET)),
            };
            let key = spelled(dice, "password");
            let (before, after) = (harmless(dice, 1), harmless(dice, 1));
            let again = if dice.below(4) == 0 { "\"password\":1," } else { "" };
            format!(
                "{{\"a\":{before},{again}{}{}:{secret},\"b\":{after}}}",
                space(dice),
                json_text(dice, &key)
            )
        }
        1 => format!("[{},{}]", harmless(dice, 2), with_secret(dice, depth - 1)),
        2 => format!("{{\"user\":{},\"user\":{}}}", with_secret(dice, depth - 1), harmless(dice, 1)),
        3 => {
            // Within at most three strings: more are refused, which the loop counts as not told.
            let inner = with_secret(dice, depth - 1);
            json_text(dice, &inner)
        }
        _ => format!("{{\"x\":{}}}", with_secret(dice, depth - 1)),
    }
}

/// Everything that can be read out of a text that may be encoded many times over.
fn told(text: &str) -> bool {
    let mut texts = vec![text.to_owned()];
    for _ in 0..7 {
        let mut next = Vec::new();
        for text in &texts {
            let squeezed = text.replace('\\', "");
            if [text, &squeezed].iter().any(|text| text.contains("Zq7") || text.contains("k9\"Qw")) {
                return true;
            }
            let plain = String::from_utf8_lossy(&percent::decode(text.as_bytes(), true)).into_owned();
            let mut unescaped = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("\\u") {
                unescaped.push_str(before);
                match after
                    .get(..4)
                    .and_then(|unit| u32::from_str_radix(unit, 16).ok())
                    .and_then(char::from_u32)
                {
                    Some(char) => {
                        unescaped.push(char);
                        rest = &after[4..];
                    }
                    None => rest = after,
                }
            }
            unescaped.push_str(rest);
            let doubled = text.replace("\\\\", "\\");
            next.extend([plain, unescaped, doubled].into_iter().filter(|new| new != text));
        }
        next.sort();
        next.dedup();
        texts = next;
    }
    false
}

#[track_caller]
fn never_told(redactor: &Redactor, mut copy: Copy) -> bool {
    let before = copy.clone();
    let sent = redactor.apply(&mut copy).is_ok();
    let blocks = copy.headers.iter().chain(copy.trailers.iter());
    let lines = blocks.map(|(name, value)| [name, b": ", value].concat());
    for bytes in lines.chain([copy.body.clone()]) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(
            !told(&text),
            "told in {text}\nof {}\n{:?}",
            String::from_utf8_lossy(&before.body),
            before.headers
        );
    }
    sent
}

#[test]
fn secrets_in_json_are_never_told() {
    let redactor = redactor(&json!({"json": [{"path": "**.password"}]}));
    let kind = [("content-type", "application/json")];
    let mut sent = 0;
    for seed in 0..rounds() {
        let dice = &mut Dice(seed);
        let body = with_secret(dice, 4);
        assert!(serde_json::from_str::<Value>(&body).is_ok(), "the generator writes JSON: {body}");
        sent += u64::from(never_told(&redactor, copy(&kind, body)));
    }
    assert!(sent > rounds() / 2, "{sent} of {} were sent at all", rounds());
}

#[test]
fn broken_json_is_never_told() {
    let redactor = redactor(&json!({"json": [{"path": "**.password"}]}));
    let kind = [("content-type", "application/json")];
    for seed in 0..rounds() {
        let dice = &mut Dice(seed ^ 0x5eed);
        let mut body = with_secret(dice, 3).into_bytes();
        for _ in 0..=dice.below(3) {
            if body.is_empty() {
                break;
            }
            let at = dice.below(body.len());
            match dice.below(4) {
                0 => body[at] = dice.below(256) as u8,
                1 => drop(body.remove(at)),
                2 => body.insert(at, b"\"\\{}[]:,u0 \xff"[dice.below(12)]),
                _ => body.truncate(at.max(1)),
            }
        }
        // A changed byte may make another key of it, or another secret.
        let sane = String::from_utf8_lossy(&body).contains("password");
        if serde_json::from_slice::<Value>(&body).is_err() && sane {
            never_told(&redactor, copy(&kind, body));
        }
    }
}

#[test]
fn secrets_in_parameters_are_never_told() {
    let rules = json!({"query": [{"key": "password"}], "form": [{"key": "password"}], "patterns": [{"find": {"email": {}}}]});
    let redactor = redactor(&rules);
    for seed in 0..rounds() {
        let dice = &mut Dice(seed);
        let key = spelled(dice, "password");
        let shape = dice.one(&["@", "@", "user[@]", "@[]", "@[0][x]", "user.@"]).replace('@', &key);
        let pair = format!("{}={}", percent(dice, &shape, ""), percent(dice, SECRET, "&"));
        let noise = dice.one(&["a=1", "b", "", "password=", "=x", "c=%zz"]);
        let separator = dice.one(&["&", "&", "&&", ";"]);
        let query = match dice.below(3) {
            0 => pair.clone(),
            1 => format!("{noise}{separator}{pair}"),
            _ => format!("{pair}&{noise}"),
        };
        let inner = percent(dice, &format!("https://x/cb?{query}"), "&=?");
        let path = match dice.below(3) {
            0 => format!("/login?{query}"),
            1 => format!("/login?next={inner}"),
            _ => format!("/a;{pair}"),
        };
        let referer = format!("https://x/{}?{query}", dice.one(&["", "a/b"]));
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let copy = copy(
            &[kind, (":path", &path), ("referer", &referer), ("location", &format!("/#{query}"))],
            query,
        );
        assert!(never_told(&redactor, copy), "{path}");
    }
}

#[test]
fn cards_are_never_told() {
    let redactor = redactor(&json!({"patterns": [{"find": {"card_number": {}}}]}));
    for seed in 0..rounds() {
        let dice = &mut Dice(seed);
        let mut card = dice
            .one(&["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117"])
            .to_owned();
        let gap = dice.one(&["", " ", "-", ".", "\u{a0}", " - "]);
        for at in [12, 8, 4] {
            card.insert_str(at, gap);
        }
        let text =
            format!("{}{card}{}", dice.one(&["", "card: ", "x", "12 "]), dice.one(&["", ".", " 12/27", "€"]));
        let body = format!("{{\"note\":{}}}", json_text(dice, &text));
        let path = format!("/pay/{}?c={}", percent(dice, &text, "."), percent(dice, &text, "."));
        let mut copy =
            copy(&[("content-type", "application/json"), (":path", &path), ("x-note", &text)], body.clone());
        redactor.apply(&mut copy).unwrap();
        let said = format!("{} {:?}", String::from_utf8_lossy(&copy.body), copy.headers);
        let mut digits: String = said.replace("\\u00", "").chars().filter(char::is_ascii_digit).collect();
        for _ in 0..3 {
            digits = String::from_utf8_lossy(&percent::decode(digits.as_bytes(), true)).into_owned();
        }
        for number in ["411111111111", "555555554444", "82246310005", "111111117"] {
            assert!(!digits.contains(number), "{said}\nof {body} {path}");
        }
    }
}

#[test]
fn what_holds_no_secret_stays_what_it_was() {
    let redactor = redactor(
        &json!({"json": [{"path": "**.password"}], "form": [{"key": "password"}], "query": [{"key": "password"}],
        "patterns": [{"find": {"credentials": {}}}]}),
    );
    for seed in 0..rounds() {
        let dice = &mut Dice(seed);
        let body = harmless(dice, 4);
        let before = copy(
            &[
                ("content-type", "application/json"),
                (":path", "/a?b=%20+c&d;e#f"),
                ("referer", "https://x/?a=%41"),
            ],
            body,
        );
        let mut after = before.clone();
        assert_eq!(
            redactor.apply(&mut after),
            Ok(Redacted::default()),
            "{}",
            String::from_utf8_lossy(&before.body)
        );
        assert_eq!(after, before);
    }
}

#[test]
fn what_is_not_redacted_keeps_its_value() {
    let redactor = redactor(&json!({"json": [{"path": "**.password", "action": "DROP"}]}));
    for seed in 0..rounds() {
        let dice = &mut Dice(seed);
        let (one, other) = (harmless(dice, 3), harmless(dice, 3));
        let body = format!("{{\"one\":{one},\"password\":1,\"other\":[{other}]}}");
        let mut copy = copy(&[("content-type", "application/json")], body);
        redactor.apply(&mut copy).unwrap();
        let expected = format!("{{\"one\":{one},\"other\":[{other}]}}");
        let told = String::from_utf8(copy.body).unwrap();
        assert_eq!(crate::policy::json::compact(&told), crate::policy::json::compact(&expected));
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let all = json!({
        "hash_key": "0123456789abcdef", "cookies": [{"name": "a", "action": "HASH"}, {"name": "*", "action": "KEEP"}],
        "query": [{"key": "a", "action": "DROP"}, {"key": "b", "action": "MASK"}], "form": [{"key": "a", "action": "HASH"}],
        "path_segments": [{"after": "a", "action": "DROP"}], "json": [{"path": "a", "action": "DROP"}, {"path": "**[*].b", "action": "HASH"}],
        "patterns": [{"find": {"card_number": {}}, "action": "MASK"}, {"find": {"email": {}}, "action": "DROP"}, {"find": {"credentials": {}}},
            {"find": {"regex": "[a-z]+[0-9]"}, "action": "HASH"}],
        "text_types": ["text/plain"]
    });
    let redactor = redactor(&all);
    let kinds = [
        "application/json",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=B",
        "text/plain",
    ];
    let words: [&[u8]; 30] = [
        b"a",
        b"b",
        b"=",
        b"&",
        b";",
        b"?",
        b"%",
        b"%61",
        b"%25",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b":",
        b",",
        b"\\u0061",
        b"\\",
        b"--B",
        b"\r\n",
        b"@x.com",
        b"4111111111111111",
        b"Bearer ",
        b"eyJ",
        b"//",
        b"\xff",
        b"\xef\xb7\x90",
        b" ",
        b"content-disposition: form-data; name=\"a\"",
        b"/",
    ];
    for seed in 0..rounds() {
        let dice = &mut Dice(seed);
        let mut text =
            || (0..dice.below(24)).flat_map(|_| words[dice.below(words.len())].to_vec()).collect::<Vec<u8>>();
        let (path, cookie, header, body) = (text(), text(), text(), text());
        let mut copy = copy(&[("content-type", kinds[seed as usize % kinds.len()])], body);
        copy.headers.push(":path", path);
        copy.headers.push("cookie", &cookie);
        copy.headers.push("set-cookie", cookie);
        copy.trailers.push("x", header);
        let _ = redactor.apply(&mut copy);
    }
}

#[test]
fn hostile_sizes_cost_bounded_work() {
    let redactor = redactor(
        &json!({"json": [{"path": "**.a.**.b.**.c"}], "form": [{"key": "password"}], "query": [{"key": "password"}],
        "patterns": [{"find": {"card_number": {}}}, {"find": {"email": {}}}, {"find": {"credentials": {}}}], "text_types": ["text/plain"]}),
    );
    let shapes = [
        "[", "{\"a\":", "\"", "\\", "%25", "%", "=", "a=", ";", "&", "//", "@", "a@", "bearer ", "basic",
        "e.", "eyJ.", "4", "4 ", "\"{", "(", "?a%3d",
    ];
    let kinds = ["application/json", "application/x-www-form-urlencoded", "text/plain"];
    for shape in shapes {
        let text = shape.repeat(40_000 / shape.len());
        for kind in kinds {
            let quoted = json!(text).to_string();
            for body in [text.clone(), quoted] {
                let _ = redactor
                    .apply(&mut copy(&[("content-type", kind), (":path", &text), ("x", &text)], body));
            }
        }
    }
}
