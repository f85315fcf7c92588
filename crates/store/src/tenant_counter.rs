//! Counts what each tenant stores in all its namespaces, open or not, and what its writes in progress will add. Quotas
//! are enforced with these numbers.
//!
//! Guarantees that concurrent writes, in one namespace or in several, do not exceed a quota together: each reserves
//! what it adds before it is logged, and the reservation becomes stored totals at the moment of publication, or is
//! released. The numbers of a namespace are known from the tenant's audit log or from its first opening. They stay
//! valid when it is closed, because only this process writes it.

use crate::{Error, Totals};
use kernel::{Incarnation, NamespaceUuid, Quotas};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Counters of all tenants that have had a request.
#[derive(Default)]
pub(crate) struct TenantCounters(Mutex<BTreeMap<Incarnation, Arc<TenantCounter>>>);

impl TenantCounters {
    /// Drops the counter of a tenant that no longer exists.
    pub(crate) fn forget(&self, tenant: Incarnation) {
        self.0.lock().remove(&tenant);
    }

    pub(crate) fn of(&self, tenant: Incarnation) -> Arc<TenantCounter> {
        self.0.lock().entry(tenant).or_default().clone()
    }
}

/// Counter of one tenant; see the module documentation.
#[derive(Default)]
pub(crate) struct TenantCounter(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    stored: HashMap<NamespaceUuid, Totals>,
    /// Sum over `stored`.
    sum: Totals,
    reserved: Amount,
    quotas: Quotas,
    /// Whether the totals of every namespace that the tenant had are known; one created since then began empty.
    complete: bool,
}

/// Documents and bytes that a write adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
}

/// Part of a quota that a write has reserved. Released when it is dropped.
pub(crate) struct Reservation {
    counter: Arc<TenantCounter>,
    amount: Amount,
}

impl TenantCounter {
    /// Sets the tenant's quotas, which every request carries.
    pub(crate) fn allow(&self, quotas: Quotas) {
        self.lock().quotas = quotas;
    }

    /// Reserves part of the quotas for a write.
    ///
    /// # Errors
    /// [`Error::Quota`]; then nothing is reserved.
    pub(crate) fn reserve(self: &Arc<Self>, more: Amount) -> Result<Reservation, Error> {
        let mut inner = self.lock();
        let check = |quota, used: u64, more: u64, max: Option<u64>| match max {
            Some(max) if more > 0 && used.saturating_add(more) > max => Err(Error::Quota { quota, used, more, max }),
            _ => Ok(()),
        };
        let (sum, reserved, quotas) = (inner.sum, inner.reserved, inner.quotas);
        check("documents", sum.documents.saturating_add(reserved.documents), more.documents, quotas.documents)?;
        check("bytes", sum.bytes.saturating_add(reserved.bytes), more.bytes, quotas.bytes)?;
        inner.reserved.add(more);
        Ok(Reservation { counter: self.clone(), amount: more })
    }

    /// Sets the totals of a namespace, and releases the reservation that they now include.
    pub(crate) fn publish(&self, namespace: NamespaceUuid, totals: Totals, reserved: Option<Reservation>) {
        let mut inner = self.lock();
        if let Some(mut reserved) = reserved {
            inner.reserved.take(std::mem::take(&mut reserved.amount));
        }
        inner.set(namespace, totals);
    }

    /// Sets the totals of a namespace that has not been open since the start to those that its audit log has recorded.
    pub(crate) fn seed(&self, namespace: NamespaceUuid, totals: Totals) {
        let mut inner = self.lock();
        if !inner.stored.contains_key(&namespace) {
            inner.set(namespace, totals);
        }
    }

    /// Removes a namespace that was destroyed.
    pub(crate) fn remove(&self, namespace: NamespaceUuid) {
        self.lock().set(namespace, Totals::default());
        self.lock().stored.remove(&namespace);
    }

    /// Whether the sums cover all of the tenant's namespaces.
    pub(crate) fn is_complete(&self) -> bool {
        self.lock().complete
    }

    /// Marks the totals of every namespace of the tenant as known.
    pub(crate) fn complete(&self) {
        self.lock().complete = true;
    }

    /// Sums of what is stored; `commit` is unused.
    pub(crate) fn totals(&self) -> Totals {
        self.lock().sum
    }

    /// Sums over some namespaces.
    pub(crate) fn totals_of(&self, namespaces: &[NamespaceUuid]) -> Totals {
        let inner = self.lock();
        namespaces.iter().filter_map(|namespace| inner.stored.get(namespace)).fold(Totals::default(), |sum, one| {
            Totals {
                documents: sum.documents + one.documents,
                passages: sum.passages + one.passages,
                bytes: sum.bytes + one.bytes,
                quarantined: sum.quarantined + one.quarantined,
                ..sum
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Inner {
    fn set(&mut self, namespace: NamespaceUuid, totals: Totals) {
        let before = self.stored.insert(namespace, totals).unwrap_or_default();
        let sum = |sum: u64, before: u64, now: u64| sum.saturating_sub(before).saturating_add(now);
        self.sum = Totals {
            documents: sum(self.sum.documents, before.documents, totals.documents),
            passages: sum(self.sum.passages, before.passages, totals.passages),
            bytes: sum(self.sum.bytes, before.bytes, totals.bytes),
            quarantined: sum(self.sum.quarantined, before.quarantined, totals.quarantined),
            ..self.sum
        };
    }
}

impl Amount {
    pub(crate) fn add(&mut self, more: Amount) {
        self.documents = self.documents.saturating_add(more.documents);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    fn take(&mut self, less: Amount) {
        self.documents = self.documents.saturating_sub(less.documents);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}

impl Reservation {
    /// Merges two reservations of one tenant.
    pub(crate) fn join(&mut self, mut other: Reservation) {
        self.amount.add(std::mem::take(&mut other.amount));
    }

    /// Counts a write whose durability is unknown as stored until the namespace is opened again and reports its totals.
    pub(crate) fn assume_stored(mut self, namespace: NamespaceUuid) {
        let amount = std::mem::take(&mut self.amount);
        let mut inner = self.counter.lock();
        inner.reserved.take(amount);
        let mut totals = inner.stored.get(&namespace).copied().unwrap_or_default();
        totals.documents += amount.documents;
        totals.bytes += amount.bytes;
        inner.set(namespace, totals);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.amount != Amount::default() {
            self.counter.lock().reserved.take(self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(documents: u64, bytes: u64) -> Arc<TenantCounter> {
        let counter = Arc::<TenantCounter>::default();
        counter.allow(Quotas { documents: Some(documents), bytes: Some(bytes), ..Quotas::default() });
        counter
    }

    fn amount(documents: u64, bytes: u64) -> Amount {
        Amount { documents, bytes }
    }

    const A: NamespaceUuid = NamespaceUuid::from_bytes([1; 16]);
    const B: NamespaceUuid = NamespaceUuid::from_bytes([2; 16]);

    #[test]
    fn a_reservation_counts_until_it_is_stored_or_released() {
        let counter = counter(10, 100);
        let first = counter.reserve(amount(6, 10)).unwrap();
        let refused = counter.reserve(amount(5, 10)).err().unwrap();
        assert!(matches!(refused, Error::Quota { quota: "documents", used: 6, more: 5, max: 10 }), "{refused}");
        let second = counter.reserve(amount(4, 90)).unwrap();
        assert!(counter.reserve(amount(0, 1)).is_err(), "bytes are full");
        drop(second);
        counter.publish(A, Totals { documents: 6, bytes: 10, ..Totals::default() }, Some(first));
        let third = counter.reserve(amount(4, 90)).unwrap();
        counter.publish(B, Totals { documents: 4, bytes: 90, ..Totals::default() }, Some(third));
        assert!(counter.reserve(amount(1, 0)).is_err() && counter.reserve(amount(0, 0)).is_ok());
        counter.publish(B, Totals { documents: 3, bytes: 90, ..Totals::default() }, None);
        assert!(counter.reserve(amount(1, 0)).is_ok(), "a deletion gives back");
        counter.remove(A);
        assert_eq!((counter.totals().documents, counter.totals().bytes), (3, 90));
    }

    #[test]
    fn recorded_totals_never_replace_observed_totals() {
        let counter = counter(10, 100);
        let totals = |documents| Totals { documents, bytes: 2 * documents, ..Totals::default() };
        counter.publish(A, totals(5), None);
        counter.seed(A, totals(9));
        counter.seed(B, totals(3));
        assert_eq!((counter.totals().documents, counter.totals().bytes), (8, 16));
        assert_eq!((counter.totals_of(&[A]).documents, counter.totals_of(&[B, A]).bytes), (5, 16));
        assert!(counter.reserve(amount(3, 0)).is_err(), "and quotas count both");
        counter.publish(B, totals(1), None);
        assert_eq!(counter.totals().documents, 6);
    }

    #[test]
    fn a_write_of_unknown_outcome_counts_until_its_namespace_reports() {
        let counter = counter(2, 100);
        counter.reserve(amount(2, 9)).unwrap().assume_stored(A);
        assert!(counter.reserve(amount(1, 0)).is_err());
        counter.publish(A, Totals::default(), None);
        assert!(counter.reserve(amount(2, 0)).is_ok());
    }
}
