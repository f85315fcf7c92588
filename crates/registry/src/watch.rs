//! The watch over leases: asks providers in the background, and seals tenants whose lease has ended.

use crate::{
    KeyEvent, KeyState, Registry,
    key_events::Seen,
    keys::{millis, trouble_of},
    record::{Life, TenantRecord},
    registry::Inner,
    residence::Residence,
    seats::OURS,
};
use kernel::Incarnation;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use vault::{KeyTrouble, WrappedKey};

/// A tenant that is open no more: what else holds its keys or its text is to be dropped.
pub struct Lapsed {
    /// Which life of which tenant.
    pub incarnation: Incarnation,
    /// Requests that began before still hold it.
    before: Weak<Residence>,
}

impl Lapsed {
    /// Whether earlier requests have ended.
    pub fn is_gone(&self) -> bool {
        self.before.strong_count() == 0
    }
}

impl Registry {
    /// Asks providers for leases that are due, in the background, and shuts tenants whose lease has ended. Gives
    /// those, for other owners of their data. To be called about once a second.
    pub async fn watch_keys(&self) -> Vec<Lapsed> {
        let inner = &self.inner;
        let mut lapsed = Vec::new();
        for (incarnation, residence) in inner.seats.each_open() {
            if !residence.lease.is_remote() {
                continue;
            }
            let now = millis(&*inner.world.clock);
            if !residence.lease.lives(&inner.asking.config, now) {
                // Our own hold would count as a request's.
                let known = Arc::downgrade(&residence);
                let gone = self.lapse(incarnation, residence).await;
                let kept = if gone.is_none() { known.upgrade() } else { None };
                lapsed.extend(gone);
                // A request holds it, and the provider has not refused: this process slept, or was slow. Nothing is
                // served until it is asked again.
                if let Some(residence) = kept.filter(|r| r.lease.due(&inner.asking.config, now, true)) {
                    let registry = self.clone();
                    inner.tracker.spawn(async move { registry.renew(residence).await });
                }
                continue;
            }
            let held = Arc::strong_count(&residence) > OURS;
            if residence.lease.due(&inner.asking.config, now, held) {
                let registry = self.clone();
                inner.tracker.spawn(async move { registry.renew(residence).await });
            }
        }
        lapsed
    }

    /// What happened to a tenant's keys and is not written down, oldest first; the same until
    /// [`key_event_told`](Self::key_event_told).
    pub fn key_event(&self) -> Option<KeyEvent> {
        self.inner.key_events.untold()
    }

    /// The oldest of those is written down.
    pub fn key_event_told(&self) {
        self.inner.key_events.told();
    }

    /// Closes one whose lease has ended; `None` when a request holds it and the provider has not refused.
    async fn lapse(&self, incarnation: Incarnation, residence: Arc<Residence>) -> Option<Lapsed> {
        let inner = &self.inner;
        let before = Arc::downgrade(&residence);
        let Some((why, _)) = residence.lease.trouble() else {
            // It was unused, so the provider was not asked.
            drop(residence);
            return inner.seats.close_idle(incarnation).await.then_some(Lapsed { incarnation, before });
        };
        let message = match why {
            KeyTrouble::Outage => "the tenant's key cannot be had: its key provider has not answered for too long",
            KeyTrouble::Denied(_) => "the tenant's key cannot be had: its key provider refuses it",
        };
        // Told before it is done: from the end of the lease on nothing is served.
        inner.saw_end(&residence);
        if !inner.seats.seal(residence, inner.now(), message, why).await {
            return None;
        }
        Some(Lapsed { incarnation, before })
    }

    async fn renew(&self, residence: Arc<Residence>) {
        let inner = &self.inner;
        let incarnation = residence.incarnation();
        let (question, asked) = (inner.key_events.question(), millis(&*inner.world.clock));
        let trouble = match inner.confirm(&residence).await {
            Ok(()) => None,
            // What is no answer of a provider is none all the same.
            Err(error) => Some(trouble_of(&error).unwrap_or(KeyTrouble::Outage)),
        };
        let now = millis(&*inner.world.clock);
        residence.lease.answered((question, asked), trouble, now, inner.world.clock.now());
        inner.saw(incarnation, question, trouble.map_or(Seen::Given, Seen::Lost));
    }
}

impl Inner {
    /// Asks for every epoch that the tenant has in memory.
    async fn confirm(&self, residence: &Residence) -> crate::Result<()> {
        let record = self.control.read(|s| s.by_incarnation(residence.incarnation()).cloned());
        let record = record.ok_or_else(kernel::Error::not_found)?;
        let keys = residence.keys();
        for epoch in record.keys.epochs.iter().filter(|e| keys.epochs().iter().any(|known| known.0 == e.wrapped.epoch))
        {
            let (keys, wrapped) = (keys.clone(), WrappedKey::from(&epoch.wrapped));
            let key = self.asking.key_of(epoch)?;
            self.asking.ask(key, move |key| keys.verify(&**key, &wrapped)).await?;
        }
        Ok(())
    }

    /// Whether a tenant's keys can be had, as far as is known.
    pub(crate) fn key_state(&self, record: &TenantRecord) -> KeyState {
        if record.life == Life::Deleting {
            return KeyState::Shredded;
        }
        if let Some(residence) = self.seats.open(record.incarnation) {
            let ends = residence.lease.ends(&self.asking.config);
            let serves_for = Duration::from_millis(ends.saturating_sub(millis(&*self.world.clock)));
            return match residence.lease.trouble() {
                None => KeyState::Active,
                Some((why, since)) => KeyState::Unavailable { why, since, serves_for },
            };
        }
        self.seats.trouble(record.incarnation).map_or(KeyState::Active, KeyState::Sealed)
    }

    /// It is no longer served: the first task to see that records it.
    pub(crate) fn saw_end(&self, residence: &Residence) {
        if let Some((why, question)) = residence.lease.said() {
            self.saw(residence.incarnation(), question, Seen::Sealed(why));
        }
    }

    fn saw(&self, incarnation: Incarnation, question: u64, seen: Seen) {
        if let Some(tenant) = self.control.read(|s| s.by_incarnation(incarnation).map(|t| t.id.clone())) {
            self.key_events.saw((&tenant, incarnation), question, seen);
        }
    }
}
