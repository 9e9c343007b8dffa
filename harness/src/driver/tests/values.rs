//! Properties, shared data, WASI.

use super::*;

fn request(code: &str) -> String {
    format!(
        "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) {code} (i32.const 0))"
    )
}

#[test]
fn prop_lookups() {
    let rows = [
        ("request\\00path", "/x?q=1"),
        ("request\\00url_path\\00", "/x"),
        ("request\\00query", "q=1"),
        ("request\\00headers\\00a", "1"),
        ("request\\00protocol", "HTTP/1.1"),
        ("source\\00address", "127.0.0.1:40000"),
        ("plugin_name", "p"),
        ("plugin_root_id", "r"),
        ("xds\\00cluster_name", "green"),
        ("xds\\00virtual_host_name", "v"),
        ("xds\\00route_metadata\\00filter_metadata\\00ns\\00a\\00b", "deep"),
        ("xds\\00node\\00id", "weir"),
        ("request", "3"),
        ("", "3"),
        ("none", "1"),
        ("route_name", "1"),
        ("response\\00code", "1"),
        ("xds\\00route_metadata\\00filter_metadata\\00ns\\00none", "1"),
    ];
    for (path, log) in rows {
        let code =
            request(&format!("(call $show (call $property \"{path}\" (i32.const 16) (i32.const 20)))"));
        check(&format!("PROP {path}"), &code, End::Forwarded, 200, log);
    }
}

#[test]
fn prop_20_set_and_read_back() {
    let code = request(
        "(call $say (call $set_property \"mine\" \"v\"))
        (call $show (call $property \"mine\" (i32.const 16) (i32.const 20)))
        (call $show (call $property \"filter_state\\00wasm.mine\" (i32.const 16) (i32.const 20)))",
    );
    let mut replay = start(vec![plugin(&code)]);
    verify("PROP-20", &replay.exchange(&exchange()), End::Forwarded, 200, "0 v v");
    let code = request("(call $show (call $property \"mine\" (i32.const 16) (i32.const 20)))");
    check("PROP-21", &code, End::Forwarded, 200, "1");
}

#[test]
fn shr_02_shared_data() {
    let code = request(
        "(call $say (call $shared \"k\" (i32.const 16) (i32.const 20) (i32.const 24)))
        (call $say (call $set_shared \"k\" \"v\" (i32.const 9)))
        (call $show (call $shared \"k\" (i32.const 16) (i32.const 20) (i32.const 24)))
        (call $say (i32.load (i32.const 24)))
        (call $say (call $set_shared \"k\" \"w\" (i32.const 9)))",
    );
    check("SHR-02", &code, End::Forwarded, 200, "1 0 v 1 8");
}

#[test]
fn foreign_functions() {
    for (name, log) in [("clear_route_cache", "0"), ("no_such", "1")] {
        let code =
            request(&format!("(call $say (call $foreign \"{name}\" \"\" (i32.const 16) (i32.const 20)))"));
        check(&format!("FF {name}"), &code, End::Forwarded, 200, log);
    }
}

#[test]
fn wasi_07_addresses_outside_are_a_status() {
    let code = request(
        "(call $say (call $add (i32.const 0) (i32.const -2) (i32.const 1) \"v\"))
        (call $say (call $add (i32.const 0) (i32.const 0) (i32.const -1) \"v\"))
        (call $say (call $get_ (i32.const 0) \"a\" (i32.const -4) (i32.const -8)))
        (call $say (call $property (i32.const 9999999) (i32.const 9) (i32.const 16) (i32.const 20)))",
    );
    check("WASI-07", &code, End::Forwarded, 200, "6 6 6 6");
}

#[test]
fn log_04_standard_output() {
    let code = request(
        "(i32.store (i32.const 48) (i32.const 4096)) (i32.store (i32.const 52) (i32.const 3))
        (call $say (call $fd_write (i32.const 1) (i32.const 48) (i32.const 1) (i32.const 40)))
        (call $say (call $fd_write (i32.const 3) (i32.const 48) (i32.const 1) (i32.const 40)))
        (drop (call $set_property \"out\" \"\"))",
    );
    check("LOG-04, WASI-03", &code, End::Forwarded, 200, "out 0 8");
}
