//! JSON lines keep everything.

use proptest::prelude::*;

use super::read_all;
use crate::exchange::{Downstream, Exchange, Message, Protocol};
use crate::headers::Headers;
use crate::traffic::{jsonl_schema, write_jsonl};

fn value_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~äß→🦀]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(
            any::<u8>().prop_filter("no header carries it", |b| ![0, b'\r', b'\n'].contains(b)),
            0..12
        ),
    ]
}

fn name_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z][a-z0-9_.-]{0,8}".prop_map(String::into_bytes),
        prop::collection::vec(0x80..=0xffu8, 1..4),
    ]
    .prop_filter("`host` is `:authority`", |name| name != b"host")
}

fn lines() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    prop::collection::vec((name_bytes(), value_bytes()), 0..6)
}

fn message(pseudo: Vec<(&'static str, String)>) -> impl Strategy<Value = Message> {
    (lines(), prop::collection::vec(any::<u8>(), 0..40), "\\PC{0,20}", any::<bool>(), any::<bool>(), lines())
        .prop_map(move |(lines, bytes, text, is_text, body_truncated, trailers)| {
            let mut headers: Headers = pseudo.iter().map(|(name, value)| (*name, value)).collect();
            for (name, value) in lines {
                headers.push(name, value);
            }
            let body = if is_text { text.into_bytes() } else { bytes };
            Message { headers, body, body_truncated, trailers: trailers.into_iter().collect() }
        })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let pseudo = Just(vec![":method", ":path", ":authority", ":scheme"]).prop_shuffle();
    let method = prop_oneof!["[A-Z]{1,6}", Just("CONNECT".to_owned())];
    let request = (method, "/[!-\"$-~]{0,12}", "[a-z:0-9]{1,9}", pseudo).prop_flat_map(
        |(method, path, authority, order)| {
            let value = |name: &str| match name {
                ":method" => method.clone(),
                ":path" => path.clone(),
                ":authority" => authority.clone(),
                _ => "https".to_owned(),
            };
            message(order.into_iter().map(|name| (name, value(name))).collect())
        },
    );
    let response = (100u16..1000).prop_flat_map(|status| message(vec![(":status", status.to_string())]));
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 16]>().prop_map(std::net::IpAddr::from),
    ];
    let downstream = (
        prop::option::of((address, any::<u16>())),
        prop::sample::select(vec![Protocol::Http10, Protocol::Http11, Protocol::Http2, Protocol::Http3]),
        any::<Option<u64>>(),
        any::<bool>(),
    )
        .prop_map(|(address, protocol, connection_id, tls)| Downstream {
            address: address.map(Into::into),
            protocol,
            connection_id,
            tls,
        });
    (
        "\\PC{0,12}",
        any::<Option<u64>>(),
        any::<[Option<std::time::Duration>; 2]>(),
        downstream,
        request,
        prop::option::of(response),
        prop::option::of("\\PC{0,8}"),
    )
        .prop_map(|(origin, start_ns, duration, downstream, request, response, upstream_cluster)| {
            let [duration, abort_after] = duration;
            Exchange {
                origin,
                start_ns,
                duration,
                abort_after,
                downstream,
                request,
                response,
                upstream_cluster,
            }
        })
}

proptest! {
    #[test]
    fn json_lines_are_lossless(exchanges in prop::collection::vec(exchange(), 1..4)) {
        let mut written = Vec::new();
        for exchange in &exchanges {
            write_jsonl(exchange, &mut written).unwrap();
        }
        let (read, errors) = read_all(&written);
        prop_assert_eq!(errors, Vec::<String>::new());
        prop_assert_eq!(read, exchanges);
    }
}

#[test]
fn the_schema_accepts_what_is_written_and_refuses_other_versions_of_the_form() {
    let schema = jsonschema::validator_for(&jsonl_schema()).unwrap();
    for (_, sample) in super::samples() {
        for exchange in read_all(sample.as_bytes()).0 {
            let mut line = Vec::new();
            write_jsonl(&exchange, &mut line).unwrap();
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert!(schema.is_valid(&line), "{line}");
            let mut more = line.clone();
            more["colour"] = "red".into();
            assert!(!schema.is_valid(&more), "{more}");
        }
    }
}
