//! What a board is: part, clock, pins, machine, programmers. Parsed from TOML; the boards of this repository are built in.

use std::path::Path;

use serde::Deserialize;
use systole_hdl::board::{BoardOptions, PllSettings};
use systole_isa::machine::Machine;
use systole_isa::regs;

use super::floorplan::Floorplan;
use super::report::{Capacity, Utilisation};
use crate::error::{Error, Result};

/// Rate of the serial port after power-on; the host asks for more.
pub const BOOT_BAUD: u32 = 115_200;

/// Name, `board.toml` and `floorplan.toml`.
const BUILT_IN: [(&str, &str, &str); 4] = [
    (
        "ulx3s-85f",
        include_str!("../../../boards/ulx3s-85f/board.toml"),
        include_str!("../../../boards/ulx3s-85f/floorplan.toml"),
    ),
    ("ulx3s-45f", include_str!("../../../boards/ulx3s-45f/board.toml"), ""),
    (
        "ecp5-evn",
        include_str!("../../../boards/ecp5-evn/board.toml"),
        include_str!("../../../boards/ecp5-evn/floorplan.toml"),
    ),
    ("orangecrab-25f", include_str!("../../../boards/orangecrab-25f/board.toml"), ""),
];

/// The file beside a `board.toml` that holds its floorplan.
pub const FLOORPLAN: &str = "floorplan.toml";

/// A board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// How commands call it.
    pub name: String,
    /// How people call it.
    pub title: String,
    /// Where pins and part were taken from.
    pub source: String,
    /// What its owner should know.
    #[serde(default)]
    pub notes: String,
    /// The FPGA.
    pub fpga: Fpga,
    /// Oscillator and machine clock.
    pub clock: ClockRates,
    /// Pins.
    pub pins: Pins,
    /// Sizes.
    #[serde(rename = "machine")]
    sizes: Sizes,
    /// How it shows itself on USB.
    #[serde(default)]
    pub usb: Usb,
    /// What can program it, best first.
    #[serde(default)]
    pub programmer: Vec<Programmer>,
    /// Sites that are fixed before placement: `floorplan.toml` beside the description.
    #[serde(skip)]
    pub floorplan: Floorplan,
}

/// The FPGA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fpga {
    /// nextpnr's name of the device: `12k`, `25k`, `45k`, `85k`, or with `um-` or `um5g-` before it.
    pub device: String,
    /// Package, as `CABGA381`.
    pub package: String,
    /// Speed grade, 6..=8.
    pub speed: u8,
    /// Options of the bitstream, as in a constraint file's `SYSCONFIG`.
    #[serde(default)]
    pub sysconfig: String,
    /// The seed of place and route that `build` uses: one that is known to reach the clock.
    #[serde(default = "first_seed")]
    pub seed: u32,
}

fn first_seed() -> u32 {
    1
}

/// A device's size: its name without the family's.
pub(super) fn size(device: &str) -> &str {
    device.strip_prefix("um5g-").or(device.strip_prefix("um-")).unwrap_or(device)
}

/// Clocks.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockRates {
    /// The oscillator, in MHz.
    pub input_mhz: f64,
    /// What the machine runs at, in MHz; timing must be met there.
    pub core_mhz: f64,
}

/// One pin.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Ball of the package.
    pub pin: String,
    /// Signalling, as `LVCMOS33`.
    pub io: String,
    /// `UP`, `DOWN` or `NONE`.
    pub pull: Option<String>,
    /// mA.
    pub drive: Option<u8>,
    /// The button's pin is low while pressed.
    #[serde(default)]
    pub active_low: bool,
}

/// The pins in use.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Oscillator.
    pub clk: Pin,
    /// From the host.
    pub rxd: Pin,
    /// To the host.
    pub txd: Pin,
    /// Starts the soft core anew.
    pub button: Pin,
    /// Blinks.
    pub led_alive: Pin,
    /// Bytes pass.
    pub led_link: Pin,
    /// Results are not finite.
    pub led_overflow: Pin,
    /// LEDs light up when driven low.
    #[serde(default)]
    pub leds_active_low: bool,
}

impl Pins {
    /// Port of the design and pin.
    fn all(&self) -> [(&'static str, &Pin); 7] {
        [
            ("clk", &self.clk),
            ("rxd", &self.rxd),
            ("txd", &self.txd),
            ("button", &self.button),
            ("led_alive", &self.led_alive),
            ("led_link", &self.led_link),
            ("led_overflow", &self.led_overflow),
        ]
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    lanes: u32,
    vector_lanes: u32,
    #[serde(default = "usual_adder")]
    adder_latency: u32,
    #[serde(default = "usual_memory")]
    memory_latency: u32,
    hmem_words: u32,
    smem_words: u32,
    mask_bits: u32,
    pmem_words: u32,
    acc_rows: u32,
    firmware_bytes: u32,
    rx_ring_bytes: u32,
    tx_ring_bytes: u32,
}

fn usual_adder() -> u32 {
    Machine::DEFAULT.adder_latency
}

fn usual_memory() -> u32 {
    Machine::DEFAULT.memory_latency
}

/// How a board shows itself on USB.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usb {
    /// `vendor:product`, hexadecimal.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Part of its product string, where the numbers alone are a common chip's.
    pub product: Option<String>,
}

/// A program that can load a bitstream.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "tool", deny_unknown_fields)]
pub enum Programmer {
    /// openFPGALoader, with its name of the board.
    #[serde(rename = "openFPGALoader")]
    OpenFpgaLoader {
        /// Its name of the board.
        board: String,
    },
    /// fujprog, for ULX3S boards.
    #[serde(rename = "fujprog")]
    Fujprog {},
    /// dfu-util, for boards with a boot loader.
    #[serde(rename = "dfu-util")]
    DfuUtil {},
}

impl Programmer {
    /// The program's name.
    pub fn program(&self) -> &'static str {
        match self {
            Programmer::OpenFpgaLoader { .. } => "openFPGALoader",
            Programmer::Fujprog {} => "fujprog",
            Programmer::DfuUtil {} => "dfu-util",
        }
    }
}

impl Board {
    /// The names of the boards that are built in.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, ..)| *name)
    }

    /// All boards that are built in.
    pub fn all() -> Vec<Board> {
        Board::names().map(|name| Board::named(name).expect("a built-in description is sound")).collect()
    }

    /// A board by its name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn named(name: &str) -> Result<Board> {
        match BUILT_IN.iter().find(|(n, ..)| *n == name) {
            Some((_, text, floorplan)) => {
                let mut board = Board::parse(text, Path::new(name))?;
                board.floorplan = Floorplan::parse(floorplan, Path::new(FLOORPLAN))?;
                Ok(board)
            }
            None => {
                let known = Board::names().collect::<Vec<_>>().join(", ");
                Err(Error::value("BOARD", name, format!("the boards are {known}; --board-file takes others")))
            }
        }
    }

    /// A board from a file, and its floorplan if one lies beside it.
    ///
    /// # Errors
    /// One of them cannot be read, or is not sound.
    pub fn load(path: &Path) -> Result<Board> {
        let mut board = Board::parse(&std::fs::read_to_string(path).map_err(Error::io("read", path))?, path)?;
        let beside = path.with_file_name(FLOORPLAN);
        if beside.is_file() {
            let text = std::fs::read_to_string(&beside).map_err(Error::io("read", &beside))?;
            board.floorplan = Floorplan::parse(&text, &beside)?;
        }
        Ok(board)
    }

    /// Reads a description; `path` names it in errors.
    ///
    /// # Errors
    /// TOML or a field is wrong, or the sizes make no machine or do not fit into the FPGA.
    pub fn parse(text: &str, path: &Path) -> Result<Board> {
        let bad = |reason: String| Error::Malformed { path: path.into(), format: "board.toml", reason };
        let board: Board = toml::from_str(text).map_err(|e| bad(e.to_string().trim_end().to_string()))?;
        if !board.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') || board.name.is_empty() {
            return Err(bad(format!("`name` is {:?}: letters, digits and dashes make a folder's name", board.name)));
        }
        let machine = board.machine();
        if let Some(rule) = machine.invalid() {
            return Err(bad(format!("[machine]: {rule}")));
        }
        let Some(capacity) = board.capacity() else {
            let known = "12k, 25k, 45k or 85k, or one of these after um- or um5g-";
            return Err(bad(format!("[fpga]: `device` is {:?}; it is one of {known}", board.fpga.device)));
        };
        if !(6..=8).contains(&board.fpga.speed) {
            return Err(bad(format!("[fpga]: `speed` is {}; grades are 6, 7 and 8", board.fpga.speed)));
        }
        let need = block_rams(&machine);
        if need > capacity.block_rams {
            let kb = 2 * capacity.block_rams;
            return Err(bad(format!(
                "[machine]: the memories need at least {need} block RAMs, and the {} has {} ({kb} kB)",
                board.fpga.device, capacity.block_rams
            )));
        }
        let ClockRates { input_mhz, core_mhz } = board.clock;
        if !(8.0..=400.0).contains(&input_mhz) {
            return Err(bad(format!("[clock]: `input_mhz` is {input_mhz}; the PLL takes 8 to 400")));
        }
        if !(1.0..=400.0).contains(&core_mhz) || PllSettings::find(hz(input_mhz), hz(core_mhz)).is_none() {
            return Err(bad(format!("[clock]: the PLL makes no {core_mhz} MHz from {input_mhz} MHz")));
        }
        if regs::uart_divisor(hz(core_mhz), BOOT_BAUD).is_none() {
            return Err(bad(format!("[clock]: {core_mhz} MHz make no {BOOT_BAUD} baud")));
        }
        for (port, pin) in board.pins.all() {
            let word = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let pull = pin.pull.as_deref().is_none_or(|p| ["UP", "DOWN", "NONE"].contains(&p));
            if !word(&pin.pin) || !word(&pin.io) || !pull {
                return Err(bad(format!("[pins]: `{port}` is no pin: {pin:?}")));
            }
            if let Some((other, _)) = board.pins.all().into_iter().find(|(o, p)| *o < port && p.pin == pin.pin) {
                return Err(bad(format!("[pins]: `{other}` and `{port}` are both at {}", pin.pin)));
            }
        }
        for id in &board.usb.ids {
            let half = |h: &str| h.len() == 4 && h.chars().all(|c| c.is_ascii_hexdigit());
            if !id.split_once(':').is_some_and(|(v, p)| half(v) && half(p)) {
                return Err(bad(format!("[usb]: {id:?} is not vendor:product in hexadecimal, as \"0403:6015\"")));
            }
        }
        Ok(board)
    }

    /// Its machine.
    pub fn machine(&self) -> Machine {
        let s = &self.sizes;
        Machine {
            lanes: s.lanes,
            vector_lanes: s.vector_lanes,
            adder_latency: s.adder_latency,
            memory_latency: s.memory_latency,
            hmem_words: s.hmem_words,
            smem_words: s.smem_words,
            mask_bits: s.mask_bits,
            pmem_words: s.pmem_words,
            acc_rows: s.acc_rows,
            firmware_bytes: s.firmware_bytes,
            rx_ring_bytes: s.rx_ring_bytes,
            tx_ring_bytes: s.tx_ring_bytes,
        }
    }

    /// What the FPGA has; `None` for a device that does not exist.
    pub fn capacity(&self) -> Option<Capacity> {
        Capacity::of(size(&self.fpga.device))
    }

    /// Whether what synthesis used is there.
    ///
    /// # Errors
    /// It is not, with numbers.
    pub fn holds(&self, used: &Utilisation) -> Result<()> {
        match used.excess(&self.capacity().expect("checked by parse")) {
            Some(reason) => Err(Error::DoesNotFit { what: format!("the design of {}", self.name), reason }),
            None => Ok(()),
        }
    }

    /// What the hardware is built with.
    pub fn options(&self) -> BoardOptions {
        let pll = PllSettings::find(hz(self.clock.input_mhz), hz(self.clock.core_mhz)).expect("checked by parse");
        BoardOptions {
            machine: self.machine(),
            pll,
            baud: BOOT_BAUD,
            leds_low: self.pins.leds_active_low,
            button_low: self.pins.button.active_low,
        }
    }

    /// The constraint file for place and route.
    pub fn constraints(&self) -> String {
        let mut text = String::from("BLOCK RESETPATHS;\nBLOCK ASYNCPATHS;\n");
        if !self.fpga.sysconfig.is_empty() {
            text += &format!("SYSCONFIG {};\n", self.fpga.sysconfig);
        }
        text += &format!("FREQUENCY PORT \"clk\" {} MHZ;\n", self.clock.input_mhz);
        for (port, pin) in self.pins.all() {
            text += &format!("LOCATE COMP \"{port}\" SITE \"{}\";\nIOBUF PORT \"{port}\" IO_TYPE={}", pin.pin, pin.io);
            if let Some(pull) = &pin.pull {
                text += &format!(" PULLMODE={pull}");
            }
            if let Some(drive) = pin.drive {
                text += &format!(" DRIVE={drive}");
            }
            text += ";\n";
        }
        text
    }
}

fn hz(mhz: f64) -> u32 {
    (mhz * 1e6).round() as u32
}

/// The least number of block RAMs of 18 kbit that a machine's memories take, the soft core's caches included. The mask memory
/// is left out: synthesis makes it of logic where it is small.
pub fn block_rams(m: &Machine) -> u32 {
    // a block holds 512 words of up to 36 bits, 1024 of 18, 2048 of 9, 4096 of 4, 8192 of 2 or 16384 of 1
    let blocks = |words: u32, bits: u32| {
        let shapes = [(512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)];
        shapes.iter().map(|&(w, b)| words.div_ceil(w) * bits.div_ceil(b)).min().expect("shapes")
    };
    let n = m.lanes;
    2 * n * blocks(m.hmem_words / 2 / n, 16)
        + 2 * n * blocks(m.smem_words / 2 / n, 32)
        + 4 * blocks(m.firmware_bytes / 4, 8)
        + blocks(m.pmem_words, 32)
        + blocks(m.rx_ring_bytes / 4, 32)
        + blocks(m.tx_ring_bytes / 4, 32)
        // accumulators and the store behind them; notes on tiles; the framer's block; the caches
        + 2 * n * blocks(m.acc_rows, 32)
        + 3
        + 1
        + 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(find: &str, replace: &str) -> String {
        let text = BUILT_IN[1].1;
        assert!(text.contains(find), "{find}");
        text.replace(find, replace)
    }

    fn refusal(text: &str) -> String {
        match Board::parse(text, Path::new("my.toml")).unwrap_err() {
            Error::Malformed { path, reason, .. } => {
                assert_eq!(path, Path::new("my.toml"));
                reason
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_built_in_board_is_sound() {
        for (board, name) in Board::all().iter().zip(Board::names()) {
            assert_eq!(board.name, name);
            assert!(!board.programmer.is_empty() && !board.source.is_empty(), "{name}");
            let options = board.options();
            assert!((f64::from(options.pll.hz) / 1e6 / board.clock.core_mhz - 1.0).abs() < 0.001, "{name}");
        }
    }

    #[test]
    fn a_board_keeps_the_seed_that_reaches_its_clock() {
        let seed = |text: &str| Board::parse(text, Path::new("my.toml")).unwrap().fpga.seed;
        assert_eq!(seed(BUILT_IN[1].1), 1);
        assert_eq!(seed(&with("speed = 6", "speed = 6\nseed = 7")), 7);
    }

    #[test]
    fn mistakes_are_named() {
        for (find, replace, says) in [
            ("lanes = 4\n", "lanes = 5\n", "lanes must be 2, 4, 8 or 16"),
            ("vector_lanes = 2\n", "vector_lane = 2\n", "unknown field `vector_lane`"),
            ("hmem_words = 32768", "hmem_words = 524288", "block RAMs, and the 45k has 108 (216 kB)"),
            ("device = \"45k\"", "device = \"60k\"", "`device` is \"60k\""),
            ("core_mhz = 45.0", "core_mhz = 3.0", "makes no 3 MHz from 25 MHz"),
            ("pin = \"L4\"", "pin = \"M1\"", "`rxd` and `txd` are both at M1"),
            ("pin = \"L4\"", "pin = \"L4;\"", "`txd` is no pin"),
            ("tool = \"fujprog\"", "tool = \"magic\"", "unknown variant `magic`"),
            ("ids = [\"0403:6015\"]", "ids = [\"FTDI\"]", "not vendor:product"),
            ("speed = 6", "speed = 9", "grades are 6, 7 and 8"),
            ("[fpga]", "[fpga", "TOML parse error at line"),
        ] {
            let reason = refusal(&with(find, replace));
            assert!(reason.contains(says), "{find} -> {replace}: {reason}");
        }
    }

    #[test]
    fn constraints_name_every_port() {
        let text = Board::named("ulx3s-45f").unwrap().constraints();
        for line in [
            "FREQUENCY PORT \"clk\" 25 MHZ;",
            "LOCATE COMP \"txd\" SITE \"L4\";",
            "IOBUF PORT \"rxd\" IO_TYPE=LVCMOS33 PULLMODE=UP;",
            "IOBUF PORT \"led_alive\" IO_TYPE=LVCMOS33 DRIVE=4;",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
