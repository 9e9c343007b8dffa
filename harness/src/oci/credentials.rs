//! Who asks: what docker's configuration and its credential helpers say of a registry.

mod helper;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::OciError;

/// The name under which docker keeps the credentials of its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Base64 as docker reads it, and without the padding that some leave out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Credentials {
    /// Nobody that is known.
    Nobody,
    /// A user.
    Password { user: String, password: String },
    /// Who has this token, for which a token service gives others.
    Identity(String),
}

impl Credentials {
    /// Who that is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Password { user, .. } => format!("asked as `{user}`"),
            Self::Identity(_) => "asked with an identity token".to_owned(),
            Self::Nobody => "asked without credentials".to_owned(),
        }
    }
}

/// `config.json`, as much of it as is about registries.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Configuration {
    auths: Option<BTreeMap<String, Auth>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// What it says of one; what docker's helpers keep leaves all of it empty.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object")]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The credentials for a registry out of `$DOCKER_CONFIG/config.json`, by default `~/.docker/config.json`, and the helpers that it names.
/// Nobody when it says nothing of this registry. A helper has `patience` to answer.
pub(super) fn find(registry: &str, patience: Duration) -> Result<Credentials, OciError> {
    let Some(file) = file() else { return Ok(Credentials::Nobody) };
    let wrong = |reason: String| OciError::Credentials { registry: registry.to_owned(), reason };
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Credentials::Nobody),
        Err(error) => return Err(wrong(format!("`{}`: {error}", file.display()))),
    };
    let in_file = |reason: String| wrong(format!("`{}`: {reason}", file.display()));
    let configuration = read(&text).map_err(in_file)?;
    let names = names(registry);
    match configured(&configuration, &names).map_err(in_file)? {
        Configured::Here(credentials) => Ok(credentials),
        Configured::Helper(helper, name) => helper::ask(helper, name, patience)
            .map_err(|reason| wrong(format!("{reason}; `{}` names this helper", file.display()))),
    }
}

/// Docker's configuration; an empty `$DOCKER_CONFIG` is none, as for docker.
fn file() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let home = || set("HOME").map(|home| Path::new(&home).join(".docker"));
    let folder = set("DOCKER_CONFIG").map(PathBuf::from).or_else(home)?;
    Some(folder.join("config.json"))
}

fn read(text: &[u8]) -> Result<Configuration, String> {
    if text.trim_ascii().is_empty() {
        return Ok(Configuration::default());
    }
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err("is not docker's configuration: expected an object of JSON".to_owned());
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let path = path.trim_end_matches(['.', '?']);
        let place = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
        format!("is not docker's configuration: {place}{}", error.into_inner())
    })?;
    json.end().map_err(|error| format!("is not docker's configuration: {error}"))?;
    Ok(read)
}

/// The names that a registry may have in the file, the first the one that docker gives it.
fn names(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            vec![DOCKER_HUB, "index.docker.io", "docker.io", "registry-1.docker.io"]
        }
        other => vec![other],
    }
}

/// Where credentials are.
enum Configured<'a> {
    Here(Credentials),
    /// A helper has them, under that name.
    Helper(&'a str, &'a str),
}

fn configured<'a>(configuration: &'a Configuration, names: &[&'a str]) -> Result<Configured<'a>, String> {
    let helpers = configuration.cred_helpers.as_ref();
    let helper = names.iter().find_map(|name| helpers?.get(*name).map(|helper| (helper.as_str(), *name)));
    if let Some((helper, name)) = helper.filter(|(helper, _)| !helper.is_empty()) {
        return Ok(Configured::Helper(helper, name));
    }
    let auths = configuration.auths.as_ref();
    let exactly = |name: &&str| auths.and_then(|auths| auths.get_key_value(*name));
    let by_host = || auths?.iter().find(|(key, _)| names.contains(&host(key)));
    let found = names.iter().find_map(exactly).or_else(by_host);
    if let Some(credentials) = found.map(|(key, auth)| written(key, auth)).transpose()?.flatten() {
        return Ok(Configured::Here(credentials));
    }
    match (&configuration.creds_store, names.first()) {
        (Some(helper), Some(name)) if !helper.is_empty() => Ok(Configured::Helper(helper, name)),
        _ => Ok(Configured::Here(Credentials::Nobody)),
    }
}

/// What an entry of `auths` holds.
fn written(key: &str, entry: &Auth) -> Result<Option<Credentials>, String> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = set(&entry.identitytoken) {
        return Ok(Some(Credentials::Identity(token)));
    }
    if let Some(auth) = set(&entry.auth) {
        let decoded = BASE64.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let Some((user, password)) = pair else {
            return Err(format!("`auths[\"{key}\"].auth` is not USER:PASSWORD in base64"));
        };
        let password = password.trim_end_matches('\0').to_owned();
        return Ok(Some(Credentials::Password { user: user.to_owned(), password }));
    }
    Ok(match (set(&entry.username), set(&entry.password)) {
        (Some(user), Some(password)) => Some(Credentials::Password { user, password }),
        _ => None,
    })
}

/// The host of a key, which may be a URL.
fn host(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    rest.map_or(key, |rest| rest.split('/').next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, registry: &str, want: &str) {
        let found = read(text.as_bytes()).and_then(|configuration| {
            Ok(match configured(&configuration, &names(registry))? {
                Configured::Here(Credentials::Password { user, password }) => format!("{user} {password}"),
                Configured::Here(Credentials::Identity(token)) => format!("token {token}"),
                Configured::Here(Credentials::Nobody) => "nobody".to_owned(),
                Configured::Helper(helper, name) => format!("helper {helper} for {name}"),
            })
        });
        let found = found.unwrap_or_else(|error| error);
        assert!(found.starts_with(want), "{text}: {found}");
    }

    #[test]
    fn credentials_are_found_where_docker_has_them() {
        let auth =
            r#"{"auths": {"a.example": {"auth": "dTpwOnE="}, "https://b.example/v1/": {"auth": "dTpw"}}}"#;
        check(auth, "a.example", "u p:q");
        check(auth, "b.example", "u p");
        check(auth, "c.example", "nobody");
        check(r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}"#, "docker.io", "u p");
        check(r#"{"auths": {"docker.io": {"username": "u", "password": "p"}}}"#, "index.docker.io", "u p");
        check(r#"{"auths": {"a": {"identitytoken": "t", "auth": "dTo="}}}"#, "a", "token t");
        // As docker leaves it where a helper has them.
        let store = r#"{"auths": {"a": {}, "b": {"auth": ""}}, "credsStore": "pass", "credHelpers": {"c": "gcloud"}}"#;
        check(store, "a", "helper pass for a");
        check(store, "b", "helper pass for b");
        check(store, "c", "helper gcloud for c");
        check(store, "docker.io", "helper pass for https://index.docker.io/v1/");
        for nothing in ["", " \n", "{}", r#"{"auths": null, "HttpHeaders": {}}"#, r#"{"auths": {"a": {}}}"#] {
            check(nothing, "a", "nobody");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_secrets() {
        check("{", "a", "is not docker's configuration: EOF while parsing an object at line 1 column 1");
        check("[]", "a", "is not docker's configuration: expected an object of JSON");
        check("\u{feff}{}", "a", "is not docker's configuration: expected an object of JSON");
        check(
            r#"{"auths": {"a": 3}}"#,
            "a",
            "is not docker's configuration: `auths.a`: invalid type: integer `3`, expected an object",
        );
        check("{} x", "a", "is not docker's configuration: trailing characters");
        check(r#"{"auths": []}"#, "a", "is not docker's configuration: `auths`: invalid type: sequence");
        for auth in ["####", "dQ==", "/////w=="] {
            let text = format!(r#"{{"auths": {{"a": {{"auth": "{auth}"}}}}}}"#);
            check(&text, "a", "`auths[\"a\"].auth` is not USER:PASSWORD in base64");
            check(&text, "b", "nobody");
        }
    }
}
