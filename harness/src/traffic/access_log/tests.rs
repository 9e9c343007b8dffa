//! Lines of access logs, as data.

use super::*;
use crate::traffic::{read, write_jsonl};

/// Reads a log and compares with the JSON lines it converts to, without their origin.
#[track_caller]
fn check(format: Option<&str>, log: &str, want: &[&str]) {
    let options = Options { access_log_format: format.map(str::to_owned), ..Options::default() };
    let got: Vec<String> = match read("r", std::io::Cursor::new(log.to_owned()), &options) {
        Ok(recording) => recording
            .map(|item| match item {
                Ok(mut exchange) => {
                    exchange.origin.clear();
                    let mut line = Vec::new();
                    write_jsonl(&exchange, &mut line).unwrap();
                    let line = String::from_utf8(line).unwrap();
                    line.trim_end().replace(r#"{"weir":1,"origin":"","#, "{")
                }
                Err(error) => error.to_string(),
            })
            .collect(),
        Err(error) => vec![error.to_string()],
    };
    assert_eq!(got, want);
}

#[test]
fn defaults_of_envoy_and_istio() {
    check(
        None,
        "[2026-11-23T13:00:18.247Z] \"POST /bin?x=%20 HTTP/2\" 200 - 9 5 45 1 \"10.0.0.1\" \"curl \\\"x\\\" y\" \"3be6\" \"127.0.0.1:18002\" \"127.0.0.1:18099\"\r\n",
        &[
            r#"{"start_ns":1795438818247000000,"duration_ns":45000000,"downstream":{"protocol":"HTTP/2"},"request":{"headers":[[":authority","127.0.0.1:18002"],[":path","/bin?x=%20"],[":method","POST"],[":scheme","http"],["x-forwarded-for","10.0.0.1"],["user-agent","curl \\\"x\\\" y"],["x-request-id","3be6"]],"body_truncated":true},"response":{"headers":[[":status","200"],["x-envoy-upstream-service-time","1"]],"body_truncated":true}}"#,
        ],
    );
    check(
        None,
        r#"[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-" "curl/7.73.0-DEV" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin.foo.svc.cluster.local default
"#,
        &[
            r#"{"start_ns":1606339578409000000,"duration_ns":4000000,"downstream":{"address":"10.44.1.23:37652","protocol":"HTTP/1.1","tls":true},"request":{"headers":[[":authority","httpbin:8000"],[":path","/status/418"],[":method","GET"],[":scheme","https"],["user-agent","curl/7.73.0-DEV"],["x-request-id","84961386-6d84-929d-98bd-c5aee93b5c88"]]},"response":{"headers":[[":status","418"],["x-envoy-upstream-service-time","4"]],"body_truncated":true},"upstream_cluster":"inbound|8000||"}"#,
        ],
    );
}

#[test]
fn given_formats() {
    check(
        Some(
            "%START_TIME(%s.%3f)% %REQ(:METHOD):4% %REQ(:SCHEME)%://%REQ(:AUTHORITY)%%PATH(NQ)% 100%% %NEW_OPERATOR(x)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %CONNECTION_ID%\\n",
        ),
        "1522796769.123 GET https://a.example/x 100% whatever it says 2001:db8::1 7\n",
        &[
            r#"{"start_ns":1522796769123000000,"downstream":{"address":"[2001:db8::1]:0","protocol":"HTTP/1.1","connection_id":7,"tls":true},"request":{"headers":[[":authority","a.example"],[":path","/x"],[":method","GET"],[":scheme","https"]]}}"#,
        ],
    );
    check(
        Some(
            r#"{"m": "%REQ(:METHOD)%", "in": {"where": "%REQ(:AUTHORITY)% %REQ(:PATH)%"}, "c": "%RESPONSE_CODE%", "v": "x"}"#,
        ),
        "{\"m\":\"GET\",\"in\":{\"where\":\"a /b\"},\"c\":204,\"v\":\"x\"}\n",
        &[
            r#"{"request":{"headers":[[":authority","a"],[":path","/b"],[":method","GET"],[":scheme","http"]]},"response":{"headers":[[":status","204"]]}}"#,
        ],
    );
    for (format, want) in [
        ("plain", "access log format: there is no operator such as `%REQ(:PATH)%` in it"),
        ("%REQ%", "access log format: `%REQ%`: `%REQ%` needs a header's name"),
        ("%REQ(:PATH%", "access log format: `%REQ(:PATH%`: the `(` is never closed"),
        ("%PROTOCOL", "access log format: `%PROTOCOL`: the operator is not closed with `%`"),
        (
            "50% of it",
            "access log format: `% of it`: expected an operator such as `%PROTOCOL%`, or `%%` for a percent sign",
        ),
        (
            "%START_TIME(%Q)%",
            "access log format: `%START_TIME(%Q)%`: `%Q` is a time specifier that is not read",
        ),
    ] {
        check(Some(format), "x\n", &[want]);
    }
}

#[test]
fn json_logs() {
    check(
        None,
        r#"{"authority":"h","bytes_received":0,"bytes_sent":"6","downstream_remote_address":"127.0.0.1:49170","duration":2,"flags":"-","method":"GET","nothing":null,"path":"/a?x=1","protocol":"HTTP/1.1","requested_server_name":null,"response_code":200,"start_time":"2026-11-23T13:00:18.009Z","upstream_cluster":"be","user_agent":"curl","x_forwarded_for":"1.2.3.4","end-user":"jack","colour":"red"}
"#,
        &[
            r#"{"start_ns":1795438818009000000,"duration_ns":2000000,"downstream":{"address":"127.0.0.1:49170","protocol":"HTTP/1.1"},"request":{"headers":[[":authority","h"],[":path","/a?x=1"],[":method","GET"],[":scheme","http"],["end-user","jack"],["user-agent","curl"],["x-forwarded-for","1.2.3.4"]]},"response":{"headers":[[":status","200"]],"body_truncated":true},"upstream_cluster":"be"}"#,
        ],
    );
}

#[test]
fn unread_keys_are_noted_once() {
    let log = "{\"method\":\"GET\",\"path\":\"/\",\"host\":\"h\",\"colour\":\"red\"}\n".repeat(3);
    let mut recording = read("r", std::io::Cursor::new(log), &Options::default()).unwrap();
    assert_eq!(recording.by_ref().filter(Result::is_ok).count(), 3);
    assert_eq!(recording.take_notes(), ["`r`: `colour` of the log is not read"]);
}

#[test]
fn lines_without_a_request() {
    let good = r#"[2026-11-23T13:00:18.247Z] "GET / HTTP/1.1" 200 - 0 0 1 - "-" "-" "-" "h" "-""#;
    let refused = r#"[2026-11-23T13:00:18.247Z] "- - HTTP/1.1" 400 DPE 0 11 0 - "-" "-" "-" "-" "-""#;
    let want = r#"{"start_ns":1795438818247000000,"duration_ns":1000000,"request":{"headers":[[":authority","h"],[":path","/"],[":method","GET"],[":scheme","http"]]},"response":{"headers":[[":status","200"]]}}"#;
    check(
        None,
        &format!("{refused}\nrubbish\n\n{good}\n{}", &good[..40]),
        &[
            "`r`: line 1: has no request: Envoy logged neither method nor path (response flags: DPE)",
            "`r`: line 2: `rubbish` … is not in the log's format",
            want,
            "`r`: line 5: the recording is cut off here",
        ],
    );
}

#[test]
fn keys_and_values_as_loggers_write_them() {
    let want = r#"{"request":{"headers":[[":authority","h"],[":path","/asked?x"],[":method","GET"],[":scheme","http"],["user-agent","u"]]},"response":{"headers":[[":status","200"]]}}"#;
    for log in [
        r#"{"requestMethod":"GET","requestUrl":"http://h/asked?x","userAgent":"u","status":200}"#,
        r#"{"REQ(:METHOD)":"GET","%REQ(:PATH)%":"/asked?x","REQ(USER-AGENT)":"u","host":"h","RESPONSE_CODE":"200","duration":"-"}"#,
        r#"{"request":"GET /asked?x HTTP/1.1","x-envoy-original-path":null,"User-Agent":"u","Host":"h","status_code":200}"#,
        r#"{"method":"GET","path":"/rewritten","x_envoy_original_path":"/asked?x","user_agent":"u","authority":"h","http":{"response_code":200}}"#,
    ] {
        check(None, log, &[want]);
    }
    // `omit_empty_values` leaves nothing where there is nothing.
    check(
        Some(
            "%REQ(:METHOD)% %REQ(:AUTHORITY)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %DURATION% %REQ(USER-AGENT)% %RESPONSE_FLAGS%",
        ),
        "GET h /asked?x  200  u \n",
        &[want],
    );
}
