//! One matrix product on a device.

use crate::compile::{CompiledGemm, GemmSpec, TensorPlace, gemm};
use crate::error::{Error, Result};
use crate::npy::{Array, Elements};

use super::Device;
use super::requests::{Block, Registers};

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
}

/// Compiles a product for a device, with this crate's errors.
pub fn compile(spec: GemmSpec, device: &Device) -> Result<CompiledGemm> {
    let what = format!("the product {}×{}·{}×{}", spec.m, spec.k, spec.k, spec.n);
    gemm(spec, device.info.machine).map_err(|e| Error::from_compiler(what, e))
}

/// Runs one product. `a`, `b` and `bias` are FP16 bits in the stored shapes.
pub fn multiply(device: &mut Device, spec: GemmSpec, a: &[u16], b: &[u16], bias: Option<&[u16]>) -> Result<Product> {
    let c = compile(spec, device)?;
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
    let deadline = super::session::deadline(c.predicted.cycles);
    device.recording.iter().for_each(|r| r.product_begins());
    let ticket = link.run(0, deadline, &Registers::default())?;
    let reply = link.run_reply(ticket)?;
    device.recording.iter().for_each(|r| r.product_ends());
    link.phase("reading the product");
    let bytes = link.read(block(&c.out))?;
    let elements = if spec.half_out {
        Elements::F16(bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect())
    } else {
        Elements::F32(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let cycles = device.has_cycles().then_some(u64::from(reply.last_gemm)).filter(|&n| n > 0);
    let pes = u64::from(device.info.machine.lanes).pow(2);
    Ok(Product {
        out: Array { shape: vec![spec.m as usize, spec.n as usize], elements },
        cycles,
        macs: c.macs,
        utilization: cycles.map(|n| c.macs as f64 / (pes * n) as f64),
        predicted: c.predicted.cycles,
    })
}

/// Writes program memory from word 0.
pub fn upload_program(link: &mut super::Link, program: &[u32]) -> Result<()> {
    let bytes: Vec<u8> = program.iter().flat_map(|w| w.to_le_bytes()).collect();
    link.write(Block::line(systole_isa::regs::Space::Program, 0, program.len() as u32), &bytes)
}
