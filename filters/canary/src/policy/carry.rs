//! What a decision changes: tables of mutations, made at configure, so that a stream only clones reference counts.

use std::rc::Rc;

use weir_sdk::{At, Bytes, Mutation, Problems, RequestView, cookie};

use crate::config::{self, Config};
use crate::policy::arms::{self, ArmId, Arms};
use crate::policy::cookie::CookieTemplate;
use crate::policy::follow::{has_baggage, with_baggage};
use crate::policy::rule::{Outcome, Rule};
use crate::policy::{RuleSet, names};

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
    pub(crate) fn compile(config: &Config, arms: &Arms, sets: &[&RuleSet], problems: &mut Problems) -> Self {
        let default = [config::Carry::RequestHeader(DEFAULT_HEADER.to_owned())];
        let carried: &[config::Carry] = if config.carry.is_empty() { &default } else { &config.carry };
        let mut request: Vec<Vec<Mutation>> = Vec::new();
        for _ in 0..=arms.all().len() {
            request.push(Vec::new());
        }
        let mut seen: Vec<Rc<str>> = Vec::new();
        if let Some(signature) = &config.signature
            && let Ok(name) = names::header(&signature.header)
        {
            seen.push(name);
        }
        let mut clears = false;
        for (index, carry) in carried.iter().enumerate() {
            clears |= matches!(carry, config::Carry::FilterState(_) | config::Carry::Property(_));
            carry_one(&At::ROOT.item("carry", index), carry, arms, sets, &mut request, &mut seen, problems);
        }
        own_headers(arms, &mut request, &seen, problems);
        if clears {
            for (list, _) in request.iter_mut().zip(arms.all()) {
                list.push(Mutation::ClearRouteCache);
            }
        }
        if let Some(Err(reason)) = config.baggage.as_deref().map(names::baggage) {
            problems.add("baggage", reason);
        }
        let response = response(config, arms, problems);
        let arm_cookie = config.arm_cookie.as_ref().map(|cookie| {
            let template = CookieTemplate::compile(&At::of("arm_cookie"), cookie, problems);
            let is_own = |rule: &Rule| rule.sticky.as_ref().is_some_and(|sticky| sticky.sets(&template.name));
            if sets.iter().any(|set| set.rules.iter().any(is_own)) {
                let reason =
                    ["`", &template.name, "` is also an `own_cookie`; expected another name"].concat();
                problems.add("arm_cookie.name", reason);
            }
            let mut lines = Vec::new();
            for arm in arms.all() {
                lines.push((arm.name.clone(), template.line(&arm.name)));
            }
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
            let name = arms.name(arm).map(|name| &**name);
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
        let mut append = |line: &Bytes| mutations.push(Mutation::Append("set-cookie".into(), line.clone()));
        if let Some(line) = set_cookie {
            append(line);
        }
        if set_arm_cookie
            && let (Some(arm), Some(cookie)) = (arm, &self.arm_cookie)
            && let Some((_, line)) = cookie.lines.get(arm.index())
        {
            append(line);
        }
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

fn carry_one(
    at: &At<'_>,
    carry: &config::Carry,
    arms: &Arms,
    sets: &[&RuleSet],
    request: &mut [Vec<Mutation>],
    seen: &mut Vec<Rc<str>>,
    problems: &mut Problems,
) {
    let (field, name) = match carry {
        config::Carry::RequestHeader(name) => ("request_header", name.as_str()),
        config::Carry::ClusterHeader(name) => ("cluster_header", name.as_str()),
        config::Carry::WeightedClustersHeader(name) => ("weighted_clusters_header", name.as_str()),
        config::Carry::Authority {} => ("authority", ":authority"),
        config::Carry::FilterState(key) | config::Carry::Property(key) => ("", key.as_str()),
    };
    let place = at.field(field);
    let is_header = !matches!(field, "" | "authority");
    let name = if is_header {
        let Some(name) = names::header_at(&place, name, problems) else { return };
        if seen.contains(&name) {
            let reason = ["`", &*name, "` is carried already; expected another header"].concat();
            problems.add(place, reason);
        }
        seen.push(Rc::clone(&name));
        name
    } else {
        let is_property = matches!(carry, config::Carry::Property(_));
        if name.is_empty() || (is_property && name.as_bytes().contains(&0)) {
            problems.add(at, "expected a name, such as `envoy.string`");
        }
        Rc::from(name)
    };
    for (list, (index, arm)) in request.iter_mut().zip(arms.all().iter().enumerate()) {
        let value = match carry {
            config::Carry::ClusterHeader(_) => Some(arm.cluster.clone()),
            config::Carry::Authority {} => arm.authority.clone(),
            config::Carry::WeightedClustersHeader(_) => {
                first_number(index, sets).map(|number| Bytes::from(number.to_string()))
            }
            _ => Some(arm.header_value.clone()),
        };
        let Some(value) = value else {
            let (before, after) = match carry {
                config::Carry::Authority {} => ("needs `arms[].authority` for arm `", "`"),
                _ => {
                    ("needs a `split` in which arm `", "` has a weight: the first split must name every arm")
                }
            };
            problems.add(place, [before, &arm.name, after].concat());
            continue;
        };
        let name = Rc::clone(&name);
        list.push(match carry {
            config::Carry::FilterState(_) => Mutation::FilterState(name, value),
            config::Carry::Property(_) => Mutation::Property(name, value),
            _ => Mutation::Set(name, value),
        });
    }
    if is_header && let Some(none) = request.last_mut() {
        none.push(Mutation::Remove(name));
    }
}

/// The first number of an arm's interval in the first split: `number % total_weight` falls on its cluster.
fn first_number(arm: usize, sets: &[&RuleSet]) -> Option<u64> {
    for set in sets {
        for rule in &set.rules {
            if let Outcome::Split { arms, split } = rule.outcome() {
                let index = arms.iter().position(|share| share.index() == arm)?;
                return (split.weight(index) > 0).then(|| split.start(index));
            }
        }
    }
    None
}

/// Each arm's own request headers: set on its requests, removed from all others, so that no client can pretend.
fn own_headers(arms: &Arms, request: &mut [Vec<Mutation>], carried: &[Rc<str>], problems: &mut Problems) {
    let mut names: Vec<Rc<str>> = Vec::new();
    for (index, arm) in arms.all().iter().enumerate() {
        for (name, _) in &arm.request_headers {
            if carried.contains(name) {
                let reason = ["`", &**name, "` is carried already; expected another header"].concat();
                problems.add(At::ROOT.item("arms", index).field("request_headers"), reason);
            }
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    for (index, list) in request.iter_mut().enumerate() {
        let own = arms.all().get(index).map(|arm| arm.request_headers.as_slice()).unwrap_or_default();
        arms::set(list, own);
        for name in &names {
            if !own.iter().any(|(own, _)| own == name) {
                list.push(Mutation::Remove(name.clone()));
            }
        }
    }
}

fn response(config: &Config, arms: &Arms, problems: &mut Problems) -> Vec<Vec<Mutation>> {
    let name = config.response_header.as_ref();
    let name = name.and_then(|name| names::header_at(&At::of("response_header"), name, problems));
    let mut lists = Vec::new();
    for arm in arms.all() {
        let mut list = Vec::new();
        arms::set(&mut list, &arm.response_headers);
        if let Some(name) = &name {
            list.push(Mutation::Set(name.clone(), Bytes::from(&*arm.name)));
        }
        lists.push(list);
    }
    lists.push(Vec::new());
    lists
}
