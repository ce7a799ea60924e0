//! `systole board`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use systole_hdl::board::TOP;
use systole_hdl::emit::LINT_WAIVERS;
use systole_verilator::{ModelSpec, Options, Verilator, vexriscv_verilog};

use super::OutputArgs;
use super::floorplan::FloorplanArgs;
use crate::board::{Board, Built, Capacity, Flow, Plan, Progress, Stage, Utilisation, bench, flash, netlist};
use crate::error::{Error, Result};

/// FPGA boards: from a board's name to a bitstream, and into the FPGA
///
/// docs/boards.md goes through it, from unpacking a board to a trained network.
#[derive(Debug, Subcommand)]
pub(super) enum BoardCommand {
    List(ListArgs),
    Info(InfoArgs),
    Check(CheckArgs),
    Build(BuildArgs),
    Floorplan(FloorplanArgs),
    Firmware(FirmwareArgs),
    Flash(FlashArgs),
}

/// The boards that this program knows
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
pub(super) struct WhichArgs {
    /// The board's name, from `systole board list`
    #[arg(value_name = "BOARD", required_unless_present = "board_file")]
    board: Option<String>,
    /// A board.toml of your own instead
    #[arg(long, value_name = "PATH", conflicts_with = "board")]
    board_file: Option<PathBuf>,
}

impl WhichArgs {
    pub(super) fn board(&self) -> Result<Board> {
        match (&self.board_file, &self.board) {
            (Some(path), _) => Board::load(path),
            (None, Some(name)) => Board::named(name),
            (None, None) => Err(Error::value("BOARD", "", "a name or --board-file is needed")),
        }
    }
}

/// All about one board: part, pins, machine, programmers
#[derive(Debug, Args)]
pub(super) struct InfoArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Print the constraint file that place and route is given, and nothing else
    #[arg(long)]
    constraints: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Everything but place and route: description, design, lint, synthesis, does it fit
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Also train on the synthesised netlist and compare it with the RTL, bit by bit and cycle by cycle. Slow: minutes at N = 4
    #[arg(long)]
    simulate: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which placement.
#[derive(Debug, Args)]
pub(super) struct SeedArgs {
    /// Seed of place and route; another may reach another clock [default: the board's own, see `board info`]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
}

impl SeedArgs {
    /// The flow with this seed.
    pub(super) fn flow(&self, board: &Board) -> Result<Flow> {
        Flow::new(Options::workspace(), self.seed.unwrap_or(board.fpga.seed))
    }
}

/// Make the bitstream: synthesis, place and route, firmware, packing
///
/// What has been done before is taken from target/systole/boards. A large FPGA takes an hour or more without native tools.
#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    seed: SeedArgs,
    /// Make the bitstream even if its clock is not reached
    #[arg(long)]
    allow_slow: bool,
    /// Also copy the bitstream here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add the result to this table, or replace the board's line in it
    #[arg(long, value_name = "FILE.csv")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Put new firmware into a bitstream that has been built, without place and route
#[derive(Debug, Args)]
pub(super) struct FirmwareArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The firmware: 32-bit words in hexadecimal, one a line [default: the firmware of this repository, compiled]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    #[command(flatten)]
    seed: SeedArgs,
    /// Also copy the bitstream here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Load a bitstream into a connected board
#[derive(Debug, Args)]
pub(super) struct FlashArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The bitstream [default: what `systole board build` makes]
    #[arg(long, value_name = "FILE")]
    bitstream: Option<PathBuf>,
    /// Write flash memory, so that the board starts with it, rather than SRAM
    #[arg(long)]
    persist: bool,
    /// Serial number of the board, where several are connected
    #[arg(long, value_name = "NUMBER")]
    serial: Option<String>,
    /// Say what would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl BoardCommand {
    pub(super) fn run(self) -> Result<()> {
        match self {
            BoardCommand::List(a) => a.run(),
            BoardCommand::Info(a) => a.run(),
            BoardCommand::Check(a) => a.run(),
            BoardCommand::Build(a) => a.run(),
            BoardCommand::Floorplan(a) => a.run(),
            BoardCommand::Firmware(a) => a.run(),
            BoardCommand::Flash(a) => a.run(),
        }
    }
}

#[derive(Serialize)]
struct Line {
    name: String,
    title: String,
    device: String,
    lanes: u32,
    vector_lanes: u32,
    core_mhz: f64,
}

fn line(b: &Board) -> Line {
    let m = b.machine();
    Line {
        name: b.name.clone(),
        title: b.title.clone(),
        device: b.fpga.device.clone(),
        lanes: m.lanes,
        vector_lanes: m.vector_lanes,
        core_mhz: b.clock.core_mhz,
    }
}

#[derive(Serialize)]
struct List {
    boards: Vec<Line>,
}

impl ListArgs {
    fn run(self) -> Result<()> {
        let boards = Board::all().iter().map(line).collect();
        self.output.print(&List { boards }, |l| {
            let row = |b: &Line| {
                format!("{:<16} {:<30} N = {}, V = {}, {} MHz", b.name, b.title, b.lanes, b.vector_lanes, b.core_mhz)
            };
            l.boards.iter().map(row).collect::<Vec<_>>().join("\n")
        });
        Ok(())
    }
}

#[derive(Serialize)]
struct Info {
    #[serde(flatten)]
    line: Line,
    package: String,
    speed: u8,
    seed: u32,
    capacity: Capacity,
    hmem_elements: u32,
    smem_elements: u32,
    program_words: u32,
    firmware_bytes: u32,
    programmers: Vec<&'static str>,
    usb: Vec<String>,
    source: String,
    notes: String,
    constraints: String,
}

impl InfoArgs {
    fn run(self) -> Result<()> {
        let b = self.which.board()?;
        if self.constraints && !self.output.json {
            use std::io::Write as _;
            let _ = write!(std::io::stdout(), "{}", b.constraints());
            return Ok(());
        }
        let m = b.machine();
        let info = Info {
            line: line(&b),
            package: b.fpga.package.clone(),
            speed: b.fpga.speed,
            seed: b.fpga.seed,
            capacity: b.capacity().expect("checked by parse"),
            hmem_elements: m.hmem_words,
            smem_elements: m.smem_words,
            program_words: m.pmem_words,
            firmware_bytes: m.firmware_bytes,
            programmers: b.programmer.iter().map(|p| p.program()).collect(),
            usb: b.usb.ids.clone(),
            source: b.source.clone(),
            notes: b.notes.clone(),
            constraints: b.constraints(),
        };
        self.output.print(&info, |i| {
            format!(
                "{} ({})\nFPGA         {} in {}, speed {}: {} logic cells, {} multipliers, {} block RAMs; seed {}\n\
                 machine      N = {}, V = {} at {} MHz; {} FP16 and {} FP32 elements, {} words of program, {} bytes of firmware\n\
                 programmer   {}; USB {}\npins from    {}\nnote         {}",
                i.line.title,
                i.line.name,
                i.line.device,
                i.package,
                i.speed,
                i.capacity.logic_cells,
                i.capacity.multipliers,
                i.capacity.block_rams,
                i.seed,
                i.line.lanes,
                i.line.vector_lanes,
                i.line.core_mhz,
                i.hmem_elements,
                i.smem_elements,
                i.program_words,
                i.firmware_bytes,
                i.programmers.join(", "),
                i.usb.join(", "),
                i.source,
                i.notes
            )
        });
        Ok(())
    }
}

/// Stages on stderr: a moving line on a terminal, a line a minute elsewhere.
pub(super) struct Stages {
    bar: ProgressBar,
    shown: bool,
    stage: String,
    said: Instant,
}

impl Stages {
    pub(super) fn new(output: &OutputArgs) -> Stages {
        let shown = !output.non_interactive && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{spinner} {prefix} [{elapsed}] {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Stages { bar, shown, stage: String::new(), said: Instant::now() }
    }

    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Progress for Stages {
    fn begin(&mut self, stage: &str) {
        self.stage = stage.into();
        self.said = Instant::now();
        self.bar.reset_elapsed();
        self.bar.set_prefix(self.stage.clone());
        self.bar.set_message("");
    }

    fn line(&mut self, text: &str) {
        let text = text.trim().trim_start_matches("Info: ");
        if text.is_empty() {
            return;
        }
        if self.shown {
            self.bar.set_message(text.to_string());
            self.bar.tick();
        } else if self.said.elapsed() >= Duration::from_secs(60) {
            eprintln!("{}: {text}", self.stage);
            self.said = Instant::now();
        }
    }

    fn end(&mut self, stage: &Stage) {
        let memory = stage.peak_kib.map_or(String::new(), |k| format!(", {} MB", k / 1024));
        let kept = if stage.cached { " (kept)" } else { "" };
        self.say(&format!("{:<16} {:>7.1} s{memory}{kept}", stage.name, stage.seconds));
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[derive(Serialize)]
struct Checked {
    board: String,
    modules: usize,
    used: Utilisation,
    capacity: Capacity,
    fits: bool,
    netlist: Option<netlist::Comparison>,
}

impl CheckArgs {
    fn run(self) -> Result<()> {
        let board = self.which.board()?;
        let options = Options::workspace();
        let modules = lint(&options, &board)?;
        let flow = Flow::new(options, 1)?;
        let mut stages = Stages::new(&self.output);
        let (_, used) = flow.synthesise(&board, &mut stages)?;
        board.holds(&used)?;
        let capacity = board.capacity().expect("checked by parse");
        let netlist = if self.simulate {
            let mut say = |text: &str| stages.say(text);
            let spec = netlist::model_for(&board.machine());
            Some(netlist::compare(&flow.options, &flow.tools, board.machine(), spec, netlist::STEPS, &mut say)?)
        } else {
            None
        };
        drop(stages);
        let checked = Checked { board: board.name, modules, used, capacity, fits: true, netlist };
        self.output.print(&checked, |c| {
            let mut text = format!(
                "{}: {} modules, lint-clean; synthesised, before routing:\n{}",
                c.board,
                c.modules,
                c.used.text(&c.capacity)
            );
            if let Some(n) = &c.netlist {
                text += &format!("\n{}", n.text());
            }
            text
        });
        Ok(())
    }
}

/// Lints a board's design; returns how many modules it has.
fn lint(options: &Options, board: &Board) -> Result<usize> {
    let failed = |e: systole_verilator::Error| Error::Setup {
        what: format!("a look at the design of {}", board.name),
        reason: e.to_string(),
        help: e.help(),
    };
    let text = systole_hdl::board::verilog(&board.options()).map_err(|e| Error::Setup {
        what: format!("the design of {}", board.name),
        reason: e.to_string(),
        help: "this is a bug worth reporting".into(),
    })?;
    let modules = text.lines().filter(|l| l.starts_with("module ")).count();
    let core = vexriscv_verilog(options).map_err(failed)?;
    let spec = ModelSpec::new(TOP, text).clock("clk").source(&core).define("SYSTOLE_UNGATED", "1");
    let messages = Verilator::provision(options).and_then(|v| v.lint(&spec, "")).map_err(failed)?;
    let ours = |m: &&systole_verilator::Message| {
        !m.file.ends_with("VexRiscv.v") && !LINT_WAIVERS.iter().any(|(w, _)| *w == m.code)
    };
    match messages.iter().find(ours) {
        None => Ok(modules),
        Some(m) => Err(Error::Setup {
            what: format!("the design of {}", board.name),
            reason: format!("{m:?}"),
            help: "this is a bug worth reporting".into(),
        }),
    }
}

impl BuildArgs {
    fn run(self) -> Result<()> {
        let board = self.which.board()?;
        let flow = self.seed.flow(&board)?;
        let mut stages = Stages::new(&self.output);
        let built = flow.build(&board, None, self.allow_slow, &mut stages)?;
        drop(stages);
        if let Some(path) = &self.report {
            bench::record(path, &bench::Row::of_board(&board, &built, &flow))?;
        }
        copy_out(&built, self.out.as_deref())?;
        self.output.print(&built, |b| text(&board, b));
        Ok(())
    }
}

impl FirmwareArgs {
    fn run(self) -> Result<()> {
        let board = self.which.board()?;
        let flow = self.seed.flow(&board)?;
        let mut stages = Stages::new(&self.output);
        if !flow.is_routed(&board, &mut stages)? {
            return Err(Error::Board {
                board: board.name.clone(),
                reason: format!("no routed design of this version with seed {} is there", flow.seed),
                help: format!("run `systole board build {}` once", board.name),
            });
        }
        let built = flow.build(&board, self.image.as_deref(), true, &mut stages)?;
        drop(stages);
        copy_out(&built, self.out.as_deref())?;
        self.output.print(&built, |b| format!("bitstream    {}", b.bitstream.display()));
        Ok(())
    }
}

fn copy_out(built: &Built, out: Option<&std::path::Path>) -> Result<()> {
    match out {
        Some(out) => std::fs::copy(&built.bitstream, out).map(drop).map_err(Error::io("write", out)),
        None => Ok(()),
    }
}

fn text(board: &Board, built: &Built) -> String {
    let has = board.capacity().expect("checked by parse");
    format!("{}\nbitstream    {}", built.summary.text(&has), built.bitstream.display())
}

#[derive(Serialize)]
struct Flashed {
    board: String,
    persist: bool,
    command: String,
    done: bool,
}

impl FlashArgs {
    fn run(self) -> Result<()> {
        let board = self.which.board()?;
        // A board that is not there is said before anything is built for it.
        let unbuilt = PathBuf::from("systole.bit");
        let mut plan = Plan::find(&board, &unbuilt, self.persist, self.serial.as_deref())?;
        let bitstream = match &self.bitstream {
            Some(path) if path.is_file() => path.clone(),
            Some(path) => {
                let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
                return Err(Error::io("read", path)(missing));
            }
            None => {
                let flow = self.seed.flow(&board)?;
                flow.build(&board, None, false, &mut Stages::new(&self.output))?.bitstream
            }
        };
        plan.replace_bitstream(&unbuilt, &bitstream);
        if !self.dry_run {
            flash(&board, &plan)?;
        }
        let done = Flashed {
            board: board.name.clone(),
            persist: self.persist,
            command: plan.command_line(),
            done: !self.dry_run,
        };
        self.output.print(&done, |d| match d.done {
            true => format!("{}: loaded ({})", d.board, d.command),
            false => d.command.clone(),
        });
        Ok(())
    }
}
