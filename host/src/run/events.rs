//! TensorBoard's event files: records of a length, a payload and masked CRC-32C sums, the payload an `Event` of
//! `tensorflow/core/util/event.proto`. Only what scalars need is here.
//!
//! `tensorboard --logdir runs` finds them, one in each run's folder.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::checkpoint::Position;
use crate::error::{Error, Result};

/// What tags of scalars begin with that are recorded once an epoch.
pub const EPOCH: &str = "epoch/";
/// What event files' names begin with.
const PREFIX: &str = "events.out.tfevents.";

/// `tensorflow.Event`.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value`, of the kind `simple_value`.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An open event file.
pub struct Events {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Events {
    /// Starts a file in `folder`.
    pub fn create(folder: &Path) -> Result<Events> {
        let path = folder.join(format!("{PREFIX}{}.systole", now() as u64));
        let file = BufWriter::new(File::create(&path).map_err(Error::io("create", &path))?);
        let mut events = Events { file, path };
        events.put(&Event { wall_time: now(), file_version: Some("brain.Event:2".into()), ..Event::default() })?;
        Ok(events)
    }

    /// Goes on with the file in `folder`, cut back to where the checkpoint is; or starts one.
    pub fn reopen(folder: &Path, at: &Position) -> Result<Events> {
        let Some(path) = find(folder)? else { return Events::create(folder) };
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let steps = at.steps as i64;
        let keep = |e: &Event| {
            // an epoch is recorded at its last step, and the checkpoint may lie between the two
            let whole = at.step_in_epoch == 0 || !e.summary.iter().flat_map(|s| &s.value).any(|v| is_epoch(&v.tag));
            e.step < steps || (e.step == steps && whole)
        };
        let mut length = 0;
        while let Some(payload) = record(&bytes[length..]) {
            let Ok(event) = Event::decode(payload) else { break };
            if !keep(&event) {
                break;
            }
            length += 16 + payload.len();
        }
        if length == 0 {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            return Events::create(folder);
        }
        let file = File::options().append(true).open(&path).map_err(Error::io("write", &path))?;
        file.set_len(length as u64).map_err(Error::io("write", &path))?;
        Ok(Events { file: BufWriter::new(file), path })
    }

    /// Records scalars of a step. Those that are none are left out.
    pub fn scalars(&mut self, step: u64, values: &[(impl AsRef<str>, Option<f64>)]) -> Result<()> {
        let value = |(tag, v): &(_, Option<f64>)| {
            let tag: &str = AsRef::as_ref(tag);
            v.map(|v| Value { tag: tag.into(), simple_value: Some(v as f32) })
        };
        let summary = Summary { value: values.iter().filter_map(value).collect() };
        self.put(&Event { wall_time: now(), step: step as i64, summary: Some(summary), ..Event::default() })
    }

    /// Makes sure that everything so far is in the file.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(Error::io("write", &self.path))
    }

    fn put(&mut self, event: &Event) -> Result<()> {
        let payload = event.encode_to_vec();
        let length = (payload.len() as u64).to_le_bytes();
        let mut out = length.to_vec();
        out.extend(masked(&length).to_le_bytes());
        out.extend(&payload);
        out.extend(masked(&payload).to_le_bytes());
        self.file.write_all(&out).map_err(Error::io("write", &self.path))
    }
}

/// Whether a scalar is recorded once an epoch.
fn is_epoch(tag: &str) -> bool {
    tag.starts_with(EPOCH)
}

/// The newest event file of a folder.
fn find(folder: &Path) -> Result<Option<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let named = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX));
    Ok(named.map(|e| e.path()).max())
}

/// Payload of the record that `bytes` begin with, if it is whole.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let length = bytes.get(..8)?;
    let n = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let payload = bytes.get(12..12usize.checked_add(n)?)?;
    (word(8)? == masked(length) && word(12 + n)? == masked(payload)).then_some(payload)
}

/// CRC-32C, rotated and offset as TFRecord wants it.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32C bit by bit, from its polynomial: 0x82f63b78 with the least bit first.
    fn crc(bytes: &[u8]) -> u32 {
        let bit = |c: u32, _| if c & 1 == 1 { c >> 1 ^ 0x82f6_3b78 } else { c >> 1 };
        !bytes.iter().fold(!0, |c, &b| (0..8).fold(c ^ u32::from(b), bit))
    }

    /// Takes one field of a protocol-buffers message: its number, and its bytes or the integer.
    fn field<'a>(bytes: &mut &'a [u8]) -> (u64, &'a [u8], u64) {
        let varint = |bytes: &mut &'a [u8]| {
            let n = bytes.iter().position(|b| b & 0x80 == 0).unwrap() + 1;
            let (now, rest) = bytes.split_at(n);
            *bytes = rest;
            now.iter().rev().fold(0u64, |v, &b| v << 7 | u64::from(b & 0x7f))
        };
        let key = varint(bytes);
        let n = match key & 7 {
            0 => return (key >> 3, &[], varint(bytes)),
            1 => 8,
            2 => varint(bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (now, rest) = bytes.split_at(n);
        *bytes = rest;
        (key >> 3, now, 0)
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8], u64)> {
        std::iter::from_fn(|| (!bytes.is_empty()).then(|| field(&mut bytes))).collect()
    }

    /// Step, tag and value of every scalar, by a reader that shares nothing with the writer: records, their sums, and the
    /// wire format of the messages, field by field.
    fn read(folder: &Path) -> Vec<(i64, String, f32)> {
        let bytes = std::fs::read(find(folder).unwrap().unwrap()).unwrap();
        let (mut rest, mut out, mut records) = (bytes.as_slice(), Vec::new(), 0);
        let sum = |bytes: &[u8]| {
            let c = crc(bytes);
            ((c >> 15 | c << 17).wrapping_add(0xa282_ead8)).to_le_bytes()
        };
        while !rest.is_empty() {
            let n = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!((&rest[8..12], &rest[12 + n..16 + n]), (&sum(&rest[..8])[..], &sum(&rest[12..12 + n])[..]));
            let event = fields(&rest[12..12 + n]);
            let get = |number| event.iter().find(|f| f.0 == number);
            let version = (records == 0).then_some(&b"brain.Event:2"[..]);
            assert_eq!(get(3).map(|f| f.1), version, "the version stands in the first record alone");
            assert!(get(1).is_some_and(|time| time.1.len() == 8));
            for value in get(5).map_or(Vec::new(), |summary| fields(summary.1)) {
                let [(1, tag, _), (2, number, _)] = fields(value.1)[..] else { panic!("{value:?}") };
                let step = get(2).map_or(0, |f| f.2 as i64);
                let number = f32::from_le_bytes(number.try_into().unwrap());
                out.push((step, String::from_utf8(tag.to_vec()).unwrap(), number));
            }
            rest = &rest[16 + n..];
            records += 1;
        }
        out
    }

    #[test]
    fn sums_are_the_known_ones() {
        // the check value of CRC-32C, and 32 zeros (RFC 3720, B.4)
        assert_eq!((crc(b"123456789"), crc(&[0; 32])), (0xe306_9283, 0x8a91_36aa));
    }

    #[test]
    fn another_reader_finds_sums_and_values_right_and_a_resumed_run_cuts_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut e = Events::create(dir.path()).unwrap();
        let mut expected = Vec::new();
        for step in 1..=20 {
            e.scalars(step, &[("loss", Some(1.0 / step as f64)), ("nothing", None)]).unwrap();
            expected.push((step as i64, "loss".to_string(), (1.0 / step as f64) as f32));
            if step % 10 == 0 {
                e.scalars(step, &[("epoch/test_accuracy", Some(0.25))]).unwrap();
                expected.push((step as i64, "epoch/test_accuracy".to_string(), 0.25));
            }
        }
        e.flush().unwrap();
        assert_eq!(read(dir.path()), expected);
        for (steps, step_in_epoch, left) in
            [(20, 0, 22), (20, 10, 21), (15, 5, 16), (10, 0, 11), (10, 10, 10), (0, 0, 0)]
        {
            // a record that was being written when the run died
            let path = find(dir.path()).unwrap().unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.extend([24, 0, 0]);
            std::fs::write(&path, bytes).unwrap();
            let at = Position { steps, step_in_epoch, ..Position::default() };
            drop(Events::reopen(dir.path(), &at).unwrap());
            assert_eq!(read(dir.path()), expected[..left], "{steps}");
        }
        let mut e = Events::reopen(dir.path(), &Position::default()).unwrap();
        e.scalars(1, &[("loss", Some(1.0))]).unwrap();
        e.flush().unwrap();
        assert_eq!(read(dir.path()), expected[..1]);
    }
}
