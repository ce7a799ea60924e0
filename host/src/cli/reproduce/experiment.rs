//! What is to be reproduced, as data: `experiments.toml`, which is bundled with the models that it names.

use clap::Parser;
use serde::Deserialize;

use crate::cli::task::TaskArgs;
use crate::driver::device::{DeviceOptions, HALF_SUMS};
use crate::error::{Error, Result};
use crate::run::TrainOptions;

const FILE: &str = include_str!("experiments.toml");

/// Model files by name.
const MODELS: [(&str, &str); 7] = [
    ("lenet-digits", include_str!("../../../../models/lenet-digits.toml")),
    ("residual-digits", include_str!("../../../../models/residual-digits.toml")),
    ("detect-digits", include_str!("../../../../models/detect-digits.toml")),
    ("gru-digits", include_str!("../../../../models/gru-digits.toml")),
    ("lm-shakespeare", include_str!("../../../../models/lm-shakespeare.toml")),
    ("reverse-strings", include_str!("../../../../models/reverse-strings.toml")),
    ("gan-digits", include_str!("../../../../models/gan-digits.toml")),
];

/// Seed of the search for settings, which no table's cell uses.
pub(super) const SEARCH_SEED: u64 = 100;

/// Everything that can be run, and what the paper has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Experiments {
    #[serde(rename = "network")]
    pub(super) networks: Vec<Network>,
    pub(super) published: Vec<Published>,
}

/// A row of the paper's tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Published {
    /// Table and unit.
    #[serde(rename = "where")]
    pub(super) place: String,
    pub(super) network: String,
    pub(super) fp32: String,
    /// Mixed precision at loss scale 1.
    #[serde(default)]
    pub(super) unscaled: String,
    pub(super) mixed: String,
}

/// What a network is judged by.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Measure {
    /// Test rows predicted right.
    Accuracy,
    /// Mean loss of the test rows, in nats.
    Loss,
    /// What a classifier makes of a generator's images, 1 to the number of classes.
    Score,
    /// Digits of the test scenes that are found, in percent.
    Found,
}

/// A network with its settings and cells.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    /// Its name, that of its model file and of its page.
    pub(super) name: String,
    pub(super) title: String,
    /// Its counterpart in the paper.
    pub(super) paper: String,
    /// Flags of `systole train` that all its cells share.
    pub(super) flags: String,
    /// Flags that are tried in FP32 first, one cell each.
    pub(super) search: Vec<String>,
    pub(super) measure: Measure,
    /// Seeds of each variant, from 0 on.
    pub(super) seeds: u64,
    /// Variants besides FP32 and mixed precision.
    variants: Vec<String>,
    /// Exponents of static loss scales.
    pub(super) sweep: Vec<i32>,
    /// Seeds of each of them.
    pub(super) sweep_seeds: u64,
    /// Steps that `rtl` and `model` are compared over.
    pub(super) rtl_steps: u64,
    /// Whether it is part of `--quick`.
    #[serde(default)]
    pub(super) quick: bool,
}

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// In FP32 on the host.
    Fp32,
    /// FP32 with other settings.
    Search(String),
    /// Mixed precision, dynamic loss scale.
    Mixed,
    /// Mixed precision, this power of two as loss scale.
    Scale(i32),
    /// Mixed precision without FP32 master weights.
    HalfMasters,
    /// Mixed precision with sums in FP16.
    HalfSums,
}

impl Variant {
    /// As tables and `experiments.toml` call it.
    pub(super) fn name(&self) -> String {
        match self {
            Variant::Fp32 => "fp32".into(),
            Variant::Search(flags) => format!("search {flags}"),
            Variant::Mixed => "mixed".into(),
            Variant::Scale(exponent) => format!("scale 2^{exponent}"),
            Variant::HalfMasters => "fp16-masters".into(),
            Variant::HalfSums => "fp16-sums".into(),
        }
    }

    fn parse(name: &str) -> Option<Variant> {
        match name {
            "fp16-masters" => Some(Variant::HalfMasters),
            "fp16-sums" => Some(Variant::HalfSums),
            _ => name.strip_prefix("scale 2^")?.parse().ok().map(Variant::Scale),
        }
    }

    /// What it adds to the network's flags.
    pub(super) fn flags(&self) -> String {
        match self {
            Variant::Fp32 | Variant::Mixed | Variant::HalfSums => String::new(),
            Variant::Search(flags) => flags.clone(),
            Variant::Scale(exponent) => format!("--loss-scale {}", f64::from(*exponent).exp2()),
            Variant::HalfMasters => "--master-weights fp16".into(),
        }
    }

    /// What it runs on; `None`: the host, in FP32.
    pub(super) fn device(&self) -> Option<&'static str> {
        match self {
            Variant::Fp32 | Variant::Search(_) => None,
            Variant::HalfSums => Some(HALF_SUMS),
            _ => Some("model"),
        }
    }

    /// What it is, in words.
    pub(super) fn title(&self) -> String {
        match self {
            Variant::Fp32 => "FP32".into(),
            Variant::Search(flags) => format!("FP32, `{flags}`"),
            Variant::Mixed => "mixed precision, dynamic scale".into(),
            Variant::Scale(0) => "mixed precision, loss scale 1".into(),
            Variant::Scale(exponent) => format!("mixed precision, loss scale 2^{exponent}"),
            Variant::HalfMasters => "FP16 master weights".into(),
            Variant::HalfSums => "FP16 accumulation".into(),
        }
    }
}

/// The flags of a cell, read as `systole train` reads them; a later flag goes before an earlier one.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    task: TaskArgs,
}

impl Network {
    /// Its model file's text.
    pub(super) fn model(&self) -> &'static str {
        MODELS.iter().find(|m| m.0 == self.name).map(|m| m.1).expect("a test looks every network up")
    }

    /// The variants of the table.
    pub(super) fn compared(&self) -> Vec<Variant> {
        let named = self.variants.iter().map(|name| Variant::parse(name).expect("a test parses every variant"));
        [Variant::Fp32, Variant::Mixed].into_iter().chain(named).collect()
    }

    /// All cells, as variant and seed, in the order of the tables.
    pub(super) fn cells(&self) -> Vec<(Variant, u64)> {
        let mut all: Vec<(Variant, u64)> =
            self.search.iter().map(|flags| (Variant::Search(flags.clone()), SEARCH_SEED)).collect();
        all.extend(self.compared().into_iter().flat_map(|v| (0..self.seeds).map(move |seed| (v.clone(), seed))));
        for &exponent in &self.sweep {
            let fresh = (0..self.sweep_seeds).map(|seed| (Variant::Scale(exponent), seed));
            all.extend(fresh.filter(|cell| !all.contains(cell)).collect::<Vec<_>>());
        }
        all
    }

    /// The options of a run with these flags besides its own.
    pub(super) fn options(&self, flags: &str, seed: u64) -> Result<TrainOptions> {
        let text = format!("train {} {flags} --seed {seed}", self.flags);
        let line = Line::try_parse_from(text.split_whitespace())
            .map_err(|e| Error::value("experiments.toml", text.clone(), e.to_string()))?;
        line.task.of_model(self.model()).options(DeviceOptions::default())
    }
}

/// What is bundled.
pub(super) fn bundled() -> Experiments {
    toml::from_str(FILE).expect("a test reads it")
}

/// The networks that a name means; with `quick` a small slice of each.
pub(super) fn chosen(name: &str, quick: bool) -> Result<Vec<Network>> {
    let all = bundled().networks;
    let names: Vec<String> = all.iter().map(|n| n.name.clone()).collect();
    let found: Vec<Network> =
        all.into_iter().filter(|n| n.name == name || name == "all" && (n.quick || !quick)).collect();
    if found.is_empty() {
        return Err(Error::value("NAME", name, format!("there are all, {}", names.join(", "))));
    }
    Ok(if quick { found.into_iter().map(slice).collect() } else { found })
}

/// One epoch of one seed of every variant, and the ends of the sweep.
fn slice(n: Network) -> Network {
    let mut words: Vec<&str> = n.flags.split_whitespace().collect();
    if let Some(at) = words.iter().position(|&w| w == "--epochs") {
        words.drain(at..at + 2);
    }
    let ends = n.sweep.first().into_iter().chain(n.sweep.last()).copied().collect();
    Network {
        flags: [&["--epochs", "1"], &words[..]].concat().join(" "),
        search: Vec::new(),
        seeds: 1,
        sweep: ends,
        sweep_seeds: 1,
        rtl_steps: 0,
        ..n
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{LossScale, prepare};

    #[test]
    fn every_cell_is_a_command_that_can_be_run() {
        for network in bundled().networks {
            assert!(network.seeds >= 5 && network.rtl_steps >= 20, "{}", network.name);
            let cells = network.cells();
            for (i, cell) in cells.iter().enumerate() {
                assert!(!cells[..i].contains(cell), "{}: {cell:?} twice", network.name);
                let (variant, seed) = cell;
                let options = network.options(&variant.flags(), *seed).unwrap();
                prepare(&options).unwrap();
                assert_eq!(options.seed, *seed);
                if let Variant::Scale(exponent) = variant {
                    assert_eq!(options.loss_scale, LossScale::Static(*exponent));
                    assert_eq!(Variant::parse(&variant.name()).as_ref(), Some(variant));
                }
            }
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        let e = chosen("lenet", false).unwrap_err().to_string();
        assert!(e.contains("lenet-digits") && e.contains("all"), "{e}");
        assert!(chosen("all", true).unwrap().iter().all(|n| n.seeds == 1 && n.rtl_steps == 0));
    }
}
