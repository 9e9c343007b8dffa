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
                problems.add(at.field("name"), format!("`{}` is listed twice", arm.name));
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
            let known: Vec<&str> = self.entries.iter().map(|arm| &*arm.name).collect();
            problems.add(at, format!("`{name}` is not in `arms`; expected one of `{}`", known.join("`, `")));
            return None;
        }
        if let Err(reason) = names::arm(name) {
            problems.add(at, reason);
            return None;
        }
        self.entries.push(ArmEntry {
            name: name.into(),
            header_value: name.into(),
            cluster: name.into(),
            authority: None,
            request_headers: Vec::new(),
            response_headers: Vec::new(),
        });
        self.find(name)
    }

    /// The arm called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<ArmId> {
        self.position(|arm| &*arm.name == name)
    }

    /// The arm whose name or header value this is.
    pub(crate) fn of_value(&self, value: &[u8]) -> Option<ArmId> {
        self.position(|arm| arm.header_value.as_slice() == value || arm.name.as_bytes() == value)
    }

    /// The arm's entry.
    pub(crate) fn get(&self, id: ArmId) -> Option<&ArmEntry> {
        self.entries.get(id.index())
    }

    /// All arms with their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ArmId, &ArmEntry)> {
        self.entries.iter().zip(0_u16..).map(|(arm, index)| (ArmId(index), arm))
    }

    fn position(&self, found: impl Fn(&ArmEntry) -> bool) -> Option<ArmId> {
        self.iter().find(|(_, arm)| found(arm)).map(|(id, _)| id)
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
        let name =
            names::header(&line.name).map_err(|reason| problems.add(at.index(index).field("name"), reason));
        if let Err(reason) = names::header_value(&line.value) {
            problems.add(at.index(index).field("value"), reason);
        }
        if let Ok(name) = name {
            compiled.push((name, Bytes::from(line.value.as_str())));
        }
    }
    compiled
}

/// `Set` for each line.
pub(crate) fn set(lines: &[(Rc<str>, Bytes)]) -> impl Iterator<Item = Mutation> {
    lines.iter().map(|(name, value)| Mutation::Set(name.clone(), value.clone()))
}
