//! The module in an image, found as Istio's agent and Envoy Gateway find it.

use oci_client::manifest::{
    IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OciDescriptor, OciImageManifest,
};

use super::super::archive::{self, NoFile, Unpacked};
use super::super::image::{IMAGE_LAYER, MODULE_FILE, WASM_LAYER};
use super::super::{MAX_MODULE_BYTES, OciError, Store};
use super::Shape;

/// The layer of the wasm-image-spec that holds the module.
const CONTENT_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// The first bytes of every module.
const MAGIC: &[u8] = b"\0asm";

/// What was found.
#[derive(Default)]
pub(super) struct Picked {
    pub(super) shape: Option<Shape>,
    pub(super) module: Option<Found>,
    /// The files beside the module.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Why nobody takes it.
    pub(super) refused: Option<String>,
}

pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) path: Option<String>,
}

impl Picked {
    fn refused(reason: impl Into<String>) -> Self {
        Self { refused: Some(reason.into()), ..Self::default() }
    }
}

/// Looks for the module: in a Docker manifest only as there, else first as `plugin.wasm` in the last layer, then as one of two layers.
pub(super) fn pick(store: &dyn Store, manifest: &OciImageManifest) -> Result<Picked, OciError> {
    let layers = &manifest.layers;
    let Some(last) = layers.last() else { return Ok(Picked::refused("the image has no layer")) };
    let is_docker = manifest.media_type.as_deref() == Some(IMAGE_MANIFEST_MEDIA_TYPE);
    let (shape, wanted) = match is_docker {
        true => (Shape::Docker, IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE),
        false => (Shape::Compat, IMAGE_LAYER),
    };
    let last_type = media_type(layers, last);
    if last_type == wanted {
        return archived(store, last, shape);
    }
    if is_docker {
        return Ok(Picked::refused(format!(
            "a Docker image whose last layer is `{last_type}`; expected `{wanted}`"
        )));
    }
    if let ([_, _], Some(layer)) =
        (layers.as_slice(), layers.iter().find(|layer| media_type(layers, layer) == CONTENT_LAYER))
    {
        return Ok(match limited(store, layer)? {
            Ok(bytes) => taken(Shape::Oci, Found { bytes, path: None }, Vec::new()),
            Err(refused) => refused,
        });
    }
    let types: Vec<&str> = layers.iter().map(|layer| media_type(layers, layer)).collect();
    let reason = format!(
        "neither is the last layer `{IMAGE_LAYER}` nor are there two layers with one `{CONTENT_LAYER}`; the layers are `{}`",
        types.join("`, `")
    );
    // Refused, but still a module that can be looked at.
    if let ([layer], true) = (layers.as_slice(), last_type == WASM_LAYER)
        && let Ok(bytes) = limited(store, layer)?
    {
        let picked = taken(Shape::Cncf, Found { bytes, path: None }, Vec::new());
        return Ok(Picked { refused: Some(format!("the CNCF's Wasm artifact: {reason}")), ..picked });
    }
    Ok(Picked::refused(reason))
}

/// The type of a layer, which they look up by its digest: of two layers with the same bytes both have that of the first.
fn media_type<'a>(layers: &'a [OciDescriptor], layer: &OciDescriptor) -> &'a str {
    layers.iter().find(|other| other.digest == layer.digest).map_or("", |first| first.media_type.as_str())
}

fn archived(store: &dyn Store, layer: &OciDescriptor, shape: Shape) -> Result<Picked, OciError> {
    let bytes = match limited(store, layer)? {
        Ok(bytes) => bytes,
        Err(refused) => return Ok(refused),
    };
    let refused = |reason: String| Picked { shape: Some(shape), ..Picked::refused(reason) };
    let layer = match archive::look_through(&bytes, MODULE_FILE) {
        Ok(layer) => layer,
        Err(error) => {
            let reason =
                format!("the last layer is not the gzip-compressed archive that it says it is: {error}");
            return Ok(refused(reason));
        }
    };
    let (path, bytes) = match layer.found {
        Some(Ok(Unpacked { path, bytes })) => (path, bytes),
        Some(Err(NoFile(path))) => {
            return Ok(refused(format!("`{path}` in the last layer is no file but a link or a folder")));
        }
        None if layer.paths.is_empty() => {
            return Ok(refused(format!("no `{MODULE_FILE}` in the last layer; it holds nothing")));
        }
        None => {
            let names = layer.paths.join("`, `");
            return Ok(refused(format!("no `{MODULE_FILE}` in the last layer; it holds `{names}`")));
        }
    };
    let beside = layer.files.into_iter().map(|file| (file.path, file.bytes)).collect();
    Ok(taken(shape, Found { bytes, path: Some(path) }, beside))
}

fn taken(shape: Shape, found: Found, files: Vec<(String, Vec<u8>)>) -> Picked {
    let refused = if found.bytes.len() as u64 > MAX_MODULE_BYTES {
        return too_large();
    } else if !found.bytes.starts_with(MAGIC) {
        Some("what should be the module does not begin with `\\0asm`".to_owned())
    } else {
        None
    };
    Picked { shape: Some(shape), module: Some(found), files, refused }
}

fn too_large() -> Picked {
    Picked::refused(format!(
        "larger than {MAX_MODULE_BYTES} bytes (256 MiB, ISTIO_WASM_MAX_BINARY_SIZE_BYTES)"
    ))
}

/// The layer, unless its descriptor says already that nobody takes it.
fn limited(store: &dyn Store, layer: &OciDescriptor) -> Result<Result<Vec<u8>, Picked>, OciError> {
    match u64::try_from(layer.size) {
        Ok(size) if size <= MAX_MODULE_BYTES => store.blob(layer).map(Ok),
        Ok(_) => Ok(Err(too_large())),
        Err(_) => {
            Ok(Err(Picked::refused(format!("the manifest says that a layer has {} bytes", layer.size))))
        }
    }
}
