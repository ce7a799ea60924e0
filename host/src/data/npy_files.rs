//! NumPy arrays as data sets: a folder with `x_train.npy`, `y_train.npy`, `x_test.npy`, `y_test.npy`, the members of Keras's
//! `mnist.npz`; or one two-dimensional array whose last column is the class.

use std::path::Path;

use super::{Dataset, Rows, read};
use crate::error::{Error, Result};
use crate::npy::parse_bytes;

const FORMAT: &str = ".npy";

fn load(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    let bytes = read(path)?;
    parse_bytes(&bytes).map_err(|reason| Error::Malformed { path: path.into(), format: "integer .npy", reason })
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::Malformed { path: path.into(), format: "integer .npy", reason }
}

/// One array: features, and the class in the last column.
pub(super) fn open_file(path: &Path, name: &str) -> Result<Dataset> {
    let (shape, values) = load(path)?;
    let [n, columns] = shape[..] else {
        return Err(wrong(path, format!("a table has 2 dimensions, it has {}", shape.len())));
    };
    if n < 5 || columns < 2 {
        return Err(wrong(path, format!("{n} rows of {columns} columns are too few: 5 and 2 are needed")));
    }
    let mut rows = Rows::default();
    for row in values.chunks_exact(columns) {
        rows.features.extend_from_slice(&row[..columns - 1]);
        rows.labels.push(row[columns - 1]);
    }
    Ok(Dataset::split(name, rows, columns - 1))
}

/// Whether a folder holds such arrays.
pub(super) fn is_folder(folder: &Path) -> bool {
    ["x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"].iter().any(|f| folder.join(f).exists())
}

/// The arrays of a folder: both pairs, or one that is split.
pub(super) fn open_folder(folder: &Path, name: &str) -> Result<Dataset> {
    let pair = |part: &str| -> Result<Option<(Rows, usize)>> {
        let (x, y) = (folder.join(format!("x_{part}{FORMAT}")), folder.join(format!("y_{part}{FORMAT}")));
        if !x.exists() && !y.exists() {
            return Ok(None);
        }
        let ((shape, features), (counts, labels)) = (load(&x)?, load(&y)?);
        if shape.len() < 2 {
            return Err(wrong(&x, format!("features have 2 dimensions or more, it has {}", shape.len())));
        }
        if counts != shape[..1] {
            let reason = format!("{} rows in {}, labels of shape {counts:?} in {}", shape[0], x.display(), y.display());
            return Err(Error::Shape { what: "features and labels".into(), reason });
        }
        let width = shape[1..].iter().product();
        if width == 0 || shape[0] < 5 {
            return Err(wrong(&x, format!("{} rows of {width} features are too few", shape[0])));
        }
        Ok(Some((Rows::new(features, labels), width)))
    };
    match (pair("train")?, pair("test")?) {
        (Some((train, a)), Some((test, b))) if a == b => Ok(Dataset::from_parts(name, train, test, a)),
        (Some((_, a)), Some((_, b))) => {
            Err(Error::Shape { what: "training and test rows".into(), reason: format!("{a} and {b} features") })
        }
        (Some((rows, width)), None) | (None, Some((rows, width))) => Ok(Dataset::split(name, rows, width)),
        (None, None) => Err(wrong(folder, "there is no x_train.npy in it".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `numpy.save` writes it.
    fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        while !(header.len() + 11).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_of_any_integer_type_are_read_and_faults_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: Vec<u8>| std::fs::write(dir.path().join(name), bytes).unwrap();
        let pixels: Vec<u8> = (0..40).collect();
        let labels: Vec<u8> = (0..10i64).flat_map(|v| v.to_le_bytes()).collect();
        put("x_train.npy", npy("|u1", "(10, 2, 2)", &pixels));
        put("y_train.npy", npy("<i8", "(10,)", &labels));
        let name = dir.path().to_str().unwrap();
        let d = Dataset::open(name).unwrap();
        assert_eq!((d.train.len(), d.test.len(), d.width, d.classes), (8, 2, 4, 10));
        assert_eq!(d.test.row(1, 4), [20, 21, 22, 23]);
        put("x_test.npy", npy("|u1", "(5, 4)", &pixels[..20]));
        put("y_test.npy", npy("|u1", "(5,)", &[9; 5]));
        assert_eq!(Dataset::open(name).unwrap().test.labels, [9; 5]);
        for (bytes, word) in [
            (npy("|u1", "(4,)", &[0; 4]), "labels of shape [4]"),
            (npy("<f4", "(5,)", &[0; 20]), "integers are needed"),
            (npy("<i2", "(5,)", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), "element 1"),
            (npy("|i1", "(5,)", &[0, 0, 0, 0, 255]), "element 4"),
            (npy("|u1", "(5,)", &[0; 3]), "the file holds 3"),
        ] {
            put("y_test.npy", bytes);
            let e = Dataset::open(name).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
        let table = dir.path().join("t.npy");
        std::fs::write(&table, npy("|u1", "(10, 4)", &pixels)).unwrap();
        let d = Dataset::open(table.to_str().unwrap()).unwrap();
        assert_eq!((d.width, d.test.row(0, 3), d.test.labels[1], d.name.as_str()), (3, &[0, 1, 2][..], 23, "t.npy"));
    }
}
