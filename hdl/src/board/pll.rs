//! The ECP5's PLL: its dividers, and the primitive.

use rust_hdl_core::prelude::*;

/// Dividers of an `EHXPLLL` whose feedback is its first output (Lattice, ECP5 sysCLOCK PLL/DLL Design and Usage Guide).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PllSettings {
    /// `CLKI_DIV`, 1..=128: the phase detector runs at input / this.
    pub input: u32,
    /// `CLKFB_DIV`, 1..=80: output = phase detector × this.
    pub feedback: u32,
    /// `CLKOP_DIV`, 1..=128: the oscillator runs at output × this.
    pub output: u32,
    /// What comes out, in Hz, rounded down.
    pub hz: u32,
}

/// Limits of the oscillator and the phase detector, in Hz.
const VCO: std::ops::RangeInclusive<u64> = 400_000_000..=800_000_000;
const DETECTOR: std::ops::RangeInclusive<u64> = 3_125_000..=400_000_000;
/// The oscillator's preferred rate.
const VCO_MIDDLE: u64 = 600_000_000;

impl PllSettings {
    /// The dividers whose output is nearest to `wanted` Hz from an input of `from` Hz; of equal ones, those with the fastest phase
    /// detector, then those with the oscillator nearest to its middle. `None` if nothing within 0.5 % can be made.
    pub fn find(from: u32, wanted: u32) -> Option<PllSettings> {
        let (from, wanted) = (u64::from(from), u64::from(wanted));
        let mut best: Option<((u64, u32, u64), PllSettings)> = None;
        for input in 1..=128u32 {
            if !DETECTOR.contains(&(from / u64::from(input))) {
                continue;
            }
            for feedback in 1..=80u32 {
                let hz = from * u64::from(feedback) / u64::from(input);
                let off = hz.abs_diff(wanted);
                if off * 200 > wanted || best.is_some_and(|((o, _, _), _)| off > o) {
                    continue;
                }
                for output in 1..=128u32 {
                    let vco = hz * u64::from(output);
                    if VCO.contains(&vco) {
                        let rank = (off, input, vco.abs_diff(VCO_MIDDLE));
                        if best.is_none_or(|(r, _)| rank < r) {
                            best = Some((rank, PllSettings { input, feedback, output, hz: hz as u32 }));
                        }
                    }
                }
            }
        }
        best.map(|(_, settings)| settings)
    }
}

/// From the board's oscillator to the machine's clock.
#[derive(LogicBlock)]
pub struct Pll {
    /// The pad.
    pub pad: Signal<In, Clock>,
    /// The machine's clock.
    pub clock: Signal<Out, Clock>,
    /// It is regular.
    pub locked: Signal<Out, Bit>,
    _settings: PllSettings,
}

impl Pll {
    /// A PLL with these dividers.
    pub fn new(settings: PllSettings) -> Pll {
        Pll { pad: Default::default(), clock: Default::default(), locked: Default::default(), _settings: settings }
    }
}

impl Logic for Pll {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.clock.connect();
        self.locked.connect();
    }

    fn hdl(&self) -> Verilog {
        let PllSettings { input, feedback, output, .. } = self._settings;
        Verilog::Custom(format!(
            "`ifdef VERILATOR
  assign clock = pad;
  assign locked = 1'b1;
`else
  (* ICP_CURRENT=\"12\" *) (* LPF_RESISTOR=\"8\" *) (* MFG_ENABLE_FILTEROPAMP=\"1\" *) (* MFG_GMCREF_SEL=\"2\" *)
  EHXPLLL #(
    .PLLRST_ENA(\"DISABLED\"), .INTFB_WAKE(\"DISABLED\"), .STDBY_ENABLE(\"DISABLED\"), .DPHASE_SOURCE(\"DISABLED\"),
    .OUTDIVIDER_MUXA(\"DIVA\"), .OUTDIVIDER_MUXB(\"DIVB\"), .OUTDIVIDER_MUXC(\"DIVC\"), .OUTDIVIDER_MUXD(\"DIVD\"),
    .CLKI_DIV({input}), .CLKFB_DIV({feedback}), .CLKOP_ENABLE(\"ENABLED\"), .CLKOP_DIV({output}), .CLKOP_CPHASE({phase}),
    .CLKOP_FPHASE(0), .FEEDBK_PATH(\"CLKOP\")
  ) pll (
    .RST(1'b0), .STDBY(1'b0), .CLKI(pad), .CLKOP(clock), .CLKFB(clock), .CLKINTFB(), .PHASESEL0(1'b0), .PHASESEL1(1'b0),
    .PHASEDIR(1'b1), .PHASESTEP(1'b1), .PHASELOADREG(1'b1), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0), .LOCK(locked)
  );
`endif
",
            phase = output - 1
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ecppll` of prjtrellis answers: `--clkin A --clkout0 B`.
    #[test]
    fn dividers_are_those_of_ecppll() {
        for (from, to, input, feedback, output) in [(25, 50, 1, 2, 12), (12, 60, 1, 5, 10), (48, 48, 1, 1, 12)] {
            let found = PllSettings::find(from * 1_000_000, to * 1_000_000).unwrap();
            assert_eq!((found.input, found.feedback, found.output), (input, feedback, output), "{from} -> {to}");
            assert_eq!(found.hz, to * 1_000_000);
        }
    }

    #[test]
    fn limits_hold_for_every_clock() {
        for from in [12u32, 16, 25, 48, 100] {
            for mhz in 10..=120u32 {
                let Some(p) = PllSettings::find(from * 1_000_000, mhz * 1_000_000) else { continue };
                let hz = f64::from(from) * 1e6 / f64::from(p.input) * f64::from(p.feedback);
                assert!((hz / (f64::from(mhz) * 1e6) - 1.0).abs() <= 0.005, "{from} -> {mhz}: {p:?}");
                let vco = hz * f64::from(p.output);
                assert!((400e6..=800e6).contains(&vco), "{from} -> {mhz}: {p:?}");
                assert!(f64::from(from) * 1e6 / f64::from(p.input) >= 3.125e6);
            }
        }
        assert_eq!(PllSettings::find(25_000_000, 1_000_000), None);
    }
}
