//! A registry, over the distribution API. The network stands here; what an image is, elsewhere.

mod explain;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciDescriptor,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use tokio::io::AsyncWrite;
use tokio::runtime::{Builder, Runtime};

use super::{Image, MAX_MODULE_BYTES, Manifest, OciError, Store, credentials};
use explain::explain;

/// What a manifest may be, as Istio's agent asks for it.
const MANIFESTS: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent. Istio gives up a whole fetch after 30 s; who pushes has more time.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How a registry is reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// HTTP instead of HTTPS. A registry on loopback is asked over HTTP anyway, as docker and Istio's agent do, unless there is a `ca_file`.
    pub plain_http: bool,
    /// A file of PEM certificates of authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// How a registry asks who is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `Basic` or `Bearer`.
    pub scheme: String,
    /// Where a token is to be had; for `Basic` a mere name.
    pub realm: String,
}

/// A repository of a registry, and the image in it that is meant.
pub struct Registry {
    runtime: Runtime,
    client: Client,
    http: reqwest::Client,
    reference: Reference,
    auth: RegistryAuth,
    scheme: &'static str,
}

impl Registry {
    /// Reads the credentials and makes ready; asks the registry nothing yet.
    ///
    /// # Errors
    /// The certificates or the credentials cannot be read.
    pub fn open(reference: Reference, access: &Access) -> Result<Self, OciError> {
        // Whoever was first has chosen the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = reference.resolve_registry().to_owned();
        let is_plain = access.plain_http || (is_loopback(&host) && access.ca_file.is_none());
        let scheme = if is_plain { "http" } else { "https" };
        let certificates = access.ca_file.as_deref().map(read_certificates).transpose()?;
        let failed = |reason: String| OciError::Connection { place: host.clone(), reason, tls: true };
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
        for certificate in certificates.iter().flatten() {
            let certificate =
                reqwest::Certificate::from_pem(certificate).map_err(|error| failed(error.to_string()))?;
            http = http.add_root_certificate(certificate);
        }
        let config = ClientConfig {
            protocol: if scheme == "http" { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: certificates
                .unwrap_or_default()
                .into_iter()
                .map(|data| Certificate { encoding: CertificateEncoding::Pem, data })
                .collect(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("weir/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        Ok(Self {
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| OciError::Io { path: "the network".to_owned(), source })?,
            client: Client::try_from(config).map_err(|error| failed(error.to_string()))?,
            http: http.build().map_err(|error| failed(error.to_string()))?,
            auth: credentials::find(&host)?,
            reference,
            scheme,
        })
    }

    /// Pushes an image under the reference's tag: blobs that the registry has already are not sent again, the manifest comes last, so that
    /// nobody sees half an image. `told` is called before each part with what it is and its size.
    ///
    /// # Errors
    /// The registry refuses, or cannot be reached.
    pub fn push(&self, image: &Image, mut told: impl FnMut(&str, usize)) -> Result<(), OciError> {
        self.runtime.block_on(async {
            self.authorize(RegistryOperation::Push).await?;
            for blob in &image.blobs {
                let what = format!("the layer {}", blob.digest);
                let is_there = self.client.blob_exists(&self.reference, &blob.digest).await;
                if is_there.map_err(|error| self.explain(error, &what))? {
                    continue;
                }
                told(&blob.digest, blob.bytes.len());
                let pushed = self.client.push_blob(&self.reference, blob.bytes.clone(), &blob.digest).await;
                pushed.map_err(|error| self.explain(error, &what))?;
            }
            told(&image.digest, image.manifest.len());
            let media_type = HeaderValue::from_static(image.media_type);
            let pushed =
                self.client.push_manifest_raw(&self.reference, image.manifest.clone(), media_type).await;
            pushed.map(|_| ()).map_err(|error| self.explain(error, "the manifest"))
        })
    }

    /// How the registry asks who is there; `None` when it asks nobody.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn challenge(&self) -> Result<Option<Challenge>, OciError> {
        let url = format!("{}://{}/v2/", self.scheme, self.reference.resolve_registry());
        let answer = self.runtime.block_on(async { self.http.get(url).send().await });
        let answer = answer.map_err(|error| self.explain(error.into(), "the API"))?;
        if answer.status() != reqwest::StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let header = answer.headers().get(WWW_AUTHENTICATE).map(HeaderValue::as_bytes).unwrap_or_default();
        Ok(Some(Challenge::parse(&String::from_utf8_lossy(header))))
    }

    /// Whether the registry is asked over HTTP.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.scheme == "http"
    }

    /// Whether credentials are configured for the registry.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.auth != RegistryAuth::Anonymous
    }

    /// What is meant.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    async fn authorize(&self, operation: RegistryOperation) -> Result<(), OciError> {
        let authorized = self.client.auth(&self.reference, &self.auth, operation).await;
        authorized.map(|_| ()).map_err(|error| self.explain(error, "the API"))
    }

    fn explain(&self, error: oci_client::errors::OciDistributionError, what: &str) -> OciError {
        explain(error, &self.reference, &self.auth, what)
    }
}

impl Store for Registry {
    fn manifest(&self, digest: Option<&str>) -> Result<Manifest, OciError> {
        let reference = match digest {
            Some(digest) => self.reference.clone_with_digest(digest.to_owned()),
            None => self.reference.clone(),
        };
        let what = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => format!("manifest {digest}"),
            (None, tag) => format!("tag `{}`", tag.unwrap_or("latest")),
        };
        self.runtime.block_on(async {
            self.authorize(RegistryOperation::Pull).await?;
            let pulled = self.client.pull_manifest_raw(&reference, &self.auth, &MANIFESTS).await;
            let (bytes, digest) = pulled.map_err(|error| self.explain(error, &what))?;
            Ok(Manifest { bytes: bytes.to_vec(), digest })
        })
    }

    fn blob(&self, descriptor: &OciDescriptor) -> Result<Vec<u8>, OciError> {
        let what = format!("the layer {}", descriptor.digest);
        let mut bytes = Capped(Vec::new());
        self.runtime
            .block_on(self.client.pull_blob(&self.reference, descriptor, &mut bytes))
            .map_err(|error| self.explain(error, &what))?;
        Ok(bytes.0)
    }
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header: the scheme, and the realm where there is one.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        let lower = parameters.to_ascii_lowercase();
        let realm = lower.find("realm=").map_or("", |start| {
            let value = &parameters[start + "realm=".len()..];
            match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or(""),
                None => value.split(',').next().unwrap_or("").trim(),
            }
        });
        Self { scheme: scheme.to_owned(), realm: realm.to_owned() }
    }
}

/// A vector that ends a download that is larger than any module may be: a registry can send what it likes.
struct Capped(Vec<u8>);

impl AsyncWrite for Capped {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if (self.0.len() + bytes.len()) as u64 > MAX_MODULE_BYTES {
            let why = format!("it is larger than {MAX_MODULE_BYTES} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, why)));
        }
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The certificates of a PEM file, one each.
fn read_certificates(file: &Path) -> Result<Vec<Vec<u8>>, OciError> {
    const END: &str = "-----END CERTIFICATE-----";
    let wrong = |source: io::Error| OciError::Io { path: file.display().to_string(), source };
    let text = std::fs::read_to_string(file).map_err(wrong)?;
    let certificates: Vec<Vec<u8>> = text
        .split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| part.as_bytes().to_vec())
        .collect();
    if certificates.is_empty() {
        return Err(wrong(io::Error::other(
            "holds no certificate; expected PEM, `-----BEGIN CERTIFICATE-----`",
        )));
    }
    Ok(certificates)
}

/// Whether a host, with or without a port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let challenge = |scheme: &str, realm: &str| Challenge { scheme: scheme.into(), realm: realm.into() };
        let parse = Challenge::parse;
        assert_eq!(parse("Basic realm=\"basic-realm\""), challenge("Basic", "basic-realm"));
        let bearer = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\"";
        assert_eq!(parse(bearer), challenge("Bearer", "https://auth.example/token"));
        assert_eq!(
            parse("Bearer service=x, Realm=https://a.example, scope=y"),
            challenge("Bearer", "https://a.example")
        );
        assert_eq!(parse("Negotiate"), challenge("Negotiate", ""));
        assert_eq!(parse(""), challenge("", ""));
    }

    #[test]
    fn who_is_this_machine() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "registry.example",
            "registry.example:5000",
            "10.0.0.1:5000",
            "[2001:db8::1]",
            "localhost.example",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
