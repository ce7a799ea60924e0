//! NumPy's array files (`.npy`, format versions 1.0 to 3.0): FP16 and FP32, little endian, C order.

use std::io::Write as _;
use std::path::Path;

use half::f16;
use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_until};
use nom::character::complete::{char, multispace0, u64 as number};
use nom::combinator::{map, opt, value};
use nom::multi::separated_list0;
use nom::number::complete::{le_u16, le_u32, u8 as byte};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

use crate::error::{Error, Result};

/// Elements of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// IEEE binary16, as bits.
    F16(Vec<u16>),
    /// IEEE binary32.
    F32(Vec<f32>),
}

/// An array in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// Its elements.
    pub elements: Elements,
}

/// Rounds to FP16, nearest even; any NaN becomes the machine's one.
pub fn round_f16(v: f32) -> u16 {
    if v.is_nan() { systole_isa::NAN16 } else { f16::from_f32(v).to_bits() }
}

impl Array {
    /// Its elements as FP16 bits; FP32 is rounded.
    pub fn to_f16(&self) -> Vec<u16> {
        match &self.elements {
            Elements::F16(v) => v.clone(),
            Elements::F32(v) => v.iter().map(|&x| round_f16(x)).collect(),
        }
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Array> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        Array::parse(&bytes).map_err(|reason| Error::Malformed { path: path.into(), format: ".npy", reason })
    }

    /// Reads a file's bytes; on failure, says what is wrong.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Array, String> {
        let (data, h) = open(bytes)?;
        let size = match h.descr {
            "<f2" => 2,
            "<f4" => 4,
            other => {
                return Err(format!("its elements are {other:?}; '<f2' (float16) and '<f4' (float32) are understood"));
            }
        };
        h.holds(size, data)?;
        let elements = if size == 2 {
            Elements::F16(data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect())
        } else {
            Elements::F32(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        Ok(Array { shape: h.shape, elements })
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let descr = match self.elements {
            Elements::F16(_) => "<f2",
            Elements::F32(_) => "<f4",
        };
        let dims: Vec<String> = self.shape.iter().map(|d| format!("{d},")).collect();
        let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", dims.join(" "));
        // magic, version and length are 10 bytes; data start at a multiple of 64
        let pad = 63 - (10 + text.len()) % 64;
        text.extend(std::iter::repeat_n(' ', pad));
        text.push('\n');
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((text.len() as u16).to_le_bytes());
        out.extend(text.as_bytes());
        match &self.elements {
            Elements::F16(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
            Elements::F32(v) => out.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        }
        out
    }

    /// Writes a file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_atomically(path, &self.to_bytes())
    }
}

/// Writes a file beside `path` and renames it, so that `path` never holds half of it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut f = std::fs::File::create(&part)?;
        f.write_all(bytes)?;
        f.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&part);
        Error::io("write", path)(e)
    })
}

/// Extents and elements of an array of whole numbers 0..=255, of any of NumPy's integer types.
pub fn parse_bytes(bytes: &[u8]) -> std::result::Result<(Vec<usize>, Vec<u8>), String> {
    let (data, h) = open(bytes)?;
    let size = match h.descr {
        "|u1" | "|i1" => 1,
        "<u2" | "<i2" => 2,
        "<u4" | "<i4" => 4,
        "<u8" | "<i8" => 8,
        other => {
            return Err(format!("its elements are {other:?}; integers are needed, such as array.astype(numpy.uint8)"));
        }
    };
    h.holds(size, data)?;
    let signed = h.descr.contains('i');
    let mut out = Vec::with_capacity(data.len() / size);
    for (i, element) in data.chunks_exact(size).enumerate() {
        let (low, high) = (element[0], &element[1..]);
        if high.iter().any(|&b| b != 0) || (signed && size == 1 && low > 127) {
            return Err(format!("element {i} is not in 0..=255"));
        }
        out.push(low);
    }
    Ok((h.shape, out))
}

/// Splits a file into data and its header, in C order.
fn open(bytes: &[u8]) -> std::result::Result<(&[u8], Header<'_>), String> {
    let (data, header) = header(bytes)?;
    let (rest, h) = dictionary(header).map_err(|_| format!("its header makes no sense: {}", header.trim_end()))?;
    if !rest.trim().is_empty() {
        return Err(format!("its header goes on with {:?}", rest.trim()));
    }
    if h.fortran {
        return Err("it is in Fortran order; write numpy.ascontiguousarray(array)".into());
    }
    Ok((data, h))
}

/// Splits a file into data and the header's text.
fn header(bytes: &[u8]) -> std::result::Result<(&[u8], &str), String> {
    type R<'a, T> = IResult<&'a [u8], T>;
    let (rest, _) = (tag(&b"\x93NUMPY"[..])).parse(bytes).map_err(|_: nom::Err<nom::error::Error<_>>| {
        if bytes.is_empty() { "it is empty".to_string() } else { "it does not start with \\x93NUMPY".to_string() }
    })?;
    let (rest, (major, _minor)): (_, (u8, u8)) = ((byte, byte) as (_, _))
        .parse(rest)
        .map_err(|_: nom::Err<nom::error::Error<_>>| "it ends within the version".to_string())?;
    let length: R<usize> = match major {
        1 => map(le_u16, usize::from).parse(rest),
        2 | 3 => map(le_u32, |n| n as usize).parse(rest),
        other => return Err(format!("format version {other} is unknown")),
    };
    let (rest, length) = length.map_err(|_| "it ends within the header's length".to_string())?;
    let text: R<&[u8]> = take(length).parse(rest);
    let (rest, text) = text.map_err(|_| format!("its header of {length} bytes is cut off"))?;
    Ok((rest, std::str::from_utf8(text).map_err(|_| "its header is not text".to_string())?))
}

#[derive(Clone, Debug, Default)]
struct Header<'a> {
    descr: &'a str,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header<'_> {
    /// Makes sure that the data are as many as the shape says.
    fn holds(&self, size: usize, data: &[u8]) -> std::result::Result<(), String> {
        let expected = self.shape.iter().try_fold(size, |n: usize, &d| n.checked_mul(d));
        if expected == Some(data.len()) {
            return Ok(());
        }
        let n = expected.map_or("more bytes than there can be".into(), |n| format!("{n} bytes"));
        Err(format!("shape {:?} of {} needs {n} of data, the file holds {}", self.shape, self.descr, data.len()))
    }
}

#[derive(Clone, Debug)]
enum Entry<'a> {
    Descr(&'a str),
    Fortran(bool),
    Shape(Vec<usize>),
}

fn spaced<'a, O, P>(inner: P) -> impl Parser<&'a str, Output = O, Error = nom::error::Error<&'a str>>
where
    P: Parser<&'a str, Output = O, Error = nom::error::Error<&'a str>>,
{
    delimited(multispace0, inner, multispace0)
}

fn quoted(i: &str) -> IResult<&str, &str> {
    alt((delimited(char('\''), take_until("'"), char('\'')), delimited(char('"'), take_until("\""), char('"'))))
        .parse(i)
}

fn shape(i: &str) -> IResult<&str, Vec<usize>> {
    delimited(
        char('('),
        terminated(separated_list0(char(','), spaced(map(number, |n| n as usize))), (opt(char(',')), multispace0)),
        char(')'),
    )
    .parse(i)
}

fn entry(i: &str) -> IResult<&str, Entry<'_>> {
    let (i, key) = spaced(quoted).parse(i)?;
    let (i, _) = spaced(char(':')).parse(i)?;
    match key {
        "descr" => map(quoted, Entry::Descr).parse(i),
        "fortran_order" => map(alt((value(true, tag("True")), value(false, tag("False")))), Entry::Fortran).parse(i),
        "shape" => map(shape, Entry::Shape).parse(i),
        _ => Err(nom::Err::Error(nom::error::Error::new(i, nom::error::ErrorKind::Tag))),
    }
}

fn dictionary(i: &str) -> IResult<&str, Header<'_>> {
    let (rest, entries) = delimited(
        preceded(multispace0, char('{')),
        terminated(separated_list0(char(','), spaced(entry)), (opt(char(',')), multispace0)),
        char('}'),
    )
    .parse(i)?;
    if entries.len() != 3 {
        return Err(nom::Err::Error(nom::error::Error::new(i, nom::error::ErrorKind::Count)));
    }
    let mut h = Header::default();
    for e in entries {
        match e {
            Entry::Descr(d) => h.descr = d,
            Entry::Fortran(f) => h.fortran = f,
            Entry::Shape(s) => h.shape = s,
        }
    }
    Ok((rest, h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arrays() -> impl Strategy<Value = Array> {
        prop::collection::vec(0usize..6, 0..4).prop_flat_map(|shape| {
            let n: usize = shape.iter().product();
            let halves = prop::collection::vec(any::<u16>(), n).prop_map(Elements::F16);
            let singles = prop::collection::vec(-1e9f32..1e9, n).prop_map(Elements::F32);
            (Just(shape), prop_oneof![halves, singles]).prop_map(|(shape, elements)| Array { shape, elements })
        })
    }

    proptest! {
        #[test]
        fn any_array_survives_a_round_trip(a in arrays()) {
            prop_assert_eq!(Array::parse(&a.to_bytes()), Ok(a));
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), real: bool) {
            if real {
                let mut start = b"\x93NUMPY\x01\x00".to_vec();
                start.append(&mut bytes);
                bytes = start;
            }
            let _ = Array::parse(&bytes);
        }

        #[test]
        fn every_truncation_is_an_error(a in arrays(), cut: prop::sample::Index) {
            let bytes = a.to_bytes();
            prop_assert!(Array::parse(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn headers_as_numpy_writes_them() {
        let make = |version: u8, dict: &str, data: &[u8]| {
            let mut out = b"\x93NUMPY".to_vec();
            out.extend([version, 0]);
            match version {
                1 => out.extend((dict.len() as u16).to_le_bytes()),
                _ => out.extend((dict.len() as u32).to_le_bytes()),
            }
            out.extend(dict.as_bytes());
            out.extend(data);
            Array::parse(&out)
        };
        let d = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 1), }          \n";
        assert_eq!(make(1, d, &[0, 0x3c, 1, 0]).unwrap().to_f16(), [0x3c00, 1]);
        assert_eq!(make(2, d, &[0, 0x3c, 1, 0]).unwrap().shape, [2, 1]);
        let scalar = "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n";
        assert_eq!(make(1, scalar, &1.5f32.to_le_bytes()).unwrap().to_f16(), [0x3e00]);
        for (dict, word) in [
            ("{'descr': '>f2', 'fortran_order': False, 'shape': (2, 1), }", "float16"),
            ("{'descr': '<f2', 'fortran_order': True, 'shape': (2, 1), }", "Fortran"),
            ("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }", "8 bytes"),
            ("{'descr': '<f2', 'shape': (2, 1), }", "no sense"),
        ] {
            let e = make(1, dict, &[0; 4]).unwrap_err();
            assert!(e.contains(word), "{e}");
        }
        assert!(make(9, d, &[]).unwrap_err().contains("version 9"));
    }
}
