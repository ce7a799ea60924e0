//! The firmware's defmt log: strings stay in the firmware's ELF file, the device sends numbers.

use std::path::{Path, PathBuf};

use defmt_decoder::{DecodeError, StreamDecoder, Table};
use systole_isa::frame::FIRMWARE_MARK;
use systole_sim::rtl::Options;

use crate::error::{Error, Result};

/// The ELF file of the firmware whose build has this hash, among those that this workspace has built.
pub fn find_elf(hash: u32) -> Option<PathBuf> {
    let built = Options::workspace().root.join("target/systole/firmware");
    let mark = [&FIRMWARE_MARK[..], &hash.to_le_bytes()].concat();
    let candidates = std::fs::read_dir(built).ok()?.filter_map(|e| Some(e.ok()?.path().join("firmware.elf")));
    candidates.into_iter().find(|path| std::fs::read(path).is_ok_and(|elf| elf.windows(mark.len()).any(|w| w == mark)))
}

/// Decodes chunks of a log into lines.
pub struct LogDecoder {
    // leaked once per program run: the decoder borrows the table
    stream: Box<dyn StreamDecoder + Send + Sync + 'static>,
    next: Option<u8>,
}

impl LogDecoder {
    /// A decoder for the firmware in the ELF file at `path`.
    pub fn open(path: &Path) -> Result<LogDecoder> {
        let elf = std::fs::read(path).map_err(Error::io("read", path))?;
        LogDecoder::from_elf(&elf).map_err(|reason| Error::Malformed {
            path: path.into(),
            format: "firmware ELF",
            reason,
        })
    }

    /// A decoder for the firmware in `elf`.
    pub fn from_elf(elf: &[u8]) -> std::result::Result<LogDecoder, String> {
        let table = Table::parse(elf).map_err(|e| e.to_string())?.ok_or("it holds no defmt strings")?;
        let table: &'static Table = Box::leak(Box::new(table));
        Ok(LogDecoder { stream: table.new_stream_decoder(), next: None })
    }

    /// The lines that a chunk completes. `seq` numbers the chunks, `lost` counts bytes that the device had no room for.
    pub fn push(&mut self, seq: u8, lost: u16, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        if lost > 0 {
            lines.push(format!("({lost} bytes of log lost on the device)"));
        }
        if self.next.is_some_and(|next| next != seq) {
            lines.push("(a piece of the log was lost on the line)".into());
        }
        self.next = Some(seq.wrapping_add(1));
        self.stream.received(bytes);
        loop {
            match self.stream.decode() {
                Ok(frame) => {
                    let level = frame.level().map_or("", |l| l.as_str()).to_uppercase();
                    lines.push(format!("{level:5} {}", frame.display_message()));
                }
                Err(DecodeError::UnexpectedEof) => return lines,
                Err(DecodeError::Malformed) => lines.push("(a damaged log entry)".into()),
            }
        }
    }
}
