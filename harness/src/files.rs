//! Files that are written whole or not at all: whoever reads one meanwhile, and whoever looks after a process that was killed, sees the old file or the
//! new one. Knows nothing of what is in them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How names of files begin that are not whole yet.
const PART: &str = ".weir-";

/// Files of this process that were not whole yet: several threads may write.
static PARTS: AtomicUsize = AtomicUsize::new(0);

/// Writes a file, or in its place another one. What is there already with the same bytes stays as it is, as do the permissions of what is replaced;
/// through a link, what it leads to is replaced; a device or a pipe is written to.
///
/// # Errors
/// As for [`fs::write`]; what was there is there still.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = match fs::metadata(path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    // A link that leads nowhere is followed, too.
    let is_dangling = old.is_none() && path.is_symlink();
    if is_dangling || old.as_ref().is_some_and(|old| !old.is_file()) {
        return fs::write(path, bytes);
    }
    if old.is_some() && fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if old.as_ref().is_some_and(|old| old.permissions().readonly()) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only"));
    }
    let place = if old.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
    let part = part(&place);
    let written = write(&part, bytes).and_then(|()| {
        if let Some(old) = old {
            fs::set_permissions(&part, old.permissions())?;
        }
        fs::rename(&part, &place)
    });
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&part);
    }
    written
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(bytes)
}

/// A name beside the file's that nobody else has.
fn part(path: &Path) -> PathBuf {
    let name = format!("{PART}{}-{}.part", process::id(), PARTS.fetch_add(1, Ordering::Relaxed));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_keeps_its_place_and_its_permissions() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        replace(&file, b"first").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        replace(&link, b"second").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"second");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(link.is_symlink());
        fs::remove_file(&file).unwrap();
        replace(&link, b"third").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"third");
        replace(Path::new("/dev/null"), b"gone").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        replace(&file, b"first").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        assert!(replace(&file, b"second").is_err());
        replace(&file, b"first").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"first");
        assert!(replace(&folder.path().join("none/file"), b"x").is_err());
        assert!(replace(folder.path(), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
