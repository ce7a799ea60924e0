//! One matrix product on a device, by tiles where it is larger than the device's memories.

use std::ops::Range;

use crate::compile::{CompiledGemm, GemmSpec, TensorPlace, gemm};
use crate::error::{Error, Result};
use crate::npy::{Array, Elements};

use super::Device;
use super::requests::{Block, Registers};

/// Most tiles that a product is cut into.
const MOST_TILES: u32 = 256;

/// A place in memory as a block to write or read.
pub fn block(place: &TensorPlace) -> Block {
    Block { space: place.space, addr: place.addr.0, columns: place.cols, rows: place.rows, pitch: place.pitch as i32 }
}

/// What came out of a product.
#[derive(Clone, Debug)]
pub struct Product {
    /// The result: FP32, or FP16 if the specification says so.
    pub out: Array,
    /// Cycles of the product, where the device counts them.
    pub cycles: Option<u64>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// `macs / (lanes² · cycles)`.
    pub utilization: Option<f64>,
    /// The compiler's prediction of `cycles`.
    pub predicted: u64,
    /// Tiles of the result that were computed one after another.
    pub tiles: u32,
}

/// Compiles a product for a device, with this crate's errors.
pub fn compile(spec: GemmSpec, device: &Device) -> Result<CompiledGemm> {
    let what = format!("the product {}×{}·{}×{}", spec.m, spec.k, spec.k, spec.n);
    gemm(spec, device.info.machine).map_err(|e| Error::from_compiler(what, e))
}

/// Runs one product. `a`, `b` and `bias` are FP16 bits in the stored shapes. What does not fit into the device's memories goes by
/// tiles of the result, see [`tiles`]; no bit depends on that, since the reduction is never cut.
pub fn multiply(device: &mut Device, spec: GemmSpec, a: &[u16], b: &[u16], bias: Option<&[u16]>) -> Result<Product> {
    let (rows, cols) = tiles(spec, device)?;
    if rows.len() == 1 && cols.len() == 1 {
        return Ok(one(device, spec, a, b, bias, 1)?.0);
    }
    let (m, n) = (spec.m as usize, spec.n as usize);
    let mut halves = vec![0u16; if spec.half_out { m * n } else { 0 }];
    let mut singles = vec![0f32; if spec.half_out { 0 } else { m * n }];
    let out = Array { shape: vec![m, n], elements: Elements::F32(Vec::new()) };
    let mut total = Product { out, cycles: None, macs: 0, utilization: None, predicted: 0, tiles: 0 };
    let mut cycles = Some(0);
    for r in &rows {
        let left = part(a, (spec.m, spec.k), spec.transpose_a, r.clone(), 0..spec.k);
        for c in &cols {
            let right = part(b, (spec.k, spec.n), spec.transpose_b, 0..spec.k, c.clone());
            let bias = bias.map(|b| &b[c.start as usize..c.end as usize]);
            let tile = GemmSpec { m: r.end - r.start, n: c.end - c.start, ..spec };
            let p = one(device, tile, &left, &right, bias, 1)?.0;
            let width = tile.n as usize;
            for i in 0..tile.m as usize {
                let (to, from) = ((r.start as usize + i) * n + c.start as usize, i * width);
                match &p.out.elements {
                    Elements::F16(v) => halves[to..to + width].copy_from_slice(&v[from..from + width]),
                    Elements::F32(v) => singles[to..to + width].copy_from_slice(&v[from..from + width]),
                }
            }
            cycles = cycles.zip(p.cycles).map(|(a, b)| a + b);
            total.macs += p.macs;
            total.predicted += p.predicted;
            total.tiles += 1;
        }
    }
    total.out.elements = if spec.half_out { Elements::F16(halves) } else { Elements::F32(singles) };
    total.cycles = cycles;
    total.utilization = utilization(device, total.macs, cycles);
    Ok(total)
}

fn utilization(device: &Device, macs: u64, cycles: Option<u64>) -> Option<f64> {
    let pes = u64::from(device.info.machine.lanes).pow(2);
    cycles.filter(|&n| n > 0).map(|n| macs as f64 / (pes * n) as f64)
}

/// Rows and columns of a stored operand (`rows × cols` before its transposition), in its stored order.
fn part(data: &[u16], (rows, cols): (u32, u32), transposed: bool, r: Range<u32>, c: Range<u32>) -> Vec<u16> {
    let (pitch, outer, inner) = if transposed { (rows, c, r) } else { (cols, r, c) };
    let row = |i: u32| &data[(i * pitch + inner.start) as usize..(i * pitch + inner.end) as usize];
    outer.flat_map(row).copied().collect()
}

/// Equal pieces of `size`, as multiples of `lanes`.
fn pieces(size: u32, count: u32, lanes: u32) -> Vec<Range<u32>> {
    let step = size.div_ceil(count).next_multiple_of(lanes);
    (0..size).step_by(step as usize).map(|s| s..(s + step).min(size)).collect()
}

/// Tiles of the result, as ranges of rows and of columns: one if everything fits, else as few as fit, and of those the ones with
/// the fewest predicted cycles.
///
/// # Errors
/// Where not even N rows and columns fit: the reduction alone is longer than a plane.
pub fn tiles(spec: GemmSpec, device: &Device) -> Result<(Vec<Range<u32>>, Vec<Range<u32>>)> {
    let lanes = device.info.machine.lanes;
    let error = match compile(spec, device) {
        Ok(_) => return Ok((vec![0..spec.m], vec![0..spec.n])),
        Err(e @ Error::DoesNotFit { .. }) => e,
        Err(e) => return Err(e),
    };
    let most = |size: u32| size.div_ceil(lanes);
    for count in 2..=MOST_TILES.min(most(spec.m) * most(spec.n)) {
        let ways = (1..=count).filter(|i| count % i == 0 && *i <= most(spec.m) && count / i <= most(spec.n));
        let tried = ways.filter_map(|i| {
            let (rows, cols) = (pieces(spec.m, i, lanes), pieces(spec.n, count / i, lanes));
            let mut cycles = 0;
            for r in &rows {
                for c in &cols {
                    let tile = GemmSpec { m: r.end - r.start, n: c.end - c.start, ..spec };
                    cycles += compile(tile, device).ok()?.predicted.cycles;
                }
            }
            Some((cycles, rows, cols))
        });
        if let Some((_, rows, cols)) = tried.min_by_key(|t| t.0) {
            return Ok((rows, cols));
        }
    }
    Err(error)
}

/// Runs one product that fits, `repeat` times in a row in one segment; also returns the segment's cycles.
pub fn one(
    device: &mut Device,
    spec: GemmSpec,
    a: &[u16],
    b: &[u16],
    bias: Option<&[u16]>,
    repeat: usize,
) -> Result<(Product, Option<u64>)> {
    let mut c = compile(spec, device)?;
    let gemm: Vec<u32> = c.program[..systole_isa::instr::ENGINE_WORDS].to_vec();
    for _ in 1..repeat {
        c.program.splice(0..0, gemm.iter().copied());
    }
    c.segments[0].words = c.program.len() as u32;
    let link = &mut device.link;
    link.phase("uploading a product");
    upload_program(link, &c.program)?;
    link.segments(&c.segments.iter().map(|s| (s.addr, s.words)).collect::<Vec<_>>())?;
    for (place, data) in [(Some(c.a), Some(a)), (Some(c.b), Some(b)), (c.bias, bias)] {
        if let (Some(place), Some(data)) = (place, data) {
            link.write(block(&place), &data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
        }
    }
    link.drain()?;
    link.phase("multiplying");
    let deadline = super::session::deadline(c.predicted.cycles * repeat as u64);
    device.recording.iter().for_each(|r| r.request_begins());
    let ticket = link.run(0, deadline, &Registers::default())?;
    let reply = link.run_reply(ticket)?;
    device.recording.iter().for_each(|r| r.request_ends());
    link.phase("reading the product");
    let bytes = link.read(block(&c.out))?;
    let elements = if spec.half_out {
        Elements::F16(bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect())
    } else {
        Elements::F32(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let counted = |n: u32| device.has_cycles().then_some(u64::from(n)).filter(|&n| n > 0);
    let cycles = counted(reply.last_gemm);
    let product = Product {
        out: Array { shape: vec![spec.m as usize, spec.n as usize], elements },
        cycles,
        macs: c.macs,
        utilization: utilization(device, c.macs, cycles),
        predicted: c.predicted.cycles,
        tiles: 1,
    };
    Ok((product, counted(reply.cycles)))
}

/// Writes program memory from word 0.
pub fn upload_program(link: &mut super::Link, program: &[u32]) -> Result<()> {
    let bytes: Vec<u8> = program.iter().flat_map(|w| w.to_le_bytes()).collect();
    link.write(Block::line(systole_isa::regs::Space::Program, 0, program.len() as u32), &bytes)
}
