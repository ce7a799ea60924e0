//! `report.html`: one page, no script, nothing fetched.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::histogram::words;
use super::read::RunData;

/// Skipped steps that are listed.
const SKIPS: usize = 40;

/// The configuration's entry that holds the model file's text.
const MODEL_FILE: &str = "model_file";

const STYLE: &str = include_str!("report.css");

/// The page of a run.
pub(super) fn page(run: &RunData, pictures: &[(&'static str, String)]) -> String {
    let picture = |name: &str| pictures.iter().find(|p| p.0 == name).map(|p| PreEscaped(p.1.as_str()));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Systole: " (run.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "Systole training run" }
                    h1 { (run.name) }
                    p.facts { (subtitle(run)) }
                }
                main {
                    (tiles(run))
                    @if let Some(svg) = &run.samples {
                        section {
                            h2 { "Generated images" }
                            figure.samples { (PreEscaped(svg)) }
                        }
                    }
                    section {
                        h2 { "Curves" }
                        div.grid {
                            @for name in ["loss", "accuracy", "loss_scale", "gradient_norm"] {
                                @if let Some(svg) = picture(name) { figure { (svg) } }
                            }
                        }
                    }
                    @if picture("weights").is_some() || picture("gradients").is_some() {
                        section {
                            h2 { "Exponents" }
                            div.grid {
                                @if let Some(svg) = picture("gradients") {
                                    figure {
                                        (svg)
                                        @if let Some((e, _)) = run.last_gradient() { figcaption { (words(e)) "." } }
                                    }
                                }
                                @if let Some(svg) = picture("weights") {
                                    figure { (svg) figcaption { (words(&run.all_weights())) "." } }
                                }
                            }
                        }
                    }
                    (cycles(run))
                    (skips(run))
                    section {
                        h2 { "Configuration" }
                        dl.config {
                            @for (key, value) in run.config.iter().filter(|(key, _)| *key != MODEL_FILE) {
                                div { dt { (key.replace('_', " ")) } dd { (plain(value)) } }
                            }
                        }
                    }
                    @if let Some(Value::String(text)) = run.config.get(MODEL_FILE) {
                        section {
                            h2 { "Model file" }
                            pre.file { (text) }
                        }
                    }
                }
                footer { "Written by systole " (env!("CARGO_PKG_VERSION")) ". Metrics, checkpoint and the pictures by themselves lie beside this page." }
            }
        }
    };
    page.into_string()
}

fn plain(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => "–".into(),
        other => other.to_string(),
    }
}

fn subtitle(run: &RunData) -> String {
    let get = |key: &str| run.config.get(key).map_or("–".into(), plain);
    format!("{} on {}, device {}, seed {}", get("model"), get("data"), get("device"), get("seed"))
}

/// The numbers that matter, large.
fn tiles(run: &RunData) -> Markup {
    let number = |key: &str| run.result.get(key).and_then(Value::as_f64);
    let last = run.epochs.last();
    let accuracy = number("test_accuracy").or(last.and_then(|e| e.test.1));
    let train = number("train_accuracy").or(last.and_then(|e| e.train.1));
    let skipped = run.skips().count();
    let percent = |v: f64| format!("{:.2} %", 100.0 * v);
    let mut tiles: Vec<(String, String)> = Vec::new();
    let mut tile = |name: &str, value: Option<String>| tiles.extend(value.map(|v| (name.to_string(), v)));
    tile("test accuracy", accuracy.map(percent));
    tile("training accuracy", train.map(percent));
    let phases = run.phases();
    for p in &phases {
        let of = |what: &str| p.name.map_or(what.to_string(), |n| format!("{n}: {what}"));
        let loss = number("final_loss").or(p.epochs.last().and_then(|e| e.train.0));
        let scale = number("loss_scale").or(p.steps.last().map(|s| s.loss_scale));
        tile(&of("final loss"), loss.map(|v| format!("{v:.4}")));
        tile(&of("loss scale"), scale.map(|v| v.to_string()));
    }
    tile("epochs", last.map(|e| e.epoch.to_string()));
    tile("steps", run.steps.last().map(|s| thousands(s.step)));
    tile("skipped", Some(thousands(skipped as u64)));
    let steps = run.steps.len() / phases.len().max(1);
    tile("cycles a step", run.cycle_split().map(|(_, n)| thousands(n / steps.max(1) as u64)));
    tile("array utilisation", number("array_utilization").map(percent));
    tile("simulated clock", number("sim_khz").map(|v| format!("{v:.0} kHz")));
    html! {
        section.tiles {
            @for (name, value) in &tiles { div { span.value { (value) } span.name { (name) } } }
        }
        @if run.result.is_empty() { p.note { "This run has not ended, or ended early: there is no result.json." } }
        @if let Some(hash) = run.result.get("weights_sha256").and_then(Value::as_str) {
            p.hash { "weights sha256 " code { (hash) } }
        }
    }
}

/// What each engine did with the cycles.
fn cycles(run: &RunData) -> Markup {
    let Some((s, total)) = run.cycle_split() else {
        return html! {
            section {
                h2 { "Cycles" }
                p.note { "This device has no clock: the model computes the bits, not the time. The same run on rtl or a board has this section." }
            }
        };
    };
    let bar = |name: &str, busy: u64, working: u64, wait: u64, memory: u64, first: &str, rest: &str| {
        // a stream goes on while the next instruction waits: each cycle counts once, under what comes first
        let working = working.min(busy);
        let wait = wait.min(busy - working);
        let memory = memory.min(busy - working - wait);
        let other = busy - working - wait - memory;
        let parts = [
            ("a", first, working),
            ("b", rest, other),
            ("c", "waits for a result", wait),
            ("d", "memory port taken", memory),
            ("e", "nothing to do", s.segments.saturating_sub(busy)),
            ("f", "firmware and link", total.saturating_sub(s.segments)),
        ];
        // an update that goes on behind its step's reply belongs to the segments, and to no step's cycles
        let share = |n: u64| 100.0 * n as f64 / total.max(s.segments) as f64;
        html! {
            h3 { (name) }
            div.bar role="img" aria-label=(format!("{name}: share of cycles by activity")) {
                @for (class, _, n) in parts { @if n > 0 { span.(class) style=(format!("width:{:.3}%", share(n))) {} } }
            }
            ul.legend {
                @for (class, label, n) in parts { @if n > 0 { li { i.(class) {} (label) " " b { (format!("{:.1} %", share(n))) } } } }
            }
        }
    };
    let vector_working = s.vector_busy.saturating_sub(s.vector_wait + s.vector_memory);
    html! {
        section {
            h2 { "Cycles" }
            p.note { "Of the " (thousands(total)) " clock cycles of all steps. The engines work side by side, so each has a bar of its own." }
            (bar("Matrix engine", s.matrix_busy, s.matrix_streaming, s.matrix_wait, s.matrix_memory, "array streaming", "fill, drain, weights"))
            (bar("Vector engine", s.vector_busy, vector_working, s.vector_wait, s.vector_memory, "working", "other"))
        }
    }
}

fn skips(run: &RunData) -> Markup {
    let all: Vec<_> = run.skips().collect();
    html! {
        section {
            h2 { "Skipped steps" }
            @if all.is_empty() {
                p.note { "None: no gradient overflowed FP16." }
            } @else {
                table {
                    tr { th { "step" } th { "epoch" } th { "loss scale" } th { "why" } }
                    @for s in all.iter().take(SKIPS) {
                        tr { td { (s.step) } td { (s.epoch) } td { (s.loss_scale) } td { (s.phase.as_deref().unwrap_or("")) " " (s.outcome.replace('_', " ")) } }
                    }
                }
                @if all.len() > SKIPS { p.note { "and " (all.len() - SKIPS) " more: see metrics.csv" } }
            }
        }
    }
}

/// With a thin space between groups of three digits.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|c| std::str::from_utf8(c).ok()).collect();
    groups.join("\u{2009}")
}
