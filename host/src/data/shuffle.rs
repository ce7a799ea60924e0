//! The order of a training epoch, from a counter-based generator: keyed by seed and epoch, so that any epoch's order is known
//! without going through those before it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A permutation of `0..n` for this seed and epoch (Fisher–Yates over ChaCha8, key: seed, stream: epoch).
pub fn permutation(seed: u64, epoch: u64, n: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let j = ((u128::from(random.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_that_depends_on_seed_and_epoch_alone() {
        let p = permutation(7, 3, 1437);
        let mut sorted = p.clone();
        sorted.sort();
        assert_eq!(sorted, (0..1437).collect::<Vec<_>>());
        assert_eq!(p, permutation(7, 3, 1437));
        assert_ne!(p, permutation(7, 4, 1437));
        assert_ne!(p, permutation(8, 3, 1437));
        assert!(permutation(0, 0, 0).is_empty());
        assert_eq!(permutation(7, 3, 8), EXPECTED);
    }

    const EXPECTED: [usize; 8] = [6, 2, 3, 4, 7, 5, 0, 1];
}
