//! Shared by both builders: makes rows reachable that no walk would reach, and writes the byte format.

use super::{BASE_LINKS, NONE, UPPER_LINKS};
use roaring::RoaringBitmap;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

/// Links by row, lowest layer first; the base layer holds [`BASE_LINKS`] for every row.
pub(crate) struct GraphLinks {
    pub(crate) entry: u32,
    pub(crate) base: Vec<u32>,
    /// Links of the rows of each upper layer, [`UPPER_LINKS`] each; lowest layer first.
    pub(crate) upper: Vec<BTreeMap<u32, Vec<u32>>>,
}

impl GraphLinks {
    /// Appends the frozen form.
    pub(crate) fn write(mut self, vectored: &RoaringBitmap, out: &mut Vec<u8>) {
        connect(&mut self.base, self.entry, vectored);
        let mut put = |n: u32| out.extend_from_slice(&n.to_le_bytes());
        self.base.into_iter().for_each(&mut put);
        put(self.entry);
        put(self.upper.len() as u32);
        for layer in &self.upper {
            put(layer.len() as u32);
            layer.keys().copied().for_each(&mut put);
            for links in layer.values() {
                let padded = links.iter().copied().chain(std::iter::repeat(NONE));
                padded.take(UPPER_LINKS).for_each(&mut put);
            }
        }
    }
}

/// Writes a graph of the usual shape (a sixteenth of the rows of each layer in the next) whose links are row numbers
/// scattered by a multiplication. For benchmarks.
pub(crate) fn scattered(rows: u32, out: &mut Vec<u8>) {
    let layer = |step: u64| (0..u64::from(rows)).step_by(step as usize);
    let steps: Vec<u64> = (1..).map(|n| 16u64.pow(n)).take_while(|step| *step < u64::from(rows)).collect();
    let mut put = |n: u64| out.extend_from_slice(&(n as u32).to_le_bytes());
    let link = |row: u64, n: usize| (row + 1).wrapping_mul(0x9E37_79B9 * (n as u64 * 2 + 1)) >> 7;
    layer(1).for_each(|row| (0..BASE_LINKS).for_each(|n| put(link(row, n) % u64::from(rows))));
    put(0);
    put(steps.len() as u64);
    for step in steps {
        let count = u64::from(rows).div_ceil(step);
        put(count);
        layer(step).for_each(&mut put);
        layer(step).for_each(|row| (0..UPPER_LINKS).for_each(|n| put(link(row, n) % count * step)));
    }
}

/// Makes every row reachable. A reverse edge that was dropped may have been the only link to a row, equal vectors get
/// hardly any links, and a row that no walk reaches would never be found.
fn connect(base: &mut [u32], entry: u32, vectored: &RoaringBitmap) {
    let mut reached = RoaringBitmap::new();
    mark_reachable(base, entry, &mut reached);
    // The row whose free slot took the last link for a host: the next search starts there, because many equal vectors
    // would otherwise take forever.
    let mut last_slots: BTreeMap<u32, u32> = BTreeMap::new();
    loop {
        let unreachable = vectored - &reached;
        let Some(first) = unreachable.min() else { return };
        let before = reached.len();
        // Prefer a link from a neighbour that is reachable: a walk towards this row comes through there.
        for row in &unreachable {
            let near = base[slots(row)].iter().copied().find(|n| reached.contains(*n));
            if let Some(host) = near.filter(|_| !reached.contains(row)) {
                let slot_row = add_link_near(base, last_slots.get(&host).copied().unwrap_or(host), row);
                last_slots.insert(host, slot_row);
                mark_reachable(base, row, &mut reached);
            }
        }
        if reached.len() == before {
            // The remaining rows link only to each other.
            add_link_near(base, entry, first);
            mark_reachable(base, first, &mut reached);
        }
    }
}

fn slots(row: u32) -> Range<usize> {
    row as usize * BASE_LINKS..(row as usize + 1) * BASE_LINKS
}

/// Adds to `reached` all rows that can be reached from a row.
fn mark_reachable(base: &[u32], from: u32, reached: &mut RoaringBitmap) {
    reached.insert(from);
    let mut waiting = vec![from];
    while let Some(row) = waiting.pop() {
        waiting.extend(base[slots(row)].iter().copied().filter(|&n| n != NONE && reached.insert(n)));
    }
}

/// Links to a row from the nearest row to `host`, in steps, that has a free slot, and returns that row. If all rows
/// that can be reached were full, the host's farthest link would be replaced.
fn add_link_near(base: &mut [u32], host: u32, to: u32) -> u32 {
    let mut visited = RoaringBitmap::from([host]);
    let mut waiting = VecDeque::from([host]);
    while let Some(row) = waiting.pop_front() {
        if let Some(free) = base[slots(row)].iter_mut().find(|n| **n == NONE) {
            *free = to;
            return row;
        }
        waiting.extend(base[slots(row)].iter().copied().filter(|n| visited.insert(*n)));
    }
    if let Some(far) = base[slots(host)].last_mut() {
        *far = to;
    }
    host
}
