//! The modules that `weir manifest` is given: built, read or pulled, with their configurations, where proxies get them, and tried out.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use tempfile::TempDir;

use super::super::Failure;
use super::super::artifact::{Artifact, ContentsArgs, failure, open};
use super::super::check::Workshop;
use super::Manifest;
use crate::build;
use crate::check::{Plugin, Runner, Source, Trial};
use crate::inspect::{self, Metadata};
use crate::manifest::tree::Tree;
use crate::manifest::{self, Target};
use crate::oci::{Asked, Consumer, Image, Place, judge, tag_of};
use crate::scenario;
use crate::yaml;

/// A module, its configuration, and where it is from.
pub(super) struct Module {
    /// The filter's name.
    pub(super) name: String,
    /// Its file here.
    file: PathBuf,
    /// What it was named as on the command line, for what is built from it.
    what: String,
    /// What it says of itself.
    metadata: Option<Metadata>,
    /// The image that it was pulled from.
    image: Option<Pulled>,
    /// Its configuration: the file, and the bytes that the module is handed.
    pub(super) source: Option<(Source, Vec<u8>)>,
    config: Option<Tree>,
    /// Where the file of a pulled module is; gone with this.
    _folder: Option<TempDir>,
}

/// An image that a module was pulled from.
struct Pulled {
    /// `oci://…`; nothing for a layout, which no proxy can reach.
    url: Option<String>,
    /// The digest of the manifest that is pulled.
    digest: String,
    /// Another digest than that which was asked for: an index was.
    tag: Option<String>,
}

/// All modules with their configurations, in chain order.
pub(super) fn read(arguments: &Manifest) -> Result<Vec<Module>, Failure> {
    let mut modules: Vec<Module> = Vec::new();
    for what in &arguments.filters {
        let module = if Place::is_image(what) { pulled(what, arguments)? } else { local(what)? };
        if modules.iter().any(|known| known.name == module.name) {
            let reason =
                format!("`{}` is given twice: make its manifests one by one, with `--name`", module.name);
            return Err(anyhow!(reason).into());
        }
        modules.push(module);
    }
    let flags = [
        ("--name", arguments.name.is_some()),
        ("--url", arguments.url.is_some()),
        ("--digest", arguments.digest.is_some()),
    ];
    if let Some((flag, _)) = flags.iter().find(|(_, is_set)| *is_set && modules.len() > 1) {
        return Err(anyhow!("`{flag}` is for one filter, and {} are given", modules.len()).into());
    }
    configure(&mut modules, &arguments.configs)?;
    Ok(modules)
}

/// Modules as `--module` of `weir check` names them.
pub(super) fn named(modules: &[Module]) -> Vec<String> {
    modules.iter().map(|module| format!("{}={}", module.name, module.file.display())).collect()
}

fn local(what: &str) -> Result<Module, Failure> {
    let file = build::named(what, Path::new("."))?;
    let wasm = std::fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    module(what, file, &wasm, None, None)
}

fn pulled(what: &str, arguments: &Manifest) -> Result<Module, Failure> {
    let place = Place::parse(what).map_err(failure)?;
    let opened = open(&place, &arguments.access)?;
    let report = judge(opened.store(), &Asked::default()).map_err(failure)?;
    let consumer = if arguments.target == Target::EnvoyExtensionPolicy {
        Consumer::EnvoyGateway
    } else {
        Consumer::Istio
    };
    let verdict = report.verdicts.iter().find(|verdict| verdict.consumer == consumer);
    if let Some(verdict) = verdict.filter(|verdict| arguments.target.pulls() && !verdict.pulls) {
        return Err(anyhow!("{} would not pull `{what}`: {}", consumer.name(), verdict.reason).into());
    }
    let (url, tag) = match &place {
        Place::Registry(reference) => {
            let host_and_name = format!("oci://{}/{}", reference.registry(), reference.repository());
            let url = match (reference.tag(), reference.digest()) {
                (Some(tag), _) => format!("{host_and_name}:{tag}"),
                (None, Some(digest)) => format!("{host_and_name}@{digest}"),
                (None, None) => host_and_name,
            };
            (Some(url), reference.tag().map(str::to_owned))
        }
        Place::Layout { tag, .. } => (None, tag.clone()),
    };
    let digest = report.manifest_digest.unwrap_or(report.digest);
    let found = report.module.ok_or_else(|| anyhow!("`{what}` holds no module"))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("plugin.wasm");
    std::fs::write(&file, &found.bytes)?;
    module(what, file, &found.bytes, Some(Pulled { url, digest, tag }), Some(folder))
}

fn module(
    what: &str,
    file: PathBuf,
    wasm: &[u8],
    image: Option<Pulled>,
    folder: Option<TempDir>,
) -> Result<Module, Failure> {
    let found = inspect::inspect(wasm).map_err(|error| anyhow!("`{what}` {error}"))?;
    if !found.problems.is_empty() {
        return Err(anyhow!("Envoy would refuse `{what}`: {}", found.problems.join("; ")).into());
    }
    let name = found.metadata.as_ref().map(|metadata| metadata.name.clone()).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| crate::check::plugin::last_segment(what).to_owned());
    Ok(Module {
        name,
        file,
        what: what.to_owned(),
        metadata: found.metadata,
        image,
        source: None,
        config: None,
        _folder: folder,
    })
}

/// Gives each module its configuration.
fn configure(modules: &mut [Module], configs: &[String]) -> Result<(), Failure> {
    let mut next = 0;
    for config in configs {
        let by_name = config
            .split_once('=')
            .and_then(|(name, file)| Some((modules.iter().position(|module| module.name == name)?, file)));
        let (index, file) = by_name.unwrap_or_else(|| {
            next += 1;
            (next - 1, config.as_str())
        });
        // What looks like a name and is none of a filter.
        if let (Some((name, _)), false) = (config.split_once('='), Path::new(file).exists())
            && by_name.is_none()
        {
            let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
            return Err(anyhow!("`--config {config}`: {}", yaml::unknown("filter", name, &names)).into());
        }
        if file.is_empty() {
            return Err(anyhow!("`--config {config}`: expected [FILTER=]FILE").into());
        }
        let Some(module) = modules.get_mut(index) else {
            return Err(anyhow!("`--config {config}`: there is no filter left for it").into());
        };
        if module.source.is_some() {
            return Err(anyhow!("`--config {config}`: `{}` has a configuration already", module.name).into());
        }
        let path = Path::new(file);
        let bytes = scenario::read_configuration(path)?;
        let raw = std::fs::read(path).with_context(|| format!("cannot read `{file}`"))?;
        let text = String::from_utf8(raw).map_err(|_| anyhow!("`--config {file}`: not UTF-8"))?;
        module.config = Some(match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml" | "json") => yaml::read(path)?,
            _ => Tree::from(text.as_str()),
        });
        module.source = Some((Source { file: file.to_owned(), text, is_named: true }, bytes));
    }
    Ok(())
}

/// What the manifest says of a module.
pub(super) fn plugin(arguments: &Manifest, module: &Module) -> Result<manifest::Plugin, Failure> {
    let clusters = match (&module.metadata, &module.config) {
        (Some(metadata), Some(config)) => {
            let value = config.value();
            let found = metadata.clusters_in(&value).into_iter();
            found.map(|(pointer, name)| (pointer, name.to_owned())).collect()
        }
        _ => Vec::new(),
    };
    let (url, sha256) =
        if arguments.target.pulls() { location(arguments, module)? } else { given(arguments) };
    Ok(manifest::Plugin {
        filter: module.name.clone(),
        name: arguments.name.clone().unwrap_or_else(|| module.name.replace('_', "-")),
        config: module.config.clone(),
        clusters,
        url,
        sha256,
        file: file(arguments, module),
    })
}

/// What was given for a target that pulls nothing: it says that it has no place for it.
fn given(arguments: &Manifest) -> (Option<String>, Option<String>) {
    (arguments.url.clone().or_else(|| arguments.registry.clone()), arguments.digest.clone())
}

/// Where the module is pulled from, and its digest.
fn location(arguments: &Manifest, module: &Module) -> Result<(Option<String>, Option<String>), Failure> {
    let pulled = module.image.as_ref();
    let version = module.metadata.as_ref().map(|metadata| metadata.version.as_str());
    let version = version.filter(|version| !version.is_empty()).map(tag_of);
    let tag = pulled.and_then(|image| image.tag.as_deref()).or(version.as_deref()).unwrap_or("latest");
    let url = match (&arguments.url, &arguments.registry) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(prefix)) => {
            let image = format!("oci://{prefix}/{}:{tag}", module.name);
            Place::parse(&image).map_err(failure)?;
            Some(image)
        }
        (None, None) => pulled.and_then(|image| image.url.clone()),
    };
    if arguments.unpinned {
        return Ok((url, None));
    }
    if arguments.digest.is_some() {
        return Ok((url, arguments.digest.clone()));
    }
    let is_file = url.as_deref().is_some_and(|url| url.starts_with("http"));
    let digest = match pulled {
        _ if is_file => crate::oci::digest(&std::fs::read(&module.file)?),
        Some(image) => image.digest.clone(),
        None => Image::compat(&Artifact::read(&module.what, &ContentsArgs::default())?.contents)?.digest,
    };
    Ok((url, Some(digest.trim_start_matches("sha256:").to_owned())))
}

/// The module's file at the proxy.
fn file(arguments: &Manifest, module: &Module) -> Option<String> {
    let in_folder = |folder: &str| format!("{}/{}.wasm", folder.trim_end_matches('/'), module.name);
    match (&arguments.modules, arguments.target) {
        (Some(folder), _) => Some(in_folder(folder)),
        (None, Target::EnvoyFilter) => Some(in_folder("/var/lib/weir")),
        // A pulled module's file is gone when this ends.
        (None, _) => module.image.is_none().then(|| module.file.display().to_string()),
    }
}

/// Runs modules, with the schemas that they have inside.
pub(super) struct Tried {
    workshop: Workshop,
    schemas: Vec<(String, serde_json::Value)>,
}

impl Tried {
    pub(super) fn new(workshop: Workshop, modules: &[Module]) -> Self {
        let schema = |module: &Module| Some((module.name.clone(), module.metadata.as_ref()?.schema.clone()?));
        Self { workshop, schemas: modules.iter().filter_map(schema).collect() }
    }
}

impl Runner for Tried {
    fn try_out(&mut self, plugin: &Plugin) -> Option<Trial> {
        let mut trial = self.workshop.try_out(plugin)?;
        let own = plugin.names.iter().find_map(|name| self.schemas.iter().find(|(known, _)| known == name));
        trial.schema = trial.schema.or_else(|| own.map(|(_, schema)| schema.clone()));
        Some(trial)
    }
}
