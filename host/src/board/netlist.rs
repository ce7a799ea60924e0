//! The synthesised netlist as a simulated device: what yosys made of the SoC, in primitives of the ECP5, written back as Verilog
//! and verilated. It must not differ from the RTL in a bit or a cycle.
//!
//! Tables, carry chains, flip-flops and distributed RAM are simulated by the models that yosys ships; block RAM and multiplier,
//! for which it has none, by those in `netlist_cells.v`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use systole_hdl::soc;
use systole_isa::machine::Machine;
use systole_sim::port::Port;
use systole_sim::rtl::{self, Build, Rtl};
use systole_verilator::fpga::{FpgaTool, FpgaTools};
use systole_verilator::{ModelSpec, Options, Verilator, ensure_folder, vexriscv_verilog};

use super::build::{synthesis_script, write};
use super::carry;
use crate::compile::{self, Optimizer};
use crate::data::Dataset;
use crate::driver::Device;
use crate::driver::device::DeviceKind;
use crate::driver::requests::StepReply;
use crate::driver::session::{Hyper, Session, Weights};
use crate::error::{Error, Result};
use crate::graph::{Model, initialize};
use crate::run::TrainOptions;

const CELLS: &str = include_str!("netlist_cells.v");
const SYNTHESIS_LIMIT: Duration = Duration::from_secs(3600);

/// How many training steps are compared: forward, loss, backward and update each time, on another batch.
pub const STEPS: usize = 3;

/// A network that trains on the digits within a machine's memories.
pub fn model_for(machine: &Machine) -> &'static str {
    if machine.smem_words >= 8192 { "mlp:64-32-10" } else { "mlp:64-8-10" }
}

/// What was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The network.
    pub model: String,
    /// N.
    pub lanes: u32,
    /// V.
    pub vector_lanes: u32,
    /// Training steps.
    pub steps: usize,
    /// Clock cycles of all steps, on both.
    pub cycles: u64,
    /// SHA-256 of the master weights after them, on both.
    pub weights_sha256: String,
    /// Primitives in the netlist.
    pub cells: u64,
    /// Seconds that synthesis and the build of the simulator took, when they were done.
    pub build_seconds: f64,
    /// Simulated kilohertz of the netlist.
    pub khz: f64,
}

impl Comparison {
    /// In words.
    pub fn text(&self) -> String {
        format!(
            "netlist: {} primitives, {} steps of {}, {} cycles: every reply, cycle count and weight as on the RTL (weights {}; {:.1} kHz)",
            self.cells,
            self.steps,
            self.model,
            self.cycles,
            &self.weights_sha256[..12],
            self.khz
        )
    }
}

/// Trains `steps` steps of `spec` (as `mlp:64-32-10`) on the netlist and on the RTL of `machine` and compares each step's reply,
/// cycles included, and the weights.
///
/// # Errors
/// [`Error::Mismatch`] at the first difference; tools that fail; a model that does not fit.
pub fn compare(
    options: &Options,
    tools: &FpgaTools,
    machine: Machine,
    spec: &str,
    steps: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Comparison> {
    let begun = Instant::now();
    say("the RTL's simulator");
    let report = rtl::setup(options, machine, &mut |_| ()).map_err(rtl_failed)?;
    say("the netlist and its simulator");
    let (build, cells) = netlist(options, tools, &report.build)?;
    let build_seconds = begun.elapsed().as_secs_f64();
    say("training on the RTL");
    let rtl = train(&report.build, spec, steps, &mut |_| ())?;
    say("training on the netlist");
    let begun = Instant::now();
    let mapped = train(&build, spec, steps, say)?;
    let seconds = begun.elapsed().as_secs_f64();
    for (i, (a, b)) in rtl.replies.iter().zip(&mapped.replies).enumerate() {
        if a != b {
            return Err(Error::Mismatch {
                what: format!("step {} on the netlist", i + 1),
                found: format!("{b:?}"),
                expected: format!("{a:?}"),
            });
        }
    }
    if rtl.sha256 != mapped.sha256 {
        return Err(Error::Mismatch {
            what: "weights on the netlist".into(),
            found: mapped.sha256,
            expected: rtl.sha256,
        });
    }
    Ok(Comparison {
        model: spec.into(),
        lanes: machine.lanes,
        vector_lanes: machine.vector_lanes,
        steps: rtl.replies.len(),
        cycles: rtl.replies.iter().map(|r| u64::from(r.cycles)).sum(),
        weights_sha256: rtl.sha256,
        cells,
        build_seconds,
        khz: mapped.cycles as f64 / seconds / 1000.0,
    })
}

/// Synthesises the SoC with its firmware and builds a simulator of the result. Also counts its primitives.
fn netlist(options: &Options, tools: &FpgaTools, rtl: &Build) -> Result<(Build, u64)> {
    let design = soc::verilog(&rtl.machine, 0).map_err(|e| Error::Setup {
        what: "the design".into(),
        reason: e.to_string(),
        help: "this is a bug worth reporting".into(),
    })?;
    let core = vexriscv_verilog(options).map_err(|e| Error::from_tool("the soft core", e))?;
    let core = std::fs::read_to_string(&core).map_err(Error::io("read", &core))?;
    let mut image = std::fs::read_to_string(&rtl.image).map_err(Error::io("read", &rtl.image))?;
    let words = rtl.machine.firmware_bytes as usize / 4;
    image.extend(std::iter::repeat_n("00000000\n", words.saturating_sub(image.lines().count())));
    let script = synthesis_script(soc::TOP, true);
    let key = {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for part in [&design, &core, &image, &script, &tools.versions, carry::VERSION] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        systole_verilator::hex(&hash.finalize()[..8])
    };
    let home: PathBuf = options.root.join("target/systole/boards/netlist").join(key);
    ensure_folder(options, &home, "synthesising the SoC", |dir| {
        for (name, text) in
            [("design.v", &design), ("VexRiscv.v", &core), ("firmware.hex", &image), ("script.ys", &script)]
        {
            write(&dir.join(name), text)?;
        }
        let run = |script: &str, log: &str| {
            let arguments = ["-q", "-s", script].map(String::from);
            tools.run(FpgaTool::Yosys, &arguments, dir, &dir.join(log), SYNTHESIS_LIMIT, &mut |_| ()).map(drop)
        };
        run("script.ys", "yosys.log")?;
        carry::pack_folder(dir)?;
        write(&dir.join("print.ys"), "read_json netlist.json\nwrite_verilog -noattr netlist.v\n")?;
        run("print.ys", "print.log")
    })
    .map_err(|e| Error::from_tool("the netlist", e))?;
    let read = |name: &str| {
        let path = home.join(name);
        std::fs::read_to_string(&path).map_err(Error::io("read", &path))
    };
    let stat: serde_json::Value = serde_json::from_str(&read("stat.json")?).unwrap_or_default();
    let cells = stat["design"]["num_cells"].as_u64().unwrap_or(0);
    let models = tools.cell_models();
    // pins that are not connected are undefined values in the netlist's own format
    let printed = read("netlist.v")?.replace("(1'hx)", "()");
    let mut spec =
        ModelSpec::new(soc::TOP, printed + &without_blackboxes(&models)? + CELLS).clock("clock").allow("fatal");
    // includes of the models are relative to their own folder
    let folder = models.parent().unwrap_or(Path::new("."));
    spec.verilator_args = vec![format!("-I{}", folder.display())];
    spec.allow.extend(["lint", "style", "UNOPTFLAT", "MULTIDRIVEN"].map(String::from));
    let verilator = Verilator::provision(options).map_err(|e| Error::from_tool("Verilator", e))?;
    let library = verilator.build(&spec).map_err(|e| Error::from_tool("the netlist's simulator", e))?;
    Ok((Build { library, ..rtl.clone() }, cells))
}

/// yosys' models, without those that have no content.
fn without_blackboxes(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("(* blackbox *)") {
        kept += &rest[..at];
        let end = rest[at..].find("endmodule").map_or(rest.len(), |e| at + e + "endmodule".len());
        rest = &rest[end..];
    }
    Ok(kept + rest + "\n")
}

/// What a training leaves.
struct Outcome {
    replies: Vec<StepReply>,
    sha256: String,
    cycles: u64,
}

fn train(build: &Build, spec: &str, steps: usize, say: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let device = Rtl::start(build, None).map_err(rtl_failed)?;
    let device = Device::on_port(Box::new(device) as Box<dyn Port>, DeviceKind::Rtl)?;
    let options = TrainOptions { model: spec.into(), ..TrainOptions::default() };
    let data = Dataset::digits();
    let model = Model::mlp(spec).map_err(|e| Error::InvalidModel { spec: spec.into(), reason: e.to_string() })?;
    let optimizer = Optimizer::Sgd { momentum: true };
    // the largest batch, up to the usual one, that fits the machine
    let attempt = |batch| compile::network(&model.graph, batch, optimizer, device.info.machine);
    let smaller = (1..4).map(|halvings| options.batch >> halvings).filter(|&batch| batch > 0);
    let compiled = smaller
        .fold(attempt(options.batch), |tried, batch| tried.or_else(|e| attempt(batch).map_err(|_| e)))
        .map_err(|e| Error::from_compiler(&model.name, e))?;
    let batch = compiled.batch as usize;
    let weights = Weights::from(initialize(&model.graph, 0));
    let mut session = Session::start(device, compiled, &weights, &[options.scaler()], data.scale)?;
    let order: Vec<usize> = (0..batch * steps).collect();
    let mut replies = Vec::new();
    session.train(&data.train, &order, &[Hyper { lr: 0.05, momentum: 0.9 }], |_, _, phases| {
        let reply = phases[0];
        // the cycle counter itself depends on when the host's bytes came
        replies.push(StepReply { end_cycle: 0, passed: 0, ..reply });
        say(&format!("step {}: loss {:.4}, {} cycles", replies.len(), reply.loss, reply.cycles));
        Ok(())
    })?;
    let cycles = session.device().link.cycles().unwrap_or(0);
    Ok(Outcome { replies, sha256: session.weights()?.sha256(), cycles })
}

fn rtl_failed(e: rtl::Error) -> Error {
    Error::Setup { what: "the simulated hardware".into(), reason: e.to_string(), help: e.help() }
}
