//! A hand-written filter that does one row of a test for each request: what the row calls, and what it was told of it. A request's `x-row` is the
//! number of its row; when as many calls have ended as the row waits for, the stream is answered with everything that was said since the last
//! answer, so that what comes after a stream is gone is in the next one's.

use std::fmt::Write as _;

/// What a row does, and when it is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// What it does in the request's headers, as WAT.
    pub(crate) first: String,
    /// How many calls it waits for.
    pub(crate) waits_for: u32,
    /// What it does when it was told something: the name of what, and WAT that may use `$token`.
    pub(crate) then: Vec<(&'static str, String)>,
}

/// Texts of a module, and the code that uses them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(Vec<u8>);

impl Texts {
    /// Address and length of a text, as two constants.
    pub(crate) fn at(&mut self, text: impl AsRef<[u8]>) -> String {
        let text = text.as_ref();
        let at = self.0.windows(text.len().max(1)).position(|found| found == text).unwrap_or_else(|| {
            self.0.extend_from_slice(text);
            self.0.len() - text.len()
        });
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    fn data(&self) -> String {
        self.0.iter().fold(String::new(), |mut all, byte| {
            let _ = write!(all, "\\{byte:02x}");
            all
        })
    }
}

/// A map in the ABI's form.
pub(crate) fn pairs(lines: &[(&str, &str)]) -> Vec<u8> {
    let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = word(lines.len()).to_vec();
    for (name, value) in lines {
        out.extend(word(name.len()));
        out.extend(word(value.len()));
    }
    for (name, value) in lines {
        out.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    out
}

/// What rows are told, and the parameters of the callback behind the token.
const EVENTS: [&str; 5] = ["http", "initial", "receive", "trailing", "close"];

/// The module. Below 32 KiB stand the texts, from 32 KiB on results of hostcalls, from 64 KiB on what was said, from 128 KiB on what hosts
/// allocate, which is given back when a row begins.
pub(crate) fn module(rows: &[Row], mut texts: Texts) -> String {
    let x_row = texts.at("x-row");
    let words = ["http", "initial", "receive", "trailing", "close", "status", ";", "=", " ", "…"];
    let words = words.map(|word| texts.at(word));
    let word = |name: &str| {
        let all = ["http", "initial", "receive", "trailing", "close", "status", ";", "=", " ", "…"];
        let place = all.iter().position(|word| *word == name).unwrap_or_default();
        format!("(call $put {})", words[place])
    };
    let mut firsts = String::new();
    let mut hooks = String::new();
    for event in EVENTS {
        let mut body = String::new();
        for (number, row) in rows.iter().enumerate() {
            for (_, code) in row.then.iter().filter(|(name, _)| *name == event) {
                let _ = write!(body, "(if (i32.eq (global.get $row) (i32.const {number})) (then {code}))");
            }
        }
        let _ = writeln!(hooks, "(func $then_{event} (param $token i32) {body})");
    }
    for (number, row) in rows.iter().enumerate() {
        let _ = writeln!(
            firsts,
            "(if (i32.eq (global.get $row) (i32.const {number})) (then (global.set $open (i32.const {})) {}))",
            row.waits_for, row.first
        );
    }
    format!(
        r#"(module
    (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_call" (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
    (import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
    (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $map (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_status" (func $get_status (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 8)
    (data (i32.const 0) "{data}")
    (global $row (mut i32) (i32.const -1))
    (global $open (mut i32) (i32.const 0))
    (global $stream (mut i32) (i32.const 0))
    (global $said (mut i32) (i32.const 65536))
    (global $free (mut i32) (i32.const 131072))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32)
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get 0) (i32.const 15)) (i32.const -16)))))
    (func $put (param i32 i32)
        (memory.copy (global.get $said) (local.get 0) (local.get 1))
        (global.set $said (i32.add (global.get $said) (local.get 1))))
    (func $digits (param i32)
        (if (i32.ge_u (local.get 0) (i32.const 10)) (then (call $digits (i32.div_u (local.get 0) (i32.const 10)))))
        (i32.store8 (global.get $said) (i32.add (i32.const 48) (i32.rem_u (local.get 0) (i32.const 10))))
        (global.set $said (i32.add (global.get $said) (i32.const 1))))
    (func $number (param i32) {space} (call $digits (local.get 0)))
    ;; The kind of a token: h, c or s, and i of none.
    (func $kind (param i32)
        {space}
        (i32.store8 (global.get $said) (i32.load8_u (i32.add (i32.const 32760) (i32.and (local.get 0) (i32.const 3)))))
        (global.set $said (i32.add (global.get $said) (i32.const 1))))
    (data (i32.const 32760) "hcs?")
    ;; What a hostcall has put at 32768, if it has.
    (func $shown (param i32)
        (if (i32.eqz (local.get 0)) (then (call $put (i32.load (i32.const 32768)) (i32.load (i32.const 32772))))
            (else (call $number (local.get 0)))))
    (func $show_status
        {space} {status}
        (drop (call $get_status (i32.const 32776) (i32.const 32768) (i32.const 32772)))
        (call $number (i32.load (i32.const 32776)))
        {space}
        (call $put (i32.load (i32.const 32768)) (i32.load (i32.const 32772))))
    ;; All lines of a map but for the value of x-envoy-upstream-service-time, which has 29 letters.
    (func $show_map (param $map i32) (local $at i32) (local $count i32) (local $index i32) (local $size i32)
        (if (call $map (local.get $map) (i32.const 32768) (i32.const 32772)) (then (return)))
        (if (i32.eqz (i32.load (i32.const 32772))) (then (return)))
        (local.set $at (i32.load (i32.const 32768)))
        (local.set $count (i32.load (local.get $at)))
        (local.set $index (i32.add (local.get $at) (i32.const 4)))
        (local.set $at (i32.add (local.get $index) (i32.mul (local.get $count) (i32.const 8))))
        (block $end (loop $next
            (br_if $end (i32.eqz (local.get $count)))
            {space}
            (local.set $size (i32.load (local.get $index)))
            (call $put (local.get $at) (local.get $size)) {equals}
            (local.set $at (i32.add (local.get $at) (i32.add (local.get $size) (i32.const 1))))
            (if (i32.eq (local.get $size) (i32.const 29)) (then {dots})
                (else (call $put (local.get $at) (i32.load offset=4 (local.get $index)))))
            (local.set $at (i32.add (local.get $at) (i32.add (i32.load offset=4 (local.get $index)) (i32.const 1))))
            (local.set $index (i32.add (local.get $index) (i32.const 8)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br $next))))
    (func $show_body (param i32)
        {space}
        (call $shown (call $bytes (local.get 0) (i32.const 0) (i32.const 100000) (i32.const 32768) (i32.const 32772))))
    (func $answer
        (drop (call $effective (global.get $stream)))
        (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 65536) (i32.sub (global.get $said) (i32.const 65536))
            (i32.const 0) (i32.const 0) (i32.const -1)))
        (global.set $said (i32.const 65536)))
    (func $ended
        (if (i32.eqz (global.get $open)) (then (return)))
        (global.set $open (i32.sub (global.get $open) (i32.const 1)))
        (if (i32.eqz (global.get $open)) (then (call $answer))))
    ;; The status of a call that is made, and the kind of its token where there is one.
    (func $made (param i32)
        (call $number (local.get 0))
        (if (i32.eqz (local.get 0)) (then (call $kind (i32.load (i32.const 32780)))
            (global.set $last (i32.load (i32.const 32780))))))
    (global $last (mut i32) (i32.const 0))
    {hooks}
    (func (export "proxy_on_http_call_response") (param $root i32) (param $token i32) (param i32 i32 i32)
        {end} {http} (call $kind (local.get $token)) (call $number (local.get 2)) (call $number (local.get 3)) (call $number (local.get 4))
        (call $show_map (i32.const 6)) (call $show_body (i32.const 4)) (call $show_map (i32.const 7)) (call $show_status)
        (call $then_http (local.get $token)) (call $ended))
    (func (export "proxy_on_grpc_receive_initial_metadata") (param $root i32) (param $token i32) (param i32)
        {end} {initial} (call $kind (local.get $token)) (call $number (local.get 2)) (call $show_map (i32.const 4))
        (call $then_initial (local.get $token)))
    (func (export "proxy_on_grpc_receive") (param $root i32) (param $token i32) (param i32)
        {end} {receive} (call $kind (local.get $token)) (call $number (local.get 2)) (call $show_body (i32.const 5))
        (call $then_receive (local.get $token))
        (if (i32.eq (i32.and (local.get $token) (i32.const 3)) (i32.const 1)) (then (call $ended))))
    (func (export "proxy_on_grpc_receive_trailing_metadata") (param $root i32) (param $token i32) (param i32)
        {end} {trailing} (call $kind (local.get $token)) (call $number (local.get 2)) (call $show_map (i32.const 5))
        (call $then_trailing (local.get $token)))
    (func (export "proxy_on_grpc_close") (param $root i32) (param $token i32) (param i32)
        {end} {close} (call $kind (local.get $token)) (call $number (local.get 2)) (call $show_status)
        (call $then_close (local.get $token)) (call $ended))
    (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32) (local $at i32)
        (global.set $free (i32.const 131072))
        (global.set $stream (local.get $id))
        (drop (call $value (i32.const 0) {x_row} (i32.const 32768) (i32.const 32772)))
        (local.set $at (i32.load (i32.const 32768)))
        ;; Three digits.
        (global.set $row (i32.add (i32.mul (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)) (i32.const 100))
            (i32.add (i32.mul (i32.sub (i32.load8_u offset=1 (local.get $at)) (i32.const 48)) (i32.const 10))
                (i32.sub (i32.load8_u offset=2 (local.get $at)) (i32.const 48)))))
        {firsts}
        (if (i32.eqz (global.get $open)) (then (call $answer)))
        (i32.const 1)))"#,
        data = texts.data(),
        space = word(" "),
        status = word("status"),
        equals = word("="),
        dots = word("…"),
        end = word(";"),
        http = word("http"),
        initial = word("initial"),
        receive = word("receive"),
        trailing = word("trailing"),
        close = word("close"),
    )
}
