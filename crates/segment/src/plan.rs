//! Chooses between a scan and a walk: the cheaper one for the given rows, by costs measured on this machine.
//!
//! A scan compares every row that passes the filter and is exact. A walk of the graph also compares rows that do not
//! pass, each at a random position in memory. Which is cheaper depends on how many rows pass, on the length of a
//! vector, and on which level of memory a random access reaches. Therefore it is measured once ([`calibrate`]); until
//! then the costs of a common machine are assumed.

use crate::simd::{self, Signed};
use std::{sync::OnceLock, time::Duration};

/// How the vectors of one segment were searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanStrategy {
    /// Every row that passes was compared: exact.
    Scan,
    /// The graph was walked with this many rows in view.
    Walk {
        /// Rows in view.
        breadth: usize,
    },
    /// A walk found too few rows that pass, so they were scanned after it: exact.
    WalkThenScan {
        /// Rows in view.
        breadth: usize,
    },
}

impl ScanStrategy {
    /// Name of the strategy for people.
    pub fn as_str(self) -> &'static str {
        match self {
            ScanStrategy::Scan => "scan",
            ScanStrategy::Walk { .. } => "walk",
            ScanStrategy::WalkThenScan { .. } => "walk_then_scan",
        }
    }

    /// Rows in view of the walk, if there was one.
    pub fn breadth(self) -> Option<usize> {
        match self {
            ScanStrategy::Scan => None,
            ScanStrategy::Walk { breadth } | ScanStrategy::WalkThenScan { breadth } => Some(breadth),
        }
    }
}

/// What a search of one segment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchStats {
    /// Rows that pass the filter and have a vector.
    pub rows: u64,
    /// How they were searched.
    pub strategy: ScanStrategy,
    /// Rows that were compared by codes.
    pub compared: u64,
    /// Rows that were scored in 16 bits: the best of those compared, or all when so few pass that none was compared.
    pub rescored: u64,
}

/// Cost of comparing one row, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Per byte of its code.
    pub(crate) byte: f64,
    /// Per random access to it.
    pub(crate) random_access: f64,
}

impl Costs {
    /// The measured costs of this machine, or the defaults.
    pub(crate) fn current() -> Self {
        MEASURED.get().copied().unwrap_or(DEFAULT_COSTS)
    }

    /// Cost of scanning `rows` rows, which are `share` of all rows of the segment.
    pub(crate) fn scan(self, rows: u64, share: f64, size: usize) -> f64 {
        let row =
            self.byte * size as f64 + if share < DENSE_SHARE { self.random_access * UNPREFETCHED_SHARE } else { 0.0 };
        row * rows as f64
    }

    /// Cost of one more row in the view of a walk.
    pub(crate) fn step(self, size: usize) -> f64 {
        (self.byte * size as f64 + self.random_access) * COMPARED_PER_STEP
    }
}

static MEASURED: OnceLock<Costs> = OnceLock::new();

/// Measures the cost of comparing rows on this machine, once per process, with some 20 ms and 24 MiB. `now` is a
/// monotonic clock. Plans depend on the result; answers do not, except for rows that a walk may miss.
pub fn calibrate(now: impl Fn() -> Duration) {
    MEASURED.get_or_init(|| measured(now));
}

/// Compares rows of 384 bytes, sequentially and at random positions, in more memory than caches hold.
fn measured(now: impl Fn() -> Duration) -> Costs {
    let rows = MEASURED_BYTES / ROW_BYTES;
    // The memory is written, because it would otherwise be one page of zeros.
    let codes: Vec<u8> = (0..rows * ROW_BYTES).map(|n| n as u8).collect();
    let query = Signed::new(vec![3; ROW_BYTES]);
    let sequential = time_per_row(&codes, &query, &now, &|n| n % rows);
    // An odd step visits every row.
    let random = time_per_row(&codes, &query, &now, &|n| n.wrapping_mul(0x9E37_79B1) % rows);
    if sequential == 0.0 {
        // The clock does not move, as in tests.
        return DEFAULT_COSTS;
    }
    let byte = (sequential / ROW_BYTES as f64).clamp(BYTE_NS.0, BYTE_NS.1);
    Costs { byte, random_access: (random - sequential).clamp(JUMP_NS.0, JUMP_NS.1) }
}

/// Nanoseconds of comparing a row when rows are visited in this order: the best of some measurements.
fn time_per_row(codes: &[u8], query: &Signed, now: &dyn Fn() -> Duration, order: &dyn Fn(usize) -> usize) -> f64 {
    let dot = simd::four_dots();
    let row = |row: usize| codes.get(row * ROW_BYTES..(row + 1) * ROW_BYTES).unwrap_or_default();
    let mut best = f64::INFINITY;
    for _ in 0..MEASURED_TIMES {
        let mut kept = 0i64;
        let began = now();
        for four in 0..MEASURED_ROWS / 4 {
            let next = [0, 1, 2, 3].map(|n| row(order(4 * four + n)));
            next.into_iter().for_each(simd::prefetch);
            kept = kept.wrapping_add(dot(next, query).iter().map(|n| i64::from(*n)).sum());
        }
        best = best.min(now().saturating_sub(began).as_secs_f64() * 1e9 / MEASURED_ROWS as f64);
        std::hint::black_box(kept);
    }
    best
}

/// Costs of two shared cores of 2025.
const DEFAULT_COSTS: Costs = Costs { byte: 0.05, random_access: 90.0 };
/// Size of the measured rows: the vector length of a common model.
const ROW_BYTES: usize = 384;
const MEASURED_BYTES: usize = 24 << 20;
const MEASURED_ROWS: usize = 16_384;
/// The best time counts, because other load can only slow it down.
const MEASURED_TIMES: usize = 3;
/// Bounds on what is believed of a machine that is disturbed all the time, nanoseconds.
const BYTE_NS: (f64, f64) = (0.005, 1.0);
const JUMP_NS: (f64, f64) = (10.0, 400.0);
/// Rows that a walk compares for each that it keeps in view (measured: 13 to 17 at 100,000 rows).
const COMPARED_PER_STEP: f64 = 15.0;
/// Below this share the passing rows are not adjacent, and each is a random access …
const DENSE_SHARE: f64 = 0.25;
/// … of whose cost this part remains, because a scan knows its next rows long before.
const UNPREFETCHED_SHARE: f64 = 0.3;
