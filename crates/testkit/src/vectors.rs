//! Vectors that resemble embeddings of sentences, for benchmarks: 384 values of unit length from a mixture of Gaussians
//! with a local intrinsic dimension of about 25; or the vectors of a file.

use crate::Rng;
use std::{io, path::Path};

/// Dimensions of a vector.
pub const VALUES: usize = 384;
/// Number of centres of the mixture.
const CENTRES: u64 = 2_000;
/// Number of directions that all centres share, and of those in which the points of one centre vary.
const SHARED: usize = 64;
const OWN: usize = 24;

/// Source of the points. The same seed gives the same points in the same order.
pub struct Mixture {
    random: Rng,
    centres: Vec<(Vec<f32>, Vec<Vec<f32>>)>,
}

impl Mixture {
    /// Draws the centres. This takes 70 MB and about a second.
    pub fn new(seed: u64) -> Self {
        let random = Rng::new(seed);
        let shared: Vec<Vec<f32>> = (0..SHARED).map(|_| (0..VALUES).map(|_| normal(&random)).collect()).collect();
        let mix = |fade: f32| {
            let mut sum = vec![0.0; VALUES];
            for (n, axis) in (1_u16..).zip(&shared) {
                add(&mut sum, axis, normal(&random) * f32::from(n).powf(-fade));
            }
            unit(sum)
        };
        let centres = (0..CENTRES).map(|_| (mix(0.4), (0..OWN).map(|_| mix(0.0)).collect())).collect();
        Self { random, centres }
    }

    /// The next point.
    pub fn point(&self) -> Vec<f32> {
        let (centre, axes) = self.random.pick(&self.centres);
        let mut point = centre.clone();
        for (n, axis) in (1_u16..).zip(axes) {
            add(&mut point, axis, 0.34 * normal(&self.random) * f32::from(n).powf(-0.3));
        }
        point.iter_mut().for_each(|x| *x += 0.015 * normal(&self.random));
        unit(point)
    }
}

/// The first vectors of a file of little-endian f32 values, at most `at_most` of them.
///
/// # Errors
/// If the file cannot be read.
pub fn read_vectors(file: &Path, at_most: usize) -> io::Result<Vec<Vec<f32>>> {
    let bytes = std::fs::read(file)?;
    let vector = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    Ok(bytes.chunks_exact(4 * VALUES).take(at_most).map(vector).collect())
}

fn add(sum: &mut [f32], axis: &[f32], by: f32) {
    sum.iter_mut().zip(axis).for_each(|(s, x)| *s += by * x);
}

/// A nearly normal number with variance 1.
fn normal(random: &Rng) -> f32 {
    (0..3).map(|_| random.signed()).sum()
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}
