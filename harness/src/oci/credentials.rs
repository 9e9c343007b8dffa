//! Who asks: what docker's configuration and its credential helpers say of a registry.

use std::env;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError as Error, DockerCredential};
use oci_client::secrets::RegistryAuth;

use super::OciError;

/// The name under which docker keeps the credentials of its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The credentials for a registry out of `$DOCKER_CONFIG/config.json`, by default `~/.docker/config.json`, and the helpers that it names.
/// Nobody when it says nothing of this registry.
pub(super) fn find(registry: &str) -> Result<RegistryAuth, OciError> {
    let server = if matches!(registry, "docker.io" | "index.docker.io") { DOCKER_HUB } else { registry };
    if !is_configured() {
        return Ok(RegistryAuth::Anonymous);
    }
    let wrong = |reason: String| OciError::Credentials { registry: registry.to_owned(), reason };
    match docker_credential::get_credential(server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(wrong(
            "an identity token is configured; expected a user and a password or an access token".to_owned(),
        )),
        Err(Error::ConfigNotFound | Error::NoCredentialConfigured) => Ok(RegistryAuth::Anonymous),
        // Helpers say so when they have nothing.
        Err(Error::HelperFailure { stdout, stderr, .. }) if has_none(&stdout) || has_none(&stderr) => {
            Ok(RegistryAuth::Anonymous)
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Whether docker has a configuration at all: `docker_credential` does not tell none from one that cannot be read.
fn is_configured() -> bool {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".docker"));
    let folder = env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    folder.is_some_and(|folder| folder.join("config.json").exists())
}

fn has_none(said: &str) -> bool {
    said.contains("credentials not found")
}

/// Who that is, for messages.
pub(super) fn describe(auth: &RegistryAuth) -> String {
    match auth {
        RegistryAuth::Basic(user, _) => format!("asked as `{user}`"),
        RegistryAuth::Bearer(_) => "asked with a token".to_owned(),
        RegistryAuth::Anonymous => "asked without credentials".to_owned(),
    }
}
