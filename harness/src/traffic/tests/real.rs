//! What exporters really write.

use super::{STREAMED, har_entry, paths, read_all, samples, tap_trace};
use crate::exchange::{Exchange, Protocol};
use crate::traffic::{Options, open, read, write_jsonl};

#[test]
fn every_format_is_found_and_whole() {
    for (format, sample) in samples() {
        for sample in [
            sample.clone(),
            format!("\u{feff}{sample}"),
            sample.replace('\n', "\r\n"),
            format!("\n\n{sample}\n"),
        ] {
            let recording = read("r", std::io::Cursor::new(sample.clone()), &Options::default()).unwrap();
            assert_eq!(recording.format(), format);
            let (exchanges, errors) = read_all(sample.as_bytes());
            assert_eq!(
                (paths(&exchanges), errors),
                (vec!["/1".into(), "/2".into(), "/3".into()], vec![]),
                "{format}"
            );
        }
    }
}

/// The only exchange of a HAR with this entry, as a JSON line without version and origin.
#[track_caller]
fn check(entry: &str, want: &str) {
    let (exchanges, errors) = read_all(format!(r#"{{"log":{{"entries":[{entry}]}}}}"#).as_bytes());
    assert_eq!(errors, Vec::<String>::new());
    let mut line = Vec::new();
    for exchange in exchanges {
        let exchange = Exchange { origin: String::new(), ..exchange };
        write_jsonl(&exchange, &mut line).unwrap();
    }
    assert_eq!(String::from_utf8(line).unwrap().trim_end().replace(r#"{"weir":1,"origin":"","#, "{"), want);
}

#[test]
fn hars_of_browsers() {
    // HTTP/2 with the cookies apart; the body is decoded, so its coding is gone and its length is right.
    check(
        &har_entry(1),
        r#"{"start_ns":1795435218001000000,"duration_ns":1500000,"downstream":{"protocol":"HTTP/2","tls":true},"request":{"headers":[[":authority","h"],[":path","/1"],[":method","GET"],[":scheme","https"],["accept","*/*"],["cookie","a=b"]]},"response":{"headers":[[":status","200"],["content-length","2"]],"body":"hi"}}"#,
    );
    // Aborted: no answer. Connection headers belong to the connection.
    check(
        r#"{"connection":"c1","serverIPAddress":"","request":{"method":"GET","url":"http://u:p@h:8080?q=ä b","httpVersion":"","headers":[{"name":"Host","value":"h:8080"},{"name":"Connection","value":"keep-alive"},{"name":"TE","value":"gzip"}]},"response":{"status":0,"headers":[],"content":{}},"timings":{"blocked":-1,"wait":2,"ssl":9},"time":null,"_x":[{}]}"#,
        r#"{"duration_ns":2000000,"downstream":{"protocol":"HTTP/1.1","connection_id":622199369613600857},"request":{"headers":[[":authority","h:8080"],[":path","/?q=%C3%A4%20b"],[":method","GET"],[":scheme","http"]]}}"#,
    );
    // A form, given as params; an answer without its body; pseudo headers as lines; a cookie set, apart.
    check(
        r#"{"request":{"method":"POST","url":"https://h/login","httpVersion":"http/2+quic/46","headers":[{"name":":method","value":"POST"},{"name":":path","value":"/login?x"},{"name":":authority","value":"h"},{"name":":scheme","value":"https"}],"postData":{"mimeType":"application/x-www-form-urlencoded","params":[{"name":"user","value":"j k"},{"name":"p","value":"%C3ä&"}]}},"response":{"status":"302","headers":[],"cookies":[{"name":"s","value":"1","path":"/","httpOnly":true,"secure":false}],"content":{"size":12}}}"#,
        r#"{"downstream":{"protocol":"HTTP/3","tls":true},"request":{"headers":[[":method","POST"],[":path","/login?x"],[":authority","h"],[":scheme","https"],["content-type","application/x-www-form-urlencoded"]],"body":"user=j+k&p=%C3%C3%A4%26"},"response":{"headers":[[":status","302"],["set-cookie","s=1; Path=/; HttpOnly"]],"body_truncated":true}}"#,
    );
    // An upgrade keeps its connection headers; several values of one name, as Chrome writes them.
    check(
        r#"{"request":{"method":"GET","url":"wss://h/ws","headers":[{"name":"Connection","value":"Upgrade"},{"name":"Upgrade","value":"websocket"}]},"response":{"status":101,"headers":[{"name":"set-cookie","value":"a=1\nb=2"}]}}"#,
        r#"{"downstream":{"protocol":"HTTP/1.1","tls":true},"request":{"headers":[[":authority","h"],[":path","/ws"],[":method","GET"],[":scheme","https"],["connection","Upgrade"],["upgrade","websocket"]]},"response":{"headers":[[":status","101"],["set-cookie","a=1"],["set-cookie","b=2"]]}}"#,
    );
}

#[test]
fn what_was_never_sent_is_left_out() {
    let local = har_entry(2).replace("https://h/2#f", "data:text/plain,x");
    let har = format!(r#"{{"log":{{"entries":[{},{local}]}}}}"#, har_entry(1));
    let mut recording = read("r", std::io::Cursor::new(har), &Options::default()).unwrap();
    assert_eq!(recording.by_ref().map(Result::unwrap).count(), 1);
    assert_eq!(
        recording.take_notes(),
        ["`r`: entries that were never sent (`data:`, `blob:` …) are left out"]
    );
}

#[test]
fn a_trace_that_is_streamed_is_put_together() {
    let (exchanges, _) = read_all(samples()[STREAMED].1.as_bytes());
    let exchange = &exchanges[1];
    assert_eq!(exchange.origin, "r: trace 6");
    assert_eq!(exchange.request.body, b"ab");
    let response = exchange.response.as_ref().unwrap();
    assert_eq!(response.trailers.get(b"t"), Some(b"v".as_slice()));
    assert_eq!(exchange.downstream.protocol, Protocol::Http11);
}

#[test]
fn a_folder_is_read_in_the_order_of_time_and_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    for (name, n) in [("b", 3), ("c", 1), ("d", 2)] {
        write(name, &tap_trace(n));
    }
    write(".hidden", "x");
    write("a.md", "no recording");
    write("z", &samples().pop().unwrap().1);
    std::fs::create_dir(folder.path().join("deeper")).unwrap();
    let mut recording = open(folder.path(), &Options::default()).unwrap();
    let said: Vec<String> = recording
        .by_ref()
        .map(|item| match item {
            Ok(exchange) => exchange.origin,
            Err(error) => error.to_string().rsplit('/').next().unwrap().chars().take(18).collect(),
        })
        .collect();
    let want = [
        "a.md` is text that",
        "z: line 1",
        "z: line 2",
        "z: line 3",
        "c: trace 1",
        "d: trace 1",
        "b: trace 1",
    ];
    assert_eq!(said, want);
    assert_eq!(recording.size(), Some(recording.position()));
}

#[test]
fn files_that_are_not_there() {
    let error = open("no/such/file.har".as_ref(), &Options::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read `no/such/file.har`: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path(), &Options::default()).unwrap_err().to_string();
    assert!(error.ends_with("is an empty folder: expected recordings in it"), "{error}");
}

#[test]
fn an_authority_may_be_given() {
    let log = "{\"method\":\"GET\",\"path\":\"/\"}\n";
    let options = Options { authority: Some("a.example".into()), ..Options::default() };
    let exchange = read("r", std::io::Cursor::new(log), &options).unwrap().next().unwrap().unwrap();
    assert_eq!(exchange.request.headers.get(b":authority"), Some(b"a.example".as_slice()));
}
