//! Into the FPGA: which program, which board, which command.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Board, Programmer};
use crate::error::{Error, Result};

/// How long a list of USB devices may take, and a download: the slowest flash takes about two minutes.
const LIST_LIMIT: Duration = Duration::from_secs(30);
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(600);

/// A USB device that a programmer sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// `vendor:product`, hexadecimal, without 0x.
    pub id: String,
    /// Serial number; empty where it has none.
    pub serial: String,
    /// What it calls itself; may be empty.
    pub product: String,
    /// `bus:device`, where the programmer tells.
    pub place: String,
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The board that was found; `None` if the programmer lists none and finds it by itself.
    pub probe: Option<Probe>,
}

impl Plan {
    /// Finds programmer and board.
    ///
    /// # Errors
    /// No programmer is installed, no board is connected, several are and `serial` names none, or the programmer cannot do it.
    pub fn find(board: &Board, bitstream: &Path, persist: bool, serial: Option<&str>) -> Result<Plan> {
        let programmer = board.programmer.iter().find(|p| installed(p.program())).ok_or_else(|| missing(board))?;
        let probes = list(programmer)?;
        let probe = probes.map(|seen| choose(board, seen, serial)).transpose()?;
        let arguments = arguments(programmer, board, bitstream, persist, serial, probe.as_ref())?;
        Ok(Plan { program: programmer.program().into(), arguments, probe })
    }

    /// Loads another file than the plan was made for.
    pub fn replace_bitstream(&mut self, from: &Path, to: &Path) {
        let (from, to) = (from.display().to_string(), to.display().to_string());
        self.arguments.iter_mut().filter(|a| **a == from).for_each(|a| *a = to.clone());
    }

    /// The command as one would type it.
    pub fn command_line(&self) -> String {
        let quoted = self.arguments.iter().map(|a| if a.contains(' ') { format!("'{a}'") } else { a.clone() });
        std::iter::once(self.program.clone()).chain(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// Runs a plan; what the programmer prints goes to standard error.
///
/// # Errors
/// It cannot be started, fails, or takes more than ten minutes.
pub fn flash(board: &Board, plan: &Plan) -> Result<()> {
    let what = format!("{} on {}", plan.program, board.name);
    let fail = |reason: String| Error::Setup {
        what: what.clone(),
        reason,
        help: "check cable and power, close other programs that use the port, and see docs/boards.md on permissions"
            .into(),
    };
    let mut child = Command::new(&plan.program)
        .args(&plan.arguments)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .spawn()
        .map_err(|e| fail(e.to_string()))?;
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(|e| fail(e.to_string()))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(fail(format!("it ended with {status}"))),
            None if begun.elapsed() > DOWNLOAD_LIMIT => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(fail(format!("it was stopped after {} s", DOWNLOAD_LIMIT.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file() || dir.join(format!("{program}.exe")).is_file())
}

fn missing(board: &Board) -> Error {
    let names: Vec<_> = board.programmer.iter().map(Programmer::program).collect();
    Error::Setup {
        what: format!("a programmer for {}", board.name),
        reason: format!("{} is not on PATH", names.join(" or ")),
        help: match names.first() {
            Some(&"dfu-util") => "install dfu-util (Debian: apt install dfu-util)".into(),
            Some(_) => "install openFPGALoader (Debian: apt install openfpgaloader)".into(),
            None => "add a [[programmer]] to the board's file".into(),
        },
    }
}

/// What the programmer sees; `None` if it has no list.
fn list(programmer: &Programmer) -> Result<Option<Vec<Probe>>> {
    let (argument, parse): (&str, fn(&str) -> Vec<Probe>) = match programmer {
        Programmer::OpenFpgaLoader { .. } => ("--scan-usb", parse_scan_usb),
        Programmer::DfuUtil {} => ("--list", parse_dfu_list),
        Programmer::Fujprog {} => return Ok(None),
    };
    let program = programmer.program();
    let fail = |reason: String| Error::Setup {
        what: format!("the list of boards from {program}"),
        reason,
        help: format!("does `{program} {argument}` work by hand?"),
    };
    let mut child = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| fail(e.to_string()))?;
    let out = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || std::io::read_to_string(out));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| fail(e.to_string()))? {
            Some(status) => break status,
            None if begun.elapsed() > LIST_LIMIT => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(fail(format!("no answer within {} s", LIST_LIMIT.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = reader.join().unwrap_or_else(|p| std::panic::resume_unwind(p)).map_err(|e| fail(e.to_string()))?;
    if !status.success() {
        return Err(fail(format!("it ended with {status}")));
    }
    Ok(Some(parse(&text)))
}

/// openFPGALoader: a table. A text that is wider than its column shifts the rest of the line, and texts may hold blanks: a column
/// ends at its width if a blank is there, else at the next blank.
fn parse_scan_usb(text: &str) -> Vec<Probe> {
    let Some(heading) = text.lines().find(|l| l.contains("vid:pid")) else { return Vec::new() };
    let starts: Vec<usize> =
        ["vid:pid", "probe type", "manufacturer", "serial", "product"].iter().filter_map(|c| heading.find(c)).collect();
    let rows = text.lines().skip_while(|l| !l.contains("vid:pid")).skip(1);
    rows.filter_map(|row| {
        let row: Vec<char> = row.chars().collect();
        let mut at = *starts.first()?;
        let mut fields = Vec::new();
        for pair in starts.windows(2) {
            let mut end = (at + pair[1] - pair[0] - 1).min(row.len());
            while end < row.len() && row[end] != ' ' {
                end += 1;
            }
            fields.push(row.get(at..end)?.iter().collect::<String>().trim().to_string());
            at = (end + 1).min(row.len());
        }
        let [id, _, _, serial] = <[String; 4]>::try_from(fields).ok()?;
        let (vendor, number) = id.split_once(':')?;
        let bare = |s: &str| s.trim_start_matches("0x").to_lowercase();
        let bus: String = row[..starts[0]].iter().collect();
        Some(Probe {
            id: format!("{}:{}", bare(vendor), bare(number)),
            serial,
            product: row[at..].iter().collect::<String>().trim().to_string(),
            place: bus.split_whitespace().collect::<Vec<_>>().join(":"),
        })
    })
    .collect()
}

/// dfu-util: `Found DFU: [1209:5af0] ver=…, name="…", serial="…"`, one line for each alternative setting.
fn parse_dfu_list(text: &str) -> Vec<Probe> {
    let quoted = |line: &str, key: &str| {
        let rest = line.split_once(&format!("{key}=\""))?.1;
        Some(rest.split_once('"')?.0.to_string())
    };
    let mut probes: Vec<Probe> = text
        .lines()
        .filter_map(|line| {
            let id = line.split_once("Found DFU: [")?.1.split_once(']')?.0.to_lowercase();
            let serial = quoted(line, "serial").filter(|s| s != "UNKNOWN").unwrap_or_default();
            Some(Probe { id, serial, product: String::new(), place: quoted(line, "path").unwrap_or_default() })
        })
        .collect();
    probes.dedup_by(|a, b| a.id == b.id && a.place == b.place && a.serial == b.serial);
    probes
}

/// The one board that is meant.
fn choose(board: &Board, seen: Vec<Probe>, serial: Option<&str>) -> Result<Probe> {
    let ours = |p: &Probe| {
        board.usb.ids.iter().any(|id| id.eq_ignore_ascii_case(&p.id))
            && board.usb.product.as_deref().is_none_or(|name| p.product.contains(name) || p.product.is_empty())
    };
    let (matching, others): (Vec<Probe>, Vec<Probe>) = seen.into_iter().partition(ours);
    let describe = |p: &Probe| match (p.serial.as_str(), p.product.as_str()) {
        ("", _) => format!("{} at {}", p.id, p.place),
        (serial, "") => serial.to_string(),
        (serial, product) => format!("{serial} ({product})"),
    };
    let all = |probes: &[Probe]| probes.iter().map(describe).collect::<Vec<_>>().join(", ");
    let refuse = |reason: String, help: &str| Error::Board { board: board.name.clone(), reason, help: help.into() };
    if matching.is_empty() {
        let also = if others.is_empty() { String::new() } else { format!("; other USB devices: {}", all(&others)) };
        return Err(refuse(
            format!("none is connected (looked for USB {}){also}", board.usb.ids.join(", ")),
            "plug it in with a cable that carries data, give it power, and see docs/boards.md on permissions",
        ));
    }
    if let Some(wanted) = serial {
        return matching.iter().find(|p| p.serial == wanted).cloned().ok_or_else(|| {
            refuse(
                format!("none has the serial number {wanted}; connected: {}", all(&matching)),
                "give one of these with --serial",
            )
        });
    }
    match <[Probe; 1]>::try_from(matching) {
        Ok([one]) => Ok(one),
        Err(several) => Err(refuse(
            format!("{} are connected: {}", several.len(), all(&several)),
            "say which with --serial, or unplug the others",
        )),
    }
}

fn arguments(
    programmer: &Programmer,
    board: &Board,
    bitstream: &Path,
    persist: bool,
    serial: Option<&str>,
    probe: Option<&Probe>,
) -> Result<Vec<String>> {
    let file = bitstream.display().to_string();
    let refuse = |reason: &str, help: &str| {
        Err(Error::Board { board: board.name.clone(), reason: reason.into(), help: help.into() })
    };
    let list = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
    Ok(match programmer {
        Programmer::OpenFpgaLoader { board } => {
            let mut words = list(&["--board", board]);
            if let Some(serial) = serial {
                words.extend(list(&["--ftdi-serial", serial]));
            }
            words.extend(list(&[if persist { "--write-flash" } else { "--write-sram" }, &file]));
            words
        }
        Programmer::Fujprog {} if serial.is_some() => {
            return refuse("fujprog does not choose by serial number", "install openFPGALoader, or unplug the others");
        }
        Programmer::Fujprog {} => list(&["-j", if persist { "flash" } else { "sram" }, &file]),
        Programmer::DfuUtil {} if !persist => {
            return refuse("its boot loader writes flash memory only", "say --persist to write there");
        }
        Programmer::DfuUtil {} => {
            let id = probe.map_or_else(|| board.usb.ids.join(","), |p| p.id.clone());
            let mut words = list(&["--device", &id, "--alt", "0"]);
            if let Some(serial) = serial {
                words.extend(list(&["--serial", serial]));
            }
            words.extend(list(&["--download", &file, "--reset"]));
            words
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As openFPGALoader 0.10 prints it, columns included.
    const SCAN: &str = "\
found 3 USB device
Bus device vid:pid       probe type      manufacturer serial               product
001 011    0x0403:0x6015 ft231X          FER-RADIONA-EMARD D00137               ULX3S FPGA 85K v3.0.8
001 012    0x0403:0x6010 FTDI2232        Lattice      FT4X2B1              Lattice ECP5 Evaluation Board
001 013    0x0403:0x6015 ft231X          FTDI         DN01                 FT231X USB UART
";

    #[test]
    fn probes_are_read_from_both_lists() {
        let seen = parse_scan_usb(SCAN);
        assert_eq!(seen.len(), 3);
        assert_eq!((seen[1].id.as_str(), seen[1].serial.as_str()), ("0403:6010", "FT4X2B1"));
        assert_eq!((seen[0].serial.as_str(), seen[0].product.as_str()), ("D00137", "ULX3S FPGA 85K v3.0.8"));
        assert_eq!(seen[0].place, "001:011");
        assert_eq!((seen[2].serial.as_str(), seen[2].product.as_str()), ("DN01", "FT231X USB UART"));
        assert_eq!(
            parse_scan_usb(
                "found 0 USB device\nBus device vid:pid       probe type      manufacturer serial               product\n"
            ),
            []
        );
        let dfu = "dfu-util 0.11\n\n\
            Found DFU: [1209:5af0] ver=0101, devnum=5, cfg=1, intf=0, path=\"1-1\", alt=1, name=\"0x00100000 RISC-V\", serial=\"UNKNOWN\"\n\
            Found DFU: [1209:5af0] ver=0101, devnum=5, cfg=1, intf=0, path=\"1-1\", alt=0, name=\"0x00080000 Bitstream\", serial=\"UNKNOWN\"\n";
        let seen = parse_dfu_list(dfu);
        assert_eq!(seen.len(), 1, "alternative settings are one device");
        assert_eq!((seen[0].id.as_str(), seen[0].serial.as_str(), seen[0].place.as_str()), ("1209:5af0", "", "1-1"));
    }

    #[test]
    fn only_the_board_meant_is_chosen() {
        let board = Board::named("ulx3s-85f").unwrap();
        // the generic FT231X is not a ULX3S
        let one = choose(&board, parse_scan_usb(SCAN), None).unwrap();
        assert_eq!(one.serial, "D00137");
    }
}
