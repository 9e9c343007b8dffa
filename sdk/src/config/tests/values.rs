//! Durations, points in time and percentages as they are written.

use std::time::{Duration, SystemTime};

use super::check;
use crate::{ConfigDuration, Denominator, FractionalPercent, FromConfig, Percentage, Timestamp, parse};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn durations() {
    for (text, want) in [
        ("250ms", Some((250_000_000, "250ms"))),
        ("1.5s", Some((1_500_000_000, "1500ms"))),
        ("7s", Some((7_000_000_000, "7s"))),
        ("90m", Some((5_400_000_000_000, "90m"))),
        ("1h30m", Some((5_400_000_000_000, "90m"))),
        ("2d", Some((172_800_000_000_000, "2d"))),
        ("0s", Some((0, "0s"))),
        ("0.000000001s", Some((1, "1ns"))),
        ("5us", Some((5_000, "5us"))),
        ("0.0000000001s", None),
        ("213504d", None),
        ("18446744073709551616ns", None),
        ("", None),
        ("7", None),
        ("s", None),
        (".5s", None),
        ("1.s", None),
        ("1.5.5s", None),
        ("-1s", None),
        ("1 s", None),
        ("1S", None),
        ("1sé", None),
        ("٣s", None),
    ] {
        let got = text.parse::<ConfigDuration>().ok();
        assert_eq!(
            got,
            want.map(|(nanoseconds, _)| ConfigDuration(Duration::from_nanos(nanoseconds))),
            "{text}"
        );
        assert_eq!(got.map(|duration| duration.to_string()), want.map(|(_, text)| String::from(text)));
    }
    let expected = "expected a duration with a unit, such as \"7s\", \"250ms\" or \"1h30m\", found ";
    check::<ConfigDuration>(b"\"7\"", &[&format!("{expected}\"7\"; did you mean \"7s\"?")]);
    check::<ConfigDuration>(b"\"1 H\"", &[&format!("{expected}\"1 H\"; did you mean \"1h\"?")]);
    check::<ConfigDuration>(b"0.5", &[&format!("{expected}0.5; did you mean \"0.5s\"?")]);
    check::<ConfigDuration>(b"\"soon\"", &[&format!("{expected}\"soon\"")]);
}

#[test]
fn timestamps() {
    for (text, want) in [
        ("1970-01-01T00:00:00Z", Some((0, 0, "1970-01-01T00:00:00Z"))),
        ("2026-05-04T09:00:00Z", Some((1_777_885_200, 0, "2026-05-04T09:00:00Z"))),
        ("2026-05-04T11:00:00.5+02:00", Some((1_777_885_200, 500_000_000, "2026-05-04T09:00:00.500000000Z"))),
        ("2026-05-03t23:30:00-09:30", Some((1_777_885_200, 0, "2026-05-04T09:00:00Z"))),
        ("2024-02-29T23:59:59Z", Some((1_709_251_199, 0, "2024-02-29T23:59:59Z"))),
        ("2000-02-29T00:00:00Z", Some((951_782_400, 0, "2000-02-29T00:00:00Z"))),
        ("9999-12-31T23:59:59Z", Some((253_402_300_799, 0, "9999-12-31T23:59:59Z"))),
        ("2023-02-29T00:00:00Z", None),
        ("2100-02-29T00:00:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2026-13-01T00:00:00Z", None),
        ("2026-00-01T00:00:00Z", None),
        ("2026-04-31T00:00:00Z", None),
        ("2026-05-04T24:00:00Z", None),
        ("2026-05-04T23:59:60Z", None),
        ("2026-05-04T09:00:00", None),
        ("2026-05-04T09:00:00Zz", None),
        ("2026-05-04T09:00:00.Z", None),
        ("2026-05-04T09:00:00.1234567891Z", None),
        ("2026-05-04", None),
        ("", None),
    ] {
        let got = text.parse::<Timestamp>().ok();
        let at = |(seconds, nanoseconds, _)| {
            Timestamp(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds))
        };
        assert_eq!(got, want.map(at), "{text}");
        assert_eq!(got.map(|time| time.to_string()), want.map(|(.., text)| String::from(text)));
    }
}

#[test]
fn percentages() {
    let ok = |json: &str, numerator, denominator| {
        let got = parse::<Percentage>(Some(json.as_bytes()));
        assert_eq!(got, Ok(Percentage(FractionalPercent { numerator, denominator })), "{json}");
    };
    ok("0", 0, Denominator::Hundred);
    ok("25", 25, Denominator::Hundred);
    ok("100.0", 100, Denominator::Hundred);
    ok("0.0001", 1, Denominator::Million);
    ok("33.3333", 333_333, Denominator::Million);
    ok("99.9999", 999_999, Denominator::Million);
    ok("1e-4", 1, Denominator::Million);
    ok(r#"{"numerator": 5}"#, 5, Denominator::Hundred);
    ok(r#"{"numerator": 5, "denominator": "TEN_THOUSAND"}"#, 5, Denominator::TenThousand);
    for ppm in 0..=1_000_000_u32 {
        let json = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
        if ppm % 997 == 0 {
            assert_eq!(parse::<Percentage>(Some(json.as_bytes())), Ok(Percentage::from_ppm(ppm)), "{json}");
        }
    }
    let range = "expected a percentage from 0 to 100, found ";
    let four = "expected at most four decimals: 0.0001 is one in a million, the smallest share";
    check::<Percentage>(b"0.00001", &[four]);
    check::<Percentage>(b"33.33333", &[four]);
    check::<Percentage>(b"100.0001", &[&format!("{range}100.0001")]);
    check::<Percentage>(b"-0.5", &[&format!("{range}-0.5")]);
    check::<Percentage>(b"-3", &[&format!("{range}-3")]);
    check::<Percentage>(b"1e400", &["not JSON: line 1, column 5: number out of range"]);
    check::<Percentage>(
        b"\"25 %\"",
        &["expected a percentage from 0 to 100, such as 25 or 0.5, or an object {\"numerator\": …, \
           \"denominator\": …}, found \"25 %\"; did you mean 25?"],
    );
    check::<Percentage>(
        br#"{"numerator": 101}"#,
        &["expected a numerator of at most 100, which is all of the traffic, found 101"],
    );
    check::<Percentage>(
        br#"{"numertor": 1}"#,
        &[
            "`numertor`: unknown field; accepted: `numerator`, `denominator`; did you mean `numerator`?",
            "`numerator`: is required, but missing",
        ],
    );
}

#[test]
fn wire_forms_round_trip() {
    let json = r#"{"a":"90m","b":"2026-05-04T09:00:00Z","c":25,"d":{"numerator":1,"denominator":"MILLION"}}"#;
    #[derive(FromConfig, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct All {
        a: ConfigDuration,
        b: Timestamp,
        c: Percentage,
        d: Percentage,
    }
    let all: All = parse(Some(json.as_bytes())).unwrap();
    assert_eq!(serde_json::to_string(&all).unwrap(), json);
}
