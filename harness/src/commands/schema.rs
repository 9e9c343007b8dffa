//! `weir schema`: the JSON Schemas of the forms that Weir reads and writes.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Exit, Failure, Run, Terminal};
use crate::case::Case;
use crate::scenario::Scenario;
use crate::{report, traffic};

/// Print the JSON Schema of a form that Weir reads or writes
#[derive(Args)]
#[command(after_help = "Examples:
  weir schema scenario > scenario.schema.json
  weir schema report     a line of `weir replay --format jsonl`
  weir schema recording  a line of `weir convert`

In an editor with yaml-language-server, name the schema in the first line of a scenario:
  # yaml-language-server: $schema=scenario.schema.json")]
pub(super) struct Schema {
    /// The form
    #[arg(value_enum)]
    form: Form,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// `scenario.yaml`
    Scenario,
    /// `case.yaml`
    Case,
    /// A line of a report in JSON lines
    Report,
    /// A line of a recording in Weir's JSON lines
    Recording,
}

impl Run for Schema {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let schema: Value = match self.form {
            Form::Scenario => schemars::schema_for!(Scenario).into(),
            Form::Case => schemars::schema_for!(Case).into(),
            Form::Report => report::schema().into(),
            Form::Recording => traffic::jsonl_schema(),
        };
        writeln!(io::stdout(), "{schema:#}")?;
        Ok(Exit::Done)
    }
}
