//! What is said about broken recordings: one clear error for each fault, and everything whole still delivered.

use std::io::Read as _;

use super::{STREAMED, har_entry, paths, read_all, samples, streamed_trace, tap_trace};
use crate::traffic::{Options, Recording, read};

/// What is whole by its path, and the errors.
#[track_caller]
fn check(recording: impl AsRef<[u8]>, whole: &[&str], errors: &[&str]) {
    let (exchanges, got) = read_all(recording.as_ref());
    assert_eq!(
        (paths(&exchanges).iter().map(String::as_str).collect::<Vec<_>>(), got),
        (whole.to_vec(), errors.iter().map(|e| (*e).to_owned()).collect())
    );
}

fn har(entries: &[String]) -> String {
    format!(r#"{{"log":{{"version":"1.2","entries":[{}]}}}}"#, entries.join(","))
}

const ACCEPTED: &str = "expected HAR, Envoy's HTTP tap as JSON, an Envoy access log, or Weir's JSON lines";

#[test]
fn no_recordings() {
    check("", &[], &[&format!("`r` is empty: {ACCEPTED}")]);
    check(" \r\n\t\n", &[], &[&format!("`r` is empty: {ACCEPTED}")]);
    check("\u{feff}", &[], &[&format!("`r` is empty: {ACCEPTED}")]);
    check(
        [0xff, 0xfe, b'{', 0],
        &[],
        &["`r` is UTF-16: expected UTF-8; convert it with `iconv -f UTF-16 -t UTF-8`"],
    );
    check(b"PK\x03\x04", &[], &["`r` is a zip archive: unpack it first"]);
    check(
        [0x28, 0xb5, 0x2f, 0xfd, 1],
        &[],
        &["`r` is compressed with zstd: give it as `zstd -dc FILE | weir replay … -`"],
    );
    check(
        b"\n\x9c\x01\n\x80\0",
        &[],
        &[
            "`r` is binary: expected text; of an Envoy tap, use the format JSON_BODY_AS_BYTES instead of PROTO_BINARY",
        ],
    );
    check(
        "http_buffered_trace {\n",
        &[],
        &["`r` is an Envoy tap in PROTO_TEXT: use the format JSON_BODY_AS_BYTES"],
    );
    check(
        "<html>hello</html>",
        &[],
        &[&format!(
            "`r` is text that begins with `<html>hello</html>`: {ACCEPTED}; an access log of another format needs its format string"
        )],
    );
    check(
        r#"{"a": 1, "b": {"weir": 1}}"#,
        &[],
        &[&format!(
            "`r` is JSON with `a`, `b`: {ACCEPTED}; an access log of another format needs its format string"
        )],
    );
    check(
        "[]",
        &[],
        &[&format!(
            "`r` is text that begins with `[]`: {ACCEPTED}; an access log of another format needs its format string"
        )],
    );
}

#[test]
fn broken_hars() {
    let broken = |from: &str, to: &str| {
        let entry = har_entry(2);
        assert!(entry.contains(from));
        har(&[har_entry(1), entry.replacen(from, to, 1), har_entry(3)])
    };
    let both = ["/1", "/3"];
    check(har(&[]), &[], &[]);
    check(r#"{"log":{"version":"1.2"}}"#, &[], &["`r`: before the first entry: there is no `log.entries`"]);
    check(r#"{"log":{"entries":{}}}"#, &[], &["`r`: before the first entry: expected `[`, found `{`"]);
    check(
        broken(r#""url":"https://h/2#f","#, ""),
        &both,
        &["`r`: entry 2: `request`: `:authority` is missing, and there is no `host`"],
    );
    check(
        broken("https://h/2#f", "/2"),
        &both,
        &["`r`: entry 2: `request`: `:authority` is missing, and there is no `host`"],
    );
    check(broken(r#""method":"GET","#, ""), &both, &["`r`: entry 2: `request`: `:method` is missing"]);
    check(
        broken(r#""method":"GET""#, r#""method":"G T""#),
        &both,
        &["`r`: entry 2: `request`: `:method` is `G T`: expected a word such as `GET`"],
    );
    check(
        broken("\"https://h/2#f\"", "[]"),
        &both,
        &["`r`: entry 2: `request.url`: expected a string, found a list"],
    );
    check(broken("\"Accept\"", "null"), &both, &["`r`: entry 2: `request.headers[0].name` is missing"]);
    check(
        broken("\"*/*\"", r#""a\u0000b""#),
        &both,
        &["`r`: entry 2: `request`: header `accept`: its value contains a NUL, which no header can carry"],
    );
    check(
        broken("aGk=", "a*"),
        &both,
        &["`r`: entry 2: `response.content.text`: not base64: Invalid symbol 42, offset 1."],
    );
    check(
        broken(r#""encoding":"base64""#, r#""encoding":"rot13""#),
        &both,
        &["`r`: entry 2: `response.content.encoding` is `rot13`: expected `base64`, or none"],
    );
    check(
        broken("\"status\":200", "\"status\":2000"),
        &both,
        &["`r`: entry 2: `response`: `:status` is `2000`: expected a number from 100 to 999"],
    );
    check(
        broken("2026-11-23T", "yesterday "),
        &both,
        &[
            "`r`: entry 2: `startedDateTime` is `yesterday 13:00:18.002+01:00`: expected a time such as `2026-01-31T12:00:00.000Z`",
        ],
    );
    check(broken("\"time\":1.5", "\"time\":1.5.5"), &both, &["`r`: entry 2: expected `,` or `}`"]);
    check(
        har(&[har_entry(1), "7".into(), har_entry(3)]),
        &both,
        &["`r`: entry 2: expected an object, found a number"],
    );
    check(
        har(&[har_entry(1), "{]".into(), har_entry(3)]),
        &["/1"],
        &["`r`: entry 2: expected a value, found `]`"],
    );
    let whole = har(&[har_entry(1), har_entry(2)]);
    check(&whole[..whole.len() - 40], &["/1"], &["`r`: entry 2: the recording is cut off here"]);
    check(&whole[..whole.len() - 3], &["/1", "/2"], &["`r`: entry 3: the recording is cut off here"]);
    check(&whole[..whole.len() - 1], &["/1", "/2"], &["`r`: entry 2: the recording is cut off here"]);
    check(format!("{whole}\n{whole}"), &["/1", "/2", "/1", "/2"], &[]);
    check(format!("{whole} x"), &["/1", "/2"], &["`r`: entry 2: expected `{`, found `x`"]);
}

#[test]
fn broken_taps() {
    let [one, two, three] = [1, 2, 3].map(tap_trace);
    let both = ["/1", "/3"];
    let cut = &two[..two.len() / 2];
    check(
        format!("{one}\n{cut}\n{three}\n"),
        &both,
        &["`r`: trace 2: is cut off: the next one begins before it ends"],
    );
    check(format!("{one}\n{cut}"), &["/1"], &["`r`: trace 2: the recording is cut off here"]);
    check(format!("{one}\nrubbish]\n{three}"), &both, &["`r`: trace 2: expected value"]);
    check(
        format!("{one}\n{}\n{three}", two.replace("as_bytes\": \"", "as_bytes\": \"*")),
        &both,
        &["`r`: trace 2: `request.body.as_bytes`: not base64: Invalid symbol 42, offset 0."],
    );
    check(
        format!("{one}\n{}\n{three}", two.replace(":path", "path")),
        &both,
        &["`r`: trace 2: `request.headers`: `:path` is missing"],
    );
    check(
        format!("{one}\n{}\n{three}", two.replace("MjAw", "MjA=")),
        &both,
        &["`r`: trace 2: `response.headers`: `:status` is `20`: expected a number from 100 to 999"],
    );
    check(
        format!("{one}\n{{\"socket_buffered_trace\": {{}}}}\n{three}"),
        &both,
        &[
            "`r`: trace 2: is a trace of a transport socket: only those of the HTTP tap filter can be replayed",
        ],
    );
    let orphans: Vec<String> = streamed_trace(2).split_inclusive('\n').skip(1).map(str::to_owned).collect();
    let streamed = streamed_trace(1) + &orphans.concat() + &streamed_trace(3);
    check(
        streamed,
        &both,
        &[
            "`r`: trace 6: is a segment of trace 2 without its request headers before it: segments of one trace must follow one another; \
           record with `streaming: false`, or one file a trace",
        ],
    );
    check(
        streamed_trace(1).replace("\"as_string\": \"b\"", "\"as_string\": \"b") + &streamed_trace(3),
        &["/3"],
        &[
            "`r`: trace 1: is streamed, and one of its segments may be the one that cannot be read; it is left out",
            "`r`: trace 3: is cut off: the next one begins before it ends",
            "`r`: trace 4: is a segment of trace 1 without its request headers before it: segments of one trace must follow one \
             another; record with `streaming: false`, or one file a trace",
        ],
    );
}

#[test]
fn broken_json_lines() {
    let good = r#"{"weir":1,"request":{"headers":[[":method","GET"],[":path","/1"],[":authority","h"]]}}"#;
    let with = |line: &str| format!("{good}\r\n\n{line}\n{good}");
    let twice = ["/1", "/1"];
    check(
        with(&good.replace("\"weir\":1", "\"weir\":2")),
        &twice,
        &["`r`: line 3: `weir` is 2: this release reads version 1"],
    );
    check(
        with(&good.replace("\"weir\":1", "\"weir\":\"next\",\"new\":0")),
        &twice,
        &["`r`: line 3: `weir` is \"next\": this release reads version 1"],
    );
    check(
        with(&good.replace("\"weir\":1,", "")),
        &twice,
        &["`r`: line 3: `weir` is missing: expected `\"weir\": 1`"],
    );
    check(with("{\"weir\":1}"), &twice, &["`r`: line 3: column 10: missing field `request`"]);
    check(
        with(&good.replace("\"request\"", "\"requests\"")),
        &twice,
        &[
            "`r`: line 3: column 20: unknown field `requests`, expected one of `weir`, `origin`, `start_ns`, `duration_ns`, `abort_after_ns`, `downstream`, `request`, `response`, `upstream_cluster`",
        ],
    );
    check(
        with(&good.replace("\"h\"", "{\"base64\":\"*\"}")),
        &twice,
        &["`r`: line 3: column 93: `base64`: Invalid symbol 42, offset 0."],
    );
    check(
        with(&good.replace("\"h\"", "{\"hex\":\"00\"}")),
        &twice,
        &["`r`: line 3: column 91: unknown field `hex`, expected only `base64`"],
    );
    check(
        with(&good.replace("\"h\"", "7")),
        &twice,
        &["`r`: line 3: column 80: invalid type: integer `7`, expected a string or {\"base64\": …}"],
    );
    check(
        with(&good.replace("\"h\"", "\"a\\nb\"")),
        &twice,
        &[
            "`r`: line 3: `request.headers`: header `:authority`: its value contains a line feed, which no header can carry",
        ],
    );
    check(
        with(&good.replace(",[\":path\",\"/1\"]", "")),
        &twice,
        &["`r`: line 3: `request.headers`: `:path` is missing"],
    );
    check(with("rubbish"), &twice, &["`r`: line 3: expected an object"]);
    check(format!("{good}\n{}", &good[..30]), &["/1"], &["`r`: line 2: the recording is cut off here"]);
}

#[test]
fn the_first_may_be_the_broken_one() {
    let [one, two] = [1, 2].map(tap_trace);
    check(format!("rubbish\n{two}"), &["/2"], &["`r`: trace 1: expected value"]);
    check(
        format!("{}\n{two}", &one[..20]),
        &["/2"],
        &["`r`: trace 1: is cut off: the next one begins before it ends"],
    );
    let line = r#"{"weir":1,"request":{"headers":[[":method","GET"],[":path","/2"],[":authority","h"]]}}"#;
    check(format!("{}\n{line}", &line[50..]), &["/2"], &["`r`: line 1: expected an object"]);
    check(format!("{{\n{line}"), &["/2"], &["`r`: line 1: column 1: EOF while parsing an object"]);
}

#[test]
fn damaged_gzip() {
    use std::io::Write as _;
    let (_, sample) = samples().pop().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(sample.repeat(50).as_bytes()).unwrap();
    let whole = gzip.finish().unwrap();
    assert_eq!(read_all(&whole).0.len(), 150);
    assert_eq!(read_all(&whole).1, Vec::<String>::new());
    assert_eq!(read_all(&[whole.clone(), whole.clone()].concat()).0.len(), 300);
    let (exchanges, errors) = read_all(&whole[..whole.len() - 4]);
    assert_eq!(
        (exchanges.len(), errors),
        (150, vec!["`r`: line 151: the recording is cut off here".to_owned()])
    );
}

#[test]
fn too_long_entries_are_left_out() {
    for (index, (format, sample)) in samples().into_iter().enumerate() {
        if index == STREAMED {
            continue;
        }
        let name = if format == "tap" { "x" } else { "padding" };
        let padding = "y".repeat(5000);
        let long = sample.replacen("GET", &format!("GET{name}{padding}"), 2).replacen(
            &format!("GET{name}{padding}"),
            "GET",
            1,
        );
        let mut recording = Recording::new(&Options::default());
        recording.begin("r", "r", Box::new(std::io::Cursor::new(long)), 2000).unwrap();
        let (whole, errors): (Vec<_>, Vec<_>) = recording.partition(Result::is_ok);
        let errors: Vec<String> = errors.into_iter().map(|error| error.unwrap_err().to_string()).collect();
        assert_eq!(
            errors.first().map(|error| error.contains("is longer than 2000 bytes")),
            Some(true),
            "{format}: {errors:?}"
        );
        let whole: Vec<_> = whole.into_iter().flatten().collect();
        assert_eq!(
            (paths(&whole).first().unwrap().as_str(), paths(&whole).last().unwrap().as_str()),
            ("/1", "/3"),
            "{format}"
        );
    }
}

#[test]
fn errors_of_the_source_end_the_recording() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    const MESSAGE: &str = "cannot read `r`: the disk is gone";
    for times in [1, 200] {
        for (format, sample) in samples() {
            let sample = std::io::Cursor::new(sample.repeat(times));
            let mut items: Vec<_> = read("r", sample.chain(Failing), &Options::default()).unwrap().collect();
            assert_eq!(items.pop().unwrap().unwrap_err().to_string(), MESSAGE, "{format}");
        }
    }
    assert_eq!(read("r", Failing, &Options::default()).unwrap_err().to_string(), MESSAGE);
}
