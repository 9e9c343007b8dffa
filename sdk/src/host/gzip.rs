//! Compression by the host. Envoy's function makes zlib (`FF-02`), servers take gzip: the same compressed data within other bytes.

use super::{HostError, PluginHost, Status, abi};

/// The head of a file of gzip (RFC 1952 §2.3): deflate, no flags, no time, no hint, no system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The remainders of one byte of CRC-32, for the polynomial that RFC 1952 §8 names, bits reversed.
#[expect(
    clippy::indexing_slicing,
    reason = "while it is compiled: an index outside would be an error of the compiler"
)]
const REMAINDERS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { (remainder >> 1) ^ 0xedb8_8320 } else { remainder >> 1 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

impl PluginHost {
    /// The bytes compressed, as `content-encoding: gzip` has them. The host compresses, at the level that it has: in Envoy zlib's own, 6.
    ///
    /// # Errors
    /// The host has no such function, or does not let this module call any; [`Status::ResultMismatch`] for an answer that is no zlib.
    pub fn gzip(&self, bytes: &[u8]) -> Result<Vec<u8>, HostError> {
        let zlib = abi::call_foreign_function(b"compress", bytes)?;
        reframed(&zlib, bytes).ok_or(HostError::new("compress", Status::ResultMismatch))
    }
}

/// A stream of zlib (RFC 1950) and what it holds, as a file of gzip. `None` where the first is no such stream.
fn reframed(zlib: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    // Method and window, check bits and no dictionary; the compressed data; a checksum of another kind.
    let (head, rest) = zlib.split_first_chunk::<2>()?;
    let (deflated, _adler) = rest.split_last_chunk::<4>()?;
    let is_zlib = head[0] & 15 == 8 && head[1] & 32 == 0 && u16::from_be_bytes(*head).is_multiple_of(31);
    is_zlib.then_some(())?;
    let length = u32::try_from(content.len()).ok()?;
    Some([&HEAD[..], deflated, &crc32(content).to_le_bytes(), &length.to_le_bytes()].concat())
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        // The mask keeps the index within the table.
        let index = usize::from(crc.to_le_bytes()[0] ^ byte);
        REMAINDERS.get(index).copied().unwrap_or_default() ^ (crc >> 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!((crc32(b"123456789"), crc32(b"")), (0xcbf4_3926, 0));
    }

    #[test]
    fn zlib_in_the_bytes_of_gzip() {
        // `printf abc | gzip -n` but for the hint and the system, out of what zlib makes of it.
        let zlib = [0x78, 0x9c, 0x4b, 0x4c, 0x4a, 0x06, 0x00, 0x02, 0x4d, 0x01, 0x27];
        let gzip = [&HEAD[..], &zlib[2..7], &[0xc2, 0x41, 0x24, 0x35, 3, 0, 0, 0]].concat();
        assert_eq!(reframed(&zlib, b"abc"), Some(gzip));
        for broken in [&b""[..], b"x", &zlib[..5], b"\x78\x9d______", b"\x78\xbc______", b"\x79\x9c______"] {
            assert_eq!(reframed(broken, b"abc"), None, "{broken:?}");
        }
    }
}
