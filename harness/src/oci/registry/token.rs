//! Says who asks: answers a registry's challenge, with a password or with a token that its token service gives.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::super::OciError;
use super::super::credentials::Credentials;
use super::explain::{self, said};
use super::http::{Ask, place};
use super::{Challenge, Operation, Registry};
use crate::style::printable;

/// The longest answer of a token service that is read.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// What a token service answers; older ones say `token`, those of OAuth 2 `access_token`.
#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry {
    /// What to send along from now on.
    pub(super) async fn answer(
        &self,
        challenge: Option<&Challenge>,
        operation: Operation,
    ) -> Result<HeaderValue, OciError> {
        match challenge {
            Some(challenge) if challenge.is_bearer() => self.token(challenge, operation).await,
            Some(challenge) if !challenge.is_basic() => Err(self.unauthorized(format!(
                "it asks who is there by `{}`, which is not known here; expected `Basic` or `Bearer`",
                printable(challenge.scheme.as_bytes())
            ))),
            _ if matches!(self.credentials, Credentials::Identity(_)) => Err(OciError::Credentials {
                registry: self.host().to_owned(),
                reason: "an identity token is configured, and this registry names no token service that would take it; \
                         expected a user and a password"
                    .to_owned(),
            }),
            _ => basic(&self.credentials)
                .ok_or_else(|| self.unauthorized(explain::asked(&self.credentials, ""))),
        }
    }

    /// A token for this repository.
    async fn token(&self, challenge: &Challenge, operation: Operation) -> Result<HeaderValue, OciError> {
        let wrong = |reason: String| OciError::Registry { place: self.place(), reason };
        let realm = printable(challenge.realm.as_bytes());
        let mut url = Url::parse(&challenge.realm)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| wrong(format!("its tokens are at `{realm}`; expected a URL of http or https")))?;
        let is_known = !matches!(self.credentials, Credentials::Nobody);
        if is_known && url.scheme() == "http" && !self.is_plain_http() {
            return Err(wrong(format!(
                "its tokens are at `{realm}`, without TLS: the credentials are not sent there"
            )));
        }
        let actions = match operation {
            Operation::Pull => "pull",
            Operation::Push => "pull,push",
        };
        let service = format!("the token service {}", place(&url));
        let plain = url.clone();
        url.query_pairs_mut()
            .append_pair("scope", &format!("repository:{}:{actions}", self.reference().repository()));
        if let Some(service) = &challenge.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut ask = Ask::get(url, "a token", MAX_TOKEN_BYTES);
        if let Credentials::Identity(token) = &self.credentials {
            exchange(&mut ask, plain, token);
        } else if let Some(basic) = basic(&self.credentials) {
            ask.headers.insert(AUTHORIZATION, basic);
        }
        let answer = self.http.ask(&ask).await;
        let answer = answer.map_err(|problem| explain::problem(problem, &place(&ask.url), &ask, None))?;
        let words = said(&answer);
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(OciError::Unauthorized {
                    place: service,
                    status: answer.status.as_u16(),
                    reason: explain::asked(&self.credentials, &words),
                });
            }
            status => {
                let reason = format!("{service} answers HTTP {status}");
                return Err(wrong(if words.is_empty() { reason } else { format!("{reason}: {words}") }));
            }
        }
        let given: Option<Given> = serde_json::from_slice(&answer.body).ok();
        let token = given.and_then(|given| {
            [given.token, given.access_token].into_iter().flatten().find(|token| !token.is_empty())
        });
        let bearer = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut bearer = bearer.ok_or_else(|| {
            wrong(format!("{service} answers without a token; expected JSON with `token` or `access_token`"))
        })?;
        bearer.set_sensitive(true);
        Ok(bearer)
    }

    fn unauthorized(&self, reason: String) -> OciError {
        OciError::Unauthorized { place: self.place(), status: 401, reason }
    }
}

/// Asks in the way of OAuth 2, in which an identity token is given for another one: with a form in place of the query, as docker does.
fn exchange(ask: &mut Ask<'_>, service: Url, token: &str) {
    ask.url
        .query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "weir")
        .append_pair("refresh_token", token);
    let form = ask.url.query().unwrap_or_default().to_owned();
    ask.method = Method::POST;
    ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    ask.body = Some(form.into());
    ask.url = service;
}

/// User and password as a header.
fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let Credentials::Password { user, password } = credentials else { return None };
    let mut header =
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
            .ok()?;
    header.set_sensitive(true);
    Some(header)
}
