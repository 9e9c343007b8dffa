//! What of a request or response is changed before it goes on.

use std::rc::Rc;

use weir_sdk::{At, Bytes, Headers, Mutation, Problems, names};

use super::body::{Damage, body_limit};
use super::dice::Share;
use crate::config::{self, ChangeBody, ChangeHeaders, HeaderLine};

/// A compiled [`config::Change`].
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) share: Share,
    path: Option<Vec<u8>>,
    query: Option<Vec<u8>>,
    /// All that does not depend on the request.
    mutations: Vec<Mutation>,
    pub(crate) body: Option<Rc<Damage>>,
    /// How people call it.
    pub(crate) text: Rc<str>,
}

/// A compiled [`config::ResponseChange`].
#[derive(Clone, Debug)]
pub(crate) struct ResponseChange {
    pub(crate) share: Share,
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) body: Option<Rc<Damage>>,
    /// How people call it.
    pub(crate) text: Rc<str>,
}

impl ResponseChange {
    /// Checks and compiles what stands at `at`.
    pub(crate) fn compile(
        at: &At<'_>,
        change: &config::ResponseChange,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let mut mutations = Vec::new();
        if let Some(status) = change.status {
            if !(200..=599).contains(&status) {
                problems.add(at.field("status"), "expected a status from 200 to 599");
            }
            mutations.push(Mutation::Set(":status".into(), u64::from(status).to_string().into()));
        }
        let fixed = mutations.len();
        headers(at, &change.headers, problems, &mut mutations);
        let body = body(at, change.body.as_ref(), problems);
        let changed = [
            ("status", change.status.is_some()),
            ("headers", mutations.len() > fixed),
            ("body", body.is_some()),
        ];
        let text = text(&changed);
        if text.is_none() && problems.len() == before {
            problems.add(at, "expected at least one of `status`, `headers` and `body`");
        }
        (problems.len() == before).then_some(())?;
        Some(Self { share: Share::of(change.percentage), mutations, body, text: text? })
    }
}

impl Change {
    /// Checks and compiles what stands at `at`.
    pub(crate) fn compile(at: &At<'_>, change: &config::Change, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let mut mutations = Vec::new();
        if let Some(method) = &change.method {
            if !names::is_token(method) || method == "CONNECT" {
                problems.add(at.field("method"), "expected a method such as `PUT`, and not `CONNECT`");
            }
            mutations.push(Mutation::Set(":method".into(), Bytes::from(method.as_str())));
        }
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if change
            .path
            .as_ref()
            .is_some_and(|path| !path.starts_with('/') || path.contains('?') || !is_visible(path))
        {
            problems.add(
                at.field("path"),
                "expected a path such as `/v1/orders`: printable ASCII without `?`, `#` and blanks",
            );
        }
        if change.query.as_ref().is_some_and(|query| query.starts_with('?') || !is_visible(query)) {
            problems.add(
                at.field("query"),
                "expected a query such as `page=2`: printable ASCII without the first `?`, `#` and blanks",
            );
        }
        let fixed = mutations.len();
        headers(at, &change.headers, problems, &mut mutations);
        let body = body(at, change.body.as_ref(), problems);
        let text = text(&[
            ("method", change.method.is_some()),
            ("path", change.path.is_some()),
            ("query", change.query.is_some()),
            ("headers", mutations.len() > fixed),
            ("body", body.is_some()),
        ]);
        if text.is_none() && problems.len() == before {
            problems.add(at, "expected at least one of `method`, `path`, `query`, `headers` and `body`");
        }
        let bytes = |text: &String| text.as_bytes().to_vec();
        (problems.len() == before).then_some(())?;
        Some(Self {
            share: Share::of(change.percentage),
            path: change.path.as_ref().map(bytes),
            query: change.query.as_ref().map(bytes),
            mutations,
            body,
            text: text?,
        })
    }

    /// Whether there is anything to change of a request that has a body or not.
    pub(crate) fn applies(&self, has_body: bool) -> bool {
        has_body || self.path.is_some() || self.query.is_some() || !self.mutations.is_empty()
    }

    /// What becomes of this request.
    pub(crate) fn mutations(&self, request: &dyn Headers) -> Vec<Mutation> {
        let mut mutations = self.mutations.clone();
        if self.path.is_some() || self.query.is_some() {
            let now = request.get(":path").unwrap_or(b"/");
            let at = now.iter().position(|byte| *byte == b'?');
            let (path, query) = at.and_then(|at| now.split_at_checked(at)).unwrap_or((now, b""));
            let path = self.path.as_deref().unwrap_or(path);
            let (mark, query) = match self.query.as_deref() {
                None => (&b""[..], query),
                Some(b"") => (&b""[..], &b""[..]),
                Some(query) => (&b"?"[..], query),
            };
            mutations.push(Mutation::Set(":path".into(), [path, mark, query].concat().into()));
        }
        mutations
    }
}

fn headers(at: &At<'_>, headers: &ChangeHeaders, problems: &mut Problems, mutations: &mut Vec<Mutation>) {
    for (index, name) in headers.remove.iter().enumerate() {
        if let Some(name) = name_at(&at.item("headers.remove", index), name, problems) {
            mutations.push(Mutation::Remove(name));
        }
    }
    lines(&at.field("headers.set"), &headers.set, problems, mutations, Mutation::Set);
    lines(&at.field("headers.append"), &headers.append, problems, mutations, Mutation::Append);
}

fn body(at: &At<'_>, body: Option<&ChangeBody>, problems: &mut Problems) -> Option<Rc<Damage>> {
    Some(Rc::new(match body? {
        ChangeBody::Replace(text) => Damage::Text(text.as_bytes().into()),
        ChangeBody::MergePatch(merge) => {
            let at = at.field("body.merge_patch");
            if merge.patch.0.is_empty() {
                problems.add(at.field("patch"), "expected at least one member");
            }
            let max = body_limit(&at, merge.max_body_bytes, problems);
            Damage::Merge { patch: Rc::new(merge.patch.clone()), max }
        }
    }))
}

/// `change of` what is changed; nothing where nothing is.
fn text(parts: &[(&str, bool)]) -> Option<Rc<str>> {
    let mut text = String::new();
    for (name, there) in parts {
        if *there {
            text.push_str(if text.is_empty() { "change of " } else { ", " });
            text.push_str(name);
        }
    }
    (!text.is_empty()).then(|| text.into())
}

fn lines(
    at: &At<'_>,
    lines: &[HeaderLine],
    problems: &mut Problems,
    mutations: &mut Vec<Mutation>,
    make: fn(Rc<str>, Bytes) -> Mutation,
) {
    for (index, line) in lines.iter().enumerate() {
        let at = at.index(index);
        if let Err(reason) = names::header_value(&line.value) {
            problems.add(at.field("value"), reason);
        }
        if let Some(name) = name_at(&at.field("name"), &line.name, problems) {
            mutations.push(make(name, Bytes::from(line.value.as_str())));
        }
    }
}

/// A header that may be changed: what says where a message ends is Envoy's.
fn name_at(at: &At<'_>, name: &str, problems: &mut Problems) -> Option<Rc<str>> {
    match names::header(name, "x-version") {
        Ok(name)
            if matches!(&*name, "content-length" | "transfer-encoding" | "connection" | "upgrade" | "te") =>
        {
            problems.add(at, ["`", &*name, "` is Envoy's; expected another header"].concat());
            None
        }
        Ok(name) => Some(name),
        Err(reason) => {
            problems.add(at, reason);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_sdk::HeaderMap;

    use super::*;

    fn changed(change: serde_json::Value, path: &str) -> Option<Vec<u8>> {
        let change: config::Change = serde_json::from_value(change).unwrap();
        let change = Change::compile(&At::of("c"), &change, &mut Problems::new()).unwrap();
        let request: HeaderMap = [(":method", "GET"), (":path", path)].into_iter().collect();
        change.mutations(&request).into_iter().find_map(|mutation| match mutation {
            Mutation::Set(name, value) if &*name == ":path" => Some(value.as_slice().to_vec()),
            _ => None,
        })
    }

    #[test]
    fn path_and_query_change_apart() {
        let of = |change, path| changed(change, path).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(of(json!({"path": "/b"}), "/a?x=1").as_deref(), Some("/b?x=1"));
        assert_eq!(of(json!({"path": "/b"}), "/a").as_deref(), Some("/b"));
        assert_eq!(of(json!({"query": "y=2"}), "/a?x=1?z").as_deref(), Some("/a?y=2"));
        assert_eq!(of(json!({"query": ""}), "/a?x=1").as_deref(), Some("/a"));
        assert_eq!(of(json!({"path": "/b", "query": "y"}), "*").as_deref(), Some("/b?y"));
        assert_eq!(of(json!({"method": "PUT"}), "/a"), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (change, path) in [
            (json!({}), "c"),
            (json!({"method": "CONNECT"}), "c.method"),
            (json!({"method": "A B"}), "c.method"),
            (json!({"path": "b"}), "c.path"),
            (json!({"path": "/b?c"}), "c.path"),
            (json!({"path": "/b c"}), "c.path"),
            (json!({"query": "?a"}), "c.query"),
            (json!({"headers": {"remove": ["Content-Length"]}}), "c.headers.remove[0]"),
            (json!({"headers": {"set": [{"name": ":path", "value": "/"}]}}), "c.headers.set[0].name"),
            (json!({"headers": {"append": [{"name": "a", "value": "b\n"}]}}), "c.headers.append[0].value"),
        ] {
            let mut problems = Problems::new();
            let change: config::Change = serde_json::from_value(change).unwrap();
            assert!(Change::compile(&At::of("c"), &change, &mut problems).is_none());
            let error = problems.finish().unwrap_err().to_string();
            assert!(error.contains(&format!("`{path}`")), "{error}");
        }
    }
}
