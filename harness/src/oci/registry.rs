//! A registry, over the distribution API. The network stands here; what an image is, elsewhere.

mod certificates;
mod challenge;
mod explain;
mod http;
mod token;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use oci_client::Reference;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciDescriptor,
};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use tokio::runtime::{Builder, Runtime};

use super::credentials::{self, Credentials};
use super::image::Blob;
use super::{Image, MAX_MODULE_BYTES, Manifest, OciError, Store, check_blob, check_digest, digest};
pub use challenge::Challenge;
use http::{Answer, Ask, Http, Problem};

/// What a manifest may be, as Istio's agent asks for it.
const MANIFESTS: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// The largest manifest that is read: what the distribution specification asks registries to take.
const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// The largest answer that is read where nothing of it is of use.
const MAX_WORDS_BYTES: u64 = 1 << 20;
/// Where registries say which digest they know something by.
const DIGEST: &str = "Docker-Content-Digest";

/// How long a registry may be silent, in seconds, if nobody says otherwise. Istio gives up a whole fetch after 30 s.
pub const PATIENCE_SECONDS: u64 = 60;

/// How a registry is reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// HTTP instead of HTTPS. A registry on loopback is asked over HTTP anyway, as docker and Istio's agent do, unless there is a `ca_file`.
    pub plain_http: bool,
    /// A file of PEM certificates of authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How long it, its token service or a credential helper may be silent.
    pub patience: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self { plain_http: false, ca_file: None, patience: Duration::from_secs(PATIENCE_SECONDS) }
    }
}

/// What is to be done, for a token that allows it.
#[derive(Clone, Copy)]
enum Operation {
    Pull,
    Push,
}

/// A repository of a registry, and the image in it that is meant.
pub struct Registry {
    runtime: Runtime,
    http: Http,
    reference: Reference,
    /// Scheme, host and port.
    base: Url,
    credentials: Credentials,
    /// Whether it was asked how it asks.
    greeted: Cell<bool>,
    /// What says who asks.
    authorization: RefCell<Option<HeaderValue>>,
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
        let base = Url::parse(&format!("{scheme}://{host}/")).map_err(|error| OciError::Reference {
            reference: reference.whole(),
            reason: format!("`{host}` is no host: {error}"),
        })?;
        let authorities = access.ca_file.as_deref().map(certificates::read).transpose()?.unwrap_or_default();
        Ok(Self {
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| OciError::Io { path: "the network".to_owned(), source })?,
            http: Http::new(authorities, access.patience).map_err(|error| match &access.ca_file {
                Some(file) => certificates::broken(file, &error),
                None => OciError::Connection { place: host.clone(), reason: error.to_string(), tls: true },
            })?,
            credentials: credentials::find(&host, access.patience)?,
            reference,
            base,
            greeted: Cell::new(false),
            authorization: RefCell::new(None),
        })
    }

    /// Pushes an image under the reference's tag: blobs that the registry has already are not sent again, the manifest comes last, so that
    /// nobody sees half an image. `told` is called before each part with what it is and its size.
    ///
    /// # Errors
    /// The registry refuses, or cannot be reached.
    pub fn push(&self, image: &Image, mut told: impl FnMut(&str, usize)) -> Result<(), OciError> {
        self.runtime.block_on(async {
            for blob in &image.blobs {
                let what = format!("the layer {}", blob.digest);
                let mut ask = Ask::get(self.url(&format!("blobs/{}", blob.digest))?, &what, MAX_WORDS_BYTES);
                ask.method = Method::HEAD;
                let answer = self.ask(&mut ask, Operation::Push).await?;
                if answer.status.is_success() {
                    continue;
                }
                if answer.status != StatusCode::NOT_FOUND {
                    return Err(self.refused(&answer, &ask));
                }
                told(&blob.digest, blob.bytes.len());
                self.push_blob(blob, &what).await?;
            }
            told(&image.digest, image.manifest.len());
            self.push_manifest(image).await
        })
    }

    async fn push_blob(&self, blob: &Blob, what: &str) -> Result<(), OciError> {
        let mut ask = Ask::get(self.url("blobs/uploads/")?, what, MAX_WORDS_BYTES);
        ask.method = Method::POST;
        ask.body = Some(Bytes::new());
        let answer = self.ask(&mut ask, Operation::Push).await?;
        if answer.status != StatusCode::ACCEPTED {
            return Err(self.refused(&answer, &ask));
        }
        let location = answer.headers.get(LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let location = String::from_utf8_lossy(location);
        let mut url = answer.url.join(&location).ok().filter(|url| url.has_host() && !location.is_empty());
        let Some(url) = url.take_if(|url| matches!(url.scheme(), "http" | "https")) else {
            let location = crate::style::printable(location.as_bytes());
            let reason = format!("{what}: it says to send it to `{location}`; expected a URL in `Location`");
            return Err(OciError::Registry { place: self.place(), reason });
        };
        let mut ask = Ask::get(url, what, MAX_WORDS_BYTES);
        ask.method = Method::PUT;
        // Where the upload went through and the answer was lost, there is nothing to go on with.
        ask.may_repeat = false;
        ask.url.query_pairs_mut().append_pair("digest", &blob.digest);
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        ask.body = Some(Bytes::from(blob.bytes.clone()));
        let answer = self.ask(&mut ask, Operation::Push).await?;
        // Some say 200 or 204 where it should be 201; what is not there they refuse with the manifest.
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED if !self.is_ours(&ask.url) => {
                let place = http::place(&ask.url);
                let reason = format!(
                    "{what}: it says to send it to {}://{place}, which answers 401",
                    ask.url.scheme()
                );
                Err(OciError::Registry { place: self.place(), reason })
            }
            _ => Err(self.refused(&answer, &ask)),
        }
    }

    async fn push_manifest(&self, image: &Image) -> Result<(), OciError> {
        let tag = self.reference.tag().unwrap_or("latest");
        let mut ask = Ask::get(self.url(&format!("manifests/{tag}"))?, "the manifest", MAX_WORDS_BYTES);
        ask.method = Method::PUT;
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static(image.media_type));
        ask.body = Some(Bytes::from(image.manifest.clone()));
        let answer = self.ask(&mut ask, Operation::Push).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, &ask));
        }
        self.check_known(&answer, "the manifest", &image.digest)
    }

    /// How the registry asks who is there; `None` when it asks nobody.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn challenge(&self) -> Result<Option<Challenge>, OciError> {
        let answer = self.runtime.block_on(self.greet())?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        Ok(Some(Challenge::of(&answer.headers).unwrap_or_default()))
    }

    /// Whether the registry is asked over HTTP.
    #[must_use]
    pub fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// What is meant.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    fn host(&self) -> &str {
        self.reference.resolve_registry()
    }

    fn place(&self) -> String {
        format!("{}/{}", self.host(), self.reference.repository())
    }

    /// A URL of the API, in this repository.
    fn url(&self, rest: &str) -> Result<Url, OciError> {
        let path = format!("/v2/{}/{rest}", self.reference.repository());
        self.base.join(&path).map_err(|error| OciError::Reference {
            reference: self.reference.whole(),
            reason: error.to_string(),
        })
    }

    /// Whether a URL is of this registry: only there is told who asks.
    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    fn refused(&self, answer: &Answer, ask: &Ask<'_>) -> OciError {
        explain::refusal(answer, ask, self.place(), &self.credentials)
    }

    fn failed(&self, problem: Problem, ask: &Ask<'_>, size: Option<u64>) -> OciError {
        explain::problem(problem, self.host(), ask, size)
    }

    /// What the API says to nobody.
    async fn greet(&self) -> Result<Answer, OciError> {
        let url = self.base.join("/v2/").unwrap_or_else(|_| self.base.clone());
        let ask = Ask::get(url, "the API", MAX_WORDS_BYTES);
        let answer = self.http.ask(&ask).await.map_err(|problem| self.failed(problem, &ask, None))?;
        if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.refused(&answer, &ask));
        }
        Ok(answer)
    }

    /// Asks the registry, and says who asks when it wants to know; a second time when it does no longer know.
    async fn ask(&self, ask: &mut Ask<'_>, operation: Operation) -> Result<Answer, OciError> {
        if !self.greeted.replace(true) {
            let answer = self.greet().await?;
            if answer.status == StatusCode::UNAUTHORIZED {
                let challenge = Challenge::of(&answer.headers);
                let has_password = matches!(self.credentials, Credentials::Password { .. });
                // Who has nothing to say can ask all the same: some let anybody read.
                if has_password || challenge.as_ref().is_some_and(Challenge::is_bearer) {
                    self.authorize(challenge.as_ref(), operation).await?;
                }
            }
        }
        let is_ours = self.is_ours(&ask.url);
        self.sign(ask, is_ours);
        let answer = self.asked(ask).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !is_ours || !self.is_ours(&answer.url) {
            return Ok(answer);
        }
        let challenge = Challenge::of(&answer.headers);
        // A password does not become another one.
        let is_known =
            challenge.as_ref().is_none_or(Challenge::is_basic) && ask.headers.contains_key(AUTHORIZATION);
        if is_known {
            return Ok(answer);
        }
        self.authorize(challenge.as_ref(), operation).await?;
        self.sign(ask, is_ours);
        self.asked(ask).await
    }

    async fn authorize(&self, challenge: Option<&Challenge>, operation: Operation) -> Result<(), OciError> {
        let authorization = self.answer(challenge, operation).await?;
        self.authorization.replace(Some(authorization));
        Ok(())
    }

    fn sign(&self, ask: &mut Ask<'_>, is_ours: bool) {
        if let (Some(authorization), true) = (&*self.authorization.borrow(), is_ours) {
            ask.headers.insert(AUTHORIZATION, authorization.clone());
        }
    }

    async fn asked(&self, ask: &Ask<'_>) -> Result<Answer, OciError> {
        self.http.ask(ask).await.map_err(|problem| self.failed(problem, ask, None))
    }

    /// The registry has stored, or sent, what it should have.
    fn check_known(&self, answer: &Answer, what: &str, digest: &str) -> Result<(), OciError> {
        let known = answer.headers.get(DIGEST).and_then(|header| header.to_str().ok()).unwrap_or_default();
        if known.starts_with("sha256:") && known != digest {
            return Err(OciError::Digest {
                what: format!("{what} of {}", self.place()),
                expected: crate::style::printable(known.as_bytes()),
                found: digest.to_owned(),
            });
        }
        Ok(())
    }
}

impl Store for Registry {
    fn place(&self) -> String {
        Registry::place(self)
    }

    fn manifest(&self, wanted: Option<&str>) -> Result<Manifest, OciError> {
        let wanted = wanted.or_else(|| self.reference.digest());
        let tag = self.reference.tag().unwrap_or("latest");
        let what = wanted.map_or_else(|| format!("tag `{tag}`"), |digest| format!("manifest {digest}"));
        let mut ask =
            Ask::get(self.url(&format!("manifests/{}", wanted.unwrap_or(tag)))?, &what, MAX_MANIFEST_BYTES);
        ask.headers.insert(ACCEPT, accepted());
        let answer = self.runtime.block_on(self.ask(&mut ask, Operation::Pull))?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer, &ask));
        }
        let found = digest(&answer.body);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            let what = format!("the manifest of {}", self.place());
            return Err(OciError::Digest { what, expected: wanted.to_owned(), found });
        }
        self.check_known(&answer, &what, &found)?;
        Ok(Manifest { bytes: answer.body, digest: found })
    }

    fn blob(&self, descriptor: &OciDescriptor) -> Result<Vec<u8>, OciError> {
        check_digest(&format!("a layer of {}", self.place()), &descriptor.digest)?;
        let what = format!("the layer {}", descriptor.digest);
        let size = u64::try_from(descriptor.size).ok().filter(|size| *size <= MAX_MODULE_BYTES);
        let url = self.url(&format!("blobs/{}", descriptor.digest))?;
        let mut ask = Ask::get(url, &what, size.unwrap_or(MAX_MODULE_BYTES));
        let answer = self.runtime.block_on(self.ask(&mut ask, Operation::Pull))?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer, &ask));
        }
        check_blob(descriptor, &format!("{what} of {}", self.place()), &answer.body)?;
        Ok(answer.body)
    }
}

/// What a manifest may be.
fn accepted() -> HeaderValue {
    // The types are constants that a header can hold.
    HeaderValue::from_str(&MANIFESTS.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("*/*"))
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
