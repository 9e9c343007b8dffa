//! An image layout: images as files in a folder, for `skopeo`, `oras`, `crane` and whoever carries them on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci_client::manifest::{IMAGE_MANIFEST_LIST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OciDescriptor};
use serde::{Deserialize, Serialize};

use super::image::descriptor;
use super::{Image, Manifest, OciError, Store, digest};

/// The annotation of an index' entry that names its tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// The file that says that a folder is a layout.
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
            || folder.join("oci-layout").is_file()
            || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        if !is_free {
            let why =
                std::io::Error::other("is there and is no image layout; expected a new or empty folder");
            return Err(OciError::Io { path: folder.display().to_string(), source: why });
        }
        if blobs.is_dir() {
            fs::remove_dir_all(&blobs).map_err(io_error(&blobs))?;
        }
        fs::create_dir_all(&blobs).map_err(io_error(&blobs))?;
        let mut index = Index {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
            manifests: Vec::new(),
        };
        for (tag, image) in images {
            for blob in &image.blobs {
                write(&path(folder, &blob.digest), &blob.bytes)?;
            }
            write(&path(folder, &image.digest), &image.manifest)?;
            let mut entry = descriptor(image.media_type, &image.digest, image.manifest.len());
            entry.annotations = Some(BTreeMap::from([(TAG.to_owned(), (*tag).to_owned())]));
            index.manifests.push(entry);
        }
        let text = serde_json::to_vec(&index)
            .map_err(|error| OciError::Io { path: "index.json".to_owned(), source: error.into() })?;
        write(&folder.join("index.json"), &text)?;
        write(&folder.join("oci-layout"), MARKER.as_bytes())
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
        let bytes = fs::read(&file).map_err(io_error(&file))?;
        serde_json::from_slice(&bytes).map_err(|error| OciError::Manifest {
            what: format!("`{}`", file.display()),
            reason: error.to_string(),
        })
    }

    /// The entry that is meant.
    fn entry(&self) -> Result<OciDescriptor, OciError> {
        let index = self.index()?;
        let tag_of = |entry: &OciDescriptor| entry.annotations.as_ref().and_then(|all| all.get(TAG).cloned());
        let not_found = |what: String| OciError::NotFound { place: self.place(), what };
        let tags = || index.manifests.iter().filter_map(tag_of).collect::<Vec<_>>().join("`, `");
        match &self.tag {
            Some(tag) => index
                .manifests
                .iter()
                .find(|entry| tag_of(entry).as_deref() == Some(tag))
                .cloned()
                .ok_or_else(|| not_found(format!("tag `{tag}`, only `{}`", tags()))),
            None => match index.manifests.as_slice() {
                [only] => Ok(only.clone()),
                [] => Err(not_found("image".to_owned())),
                _ => Err(not_found(format!(
                    "image that is the only one: name one of `{}`, as in `oci:FOLDER:TAG`",
                    tags()
                ))),
            },
        }
    }

    fn place(&self) -> String {
        format!("`{}`", self.folder.display())
    }

    fn read(&self, digest_wanted: &str, what: &str) -> Result<Vec<u8>, OciError> {
        let file = path(&self.folder, digest_wanted);
        let bytes = fs::read(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                OciError::NotFound { place: self.place(), what: format!("{what} {digest_wanted}") }
            }
            _ => OciError::Io { path: file.display().to_string(), source: error },
        })?;
        let found = digest(&bytes);
        if found != digest_wanted {
            return Err(OciError::Digest {
                what: format!("{what} in {}", self.place()),
                expected: digest_wanted.to_owned(),
                found,
            });
        }
        Ok(bytes)
    }
}

impl Store for Layout {
    fn manifest(&self, digest: Option<&str>) -> Result<Manifest, OciError> {
        let digest = match digest {
            Some(digest) => digest.to_owned(),
            None => self.entry()?.digest,
        };
        Ok(Manifest { bytes: self.read(&digest, "the manifest")?, digest })
    }

    fn blob(&self, descriptor: &OciDescriptor) -> Result<Vec<u8>, OciError> {
        self.read(&descriptor.digest, "the layer")
    }
}

/// Where a blob lies. What is no digest has no `:` and no `/` in it, and so no place outside of the folder.
fn path(folder: &Path, digest: &str) -> PathBuf {
    let name = digest.replace(['/', '\\'], "_");
    let (algorithm, encoded) = name.split_once(':').unwrap_or(("sha256", &name));
    folder.join("blobs").join(algorithm.replace('.', "_")).join(encoded.replace('.', "_"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), OciError> {
    fs::write(path, bytes).map_err(io_error(path))
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> OciError {
    let path = path.display().to_string();
    move |source| OciError::Io { path, source }
}

/// Whether a media type is that of an index of images.
pub(super) fn is_index(media_type: &str) -> bool {
    [OCI_IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE].contains(&media_type)
}
