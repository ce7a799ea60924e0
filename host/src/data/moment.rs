//! Random numbers of a batch from a counter-based generator: keyed by seed, epoch and what they are for, counted by batch. So those
//! of any batch are known without going through the ones before it, there is no state to save, and a resumed run sends again what
//! was on its way.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Which batch of a run random numbers are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The run's seed.
    pub seed: u64,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The batch in it, counted from 0; each micro-batch of a step counts.
    pub batch: u64,
}

impl Moment {
    /// The generator of consumer number `number` of a kind. `kind` is the last quarter of the key, so that no two kinds of
    /// consumers meet the same stream.
    pub(super) fn random(self, number: u64, kind: [u8; 8]) -> ChaCha8Rng {
        let mut key = [0; 32];
        let words = [self.seed.to_le_bytes(), self.epoch.to_le_bytes(), number.to_le_bytes(), kind];
        for (part, word) in key.chunks_mut(8).zip(words) {
            part.copy_from_slice(&word);
        }
        let mut random = ChaCha8Rng::from_seed(key);
        random.set_stream(self.batch);
        random
    }
}
