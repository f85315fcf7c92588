//! Repeatable random choices: a failing test prints its seed.

use kernel::{Entropy, SeededEntropy};

/// A small random generator with a seed.
pub struct Rng(SeededEntropy);

impl Rng {
    /// Creates a generator. The same seed gives the same choices.
    pub fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// A uniform number below `n`; 0 if `n` is 0.
    pub fn below(&self, n: u64) -> u64 {
        let bytes: [u8; 8] = self.0.array();
        u64::from_le_bytes(bytes) % n.max(1)
    }

    /// A value from -1 to 1.
    pub fn signed(&self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let x = self.below(1 << 24) as f32 / (1 << 23) as f32;
        x - 1.0
    }

    /// One of the elements.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        let at = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(at).expect("the list is not empty")
    }
}
