//! The summary over all networks, laid out as the paper's tables.

use std::fmt::Write as _;
use std::path::Path;

use super::experiment::{Variant, bundled};
use super::page::{Verdict, cell, ratio, spread, utilisation, verdict};
use super::{Experiment, stats};
use crate::error::Result;
use crate::npy::write_atomically;

/// Writes `README.md`.
pub(super) fn write(out: &Path, all: &[Experiment]) -> Result<()> {
    let mut text = String::from(
        "# The paper's experiments on chip\n\nMade by `systole reproduce` from the tables in this folder; do not edit. `systole reproduce \
         --report` makes it again, `systole reproduce --plan` tells what is missing.\n\nThe paper trains networks of millions of \
         parameters on GPUs; here networks of thousands train in an on-chip memory, so its claims are tested, not its numbers. Each value is \
         mean ± standard deviation over seeds, which the paper does not give.\n\n",
    );
    let _ = write!(text, "## Results\n\n{}\n{}\n", ours(all), claims(all));
    let _ = write!(text, "## The paper's\n\n{}\n", published());
    let _ = write!(text, "## Hardware\n\n{}", hardware(all));
    write_atomically(&out.join("README.md"), format!("{}\n", text.trim_end()).as_bytes())
}

const VARIANTS: [Variant; 5] =
    [Variant::Fp32, Variant::Mixed, Variant::Scale(0), Variant::HalfMasters, Variant::HalfSums];

fn ours(all: &[Experiment]) -> String {
    let mut t = String::from(
        "| network | counterpart | seeds | FP32 | mixed precision | loss scale 1 | FP16 masters | FP16 accumulation |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for e in all {
        let n = &e.prepared.network;
        let seeds = stats::of(&e.results.rows, &Variant::Mixed).len();
        let _ = write!(t, "| [{}]({}.md) | {} | {seeds} |", n.title, n.name, n.paper);
        for variant in VARIANTS {
            let mark = match verdict(e, &variant) {
                Some(Verdict::Worse) => " ↓",
                Some(Verdict::Better) => " ↑",
                Some(Verdict::Stopped) => " stopped",
                _ => "",
            };
            let _ = write!(t, " {}{mark} |", cell(n.measure, spread(e, &variant)));
        }
        t.push('\n');
    }
    t + "\nAccuracy on the test rows, the share of their digits that is found, nats per character, or an inception score. ↓ ↑: worse or better than FP32 by more than one standard deviation of \
         FP32 over its seeds.\n"
}

/// A sentence for each claim of the paper, decided by the tables.
fn claims(all: &[Experiment]) -> String {
    let of = |variant: &Variant, wanted: &[Verdict]| -> (Vec<&str>, Vec<&str>) {
        let known = all.iter().filter_map(|e| Some((e.prepared.network.name.as_str(), verdict(e, variant)?)));
        let (yes, no): (Vec<_>, Vec<_>) = known.partition(|(_, v)| wanted.contains(v));
        (yes.into_iter().map(|n| n.0).collect(), no.into_iter().map(|n| n.0).collect())
    };
    let list = |names: &[&str]| if names.is_empty() { "none".to_string() } else { names.join(", ") };
    let mut t = String::from("| claim | holds here for | not for |\n|---|---|---|\n");
    for (claim, variant, wanted) in [
        ("mixed precision trains as FP32 does (section 4)", Variant::Mixed, &[Verdict::Same, Verdict::Better][..]),
        ("loss scale 1 loses accuracy or stops (3.2)", Variant::Scale(0), &[Verdict::Worse, Verdict::Stopped]),
        ("FP16 master weights lose accuracy (3.1)", Variant::HalfMasters, &[Verdict::Worse, Verdict::Stopped]),
        ("FP16 accumulation loses accuracy (3.3)", Variant::HalfSums, &[Verdict::Worse, Verdict::Stopped]),
    ] {
        let (yes, no) = of(&variant, wanted);
        let _ = writeln!(t, "| {claim} | {} | {} |", list(&yes), list(&no));
    }
    t.push_str("\n| training loss over FP32's, seed by seed | mixed precision | loss scale 1 | FP16 masters | FP16 accumulation |\n");
    t.push_str("|---|---|---|---|---|\n");
    for e in all {
        let _ = write!(t, "| {} |", e.prepared.network.name);
        for variant in &VARIANTS[1..] {
            let told = ratio(&e.results.rows, variant).map(|s| s.times());
            let _ = write!(t, " {} |", told.unwrap_or("–".into()));
        }
        t.push('\n');
    }
    t.push_str("\n| network | bits of headroom below loss scale 1 |\n|---|---|\n");
    for e in all {
        let (network, rows) = (&e.prepared.network, &e.results.rows);
        if stats::sweep_is_whole(network, rows) {
            let bits =
                stats::headroom(&stats::sweep(network, rows)).map_or("lost at scale 1".into(), |b| b.to_string());
            let _ = writeln!(t, "| {} | {bits} |", network.name);
        }
    }
    t + "\nHeadroom: how far the loss can be scaled *down* before FP32's result is lost, in steps of the sweep. Where there is much of it, \
         scale 1 suffices, and such a network cannot show that scaling is needed; the mechanism itself is tested at its threshold in \
         `host/tests/mechanisms.rs`.\n"
}

fn published() -> String {
    let mut t = String::from("| where | network | FP32 | mixed, loss scale 1 | mixed |\n|---|---|---|---|---|\n");
    for p in bundled().published {
        let unscaled = if p.unscaled.is_empty() { "–" } else { &p.unscaled };
        let _ = writeln!(t, "| {} | {} | {} | {unscaled} | {} |", p.place, p.network, p.fp32, p.mixed);
    }
    t + "\nMicikevicius et al., *Mixed Precision Training*, ICLR 2018 (arXiv 1710.03740). Classification needs no loss scaling there; the \
         language model (figure 5) diverges without and matches FP32 with a scale of 128; memory is roughly halved.\n"
}

fn hardware(all: &[Experiment]) -> String {
    let mut t = String::from(
        "| network | steps equal on rtl and model | cycles a step | array busy | peak SRAM, bytes | the same in FP32 | activations, FP32 to FP16 |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for m in all.iter().filter_map(|e| e.results.machine.first()) {
        let _ = writeln!(
            t,
            "| {} | {} | {} | {:.1} % | {} | {} | {:.2} |",
            m.network,
            m.steps_equal,
            m.cycles,
            100.0 * utilisation(m),
            m.peak,
            m.peak_fp32,
            f64::from(m.activations_fp32) / f64::from(m.activations.max(1)),
        );
    }
    t
}
