//! Data sets: byte features and class labels, a fixed split into training and test rows, reproducible shuffling.
//!
//! Features travel to the device as bytes and are converted there to FP16, times a power of two: the largest one that brings
//! the largest feature of the training rows to at most 1. Where a source has no split of its own, row `i` is a test row when
//! `i` is a multiple of 5; that needs no seed and never changes.

mod csv_file;
pub mod dropout;
mod idx;
pub mod latent;
mod moment;
mod npy_files;
pub mod scenes;
mod shuffle;
mod text;

use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::graph::Model;

pub use moment::Moment;
pub use shuffle::permutation;

/// Largest number of classes.
pub const MAX_CLASSES: usize = 256;

/// Rows of byte features with a class each, or with one for each step of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Features, row after row.
    pub features: Vec<u8>,
    /// Classes, row after row.
    pub labels: Vec<u8>,
    /// Classes of a row.
    pub labels_per_row: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows::new(Vec::new(), Vec::new())
    }
}

impl Rows {
    /// Rows with a class each.
    pub fn new(features: Vec<u8>, labels: Vec<u8>) -> Rows {
        Rows { features, labels, labels_per_row: 1 }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len() / self.labels_per_row
    }

    /// Classes of row `i`.
    pub fn labels_of(&self, i: usize) -> &[u8] {
        &self.labels[i * self.labels_per_row..(i + 1) * self.labels_per_row]
    }

    /// The first `n` rows, of `width` features each.
    pub fn first(&self, n: usize, width: usize) -> Rows {
        let (features, labels) = (self.features[..n * width].to_vec(), self.labels[..n * self.labels_per_row].to_vec());
        Rows { features, labels, ..*self }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Features of row `i`, of `width` each.
    pub fn row(&self, i: usize, width: usize) -> &[u8] {
        &self.features[i * width..(i + 1) * width]
    }
}

/// A data set, split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What to call it.
    pub name: String,
    /// Features per row.
    pub width: usize,
    /// Classes: one more than the largest label.
    pub classes: usize,
    /// A feature's value is its byte times 2 to this power.
    pub scale: i8,
    /// Rows to train on.
    pub train: Rows,
    /// Rows to test on.
    pub test: Rows,
}

const DIGITS: &[u8] = include_bytes!("../../data/digits.csv.gz");
const SHAKESPEARE: &[u8] = include_bytes!("../../data/shakespeare-sample.txt.gz");
const MNIST_IMAGES: &[u8] = include_bytes!("../../data/mnist-sample/t10k-images-idx3-ubyte.gz");
const MNIST_LABELS: &[u8] = include_bytes!("../../data/mnist-sample/t10k-labels-idx1-ubyte.gz");

impl Dataset {
    /// The bundled handwritten digits: 8×8 pixels, 1,437 rows to train on and 360 to test on.
    pub fn digits() -> Dataset {
        let (rows, width) = csv_file::parse(&gunzip(DIGITS).expect("bundled data")).expect("bundled data");
        Dataset::split("digits", rows, width)
    }

    /// The bundled sample of MNIST: 28×28 pixels, 800 rows to train on and 200 to test on.
    pub fn mnist_sample() -> Dataset {
        let whole = |gz| gunzip(gz).expect("bundled data");
        let (rows, width) = idx::pair(&whole(MNIST_IMAGES), &whole(MNIST_LABELS)).expect("bundled data");
        Dataset::split("mnist-sample", rows, width)
    }

    /// The data set that a model is to be trained on, by its name as for [`Dataset::open`]; or text, as sequences of the model's length:
    /// `shakespeare-sample`, which is bundled, or a file whose name ends in `.txt` or `.txt.gz`.
    pub fn of(name: &str, model: &Model) -> Result<Dataset> {
        let mut data = match text::is_text(name) {
            true => text::open(name, model)?,
            false => Dataset::open(name)?,
        };
        let (has, needs) = (data.train.labels_per_row, model.graph.labels_per_row());
        if has != needs && model.gan.is_none() {
            let of = |n: usize| if n == 1 { "one class".into() } else { format!("a class for each of {n} steps") };
            let why = format!("`{}` needs {} in a row, and it has {}", model.name, of(needs), of(has));
            return Err(Error::value("--data", name, why));
        }
        if let Some(vocabulary) = model.graph.vocabulary() {
            // tokens are whole numbers on the device, too
            data.scale = 0;
            let largest = data.train.features.iter().chain(&data.test.features).max().map_or(0, |&v| usize::from(v));
            if largest >= vocabulary {
                let why =
                    format!("`{}` knows {vocabulary} tokens from 0 on, and it has one of number {largest}", model.name);
                return Err(Error::value("--data", name, why));
            }
        }
        Ok(data)
    }

    /// `digits`, `mnist-sample` or `digit-scenes`, which are bundled or made of what is; a CSV or NPY file; or a folder with NPY files or with those of MNIST, in its IDX format. Plain, or compressed
    /// with gzip.
    pub fn open(name: &str) -> Result<Dataset> {
        match name {
            "digits" => return Ok(Dataset::digits()),
            "mnist-sample" => return Ok(Dataset::mnist_sample()),
            scenes::NAME => return Ok(scenes::open()),
            _ => {}
        }
        let path = Path::new(name);
        if name == "mnist" && !path.exists() {
            let why = "there is no folder of that name here: put MNIST's four files into one (docs/data.md), or take the \
                       bundled 1,000 images with --data mnist-sample";
            return Err(Error::value("--data", name, why));
        }
        let kind = std::fs::metadata(path).map_err(Error::io("read", path))?;
        let short = path.file_name().map_or_else(|| name.into(), |n| n.to_string_lossy().into_owned());
        if kind.is_dir() && npy_files::is_folder(path) {
            return npy_files::open_folder(path, &short);
        }
        if kind.is_dir() {
            return idx::open_folder(path);
        }
        if path.extension().is_some_and(|e| e == "npy") {
            return npy_files::open_file(path, &short);
        }
        let bytes = read(path)?;
        let wrong = |reason| Error::Malformed { path: path.into(), format: "CSV", reason };
        let (rows, width) = csv_file::parse(&bytes).map_err(wrong)?;
        if rows.len() < 5 {
            return Err(wrong(format!("it holds {} rows; 5 are the least that can be split", rows.len())));
        }
        Ok(Dataset::split(name, rows, width))
    }

    /// Every fifth row becomes a test row, from the first on.
    fn split(name: &str, rows: Rows, width: usize) -> Dataset {
        let (mut train, mut test) = (Rows::default(), Rows::default());
        for i in 0..rows.len() {
            let part = if i % 5 == 0 { &mut test } else { &mut train };
            part.features.extend_from_slice(rows.row(i, width));
            part.labels.extend_from_slice(rows.labels_of(i));
        }
        Dataset::from_parts(name, train, test, width)
    }

    fn from_parts(name: &str, train: Rows, test: Rows, width: usize) -> Dataset {
        let top = train.labels.iter().chain(&test.labels).max().map_or(0, |&l| usize::from(l));
        let largest = train.features.iter().copied().max().unwrap_or(0).max(1);
        let scale = -(u32::from(largest).next_power_of_two().trailing_zeros() as i8);
        Dataset { name: name.into(), width, classes: top + 1, scale, train, test }
    }
}

/// A file's bytes, decompressed where they start as gzip does.
fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    gunzip(&bytes).map_err(|e| Error::Malformed { path: path.into(), format: "gzip", reason: e.to_string() })
}

fn gunzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_digits_and_their_split_never_change() {
        let d = Dataset::digits();
        assert_eq!((d.train.len(), d.test.len(), d.width, d.classes, d.scale), (1437, 360, 64, 10, -4));
        let mut hash = Sha256::new();
        for part in [&d.train, &d.test] {
            hash.update(&part.features);
            hash.update(&part.labels);
        }
        let hex = systole_verilator::hex(&hash.finalize());
        assert_eq!(hex, "483e81b0ed14f9fe6a57edb201b6adae4f6e0cc63603cc72d7b6a13b74510481");
        let per_class = |c: u8| d.test.labels.iter().filter(|&&l| l == c).count();
        assert!((0..10).all(|c| (25..=50).contains(&per_class(c))));
    }

    #[test]
    fn the_sample_of_mnist_is_a_tenth_of_its_test_images() {
        let d = Dataset::open("mnist-sample").unwrap();
        assert_eq!((d.train.len(), d.test.len(), d.width, d.classes, d.scale), (800, 200, 784, 10, -8));
        let mut hash = Sha256::new();
        for part in [&d.train, &d.test] {
            hash.update(&part.features);
            hash.update(&part.labels);
        }
        let hex = systole_verilator::hex(&hash.finalize());
        assert_eq!(hex, "0568fb2a66c36d48fe844c74050cbbdd00c65a85fecfc32ef6cb1bfb3ba2f92a");
    }

    #[test]
    fn missing_and_malformed_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        assert!(matches!(Dataset::open(path.to_str().unwrap()), Err(Error::Io { .. })));
        for (text, word) in [
            ("", "empty"),
            ("1,2,0\n1,0\n", "line 2"),
            ("1,2,x\n", "line 1"),
            ("1,256,0\n", "line 1"),
            ("1,2,0\n", "5 are the least"),
            ("0\n", "line 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let e = Dataset::open(path.to_str().unwrap()).unwrap_err().to_string();
            assert!(e.contains(word), "{text:?}: {e}");
        }
        let mut gz = DIGITS.to_vec();
        gz.truncate(1000);
        std::fs::write(&path, gz).unwrap();
        assert!(matches!(Dataset::open(path.to_str().unwrap()), Err(Error::Malformed { format: "gzip", .. })));
    }
}
