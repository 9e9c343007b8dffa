//! What the commands about images share: a module with what belongs to it, and how registries are reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{Exit, Failure};
use crate::build;
use crate::inspect::{self, Metadata};
use crate::oci::{Access, Contents, Layout, OciError, PATIENCE_SECONDS, Place, Registry, Store};
use crate::oci::{check_tag, tag_of};
use crate::style::{printable, shorten};

/// The file beside `plugin.wasm` that says what the module is.
pub(super) const METADATA_FILE: &str = "weir.json";
/// The file beside `plugin.wasm` with the JSON Schema of its configuration.
pub(super) const SCHEMA_FILE: &str = "config.schema.json";

/// How a registry is reached; the same for all commands.
#[derive(Args, Clone, Debug)]
pub(super) struct AccessArgs {
    /// Speak HTTP to the registry; one on this machine is asked over HTTP anyway, unless there is a `--ca-file`
    #[arg(long)]
    plain_http: bool,
    /// Trust the authorities of this PEM file, too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long the registry, its token service or a credential helper may be silent
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE_SECONDS, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

impl AccessArgs {
    pub(super) fn access(&self) -> Access {
        Access {
            plain_http: self.plain_http,
            ca_file: self.ca_file.clone(),
            patience: Duration::from_secs(self.timeout),
        }
    }
}

/// What goes into an image besides the module itself.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ContentsArgs {
    /// An annotation of the manifest; may be given several times. Name, version and licence are there by themselves
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = annotation)]
    annotations: Vec<(String, String)>,
    /// Also make the CNCF's Wasm artifact, under the tag with `-wasm` behind it: for wkg and others; Istio and Envoy Gateway cannot pull it
    #[arg(long)]
    pub(super) cncf: bool,
}

/// A module, and what it says of itself.
pub(super) struct Artifact {
    /// Its name: that in its metadata, else the file's.
    pub(super) name: String,
    /// The tag that its image gets when none is given: its version, where it has metadata.
    pub(super) tag: String,
    /// What goes into the image.
    pub(super) contents: Contents,
}

impl Artifact {
    /// Builds or reads a module.
    pub(super) fn read(module: &str, arguments: &ContentsArgs) -> Result<Self, Failure> {
        let path = build::named(module, Path::new("."))?;
        let wasm = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let found = inspect::inspect(&wasm).map_err(|error| anyhow!("`{}` {error}", path.display()))?;
        if !found.problems.is_empty() {
            return Err(
                anyhow!("Envoy would refuse `{}`: {}", path.display(), found.problems.join("; ")).into()
            );
        }
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let metadata = found.metadata;
        let said = metadata.as_ref();
        let name = said.map(|said| said.name.clone()).filter(|name| !name.is_empty()).unwrap_or(stem);
        let version = said.map(|said| said.version.as_str()).filter(|version| !version.is_empty());
        let tag = version.map_or_else(|| "latest".to_owned(), tag_of);
        // They become parts of paths and URLs, and anybody may have written them.
        let wrong =
            |reason: String| anyhow!("`{}` says of itself in `weir.metadata`: {reason}", path.display());
        if said.is_some_and(|said| !said.name.is_empty()) {
            check_name(&name).map_err(wrong)?;
        }
        if version.is_some() {
            check_tag(&tag).map_err(|reason| wrong(format!("`version`: {reason}")))?;
        }
        let mut artifact =
            Self { name, tag, contents: Contents { wasm, files: Vec::new(), annotations: BTreeMap::new() } };
        if let Some(metadata) = metadata {
            artifact.describe(&metadata)?;
        }
        artifact.contents.annotations.extend(arguments.annotations.iter().cloned());
        Ok(artifact)
    }

    fn describe(&mut self, metadata: &Metadata) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(metadata)?;
        text.push(b'\n');
        self.contents.files.push((METADATA_FILE.to_owned(), text));
        if let Some(schema) = &metadata.schema {
            let mut text = serde_json::to_vec_pretty(schema)?;
            text.push(b'\n');
            self.contents.files.push((SCHEMA_FILE.to_owned(), text));
        }
        let known = [
            ("title", Some(&metadata.name)),
            ("version", Some(&metadata.version)),
            ("licenses", metadata.license.as_ref()),
            ("description", metadata.description.as_ref()),
        ];
        for (name, value) in known {
            if let Some(value) = value {
                self.contents.annotations.insert(format!("org.opencontainers.image.{name}"), value.clone());
            }
        }
        Ok(())
    }
}

/// Whether a module's own name can be that of a file and of a repository.
fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() <= 128 && name.chars().all(is_fine) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    let name = shorten(&printable(name.as_bytes()), 100);
    Err(format!(
        "`name`: `{name}`; expected at most 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`"
    ))
}

/// Opens what a reference names.
pub(super) fn open(place: &Place, access: &AccessArgs) -> Result<Opened, Failure> {
    Ok(match place {
        Place::Layout { folder, tag } => Opened::Layout(Layout::new(folder, tag.as_deref())),
        Place::Registry(reference) => {
            Opened::Registry(Box::new(Registry::open(reference.clone(), &access.access()).map_err(failure)?))
        }
    })
}

/// An image that can be read.
pub(super) enum Opened {
    Layout(Layout),
    Registry(Box<Registry>),
}

impl Opened {
    pub(super) fn store(&self) -> &dyn Store {
        match self {
            Self::Layout(layout) => layout,
            Self::Registry(registry) => registry.as_ref(),
        }
    }
}

/// An error with the hint that it has.
pub(super) fn failure(error: OciError) -> Failure {
    let hint = error.hint();
    Failure { exit: Exit::Usage, error: error.into(), hint }
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, as org.opencontainers.image.source=…".to_owned()),
    }
}
