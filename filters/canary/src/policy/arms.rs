//! The arms: every name that the configuration mentions, and what belongs to each.

use std::rc::Rc;

use weir_sdk::{At, Bytes, Mutation, Problems};

use crate::config::{Arm, Config, HeaderLine};
use crate::policy::names;

/// An arm of the table, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArmId(u16);

impl ArmId {
    /// Its place in the table.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What belongs to one arm.
#[derive(Clone, Debug)]
pub(crate) struct ArmEntry {
    pub(crate) name: Rc<str>,
    pub(crate) header_value: Bytes,
    pub(crate) cluster: Bytes,
    pub(crate) authority: Option<Bytes>,
    pub(crate) request_headers: Vec<(Rc<str>, Bytes)>,
    pub(crate) response_headers: Vec<(Rc<str>, Bytes)>,
}

/// All arms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arms {
    entries: Vec<ArmEntry>,
    /// Whether the configuration lists the arms, so that a name which is not there is a mistake.
    listed: bool,
}

impl Arms {
    /// The arms that `config.arms` lists.
    pub(crate) fn listed(config: &Config, problems: &mut Problems) -> Self {
        let mut arms = Self { entries: Vec::new(), listed: !config.arms.is_empty() };
        for (index, arm) in config.arms.iter().enumerate() {
            let at = At::ROOT.item("arms", index);
            if arms.find(&arm.name).is_some() {
                problems.add(at.field("name"), ["`", &arm.name, "` is listed twice"].concat());
                continue;
            }
            if let Some(entry) = entry(&at, arm, problems) {
                arms.entries.push(entry);
            }
        }
        arms
    }

    /// The arm called `name`, wherever it is named; a new one where arms are not listed.
    pub(crate) fn named(&mut self, at: &At<'_>, name: &str, problems: &mut Problems) -> Option<ArmId> {
        if let Some(id) = self.find(name) {
            return Some(id);
        }
        if self.listed {
            let mut reason = ["`", name, "` is not in `arms`; expected one of `"].concat();
            for (index, arm) in self.entries.iter().enumerate() {
                reason.push_str(if index > 0 { "`, `" } else { "" });
                reason.push_str(&arm.name);
            }
            problems.add(at, reason + "`");
            return None;
        }
        if let Err(reason) = names::arm(name) {
            problems.add(at, reason);
            return None;
        }
        let value = Bytes::from(name);
        self.entries.push(ArmEntry {
            name: name.into(),
            header_value: value.clone(),
            cluster: value,
            authority: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        });
        self.find(name)
    }

    /// The arm called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<ArmId> {
        self.ids().find(|id| self.get(*id).is_some_and(|arm| &*arm.name == name))
    }

    /// The arm whose name or header value this is.
    pub(crate) fn of_value(&self, value: &[u8]) -> Option<ArmId> {
        self.ids().find(|id| {
            self.get(*id)
                .is_some_and(|arm| arm.header_value.as_slice() == value || arm.name.as_bytes() == value)
        })
    }

    /// The arm's entry.
    pub(crate) fn get(&self, id: ArmId) -> Option<&ArmEntry> {
        self.entries.get(id.index())
    }

    /// The arm's name.
    #[inline(never)]
    pub(crate) fn name(&self, id: Option<ArmId>) -> Option<&Rc<str>> {
        self.get(id?).map(|arm| &arm.name)
    }

    /// All arms by their ids.
    pub(crate) fn all(&self) -> &[ArmEntry] {
        &self.entries
    }

    fn ids(&self) -> impl Iterator<Item = ArmId> {
        (0..u16::try_from(self.entries.len()).unwrap_or(u16::MAX)).map(ArmId)
    }
}

fn entry(at: &At<'_>, arm: &Arm, problems: &mut Problems) -> Option<ArmEntry> {
    if let Err(reason) = names::arm(&arm.name) {
        problems.add(at.field("name"), reason);
        return None;
    }
    let mut value = |field: &str, text: &Option<String>| {
        let text = text.as_deref().unwrap_or(&arm.name);
        if let Err(reason) = names::header_value(text) {
            problems.add(at.field(field), reason);
        }
        Bytes::from(text)
    };
    let header_value = value("header_value", &arm.header_value);
    let cluster = value("cluster", &arm.cluster);
    let authority = arm.authority.is_some().then(|| value("authority", &arm.authority));
    Some(ArmEntry {
        name: arm.name.as_str().into(),
        header_value,
        cluster,
        authority,
        request_headers: lines(&at.field("request_headers"), &arm.request_headers, problems),
        response_headers: lines(&at.field("response_headers"), &arm.response_headers, problems),
    })
}

pub(crate) fn lines(at: &At<'_>, lines: &[HeaderLine], problems: &mut Problems) -> Vec<(Rc<str>, Bytes)> {
    let mut compiled = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let at = at.index(index);
        let name = names::header_at(&at.field("name"), &line.name, problems);
        if let Err(reason) = names::header_value(&line.value) {
            problems.add(at.field("value"), reason);
        }
        if let Some(name) = name {
            compiled.push((name, Bytes::from(line.value.as_str())));
        }
    }
    compiled
}

/// `Set` for each line.
pub(crate) fn set(list: &mut Vec<Mutation>, lines: &[(Rc<str>, Bytes)]) {
    for (name, value) in lines {
        list.push(Mutation::Set(name.clone(), value.clone()));
    }
}
