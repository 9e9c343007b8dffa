//! What the commands about images share: a module with what belongs to it, and how registries are reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{Exit, Failure};
use crate::build;
use crate::inspect::{self, Metadata};
use crate::oci::{Access, Contents, Layout, OciError, Place, Registry, Store};

/// The file beside `plugin.wasm` that says what the module is.
const METADATA_FILE: &str = "weir.json";
/// The file beside `plugin.wasm` with the JSON Schema of its configuration.
const SCHEMA_FILE: &str = "config.schema.json";

/// How a registry is reached; the same for all commands.
#[derive(Args, Clone, Debug)]
pub(super) struct AccessArgs {
    /// Speak HTTP to the registry; one on this machine is asked over HTTP anyway, unless there is a `--ca-file`
    #[arg(long)]
    plain_http: bool,
    /// Trust the authorities of this PEM file, too
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl AccessArgs {
    pub(super) fn access(&self) -> Access {
        Access { plain_http: self.plain_http, ca_file: self.ca_file.clone() }
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
    /// Its version, where it has metadata.
    pub(super) version: Option<String>,
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
        let mut artifact = Self {
            name: metadata.as_ref().map_or(stem, |metadata| metadata.name.clone()),
            version: metadata.as_ref().map(|metadata| metadata.version.clone()),
            contents: Contents { wasm, files: Vec::new(), annotations: BTreeMap::new() },
        };
        if let Some(metadata) = metadata {
            artifact.describe(&metadata)?;
        }
        artifact.contents.annotations.extend(arguments.annotations.iter().cloned());
        Ok(artifact)
    }

    /// The tag that the image gets when none is given.
    pub(super) fn tag(&self) -> &str {
        self.version.as_deref().unwrap_or("latest")
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
