//! What a generator makes images from: vectors of random numbers, uniform in (−1, 1) as in Radford et al. (DCGAN, arXiv 1511.06434).

use half::f16;
use rand_chacha::rand_core::RngCore;

use super::moment::Moment;

/// What sets these numbers' key apart from others of the same seed.
const KIND: [u8; 8] = *b"latent\0\0";

/// `n` numbers, row-major `[batch, latent]`, for pass number `pass` of a step: multiples of 2⁻¹¹ that FP16 holds exactly, so that
/// they do not depend on the device.
pub fn noise(at: Moment, pass: u64, n: usize) -> Vec<f16> {
    let mut random = at.random(pass, KIND);
    // the middles of 2048 equal parts of (−1, 1)
    (0..n).map(|_| f16::from_f32(((random.next_u32() >> 21) as f32 + 0.5) / 1024.0 - 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment { seed: 7, epoch: 3, batch: 11 };

    #[test]
    fn noise_is_uniform_exact_and_depends_on_the_moment_and_the_pass() {
        let values = noise(AT, 1, 100_000);
        assert_eq!(values, noise(AT, 1, 100_000));
        for other in [Moment { seed: 8, ..AT }, Moment { epoch: 4, ..AT }, Moment { batch: 12, ..AT }] {
            assert_ne!(noise(other, 1, 16), values[..16]);
        }
        assert_ne!(noise(AT, 2, 16), values[..16]);
        assert!(values.iter().all(|v| v.to_f32().abs() < 1.0 && (v.to_f32() * 2048.0).fract() == 0.0));
        let mean = |f: fn(f64) -> f64| values.iter().map(|v| f(v.to_f64())).sum::<f64>() / values.len() as f64;
        assert!(mean(|v| v).abs() < 0.01 && (mean(|v| v * v) - 1.0 / 3.0).abs() < 0.01);
    }
}
