//! OCI images that hold a module: made, written as a layout, pushed, pulled, and judged. Builds and runs no module.
//!
//! `image` and `verdict` are pure: bytes in, bytes or judgements out. `layout` is files, `registry` the network: the only place of the harness that has
//! one besides `envoy`.

mod archive;
mod credentials;
mod image;
mod layout;
mod reference;
mod registry;
mod verdict;

use oci_client::manifest::OciDescriptor;
use sha2::{Digest as _, Sha256};

pub use archive::Unpacked;
pub use image::{Blob, Contents, Image, MODULE_FILE};
pub use layout::Layout;
pub use reference::Place;
pub use registry::{Access, Challenge, Registry};
pub use verdict::{Asked, Consumer, Module, Report, Shape, Verdict, judge};

/// The largest module that Istio's agent and Envoy Gateway take, in bytes: `ISTIO_WASM_MAX_BINARY_SIZE_BYTES`, 256 MiB by default.
pub const MAX_MODULE_BYTES: u64 = 256 * 1024 * 1024;

/// Where manifests and blobs come from: a registry or a layout.
pub trait Store {
    /// The manifest that was asked for, or with `digest` another one of the same repository.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is another one than its digest says.
    fn manifest(&self, digest: Option<&str>) -> Result<Manifest, OciError>;

    /// A blob, whole and with the digest that its descriptor says.
    ///
    /// # Errors
    /// As for [`Store::manifest`].
    fn blob(&self, descriptor: &OciDescriptor) -> Result<Vec<u8>, OciError>;
}

/// A manifest as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// `sha256:…` of them.
    pub digest: String,
}

/// Why an image could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// What was named is no image reference.
    #[error(
        "`{reference}` is no image reference: {reason}; expected `host/repository:tag`, `host/repository@sha256:…` or `oci:FOLDER[:TAG]`"
    )]
    Reference {
        /// What was named.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing of that name is there.
    #[error("{place} has no {what}")]
    NotFound {
        /// The registry's repository, or the layout.
        place: String,
        /// The manifest or blob.
        what: String,
    },
    /// The registry wants to know who asks (401).
    #[error("{place} answers 401: {reason}")]
    Unauthorized {
        /// The registry.
        place: String,
        /// Who asked, and what the registry said.
        reason: String,
    },
    /// The registry knows who asks and refuses (403).
    #[error("{place} answers 403: {reason}")]
    Denied {
        /// The registry's repository.
        place: String,
        /// Who asked, and what the registry said.
        reason: String,
    },
    /// The registry cannot be reached, or speaks no TLS, or not such that it is trusted.
    #[error("cannot reach {place}: {reason}")]
    Connection {
        /// The registry.
        place: String,
        /// Why not.
        reason: String,
        /// Whether it is TLS that failed.
        tls: bool,
    },
    /// Any other answer of a registry.
    #[error("{place}: {reason}")]
    Registry {
        /// The registry's repository.
        place: String,
        /// What it said.
        reason: String,
    },
    /// What came is not what its digest says.
    #[error("{what} is not what its digest says: expected {expected}, found {found}")]
    Digest {
        /// The manifest or blob.
        what: String,
        /// The digest that was asked for.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// A manifest or index that is none.
    #[error("{what} is no manifest: {reason}")]
    Manifest {
        /// Where it is from.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Credentials are configured, but cannot be had.
    #[error("the credentials for {registry}: {reason}")]
    Credentials {
        /// The registry.
        registry: String,
        /// What is wrong.
        reason: String,
    },
    /// A file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl OciError {
    /// What can be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unauthorized { .. } => {
                "log in with `docker login`, `podman login --authfile ~/.docker/config.json` or a credential helper; $DOCKER_CONFIG names another folder".to_owned()
            }
            Self::Denied { .. } => "ask the registry's owner for the right to pull or push here".to_owned(),
            Self::Connection { tls: true, .. } => {
                "--ca-file FILE trusts another authority; --plain-http speaks HTTP to a registry without TLS".to_owned()
            }
            _ => return None,
        })
    }
}

/// `sha256:` and the hexadecimal digest of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
