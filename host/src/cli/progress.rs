//! Progress on stderr: bars on a terminal, a line per epoch elsewhere. Also the one place that listens to Ctrl-C.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::{Epoch, Progress, Step};

/// Shows progress.
pub(super) struct Bars {
    bar: ProgressBar,
    shown: bool,
    steps: u64,
    epochs: u32,
    stop: Arc<AtomicBool>,
}

impl Bars {
    /// Starts to listen to Ctrl-C; a second one ends the program at once.
    pub(super) fn new(non_interactive: bool) -> Bars {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
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
        if self.shown {
            let cycles = s.cycles.map_or(String::new(), |c| format!(" cycles {c}"));
            let right = 100.0 * f64::from(s.correct) / s.rows as f64;
            self.bar.set_message(format!(
                "loss {:.4} acc {right:.0} % scale {} skips {}{cycles}",
                s.loss, s.loss_scale, s.skipped
            ));
        }
        if s.outcome != "updated" {
            self.say(format!(
                "step {}: {} at loss scale {}: nothing was updated",
                s.step,
                s.outcome.replace('_', " "),
                s.loss_scale
            ));
        }
    }

    fn epoch(&mut self, e: &Epoch) {
        let busy = match (e.cycles, e.array_utilization) {
            (Some(c), Some(u)) => format!("  cycles {c}  utilisation {:.1} %", 100.0 * u),
            _ => String::new(),
        };
        self.say(format!(
            "epoch {:>3}/{}  loss {:.4}  train {:.2} %  test {:.2} %  scale {}  skips {}{busy}  {:.1} s",
            e.epoch,
            self.epochs,
            e.train_loss,
            100.0 * e.train_accuracy,
            100.0 * e.test_accuracy,
            e.loss_scale,
            e.skipped,
            e.seconds
        ));
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
