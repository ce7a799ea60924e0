//! Verilator as a linter.

use crate::{Error, ModelSpec, Result, Verilator, store};

/// How bad a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Worth a look.
    Warning,
    /// Not Verilog.
    Error,
}

/// One complaint of the linter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How bad it is.
    pub severity: Severity,
    /// The rule, as a waiver names it (`WIDTHEXPAND`); empty for plain errors.
    pub code: String,
    /// The file.
    pub file: String,
    /// The line, from 1; 0 if the message has no place.
    pub line: u32,
    /// The column, from 1; 0 if the message has none.
    pub column: u32,
    /// What is wrong, with the excerpt that Verilator prints.
    pub text: String,
}

impl Verilator {
    /// Lints a design with every warning on, less `spec.allow` and the rules in `waivers` (the text of a Verilator
    /// configuration file, `lint_off -rule … -match …`; may be empty). The text's file name is `<top>.v`.
    pub fn lint(&self, spec: &ModelSpec, waivers: &str) -> Result<Vec<Message>> {
        let parent = self.options.models();
        let folder = parent.join(format!(".lint-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let result = self.lint_in(&folder, spec, waivers);
        store::remove(&folder)?;
        result
    }

    fn lint_in(&self, folder: &std::path::Path, spec: &ModelSpec, waivers: &str) -> Result<Vec<Message>> {
        let source = format!("{}.v", spec.top);
        for (name, text) in
            [(source.as_str(), spec.verilog.as_str()), ("waivers.vlt", &format!("`verilator_config\n{waivers}"))]
        {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(Error::io("write", path))?;
        }
        let mut command = self.command(spec, folder)?;
        command.args(["--lint-only", "-Wall", "-Wno-fatal"]).args(&spec.verilator_args).args(["waivers.vlt", &source]);
        let done = self.run(command, spec)?;
        let messages = parse(&done.stderr);
        if !done.status.success() && messages.is_empty() {
            return Err(Error::Verilog { top: spec.top.clone(), source_file: source.into(), messages: done.output() });
        }
        Ok(messages)
    }
}

/// `%Warning-CODE: file:line:column: text`, with continuation lines that begin with a space.
fn parse(output: &str) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in output.lines() {
        let (severity, rest) = match (line.strip_prefix("%Warning"), line.strip_prefix("%Error")) {
            (Some(rest), _) => (Severity::Warning, rest),
            (_, Some(rest)) => (Severity::Error, rest),
            _ => {
                if let Some(last) = messages.last_mut().filter(|_| line.starts_with(' ')) {
                    last.text += "\n";
                    last.text += line;
                }
                continue;
            }
        };
        let Some((code, rest)) = rest.split_once(": ") else {
            continue;
        };
        if rest.starts_with("Exiting due to") {
            continue;
        }
        let code = code.trim_start_matches('-').to_string();
        let mut parts = rest.splitn(4, ':');
        let place =
            (|| Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?)))();
        let (file, line, column, text) = place.unwrap_or(("", 0, 0, rest));
        messages.push(Message { severity, code, file: file.into(), line, column, text: text.trim().into() });
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart() {
        let output = "%Warning-WIDTHEXPAND: top.v:2:57: Operator ADD expects 32 bits\n    2 |  always\n\
                      %Error: top.v:9:1: syntax error\n%Error: Exiting due to 2 error(s)\n";
        let messages = parse(output);
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].code.as_str(), messages[0].line, messages[0].column), ("WIDTHEXPAND", 2, 57));
        assert!(messages[0].text.ends_with("always"));
        assert_eq!((messages[1].severity, messages[1].text.as_str()), (Severity::Error, "syntax error"));
    }
}
