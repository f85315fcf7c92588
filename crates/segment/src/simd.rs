//! The inner loops of search and build, each in the fastest variant that the machine supports, chosen once at run time:
//! the dot product of int8 codes, of one row and of four rows at once (AVX-512 VNNI, AVX2, NEON or plain), and the
//! squared Euclidean distance of f32 (compiled for AVX-512, AVX2 and plain). A prefetch hint changes no number.
//!
//! Stored codes are biased (`value + 128` as `u8`) and the query's are signed, which is the pairing that VNNI
//! multiplies. All variants return the same number to the last bit; a property test compares them. Dimensions are at
//! most 4,096, so a sum stays below 2^28.

#![expect(unsafe_code, reason = "vector instructions; nothing else in this crate has any")]

use std::sync::OnceLock;

/// `Σ (code − 128) × query` over the shorter of the two.
pub(crate) type Dot = fn(&[u8], &[i8]) -> i32;

/// Every variant that this machine supports, slowest first.
#[cfg(test)]
pub(crate) fn dot_variants() -> Vec<(&'static str, Dot)> {
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(unused_mut, reason = "nothing to add")
    )]
    let mut dot_variants: Vec<(&'static str, Dot)> = vec![("scalar", scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx2() {
            dot_variants.push(("avx2", x86::avx2));
        }
        if x86::has_vnni() {
            dot_variants.push(("avx512vnni", x86::vnni));
        }
    }
    #[cfg(target_arch = "aarch64")]
    dot_variants.push(("neon", arm::neon));
    dot_variants
}

fn scalar(codes: &[u8], query: &[i8]) -> i32 {
    codes.iter().zip(query).map(|(&c, &q)| (i32::from(c) - 128) * i32::from(q)).sum()
}

/// Signed values of a query's code, and their sum, which removes the bias of stored codes.
#[derive(Default)]
pub(crate) struct Signed {
    values: Vec<i8>,
    sum: i32,
}

impl Signed {
    pub(crate) fn new(values: Vec<i8>) -> Self {
        let sum = values.iter().map(|v| i32::from(*v)).sum();
        Self { values, sum }
    }

    /// Sets the values to those that a stored code represents.
    pub(crate) fn of_code(&mut self, code: &[u8]) {
        self.values.clear();
        self.values.extend(code.iter().map(|c| (c ^ 0x80) as i8));
        self.sum = self.values.iter().map(|v| i32::from(*v)).sum();
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// The dot products of four rows, each as long as the query. A shorter row counts as 0.
pub(crate) type FourDots = fn([&[u8]; 4], &Signed) -> [i32; 4];

/// The fastest variant that this machine supports.
pub(crate) fn four_dots() -> FourDots {
    static CHOSEN: OnceLock<FourDots> = OnceLock::new();
    *CHOSEN.get_or_init(|| four_dots_variants().last().map_or(four_dots_scalar, |(_, variant)| *variant))
}

/// Every variant that this machine supports, slowest first.
pub(crate) fn four_dots_variants() -> Vec<(&'static str, FourDots)> {
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(unused_mut, reason = "nothing to add")
    )]
    let mut dot_variants: Vec<(&'static str, FourDots)> = vec![("scalar", four_dots_scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx2() {
            dot_variants.push(("avx2", |rows, query| one_by_one(x86::avx2, rows, query)));
        }
        if x86::has_vnni() {
            dot_variants.push(("avx512vnni", x86::four_dots_vnni));
        }
    }
    #[cfg(target_arch = "aarch64")]
    dot_variants.push(("neon", |rows, query| one_by_one(arm::neon, rows, query)));
    dot_variants
}

fn four_dots_scalar(rows: [&[u8]; 4], query: &Signed) -> [i32; 4] {
    one_by_one(scalar, rows, query)
}

fn one_by_one(variant: Dot, rows: [&[u8]; 4], query: &Signed) -> [i32; 4] {
    rows.map(|row| row.get(..query.len()).map_or(0, |row| variant(row, &query.values)))
}

/// `Σ (a − b)²` over the shorter of the two, in sixteen lanes.
pub(crate) type L2Squared = fn(&[f32], &[f32]) -> f32;

/// The fastest variant that this machine supports.
pub(crate) fn l2_squared() -> L2Squared {
    static CHOSEN: OnceLock<L2Squared> = OnceLock::new();
    *CHOSEN.get_or_init(|| l2_squared_variants().last().map_or(l2_squared_plain, |(_, variant)| *variant))
}

/// Every variant that this machine supports, slowest first.
pub(crate) fn l2_squared_variants() -> Vec<(&'static str, L2Squared)> {
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "nothing to add"))]
    let mut dot_variants: Vec<(&'static str, L2Squared)> = vec![("plain", l2_squared_plain)];
    #[cfg(target_arch = "x86_64")]
    {
        if x86::has_avx2() {
            dot_variants.push(("avx2", x86::l2_squared_avx2));
        }
        if x86::has_vnni() {
            dot_variants.push(("avx512", x86::l2_squared_avx512));
        }
    }
    dot_variants
}

/// The sixteen lanes let the compiler use the instructions that the enclosing function enables.
#[inline(always)]
fn l2_squared_plain(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (xs, x_rest) = a.as_chunks::<16>();
    let (ys, y_rest) = b.as_chunks::<16>();
    for (x, y) in xs.iter().zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += (x - y) * (x - y);
        }
    }
    for ((sum, x), y) in sums.iter_mut().zip(x_rest).zip(y_rest) {
        *sum += (x - y) * (x - y);
    }
    sums.iter().sum()
}

/// Prefetches bytes that will be read soon. Does nothing on a machine without a prefetch instruction here.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    x86::prefetch(bytes);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;
