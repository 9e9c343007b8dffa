//! `weir push`: a module, or an image layout, to a registry.

use std::io::{self, Write};

use anyhow::anyhow;
use clap::Args;

use super::artifact::{AccessArgs, Artifact, ContentsArgs, failure};
use super::{Exit, Failure, Run, Terminal};
use crate::oci::{Image, Place, Registry};

/// Push a module to a registry, as the image that `weir pack` makes
///
/// Credentials come from docker's configuration and its helpers ($DOCKER_CONFIG, else ~/.docker). The manifest is sent last, so nobody sees half an image.
/// The digest is printed: pin it.
#[derive(Args)]
#[command(after_help = "Examples:
  weir push canary registry.example/weir/canary          tagged with its version
  weir push canary oci://registry.example/weir/canary:1.4
  weir push other.wasm localhost:5000/other:1 --cncf
Prints `<reference>@<digest>` for each image.

Exit codes: 0 pushed, 2 not found, refused by the registry (401, 403), or it cannot be reached")]
pub(super) struct Push {
    /// A filter of this workspace, a crate's folder, or a `.wasm` file
    module: String,
    /// Where to: host/repository, with or without a tag; default tag: the module's version, or `latest`
    reference: String,
    #[command(flatten)]
    contents: ContentsArgs,
    #[command(flatten)]
    access: AccessArgs,
}

impl Run for Push {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let artifact = Artifact::read(&self.module, &self.contents)?;
        let mut images = vec![(String::new(), Image::compat(&artifact.contents)?)];
        if self.contents.cncf {
            images.push(("-wasm".to_owned(), Image::cncf(&artifact.contents)?));
        }
        for (suffix, image) in &images {
            let pushed = push(&self.reference, &artifact.tag, suffix, image, &self.access)?;
            writeln!(io::stdout(), "{pushed}")?;
        }
        Ok(Exit::Done)
    }
}

/// Pushes one image; `tag` counts where the reference has none. The reference with the digest.
pub(super) fn push(
    reference: &str,
    tag: &str,
    suffix: &str,
    image: &Image,
    access: &AccessArgs,
) -> Result<String, Failure> {
    let Place::Registry(place) = Place::parse(reference).map_err(failure)? else {
        return Err(anyhow!("`{reference}` is a layout; `weir pack --out` writes those").into());
    };
    if place.digest().is_some() {
        return Err(anyhow!(
            "`{reference}` names a digest; what is pushed gets a tag, the digest is its result"
        )
        .into());
    }
    let has_tag = reference.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let tag = if has_tag { place.tag().unwrap_or(tag) } else { tag };
    let host = place.registry().to_owned();
    let place =
        oci_client::Reference::with_tag(host, place.repository().to_owned(), format!("{tag}{suffix}"));
    let registry = Registry::open(place, &access.access()).map_err(failure)?;
    registry.push(image, |what, size| eprintln!("pushing {what}, {size} bytes")).map_err(failure)?;
    let place = registry.reference();
    Ok(format!("{}/{}:{tag}{suffix}@{}", place.registry(), place.repository(), image.digest))
}
