//! `systole man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use crate::error::{Error, Result};

/// Write manual pages, one for each command
///
/// To read them without installing: `systole man --dir ./man && man ./man/systole-train.1`
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The folder to write to, for example ~/.local/share/man/man1
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl ManArgs {
    pub(super) fn run(self) -> Result<()> {
        std::fs::create_dir_all(&self.dir).map_err(Error::io("create", &self.dir))?;
        clap_mangen::generate_to(super::Cli::command(), &self.dir).map_err(Error::io("write", &self.dir))?;
        eprintln!("manual pages are in {}: man {}/systole-train.1", self.dir.display(), self.dir.display());
        Ok(())
    }
}
