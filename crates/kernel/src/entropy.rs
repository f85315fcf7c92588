//! Randomness, passed in so that simulations are repeatable.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);

    /// A random array.
    fn array<const N: usize>(&self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    ///
    /// # Panics
    /// If the operating system has no entropy to give: no operation would be safe then.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for entropy")]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system gives entropy");
    }
}

/// Repeatable bytes for tests and simulation. It must never make keys in production.
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// Starts the sequence of a seed. The same seed gives the same bytes.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    /// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}
