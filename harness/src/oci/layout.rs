//! An image layout: images as files in a folder, for `skopeo`, `oras`, `crane` and whoever carries them on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use oci_client::manifest::{IMAGE_MANIFEST_LIST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OciDescriptor};
use serde::{Deserialize, Serialize};

use super::image::descriptor;
use super::{Image, MAX_MODULE_BYTES, Manifest, OciError, Store, check_blob, check_digest, digest, json};
use crate::files;

/// The annotation of an index' entry that names its tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// The largest index and manifest that are read.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// The file that says that a folder is a layout.
const MARKER_FILE: &str = "oci-layout";
/// What stands in it.
const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// `index.json`.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<OciDescriptor>,
}

/// An image layout, and the image in it that is meant.
#[derive(Clone, Debug)]
pub struct Layout {
    folder: PathBuf,
    tag: Option<String>,
}

impl Layout {
    /// A layout in that folder; `tag` names the image, none the only one that is there.
    #[must_use]
    pub fn new(folder: &Path, tag: Option<&str>) -> Self {
        Self { folder: folder.to_owned(), tag: tag.map(str::to_owned) }
    }

    /// Writes a layout with these images and no others, each under its tag. The same images make the same files.
    ///
    /// # Errors
    /// A file cannot be written, or the folder holds something that is no layout.
    pub fn write(folder: &Path, images: &[(&str, &Image)]) -> Result<(), OciError> {
        let blobs = folder.join("blobs").join("sha256");
        let is_free = !folder.exists()
            || folder.join(MARKER_FILE).is_file()
            || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        if !is_free {
            let why =
                std::io::Error::other("is there and is no image layout; expected a new or empty folder");
            return Err(OciError::Io { path: folder.display().to_string(), source: why });
        }
        fs::create_dir_all(&blobs).map_err(io_error(&blobs))?;
        // First: a folder that is half written is a layout that can be written again.
        write(&folder.join(MARKER_FILE), MARKER.as_bytes())?;
        let mut index = Index {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
            manifests: Vec::new(),
        };
        let mut stays = BTreeSet::new();
        for (tag, image) in images {
            let all = image.blobs.iter().map(|blob| (&blob.digest, &blob.bytes));
            for (digest, bytes) in all.chain([(&image.digest, &image.manifest)]) {
                let file = path(folder, digest);
                write(&file, bytes)?;
                stays.insert(file);
            }
            let mut entry = descriptor(image.media_type, &image.digest, image.manifest.len());
            entry.annotations = Some(BTreeMap::from([(TAG.to_owned(), (*tag).to_owned())]));
            index.manifests.push(entry);
        }
        let text = serde_json::to_vec(&index)
            .map_err(|error| OciError::Io { path: "index.json".to_owned(), source: error.into() })?;
        // From here on the new images are there; until here the old ones were.
        write(&folder.join("index.json"), &text)?;
        for entry in fs::read_dir(&blobs).map_err(io_error(&blobs))? {
            let file = entry.map_err(io_error(&blobs))?.path();
            if file.is_file() && !stays.contains(&file) {
                fs::remove_file(&file).map_err(io_error(&file))?;
            }
        }
        Ok(())
    }

    /// The tags of the images, in order; those without one are left out.
    ///
    /// # Errors
    /// It is no layout.
    pub fn tags(&self) -> Result<Vec<String>, OciError> {
        let tags = self.index()?.manifests.into_iter().filter_map(|entry| entry.annotations?.remove(TAG));
        Ok(tags.collect())
    }

    fn index(&self) -> Result<Index, OciError> {
        let file = self.folder.join("index.json");
        let bytes = read(&file, MAX_MANIFEST_BYTES).map_err(io_error(&file))?;
        json::object(&bytes)
            .and_then(json::read)
            .map_err(|reason| OciError::Manifest { what: format!("`{}`", file.display()), reason })
    }

    /// The entry that is meant.
    fn entry(&self) -> Result<OciDescriptor, OciError> {
        let index = self.index()?;
        let tag_of = |entry: &OciDescriptor| entry.annotations.as_ref().and_then(|all| all.get(TAG).cloned());
        let not_found = |what: String| OciError::NotFound { place: self.place(), what };
        let tags = || {
            let tags: Vec<String> = index.manifests.iter().filter_map(tag_of).collect();
            if tags.is_empty() {
                "images without tags".to_owned()
            } else {
                format!("`{}`", tags.join("`, `"))
            }
        };
        match &self.tag {
            Some(tag) => index
                .manifests
                .iter()
                .find(|entry| tag_of(entry).as_deref() == Some(tag))
                .cloned()
                .ok_or_else(|| not_found(format!("tag `{tag}`, only {}", tags()))),
            None => match index.manifests.as_slice() {
                [only] => Ok(only.clone()),
                [] => Err(not_found("image".to_owned())),
                _ => Err(not_found(format!(
                    "image that is the only one: name one of {}, as in `oci:FOLDER:TAG`",
                    tags()
                ))),
            },
        }
    }

    fn place(&self) -> String {
        format!("`{}`", self.folder.display())
    }

    fn read(&self, digest: &str, what: &str, limit: u64) -> Result<Vec<u8>, OciError> {
        check_digest(&format!("{what} in {}", self.place()), digest)?;
        let file = path(&self.folder, digest);
        read(&file, limit).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OciError::NotFound {
                place: self.place(),
                what: format!("{} {digest}", what.trim_start_matches("the ")),
            },
            _ => OciError::Io { path: file.display().to_string(), source: error },
        })
    }
}

impl Store for Layout {
    fn place(&self) -> String {
        Layout::place(self)
    }

    fn manifest(&self, wanted: Option<&str>) -> Result<Manifest, OciError> {
        let wanted = match wanted {
            Some(digest) => digest.to_owned(),
            None => self.entry()?.digest,
        };
        let bytes = self.read(&wanted, "the manifest", MAX_MANIFEST_BYTES)?;
        let found = digest(&bytes);
        if found != wanted {
            let what = format!("the manifest in {}", self.place());
            return Err(OciError::Digest { what, expected: wanted, found });
        }
        Ok(Manifest { bytes, digest: wanted })
    }

    fn blob(&self, descriptor: &OciDescriptor) -> Result<Vec<u8>, OciError> {
        let bytes = self.read(&descriptor.digest, "the layer", MAX_MODULE_BYTES)?;
        let what = format!("the layer {} in {}", descriptor.digest, self.place());
        check_blob(descriptor, &what, &bytes)?;
        Ok(bytes)
    }
}

/// Where a blob lies; a digest has no `/` in it, and so no place outside of the folder.
fn path(folder: &Path, digest: &str) -> PathBuf {
    let (algorithm, encoded) = digest.split_once(':').unwrap_or(("sha256", digest));
    folder.join("blobs").join(algorithm).join(encoded)
}

/// Reads a file, and nothing that is none and may never end.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("is no file"));
    }
    if about.len() > limit {
        return Err(io::Error::other(format!("has {} bytes; at most {limit} are read", about.len())));
    }
    fs::read(path)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), OciError> {
    files::replace(path, bytes).map_err(io_error(path))
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> OciError {
    let path = path.display().to_string();
    move |source| OciError::Io { path, source }
}

/// Whether a media type is that of an index of images.
pub(super) fn is_index(media_type: &str) -> bool {
    [OCI_IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE].contains(&media_type)
}

#[cfg(test)]
mod tests {
    use super::super::Contents;
    use super::*;

    fn image(name: &str) -> Image {
        let wasm = [b"\0asm\x01\0\0\0", name.as_bytes()].concat();
        Image::compat(&Contents { wasm, ..Contents::default() }).unwrap()
    }

    /// Reads the image of a layout: its error, or nothing.
    fn read_all(folder: &Path, tag: Option<&str>) -> String {
        let layout = Layout::new(folder, tag);
        let layer = layout.manifest(None).and_then(|manifest| {
            let value = json::object(&manifest.bytes).unwrap();
            let manifest: oci_client::manifest::OciImageManifest = json::read(value).unwrap();
            layout.blob(&manifest.layers[0])
        });
        layer.map_or_else(|error| error.to_string(), |_| String::new())
    }

    fn layer(folder: &Path, image: &Image) -> PathBuf {
        path(folder, &image.blobs[1].digest)
    }

    #[test]
    fn what_is_broken_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, image) = (folder.path(), image("a"));
        let written = || Layout::write(folder, &[("1", &image)]).unwrap();
        let (index, layer) = (folder.join("index.json"), layer(folder, &image));
        written();
        assert_eq!(read_all(folder, Some("1")), "");
        assert!(read_all(folder, Some("2")).ends_with("has no tag `2`, only `1`"));
        type Harm<'a> = (&'a dyn Fn(), &'a str);
        let harms: [Harm<'_>; 9] = [
            (&|| fs::write(&layer, "x").unwrap(), "has 1 bytes; its manifest says"),
            (
                &|| fs::write(&layer, vec![0; image.blobs[1].bytes.len()]).unwrap(),
                "is not what its digest says",
            ),
            (&|| fs::remove_file(&layer).unwrap(), "has no layer sha256:"),
            (&|| drop(fs::remove_file(&layer).and_then(|()| fs::create_dir(&layer))), "is no file"),
            (
                &|| fs::File::options().write(true).open(&index).unwrap().set_len(5 << 20).unwrap(),
                "at most 4194304 are read",
            ),
            (&|| fs::write(&index, "[]").unwrap(), "expected an object of JSON"),
            (
                &|| fs::write(&index, r#"{"schemaVersion": 2, "manifests": 3}"#).unwrap(),
                "`manifests`: invalid type",
            ),
            (&|| fs::write(&index, r#"{"schemaVersion": 2, "manifests": []}"#).unwrap(), "has no image"),
            (
                &|| {
                    fs::write(&index, r#"{"schemaVersion": 2, "manifests": [{"mediaType": "", "size": 1, "digest": "sha256:../x"}]}"#).unwrap()
                },
                "`sha256:../x` is no digest",
            ),
        ];
        for (harm, says) in harms {
            harm();
            let said = read_all(folder, None);
            assert!(said.contains(says), "{says}: {said}");
            let _ = fs::remove_dir(&layer);
            written();
        }
        assert_eq!(read_all(folder, None), "");
    }

    #[test]
    fn whoever_is_killed_leaves_a_layout() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (old, new) = (image("old"), image("new"));
        Layout::write(folder, &[("1", &old)]).unwrap();
        // What a process leaves that is killed before the index is there: the old image, and parts of the new one.
        fs::write(layer(folder, &new), &new.blobs[1].bytes).unwrap();
        fs::write(folder.join("blobs/sha256/.weir-1-0.part"), "half").unwrap();
        assert_eq!(read_all(folder, None), "");
        Layout::write(folder, &[("1", &new)]).unwrap();
        assert_eq!(read_all(folder, None), "");
        // The old one's blobs and the parts are gone; the two have the same configuration or not.
        assert_eq!(fs::read_dir(folder.join("blobs/sha256")).unwrap().count(), 3);
        // And one that is killed at its very beginning.
        fs::remove_file(folder.join("index.json")).unwrap();
        Layout::write(folder, &[("1", &old)]).unwrap();
        assert_eq!(read_all(folder, None), "");
    }

    #[test]
    fn what_is_no_layout_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("mine");
        fs::write(&mine, "precious").unwrap();
        for place in [folder.path(), &mine] {
            let error = Layout::write(place, &[("1", &image("a"))]).unwrap_err().to_string();
            assert!(error.contains("is no image layout; expected a new or empty folder"), "{error}");
        }
        assert_eq!(fs::read(mine).unwrap(), b"precious");
    }
}
