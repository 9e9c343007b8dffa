//! One request and its answer, whoever is at the other end: no more bytes than are asked for, no more time than somebody has, words on standard
//! error while it takes long, and again when a server says that it is not its day. Knows no registry.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use tokio::time::timeout;

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long something may take before somebody is told what we wait for, and how often from then on.
const BEFORE_WORDS: Duration = Duration::from_secs(3);
const BETWEEN_WORDS: Duration = Duration::from_secs(10);
/// What a server must do at least, once its time is over, in bytes a second: who sends less never ends.
const SLOWEST: u64 = 1024;
/// How often something is asked for, and the wait before the second time; before the third it is twice that.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Answers after which it is worth to ask again.
const AGAIN: [u16; 6] = [408, 429, 500, 502, 503, 504];
const MAX_REDIRECTS: usize = 10;
/// The most bytes that are read of an answer that is a refusal.
const MAX_REFUSAL_BYTES: u64 = 64 * 1024;

/// A client.
pub(super) struct Http {
    client: reqwest::Client,
    patience: Duration,
}

/// What is asked for.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// What it is, for readers.
    pub(super) what: &'a str,
    /// The most bytes that the answer may have.
    pub(super) limit: u64,
    /// Whether it does no harm to ask a second time for what may have been done.
    pub(super) may_repeat: bool,
}

impl<'a> Ask<'a> {
    /// A `GET`.
    pub(super) fn get(url: Url, what: &'a str, limit: u64) -> Self {
        let headers = HeaderMap::new();
        Self { method: Method::GET, url, headers, body: None, what, limit, may_repeat: true }
    }
}

/// What came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    pub(super) body: Vec<u8>,
}

/// Why nothing came, or not all.
#[derive(Debug)]
pub(super) enum Problem {
    /// There was no connection, or it broke.
    Request(reqwest::Error),
    /// Nothing came for so long.
    Silent(Duration),
    /// Bytes came, but too few for the time.
    Slow { bytes: u64, time: Duration },
    /// More bytes than were asked for.
    TooLarge { limit: u64 },
    /// It broke off after so many bytes.
    BrokeOff { bytes: u64, error: reqwest::Error },
}

impl Http {
    /// A client that trusts these authorities, too.
    pub(super) fn new(authorities: Vec<Certificate>, patience: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(patience))
            .redirect(Policy::custom(redirect))
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(authorities)
            .build()?;
        Ok(Self { client, patience })
    }

    /// Asks, and asks again when that is of use.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, Problem> {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            let answer = self.once(ask).await?;
            let is_worth_it = AGAIN.contains(&answer.status.as_u16())
                && (ask.may_repeat || answer.status == StatusCode::TOO_MANY_REQUESTS);
            let asked = retry_after(&answer.headers);
            if !is_worth_it || asked.is_some_and(|asked| asked > LONGEST_WAIT) {
                return Ok(answer);
            }
            let pause = asked.unwrap_or(wait);
            let (host, status) = (place(&ask.url), answer.status.as_u16());
            eprintln!("{host} answers {status} for {}; asking again in {} s", ask.what, pause.as_secs());
            tokio::time::sleep(pause).await;
            wait *= 2;
        }
        self.once(ask).await
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Answer, Problem> {
        let mut request =
            self.client.request(ask.method.clone(), ask.url.clone()).headers(ask.headers.clone());
        let mut patience = self.patience;
        if let Some(body) = &ask.body {
            patience += Duration::from_secs(body.len() as u64 / SLOWEST);
            request = request.body(body.clone());
        }
        let begun = Waiting { host: place(&ask.url), what: ask.what };
        let response = begun.with_words(request.send(), patience, 0).await?.map_err(Problem::Request)?;
        self.read(response, ask, &begun).await
    }

    async fn read(
        &self,
        mut response: Response,
        ask: &Ask<'_>,
        waiting: &Waiting<'_>,
    ) -> Result<Answer, Problem> {
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
        let limit = if status.is_success() { ask.limit } else { MAX_REFUSAL_BYTES };
        let mut body = Vec::new();
        let clock = tokio::time::Instant::now();
        loop {
            let bytes = body.len() as u64;
            let time = clock.elapsed();
            if time > self.patience && bytes / time.as_secs().max(1) < SLOWEST {
                return Err(Problem::Slow { bytes, time });
            }
            let chunk = waiting.with_words(response.chunk(), self.patience, bytes).await?;
            let Some(chunk) = chunk.map_err(|error| Problem::BrokeOff { bytes, error })? else { break };
            if bytes + chunk.len() as u64 > limit {
                // Of a refusal that goes on, the beginning will do.
                if !status.is_success() {
                    break;
                }
                return Err(Problem::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, url, body })
    }
}

/// Whom we wait for, and for what.
struct Waiting<'a> {
    host: String,
    what: &'a str,
}

impl Waiting<'_> {
    /// Waits so long; says so meanwhile.
    async fn with_words<F: Future>(
        &self,
        future: F,
        patience: Duration,
        bytes: u64,
    ) -> Result<F::Output, Problem> {
        let mut future = pin!(future);
        let mut waited = Duration::ZERO;
        let mut next = BEFORE_WORDS.min(patience / 2);
        while waited < patience {
            let step = next.min(patience - waited);
            if let Ok(output) = timeout(step, &mut future).await {
                return Ok(output);
            }
            waited += step;
            next = BETWEEN_WORDS;
            if waited < patience {
                let until_now = if bytes > 0 { format!(", {bytes} bytes until now") } else { String::new() };
                eprintln!("waiting for {}: {}{until_now} …", self.host, self.what);
            }
        }
        Err(Problem::Silent(patience))
    }
}

/// Follows at most ten redirects, and none that leaves TLS. What says who asks does not go with it to another host: reqwest takes it off.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        let to = place(attempt.url());
        return attempt.error(Redirect(format!("more than {MAX_REDIRECTS} redirects, the last to {to}")));
    }
    let was_safe = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
    if was_safe && attempt.url().scheme() != "https" {
        let to = place(attempt.url());
        return attempt.error(Redirect(format!("a redirect from HTTPS to HTTP, to {to}, is not followed")));
    }
    attempt.follow()
}

/// Why a redirect was not followed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Redirect(String);

/// Host and port of a URL.
pub(super) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The wait that a server asks for, where it says so in seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
