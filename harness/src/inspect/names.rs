//! The section `name`, as Envoy reads it before it loads a module: one that it cannot read is a module that it refuses.

use wasmparser::{Parser, Payload};

/// The subsection with names of functions.
const FUNCTIONS: u8 = 1;

/// Whether a module has names that Envoy cannot read. Only the first section counts, and only lengths do: a name may be no text.
pub(crate) fn are_broken(wasm: &[u8]) -> bool {
    let section = Parser::new(0).parse_all(wasm).map_while(Result::ok).find_map(|payload| match payload {
        Payload::CustomSection(section) if section.name() == "name" => Some(section.data()),
        _ => None,
    });
    section.is_some_and(|section| !Reader(section).are_read())
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn are_read(mut self) -> bool {
        while let Some((id, rest)) = self.0.split_first() {
            self.0 = rest;
            let Some(subsection) = self.number().and_then(|size| self.take(size)) else { return false };
            if *id == FUNCTIONS && Reader(subsection).functions().is_none() {
                return false;
            }
        }
        true
    }

    /// A list of indices and names, and nothing behind it.
    fn functions(mut self) -> Option<()> {
        for _ in 0..self.number()? {
            self.number()?;
            let size = self.number()?;
            self.take(size)?;
        }
        self.0.is_empty().then_some(())
    }

    /// LEB128, at most 32 bits.
    fn number(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in [0, 7, 14, 21, 28] {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0xf {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, size: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(size).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sections: &[&[u8]], want: bool) {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        for section in sections {
            let size = u8::try_from(section.len() + 5).unwrap();
            wasm.extend([0, size, 4]);
            wasm.extend(b"name");
            wasm.extend(*section);
        }
        assert_eq!(are_broken(&wasm), want, "{sections:?}");
    }

    #[test]
    fn names_are_read_as_envoy_reads_them() {
        check(&[], false);
        check(&[b""], false);
        check(&[b"\x00\x02\x01m\x01\x04\x01\x00\x01f"], false);
        // A name that is no text, an index that no function has, a subsection that nobody knows.
        check(&[b"\x01\x04\x01\x63\x01\xff\x63\x01x"], false);
        check(&[b"\x01\xff\xff"], true);
        check(&[b"\x01"], true);
        check(&[b"\x01\x04\x02\x00\x01f"], true);
        check(&[b"\x01\x05\x01\x00\x01f\x00"], true);
        check(&[b"\x63\x05x"], true);
        // The first counts.
        check(&[b"", b"\x01"], false);
        check(&[b"\x01", b""], true);
    }
}
