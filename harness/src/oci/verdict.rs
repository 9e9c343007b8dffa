//! Would Istio, Envoy Gateway and Envoy pull this image? Their rules, applied to manifests and layers. Pure but for the store it is given.

mod pick;

use oci_client::manifest::{ImageIndexEntry, OciImageIndex, OciImageManifest};
use serde::Serialize;

use super::{Challenge, Manifest, OciError, Store, check_digest, digest, json, layout};
use crate::inspect;
use pick::pick;

/// Who would pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consumer {
    /// Istio's agent, for `WasmPlugin`, `TrafficExtension` and ECDS.
    Istio,
    /// Envoy Gateway's controller, for `EnvoyExtensionPolicy`.
    EnvoyGateway,
    /// Envoy by itself.
    Envoy,
}

impl Consumer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Istio, Self::EnvoyGateway, Self::Envoy];

    /// Its name for readers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Istio => "Istio",
            Self::EnvoyGateway => "Envoy Gateway",
            Self::Envoy => "Envoy",
        }
    }
}

/// How a module lies in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A Docker manifest; the last layer is a `tar.gzip` with `plugin.wasm`.
    Docker,
    /// An OCI manifest; the last layer is a `tar+gzip` with `plugin.wasm`.
    Compat,
    /// Two layers, one of them the module as `application/vnd.module.wasm.content.layer.v1+wasm`.
    Oci,
    /// The CNCF's artifact: one layer `application/wasm`.
    Cncf,
}

impl Shape {
    /// What it is, for readers.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Docker => "Docker image, `plugin.wasm` in the last layer",
            Self::Compat => "OCI image, `plugin.wasm` in the last layer (compat)",
            Self::Oci => "two layers, one of them the module (wasm-image-spec)",
            Self::Cncf => "CNCF Wasm artifact, one `application/wasm` layer",
        }
    }
}

/// What is asked about, besides what the store holds.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The digest that the reference, or a `sha256` field beside it, pins.
    pub pinned: Option<String>,
    /// How the registry asks who is there.
    pub challenge: Option<Challenge>,
    /// Whether it is asked over HTTP.
    pub plain_http: bool,
    /// Whether the reference has the tag `latest`, or none.
    pub is_latest: bool,
}

/// The module that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Module {
    /// Bytes.
    pub size: u64,
    /// `sha256:…` of the module: what `sha256` of an HTTP download and of Envoy's `remote` compares with.
    pub digest: String,
    /// Where it lies in its layer.
    pub path: Option<String>,
    /// Its ABI's version.
    pub abi: Option<String>,
    /// Why Envoy would refuse it, wherever it comes from.
    pub problems: Vec<String>,
    /// The bytes themselves.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// The files beside it.
    #[serde(skip)]
    pub files: Vec<(String, Vec<u8>)>,
}

/// What one of them would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Who.
    pub consumer: Consumer,
    /// Whether it would pull and take the module.
    pub pulls: bool,
    /// Why, or why not.
    pub reason: String,
    /// What it needs, or what may go wrong.
    pub notes: Vec<String>,
}

/// What an image is, and what each would do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The digest of what was asked for.
    pub digest: String,
    /// The digest of the manifest that is meant: another one when an index was asked for.
    pub manifest_digest: Option<String>,
    /// How the module lies in it.
    pub shape: Option<Shape>,
    /// The module.
    pub module: Option<Module>,
    /// Annotations of the manifest.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// What each would do.
    pub verdicts: Vec<Verdict>,
}

/// What an index leads to.
enum Resolved {
    Image { manifest: Box<OciImageManifest>, digest: String, from_index: bool },
    Nothing(String),
}

/// Reads the image and judges.
///
/// # Errors
/// It cannot be read, or is broken: then nobody could pull it.
pub fn judge(store: &dyn Store, asked: &Asked) -> Result<Report, OciError> {
    let top = store.manifest(None)?;
    let mut report = Report {
        digest: top.digest.clone(),
        manifest_digest: None,
        shape: None,
        module: None,
        annotations: Default::default(),
        verdicts: Vec::new(),
    };
    let mut notes = Vec::new();
    let outcome = match resolve(store, &top.bytes, &top.digest)? {
        Resolved::Nothing(reason) => Err(reason),
        Resolved::Image { manifest, digest, from_index } => {
            report.annotations = manifest.annotations.clone().unwrap_or_default();
            let picked = pick(store, &manifest)?;
            report.shape = picked.shape;
            report.module = picked.module.map(|found| module(found.bytes, found.path, picked.files));
            let pinned = asked.pinned.as_deref().map(with_algorithm);
            let pins_other = pinned.as_deref().is_some_and(|pinned| pinned != digest);
            if from_index {
                notes.push(format!(
                    "an index: its linux/amd64 image {digest} is pulled, and `sha256` must be that image's"
                ));
            }
            report.manifest_digest = Some(digest.clone());
            match picked.refused {
                Some(reason) => Err(reason),
                None if pins_other && from_index => Err(format!(
                    "{} is pinned, which is the index; compared is the image's digest, {digest}",
                    pinned.unwrap_or_default()
                )),
                None if pins_other => {
                    Err(format!("{} is pinned, but the image is {digest}", pinned.unwrap_or_default()))
                }
                None => Ok(picked.shape.map_or("", Shape::describe).to_owned()),
            }
        }
    };
    let problems =
        report.module.iter().flat_map(|module| &module.problems).cloned().collect::<Vec<_>>().join("; ");
    for consumer in Consumer::ALL {
        report.verdicts.push(verdict(consumer, &outcome, &problems, asked, &notes));
    }
    Ok(report)
}

fn verdict(
    consumer: Consumer,
    outcome: &Result<String, String>,
    problems: &str,
    asked: &Asked,
    notes: &[String],
) -> Verdict {
    let no = |reason: String| Verdict { consumer, pulls: false, reason, notes: Vec::new() };
    if consumer == Consumer::Envoy {
        return no("pulls no images: it reads files, or fetches modules over HTTP(S) with `sha256`; `weir pull` writes the file".to_owned());
    }
    let shape = match outcome {
        Ok(shape) => shape.clone(),
        Err(reason) => return no(reason.clone()),
    };
    if !problems.is_empty() {
        return no(format!("the module would be pulled, and Envoy refuse it: {problems}"));
    }
    if consumer == Consumer::Istio
        && let Some(reason) = asked.challenge.as_ref().and_then(unsafe_realm)
    {
        return no(reason);
    }
    let mut notes = notes.to_vec();
    if asked.challenge.is_some() {
        notes.push(match consumer {
            Consumer::Istio => "the registry asks for credentials: `imagePullSecret`, of type kubernetes.io/dockerconfigjson, in the plugin's namespace".to_owned(),
            _ => "the registry asks for credentials: `pullSecretRef`".to_owned(),
        });
    }
    if asked.plain_http {
        notes.push(match consumer {
            Consumer::Istio => {
                "the registry speaks plain HTTP: name it in WASM_INSECURE_REGISTRIES of the proxy".to_owned()
            }
            _ => "the registry speaks plain HTTP: Envoy Gateway must be told that it may".to_owned(),
        });
    }
    if asked.is_latest && asked.pinned.is_none() {
        notes.push(
            "the tag `latest` is fetched again at every change of the resource: pin a digest".to_owned(),
        );
    }
    Verdict { consumer, pulls: true, reason: shape, notes }
}

/// Why Istio's agent turns away from a registry that asks who is there: since February 2026 (istio 564edcb) the realm of a 401 must be an HTTP(S)
/// URL of a public host, which the realm of plain Basic authentication never is.
fn unsafe_realm(challenge: &Challenge) -> Option<String> {
    let refused = |why: String| {
        Some(format!(
            "the registry answers 401 with the realm \"{}\": {why}; Istio since 2026 refuses it, whatever the credentials",
            challenge.realm
        ))
    };
    let Some((scheme, rest)) = challenge.realm.split_once("://") else {
        return refused("no URL, as with plain Basic authentication".to_owned());
    };
    if !matches!(scheme, "http" | "https") {
        return refused(format!("the scheme is `{scheme}`"));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or("");
    let name = host.trim_start_matches('[').split([']']).next().unwrap_or("");
    let name =
        if host.starts_with('[') { name } else { name.rsplit_once(':').map_or(name, |(name, _)| name) };
    let is_private = match name.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Ok(std::net::IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => name == "localhost" || name.is_empty(),
    };
    if is_private { refused(format!("`{name}` is no public host")) } else { None }
}

/// How many indexes may name one another.
const MAX_DEPTH: usize = 4;

/// Follows an index, and one that it names in turn, to the image that is pulled from it.
fn resolve(store: &dyn Store, bytes: &[u8], digest: &str) -> Result<Resolved, OciError> {
    let mut here = Manifest { bytes: bytes.to_vec(), digest: digest.to_owned() };
    for depth in 0..MAX_DEPTH {
        let broken = |reason: String| OciError::Manifest {
            what: format!("{} of {}", here.digest, store.place()),
            reason,
        };
        let value = json::object(&here.bytes).map_err(broken)?;
        let media_type = value.get("mediaType").and_then(serde_json::Value::as_str).unwrap_or_default();
        if value.get("schemaVersion").and_then(serde_json::Value::as_u64) == Some(1) {
            return Ok(Resolved::Nothing(
                "a manifest of Docker's schema version 1; expected an image of Docker's version 2 or of OCI"
                    .to_owned(),
            ));
        }
        let is_index =
            layout::is_index(media_type) || (media_type.is_empty() && value.get("manifests").is_some());
        if !is_index {
            let manifest = json::read(value).map_err(broken)?;
            return Ok(Resolved::Image { manifest, digest: here.digest, from_index: depth > 0 });
        }
        let index: OciImageIndex = json::read(value).map_err(broken)?;
        let Some(entry) = index.manifests.iter().find(is_meant) else {
            return Ok(Resolved::Nothing(platforms(&index)));
        };
        check_digest(&format!("an entry of the index {} of {}", here.digest, store.place()), &entry.digest)?;
        here = store.manifest(Some(&entry.digest))?;
    }
    Ok(Resolved::Nothing(format!("an index of an index of an index, {MAX_DEPTH} deep")))
}

/// An entry that names no platform counts as linux/amd64.
fn is_meant(entry: &&ImageIndexEntry) -> bool {
    entry.platform.as_ref().is_none_or(|platform| {
        platform.os.to_string() == "linux" && platform.architecture.to_string() == "amd64"
    })
}

fn platforms(index: &OciImageIndex) -> String {
    const MOST: usize = 8;
    let all = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
    let mut platforms: Vec<String> =
        all.map(|platform| format!("{}/{}", platform.os, platform.architecture)).collect();
    platforms.sort();
    platforms.dedup();
    let more = platforms.len().saturating_sub(MOST);
    platforms.truncate(MOST);
    if more > 0 {
        platforms.push(format!("{more} more"));
    }
    format!(
        "an index without an image for linux/amd64, which is asked for on every machine; it has {}",
        if platforms.is_empty() { "none at all".to_owned() } else { platforms.join(", ") }
    )
}

fn module(bytes: Vec<u8>, path: Option<String>, files: Vec<(String, Vec<u8>)>) -> Module {
    let (abi, problems) = match inspect::inspect(&bytes) {
        Ok(found) => (found.abi, found.problems),
        Err(error) => (None, vec![error.to_string()]),
    };
    Module { size: bytes.len() as u64, digest: digest(&bytes), path, abi, problems, bytes, files }
}

fn with_algorithm(digest: &str) -> String {
    if digest.contains(':') { digest.to_owned() } else { format!("sha256:{digest}") }
}

#[cfg(test)]
mod tests;
