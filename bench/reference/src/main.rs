//! One training step of a multi-layer perceptron in candle (FP32, CPU, one thread): forward, softmax cross-entropy, backward,
//! SGD with momentum. The counterpart of `systole bench model`.
//!
//! ```sh
//! RAYON_NUM_THREADS=1 cargo run --release --manifest-path bench/reference/Cargo.toml
//! ```

use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, Var};

/// Repetitions, of which the fastest counts, as in `systole bench model`.
const ROUNDS: usize = 7;

struct Layer {
    weight: Var,
    bias: Var,
    momentum: [Tensor; 2],
}

fn layer(inputs: usize, outputs: usize, device: &Device) -> Result<Layer> {
    let bound = 1.0 / (inputs as f32).sqrt();
    let weight = Var::from_tensor(&Tensor::rand(-bound, bound, (outputs, inputs), device)?)?;
    let bias = Var::from_tensor(&Tensor::rand(-bound, bound, outputs, device)?)?;
    let momentum = [weight.zeros_like()?, bias.zeros_like()?];
    Ok(Layer { weight, bias, momentum })
}

/// One step; returns the loss.
fn step(layers: &mut [Layer], x: &Tensor, labels: &Tensor, (lr, mu): (f64, f64)) -> Result<Tensor> {
    let mut h = x.clone();
    let last = layers.len() - 1;
    for (i, l) in layers.iter().enumerate() {
        h = h.matmul(&l.weight.t()?)?.broadcast_add(&l.bias)?;
        if i < last {
            h = h.relu()?;
        }
    }
    let loss = candle_nn::loss::cross_entropy(&h, labels)?;
    let gradients = loss.backward()?;
    for l in layers {
        for (v, m) in [&l.weight, &l.bias].into_iter().zip(&mut l.momentum) {
            let g = gradients.get(v).expect("every parameter has a gradient");
            *m = ((&*m * mu)? + g)?.detach();
            v.set(&(v.as_tensor() - (&*m * lr)?)?)?;
        }
    }
    Ok(loss)
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    println!("# candle 0.9, FP32, RAYON_NUM_THREADS={}", std::env::var("RAYON_NUM_THREADS").unwrap_or("unset".into()));
    println!("model,batch,steps,us_per_step,us_slowest");
    for (name, sizes, batch, steps) in
        [("mlp:64-32-10", vec![64, 32, 10], 32usize, 500usize), ("mlp:784-128-10", vec![784, 128, 10], 64, 100)]
    {
        let mut layers = sizes.windows(2).map(|w| layer(w[0], w[1], &device)).collect::<Result<Vec<_>>>()?;
        let x = Tensor::rand(0f32, 1.0, (batch, sizes[0]), &device)?;
        let labels: Vec<u32> = (0..batch as u32).map(|i| i % 10).collect();
        let labels = Tensor::from_vec(labels, batch, &device)?.to_dtype(DType::U32)?;
        let mut times = Vec::new();
        let mut losses = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            for _ in 0..steps {
                losses.push(step(&mut layers, &x, &labels, (0.05, 0.9))?);
            }
            times.push(1e6 * started.elapsed().as_secs_f64() / steps as f64);
        }
        let (first, end) = (losses[0].to_scalar::<f32>()?, losses[losses.len() - 1].to_scalar::<f32>()?);
        assert!(end < first, "the reference must learn: {first} -> {end}");
        times.sort_by(f64::total_cmp);
        println!("{name},{batch},{steps},{:.2},{:.2}", times[0], times[ROUNDS - 1]);
    }
    Ok(())
}
