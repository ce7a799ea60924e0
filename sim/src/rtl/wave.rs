//! Reading a trace back: signals by name, values by cycle, and what the array's internal number forms stand for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use fst_reader::{FstFilter, FstHierarchyEntry, FstReader, FstSignalHandle, FstSignalValue};

use super::trace::{HALF_PERIOD, PERIOD};
use super::{Error, Result};

/// Where the SoC's signals are in a trace.
pub const TOP: &str = "soc.soc";

/// The signals of a trace.
pub struct Wave {
    reader: FstReader<BufReader<File>>,
    signals: BTreeMap<String, (usize, u32)>,
    path: std::path::PathBuf,
}

impl Wave {
    /// Opens a trace and reads the names of its signals.
    pub fn open(path: &Path) -> Result<Wave> {
        let bad = |e: fst_reader::ReaderError| Error::Io {
            action: "read",
            path: path.into(),
            source: std::io::Error::other(e.to_string()),
        };
        let file = File::open(path).map_err(Error::io("read", path))?;
        let mut reader = FstReader::open_and_read_time_table(BufReader::new(file)).map_err(bad)?;
        let (mut signals, mut scopes) = (BTreeMap::new(), Vec::<String>::new());
        reader
            .read_hierarchy(|entry| match entry {
                FstHierarchyEntry::Scope { name, .. } => scopes.push(name),
                FstHierarchyEntry::UpScope => drop(scopes.pop()),
                FstHierarchyEntry::Var { name, length, handle, .. } => {
                    let name = name.split(' ').next().unwrap_or_default();
                    signals.insert(format!("{}.{name}", scopes.join(".")), (handle.get_index(), length));
                }
                _ => (),
            })
            .map_err(bad)?;
        Ok(Wave { reader, signals, path: path.into() })
    }

    /// Whole names of all signals, and their widths in bits.
    pub fn signals(&self) -> impl Iterator<Item = (&str, u32)> {
        self.signals.iter().map(|(name, (_, width))| (name.as_str(), *width))
    }

    /// Width of the signal of this whole name, if there is one.
    pub fn width(&self, name: &str) -> Option<u32> {
        self.signals.get(name).map(|s| s.1)
    }

    /// Lanes of the array that was recorded.
    pub fn lanes(&self) -> usize {
        (0..).take_while(|i| self.width(&format!("{TOP}.matrix.array.act_{i}")).is_some()).count()
    }

    /// First and last cycle recorded; `None` in an empty trace.
    pub fn cycles(&self) -> Option<(u64, u64)> {
        let times = self.reader.get_time_table()?;
        Some((times.first()? / PERIOD, times.last()? / PERIOD))
    }

    /// Times recorded: two in each cycle, [`HALF_PERIOD`] apart.
    pub fn times(&self) -> &[u64] {
        self.reader.get_time_table().unwrap_or_default()
    }

    /// A signal of the SoC (its name below [`TOP`]) in each recorded cycle, as the edge that ends the cycle's low half sees
    /// it. Signals of more than 64 bits give their low ones.
    ///
    /// # Errors
    /// [`Error::Io`] where the trace has no such signal, or is damaged.
    pub fn samples(&mut self, name: &str) -> Result<BTreeMap<u64, u64>> {
        let whole = format!("{TOP}.{name}");
        let failed = |reason: String| Error::Io {
            action: "read",
            path: self.path.clone(),
            source: std::io::Error::other(reason),
        };
        let Some(&(index, _)) = self.signals.get(&whole) else {
            return Err(failed(format!("it has no signal {whole}")));
        };
        let mut changes = BTreeMap::new();
        let read = self.reader.read_signals(
            &FstFilter::filter_signals(vec![FstSignalHandle::from_index(index)]),
            |time, _, value| {
                if let FstSignalValue::String(bits) = value {
                    let value = bits.iter().fold(0u64, |v, b| v << 1 | u64::from(*b == b'1'));
                    changes.insert(time, value);
                }
                Ok::<(), std::convert::Infallible>(())
            },
        );
        if let Err(e) = read {
            return Err(failed(format!("{e:?}")));
        }
        let (first, last) = self.cycles().unwrap_or((1, 0));
        let value_at = |cycle: u64| changes.range(..cycle * PERIOD + HALF_PERIOD).next_back().map(|(_, v)| *v);
        Ok((first..=last).filter_map(|c| value_at(c).map(|v| (c, v))).collect())
    }
}

/// The number that 20 bits of the array's operand form stand for (`hdl`, `float::recode`).
pub fn operand(bits: u64) -> f32 {
    let (nan, inf, sign) = (bits >> 19 & 1, bits >> 18 & 1, bits >> 17 & 1);
    let magnitude = match (nan, inf) {
        (1, _) => return f32::NAN,
        (_, 1) => f32::INFINITY,
        _ => (bits & 0x7ff) as f32 * f32::powi(2.0, (bits >> 11 & 0x3f) as i32 - 35),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

/// The number that 32 bits of the array's partial-sum form stand for (`hdl`, `float::psum_form`).
pub fn partial_sum(bits: u64) -> f32 {
    let exponent = match (bits >> 31 & 1, bits >> 23 & 0x7f) {
        (1, _) => 255,
        (_, 0) => 0,
        (_, e) => e + 77,
    };
    f32::from_bits((bits >> 30 & 1) as u32 * (1 << 31) | (exponent as u32) << 23 | (bits & 0x7f_ffff) as u32)
}

/// The number that 16 bits of FP16 stand for.
pub fn half(bits: u64) -> f32 {
    let (exponent, fraction) = (bits >> 10 & 0x1f, (bits & 0x3ff) as f32);
    let magnitude = match exponent {
        0 => fraction * f32::powi(2.0, -24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => return f32::NAN,
        e => (1024.0 + fraction) * f32::powi(2.0, e as i32 - 25),
    };
    if bits >> 15 & 1 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_stand_for_numbers() {
        assert_eq!(half(0x3c00), 1.0);
        assert_eq!(half(0xc180), -2.75);
        assert_eq!(half(1), f32::powi(2.0, -24));
        assert!(half(0x7e00).is_nan());
        assert_eq!(operand(0), 0.0);
        // 1.0: significand 1024, exponent 35 − 10
        assert_eq!(operand(25 << 11 | 1024), 1.0);
        assert_eq!(operand(1 << 17 | 26 << 11 | 1024), -2.0);
        assert_eq!(partial_sum(50 << 23), 1.0);
        assert_eq!(partial_sum(1 << 30).to_bits(), (-0.0f32).to_bits());
        assert!(partial_sum(1 << 31 | 1 << 22).is_nan());
    }
}
