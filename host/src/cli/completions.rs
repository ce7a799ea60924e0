//! `systole completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::error::Result;

/// Print a completion script for a shell
///
/// For bash: `systole completions bash > ~/.local/share/bash-completion/completions/systole`
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Result<()> {
        use std::io::Write as _;
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "systole", &mut script);
        // a reader that has gone away is no error of ours
        let _ = std::io::stdout().write_all(&script);
        Ok(())
    }
}
