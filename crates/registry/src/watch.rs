//! The watch over leases: asks providers in the background, and seals tenants whose lease has ended.

use crate::{
    KeyEvent, KeyState, Registry,
    key_events::Observation,
    keys::{millis, trouble_of},
    open_tenant::OpenTenant,
    record::{Lifecycle, TenantRecord},
    registry::Inner,
    tenant_table::{TenantFailure, TenantGuard},
};
use kernel::{Code, Incarnation};
use lifecycle::WeakGuard;
use std::time::Duration;
use vault::{KeyFailure, WrappedKey};

/// A tenant that was closed because its lease ended. Other holders of its keys or texts must drop them.
pub struct LapsedTenant {
    /// Incarnation of the tenant.
    pub incarnation: Incarnation,
    /// The closed tenant, which earlier requests may still hold.
    earlier: WeakGuard<OpenTenant>,
}

impl LapsedTenant {
    /// Whether all earlier requests have ended.
    pub fn is_gone(&self) -> bool {
        self.earlier.is_gone()
    }
}

impl Registry {
    /// Renews the leases that are due, in the background, and closes tenants whose lease has ended. Returns the closed
    /// tenants for other owners of their data. To be called about once a second.
    pub async fn watch_keys(&self) -> Vec<LapsedTenant> {
        let inner = &self.inner;
        let mut lapsed = Vec::new();
        for (incarnation, open_tenant) in inner.tenants.values() {
            // Keys of the local provider have no lease.
            if !open_tenant.lease.is_remote() {
                continue;
            }
            let now = millis(&*inner.env.clock);
            if !open_tenant.lease.is_valid(&inner.provider_client.config, now) {
                let closed = self.lapse(incarnation, open_tenant).await;
                let still_open = if closed.is_none() { inner.tenants.get(&incarnation) } else { None };
                lapsed.extend(closed);
                // A request holds the tenant, and the provider has not refused: this process was suspended or slow.
                // Nothing is served until the provider has answered again.
                if let Some(open_tenant) = still_open.filter(|r| r.lease.due(&inner.provider_client.config, now, true))
                {
                    let registry = self.clone();
                    inner.tracker.spawn(async move { registry.renew(open_tenant).await });
                }
                continue;
            }
            let held = open_tenant.is_shared();
            if open_tenant.lease.due(&inner.provider_client.config, now, held) {
                let registry = self.clone();
                inner.tracker.spawn(async move { registry.renew(open_tenant).await });
            }
        }
        lapsed
    }

    /// Returns the oldest event of tenants' keys that is not recorded; the same one until
    /// [`key_event_reported`](Self::key_event_reported).
    pub fn key_event(&self) -> Option<KeyEvent> {
        self.inner.key_events.next_unwritten()
    }

    /// Marks that event as recorded.
    pub fn key_event_reported(&self) {
        self.inner.key_events.mark_written();
    }

    /// Closes a tenant whose lease has ended; `None` when a request holds it and the provider has not refused.
    async fn lapse(&self, incarnation: Incarnation, open_tenant: TenantGuard) -> Option<LapsedTenant> {
        let inner = &self.inner;
        let earlier = open_tenant.downgrade();
        let Some((why, _)) = open_tenant.lease.trouble() else {
            // The tenant was unused, so the provider was not asked.
            drop(open_tenant);
            return inner.tenants.close_unused(&incarnation).await.then_some(LapsedTenant { incarnation, earlier });
        };
        let message = match why {
            KeyFailure::Outage => "the tenant's key is unavailable: its key provider has not answered for too long",
            KeyFailure::Denied(_) => "the tenant's key is unavailable: its key provider refuses it",
        };
        // The event is queued before the tenant is sealed: nothing is served after the end of the lease.
        inner.record_lease_end(&open_tenant);
        let failure =
            TenantFailure::Unopened { code: Code::KeyUnavailable, why: message.to_owned(), trouble: Some(why) };
        let sealed = inner.tenants.withdraw(&incarnation, open_tenant, failure).await;
        sealed.then_some(LapsedTenant { incarnation, earlier })
    }

    async fn renew(&self, open_tenant: TenantGuard) {
        let inner = &self.inner;
        let incarnation = open_tenant.incarnation();
        let (request_no, asked) = (inner.key_events.next_request_no(), millis(&*inner.env.clock));
        let trouble = match inner.confirm(&open_tenant).await {
            Ok(()) => None,
            // Any error other than a provider's answer counts as no answer.
            Err(error) => Some(trouble_of(&error).unwrap_or(KeyFailure::Outage)),
        };
        let now = millis(&*inner.env.clock);
        open_tenant.lease.record_answer((request_no, asked), trouble, now, inner.env.clock.now());
        inner.record_observation(
            incarnation,
            request_no,
            trouble.map_or(Observation::Available, Observation::Unavailable),
        );
    }
}

impl Inner {
    /// Confirms every epoch that the tenant has in memory.
    async fn confirm(&self, open_tenant: &OpenTenant) -> crate::Result<()> {
        let record = self.control.read(|s| s.by_incarnation(open_tenant.incarnation()).cloned());
        let record = record.ok_or_else(kernel::Error::not_found)?;
        let keys = open_tenant.keys();
        for epoch in record.keys.epochs.iter().filter(|e| keys.epochs().iter().any(|known| known.0 == e.wrapped.epoch))
        {
            let (keys, wrapped) = (keys.clone(), WrappedKey::from(&epoch.wrapped));
            let key = self.provider_client.key_of(epoch)?;
            self.provider_client.call(key, move |key| keys.verify(&**key, &wrapped)).await?;
        }
        Ok(())
    }

    /// Returns whether a tenant's keys are available, as far as is known.
    pub(crate) fn key_state(&self, record: &TenantRecord) -> KeyState {
        if record.life == Lifecycle::Deleting {
            return KeyState::Shredded;
        }
        if let Some(open_tenant) = self.tenants.get(&record.incarnation) {
            let ends = open_tenant.lease.ends_at(&self.provider_client.config);
            let serves_for = Duration::from_millis(ends.saturating_sub(millis(&*self.env.clock)));
            return match open_tenant.lease.trouble() {
                None => KeyState::Active,
                Some((why, since)) => KeyState::Unavailable { why, since, serves_for },
            };
        }
        self.tenants
            .failed(&record.incarnation)
            .and_then(|failed| failed.failure.trouble())
            .map_or(KeyState::Active, KeyState::Sealed)
    }

    /// Records that the tenant is no longer served. Only the first observation counts.
    pub(crate) fn record_lease_end(&self, open_tenant: &OpenTenant) {
        if let Some((why, request_no)) = open_tenant.lease.last_trouble() {
            self.record_observation(open_tenant.incarnation(), request_no, Observation::Sealed(why));
        }
    }

    fn record_observation(&self, incarnation: Incarnation, request_no: u64, observation: Observation) {
        if let Some(tenant) = self.control.read(|s| s.by_incarnation(incarnation).map(|t| t.id.clone())) {
            self.key_events.record((&tenant, incarnation), request_no, observation);
        }
    }
}
