//! Configurations and requests that nobody wrote: by a filter's JSON Schema, near the configurations of its cases, and of words that both
//! sides know. Pure and seeded; knows no filter.

use serde_json::{Map, Value};
use weir_harness::clock::Random;
use weir_harness::exchange::{Exchange, Message};

/// Words that mean something somewhere: durations, matchers, paths, times, names. A configuration of random letters is refused at once.
const WORDS: &[&str] = &[
    "",
    "/",
    "/a",
    "/a/b?c=d&e",
    "*",
    "a",
    "b",
    "jack",
    "v1",
    "v2",
    "x-a",
    "x-b",
    "end-user",
    "cookie",
    ":path",
    ":authority",
    "host",
    "content-type",
    "upstream",
    "shadow",
    "collector",
    "nowhere",
    "1ms",
    "20ms",
    "250ms",
    "1s",
    "7s",
    "5m",
    "2h",
    "9999d",
    "0s",
    "-1s",
    "10.0.0.0/8",
    "::/0",
    "127.0.0.1",
    "a|b",
    "^/a.*$",
    "(",
    "[a-z]+@[a-z]+",
    "2026-01-01T00:00:00Z",
    "2025-12-31T23:59:59.5+01:00",
    "items[*].a",
    "**.password",
    "user.name",
    "application/json",
    "{\"a\": 1}",
    "weir.test",
    "GET",
    "POST",
    "50",
    "\u{e9}\u{1f980}",
    "a\u{0}b",
    "a\r\nb",
    "%41%zz",
];

/// Numbers at which something ends.
const NUMBERS: &[i64] = &[
    0,
    1,
    2,
    3,
    5,
    7,
    10,
    16,
    17,
    32,
    50,
    64,
    99,
    100,
    101,
    128,
    199,
    200,
    204,
    304,
    404,
    503,
    599,
    600,
    1000,
    4096,
    65_536,
    1 << 20,
    1 << 31,
    1 << 32,
    1 << 40,
    i64::MAX,
    -1,
    i64::MIN,
];

const FRACTIONS: &[f64] = &[0.0, 0.0001, 0.5, 1.0, 12.5, 50.0, 99.9999, 100.0, 100.1, -0.1, 1e300, 1e-300];

/// Makes configurations after a schema.
#[derive(Debug)]
pub struct Configurations<'a> {
    schema: &'a Value,
    /// Configurations that mean something, to stay near.
    seeds: &'a [Value],
}

impl<'a> Configurations<'a> {
    /// After this schema, near these.
    #[must_use]
    pub fn new(schema: &'a Value, seeds: &'a [Value]) -> Self {
        Self { schema, seeds }
    }

    /// One: half of them anew, the others a seed with some places changed.
    pub fn next(&self, dice: &mut Dice) -> Value {
        match dice.pick(self.seeds).filter(|_| dice.one_in(2) || dice.one_in(2)) {
            Some(seed) => {
                let mut value = seed.clone();
                for _ in 0..dice.below(4) {
                    self.change(&mut value, self.schema, dice, 0);
                }
                value
            }
            None => self.make(self.schema, dice, 0),
        }
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let name = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
        name.map_or(schema, |name| &self.schema["$defs"][name])
    }

    /// The schemas that a value may have.
    fn variants(schema: &'a Value) -> Option<&'a Vec<Value>> {
        schema["oneOf"].as_array().or(schema["anyOf"].as_array())
    }

    fn make(&self, schema: &'a Value, dice: &mut Dice, depth: u32) -> Value {
        let schema = self.resolve(schema);
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(value) = schema["enum"].as_array().and_then(|values| dice.pick(values)) {
            return value.clone();
        }
        if let Some(variant) = Self::variants(schema).and_then(|variants| dice.pick(variants)) {
            return self.make(variant, dice, depth);
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => dice.pick(kinds).and_then(Value::as_str),
            kind => kind.as_str(),
        };
        match kind {
            Some("object") => self.object(schema, dice, depth),
            Some("array") => {
                let most = if depth > 6 { 1 } else { 3 };
                let least = schema["minItems"].as_u64().unwrap_or(0);
                let count = least.max(dice.below(most + 1));
                (0..count).map(|_| self.make(&schema["items"], dice, depth + 1)).collect()
            }
            Some("integer") => dice.pick(NUMBERS).map_or(Value::Null, |number| Value::from(*number)),
            Some("number") if dice.one_in(2) => {
                dice.pick(FRACTIONS).map_or(Value::Null, |number| Value::from(*number))
            }
            Some("number") => Value::from(dice.below(101)),
            Some("boolean") => Value::from(dice.one_in(2)),
            Some("null") => Value::Null,
            _ => Value::from(dice.word()),
        }
    }

    fn object(&self, schema: &'a Value, dice: &mut Dice, depth: u32) -> Value {
        let required = |name: &str| {
            schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
        };
        let mut fields = Map::new();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            if required(name) || (depth < 8 && dice.one_in(u64::from(depth) + 3)) {
                fields.insert(name.clone(), self.make(field, dice, depth + 1));
            }
        }
        if schema["additionalProperties"].is_object() {
            for _ in 0..dice.below(3) {
                fields.insert(dice.word(), self.make(&schema["additionalProperties"], dice, depth + 1));
            }
        }
        Value::Object(fields)
    }

    /// Makes some place of a value anew.
    fn change(&self, value: &mut Value, schema: &'a Value, dice: &mut Dice, depth: u32) {
        let schema = self.resolve(schema);
        if let Some(variants) = Self::variants(schema) {
            let fits = |variant: &&'a Value| self.fits(value, self.resolve(variant));
            match variants.iter().find(fits) {
                Some(variant) if !dice.one_in(4) => self.change(value, variant, dice, depth),
                _ => *value = self.make(schema, dice, depth),
            }
            return;
        }
        let known = &schema["properties"];
        match value {
            Value::Object(fields) if known.is_object() && !dice.one_in(8) => {
                let names: Vec<&String> =
                    known.as_object().into_iter().flatten().map(|(name, _)| name).collect();
                let Some(name) = dice.pick(&names) else { return };
                match fields.get_mut(*name) {
                    Some(_) if dice.one_in(6) => {
                        fields.remove(*name);
                    }
                    Some(field) => self.change(field, &known[*name], dice, depth + 1),
                    None => {
                        fields.insert((*name).clone(), self.make(&known[*name], dice, depth + 1));
                    }
                }
            }
            Value::Array(items) if !items.is_empty() && !dice.one_in(8) => {
                let at = dice.below(items.len() as u64) as usize;
                match dice.below(5) {
                    0 => drop(items.remove(at)),
                    1 => items.push(items[at].clone()),
                    _ => self.change(&mut items[at], &schema["items"], dice, depth + 1),
                }
            }
            _ => *value = self.make(schema, dice, depth),
        }
    }

    /// Whether a value is of a variant: by its only key, or by its kind.
    fn fits(&self, value: &Value, variant: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                let known = variant["properties"].as_object();
                known.is_some_and(|known| fields.keys().all(|name| known.contains_key(name)))
            }
            Value::Array(_) => variant["type"] == "array",
            Value::String(text) => variant["const"] == *text || variant["type"] == "string",
            Value::Number(_) => variant["type"] == "number" || variant["type"] == "integer",
            Value::Bool(_) => variant["type"] == "boolean",
            Value::Null => variant["type"] == "null",
        }
    }
}

/// All texts of a configuration, names too: what requests should be made of, so that they meet its conditions.
#[must_use]
pub fn words(config: &Value) -> Vec<String> {
    match config {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::Object(fields) => fields.values().flat_map(words).collect(),
        Value::Number(number) => vec![number.to_string()],
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

/// A request and the recorded answer to it, of these words and of any others.
pub fn exchange(known: &[String], dice: &mut Dice) -> Exchange {
    let mut request = Message::default();
    let method = *dice
        .pick(&["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH"])
        .unwrap_or(&"GET");
    request.headers.push(":method", method);
    let path = if dice.one_in(2) {
        "/".to_owned()
    } else {
        format!("/{}?{}={}", dice.of(known), dice.of(known), dice.of(known))
    };
    request.headers.push(":path", path.replace([' ', '\r', '\n', '\0', '#'], ""));
    request.headers.push(":authority", "example.com");
    request.headers.push(":scheme", "http");
    fill(&mut request, known, dice);
    let mut response = Message::default();
    let status =
        *dice.pick(&["200", "200", "200", "204", "301", "404", "429", "500", "503"]).unwrap_or(&"200");
    response.headers.push(":status", status);
    fill(&mut response, known, dice);
    Exchange { origin: "generated".to_owned(), request, response: Some(response), ..Exchange::default() }
}

fn fill(message: &mut Message, known: &[String], dice: &mut Dice) {
    for _ in 0..dice.below(6) {
        let name = dice.of(known).to_ascii_lowercase();
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_name
            && !matches!(
                name.as_str(),
                "connection" | "transfer-encoding" | "content-length" | "host" | "upgrade"
            )
        {
            let mut value = dice.of(known).into_bytes();
            if dice.one_in(6) {
                value.extend([0xff, 0xc3, 0x28]);
            }
            value.retain(|byte| !b"\r\n\0".contains(byte));
            message.headers.push(name, value);
        }
    }
    let kinds = [
        "application/json",
        "application/grpc",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ];
    if dice.one_in(3) {
        message.headers.push("content-type", *dice.pick(&kinds).unwrap_or(&kinds[0]));
    }
    message.body = match dice.below(8) {
        0..4 => Vec::new(),
        4 => br#"{"a": [1, {"password": "secret", "b": null}], "card": "4111 1111 1111 1111"}"#.to_vec(),
        5 => vec![b'['; 5000],
        6 => (0..dice.below(3000)).map(|_| dice.below(256) as u8).collect(),
        _ => format!("{}={}&{}", dice.of(known), dice.of(known), dice.of(known)).into_bytes(),
    };
    if dice.one_in(8) {
        message.trailers.push("x-checksum", "1");
    }
}

/// Seeded choices.
#[derive(Debug)]
pub struct Dice(Random);

impl Dice {
    /// The same choices for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A number below `limit`; 0 for 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64().checked_rem(limit).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of them; none of none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len() as u64) as usize)
    }

    fn word(&mut self) -> String {
        self.pick(WORDS).map(|word| (*word).to_owned()).unwrap_or_default()
    }

    /// A word of these, mostly.
    fn of(&mut self, known: &[String]) -> String {
        match self.pick(known).cloned() {
            Some(word) if !self.one_in(4) => word,
            _ => self.word(),
        }
    }
}
