//! Certificates of authorities, out of a file.

use std::error::Error as _;
use std::io;
use std::path::Path;

use reqwest::Certificate;

use super::super::OciError;

/// The certificates of a PEM file.
pub(super) fn read(file: &Path) -> Result<Vec<Certificate>, OciError> {
    let text = std::fs::read(file).map_err(|source| wrong(file, source))?;
    let certificates = Certificate::from_pem_bundle(&text).map_err(|error| broken(file, &error))?;
    if certificates.is_empty() {
        return Err(none(file, "holds no certificate"));
    }
    Ok(certificates)
}

/// A file whose certificates are none.
pub(super) fn broken(file: &Path, error: &reqwest::Error) -> OciError {
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    none(file, &format!("holds a certificate that is none: {cause}"))
}

fn none(file: &Path, what: &str) -> OciError {
    wrong(file, io::Error::other(format!("{what}; expected PEM, `-----BEGIN CERTIFICATE-----`")))
}

fn wrong(file: &Path, source: io::Error) -> OciError {
    OciError::Io { path: file.display().to_string(), source }
}
