//! From a board to a bitstream, each stage cached by the hash of all that it depends on, below `target/systole/boards`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use systole_hdl::board::{TOP, verilog};
use systole_sim::rtl;
use systole_verilator::fpga::{FpgaTool, FpgaTools, Took};
use systole_verilator::{Options, ensure_folder, vexriscv_verilog};

use super::Board;
use super::carry;
use super::floorplan::{Assigned, Floorplan};
use super::report::{Summary, Utilisation};
use crate::error::{Error, Result};

/// The synthesised design, in its stage's folder.
pub(super) const NETLIST: &str = "netlist.json";
/// The placed design, in its stage's folder.
const PLACED: &str = "placed.json";
/// The routed design, in its stage's folder.
const ROUTED: &str = "routed.config";
/// What each stage may take. Routing a full FPGA takes an hour or two on a slow machine.
const SYNTHESIS_LIMIT: Duration = Duration::from_secs(2 * 3600);
const ROUTING_LIMIT: Duration = Duration::from_secs(6 * 3600);
const PACKING_LIMIT: Duration = Duration::from_secs(600);

/// Hears what a build does.
pub trait Progress {
    /// A stage begins.
    fn begin(&mut self, stage: &str);
    /// What its program prints.
    fn line(&mut self, text: &str);
    /// It is done.
    fn end(&mut self, stage: &Stage);
}

/// A stage that is done.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// Which.
    pub name: &'static str,
    /// It had been done before.
    pub cached: bool,
    /// What it took when it was done.
    pub seconds: f64,
    /// Most memory in use, in KiB, where known.
    pub peak_kib: Option<u64>,
    /// Its files.
    pub folder: PathBuf,
}

/// A bitstream.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// The file.
    pub bitstream: PathBuf,
    /// What routing reported.
    pub summary: Summary,
    /// What was done.
    pub stages: Vec<Stage>,
}

/// The tools and choices of a build.
pub struct Flow {
    /// Where everything is kept.
    pub options: Options,
    /// The programs.
    pub tools: FpgaTools,
    /// nextpnr's seed.
    pub seed: u32,
}

impl Flow {
    /// Provides the tools.
    ///
    /// # Errors
    /// They are missing and cannot be fetched.
    pub fn new(options: Options, seed: u32) -> Result<Flow> {
        let tools = FpgaTools::provision(&options).map_err(|e| Error::from_tool("the FPGA tools", e))?;
        Ok(Flow { options, tools, seed })
    }

    /// Prints and synthesises the design. The stage's folder holds `netlist.json` and `stat.json`.
    ///
    /// # Errors
    /// The design cannot be printed, or yosys refuses it.
    pub fn synthesise(&self, board: &Board, progress: &mut dyn Progress) -> Result<(Stage, Utilisation)> {
        let text = verilog(&board.options()).map_err(|e| Error::Setup {
            what: format!("the design of {}", board.name),
            reason: e.to_string(),
            help: "this is a bug worth reporting".into(),
        })?;
        let core = vexriscv_verilog(&self.options).map_err(|e| Error::from_tool("the soft core", e))?;
        let machine = board.machine();
        let core = std::fs::read_to_string(&core).map_err(Error::io("read", &core))?;
        let image = hex(&placeholder(machine.firmware_bytes as usize / 4));
        let script = synthesis_script(TOP, true);
        let parts = [&text, &core, &image, &script, &self.tools.versions, carry::VERSION].map(str::as_bytes);
        let home = self.home(&board.name, "synthesis", &parts);
        let stage = self.stage("synthesis", &home, progress, |dir, progress| {
            for (name, content) in
                [("design.v", &text), ("VexRiscv.v", &core), ("firmware.hex", &image), ("script.ys", &script)]
            {
                write(&dir.join(name), content)?;
            }
            self.netlist(dir, progress)
        })?;
        let stat = json(&stage.folder.join("stat.json"))?;
        let used = Utilisation::of_netlist(&stat).ok_or_else(|| unreadable(&stage.folder.join("stat.json")))?;
        Ok((stage, used))
    }

    /// Places and routes a synthesised design. The stage's folder holds `routed.config` and `report.json`.
    ///
    /// # Errors
    /// The design does not fit, or cannot be routed. A clock that is not reached is no error here.
    pub fn route(
        &self,
        board: &Board,
        synthesis: &Stage,
        used: &Utilisation,
        progress: &mut dyn Progress,
    ) -> Result<(Stage, Summary)> {
        board.holds(used)?;
        let home = self.routing_home(board, synthesis);
        let stage = self.stage("place and route", &home, progress, |dir, progress| {
            let mut arguments = self.begin_placement(board, synthesis, &board.floorplan, dir, progress)?;
            arguments.extend(["--textcfg", ROUTED, "--report", "report.json"].map(String::from));
            self.run(FpgaTool::Nextpnr, &arguments, dir, ROUTING_LIMIT, progress)
        })?;
        let path = stage.folder.join("report.json");
        let summary = Summary::of_report(&json(&path)?, used.lut4).ok_or_else(|| unreadable(&path))?;
        Ok((stage, summary))
    }

    /// Places a synthesised design with the sites of `floorplan`, and finds better ones. It routes nothing.
    ///
    /// # Errors
    /// The design does not fit, or cannot be placed.
    pub fn floorplan(
        &self,
        board: &Board,
        synthesis: &Stage,
        floorplan: &Floorplan,
        progress: &mut dyn Progress,
    ) -> Result<(Floorplan, Assigned)> {
        let home = self.routing_home_of(board, synthesis, floorplan, "placement");
        let stage = self.stage("placement", &home, progress, |dir, progress| {
            let mut arguments = self.begin_placement(board, synthesis, floorplan, dir, progress)?;
            // the placer that spreads cells as charges (Lu et al., ePlace, 2015): shortest wires, whatever the clock
            arguments.extend(["--placer", "static", "--no-route", "--write", PLACED].map(String::from));
            self.run(FpgaTool::Nextpnr, &arguments, dir, ROUTING_LIMIT, progress)
        })?;
        let path = stage.folder.join(PLACED);
        Floorplan::of_placement(&json(&path)?, &board.fpga.device).map_err(|reason| Error::Malformed {
            path,
            format: "placed design",
            reason,
        })
    }

    /// Puts netlist and constraints into a folder, and says how nextpnr is called there.
    fn begin_placement(
        &self,
        board: &Board,
        synthesis: &Stage,
        floorplan: &Floorplan,
        dir: &Path,
        progress: &mut dyn Progress,
    ) -> systole_verilator::Result<Vec<String>> {
        let netlist = synthesis.folder.join(NETLIST);
        write(&dir.join("pins.lpf"), &board.constraints())?;
        if floorplan.is_empty() {
            bring(&netlist, dir)?;
        } else {
            let mut design = read_netlist(&netlist)?;
            let (found, named) = floorplan.apply(&mut design);
            progress.line(&format!("floorplan: {found} of its {named} cells are in this design"));
            write(&dir.join(NETLIST), &design.to_string())?;
        }
        let mut arguments: Vec<String> = self.target(board).split(' ').map(String::from).collect();
        arguments.extend(["--json", NETLIST, "--lpf", "pins.lpf", "--timing-allow-fail"].map(String::from));
        Ok(arguments)
    }

    /// Puts firmware into a routed design and packs it. `image` is a file of words as `$readmemh` reads them.
    ///
    /// # Errors
    /// The image does not fit, or a program fails.
    pub fn pack(&self, board: &Board, routed: &Stage, image: &Path, progress: &mut dyn Progress) -> Result<Stage> {
        let words = board.machine().firmware_bytes as usize / 4;
        let text = std::fs::read_to_string(image).map_err(Error::io("read", image))?;
        let mut new = parse_hex(&text).ok_or(Error::Malformed {
            path: image.into(),
            format: "firmware image",
            reason: "it is not a list of 32-bit words in hexadecimal, one a line".into(),
        })?;
        if new.len() > words {
            return Err(Error::DoesNotFit {
                what: format!("the firmware {}", image.display()),
                reason: format!("it has {} bytes, and the firmware RAM {}", 4 * new.len(), 4 * words),
            });
        }
        new.resize(words, 0);
        let (old, new) = (hex(&placeholder(words)), hex(&new));
        let config = routed.folder.join(ROUTED);
        let made_of = config.display().to_string();
        let home =
            self.home(&board.name, "bitstream", &[made_of.as_bytes(), new.as_bytes(), self.tools.versions.as_bytes()]);
        self.stage("bitstream", &home, progress, |dir, progress| {
            write(&dir.join("old.hex"), &old)?;
            write(&dir.join("firmware.hex"), &new)?;
            bring(&config, dir)?;
            let fill = ["-i", ROUTED, "-o", "filled.config", "-f", "old.hex", "-t", "firmware.hex"];
            let first = self.run(FpgaTool::Ecpbram, &fill.map(String::from), dir, PACKING_LIMIT, progress)?;
            let filled = std::fs::read(dir.join("filled.config")).unwrap_or_default();
            if std::fs::read(&config).is_ok_and(|routed| routed == filled) {
                // ecpbram says nothing when it finds nothing to replace
                return Err(systole_verilator::Error::BadTool {
                    what: "ecpbram",
                    path: config.clone(),
                    reason: "it did not find the firmware RAM in the routed design".into(),
                });
            }
            let pack = ["--compress", "--input", "filled.config", "--bit", "systole.bit"].map(String::from);
            let second = self.run(FpgaTool::Ecppack, &pack, dir, PACKING_LIMIT, progress)?;
            Ok(Took { seconds: first.seconds + second.seconds, peak_kib: first.peak_kib.max(second.peak_kib) })
        })
    }

    /// All of it: the board's bitstream with the firmware of this repository, or with `image`.
    ///
    /// # Errors
    /// As the parts; and a clock that is not reached, unless `slow` allows it.
    pub fn build(&self, board: &Board, image: Option<&Path>, slow: bool, progress: &mut dyn Progress) -> Result<Built> {
        let (synthesis, used) = self.synthesise(board, progress)?;
        let (routing, summary) = self.route(board, &synthesis, &used, progress)?;
        if !summary.met() && !slow {
            return Err(Error::Setup {
                what: format!("a bitstream for {}", board.name),
                reason: format!(
                    "the routed design reaches {:.1} MHz and {:.1} are wanted; its longest path: {}",
                    summary.mhz, summary.wanted_mhz, summary.critical
                ),
                help:
                    "try another --seed, a lower core_mhz in a board file of your own, or --allow-slow for a look at it"
                        .into(),
            });
        }
        let image = match image {
            Some(path) => path.to_path_buf(),
            None => self.firmware(board)?,
        };
        let packing = self.pack(board, &routing, &image, progress)?;
        let bitstream = packing.folder.join("systole.bit");
        Ok(Built { bitstream, summary, stages: vec![synthesis, routing, packing] })
    }

    /// Whether this version of the board's design has been routed with this seed. Synthesises it if that has not been done.
    ///
    /// # Errors
    /// As [`Flow::synthesise`].
    pub fn is_routed(&self, board: &Board, progress: &mut dyn Progress) -> Result<bool> {
        let (synthesis, _) = self.synthesise(board, progress)?;
        Ok(self.routing_home(board, &synthesis).join("report.json").is_file())
    }

    /// A unit alone, on an LFE5U-85F of speed 6, its ports not bound to pins: synthesised and routed for `mhz`.
    ///
    /// # Errors
    /// As [`Flow::synthesise`] and [`Flow::route`].
    pub fn unit(
        &self,
        name: &str,
        verilog: &str,
        top: &str,
        mhz: f64,
        progress: &mut dyn Progress,
    ) -> Result<(Vec<Stage>, Summary)> {
        let script = synthesis_script(top, false);
        let seed = self.seed.to_string();
        let inputs = [verilog, &script, &seed, &self.tools.versions, carry::VERSION].map(str::as_bytes);
        let home = self.home(name, "unit", &inputs);
        let stage = self.stage("unit", &home, progress, |dir, progress| {
            write(&dir.join("design.v"), verilog)?;
            write(&dir.join("script.ys"), &script)?;
            let first = self.netlist(dir, progress)?;
            let target = format!(
                "--85k --package CABGA381 --speed 6 --seed {seed} --out-of-context --freq {mhz} --json netlist.json \
                 --report report.json --timing-allow-fail"
            );
            let arguments: Vec<String> = target.split(' ').map(String::from).collect();
            let second = self.run(FpgaTool::Nextpnr, &arguments, dir, ROUTING_LIMIT, progress)?;
            Ok(Took { seconds: first.seconds + second.seconds, peak_kib: first.peak_kib.max(second.peak_kib) })
        })?;
        let stat = json(&home.join("stat.json"))?;
        let used = Utilisation::of_netlist(&stat).ok_or_else(|| unreadable(&home.join("stat.json")))?;
        let path = home.join("report.json");
        let summary = Summary::of_report(&json(&path)?, used.lut4).ok_or_else(|| unreadable(&path))?;
        Ok((vec![stage], summary))
    }

    /// The firmware of this repository, compiled: a file of words.
    ///
    /// # Errors
    /// No compiler, or firmware that does not fit.
    pub fn firmware(&self, board: &Board) -> Result<PathBuf> {
        let built = rtl::firmware_image(&self.options, &board.machine());
        let (image, _, _) =
            built.map_err(|e| Error::Setup { what: "the firmware".into(), reason: e.to_string(), help: e.help() })?;
        Ok(image)
    }

    fn routing_home(&self, board: &Board, synthesis: &Stage) -> PathBuf {
        self.routing_home_of(board, synthesis, &board.floorplan, "routing")
    }

    fn routing_home_of(&self, board: &Board, synthesis: &Stage, floorplan: &Floorplan, stage: &str) -> PathBuf {
        // the synthesis' own folder is named by its content
        let name = synthesis.folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let (constraints, target, sites) = (board.constraints(), self.target(board), floorplan.to_toml());
        let inputs = [&name, &constraints, &target, &sites, &self.tools.versions].map(String::as_bytes);
        self.home(&board.name, stage, &inputs)
    }

    fn target(&self, board: &Board) -> String {
        let f = &board.fpga;
        format!("--{} --package {} --speed {} --seed {}", f.device, f.package, f.speed, self.seed)
    }

    fn home(&self, name: &str, stage: &str, inputs: &[&[u8]]) -> PathBuf {
        let mut hash = Sha256::new();
        for part in inputs {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let digest = systole_verilator::hex(&hash.finalize()[..8]);
        self.options.root.join("target/systole/boards").join(name).join(format!("{stage}-{digest}"))
    }

    /// Runs `work` in a folder that becomes `home`, or finds that it is there.
    fn stage(
        &self,
        name: &'static str,
        home: &Path,
        progress: &mut dyn Progress,
        work: impl FnOnce(&Path, &mut dyn Progress) -> systole_verilator::Result<Took>,
    ) -> Result<Stage> {
        let mut fresh = false;
        progress.begin(name);
        let begun = Instant::now();
        ensure_folder(&self.options, home, &format!("running {name}"), |dir| {
            fresh = true;
            let took = work(dir, &mut *progress)?;
            let note = serde_json::json!({"seconds": took.seconds, "peak_kib": took.peak_kib});
            write(&dir.join("took.json"), &note.to_string())
        })
        .map_err(|e| Error::from_tool(name, e))?;
        let note = json(&home.join("took.json"))?;
        let seconds = note["seconds"].as_f64().unwrap_or_else(|| begun.elapsed().as_secs_f64());
        let peak_kib = note["peak_kib"].as_u64();
        let stage = Stage { name, cached: !fresh, seconds, peak_kib, folder: home.into() };
        progress.end(&stage);
        Ok(stage)
    }

    /// Runs a stage's `script.ys` and packs what comes of it.
    fn netlist(&self, dir: &Path, progress: &mut dyn Progress) -> systole_verilator::Result<Took> {
        let arguments = ["-q", "-s", "script.ys"].map(String::from);
        let took = self.run(FpgaTool::Yosys, &arguments, dir, SYNTHESIS_LIMIT, progress)?;
        carry::pack_folder(dir)?;
        Ok(took)
    }

    fn run(
        &self,
        tool: FpgaTool,
        arguments: &[String],
        dir: &Path,
        limit: Duration,
        progress: &mut dyn Progress,
    ) -> systole_verilator::Result<Took> {
        let log = dir.join(format!("{}.log", tool.name()));
        self.tools.run(tool, arguments, dir, &log, limit, &mut |line| progress.line(line))
    }
}

/// yosys' script for a design in `design.v`. `-nowidelut`: five- to seven-input tables cost two to eight cells and are chosen
/// too readily; without them the machine takes a fifth less.
pub(super) fn synthesis_script(top: &str, core: bool) -> String {
    let core = if core { "read_verilog VexRiscv.v\n" } else { "" };
    format!(
        "read_verilog -sv -D SYSTOLE_UNGATED design.v\n{core}\
         synth_ecp5 -top {top} -nowidelut -json netlist.json\n"
    )
}

/// What the firmware RAM holds while the design is placed and routed: words that occur nowhere else, the same every time.
pub(super) fn placeholder(words: usize) -> Vec<u32> {
    let mut state = 0x5957_5f46_4952_4d57u64;
    let step = |_| {
        // xorshift64* (Vigna)
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    };
    (0..words).map(step).collect()
}

pub(super) fn hex(words: &[u32]) -> String {
    words.iter().map(|w| format!("{w:08x}\n")).collect()
}

fn parse_hex(text: &str) -> Option<Vec<u32>> {
    text.split_whitespace().map(|w| u32::from_str_radix(w, 16).ok()).collect()
}

/// Puts a file of an earlier stage into a stage's own folder, where its tool finds it by name: one in WebAssembly sees another `/tmp`.
fn bring(file: &Path, folder: &Path) -> systole_verilator::Result<()> {
    let here = folder.join(file.file_name().unwrap_or_default());
    std::fs::hard_link(file, &here)
        .or_else(|_| std::fs::copy(file, &here).map(|_| ()))
        .map_err(systole_verilator::Error::io("copy", file))
}

/// A netlist in yosys' JSON format.
pub(super) fn read_netlist(path: &Path) -> systole_verilator::Result<Value> {
    let text = std::fs::read_to_string(path).map_err(systole_verilator::Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|e| systole_verilator::Error::BadTool {
        what: "yosys",
        path: path.into(),
        reason: e.to_string(),
    })
}

pub(super) fn write(path: &Path, text: &str) -> systole_verilator::Result<()> {
    std::fs::write(path, text).map_err(systole_verilator::Error::io("write", path))
}

fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|e| Error::Malformed {
        path: path.into(),
        format: "tool report",
        reason: e.to_string(),
    })
}

fn unreadable(path: &Path) -> Error {
    Error::Malformed { path: path.into(), format: "tool report", reason: "the numbers are not where they were".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placeholder_has_no_word_twice() {
        let mut words = placeholder(8192);
        assert_eq!(parse_hex(&hex(&words)), Some(words.clone()));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 8192);
    }
}
