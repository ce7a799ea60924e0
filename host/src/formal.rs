//! Proofs of the hardware's units by SymbiYosys, below `target/systole/formal`. What is proved is in [`systole_hdl::formal`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use systole_hdl::formal::{Mode, Proof};
use systole_verilator::Options;
use systole_verilator::formal::FormalTools;

use crate::error::{Error, Result};

/// Longer than any proof takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(3600);

/// A proof's texts, and how far it goes: [`Task::of`] a [`Proof`], or a changed one.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name, also its folder's.
    pub name: String,
    /// The unit.
    pub verilog: String,
    /// The harness.
    pub harness: String,
    /// The harness' top module.
    pub top: String,
    /// The harness' parameters.
    pub parameters: Vec<(String, usize)>,
    /// How far.
    pub mode: Mode,
    /// Cycles.
    pub depth: u32,
    /// Cycles for the covers.
    pub cover_depth: u32,
}

/// One mode of one proof, done.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// `induction`, `bounded` or `cover`.
    pub mode: &'static str,
    /// Cycles.
    pub depth: u32,
    /// `proved`: every assertion holds; `reached`: every cover is.
    pub verdict: &'static str,
    /// The assertions or covers.
    pub properties: Vec<String>,
    /// Seconds, start of the tools included.
    pub seconds: f64,
}

/// What was proved of a unit.
#[derive(Clone, Debug, Serialize)]
pub struct Proved {
    /// The task's name.
    pub name: String,
    /// First 32 bits of the SHA-256 of the unit's Verilog.
    pub design: String,
    /// The solver.
    pub solver: String,
    /// The proof, and the covers.
    pub parts: Vec<Part>,
}

impl Task {
    /// A proof as it stands.
    ///
    /// # Errors
    /// The unit cannot be printed.
    pub fn of(proof: &Proof) -> Result<Task> {
        let verilog = proof.verilog().map_err(|e| Error::Setup {
            what: format!("the Verilog of {}", proof.name),
            reason: e.to_string(),
            help: "this is a bug worth reporting".into(),
        })?;
        Ok(Task {
            name: proof.name.into(),
            verilog,
            harness: proof.harness.into(),
            top: proof.top(),
            parameters: proof.parameters.iter().map(|&(name, value)| (name.to_string(), value)).collect(),
            mode: proof.mode,
            depth: proof.depth,
            cover_depth: proof.cover_depth,
        })
    }

    /// SymbiYosys' file. slang reads the texts, because it resolves names inside of the unit.
    fn script(&self, solver: &str) -> String {
        let mode = if self.mode == Mode::Induction { "prove" } else { "bmc" };
        let set: String = self.parameters.iter().map(|(name, value)| format!(" -G {name}={value}")).collect();
        format!(
            "[tasks]\nproof\ncover\n\n[options]\nproof: mode {mode}\nproof: depth {}\ncover: mode cover\ncover: depth {}\n\
             timeout {}\n\n[engines]\nsmtbmc {solver}\n\n[script]\n\
             read_slang --threads 1 --top {top}{set} unit.v harness.sv\nprep -top {top}\n\n[files]\nunit.v\nharness.sv\n",
            self.depth,
            self.cover_depth,
            LIMIT.as_secs(),
            top = self.top,
        )
    }
}

/// What SymbiYosys tells of a property.
#[derive(Clone, Debug, Deserialize)]
struct Told {
    time: f64,
    task_name: String,
    name: String,
    location: String,
    kind: String,
    status: String,
    #[serde(default)]
    trace: Option<String>,
}

/// Both tasks as far as they have told.
#[derive(Debug, Default)]
struct Heard {
    /// Last word on each property of each task.
    properties: BTreeMap<(String, String), Told>,
    /// `PASS` and the like, by task.
    done: BTreeMap<String, String>,
    /// By task.
    seconds: BTreeMap<String, f64>,
}

impl Heard {
    fn line(&mut self, line: &str) {
        let Some((head, text)) = line.split_once("] ") else { return };
        let task = head.rsplit('_').next().unwrap_or_default().to_string();
        if let Some(told) = text.strip_prefix("jsonl: ").and_then(|t| serde_json::from_str::<Told>(t).ok()) {
            let key = (told.task_name.clone(), told.name.clone());
            self.seconds.insert(told.task_name.clone(), told.time);
            let old = self.properties.get(&key);
            // a wave is what a person can open; a property that failed stays failed
            let wave = told.trace.clone().filter(|t| t.ends_with(".vcd")).or(old.and_then(|o| o.trace.clone()));
            let status = if old.is_some_and(|o| o.status == "FAIL") { "FAIL".into() } else { told.status.clone() };
            self.properties.insert(key, Told { trace: wave, status, ..told });
        } else if let Some(state) = text.strip_prefix("DONE (") {
            self.done.insert(task, state.split(',').next().unwrap_or_default().to_string());
        }
    }

    fn of(&self, task: &str, kind: &str) -> Vec<&Told> {
        self.properties.values().filter(|t| t.task_name == task && t.kind == kind).collect()
    }
}

/// Proves a task's assertions and reaches its covers.
///
/// # Errors
/// [`Error::NotProved`] for an assertion that fails or cannot be shown, with the path of a trace where there is one; for a cover that
/// is not reached; for a task without assertions or without covers. [`Error::Setup`] for tools that are missing or fail.
pub fn prove(options: &Options, tools: &FormalTools, task: &Task) -> Result<Proved> {
    let folder = options.root.join("target/systole/formal").join(&task.name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
    }
    std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let job = format!("{}.sby", task.name);
    let script = task.script(tools.solver.name());
    for (name, text) in [("unit.v", &task.verilog), ("harness.sv", &task.harness), (job.as_str(), &script)] {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(Error::io("write", path))?;
    }
    let mut heard = Heard::default();
    let log = folder.join("sby.log");
    let took = tools
        .sby(&job, &folder, &log, 2 * LIMIT, &mut |line| heard.line(line))
        .map_err(|e| Error::from_tool(format!("the proof of {}", task.name), e))?;
    let asserts = passed(task, &heard, "proof", "ASSERT", &folder)?;
    let covers = passed(task, &heard, "cover", "COVER", &folder)?;
    let seconds = |name: &str| heard.seconds.get(name).copied().unwrap_or(took.seconds);
    let mode = if task.mode == Mode::Induction { "induction" } else { "bounded" };
    Ok(Proved {
        name: task.name.clone(),
        design: systole_verilator::hex(&Sha256::digest(task.verilog.as_bytes())[..4]),
        solver: tools.versions.clone(),
        parts: vec![
            Part { mode, depth: task.depth, verdict: "proved", properties: asserts, seconds: seconds("proof") },
            Part {
                mode: "cover",
                depth: task.cover_depth,
                verdict: "reached",
                properties: covers,
                seconds: seconds("cover"),
            },
        ],
    })
}

/// The names of all properties of one kind, if there are some and all of them passed.
fn passed(task: &Task, heard: &Heard, part: &str, kind: &str, folder: &Path) -> Result<Vec<String>> {
    let properties = heard.of(part, kind);
    let short = |t: &Told| t.name.rsplit('.').find(|p| !p.is_empty()).unwrap_or_default().to_string();
    let (what, depth) = if kind == "ASSERT" { ("assertion", task.depth) } else { ("cover", task.cover_depth) };
    if properties.is_empty() {
        let reason = format!("it has no {what}, and without one nothing is shown");
        return Err(Error::NotProved { property: task.name.clone(), reason });
    }
    let wrong = |t: &Told, reason: String| {
        Err(Error::NotProved { property: format!("{} of {} ({})", short(t), task.name, t.location), reason })
    };
    if let Some(t) = properties.iter().find(|t| t.status == "FAIL") {
        let Some(trace) = t.trace.as_ref().map(|t| folder.join(t)) else {
            return wrong(t, format!("no run of {depth} cycles reaches it"));
        };
        let induction = trace.file_name().is_some_and(|n| n.to_string_lossy().contains("induct"));
        // induction begins in any state in which all assertions hold, also in one that no run reaches
        let reason = if induction {
            format!("it does not follow by induction over {depth} cycles")
        } else {
            "a counterexample".into()
        };
        return wrong(t, format!("{reason}, trace {}", trace.display()));
    }
    let state = heard.done.get(part).map_or("nothing", String::as_str);
    if let Some(t) = properties.iter().find(|t| state != "PASS" || t.status != "PASS") {
        let log = folder.join("sby.log");
        return wrong(t, format!("the solver says {} of it, and {state} of all, log {}", t.status, log.display()));
    }
    Ok(properties.into_iter().map(short).collect())
}

/// Tools with the pinned versions.
///
/// # Errors
/// They cannot be fetched.
pub fn tools(options: &Options, solver: systole_verilator::formal::Solver) -> Result<FormalTools> {
    FormalTools::provision(options, solver).map_err(|e| Error::from_tool("the tools for proofs", e))
}
