//! Makes images: bytes in, manifest and blobs out.

use std::collections::BTreeMap;
use std::io;

use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde::Serialize;

use super::{archive, digest};

/// The name that Istio's agent and Envoy Gateway look for in the last layer.
pub const MODULE_FILE: &str = "plugin.wasm";

/// The configuration of an ordinary image.
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The layer of an ordinary image.
pub(super) const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The configuration of the CNCF's Wasm artifact.
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The layer of the CNCF's Wasm artifact.
pub(super) const WASM_LAYER: &str = "application/wasm";
/// A time that does not pass: the CNCF's form demands one, and the same module is to be the same artifact tomorrow.
const BEGINNING: &str = "1970-01-01T00:00:00Z";

/// What goes into an image.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The module.
    pub wasm: Vec<u8>,
    /// Files beside it in the layer: name and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// A blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// `sha256:…`.
    pub digest: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An image: a manifest, and the blobs that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `sha256:…` of the manifest: what a reference is pinned to.
    pub digest: String,
    /// The media type of the manifest.
    pub media_type: &'static str,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration and the layer.
    pub blobs: Vec<Blob>,
}

/// An image configuration; the order of the fields is that of the specification.
#[derive(Serialize)]
struct ImageConfig<'a> {
    architecture: &'a str,
    os: &'a str,
    config: BTreeMap<&'a str, &'a str>,
    rootfs: RootFs<'a>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    r#type: &'a str,
    diff_ids: [&'a str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [&'a str; 1],
}

impl Image {
    /// The image that Istio and Envoy Gateway pull: one manifest, one `tar+gzip` layer with `plugin.wasm` and the files beside it.
    ///
    /// # Errors
    /// A file's name does not fit into an archive.
    pub fn compat(contents: &Contents) -> io::Result<Self> {
        let files = contents.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let layer = archive::pack(std::iter::once((MODULE_FILE, contents.wasm.as_slice())).chain(files))?;
        // Who resolves an index or mounts an image asks for a platform; Istio's agent asks for this one on every machine.
        let config = serde_json::to_vec(&ImageConfig {
            architecture: "amd64",
            os: "linux",
            config: BTreeMap::new(),
            rootfs: RootFs { r#type: "layers", diff_ids: [&layer.diff_id] },
        })?;
        Self::of(IMAGE_CONFIG, config, IMAGE_LAYER, layer.bytes, &contents.annotations)
    }

    /// The CNCF's Wasm artifact: the module as it is in one `application/wasm` layer. Istio and Envoy Gateway refuse it; `wkg` and others pull it.
    ///
    /// # Errors
    /// None that this form can have today.
    pub fn cncf(contents: &Contents) -> io::Result<Self> {
        let layer = digest(&contents.wasm);
        let config = serde_json::to_vec(&WasmConfig {
            created: BEGINNING,
            architecture: "wasm",
            os: "wasip1",
            layer_digests: [&layer],
        })?;
        Self::of(WASM_CONFIG, config, WASM_LAYER, contents.wasm.clone(), &contents.annotations)
    }

    fn of(
        config_type: &str,
        config: Vec<u8>,
        layer_type: &str,
        layer: Vec<u8>,
        annotations: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let blob = |bytes: Vec<u8>| Blob { digest: digest(&bytes), bytes };
        let (config, layer) = (blob(config), blob(layer));
        let manifest = serde_json::to_vec(&OciImageManifest {
            schema_version: 2,
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            artifact_type: None,
            config: descriptor(config_type, &config.digest, config.bytes.len()),
            layers: vec![descriptor(layer_type, &layer.digest, layer.bytes.len())],
            subject: None,
            annotations: (!annotations.is_empty()).then(|| annotations.clone()),
        })?;
        Ok(Self {
            digest: digest(&manifest),
            media_type: OCI_IMAGE_MEDIA_TYPE,
            manifest,
            blobs: vec![config, layer],
        })
    }
}

/// A descriptor with nothing but what it must have.
pub(super) fn descriptor(media_type: &str, digest: &str, size: usize) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest: digest.to_owned(),
        // A vector is never longer than `isize::MAX`.
        size: i64::try_from(size).unwrap_or(i64::MAX),
        urls: None,
        annotations: None,
        ..OciDescriptor::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        Contents {
            wasm: b"\0asm\x01\0\0\0".to_vec(),
            files: vec![("config.schema.json".to_owned(), b"{}".to_vec())],
            annotations: BTreeMap::from([("org.opencontainers.image.title".to_owned(), "canary".to_owned())]),
        }
    }

    #[test]
    fn an_image_is_the_same_every_time() {
        assert_eq!(Image::compat(&contents()).unwrap(), Image::compat(&contents()).unwrap());
        assert_eq!(
            Image::compat(&contents()).unwrap().digest,
            "sha256:41bac34d88b6928f4f4d5fa016f8ed6e9fb3d9736f847685133dafcd1def8be2"
        );
        assert_eq!(
            Image::cncf(&contents()).unwrap().digest,
            "sha256:29b5194b1927c2322efd976c7801a802ee907eb01ab22889de46bfed508b6239"
        );
    }

    #[test]
    fn blobs_have_the_digests_that_the_manifest_names() {
        for image in [Image::compat(&contents()).unwrap(), Image::cncf(&contents()).unwrap()] {
            let manifest: OciImageManifest = serde_json::from_slice(&image.manifest).unwrap();
            let named: Vec<&str> = std::iter::once(&manifest.config)
                .chain(&manifest.layers)
                .map(|named| named.digest.as_str())
                .collect();
            let there: Vec<String> = image.blobs.iter().map(|blob| digest(&blob.bytes)).collect();
            assert_eq!(named, there);
            assert_eq!(image.digest, digest(&image.manifest));
        }
    }
}
