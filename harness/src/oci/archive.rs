//! The layer: a tar archive, compressed with gzip, the same bytes every time. And reading anybody's.

use std::io::{self, Read as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use super::{MAX_MODULE_BYTES, digest};

/// The most bytes of an archive that are looked through: what holds a module of [`MAX_MODULE_BYTES`] and as much beside it.
const MAX_ARCHIVE_BYTES: u64 = 2 * MAX_MODULE_BYTES;

/// A layer.
pub(super) struct Archive {
    /// The compressed archive.
    pub(super) bytes: Vec<u8>,
    /// The digest of the archive before it was compressed: the image configuration's `diff_ids`.
    pub(super) diff_id: String,
}

/// What was found in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Its path in the archive.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Packs files: no times, no owners, mode 0644, in the given order, so that the same files make the same bytes.
pub(super) fn pack<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> io::Result<Archive> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes)?;
    }
    let tar = tar.into_inner()?;
    // 255 is "unknown": the operating system that packs does not show.
    let gzip = GzBuilder::new().mtime(0).operating_system(255);
    let mut gzip = gzip.read(tar.as_slice(), Compression::best());
    let mut bytes = Vec::new();
    gzip.read_to_end(&mut bytes)?;
    Ok(Archive { bytes, diff_id: digest(&tar) })
}

/// The first file of that name, in whatever folder, of a `.tar.gz`; `None` when there is none.
///
/// # Errors
/// The bytes are no such archive, it is cut off, or larger than is looked through.
pub(super) fn find(archive: &[u8], name: &str) -> io::Result<Option<Unpacked>> {
    let mut tar = tar::Archive::new(MultiGzDecoder::new(archive).take(MAX_ARCHIVE_BYTES));
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if path.file_name() == Some(Path::new(name).as_os_str()) && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_MODULE_BYTES + 1).read_to_end(&mut bytes)?;
            return Ok(Some(Unpacked { path: path.to_string_lossy().into_owned(), bytes }));
        }
    }
    Ok(None)
}

/// All files of a `.tar.gz`, at most [`MAX_ARCHIVE_BYTES`] together.
///
/// # Errors
/// As for [`find`].
pub(super) fn unpack(archive: &[u8]) -> io::Result<Vec<Unpacked>> {
    let mut tar = tar::Archive::new(MultiGzDecoder::new(archive).take(MAX_ARCHIVE_BYTES));
    let mut files = Vec::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = entry.path()?.to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.push(Unpacked { path, bytes });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_bytes() {
        let files = [("plugin.wasm", b"\0asm".as_slice()), ("config.schema.json", b"{}")];
        let (first, second) = (pack(files).unwrap(), pack(files).unwrap());
        assert_eq!(first.bytes, second.bytes);
        // Frozen: an image that is packed again tomorrow is the same image.
        assert_eq!(first.diff_id, "sha256:63f2abc6aa515791993eeaf3ffd1d4a8bf49604b0b8923ede3c7cb7d2f5ccc35");
    }

    #[test]
    fn what_was_packed_is_found() {
        let archive = pack([("weir.json", b"{}".as_slice()), ("here/plugin.wasm", b"\0asm")]).unwrap();
        let found = find(&archive.bytes, "plugin.wasm").unwrap().unwrap();
        assert_eq!((found.path.as_str(), found.bytes.as_slice()), ("here/plugin.wasm", b"\0asm".as_slice()));
        assert_eq!(find(&archive.bytes, "filter.wasm").unwrap(), None);
        assert_eq!(unpack(&archive.bytes).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        let archive = pack([("plugin.wasm", [7; 5000].as_slice())]).unwrap().bytes;
        assert!(find(b"", "plugin.wasm").is_err());
        assert!(find(b"\x28\xb5\x2f\xfd", "plugin.wasm").is_err());
        assert!(find(&archive[..archive.len() / 2], "plugin.wasm").is_err());
    }
}
