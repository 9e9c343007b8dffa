//! What went wrong with a registry, in words that say what to do.

use std::error::Error as _;

use oci_client::Reference;
use oci_client::errors::{DigestError, OciDistributionError as Error, OciErrorCode};
use oci_client::secrets::RegistryAuth;

use super::super::{OciError, credentials};

/// Turns the client's error into ours; `what` was asked for.
pub(super) fn explain(error: Error, reference: &Reference, auth: &RegistryAuth, what: &str) -> OciError {
    let host = reference.resolve_registry().to_owned();
    let place = format!("{host}/{}", reference.repository());
    let asked = |said: &str| {
        let said = said.trim();
        let who = credentials::describe(auth);
        if said.is_empty() { who } else { format!("{who}; it says: {said}") }
    };
    match error {
        Error::UnauthorizedError { .. } => OciError::Unauthorized { place, reason: asked("") },
        Error::AuthenticationFailure(said) => OciError::Unauthorized { place, reason: asked(&said) },
        Error::ImageManifestNotFoundError(_) => OciError::NotFound { place, what: what.to_owned() },
        Error::ServerError { code, message, .. } => match code {
            401 => OciError::Unauthorized { place, reason: asked(&message) },
            403 => OciError::Denied { place, reason: asked(&message) },
            404 => OciError::NotFound { place, what: what.to_owned() },
            _ => OciError::Registry { place, reason: format!("{what}: HTTP {code}: {}", message.trim()) },
        },
        Error::RegistryError { envelope, .. } => {
            let said =
                envelope.errors.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ");
            match envelope.errors.first().map(|error| &error.code) {
                Some(OciErrorCode::Unauthorized) => OciError::Unauthorized { place, reason: asked(&said) },
                Some(OciErrorCode::Denied) => OciError::Denied { place, reason: asked(&said) },
                Some(
                    OciErrorCode::ManifestUnknown
                    | OciErrorCode::NameUnknown
                    | OciErrorCode::NotFound
                    | OciErrorCode::BlobUnknown,
                ) => OciError::NotFound { place, what: what.to_owned() },
                _ => OciError::Registry { place, reason: format!("{what}: {said}") },
            }
        }
        Error::DigestError(DigestError::VerificationError { expected, actual }) => {
            OciError::Digest { what: format!("{what} of {place}"), expected, found: actual }
        }
        Error::RequestError(error) => request(&error, host, place, what, asked("")),
        error => OciError::Registry { place, reason: format!("{what}: {error}") },
    }
}

/// A request that got no answer, or one that says no.
fn request(error: &reqwest::Error, host: String, place: String, what: &str, who: String) -> OciError {
    if let Some(status) = error.status() {
        return match status.as_u16() {
            401 => OciError::Unauthorized { place, reason: who },
            403 => OciError::Denied { place, reason: who },
            404 => OciError::NotFound { place, what: what.to_owned() },
            _ => OciError::Registry { place, reason: format!("{what}: HTTP {status}") },
        };
    }
    // The innermost cause says what happened; the outer ones, that something did.
    let mut cause = error.to_string();
    let mut source = error.source();
    let mut tls = false;
    while let Some(inner) = source {
        cause = inner.to_string();
        tls |= ["certificate", "InvalidContentType", "TLS", "tls"].iter().any(|word| cause.contains(word));
        source = inner.source();
    }
    if error.is_timeout() {
        cause = format!("no answer in time ({cause})");
    }
    OciError::Connection { place: host, reason: cause, tls }
}
