//! The right to use an open value.

use std::{
    ops::Deref,
    sync::{Arc, Weak},
};

/// Keeps a value from being evicted. Guards come only from an [`OpenTable`](crate::OpenTable), so their number is known.
pub struct Guard<T>(pub(crate) Arc<T>);

impl<T> Guard<T> {
    /// Whether another guard of the same value exists.
    pub fn is_shared(&self) -> bool {
        // One reference is the table's.
        Arc::strong_count(&self.0) > 2
    }

    /// Returns a reference that does not keep the value.
    pub fn downgrade(&self) -> WeakGuard<T> {
        WeakGuard(Arc::downgrade(&self.0))
    }
}

impl<T> Clone for Guard<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Shows whether a value still exists.
pub struct WeakGuard<T>(Weak<T>);

impl<T> WeakGuard<T> {
    /// Whether the value has left the table and its last guard was dropped.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}
