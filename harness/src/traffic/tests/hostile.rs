//! Damaged and endless recordings: nothing panics, everything ends, nothing is kept.

use std::io::Read;

use proptest::prelude::*;

use super::{har_entry, read_all, samples, tap_trace};
use crate::traffic::{Options, read};

/// One damage: where, and what is put there.
fn damage() -> impl Strategy<Value = (prop::sample::Index, Vec<u8>, usize)> {
    let with = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..4),
        prop::sample::select(vec![
            "{", "}", "[", "]", "\"", "\\", ",", ":", "\n", "\r\n", "\n{", "null", "-1", "1e999", "\u{0}",
            "%", "é"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    (any::<prop::sample::Index>(), with, 0..6usize)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn damaged_recordings_end(which in 0..7usize, damages in prop::collection::vec(damage(), 1..5), cut in any::<Option<prop::sample::Index>>()) {
        let mut bytes = samples()[which].1.clone().into_bytes();
        for (at, with, removed) in damages {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, with);
            prop_assume!(!bytes.is_empty());
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&bytes);
    }

    #[test]
    fn rubbish_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn any_format_string_compiles_or_is_refused(format in "[%(): A-Z?a-z.0-9]{0,30}") {
        let options = Options { access_log_format: Some(format), ..Options::default() };
        if let Ok(recording) = read("r", std::io::Cursor::new("GET / HTTP/1.1\n\n-\n"), &options) {
            prop_assert!(recording.count() <= 3);
        }
    }
}

/// A recording that is made while it is read.
struct Endless {
    part: Vec<u8>,
    at: usize,
    left: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let part = &self.part[self.at..];
        let count = part.len().min(buffer.len()).min(usize::try_from(self.left).unwrap());
        buffer[..count].copy_from_slice(&part[..count]);
        self.at = (self.at + count) % self.part.len();
        self.left -= count as u64;
        Ok(count)
    }
}

/// Whatever its length, never more of a recording is taken than the buffers and one entry hold ahead of what was delivered.
#[test]
fn long_recordings_are_not_kept() {
    const LENGTH: u64 = 8 << 20;
    let har = std::io::Cursor::new(r#"{"log":{"entries":["#);
    let har_entries = Endless { part: (har_entry(1) + ",").into_bytes(), at: 0, left: LENGTH };
    let mut sources: Vec<(u64, Box<dyn Read + Send>)> =
        vec![(har_entries.part.len() as u64, Box::new(har.chain(har_entries)))];
    let line = samples().pop().unwrap().1;
    for part in [tap_trace(1) + "\n", line.lines().next().unwrap().to_owned() + "\n"] {
        let length = part.len() as u64;
        sources.push((length, Box::new(Endless { part: part.into_bytes(), at: 0, left: LENGTH })));
    }
    for (entry, source) in sources {
        let mut recording = read("r", source, &Options::default()).unwrap();
        let mut delivered = 0;
        while let Some(Ok(_)) = recording.next() {
            delivered += entry;
            let ahead = recording.position() - delivered.min(recording.position());
            assert!(ahead < 512 << 10, "{ahead} bytes are held after {delivered}");
        }
        assert!(delivered + 1000 > LENGTH, "{delivered}");
    }
}

#[test]
fn depth_does_not_overflow_the_stack() {
    for deep in [
        "[".repeat(200_000),
        "{\"a\":".repeat(200_000),
        format!("{{\"log\":{{\"entries\":[{}", "[".repeat(200_000)),
    ] {
        read_all(deep.as_bytes());
        read_all(format!("{{\"weir\":{deep}").as_bytes());
        read_all(format!("{{\"http_buffered_trace\":{deep}").as_bytes());
        read_all(format!("{{\"path\":{deep}\n").as_bytes());
    }
}
