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

/// The most bytes of files beside the module that are kept: ours have some 20 kB.
const MAX_BESIDE_BYTES: u64 = 64 << 20;

/// A file of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Its path in the archive.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What is in a layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layer {
    /// The first entry with the name that was looked for; nothing in it where it is no file.
    pub(super) found: Option<Result<Unpacked, NoFile>>,
    /// The other files.
    pub(super) files: Vec<Unpacked>,
    /// Paths of all entries, in order, as many as a reader looks at.
    pub(super) paths: Vec<String>,
}

/// An entry that is no file, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoFile(pub(super) String);

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

/// Looks through a `.tar.gz` for the first entry with that name, in whatever folder, as Istio's agent does: it takes what comes first, and
/// does not look whether it is a file.
///
/// # Errors
/// The bytes are no such archive, it is cut off, or larger than is looked through.
pub(super) fn look_through(archive: &[u8], name: &str) -> io::Result<Layer> {
    const MOST_PATHS: usize = 8;
    let mut tar = tar::Archive::new(Bounded { inner: MultiGzDecoder::new(archive), left: MAX_ARCHIVE_BYTES });
    let mut layer = Layer::default();
    let mut beside = 0;
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let text = path.to_string_lossy().into_owned();
        if layer.paths.len() < MOST_PATHS {
            layer.paths.push(text.clone());
        }
        let is_wanted = layer.found.is_none() && path.file_name() == Some(Path::new(name).as_os_str());
        if !entry.header().entry_type().is_file() {
            if is_wanted {
                layer.found = Some(Err(NoFile(text)));
            }
            continue;
        }
        let size = entry.size();
        beside += if is_wanted { 0 } else { size };
        if !is_wanted && beside > MAX_BESIDE_BYTES {
            let reason = format!("the files beside `{name}` have more than {MAX_BESIDE_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let mut bytes = Vec::new();
        entry.by_ref().take(MAX_MODULE_BYTES + 1).read_to_end(&mut bytes)?;
        // The reader of archives takes the end of the bytes for the end of the file.
        if (bytes.len() as u64) < size.min(MAX_MODULE_BYTES + 1) {
            let reason = format!("`{text}` is cut off: {} of {size} bytes", bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        let file = Unpacked { path: text, bytes };
        if is_wanted { layer.found = Some(Ok(file)) } else { layer.files.push(file) }
    }
    Ok(layer)
}

/// A few bytes of gzip can stand for any number of others: what is more than that is an error, not an end.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: io::Read> io::Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let reason = format!("it holds more than {MAX_ARCHIVE_BYTES} bytes");
            io::Error::new(io::ErrorKind::FileTooLarge, reason)
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "plugin.wasm";

    /// What is found: the path and the bytes of the module, and the paths of the others.
    #[track_caller]
    fn check(archive: &[u8], want: Result<(&str, &[u8], &[&str]), &str>) {
        let found = look_through(archive, NAME).map_err(|error| error.to_string());
        match (&found, want) {
            (Ok(layer), Ok((path, bytes, others))) => {
                let module = layer.found.as_ref().and_then(|found| found.as_ref().ok()).unwrap();
                assert_eq!((module.path.as_str(), module.bytes.as_slice()), (path, bytes));
                let paths: Vec<&str> = layer.files.iter().map(|file| file.path.as_str()).collect();
                assert_eq!(paths, others);
            }
            (Err(error), Err(want)) => assert!(error.contains(want), "{error}"),
            _ => panic!("{found:?}"),
        }
    }

    /// A `.tar.gz` of anybody's: paths as they are, and a kind of entry.
    fn foreign(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (path, kind, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend_from_slice(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        compress(&tar)
    }

    fn compress(bytes: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::new();
        GzBuilder::new().read(bytes, Compression::fast()).read_to_end(&mut compressed).unwrap();
        compressed
    }

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
        check(&archive.bytes, Ok(("here/plugin.wasm", b"\0asm", &["weir.json"])));
        assert_eq!(look_through(&archive.bytes, "filter.wasm").unwrap().found, None);
        assert_eq!(
            look_through(&archive.bytes, "filter.wasm").unwrap().paths,
            ["weir.json", "here/plugin.wasm"]
        );
    }

    #[test]
    fn the_first_of_the_name_counts_whatever_it_is() {
        use tar::EntryType as Kind;
        let two = foreign(&[
            ("../../plugin.wasm", Kind::Regular, b"first"),
            ("/etc/plugin.wasm", Kind::Regular, b"second"),
            ("dev", Kind::Fifo, b""),
        ]);
        check(&two, Ok(("../../plugin.wasm", b"first", &["/etc/plugin.wasm"])));
        for kind in [Kind::Symlink, Kind::Link, Kind::Directory, Kind::Fifo] {
            let link = foreign(&[("a/plugin.wasm", kind, b""), ("plugin.wasm", Kind::Regular, b"x")]);
            let found = look_through(&link, NAME).unwrap().found;
            assert_eq!(found, Some(Err(NoFile("a/plugin.wasm".into()))), "{kind:?}");
        }
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        let archive = pack([("plugin.wasm", [7; 5000].as_slice())]).unwrap().bytes;
        check(b"", Err(""));
        check(b"\x28\xb5\x2f\xfd and more than ten", Err("gzip header"));
        check(&archive[..archive.len() / 2], Err(""));
        // Compressed in order, cut off before.
        let mut tar = Vec::new();
        MultiGzDecoder::new(archive.as_slice()).read_to_end(&mut tar).unwrap();
        check(&compress(&tar[..2000]), Err("`plugin.wasm` is cut off: 1488 of 5000 bytes"));
    }

    #[test]
    fn a_few_bytes_do_not_become_any_number() {
        let many = 65 << 20;
        let bomb = foreign(&[("zeros", tar::EntryType::Regular, &vec![0; many])]);
        check(&bomb, Err("beside `plugin.wasm` have more than"));
        let mut bounded = Bounded { inner: io::repeat(0), left: 10 };
        assert_eq!(bounded.read(&mut [0; 10]).unwrap(), 10);
        assert_eq!(bounded.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
