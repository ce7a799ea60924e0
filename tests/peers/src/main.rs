//! candle's time for the training steps that `systole bench model` times: FP32, SGD with momentum, random data of the same
//! shape, on one thread (the caller sets `RAYON_NUM_THREADS=1`).
//!
//! Arguments: `IN-HIDDEN-OUT:BATCH:STEPS:ROUNDS` each. Prints one line per network: library, µs per step of the fastest round,
//! of the median one.

use std::time::Instant;

use candle_core::{D, Device, Result, Tensor, Var};

const LR: f64 = 0.05;
const MOMENTUM: f64 = 0.9;

/// A dense network with ReLU between its layers; weights are `[out, in]`.
struct Network {
    parameters: Vec<Var>,
    moments: Vec<Tensor>,
}

impl Network {
    fn new(sizes: &[usize], device: &Device) -> Result<Network> {
        let mut parameters = Vec::new();
        for pair in sizes.windows(2) {
            let scale = (2.0 / pair[0] as f32).sqrt();
            parameters.push(Var::randn(0f32, scale, (pair[1], pair[0]), device)?);
            parameters.push(Var::zeros(pair[1], candle_core::DType::F32, device)?);
        }
        let moments = parameters.iter().map(|p| p.zeros_like()).collect::<Result<_>>()?;
        Ok(Network { parameters, moments })
    }

    /// One step on inputs `[batch, in]` and one-hot classes `[batch, out]`; returns the mean loss.
    fn step(&mut self, inputs: &Tensor, classes: &Tensor) -> Result<f32> {
        let mut x = inputs.clone();
        let layers = self.parameters.len() / 2;
        for (i, layer) in self.parameters.chunks(2).enumerate() {
            x = x.matmul(&layer[0].t()?)?.broadcast_add(&layer[1])?;
            x = if i + 1 < layers { x.relu()? } else { x };
        }
        let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?;
        let logarithm = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
        let loss = (shifted.broadcast_sub(&logarithm)? * classes)?.sum_all()?.affine(-1.0 / inputs.dim(0)? as f64, 0.0)?;
        let gradients = loss.backward()?;
        for (p, m) in self.parameters.iter().zip(&mut self.moments) {
            let Some(g) = gradients.get(p) else { continue };
            *m = (m.affine(MOMENTUM, 0.0)? + g)?;
            p.set(&(p.as_tensor() - m.affine(LR, 0.0)?)?)?;
        }
        loss.to_scalar()
    }
}

/// µs per step of every round, ascending.
fn measure(sizes: &[usize], batch: usize, steps: usize, rounds: usize) -> Result<Vec<f64>> {
    let device = Device::Cpu;
    let mut network = Network::new(sizes, &device)?;
    let inputs = Tensor::rand(0f32, 1f32, (batch, sizes[0]), &device)?;
    let outputs = sizes[sizes.len() - 1];
    let one_hot: Vec<f32> = (0..batch * outputs).map(|i| f32::from(i / outputs % outputs == i % outputs)).collect();
    let classes = Tensor::from_vec(one_hot, (batch, outputs), &device)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        for _ in 0..steps {
            network.step(&inputs, &classes)?;
        }
        times.push(1e6 * started.elapsed().as_secs_f64() / steps as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    for argument in std::env::args().skip(1) {
        let numbers: Vec<usize> =
            argument.split([':', '-']).map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [sizes @ .., batch, steps, rounds] = &numbers[..] else { return Err("IN-HIDDEN-OUT:BATCH:STEPS:ROUNDS".into()) };
        let times = measure(sizes, *batch, *steps, *rounds)?;
        println!("candle {:.2} {:.2}", times[0], times[times.len() / 2]);
    }
    Ok(())
}
