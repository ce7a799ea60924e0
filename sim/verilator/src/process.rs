//! Child processes that always end: closed standard input, captured output, a deadline.

use crate::{Error, Result};
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a child process left behind.
pub(crate) struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Both streams, standard error first: diagnostics lead.
    pub fn output(&self) -> String {
        let joined = format!("{}\n{}", self.stderr.trim_end(), self.stdout.trim_end());
        joined.trim().to_string()
    }
}

/// A command with what is needed to report on it.
pub(crate) struct Job<'a> {
    pub command: Command,
    /// Completes "… needed to {purpose}".
    pub purpose: &'a str,
    pub limit: Duration,
    /// What to do if the program is missing or fails.
    pub help: &'a str,
}

impl Job<'_> {
    fn program(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }

    /// That it cannot be started, or not be waited for.
    pub fn missing(&self, source: std::io::Error) -> Error {
        Error::MissingProgram { program: self.program(), purpose: self.purpose.into(), source, help: self.help.into() }
    }

    /// Runs to the end or to the deadline; an exit status other than 0 is not an error here.
    pub fn finish(mut self) -> Result<Finished> {
        let program = self.program();
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().map_err(|e| self.missing(e))?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if begun.elapsed() > self.limit => break None,
                Ok(None) => std::thread::sleep(pause),
                Err(source) => return Err(self.missing(source)),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // A grandchild may hold the pipes open after the child is gone: do not wait for it for ever.
        let grace = Duration::from_secs(2);
        let text = |stream: mpsc::Receiver<Vec<u8>>| {
            String::from_utf8_lossy(&stream.recv_timeout(grace).unwrap_or_default()).into_owned()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        match status {
            Some(status) => Ok(Finished { status, stdout, stderr }),
            None => Err(Error::TimedOut {
                program,
                purpose: self.purpose.into(),
                limit: self.limit,
                output: tail(&format!("{stderr}{stdout}"), 20),
            }),
        }
    }

    /// Runs to the end; an exit status other than 0 is an error.
    pub fn succeed(self) -> Result<Finished> {
        let program = self.program();
        let (purpose, help) = (self.purpose.to_string(), self.help.to_string());
        let done = self.finish()?;
        if done.status.success() {
            return Ok(done);
        }
        Err(Error::ProgramFailed {
            program,
            purpose,
            status: done.status.to_string(),
            output: tail(&done.output(), 40),
            help,
        })
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    receive
}

/// The last `lines` lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The first `lines` lines of a text, for compilers, whose first message matters most.
pub(crate) fn head(text: &str, lines: usize) -> String {
    let mut kept: Vec<&str> = text.lines().take(lines + 1).collect();
    if kept.len() > lines {
        kept[lines] = "…";
    }
    kept.join("\n")
}
