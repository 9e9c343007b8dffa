//! Findings as text for a reader, as JSON, as SARIF and as GitHub's annotations. Finds nothing.

mod github;
mod sarif;
mod text;

use clap::ValueEnum;

use super::{Report, Source};

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a reader, with the line of the file
    #[default]
    Text,
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

/// The report in a format. `sources` are the files it is about; `color` is for text only.
#[must_use]
pub fn render(report: &Report, sources: &[Source], format: Format, color: bool) -> String {
    match format {
        Format::Text => text::render(report, sources, color),
        Format::Json => format!("{:#}\n", serde_json::json!(report)),
        Format::Sarif => format!("{:#}\n", sarif::render(report)),
        Format::Github => github::render(report),
    }
}

#[cfg(test)]
mod tests;
