//! What a decision changes: tables of mutations, made at configure, so that a stream only clones reference counts.

use std::rc::Rc;

use weir_sdk::{At, Bytes, Mutation, Problems, RequestView, cookie};

use crate::config::{self, Config};
use crate::policy::arms::{self, ArmId, Arms};
use crate::policy::cookie::CookieTemplate;
use crate::policy::follow::{has_baggage, with_baggage};
use crate::policy::names;
use crate::policy::rule::{Outcome, Rule};

/// The header when nothing else is configured.
const DEFAULT_HEADER: &str = "x-canary-arm";

/// What a decision changes.
#[derive(Clone, Debug)]
pub(crate) struct Carry {
    /// For each arm, and at the end for none.
    request: Vec<Vec<Mutation>>,
    response: Vec<Vec<Mutation>>,
    baggage: Option<String>,
    arm_cookie: Option<ArmCookie>,
}

#[derive(Clone, Debug)]
struct ArmCookie {
    name: String,
    /// For each arm: its value and its `Set-Cookie`.
    lines: Vec<(Rc<str>, Bytes)>,
}

impl Carry {
    /// Checks and compiles.
    pub(crate) fn compile<'a, R>(
        config: &Config,
        arms: &Arms,
        rules: impl Fn() -> R,
        problems: &mut Problems,
    ) -> Self
    where
        R: Iterator<Item = &'a Rule>,
    {
        let default = [config::Carry::RequestHeader(DEFAULT_HEADER.to_owned())];
        let carried: &[config::Carry] = if config.carry.is_empty() { &default } else { &config.carry };
        let mut request: Vec<Vec<Mutation>> = vec![Vec::new(); arms.iter().count().saturating_add(1)];
        let signature = config.signature.as_ref().and_then(|signature| names::header(&signature.header).ok());
        let mut seen: Vec<Rc<str>> = signature.into_iter().collect();
        for (index, carry) in carried.iter().enumerate() {
            let at = At::ROOT.item("carry", index);
            carry_one(&at, carry, arms, &rules, &mut request, &mut seen, problems);
        }
        own_headers(arms, &mut request, &seen, problems);
        if carried
            .iter()
            .any(|carry| matches!(carry, config::Carry::FilterState(_) | config::Carry::Property(_)))
        {
            for (id, _) in arms.iter() {
                request.get_mut(id.index()).into_iter().for_each(|list| list.push(Mutation::ClearRouteCache));
            }
        }
        if let Some(Err(reason)) = config.baggage.as_deref().map(names::baggage) {
            problems.add("baggage", reason);
        }
        let response = response(config, arms, problems);
        let arm_cookie = config.arm_cookie.as_ref().map(|cookie| {
            let template = CookieTemplate::compile(&At::of("arm_cookie"), cookie, problems);
            let own = rules().filter_map(|rule| rule.sticky.as_ref()).flat_map(|sticky| sticky.own_cookies());
            if own.into_iter().any(|own| own.name == template.name) {
                problems.add(
                    "arm_cookie.name",
                    format!("`{}` is also an `own_cookie`; expected another name", template.name),
                );
            }
            let lines = arms.iter().map(|(_, arm)| (arm.name.clone(), template.line(&arm.name))).collect();
            ArmCookie { name: template.name, lines }
        });
        Self { request, response, baggage: config.baggage.clone(), arm_cookie }
    }

    /// Changes of the request.
    pub(crate) fn request(
        &self,
        arm: Option<ArmId>,
        request: &dyn RequestView,
        arms: &Arms,
    ) -> Vec<Mutation> {
        let mut mutations = of(&self.request, arm).to_vec();
        if let Some(key) = &self.baggage {
            let header = request.joined("baggage");
            let name = arm.and_then(|arm| arms.get(arm)).map(|arm| &*arm.name);
            if name.is_some() || header.as_deref().is_some_and(|header| has_baggage(header, key)) {
                let value = with_baggage(header.as_deref(), key, name);
                mutations.push(match value.is_empty() {
                    true => Mutation::Remove("baggage".into()),
                    false => Mutation::Set("baggage".into(), value.into()),
                });
            }
        }
        mutations
    }

    /// Whether the response must set the cookie that names the arm.
    pub(crate) fn needs_arm_cookie(&self, arm: Option<ArmId>, request: &dyn RequestView) -> bool {
        let (Some(arm), Some(arm_cookie)) = (arm, &self.arm_cookie) else {
            return false;
        };
        let Some((name, _)) = arm_cookie.lines.get(arm.index()) else {
            return false;
        };
        cookie(request, &arm_cookie.name).is_none_or(|value| *value != *name.as_bytes())
    }

    /// Changes of the response.
    pub(crate) fn response(
        &self,
        arm: Option<ArmId>,
        set_cookie: Option<&Bytes>,
        set_arm_cookie: bool,
    ) -> Vec<Mutation> {
        let mut mutations = of(&self.response, arm).to_vec();
        let arm_cookie = || self.arm_cookie.as_ref()?.lines.get(arm?.index()).map(|(_, line)| line);
        let lines = set_cookie.into_iter().chain(set_arm_cookie.then(arm_cookie).flatten());
        mutations.extend(lines.map(|line| Mutation::Append("set-cookie".into(), line.clone())));
        mutations
    }
}

/// The list of an arm, or the one at the end for none.
fn of(lists: &[Vec<Mutation>], arm: Option<ArmId>) -> &[Mutation] {
    let list = match arm {
        Some(arm) => lists.get(arm.index()),
        None => lists.last(),
    };
    list.map(Vec::as_slice).unwrap_or_default()
}

fn carry_one<'a, R: Iterator<Item = &'a Rule>>(
    at: &At<'_>,
    carry: &config::Carry,
    arms: &Arms,
    rules: &impl Fn() -> R,
    request: &mut [Vec<Mutation>],
    seen: &mut Vec<Rc<str>>,
    problems: &mut Problems,
) {
    let mut header = |field: &str, name: &str, problems: &mut Problems| -> Option<Rc<str>> {
        let at = at.field(field);
        let name = names::header(name).map_err(|reason| problems.add(at, reason)).ok()?;
        if seen.contains(&name) {
            problems.add(at, format!("`{name}` is carried already; expected another header"));
        }
        seen.push(name.clone());
        Some(name)
    };
    let mut push = |index: usize, mutation: Mutation| {
        request.get_mut(index).into_iter().for_each(|list| list.push(mutation.clone()));
    };
    let none = arms.iter().count();
    match carry {
        config::Carry::RequestHeader(name) => {
            let Some(name) = header("request_header", name, problems) else { return };
            for (id, arm) in arms.iter() {
                push(id.index(), Mutation::Set(name.clone(), arm.header_value.clone()));
            }
            push(none, Mutation::Remove(name));
        }
        config::Carry::ClusterHeader(name) => {
            let Some(name) = header("cluster_header", name, problems) else { return };
            for (id, arm) in arms.iter() {
                push(id.index(), Mutation::Set(name.clone(), arm.cluster.clone()));
            }
            push(none, Mutation::Remove(name));
        }
        config::Carry::Authority {} => {
            for (id, arm) in arms.iter() {
                match &arm.authority {
                    Some(authority) => {
                        push(id.index(), Mutation::Set(":authority".into(), authority.clone()))
                    }
                    None => problems.add(
                        at.field("authority"),
                        format!("needs `arms[].authority` for arm `{}`", arm.name),
                    ),
                }
            }
        }
        config::Carry::WeightedClustersHeader(name) => {
            let Some(name) = header("weighted_clusters_header", name, problems) else { return };
            for (id, arm) in arms.iter() {
                match first_number(id, rules()) {
                    Some(number) => push(id.index(), Mutation::Set(name.clone(), number.to_string().into())),
                    None => problems.add(
                        at.field("weighted_clusters_header"),
                        format!("needs a `split` in which arm `{}` has a weight: the first split must name every arm", arm.name),
                    ),
                }
            }
            push(none, Mutation::Remove(name));
        }
        config::Carry::FilterState(key) | config::Carry::Property(key) => {
            let is_state = matches!(carry, config::Carry::FilterState(_));
            if key.is_empty() || (!is_state && key.as_bytes().contains(&0)) {
                problems.add(at, "expected a name, such as `envoy.string`");
            }
            for (id, arm) in arms.iter() {
                let (key, value) = (key.as_str().into(), arm.header_value.clone());
                push(
                    id.index(),
                    if is_state { Mutation::FilterState(key, value) } else { Mutation::Property(key, value) },
                );
            }
        }
    }
}

/// The first number of the arm's interval in the first split: `number % total_weight` falls on its cluster.
fn first_number<'a>(arm: ArmId, mut rules: impl Iterator<Item = &'a Rule>) -> Option<u64> {
    rules.find_map(|rule| match rule.outcome() {
        Outcome::Split { arms, split } => Some(
            arms.iter()
                .position(|share| *share == arm)
                .filter(|index| split.weight(*index) > 0)
                .map(|index| split.start(index)),
        ),
        _ => None,
    })?
}

/// Each arm's own request headers: set on its requests, removed from all others, so that no client can pretend.
fn own_headers(arms: &Arms, request: &mut [Vec<Mutation>], carried: &[Rc<str>], problems: &mut Problems) {
    let mut names: Vec<Rc<str>> = Vec::new();
    for (id, arm) in arms.iter() {
        for (name, _) in &arm.request_headers {
            if carried.contains(name) {
                let at = At::ROOT.item("arms", id.index());
                problems.add(
                    at.field("request_headers"),
                    format!("`{name}` is carried already; expected another header"),
                );
            }
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    for (index, list) in request.iter_mut().enumerate() {
        let own =
            arms.iter().find(|(id, _)| id.index() == index).map(|(_, arm)| arm.request_headers.as_slice());
        let own = own.unwrap_or_default();
        list.extend(arms::set(own));
        let others = names.iter().filter(|name| !own.iter().any(|(own, _)| own == *name));
        list.extend(others.map(|name| Mutation::Remove(name.clone())));
    }
}

fn response(config: &Config, arms: &Arms, problems: &mut Problems) -> Vec<Vec<Mutation>> {
    let name = config
        .response_header
        .as_deref()
        .and_then(|name| names::header(name).map_err(|reason| problems.add("response_header", reason)).ok());
    let mut lists: Vec<Vec<Mutation>> = arms
        .iter()
        .map(|(_, arm)| {
            let named = name.iter().map(|name| Mutation::Set(name.clone(), Bytes::from(&*arm.name)));
            arms::set(&arm.response_headers).chain(named).collect()
        })
        .collect();
    lists.push(Vec::new());
    lists
}
