//! The command line of `systole`. Results go to stdout (with `--json`: one object), everything else to stderr.

mod bench;
mod board;
mod completions;
mod devices;
mod eval;
mod export;
mod floorplan;
mod gemm;
mod inspect;
mod man;
mod monitor;
mod plan;
mod progress;
mod recipe;
mod report;
mod reproduce;
mod setup;
#[cfg(unix)]
mod sim;
mod task;
mod trace;
mod train;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::driver::device::DeviceOptions;
use crate::error::Result;
use crate::run::resume::find;

/// Trains neural networks in mixed precision on the Systole accelerator: FP16 products, FP32 sums and weights.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Begin with: systole train --device model --epochs 3, then the same without --device.

Exit codes: 0 done · 2 impossible command line · 3 a file cannot be read or written, or is
malformed · 4 does not fit into the device · 5 device or link failed · 6 training cannot go on ·
7 a tool is missing or failed · 8 a verification found a difference · 130 interrupted";

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Export(export::ExportArgs),
    Inspect(inspect::InspectArgs),
    Report(report::ReportArgs),
    Reproduce(reproduce::ReproduceArgs),
    Gemm(gemm::GemmArgs),
    Plan(plan::PlanArgs),
    #[command(subcommand)]
    Bench(bench::Bench),
    #[command(subcommand)]
    Board(board::BoardCommand),
    #[command(subcommand)]
    Verify(verify::Verify),
    #[cfg(unix)]
    Sim(sim::SimArgs),
    Devices(devices::DevicesArgs),
    Monitor(monitor::MonitorArgs),
    Setup(setup::SetupArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Which checkpoint.
#[derive(Debug, Args)]
struct CheckpointArgs {
    /// The checkpoint: a file, a run's folder, or the name of a run in --runs
    #[arg(value_name = "RUN|FILE")]
    checkpoint: PathBuf,
    /// Folder that runs are kept in
    #[arg(long, default_value = "runs", value_name = "DIR")]
    runs: PathBuf,
}

impl CheckpointArgs {
    /// The checkpoint's file.
    fn path(&self) -> PathBuf {
        find(&self.checkpoint, &self.runs)
    }
}

/// Which device, and how.
#[derive(Debug, Args)]
struct DeviceArgs {
    /// What to run on: `rtl` (the hardware, simulated cycle by cycle), `model` (the same bits at native speed, without a
    /// clock), the path of a serial port (a board, or `systole sim`), or tcp:HOST:PORT
    #[arg(long, default_value = "rtl", value_name = "rtl|model|PATH|tcp:HOST:PORT")]
    device: String,
    /// Lanes of the systolic array: N×N processing elements [default: 8, or what the device has]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    lanes: Option<u32>,
    /// Lanes of the vector engine, at most those of the array [default: the array's, up to 8]
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    vector_lanes: Option<u32>,
    /// Bits per second of a serial port [default: 3000000]
    #[arg(long, value_name = "RATE")]
    baud: Option<u32>,
    /// Threads that rtl is simulated on. More than one pays for large arrays only, from 16 lanes on, on a machine with nothing
    /// else to do: threads meet several times in every cycle. Each count is a build of its own [default: 1]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=64))]
    sim_threads: Option<u32>,
}

impl DeviceArgs {
    fn options(&self) -> DeviceOptions {
        DeviceOptions {
            name: self.device.clone(),
            lanes: self.lanes,
            vector_lanes: self.vector_lanes,
            baud: self.baud,
            sim_threads: self.sim_threads,
            trace: None,
        }
    }
}

/// How to talk to the user.
#[derive(Clone, Copy, Debug, Args)]
struct OutputArgs {
    /// Print the result as one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// No progress bars, and never a question
    #[arg(long)]
    non_interactive: bool,
}

impl OutputArgs {
    /// Prints a result: as JSON, or as `text` writes it.
    fn print<T: Serialize>(&self, result: &T, text: impl FnOnce(&T) -> String) {
        use std::io::Write as _;
        let line = if self.json { serde_json::to_string(result).expect("plain data") } else { text(result) };
        // a reader that has gone away is no error of ours
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    let filter = if std::env::var_os("SYSTOLE_DEBUG").is_some() { tracing::Level::DEBUG } else { tracing::Level::WARN };
    let _ = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(filter).without_time().try_init();
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}\n help: {}", e.help());
            ExitCode::from(e.exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train(a) => a.run(),
        Command::Eval(a) => a.run(),
        Command::Export(a) => a.run(),
        Command::Inspect(a) => a.run(),
        Command::Report(a) => a.run(),
        Command::Reproduce(a) => a.run(),
        Command::Gemm(a) => a.run(),
        Command::Plan(a) => a.run(),
        Command::Bench(a) => a.run(),
        Command::Board(a) => a.run(),
        Command::Verify(a) => a.run(),
        #[cfg(unix)]
        Command::Sim(a) => a.run(),
        Command::Devices(a) => a.run(),
        Command::Monitor(a) => a.run(),
        Command::Setup(a) => a.run(),
        Command::Completions(a) => a.run(),
        Command::Man(a) => a.run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

/// A loss as people read it: four decimals, or as many digits where those would be zeros.
fn loss(v: f64) -> String {
    if v != 0.0 && v.abs() < 1e-3 { format!("{v:.3e}") } else { format!("{v:.4}") }
}
