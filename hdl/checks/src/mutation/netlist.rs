//! yosys lists mutants, and builds all of them into one netlist.

use super::{Error, Mutant, Result, Unit};
use crate::design::Design;
use std::path::{Path, PathBuf};
use std::time::Duration;
use systole_verilator::Options;
use systole_verilator::formal::FormalTools;

const LIMIT: Duration = Duration::from_secs(600);
/// Where banks of memory are written without their arrays.
pub(super) const BANKS: &str = "banks.v";
/// What makes cells of processes. Optimising more would leave fewer mutants that change nothing, and fewer of those that a careless
/// edit makes.
const CELLS: [&str; 3] = ["proc", "opt_expr", "opt_clean"];

/// A folder with a design, in which yosys works.
pub(super) struct Workshop<'a> {
    pub tools: &'a FormalTools,
    pub folder: PathBuf,
    design: &'a Design,
    /// What yosys reads of it.
    text: String,
    /// The banks of memory in that, cut; their text is in [`BANKS`].
    pub banks: Vec<Bank>,
    unit: &'static Unit,
    /// Another process that is after the same unit waits.
    _lock: std::fs::File,
}

/// Writes a file.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|source| Error::Io { action: "write", path: path.into(), source })
}

impl<'a> Workshop<'a> {
    /// Below `target/systole/mutation`.
    pub fn open(
        options: &Options,
        tools: &'a FormalTools,
        unit: &'static Unit,
        design: &'a Design,
    ) -> Result<Workshop<'a>> {
        let folder = options.root.join("target/systole/mutation").join(unit.name);
        let io = |action| {
            let path = folder.clone();
            move |source| Error::Io { action, path, source }
        };
        std::fs::create_dir_all(folder.with_file_name("")).map_err(io("create"))?;
        let lock = std::fs::File::create(folder.with_extension("lock")).map_err(io("lock"))?;
        lock.lock().map_err(io("lock"))?;
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(io("remove"))?;
        }
        std::fs::create_dir_all(&folder).map_err(io("create"))?;
        let wanted = |name: &str| {
            let part = unit.modules.iter().any(|(m, _)| *m == name);
            part || unit.contexts.iter().any(|c| c.top == name || c.text.lines().any(|line| instance(line, name)))
        };
        let text = only(&design.verilog, wanted);
        write(&folder.join("design.v"), &text)?;
        let modules = text.split("\nmodule ").skip(1).filter_map(|m| m.split_once("\nendmodule"));
        let banks: Vec<Bank> = modules.filter_map(|(module, _)| Bank::cut(module)).collect();
        write(&folder.join(BANKS), &banks.iter().map(|b| b.text.as_str()).collect::<String>())?;
        Ok(Workshop { tools, folder, design, text, banks, unit, _lock: lock })
    }

    /// A script's first lines: the design, read, and the unit's modules as cells. Both decide how cells are named.
    pub fn read(&self) -> String {
        let mut script = String::from("read_verilog -sv design.v\nhierarchy\n");
        for pass in CELLS {
            self.unit.modules.iter().for_each(|(module, _)| script += &format!("{pass} {module}\n"));
        }
        script
    }

    /// A register that does not start as zero.
    pub fn starts_otherwise(&self) -> Option<&str> {
        let register = |line: &&str| line.trim_start().starts_with("logic ") && line.contains(" = ");
        self.text.lines().filter(register).find(|line| !line.trim_end().ends_with("'h0;"))
    }

    fn yosys(&self, name: &str, script: &str) -> Result<()> {
        let file = format!("{name}.ys");
        write(&self.folder.join(&file), script)?;
        self.tools.yosys(&file, &self.folder, &self.folder.join(format!("{name}.log")), LIMIT)?;
        Ok(())
    }

    fn read_back(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).map_err(|source| Error::Io { action: "read", path, source })
    }

    /// The mutants of the unit's modules, at most `most` of each.
    pub fn list(&self, most: usize, seed: u64) -> Result<Vec<Mutant>> {
        let mut script = self.read();
        for (module, count) in self.unit.modules {
            script += &format!("mutate -list {} -seed {seed} -module {module} -o {module}.mutants\n", most.min(*count));
        }
        self.yosys("list", &script)?;
        let mut mutants = Vec::new();
        for (module, _) in self.unit.modules {
            let text = self.read_back(&format!("{module}.mutants"))?;
            let before = mutants.len();
            mutants.extend(text.lines().filter_map(parse));
            if mutants.len() == before {
                return Err(self.wrong(format!("there is nothing to mutate in {module}")));
            }
        }
        if mutants.is_empty() {
            return Err(self.wrong("no mutant is no pass".into()));
        }
        (1..).zip(&mut mutants).for_each(|(number, m)| m.number = number);
        Ok(mutants)
    }

    /// That this unit cannot be asked.
    pub fn wrong(&self, reason: String) -> Error {
        Error::Harness { unit: self.unit.name, reason }
    }

    /// The design's Verilog with all mutants, each active if the plusarg `+mutant` has its number.
    pub fn netlist(&self, mutants: &[Mutant]) -> Result<String> {
        let width = (mutants.len() + 1).next_power_of_two().ilog2().max(1);
        let mut script = self.read();
        for m in mutants {
            script += &format!("mutate -ctrl mutant {width} {} {}\n", m.number, m.arguments);
        }
        let mut modules: Vec<&str> = mutants.iter().map(|m| m.module.as_str()).collect();
        modules.dedup();
        for module in &modules {
            script += &format!("select {module}\nwrite_verilog -noattr -selected {module}.mutated.v\n");
        }
        self.yosys("mutate", &script)?;
        let mut text = self.design.verilog.clone();
        for module in modules {
            let mutated = selected(&self.read_back(&format!("{module}.mutated.v"))?, width);
            text = mutated.and_then(|mutated| replaced(&text, module, &mutated)).ok_or_else(|| {
                self.wrong(format!("the netlist of {module} is not as expected, in {}", self.folder.display()))
            })?;
        }
        Ok(text)
    }
}

/// A bank of memory of which all but the array is left: what the array is asked and told goes to a black box.
pub(super) struct Bank {
    /// The bank's module.
    pub name: String,
    /// That module, and the box.
    pub text: String,
}

impl Bank {
    /// The module's name.
    pub fn array(name: &str) -> String {
        format!("{name}_array")
    }

    /// Cuts a module, whose text begins with its name, if it is a bank as `systole_hdl::memory` writes them. What a write says
    /// matters while there is one, and of addresses and data what the array takes.
    fn cut(module: &str) -> Option<Bank> {
        let name = module.split_whitespace().next()?;
        let (head, body) = module.split_once("  (* no_rw_check *) reg [")?;
        let (_, tail) = body.split_once("\n  end\n  always ")?.1.split_once("\n  end\n")?;
        let taken = |signal: &str| {
            let (_, rest) = body.split_once(&format!("{signal}["))?;
            rest.split_once(":0]")?.0.parse::<usize>().ok()
        };
        let (read, write, data) = (taken("read_address")?, taken("write_address")?, taken("write_data")?);
        let box_name = Bank::array(name);
        let told = write + data + 2;
        let text = format!(
            "(* blackbox *) module {box_name} (input clock, input [{read}:0] asked, input [{told}:0] told, output [{data}:0] answer);\n\
             endmodule\n\
             module {head}  wire [{data}:0] word;\n  wire [{told}:0] told = write_enable ? \
             {{1'b1, write_address[{write}:0], write_data[{data}:0]}} : 0;\n  \
             {box_name} array (.clock(clock), .asked(read_address[{read}:0]), .told(told), .answer(word));\n{tail}\nendmodule\n"
        );
        Some(Bank { name: name.into(), text })
    }
}

/// Whether a line begins an instance of a module.
fn instance(line: &str, module: &str) -> bool {
    line.split_whitespace().next() == Some(module) && line.ends_with('(')
}

/// The wanted modules and those in them, each where it was: whole machines take long to read, and lines keep their numbers.
fn only(text: &str, wanted: impl Fn(&str) -> bool) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut modules: Vec<(&str, std::ops::Range<usize>)> = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        if let Some(name) = line.strip_prefix("module ").and_then(|rest| rest.split_whitespace().next()) {
            modules.push((name, i..lines.len()));
        } else if let (true, Some((_, range))) = (line.starts_with("endmodule"), modules.last_mut()) {
            range.end = i + 1;
        }
    }
    let mut keep: Vec<bool> = modules.iter().map(|(name, _)| wanted(name)).collect();
    while let Some(child) = (0..modules.len()).find(|&c| {
        let within = |line: &&str| instance(line, modules[c].0);
        !keep[c] && (0..modules.len()).any(|p| keep[p] && lines[modules[p].1.clone()].iter().any(within))
    }) {
        keep[child] = true;
    }
    let kept = |i: usize| modules.iter().zip(&keep).any(|((_, range), keep)| *keep && range.contains(&i));
    lines.iter().enumerate().map(|(i, line)| if kept(i) { format!("{line}\n") } else { "\n".into() }).collect()
}

/// A line of `mutate -list`.
fn parse(line: &str) -> Option<Mutant> {
    let arguments = line.trim().strip_prefix("mutate ")?;
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let all = |option: &str| -> Vec<&str> { words.windows(2).filter(|w| w[0] == option).map(|w| w[1]).collect() };
    let one = |option: &str| all(option).first().copied().unwrap_or_default().trim_start_matches('\\').to_string();
    let wire = match (one("-wire"), one("-wirebit")) {
        (name, bit) if !bit.is_empty() => format!("{name}[{bit}]"),
        (name, _) => name,
    };
    // the file's name says nothing: there is one
    let places = all("-src").into_iter().map(|s| s.split_once(':').map_or(s, |(_, place)| place));
    Some(Mutant {
        number: 0,
        module: one("-module"),
        mode: one("-mode"),
        cell: one("-cell"),
        port: one("-port"),
        port_bit: one("-portbit"),
        ctrl_bit: one("-ctrlbit"),
        wire,
        source: places.collect::<Vec<_>>().join(" "),
        arguments: arguments.into(),
    })
}

/// The mutated module with a plusarg in the place of the port that yosys adds: nothing outside of it need know.
fn selected(text: &str, width: u32) -> Option<String> {
    let range = if width > 1 { format!("[{}:0] ", width - 1) } else { String::new() };
    let port = format!("  input {range}mutant;\n  wire {range}mutant;\n");
    let register =
        format!("  reg {range}mutant;\n  initial if (!$value$plusargs(\"mutant=%d\", mutant)) mutant = 0;\n");
    let at = text.find("module ")?;
    // yosys also brings the port to instances of other mutated modules
    let (head, body) = text[at..].split_once(");")?;
    let head: Vec<&str> = head.split(", ").filter(|port| port.trim() != "mutant").collect();
    let text = format!("{});{body}", head.join(", "));
    let text = text.replace("    .mutant(mutant),\n", "").replace(",\n    .mutant(mutant)\n", "\n");
    text.contains(&port).then(|| text.replacen(&port, &register, 1))
}

/// A text with one module in place of another.
fn replaced(text: &str, module: &str, by: &str) -> Option<String> {
    let start = text.find(&format!("module {module} ("))?;
    let end = start + text[start..].find("endmodule")? + "endmodule".len();
    Some(format!("{}{}{}", &text[..start], by, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bank_is_cut() {
        let text = "acc (\n  input  logic clock\n);\n  (* no_rw_check *) reg [31:0] mem [0:255];\n  reg [31:0] word;\n  integer k;\n  \
                    initial begin\n    word = 0;\n  end\n  always @(posedge clock) begin\n    word <= mem[read_address[7:0]];\n    \
                    if (write_enable) mem[write_address[7:0]] <= write_data[31:0];\n  end\n  assign read_data = word;";
        let bank = Bank::cut(text).unwrap();
        assert_eq!(bank.name, "acc");
        assert!(
            bank.text
                .contains("module acc_array (input clock, input [7:0] asked, input [40:0] told, output [31:0] answer)")
        );
        assert!(
            bank.text.ends_with("  assign read_data = word;\nendmodule\n") && !bank.text.contains("always"),
            "{}",
            bank.text
        );
        assert!(Bank::cut("way (\n  input logic clock\n);\n").is_none());
    }

    #[test]
    fn a_line_of_the_list() {
        let line = "mutate -mode cnot0 -module deframer -cell $add$design.v:222$92 -port B -portbit 0 -ctrlbit 8 \
                    -wire used -wirebit 3 -src design.v:222.23-222.55 -src design.v:95.1-95.2";
        let m = parse(line).unwrap();
        assert_eq!((m.mode.as_str(), m.cell.as_str(), m.ctrl_bit.as_str()), ("cnot0", "$add$design.v:222$92", "8"));
        assert_eq!((m.wire.as_str(), m.source.as_str()), ("used[3]", "222.23-222.55 95.1-95.2"));
        assert!(parse("").is_none());
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text =
            "module a (\n);\nendmodule\nmodule b (\n);\n  a inner (\n  );\nendmodule\nmodule c (\n);\nendmodule\n";
        let kept = only(text, |name| name == "b");
        assert_eq!(kept, text.replace("module c (\n);\nendmodule\n", "\n\n\n"));
        assert_eq!(only(text, |name| name == "a").trim(), "module a (\n);\nendmodule");
    }

    #[test]
    fn a_module_takes_another_s_place() {
        let text = "module a (\n);\nendmodule\n\nmodule b (\n);\nendmodule\n";
        assert_eq!(
            replaced(text, "b", "module b(); endmodule").unwrap(),
            "module a (\n);\nendmodule\n\nmodule b(); endmodule\n"
        );
        assert!(replaced(text, "c", "").is_none());
        let netlist =
            "/* by */\nmodule b(x, mutant, y);\n  input x;\n  input [3:0] mutant;\n  wire [3:0] mutant;\nendmodule\n";
        let text = selected(netlist, 4).unwrap();
        assert!(text.starts_with("module b(x, y);") && text.contains("reg [3:0] mutant;") && text.contains("plusargs"));
        assert!(selected(netlist, 5).is_none(), "another port is none of ours");
    }
}
