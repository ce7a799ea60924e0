//! What a dropout keeps, from the generator of a [`Moment`].

use rand_chacha::rand_core::RngCore;

pub use super::moment::Moment;
use crate::compile::optimizer::decimal;

/// What sets these numbers' key apart from others of the same seed.
const KIND: [u8; 8] = *b"dropout\0";

/// Which of `n` values the dropout number `layer` keeps, each with probability 1 − `p`; row-major in PyTorch's order,
/// `[batch, shape…]`, so that it does not depend on the device.
pub fn kept(at: Moment, layer: u64, p: f32, n: usize) -> Vec<bool> {
    let mut random = at.random(layer, KIND);
    let dropped = (decimal(p) * f64::from(u32::MAX)) as u32;
    (0..n).map(|_| random.next_u32() >= dropped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Moment = Moment { seed: 7, epoch: 3, batch: 11 };

    #[test]
    fn a_mask_depends_on_seed_epoch_batch_and_layer_alone() {
        let mask = kept(AT, 0, 0.5, 256);
        assert_eq!(mask, kept(AT, 0, 0.5, 256));
        assert_eq!(mask[..100], kept(AT, 0, 0.5, 100), "a shorter one is its beginning");
        for other in [
            kept(Moment { seed: 8, ..AT }, 0, 0.5, 256),
            kept(Moment { epoch: 4, ..AT }, 0, 0.5, 256),
            kept(Moment { batch: 12, ..AT }, 0, 0.5, 256),
            kept(AT, 1, 0.5, 256),
        ] {
            let same = mask.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((80..176).contains(&same), "{same} of 256 agree");
        }
    }

    #[test]
    fn it_keeps_the_share_that_it_is_told_to() {
        for (p, low, high) in [(0.0, 100_000, 100_000), (0.1, 89_500, 90_500), (0.5, 49_300, 50_700), (0.99, 900, 1100)]
        {
            let n = kept(AT, 0, p, 100_000).into_iter().filter(|&k| k).count();
            assert!((low..=high).contains(&n), "{n} kept at {p}");
        }
    }
}
