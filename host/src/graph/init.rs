//! Initial values of parameters.

use super::Graph;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Initial values of every parameter, in the graph's order, row-major: uniform in ±1/√fan_in for weights and biases, as
/// PyTorch's `Linear`, `Conv2d`, `GRU` and `LSTM` draw them; a constant where the parameter says so.
///
/// One ChaCha8 stream keyed by `seed`; only f32 operations that IEEE 754 defines exactly (including the square root), so
/// that every platform starts from the same bits.
pub fn initialize(graph: &Graph, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draw = |rng: &mut ChaCha8Rng, bound: f32| {
        let u = (rng.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32);
        (2.0 * u - 1.0) * bound
    };
    let tensor = |p: &super::Parameter, rng: &mut ChaCha8Rng| {
        if let Some(v) = p.constant {
            return vec![v; p.len()];
        }
        let bound = 1.0 / (p.fan_in as f32).sqrt();
        (0..p.len()).map(|_| draw(rng, bound)).collect()
    };
    graph.parameters.iter().map(|p| tensor(p, &mut rng)).collect()
}
