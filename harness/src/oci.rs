//! OCI images that hold a module: made, written as a layout, pushed, pulled, and judged. Builds and runs no module.
//!
//! `image` and `verdict` are pure: bytes in, bytes or judgements out. `layout` is files, `registry` the network: the only place of the harness that has
//! one besides `envoy`.

mod archive;
mod credentials;
mod image;
mod json;
mod layout;
mod reference;
mod registry;
mod verdict;

use oci_client::manifest::OciDescriptor;
use sha2::{Digest as _, Sha256};

use crate::style::{printable, shorten};

pub use archive::Unpacked;
pub use image::{Blob, Contents, Image, MODULE_FILE};
pub use layout::Layout;
pub use reference::{Place, check_tag, tag_of};
pub use registry::{Access, Challenge, PATIENCE_SECONDS, Registry};
pub use verdict::{Asked, Consumer, Module, Report, Shape, Verdict, judge};

/// The largest module that Istio's agent and Envoy Gateway take, in bytes: `ISTIO_WASM_MAX_BINARY_SIZE_BYTES`, 256 MiB by default.
pub const MAX_MODULE_BYTES: u64 = 256 * 1024 * 1024;

/// Where manifests and blobs come from: a registry or a layout.
pub trait Store {
    /// What it is called in messages.
    fn place(&self) -> String;

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
    /// The registry, or its token service, wants to know who asks (401).
    #[error("{place} answers {status}: {reason}")]
    Unauthorized {
        /// The registry.
        place: String,
        /// The status.
        status: u16,
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
    /// The registry is there, but nothing comes, or too slowly.
    #[error("{place} does not answer in time: {reason}")]
    Slow {
        /// The registry.
        place: String,
        /// What was waited for, and how long.
        reason: String,
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
    /// What came is longer or shorter than its manifest says.
    #[error("{what} has {found} bytes; its manifest says {expected}")]
    Size {
        /// The blob.
        what: String,
        /// The size that the manifest says.
        expected: i64,
        /// The size of what came.
        found: u64,
    },
    /// What is called a digest is none, or one of another kind.
    #[error("{what}: `{digest}` is no digest; expected `sha256:` and 64 hexadecimal digits in lower case")]
    NoDigest {
        /// What it names.
        what: String,
        /// What it is.
        digest: String,
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
            Self::Slow { .. } => "--timeout SECONDS has more patience".to_owned(),
            _ => return None,
        })
    }
}

/// What a descriptor says is what came.
fn check_blob(descriptor: &OciDescriptor, what: &str, bytes: &[u8]) -> Result<(), OciError> {
    if u64::try_from(descriptor.size) != Ok(bytes.len() as u64) {
        let found = bytes.len() as u64;
        return Err(OciError::Size { what: what.to_owned(), expected: descriptor.size, found });
    }
    let found = digest(bytes);
    if found != descriptor.digest {
        return Err(OciError::Digest { what: what.to_owned(), expected: descriptor.digest.clone(), found });
    }
    Ok(())
}

/// What a manifest or a reference calls a digest is one: it becomes a part of paths and URLs, and Istio's agent and Envoy Gateway know no others.
fn check_digest(what: &str, digest: &str) -> Result<(), OciError> {
    let digits = digest.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(());
    }
    let digest = shorten(&printable(digest.as_bytes()), 100);
    Err(OciError::NoDigest { what: what.to_owned(), digest })
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
