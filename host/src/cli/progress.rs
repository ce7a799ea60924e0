//! Progress on stderr: bars on a terminal, a line per epoch elsewhere. Also the one place that listens to Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::{Epoch, Progress, Step};

/// A flag that Ctrl-C sets; a second one ends the program at once.
pub(super) fn stop_at_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    stop
}

/// Shows progress.
pub(super) struct Bars {
    bar: ProgressBar,
    shown: bool,
    steps: u64,
    epochs: u32,
    stop: Arc<AtomicBool>,
}

impl Bars {
    /// Starts to listen to Ctrl-C.
    pub(super) fn new(non_interactive: bool) -> Bars {
        let stop = stop_at_ctrl_c();
        let shown = !non_interactive && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            None,
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        Bars { bar, shown, steps: 0, epochs: 0, stop }
    }

    fn say(&self, text: String) {
        if self.shown { self.bar.suspend(|| eprintln!("{text}")) } else { eprintln!("{text}") }
    }
}

impl Progress for Bars {
    fn phase(&mut self, text: &str) {
        self.say(format!("{text} …"));
    }

    fn start(&mut self, steps: u64, epochs: u32) {
        (self.steps, self.epochs) = (steps, epochs);
        self.bar.set_length(steps * u64::from(epochs));
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} [{elapsed}<{eta}]");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }

    fn step(&mut self, s: &Step) {
        self.bar.set_position(s.step);
        let phase = s.phase.map_or(String::new(), |p| format!("{p} "));
        if self.shown {
            let cycles = s.cycles.map_or(String::new(), |c| format!(" cycles {c}"));
            let right = 100.0 * f64::from(s.correct) / s.rows as f64;
            let right = if s.phase.is_some() { String::new() } else { format!(" acc {right:.0} %") };
            self.bar.set_message(format!(
                "{phase}loss {}{right} scale {} skips {}{cycles}",
                super::loss(s.loss.into()),
                s.loss_scale,
                s.skipped
            ));
        }
        if s.outcome != "updated" {
            let what = s.phase.map_or("nothing".to_string(), |p| format!("nothing of the {p}"));
            self.say(format!(
                "step {}: {} at loss scale {}: {what} was updated",
                s.step,
                s.outcome.replace('_', " "),
                s.loss_scale
            ));
        }
    }

    fn epoch(&mut self, phases: &[Epoch]) {
        let Some(first) = phases.first() else { return };
        let percent = |name: &str, v: Option<f64>| v.map_or(String::new(), |v| format!("  {name} {:.2} %", 100.0 * v));
        let of = |e: &Epoch| {
            let name = e.phase.map_or("  ".to_string(), |p| format!("  {p} "));
            let accuracies = percent("train", e.train_accuracy) + &percent("test", e.test_accuracy);
            let loss = super::loss(e.train_loss);
            format!("{name}loss {loss}{accuracies}  scale {}  skips {}", e.loss_scale, e.skipped)
        };
        let all: String = phases.iter().map(of).collect();
        let cycles: Option<u64> = phases.iter().map(|e| e.cycles).sum();
        let busy = match (cycles, first.array_utilization) {
            (Some(c), Some(u)) => format!("  cycles {c}  utilisation {:.1} %", 100.0 * u),
            _ => String::new(),
        };
        self.say(format!("epoch {:>3}/{}{all}{busy}  {:.1} s", first.epoch, self.epochs, first.seconds));
    }

    fn line(&mut self, text: &str) {
        self.say(text.to_string());
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
