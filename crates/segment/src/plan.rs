//! Scan or walk: whichever is cheaper for these rows, by costs measured on this machine.
//!
//! A scan compares every row that may answer and is exact. A walk of the graph compares rows that may not answer too,
//! each at a random place of memory. Which is cheaper depends on how many rows pass, on the length of a vector, and on
//! what memory a jump reaches: hence measured once ([`calibrate`]); until then a common machine is assumed.

use crate::simd::{self, Signed};
use std::{sync::OnceLock, time::Duration};

/// How the vectors of one segment were searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Every row that may answer was compared: exact.
    Scan,
    /// The graph was walked with this many rows in view.
    Walk {
        /// Rows in view.
        breadth: usize,
    },
    /// A walk met too few rows that may answer, so they were scanned after it: exact.
    WalkThenScan {
        /// Rows in view.
        breadth: usize,
    },
}

impl Way {
    /// A name, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Scan => "scan",
            Way::Walk { .. } => "walk",
            Way::WalkThenScan { .. } => "walk_then_scan",
        }
    }

    /// Rows in view of a walk.
    pub fn breadth(self) -> Option<usize> {
        match self {
            Way::Scan => None,
            Way::Walk { breadth } | Way::WalkThenScan { breadth } => Some(breadth),
        }
    }
}

/// What a search of one segment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Rows that might answer and have a vector.
    pub rows: u64,
    /// How they were searched.
    pub way: Way,
    /// Rows that were compared by codes.
    pub compared: u64,
    /// Rows scored in 16 bits: the best of those, or all where so few might answer that none was compared.
    pub rescored: u64,
}

/// What comparing one row costs, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// For each byte of its code.
    pub(crate) byte: f64,
    /// For a jump to it.
    pub(crate) jump: f64,
}

impl Costs {
    /// Those of this machine.
    pub(crate) fn here() -> Self {
        HERE.get().copied().unwrap_or(COMMON)
    }

    /// Of scanning so many rows, which are this share of those that are there.
    pub(crate) fn scan(self, rows: u64, share: f64, size: usize) -> f64 {
        let row = self.byte * size as f64 + if share < DENSE_SHARE { self.jump * PREFETCHED } else { 0.0 };
        row * rows as f64
    }

    /// Of having one more row in view of a walk.
    pub(crate) fn step(self, size: usize) -> f64 {
        (self.byte * size as f64 + self.jump) * COMPARED_A_STEP
    }
}

static HERE: OnceLock<Costs> = OnceLock::new();

/// Measures what comparing rows costs on this machine, once for the process: some 20 ms and 24 MiB. `now` is time that
/// only grows. Plans depend on it, answers do not, but for what a walk may miss.
pub fn calibrate(now: impl Fn() -> Duration) {
    HERE.get_or_init(|| measured(now));
}

/// Compares rows of 384 bytes one after the other, and here and there, in more memory than caches hold.
fn measured(now: impl Fn() -> Duration) -> Costs {
    let rows = MEASURED_BYTES / SIZE;
    // Written, or all of it were one page of zeros.
    let codes: Vec<u8> = (0..rows * SIZE).map(|n| n as u8).collect();
    let query = Signed::new(vec![3; SIZE]);
    let dot = simd::four_dots();
    let row = |row: usize| codes.get(row * SIZE..(row + 1) * SIZE).unwrap_or_default();
    let mut kept = 0i64;
    let mut best = |order: &dyn Fn(usize) -> usize| {
        let once = |_| {
            let began = now();
            for four in 0..MEASURED_ROWS / 4 {
                let next = [0, 1, 2, 3].map(|n| row(order(4 * four + n)));
                next.into_iter().for_each(simd::prefetch);
                kept = kept.wrapping_add(dot(next, &query).iter().map(|n| i64::from(*n)).sum());
            }
            now().saturating_sub(began).as_secs_f64() * 1e9 / MEASURED_ROWS as f64
        };
        (0..MEASURED_TIMES).map(once).fold(f64::INFINITY, f64::min)
    };
    let along = best(&|n| n % rows);
    // An odd step visits every row.
    let across = best(&|n| n.wrapping_mul(0x9E37_79B1) % rows);
    std::hint::black_box(kept);
    if along == 0.0 {
        // A clock that stands still, as tests have.
        return COMMON;
    }
    let byte = (along / SIZE as f64).clamp(BYTE.0, BYTE.1);
    Costs { byte, jump: (across - along).clamp(JUMP.0, JUMP.1) }
}

/// Two shared cores of 2025.
const COMMON: Costs = Costs { byte: 0.05, jump: 90.0 };
/// Of what is measured: the length of a common model's vectors.
const SIZE: usize = 384;
const MEASURED_BYTES: usize = 24 << 20;
const MEASURED_ROWS: usize = 16_384;
/// The best counts: whatever else runs only makes it slower.
const MEASURED_TIMES: usize = 3;
/// A machine that is disturbed all the time is not believed beyond these, nanoseconds.
const BYTE: (f64, f64) = (0.005, 1.0);
const JUMP: (f64, f64) = (10.0, 400.0);
/// Rows that a walk compares for each that it keeps in view (measured: 13 to 17 at 100,000 rows).
const COMPARED_A_STEP: f64 = 15.0;
/// Below this share rows that pass stand apart, and each is a jump …
const DENSE_SHARE: f64 = 0.25;
/// … of which this part remains, because a scan knows its next rows long before.
const PREFETCHED: f64 = 0.3;
