//! `weir verify`: would Istio, Envoy Gateway and Envoy pull this image?

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use super::artifact::{AccessArgs, Opened, failure, open};
use super::{Exit, Failure, Run, Terminal};
use crate::oci::{Asked, Consumer, Place, Report, judge};
use crate::style::{Style, paint, printable};

/// Say whether Istio, Envoy Gateway and Envoy would pull an image, and why not
///
/// Reads manifests and layers as they do, checks every digest, and looks at the module itself. Any image of anybody's.
#[derive(Args)]
#[command(after_help = "Examples:
  weir verify registry.example/weir/canary:1.4
  weir verify registry.example/other@sha256:… --for istio
  weir verify oci:target/weir/canary.oci
  weir verify registry.example/other:1 --sha256 3b2f… --format json | jq '.verdicts[]'

Exit codes: 0 all that were asked for would pull it, 1 one would not, 2 it cannot be read: not found, refused, or tampered with")]
pub(super) struct Verify {
    /// host/repository:tag, host/repository@sha256:…, or oci:FOLDER[:TAG]
    reference: String,
    /// Who must be able to pull it
    #[arg(long = "for", value_enum, value_delimiter = ',', default_value = "istio,envoy-gateway")]
    consumers: Vec<Whom>,
    /// The digest that a `sha256` field beside the reference pins
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whom {
    /// Istio's agent
    Istio,
    /// Envoy Gateway's controller
    EnvoyGateway,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For a reader
    Text,
    /// One JSON object
    Json,
}

impl Run for Verify {
    fn run(self, terminal: Terminal) -> Result<Exit, Failure> {
        let place = Place::parse(&self.reference).map_err(failure)?;
        let opened = open(&place, &self.access)?;
        let mut asked = Asked { pinned: self.sha256.clone(), ..Asked::default() };
        if let Opened::Registry(registry) = &opened {
            asked.challenge = registry.challenge().map_err(failure)?;
            asked.plain_http = registry.is_plain_http();
            let reference = registry.reference();
            asked.is_latest =
                reference.digest().is_none() && matches!(reference.tag(), None | Some("latest"));
            asked.pinned = asked.pinned.or_else(|| reference.digest().map(str::to_owned));
        }
        let report = judge(opened.store(), &asked).map_err(failure)?;
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
            Format::Text => {
                out.write_all(
                    text(&self.reference, &report, terminal.color.is_on(&io::stdout())).as_bytes(),
                )?;
            }
        }
        let wanted = |consumer: Consumer| match consumer {
            Consumer::Istio => self.consumers.contains(&Whom::Istio),
            Consumer::EnvoyGateway => self.consumers.contains(&Whom::EnvoyGateway),
            Consumer::Envoy => false,
        };
        let all =
            report.verdicts.iter().filter(|verdict| wanted(verdict.consumer)).all(|verdict| verdict.pulls);
        Ok(if all { Exit::Done } else { Exit::Differs })
    }
}

/// The report for a reader.
fn text(reference: &str, report: &Report, color: bool) -> String {
    let mut text = image(reference, report, color);
    for verdict in &report.verdicts {
        let (mark, style) = if verdict.pulls { ("pulls it", Style::Green) } else { ("does not", Style::Red) };
        let reason = printable(verdict.reason.as_bytes());
        text.push_str(&format!("{:<13}  {}  {reason}\n", verdict.consumer.name(), paint(color, style, mark)));
        for note in &verdict.notes {
            text.push_str(&format!(
                "{:25}{}\n",
                "",
                paint(color, Style::Yellow, &printable(note.as_bytes()))
            ));
        }
    }
    text
}

/// What an image is, for a reader.
pub(super) fn image(reference: &str, report: &Report, color: bool) -> String {
    let safe = |text: &str| printable(text.as_bytes());
    let mut lines =
        vec![paint(color, Style::Bold, &safe(reference)), format!("  digest    {}", report.digest)];
    match &report.manifest_digest {
        Some(digest) if *digest != report.digest => lines.push(format!("  image     {digest}")),
        _ => {}
    }
    if let Some(shape) = report.shape {
        lines.push(format!("  shape     {}", shape.describe()));
    }
    if let Some(module) = &report.module {
        let abi = module.abi.as_deref().unwrap_or("none");
        lines.push(format!("  module    {} bytes, ABI {abi}, {}", module.size, module.digest));
        let beside: Vec<String> = module.files.iter().map(|(name, _)| safe(name)).collect();
        if !beside.is_empty() {
            lines.push(format!("  beside it {}", beside.join(", ")));
        }
    }
    for (name, value) in &report.annotations {
        lines.push(format!("  {}", paint(color, Style::Dim, &safe(&format!("{name}: {value}")))));
    }
    lines.push(String::new());
    lines.push(String::new());
    lines.join("\n")
}
