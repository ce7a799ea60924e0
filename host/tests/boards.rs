//! Boards: what fits into their memories, and `systole board flash` with a programmer that only writes down how it was called.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use systole::board::Board;
use systole::compile::{self, Optimizer};
use systole::graph::Model;

fn fits(board: &str, spec: &str, batch: u32, optimizer: Optimizer) -> Result<(), String> {
    let machine = Board::named(board).unwrap().machine();
    let model = Model::mlp(spec).unwrap();
    compile::network(&model.graph, batch, optimizer, machine).map(drop).map_err(|e| e.to_string())
}

#[test]
fn memories_hold_what_the_boards_are_for() {
    let (plain, momentum) = (Optimizer::Sgd { momentum: false }, Optimizer::Sgd { momentum: true });
    for board in ["ulx3s-85f", "ecp5-evn"] {
        assert_eq!(fits(board, "mlp:784-24-10", 16, momentum), Ok(()), "{board}");
        // a plane holds whole tensors: 784 x 32 masters are larger than one
        assert!(fits(board, "mlp:784-32-10", 16, plain).unwrap_err().contains("0.weight"), "{board}");
    }
    assert_eq!(fits("ulx3s-45f", "mlp:64-32-10", 32, momentum), Ok(()));
    assert_eq!(fits("orangecrab-25f", "mlp:64-8-10", 8, plain), Ok(()));
}

/// The list that openFPGALoader prints, with these boards (serial number, product).
fn scan(boards: &[(&str, &str)]) -> String {
    let row = |(i, (serial, product)): (usize, &(&str, &str))| {
        format!("001 {i:03}    0x0403:0x6015 {:<15} {:<12} {serial:<20} {product}\n", "ft231X", "FER-RADIONA-EMARD")
    };
    let heading = format!(
        "{:>3} {:>6} {:<13} {:<15} {:<12} {:<20} {}\n",
        "Bus", "device", "vid:pid", "probe type", "manufacturer", "serial", "product"
    );
    let rows: String = boards.iter().enumerate().map(row).collect();
    format!("found {} USB device\n{heading}{rows}", boards.len())
}

/// A programmer that answers `--scan-usb` and `--list` with `list`, and writes any other call's arguments to `called`.
fn programmer(folder: &Path, name: &str, list: &str, status: i32) {
    let bin = folder.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(folder.join("list"), list).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in --scan-usb|--list) /bin/cat '{0}/list'; exit 0;; esac\n\
         echo \"{name} $*\" >> '{0}/called'; echo programming; exit {status}\n",
        folder.display()
    );
    let path = bin.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn flash(folder: &Path, arguments: &[&str]) -> Output {
    std::fs::write(folder.join("my.bit"), "bits").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_systole"));
    command.args(["board", "flash"]).args(arguments).current_dir(folder);
    // nothing but the fake one: this system may have real ones
    command.env("PATH", folder.join("bin"));
    command.output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn called(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("called")).unwrap_or_default()
}

const ONE: &[(&str, &str)] = &[("D00137", "ULX3S FPGA 85K v3.0.8")];
const TWO: &[(&str, &str)] = &[("D00137", "ULX3S FPGA 85K v3.0.8"), ("D00244", "ULX3S FPGA 85K v3.0.8")];

#[test]
fn the_exact_commands() {
    for (board, name, arguments, expected) in [
        ("ulx3s-85f", "openFPGALoader", vec![], "openFPGALoader --board ulx3s --write-sram my.bit\n"),
        ("ulx3s-85f", "openFPGALoader", vec!["--persist"], "openFPGALoader --board ulx3s --write-flash my.bit\n"),
        (
            "ulx3s-85f",
            "openFPGALoader",
            vec!["--serial", "D00137"],
            "openFPGALoader --board ulx3s --ftdi-serial D00137 --write-sram my.bit\n",
        ),
        ("ulx3s-85f", "fujprog", vec![], "fujprog -j sram my.bit\n"),
        ("ulx3s-85f", "fujprog", vec!["--persist"], "fujprog -j flash my.bit\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        programmer(dir.path(), name, &scan(ONE), 0);
        let mut all = vec![board, "--bitstream", "my.bit"];
        all.extend(&arguments);
        let out = flash(dir.path(), &all);
        assert!(out.status.success(), "{arguments:?}: {}", said(&out));
        assert_eq!(called(dir.path()), expected, "{arguments:?}");
        // what the programmer prints is no result of ours
        assert!(!String::from_utf8_lossy(&out.stdout).contains("programming"));
    }
    let dir = tempfile::tempdir().unwrap();
    let list = "Found DFU: [1209:5af0] ver=0101, devnum=5, cfg=1, intf=0, path=\"1-1\", alt=0, name=\"b\", serial=\"UNKNOWN\"\n";
    programmer(dir.path(), "dfu-util", list, 0);
    let out = flash(dir.path(), &["orangecrab-25f", "--bitstream", "my.bit"]);
    assert!(!out.status.success() && said(&out).contains("--persist"), "{}", said(&out));
    let out = flash(dir.path(), &["orangecrab-25f", "--bitstream", "my.bit", "--persist"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(called(dir.path()), "dfu-util --device 1209:5af0 --alt 0 --download my.bit --reset\n");
}

#[test]
fn two_boards_need_a_serial_number() {
    let dir = tempfile::tempdir().unwrap();
    programmer(dir.path(), "openFPGALoader", &scan(TWO), 0);
    let out = flash(dir.path(), &["ulx3s-85f", "--bitstream", "my.bit"]);
    assert_eq!(out.status.code(), Some(5));
    let text = said(&out);
    assert!(text.contains("2 are connected") && text.contains("D00137") && text.contains("D00244"), "{text}");
    assert!(text.contains("--serial"), "{text}");
    let out = flash(dir.path(), &["ulx3s-85f", "--bitstream", "my.bit", "--serial", "D9"]);
    assert!(said(&out).contains("none has the serial number D9"), "{}", said(&out));
    assert_eq!(called(dir.path()), "", "nothing was programmed");
    let out = flash(dir.path(), &["ulx3s-85f", "--bitstream", "my.bit", "--serial", "D00244"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(called(dir.path()), "openFPGALoader --board ulx3s --ftdi-serial D00244 --write-sram my.bit\n");
}

#[test]
fn what_is_missing_is_said() {
    // no programmer
    let dir = tempfile::tempdir().unwrap();
    let out = flash(dir.path(), &["ulx3s-85f", "--bitstream", "my.bit"]);
    assert_eq!(out.status.code(), Some(7));
    assert!(said(&out).contains("openFPGALoader or fujprog is not on PATH"), "{}", said(&out));
    assert!(said(&out).contains("apt install openfpgaloader"), "{}", said(&out));
    // no board; and another FTDI adapter is no ULX3S
    for boards in [&[][..], &[("DN01", "FT231X USB UART")][..]] {
        programmer(dir.path(), "openFPGALoader", &scan(boards), 0);
        let out = flash(dir.path(), &["ulx3s-85f", "--bitstream", "my.bit"]);
        assert_eq!(out.status.code(), Some(5));
        assert!(said(&out).contains("none is connected (looked for USB 0403:6015)"), "{}", said(&out));
    }
    // a programmer that fails
    programmer(dir.path(), "openFPGALoader", &scan(ONE), 3);
    let out = flash(dir.path(), &["ulx3s-85f", "--bitstream", "my.bit"]);
    assert_eq!(out.status.code(), Some(7));
    assert!(said(&out).contains("exit status: 3"), "{}", said(&out));
    // no such board, no such file
    assert_eq!(flash(dir.path(), &["ulx4m"]).status.code(), Some(2));
    assert_eq!(flash(dir.path(), &["ulx3s-85f", "--bitstream", "gone.bit"]).status.code(), Some(3));
}

#[test]
fn a_board_file_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../boards/ulx3s-45f/board.toml")).unwrap();
    std::fs::write(dir.path().join("mine.toml"), text.replace("name = \"ulx3s-45f\"", "name = \"mine\"")).unwrap();
    std::fs::write(dir.path().join("bad.toml"), text.replace("speed = 6", "sped = 6")).unwrap();
    let info = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_systole"));
        command.args(["board", "info"]).args(arguments).current_dir(dir.path()).output().unwrap()
    };
    let out = info(&["--board-file", "mine.toml", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((value["name"].as_str(), value["device"].as_str()), (Some("mine"), Some("45k")));
    let out = info(&["--board-file", "bad.toml"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(said(&out).contains("bad.toml") && said(&out).contains("sped"), "{}", said(&out));
    let out = info(&["ulx3s-45f", "--constraints"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("LOCATE COMP \"clk\" SITE \"G2\";"));
}
