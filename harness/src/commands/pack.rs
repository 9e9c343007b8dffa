//! `weir pack`: a module as an image layout.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::artifact::{Artifact, ContentsArgs, failure};
use super::{Exit, Failure, Run, Terminal};
use crate::oci::{Image, Layout, check_tag};

/// Pack a module as an OCI image that Istio and Envoy Gateway pull
///
/// One manifest, one layer: `plugin.wasm`, and beside it `weir.json` and `config.schema.json` with what the module says of itself. The same module makes
/// the same bytes. The image is written as an OCI layout, a folder that `weir push`, skopeo, oras and crane carry on.
#[derive(Args)]
#[command(after_help = "Examples:
  weir pack canary                                  target/weir/canary.oci, tagged with its version
  weir pack other.wasm --out out/other --tag 1.2
  weir pack canary --cncf --annotation org.opencontainers.image.source=https://example.com/weir
Prints `<digest>  <tag>  <folder>` for each image.

Exit codes: 0 packed, 2 not found, Envoy would refuse the module, or the folder cannot be written")]
pub(super) struct Pack {
    /// A filter of this workspace, a crate's folder, or a `.wasm` file
    module: String,
    /// The folder of the layout; new, empty or a layout, whose images are replaced. Default: target/weir/<name>.oci
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The tag; default: the module's version, or `latest`
    #[arg(long)]
    tag: Option<String>,
    #[command(flatten)]
    contents: ContentsArgs,
}

impl Run for Pack {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let artifact = Artifact::read(&self.module, &self.contents)?;
        let tag = self.tag.as_deref().unwrap_or(&artifact.tag);
        check_tag(tag).map_err(|reason| anyhow!("`--tag`: {reason}"))?;
        let folder =
            self.out.unwrap_or_else(|| PathBuf::from("target/weir").join(format!("{}.oci", artifact.name)));
        let cncf_tag = format!("{tag}-wasm");
        let mut images = vec![(tag, Image::compat(&artifact.contents)?)];
        if self.contents.cncf {
            images.push((&cncf_tag, Image::cncf(&artifact.contents)?));
        }
        let listed: Vec<(&str, &Image)> = images.iter().map(|(tag, image)| (*tag, image)).collect();
        Layout::write(&folder, &listed).map_err(failure)?;
        for (tag, image) in listed {
            writeln!(io::stdout(), "{}  {tag}  {}", image.digest, folder.display())?;
        }
        Ok(Exit::Done)
    }
}
