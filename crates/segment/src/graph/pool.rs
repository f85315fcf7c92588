//! The rows in view of a walk, nearest first: each one number that orders as its score, so that finding its place
//! compares and moves little.

/// How near a row is (32 bits that order as the score), whether its links were followed, its number.
type Near = u64;

/// See the module.
#[derive(Default)]
pub(crate) struct Pool {
    list: Vec<Near>,
    room: usize,
    /// Before it all were followed.
    next: usize,
}

impl Pool {
    /// Empties it, and has room for so many rows from here on.
    pub(crate) fn clear(&mut self, room: usize) {
        self.list.clear();
        (self.room, self.next) = (room.max(1), 0);
    }

    /// Puts a row in its place if it is near enough, behind those that are as near. Its number is below 2^31.
    #[inline]
    pub(crate) fn offer(&mut self, row: u32, score: f32) {
        let near = u64::from(ordered(score)) << 32;
        if self.list.len() >= self.room {
            if self.list.last().is_some_and(|worst| near <= worst | BEHIND) {
                return;
            }
            self.list.pop();
        }
        let at = self.list.partition_point(|other| other | BEHIND >= near);
        self.list.insert(at, near | u64::from(row));
        self.next = self.next.min(at);
    }

    /// The nearest of the first `breadth` whose links were not followed, which they are then.
    #[inline]
    pub(crate) fn follow(&mut self, breadth: usize) -> Option<u32> {
        while self.list.get(self.next).is_some_and(|near| near & FOLLOWED != 0) {
            self.next += 1;
        }
        let near = self.list.get_mut(self.next).filter(|_| self.next < breadth)?;
        *near |= FOLLOWED;
        Some(row_of(*near))
    }

    /// Whether all that it holds were followed, as the last look for one to follow found.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.list.len()
    }

    /// What is followed next, so many, if nothing nearer turns up.
    #[inline]
    pub(crate) fn upcoming(&self, most: usize) -> impl Iterator<Item = u32> + '_ {
        let rest = self.list.get(self.next..).unwrap_or_default();
        rest.iter().filter(|near| **near & FOLLOWED == 0).take(most).map(|near| row_of(*near))
    }

    /// Rows and scores, nearest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.list.iter().map(|near| (row_of(*near), score_of(*near)))
    }
}

const FOLLOWED: u64 = 1 << 31;
/// All that says nothing about nearness.
const BEHIND: u64 = u32::MAX as u64;

fn row_of(near: Near) -> u32 {
    (near & (FOLLOWED - 1)) as u32
}

fn score_of(near: Near) -> f32 {
    let bits = (near >> 32) as u32;
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
        /// As a list that is sorted anew each time, and cut.
        #[test]
        fn it_keeps_the_nearest_in_order(
            offers in vec((0u32..1 << 28, prop_oneof![any::<f32>(), (-3i8..3).prop_map(f32::from)]), 0..60),
            room in 1usize..20,
        ) {
            let mut pool = Pool::default();
            pool.clear(room);
            let mut naive: Vec<(u32, f32)> = Vec::new();
            for (row, score) in offers {
                pool.offer(row, score);
                naive.push((row, score));
                naive.sort_by(|a, b| b.1.total_cmp(&a.1));
                naive.truncate(room);
            }
            let bits = |(row, score): (u32, f32)| (row, score.to_bits());
            prop_assert_eq!(pool.iter().map(bits).collect::<Vec<_>>(), naive.iter().copied().map(bits).collect::<Vec<_>>());
            for (at, (row, _)) in naive.iter().enumerate() {
                prop_assert_eq!(pool.upcoming(1).next(), Some(*row));
                prop_assert_eq!(pool.follow(at), None);
                prop_assert_eq!(pool.follow(at + 1), Some(*row));
            }
            prop_assert_eq!(pool.upcoming(1).next(), None);
            prop_assert_eq!(pool.follow(room + 1), None);
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
