//! Tables of what has been verified, one row per command: CSV, the command in the last column.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Error, Result};

/// Where a campaign's row goes.
#[derive(Debug, Args)]
pub(in crate::cli) struct TableArgs {
    /// Keep the result as a row of this CSV table, in place of the last row of the same command
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

impl TableArgs {
    /// Adds rows, each a value per column, where a table was asked for; they take the place of all rows of `command`.
    pub(super) fn add<const N: usize>(&self, columns: &[&str; N], command: &str, rows: &[[String; N]]) -> Result<()> {
        self.table.as_ref().map_or(Ok(()), |path| add(path, columns, command, rows))
    }
}

/// The command as it was typed, but for where its results go.
pub(super) fn command_line() -> String {
    shorten(std::env::args().skip(1))
}

fn shorten(mut arguments: impl Iterator<Item = String>) -> String {
    let mut kept = vec!["systole".to_string()];
    while let Some(a) = arguments.next() {
        match a.as_str() {
            "--table" => drop(arguments.next()),
            "--json" | "--non-interactive" => {}
            _ if a.starts_with("--table=") => {}
            _ => kept.push(a),
        }
    }
    kept.join(" ")
}

fn add<const N: usize>(path: &Path, columns: &[&str; N], command: &str, rows: &[[String; N]]) -> Result<()> {
    let malformed =
        |e: csv::Error| Error::Malformed { path: path.into(), format: "verification table", reason: e.to_string() };
    let header: Vec<&str> = columns.iter().copied().chain(["command"]).collect();
    let mut kept = Vec::new();
    if path.exists() {
        let mut reader = csv::Reader::from_path(path).map_err(malformed)?;
        if reader.headers().map_err(malformed)? != header {
            let reason = format!("its columns are not {}", header.join(","));
            return Err(Error::Malformed { path: path.into(), format: "verification table", reason });
        }
        for row in reader.records() {
            let row = row.map_err(malformed)?;
            if row.iter().next_back() != Some(command) {
                kept.push(row);
            }
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).map_err(malformed)?;
    kept.iter().try_for_each(|row| writer.write_record(row)).map_err(malformed)?;
    for row in rows {
        writer.write_record(row.iter().map(String::as_str).chain([command])).map_err(malformed)?;
    }
    let text = writer.into_inner().expect("a vector takes everything");
    // a reader never meets half a table
    let fresh = path.with_extension("csv.new");
    fs::write(&fresh, text).map_err(Error::io("write", &fresh))?;
    fs::rename(&fresh, path).map_err(Error::io("replace", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_again_wherever_its_results_go() {
        let typed = |text: &str| shorten(text.split(' ').map(String::from));
        assert_eq!(typed("verify lockstep --table t.csv --steps 5 --json"), "systole verify lockstep --steps 5");
        assert_eq!(typed("verify lockstep --table=t.csv --steps 5"), "systole verify lockstep --steps 5");
    }

    #[test]
    fn a_command_replaces_its_own_rows_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let row = |v: &str| ["8".to_string(), v.to_string()];
        add(&path, &["lanes", "cases"], "verify one", &[row("10"), row("11")]).unwrap();
        add(&path, &["lanes", "cases"], "verify two", &[row("20")]).unwrap();
        add(&path, &["lanes", "cases"], "verify one", &[row("30")]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "lanes,cases,command\n8,20,verify two\n8,30,verify one\n");
        let other = add(&path, &["lanes"], "verify three", &[["8".into()]]);
        assert!(matches!(other, Err(Error::Malformed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "a table of other columns is left alone");
    }
}
