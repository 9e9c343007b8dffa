//! `weir release`: builds, packs and lists all filters; pushes them when told where.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde::Serialize;

use super::artifact::{AccessArgs, Artifact, ContentsArgs, failure};
use super::push::push;
use super::{Exit, Failure, Run, Terminal};
use crate::build;
use crate::files;
use crate::oci::{self, Image, Layout};

/// Build, pack and list all filters of a workspace, and push them when told where
///
/// Writes `<name>.wasm` and the layout `<name>.oci` of each filter, and `digests.json`. The same commit makes the same bytes, on any machine with the same
/// Rust. Filters below `examples/` and `tests/` are left out unless they are named.
#[derive(Args)]
#[command(after_help = "Examples:
  weir release                                     into target/weir/release
  weir release --push registry.example/weir        and push registry.example/weir/<name>:<version>
  weir release canary fault --cncf
Prints `<name> <version> <bytes> <module's digest> <image's digest>` for each filter.

Exit codes: 0 done, 2 a filter does not build, Envoy would refuse it, or the registry does")]
pub(super) struct Release {
    /// Names of filters of this workspace, or folders of crates; default: every filter of this workspace
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// The folder for modules, layouts and digests.json
    #[arg(long, value_name = "FOLDER", default_value = "target/weir/release")]
    out: PathBuf,
    /// Push to this registry and namespace, as host/namespace
    #[arg(long, value_name = "PREFIX")]
    push: Option<String>,
    #[command(flatten)]
    contents: ContentsArgs,
    #[command(flatten)]
    access: AccessArgs,
}

/// A line of `digests.json`.
#[derive(Serialize)]
struct Released {
    /// The filter.
    name: String,
    /// Its version.
    version: String,
    /// Size of the module in bytes.
    bytes: usize,
    /// `sha256:…` of the module: for Envoy's `remote` and for HTTP downloads.
    module: String,
    /// `sha256:…` of the image's manifest: for `@sha256:` and `sha256` in Istio and Envoy Gateway.
    image: String,
    /// Where it was pushed to.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

impl Run for Release {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let names = if self.filters.is_empty() { workspace()? } else { self.filters.clone() };
        let io_error = |path: &Path| format!("cannot write `{}`", path.display());
        fs::create_dir_all(&self.out).with_context(|| io_error(&self.out))?;
        let mut released = Vec::new();
        for name in &names {
            let artifact = Artifact::read(name, &self.contents)?;
            let image = Image::compat(&artifact.contents)?;
            let module = self.out.join(format!("{}.wasm", artifact.name));
            files::replace(&module, &artifact.contents.wasm).with_context(|| io_error(&module))?;
            let cncf = if self.contents.cncf { Some(Image::cncf(&artifact.contents)?) } else { None };
            let tag = artifact.tag.as_str();
            let cncf_tag = format!("{tag}-wasm");
            let images: Vec<(&str, &Image)> = std::iter::once((tag, &image))
                .chain(cncf.iter().map(|image| (cncf_tag.as_str(), image)))
                .collect();
            Layout::write(&self.out.join(format!("{}.oci", artifact.name)), &images).map_err(failure)?;
            let mut reference = None;
            if let Some(prefix) = &self.push {
                let place = format!("{}/{}", prefix.trim_end_matches('/'), artifact.name);
                reference = Some(push(&place, tag, "", &image, &self.access)?);
                if let Some(cncf) = &cncf {
                    push(&place, tag, "-wasm", cncf, &self.access)?;
                }
            }
            let line = Released {
                version: tag.to_owned(),
                bytes: artifact.contents.wasm.len(),
                module: oci::digest(&artifact.contents.wasm),
                image: image.digest.clone(),
                name: artifact.name,
                reference,
            };
            writeln!(
                io::stdout(),
                "{} {} {} {} {}",
                line.name,
                line.version,
                line.bytes,
                line.module,
                line.image
            )?;
            released.push(line);
        }
        let digests = self.out.join("digests.json");
        let mut text = serde_json::to_string_pretty(&released)?;
        text.push('\n');
        files::replace(&digests, text.as_bytes()).with_context(|| io_error(&digests))?;
        Ok(Exit::Done)
    }
}

/// The filters of the workspace around the current folder, but for examples.
fn workspace() -> Result<Vec<String>, Failure> {
    let crates = build::workspace_filters(Path::new("."))?;
    let names: Vec<String> = crates
        .iter()
        .filter(|found| !found.folder().starts_with(found.workspace.join("examples")))
        .map(|found| found.folder().display().to_string())
        .collect();
    if names.is_empty() {
        return Err(anyhow!("this workspace has no filter: no package with a `cdylib`").into());
    }
    Ok(names)
}
