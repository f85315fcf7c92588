//! The rows in view of a walk, nearest first. Each is one integer that orders as its score, so that an insertion
//! compares and moves little.

/// A packed row: its score (32 bits that order as the score), whether its links were followed, and its number.
type PackedRow = u64;

/// The rows in view of one walk.
#[derive(Default)]
pub(crate) struct Pool {
    list: Vec<PackedRow>,
    capacity: usize,
    /// All rows before this index were followed.
    next: usize,
}

impl Pool {
    /// Empties the pool and sets the number of rows that it can hold.
    pub(crate) fn clear(&mut self, capacity: usize) {
        self.list.clear();
        (self.capacity, self.next) = (capacity.max(1), 0);
    }

    /// Inserts a row if it is near enough, after those that are equally near. Its number must be below 2^31.
    #[inline]
    pub(crate) fn offer(&mut self, row: u32, score: f32) {
        let packed = u64::from(ordered(score)) << 32;
        if self.list.len() >= self.capacity {
            if self.list.last().is_some_and(|worst| packed <= worst | LOW_BITS) {
                return;
            }
            self.list.pop();
        }
        // Setting the low bits makes rows of the same score compare as equal, so that the new row goes after them.
        let at = self.list.partition_point(|other| other | LOW_BITS >= packed);
        self.list.insert(at, packed | u64::from(row));
        self.next = self.next.min(at);
    }

    /// Takes the nearest of the first `breadth` rows whose links were not followed, and marks it as followed.
    #[inline]
    pub(crate) fn follow(&mut self, breadth: usize) -> Option<u32> {
        while self.list.get(self.next).is_some_and(|packed| packed & FOLLOWED != 0) {
            self.next += 1;
        }
        let packed = self.list.get_mut(self.next).filter(|_| self.next < breadth)?;
        *packed |= FOLLOWED;
        Some(row_of(*packed))
    }

    /// Whether all rows were followed, as the last call of [`Pool::follow`] found.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.list.len()
    }

    /// Up to `most` rows that are followed next if nothing nearer is offered.
    #[inline]
    pub(crate) fn upcoming(&self, most: usize) -> impl Iterator<Item = u32> + '_ {
        let rest = self.list.get(self.next..).unwrap_or_default();
        rest.iter().filter(|packed| **packed & FOLLOWED == 0).take(most).map(|packed| row_of(*packed))
    }

    /// Rows and scores, nearest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.list.iter().map(|packed| (row_of(*packed), score_of(*packed)))
    }
}

const FOLLOWED: u64 = 1 << 31;
/// The bits that do not depend on the score.
const LOW_BITS: u64 = u32::MAX as u64;

fn row_of(packed: PackedRow) -> u32 {
    (packed & (FOLLOWED - 1)) as u32
}

fn score_of(packed: PackedRow) -> f32 {
    let bits = (packed >> 32) as u32;
    f32::from_bits(if bits >> 31 == 1 { bits ^ (1 << 31) } else { !bits })
}

/// Bits that order as `f32::total_cmp` does.
#[inline]
fn ordered(score: f32) -> u32 {
    let bits = score.to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        /// Compared with a list that is sorted and truncated after every offer.
        #[test]
        fn it_keeps_the_nearest_in_order(
            offers in vec((0u32..1 << 28, prop_oneof![any::<f32>(), (-3i8..3).prop_map(f32::from)]), 0..60),
            capacity in 1usize..20,
        ) {
            let mut pool = Pool::default();
            pool.clear(capacity);
            let mut naive: Vec<(u32, f32)> = Vec::new();
            for (row, score) in offers {
                pool.offer(row, score);
                naive.push((row, score));
                naive.sort_by(|a, b| b.1.total_cmp(&a.1));
                naive.truncate(capacity);
            }
            let bits = |(row, score): (u32, f32)| (row, score.to_bits());
            prop_assert_eq!(pool.iter().map(bits).collect::<Vec<_>>(), naive.iter().copied().map(bits).collect::<Vec<_>>());
            for (at, (row, _)) in naive.iter().enumerate() {
                prop_assert_eq!(pool.upcoming(1).next(), Some(*row));
                prop_assert_eq!(pool.follow(at), None);
                prop_assert_eq!(pool.follow(at + 1), Some(*row));
            }
            prop_assert_eq!(pool.upcoming(1).next(), None);
            prop_assert_eq!(pool.follow(capacity + 1), None);
        }
    }

    #[test]
    fn a_nearer_row_is_followed_before_those_that_wait() {
        let mut pool = Pool::default();
        pool.clear(3);
        pool.offer(1, 0.5);
        assert_eq!((pool.follow(3), pool.follow(3)), (Some(1), None));
        [(2, 0.4), (3, -1.0), (4, 0.9)].into_iter().for_each(|(row, score)| pool.offer(row, score));
        assert_eq!([pool.follow(3), pool.follow(3), pool.follow(3)], [Some(4), Some(2), None]);
        assert!(pool.is_done() && pool.iter().count() == 3);
    }
}
