//! `weir completions`: completions for a shell, made of the same description as `--help`.

use std::io::{self, Write};

use clap::Args;
use clap_complete::Shell;

use super::{Exit, Failure, Run, Terminal};

/// Print completions for a shell
#[derive(Args)]
#[command(after_help = "Examples:
  weir completions bash > ~/.local/share/bash-completion/completions/weir
  weir completions zsh > ~/.zfunc/_weir
  weir completions fish > ~/.config/fish/completions/weir.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Run for Completions {
    fn run(self, _: Terminal) -> Result<Exit, Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "weir", &mut text);
        io::stdout().write_all(&text)?;
        Ok(Exit::Done)
    }
}
