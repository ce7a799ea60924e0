//! IDX, the format of MNIST: a magic with element type and dimensions, the extents, then the bytes.

use std::path::{Path, PathBuf};

use nom::Parser;
use nom::bytes::complete::{tag, take};
use nom::multi::count;
use nom::number::complete::{be_u32, u8 as byte};

use super::{Dataset, Rows, read};
use crate::error::{Error, Result};

/// Extents and bytes; on failure, says what is wrong.
fn parse(bytes: &[u8]) -> std::result::Result<(Vec<usize>, &[u8]), String> {
    type E<'a> = nom::error::Error<&'a [u8]>;
    if bytes.len() < 4 {
        return Err(format!("it ends within its magic: 4 bytes are needed, the file holds {}", bytes.len()));
    }
    let (rest, (_, kind, dimensions)) = (tag::<_, _, E>(&[0u8, 0][..]), byte, byte)
        .parse(bytes)
        .map_err(|_| "it does not start as IDX does (two zeros, type, dimensions)".to_string())?;
    if kind != 8 {
        return Err(format!("its elements are of type {kind:#04x}; only bytes (0x08) are understood"));
    }
    let (rest, extents) = count(be_u32::<_, E>, usize::from(dimensions)).parse(rest).map_err(|_| {
        let whole = rest.len() / 4;
        format!("it ends within its header: extent {} of {dimensions} is missing or cut off", whole + 1)
    })?;
    let extents: Vec<usize> = extents.into_iter().map(|n| n as usize).collect();
    let n = extents.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or("its extents overflow")?;
    let (rest, data) = take::<_, _, E>(n)
        .parse(rest)
        .map_err(|_| format!("its header promises {n} bytes of data, the file holds {}", rest.len()))?;
    if !rest.is_empty() {
        return Err(format!("{} bytes follow its data", rest.len()));
    }
    Ok((extents, data))
}

fn load(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    let bytes = read(path)?;
    let (extents, data) =
        parse(&bytes).map_err(|reason| Error::Malformed { path: path.into(), format: "IDX", reason })?;
    Ok((extents, data.to_vec()))
}

/// One pair of images and labels: rows and features per row.
fn load_pair(images: &Path, labels: &Path) -> Result<(Rows, usize)> {
    let (shape, features) = load(images)?;
    let (counts, classes) = load(labels)?;
    let wrong = |path: &Path, reason: String| Error::Malformed { path: path.into(), format: "IDX", reason };
    if shape.len() < 2 {
        return Err(wrong(images, format!("images have 2 dimensions or more, it has {}", shape.len())));
    }
    if counts.len() != 1 {
        return Err(wrong(labels, format!("labels have 1 dimension, it has {}", counts.len())));
    }
    if shape[0] != counts[0] {
        let reason =
            format!("{} images in {}, {} labels in {}", shape[0], images.display(), counts[0], labels.display());
        return Err(Error::Shape { what: "images and labels".into(), reason });
    }
    let width = shape[1..].iter().product();
    if width == 0 || shape[0] < 5 {
        return Err(wrong(images, format!("{} images of {width} pixels are too few", shape[0])));
    }
    Ok((Rows::new(features, classes), width))
}

/// The same from two files' bytes that are known to be good.
pub(super) fn pair(images: &[u8], labels: &[u8]) -> std::result::Result<(Rows, usize), String> {
    let ((shape, features), (_, classes)) = (parse(images)?, parse(labels)?);
    Ok((Rows::new(features.to_vec(), classes.to_vec()), shape[1..].iter().product()))
}

/// The file in `folder` whose name starts with `start` and holds `word`.
fn find(folder: &Path, start: &str, word: &str) -> Result<Option<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|e| e.ok())
        .filter(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            name.starts_with(start) && name.contains(word) && name.contains("ubyte")
        })
        .map(|e| e.path())
        .collect();
    found.sort();
    Ok(found.into_iter().next())
}

/// A folder with `train-images…`, `train-labels…`, `t10k-images…`, `t10k-labels…`; or only one of the pairs.
pub(super) fn open_folder(folder: &Path) -> Result<Dataset> {
    let name = folder.file_name().map_or_else(|| "idx".into(), |n| n.to_string_lossy().into_owned());
    let pair = |start: &str| -> Result<Option<(Rows, usize)>> {
        match (find(folder, start, "images")?, find(folder, start, "labels")?) {
            (Some(images), Some(labels)) => load_pair(&images, &labels).map(Some),
            (None, None) => Ok(None),
            (images, _) => Err(Error::Malformed {
                path: folder.into(),
                format: "IDX",
                reason: format!("{start}… has no {}", if images.is_some() { "labels" } else { "images" }),
            }),
        }
    };
    match (pair("train")?, pair("t10k")?) {
        (Some((train, a)), Some((test, b))) if a == b => Ok(Dataset::from_parts(&name, train, test, a)),
        (Some((_, a)), Some((_, b))) => {
            Err(Error::Shape { what: "training and test images".into(), reason: format!("{a} and {b} pixels") })
        }
        (Some((rows, width)), None) | (None, Some((rows, width))) => Ok(Dataset::split(&name, rows, width)),
        (None, None) => Err(Error::Malformed {
            path: folder.into(),
            format: "IDX",
            reason: "no train-images…ubyte and train-labels…ubyte, nor t10k-… in it".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(extents: &[u32], data: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 0, 8, extents.len() as u8];
        out.extend(extents.iter().flat_map(|n| n.to_be_bytes()));
        out.extend(data);
        out
    }

    #[test]
    fn one_pair_is_split_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (images, labels) = (dir.path().join("t10k-images-idx3-ubyte"), dir.path().join("t10k-labels-idx1-ubyte"));
        std::fs::write(&images, idx(&[10, 2, 2], &[255; 40])).unwrap();
        std::fs::write(&labels, idx(&[10], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])).unwrap();
        let d = open_folder(dir.path()).unwrap();
        assert_eq!((d.train.len(), d.test.len(), d.width, d.classes, d.scale), (8, 2, 4, 10, -8));
        std::fs::write(&labels, idx(&[9], &[0; 9])).unwrap();
        assert!(open_folder(dir.path()).unwrap_err().to_string().contains("10 images"));
        let whole = idx(&[10], &[0; 10]);
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
        std::fs::remove_file(&labels).unwrap();
        assert!(open_folder(dir.path()).unwrap_err().to_string().contains("no labels"));
    }
}
