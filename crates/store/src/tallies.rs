//! What each tenant has stored, over all its namespaces that are known: open ones exactly, closed ones as they were
//! last seen or as the tenant's audit has recorded them. Sums are kept, so that asking for one costs nothing however
//! many namespaces there are. Numbers only; tenants and namespaces are opaque ids here.

use crate::{Totals, stores::lock};
use kernel::{Incarnation, NamespaceUuid};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Mutex,
};

/// See the module.
#[derive(Default)]
pub(crate) struct Tallies(Mutex<HashMap<Incarnation, Tally>>);

#[derive(Default)]
struct Tally {
    sum: Stored,
    each: HashMap<NamespaceUuid, Stored>,
}

/// What a tenant's known namespaces hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Documents, quarantined ones among them.
    pub documents: u64,
    /// Their passages; those of namespaces that were not opened since the start are not known.
    pub passages: u64,
    /// Bytes that they count for quotas.
    pub bytes: u64,
    /// How many namespaces that is.
    pub namespaces: u64,
}

impl Stored {
    fn add(&mut self, one: Stored) {
        self.documents += one.documents;
        self.passages += one.passages;
        self.bytes += one.bytes;
        self.namespaces += one.namespaces;
    }

    fn remove(&mut self, one: Stored) {
        self.documents -= one.documents;
        self.passages -= one.passages;
        self.bytes -= one.bytes;
        self.namespaces -= one.namespaces;
    }
}

impl From<Totals> for Stored {
    fn from(totals: Totals) -> Self {
        let Totals { documents, passages, bytes, .. } = totals;
        Self { documents, passages, bytes, namespaces: 1 }
    }
}

impl Tallies {
    /// A namespace holds this now.
    pub(crate) fn set(&self, incarnation: Incarnation, namespace: NamespaceUuid, totals: Totals) {
        lock(&self.0).entry(incarnation).or_default().put(namespace, totals.into());
    }

    /// A namespace that was not seen since the start is said to hold this.
    pub(crate) fn seed(&self, incarnation: Incarnation, namespace: NamespaceUuid, totals: Totals) {
        let mut all = lock(&self.0);
        let tally = all.entry(incarnation).or_default();
        if !tally.each.contains_key(&namespace) {
            tally.put(namespace, totals.into());
        }
    }

    /// A namespace is gone.
    pub(crate) fn remove(&self, incarnation: Incarnation, namespace: NamespaceUuid) {
        if let Entry::Occupied(mut tally) = lock(&self.0).entry(incarnation) {
            if let Some(gone) = tally.get_mut().each.remove(&namespace) {
                tally.get_mut().sum.remove(gone);
            }
            if tally.get().each.is_empty() {
                tally.remove();
            }
        }
    }

    /// A tenant is gone.
    pub(crate) fn forget(&self, incarnation: Incarnation) {
        lock(&self.0).remove(&incarnation);
    }

    /// All that is known of a tenant.
    pub(crate) fn sum(&self, incarnation: Incarnation) -> Stored {
        lock(&self.0).get(&incarnation).map_or_else(Stored::default, |tally| tally.sum)
    }

    /// What is known of some of its namespaces.
    pub(crate) fn sum_of(&self, incarnation: Incarnation, namespaces: &[NamespaceUuid]) -> Stored {
        let mut sum = Stored::default();
        if let Some(tally) = lock(&self.0).get(&incarnation) {
            namespaces.iter().filter_map(|uuid| tally.each.get(uuid)).for_each(|one| sum.add(*one));
        }
        sum
    }
}

impl Tally {
    fn put(&mut self, namespace: NamespaceUuid, now: Stored) {
        if let Some(before) = self.each.insert(namespace, now) {
            self.sum.remove(before);
        }
        self.sum.add(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(documents: u64) -> Totals {
        Totals { documents, passages: 2 * documents, bytes: 100 * documents, ..Totals::default() }
    }

    #[test]
    fn sums_follow_what_is_set_and_removed_and_tenants_stay_apart() {
        let tallies = Tallies::default();
        let [a, b] = [1, 2].map(|n| Incarnation::from_bytes([n; 16]));
        let [one, two] = [3, 4].map(|n| NamespaceUuid::from_bytes([n; 16]));
        tallies.set(a, one, totals(5));
        tallies.seed(a, one, totals(900));
        tallies.seed(a, two, totals(2));
        tallies.set(b, two, totals(7));
        let stored = |documents: u64, namespaces| Stored {
            documents,
            passages: 2 * documents,
            bytes: 100 * documents,
            namespaces,
        };
        assert_eq!(
            (tallies.sum(a), tallies.sum(b)),
            (stored(7, 2), stored(7, 1)),
            "a seed never outweighs what was seen"
        );
        tallies.set(a, one, totals(1));
        assert_eq!((tallies.sum(a), tallies.sum_of(a, &[one])), (stored(3, 2), stored(1, 1)));
        tallies.remove(a, two);
        tallies.forget(b);
        assert_eq!(
            (tallies.sum(a), tallies.sum(b), tallies.sum_of(b, &[two])),
            (stored(1, 1), stored(0, 0), stored(0, 0))
        );
    }
}
