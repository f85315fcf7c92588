//! What both builders share: rows that no walk would reach get a way in, and the bytes.

use super::{BASE_LINKS, NONE, UPPER_LINKS};
use roaring::RoaringBitmap;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

/// Links by row, lowest layer first; the base holds [`BASE_LINKS`] for every row.
pub(crate) struct Links {
    pub(crate) entry: u32,
    pub(crate) base: Vec<u32>,
    /// Links of the rows of each upper layer, [`UPPER_LINKS`] each, lowest first.
    pub(crate) upper: Vec<BTreeMap<u32, Vec<u32>>>,
}

impl Links {
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

/// A graph of the usual shape (a sixteenth of the rows in each next layer) whose links are row numbers that
/// a multiplication scatters. For benchmarks.
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

/// Makes every row reachable: a reverse edge that is cut may have been a row's only way in, equal vectors get
/// hardly any links, and a row that no walk reaches would never be found.
fn connect(base: &mut [u32], entry: u32, vectored: &RoaringBitmap) {
    let mut reached = RoaringBitmap::new();
    reach(base, entry, &mut reached);
    // Where a host's last link found a slot: the next look starts there, or many equal vectors would take forever.
    let mut places: BTreeMap<u32, u32> = BTreeMap::new();
    loop {
        let lost = vectored - &reached;
        let Some(first) = lost.min() else { return };
        let before = reached.len();
        for row in &lost {
            let near = base[slots(row)].iter().copied().find(|n| reached.contains(*n));
            if let Some(host) = near.filter(|_| !reached.contains(row)) {
                let place = lead(base, places.get(&host).copied().unwrap_or(host), row);
                places.insert(host, place);
                reach(base, row, &mut reached);
            }
        }
        if reached.len() == before {
            // Rows that know only each other.
            lead(base, entry, first);
            reach(base, first, &mut reached);
        }
    }
}

fn slots(row: u32) -> Range<usize> {
    row as usize * BASE_LINKS..(row as usize + 1) * BASE_LINKS
}

/// Adds what can be reached from a row.
fn reach(base: &[u32], from: u32, reached: &mut RoaringBitmap) {
    reached.insert(from);
    let mut waiting = vec![from];
    while let Some(row) = waiting.pop() {
        waiting.extend(base[slots(row)].iter().copied().filter(|&n| n != NONE && reached.insert(n)));
    }
}

/// Links to a row from the nearest one to `host`, in steps, that has a free slot, and says
/// which. Were all full that can be reached, the host's farthest link would have to go.
fn lead(base: &mut [u32], host: u32, to: u32) -> u32 {
    let mut seen = RoaringBitmap::from([host]);
    let mut waiting = VecDeque::from([host]);
    while let Some(row) = waiting.pop_front() {
        if let Some(free) = base[slots(row)].iter_mut().find(|n| **n == NONE) {
            *free = to;
            return row;
        }
        waiting.extend(base[slots(row)].iter().copied().filter(|n| seen.insert(*n)));
    }
    if let Some(far) = base[slots(host)].last_mut() {
        *far = to;
    }
    host
}
