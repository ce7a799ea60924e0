//! A network's page: what its tables say, in words and numbers.

use std::fmt::Write as _;
use std::path::Path;

use super::experiment::{Measure, Variant};
use super::stats::{self, Spread};
use super::table::{Machine, Results, Row};
use super::{Experiment, gan, plot};
use crate::error::Result;
use crate::exponents::FP16_LEAST;
use crate::npy::write_atomically;

/// Writes `<name>.md` and its pictures.
pub(super) fn write(out: &Path, e: &Experiment) -> Result<()> {
    std::fs::create_dir_all(out).map_err(crate::error::Error::io("create", out))?;
    let (n, r) = (&e.prepared.network, &e.results);
    let pictures = plot::write(out, n, r)?;
    let picture = |what: &str| {
        let name = format!("{}-{what}.svg", n.name);
        pictures.iter().find(|p| p.0 == name).map_or(String::new(), |p| format!("![{}]({name})\n\n", p.1))
    };
    let mut text = format!(
        "# {}\n\nCounterpart of {}. Made by `systole reproduce {}` from [{name}.csv]({name}.csv), where each row has the command of its \
         cell; do not edit.\n\n`models/{name}.toml` with `{}`: {} parameters, {} training and {} test rows, {} steps. FP32 runs \
         start from the same weights and see the same batches as those in mixed precision.\n\n",
        n.title,
        n.paper,
        n.name,
        n.flags,
        e.prepared.model.graph.parameters.iter().map(|p| p.len()).sum::<usize>(),
        e.prepared.data.train.len(),
        e.prepared.data.test.len(),
        e.cells[0].steps,
        name = n.name,
    );
    let missing = e.cells.iter().filter(|c| !r.has(&c.key)).count() + e.check.iter().filter(|c| !r.has(&c.key)).count();
    if missing > 0 {
        let _ = write!(text, "**Cells of the plan that have not been run yet: {missing}.**\n\n");
    }
    let _ = write!(text, "## Precisions\n\n{}\n{}\n{}", table(e), findings(e), picture("loss"));
    if !n.sweep.is_empty() {
        let _ = write!(text, "## Loss scale\n\n{}{}", sweep(e), picture("scales"));
    }
    let samples: Vec<String> = pictures
        .iter()
        .filter(|p| p.0.contains("-samples-"))
        .map(|(name, text)| format!("{text}:\n\n![{text}]({name})\n\n"))
        .collect();
    if !samples.is_empty() {
        let _ = write!(
            text,
            "## Samples\n\nThe first of the images that are judged, of the same noise each time ([{name}-samples.csv]({name}-samples.csv)).\n\n{}",
            samples.concat(),
            name = n.name
        );
    }
    let histograms: String = ["weights", "weight-gradients", "activation-gradients"].into_iter().map(picture).collect();
    let _ = write!(text, "## Exponents\n\n{}{histograms}", exponents(r));
    if let Some(m) = r.machine.first() {
        let _ = write!(text, "## Hardware\n\n{}", hardware(m));
    }
    if !n.search.is_empty() {
        let _ = write!(text, "## Settings\n\n{}", search(e));
    }
    write_atomically(&out.join(format!("{}.md", n.name)), format!("{}\n", text.trim_end()).as_bytes())
}

/// Mean and deviation, in the measure's digits.
pub(super) fn cell(measure: Measure, s: Option<Spread>) -> String {
    match (measure, s) {
        (_, None) => "–".into(),
        (Measure::Accuracy | Measure::Found, Some(s)) => format!("{:.2} ± {:.2} %", s.mean, s.deviation),
        (Measure::Loss, Some(s)) if s.mean.abs() < 0.01 => format!("{:.3e} ± {:.1e}", s.mean, s.deviation),
        (Measure::Loss, Some(s)) => format!("{:.4} ± {:.4}", s.mean, s.deviation),
        (Measure::Score, Some(s)) => format!("{:.2} ± {:.2}", s.mean, s.deviation),
    }
}

/// What a variant comes to in the network's measure.
pub(super) fn spread(e: &Experiment, variant: &Variant) -> Option<Spread> {
    let measure = e.prepared.network.measure;
    stats::over(&stats::of(&e.results.rows, variant), |r| stats::value(measure, r))
}

/// What a network is judged by, as a table's head.
fn head(of: Measure) -> &'static str {
    match of {
        Measure::Accuracy => "test accuracy",
        Measure::Loss => "test loss, nats",
        Measure::Score => "inception score",
        Measure::Found => "digits found",
    }
}

fn table(e: &Experiment) -> String {
    let (n, rows) = (&e.prepared.network, &e.results.rows);
    let measure = head(n.measure);
    let mut t = format!(
        "| | seeds | {measure} | difference to FP32, seed by seed | training loss | the same over FP32's, seed by seed | test loss | steps skipped | stopped |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for variant in n.compared() {
        let of = stats::of(rows, &variant);
        if of.is_empty() {
            continue;
        }
        let difference = match variant {
            Variant::Fp32 => "–".into(),
            _ => cell(n.measure, Spread::of(stats::paired(rows, &variant, |r| stats::value(n.measure, r)))),
        };
        let ratio = match (&variant, ratio(rows, &variant)) {
            (Variant::Fp32, _) | (_, None) => "–".into(),
            (_, Some(s)) => s.times(),
        };
        let skipped: u64 = of.iter().map(|r| r.skipped).sum();
        let stopped = of.iter().filter(|r| !r.finished()).count();
        let _ = writeln!(
            t,
            "| {} | {} | {} | {difference} | {} | {ratio} | {} | {:.1} | {stopped} |",
            variant.title(),
            of.len(),
            cell(n.measure, spread(e, &variant)),
            cell(Measure::Loss, stats::over(&of, |r| r.train_loss)),
            cell(Measure::Loss, stats::over(&of, |r| r.test_loss)),
            skipped as f64 / of.len() as f64,
        );
    }
    t + "\nMean ± standard deviation over the seeds; steps skipped per run.\n"
}

/// Training loss over that of FP32, seed by seed.
pub(super) fn ratio(rows: &[Row], variant: &Variant) -> Option<Spread> {
    let logarithms = stats::paired(rows, variant, |r| r.train_loss.map(f64::ln));
    Spread::of(logarithms.into_iter().map(f64::exp))
}

/// How a variant stands against FP32, over all seeds of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The means differ by at most one standard deviation of FP32.
    Same,
    /// The mean is worse by more.
    Worse,
    /// The mean is better by more.
    Better,
    /// A run stopped.
    Stopped,
}

/// The verdict on a variant; `None` until all its seeds and FP32's have been run.
pub(super) fn verdict(e: &Experiment, variant: &Variant) -> Option<Verdict> {
    // some of the seeds say nothing yet
    let complete = |v: &Variant| stats::has(&e.results.rows, v, e.prepared.network.seeds);
    if !complete(&Variant::Fp32) || !complete(variant) {
        return None;
    }
    if stats::of(&e.results.rows, variant).iter().any(|r| !r.finished()) {
        return Some(Verdict::Stopped);
    }
    let (fp32, it) = (spread(e, &Variant::Fp32)?, spread(e, variant)?);
    let better = match e.prepared.network.measure {
        Measure::Accuracy | Measure::Score | Measure::Found => it.mean - fp32.mean,
        Measure::Loss => fp32.mean - it.mean,
    };
    Some(match better {
        b if b.abs() <= fp32.deviation => Verdict::Same,
        b if b > 0.0 => Verdict::Better,
        _ => Verdict::Worse,
    })
}

fn findings(e: &Experiment) -> String {
    let mut t = String::new();
    for variant in e.prepared.network.compared().into_iter().skip(1) {
        let says = match verdict(e, &variant) {
            None => continue,
            Some(Verdict::Same) => "as FP32: the means differ by at most one standard deviation of FP32",
            Some(Verdict::Worse) => "**worse than FP32** by more than one standard deviation",
            Some(Verdict::Better) => "better than FP32 by more than one standard deviation",
            Some(Verdict::Stopped) => "**training stopped** in some runs",
        };
        let higher = match ratio(&e.results.rows, &variant) {
            Some(s) if s.n > 2 && s.mean - 1.0 > 2.0 * s.deviation => {
                format!(" Its training loss is higher seed by seed: {} times FP32's.", s.times())
            }
            _ => String::new(),
        };
        let _ = writeln!(t, "- {}: {says}.{higher}", variant.title());
    }
    if e.prepared.network.measure == Measure::Score {
        let data = gan::score_of_data(&e.prepared.data).map_or("–".into(), |s| format!("{s:.2}"));
        let _ = writeln!(
            t,
            "- The test rows themselves score {data}. Images are made in FP32 of the final master weights and judged by `lenet-digits`, trained \
             in FP32; the losses of this table are the discriminator's."
        );
    }
    if e.prepared.network.measure == Measure::Found {
        t.push_str(
            "- A digit is found by a detection of its class whose box overlaps its own by at least half (IoU 0.5); a scene has two, and the \
             two surest detections that are apart from each other count. Weights are those of the end, evaluated in FP32.\n",
        );
    }
    let lost = e.results.rows.iter().find_map(|r| Some((r.lost_updates?, r.lost_updates_late?)));
    if let Some((all, late)) = lost {
        let _ = writeln!(
            t,
            "- Of the updates of single weights in an FP32 run, {:.1} % would leave an FP16 weight as it is ({:.1} % in the last \
             eighth of the steps).",
            100.0 * all,
            100.0 * late
        );
    }
    t
}

fn sweep(e: &Experiment) -> String {
    let all = stats::sweep(&e.prepared.network, &e.results.rows);
    let judged = if e.prepared.network.measure == Measure::Score { "score, times −1" } else { "test loss" };
    let mut t = format!(
        "| static scale | seeds | training loss | {judged} | stopped | FP32's result kept |\n|---|---|---|---|---|---|\n",
    );
    for s in &all {
        let _ = writeln!(
            t,
            "| 2^{} | {} | {} | {} | {} | {} |",
            s.exponent,
            s.stopped + s.judged.map_or(0, |v| v.n),
            cell(Measure::Loss, s.train_loss),
            cell(Measure::Loss, s.judged),
            s.stopped,
            if s.kept { "yes" } else { "no" },
        );
    }
    t + &format!(
        "\nKept: no run stopped, and the mean {judged} is at most two standard deviations of FP32 above FP32's on the same seeds. \
         {}\n\n",
        match stats::headroom(&all) {
            _ if !stats::sweep_is_whole(&e.prepared.network, &e.results.rows) => {
                "The headroom is told when all of these cells have been run.".into()
            }
            Some(bits) => format!("**Headroom below scale 1: {bits} bits**, in steps of the table."),
            None => "**At scale 1 FP32's result is lost already.**".into(),
        }
    )
}

fn exponents(r: &Results) -> String {
    let mut t = String::from(
        "| values, unscaled | count | zero | below 2^-24 | 2^-24 to 2^-14, subnormal in FP16 | below 2^-40, lost at scale 2^16 too |\n\
         |---|---|---|---|---|---|\n",
    );
    for (kind, name) in [
        ("weights", "weights"),
        ("weight-gradients", "weight gradients"),
        ("activation-gradients", "activation gradients"),
    ] {
        let e = plot::exponents(r, kind);
        let share = |n: u64| 100.0 * e.share(n);
        let _ = writeln!(
            t,
            "| {name} | {} | {:.2} % | {:.3} % | {:.2} % | {:.3} % |",
            e.total(),
            share(e.zeros),
            share(e.below_fp16()),
            share(e.subnormal()),
            share(e.between(i32::MIN, FP16_LEAST - 16)),
        );
    }
    t + "\nCounted in steps spread evenly over the FP32 run of seed 0, as figures 2b and 3 of the paper are of FP32 runs; gradients inside \
         recurrent layers are not seen.\n\n"
}

/// Memory and cycles.
fn hardware(m: &Machine) -> String {
    let mut t = format!(
        "On `rtl` ({} × {} lanes, design {}) and on the model, {} training steps left every bit of memory equal: {} elements compared \
         over {} segments (`{}`). A step of {} rows takes {} cycles for {} multiply-accumulates, {:.1} % of the array's peak.\n\n\
         | bytes | mixed precision | the same in FP32 | ratio |\n|---|---|---|---|\n",
        m.lanes,
        m.lanes,
        m.design,
        m.steps_equal,
        m.elements,
        m.segments,
        m.command,
        m.batch,
        m.cycles,
        m.macs,
        100.0 * utilisation(m),
    );
    for (class, mixed, fp32) in [
        ("weights", m.weights, m.weights_fp32),
        ("moments", m.moments, m.moments_fp32),
        ("activations", m.activations, m.activations_fp32),
        ("gradients", m.gradients, m.gradients_fp32),
        ("workspace", m.workspace, m.workspace_fp32),
        ("peak of what is alive together", m.peak, m.peak_fp32),
    ] {
        let _ = writeln!(t, "| {class} | {mixed} | {fp32} | {:.2} |", f64::from(fp32) / f64::from(mixed.max(1)));
    }
    t + "\nClasses are sums over all tensors, and tensors that are not alive together share memory: the peak is what has to fit.\n\n"
}

/// Multiply-accumulates over what the array could do in the same cycles.
pub(super) fn utilisation(m: &Machine) -> f64 {
    m.macs as f64 / (m.cycles as f64 * f64::from(m.lanes).powi(2))
}

fn search(e: &Experiment) -> String {
    let n = &e.prepared.network;
    let measure = if n.measure == Measure::Loss { String::new() } else { format!(" {} |", head(n.measure)) };
    let rule = if measure.is_empty() { "" } else { "---|" };
    let mut t = format!(
        "Searched in FP32 on seed {}, which no other cell uses, and then held for all cells:\n\n| flags |{measure} test loss |\n|---|{rule}---|\n",
        super::experiment::SEARCH_SEED
    );
    for flags in &n.search {
        for r in stats::of(&e.results.rows, &Variant::Search(flags.clone())) {
            let value = match (n.measure, stats::value(n.measure, r)) {
                (Measure::Loss, _) => String::new(),
                (_, None) => " – |".into(),
                (Measure::Score, Some(v)) => format!(" {v:.2} |"),
                (_, Some(v)) => format!(" {v:.2} % |"),
            };
            let loss = r.test_loss.map_or("–".into(), crate::cli::loss);
            let _ = writeln!(t, "| `{flags}` |{value} {loss} |");
        }
    }
    t
}
