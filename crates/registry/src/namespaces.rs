//! Namespaces as their tenant's directory knows them. Whether one is filled, and what that fixes,
//! is the engine's to judge.

use crate::{
    Registry,
    directory::{DirectoryEvent, DirectoryState},
    opening::new_place,
    record::NamespaceEntry,
    residence::Residence,
};
use access::{Action, Grant, Manage};
use kernel::{
    Code, Embedding, Error, Incarnation, KeyEpoch, NamespaceName, NamespaceSettings, NamespaceUuid, Quotas, Result,
    Timestamp,
};
use std::{collections::BTreeMap, ops::Bound, sync::Arc};
use vault::PlaceKind;

/// A namespace.
#[derive(Clone, Debug)]
pub struct NamespaceRecord {
    /// Its name inside the tenant.
    pub name: NamespaceName,
    /// Which life of that name.
    pub uuid: NamespaceUuid,
    /// What it was told.
    pub settings: NamespaceSettings,
    /// When it was made.
    pub created_at: Timestamp,
    /// The tenant key that its own key stands under.
    pub key_epoch: KeyEpoch,
}

impl NamespaceRecord {
    fn of(name: &NamespaceName, entry: &NamespaceEntry) -> Self {
        Self {
            name: name.clone(),
            uuid: entry.place.uuid,
            settings: (*entry.settings).clone(),
            created_at: entry.created_at,
            key_epoch: KeyEpoch(entry.place.wrapped.epoch),
        }
    }
}

impl Registry {
    /// One namespace of a tenant that is open.
    ///
    /// # Errors
    /// `not_found` when there is none; what keeps the tenant's directory closed, also if that came in the middle of a
    /// request.
    pub fn known_namespace(&self, incarnation: Incarnation, name: &NamespaceName) -> Result<NamespaceRecord> {
        let residence = self.inner.residence(incarnation)?;
        let known = residence.book().read(|s| s.namespaces.get(name).map(|n| NamespaceRecord::of(name, n)));
        known.ok_or_else(Error::not_found)
    }

    /// One namespace; `None` when there is none, or no such tenant.
    pub fn namespace(&self, incarnation: Incarnation, name: &NamespaceName) -> Option<NamespaceRecord> {
        self.known_namespace(incarnation, name).ok()
    }

    /// The namespaces that the grant's key may enter, by name, and where the next page begins.
    ///
    /// # Errors
    /// What keeps the tenant's directory closed.
    pub fn namespaces<A: Action>(
        &self,
        grant: &Grant<A>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<NamespaceRecord>, Option<String>)> {
        let residence = self.inner.residence(grant.incarnation())?;
        let mut page: Vec<_> = residence.book().read(|s| {
            let mine = behind(&s.namespaces, after).filter(|(name, _)| grant.may_enter(name));
            mine.take(limit.saturating_add(1)).map(|(name, n)| NamespaceRecord::of(name, n)).collect()
        });
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|n| n.name.as_str().to_owned());
        Ok((page, next))
    }

    /// How many namespaces a tenant has that is open.
    pub fn namespace_count(&self, incarnation: Incarnation) -> u64 {
        let Ok(residence) = self.inner.residence(incarnation) else { return 0 };
        residence.book().read(|s| s.namespaces.len() as u64)
    }

    /// Uuids of all namespaces of a tenant that is open.
    pub fn uuids(&self, incarnation: Incarnation) -> Vec<NamespaceUuid> {
        let Ok(residence) = self.inner.residence(incarnation) else { return Vec::new() };
        residence.book().read(|s| s.namespaces.values().map(|n| n.place.uuid).collect())
    }

    /// Uuids of those of these namespaces that exist.
    pub fn uuids_of(&self, incarnation: Incarnation, names: &[NamespaceName]) -> Vec<NamespaceUuid> {
        let Ok(residence) = self.inner.residence(incarnation) else { return Vec::new() };
        residence.book().read(|s| names.iter().filter_map(|name| Some(s.namespaces.get(name)?.place.uuid)).collect())
    }

    /// A namespace of a tenant, served or not, for work on it that an operator asked for: its home and its record.
    ///
    /// # Errors
    /// `not_found`; what keeps the tenant's directory closed.
    pub async fn custodial_namespace(
        &self,
        _: &access::Operator,
        tenant: &kernel::TenantId,
        name: &NamespaceName,
    ) -> Result<(Arc<vault::Home>, NamespaceRecord)> {
        let residence = self.inner.open(self.inner.tenant_record(tenant)?.incarnation).await?;
        let record = residence.book().read(|s| s.namespaces.get(name).map(|n| NamespaceRecord::of(name, n)));
        let home = residence.custodial_home(name)?;
        home.zip(record).ok_or_else(Error::not_found)
    }

    /// The namespace that the grant names; made with `defaults` if there is none. Says which.
    ///
    /// # Errors
    /// `quota_exceeded`; what keeps the tenant's directory closed.
    pub async fn ensure_namespace<A: Action>(
        &self,
        grant: &Grant<A>,
        defaults: NamespaceSettings,
    ) -> Result<(NamespaceRecord, bool)> {
        let (residence, name) = self.enter(grant)?;
        let known = residence.book().read(|s| s.namespaces.get(name).map(|n| NamespaceRecord::of(name, n)));
        if let Some(known) = known {
            return Ok((known, false));
        }
        defaults.validate()?;
        let quotas = self.quotas(grant)?;
        let written = residence
            .write(|state| match state.namespaces.get(name) {
                Some(known) => Ok((None, (NamespaceRecord::of(name, known), false))),
                None => {
                    let entry = self.new_entry(&residence, state, &quotas, defaults)?;
                    let record = NamespaceRecord::of(name, &entry);
                    Ok((Some(put(name, entry)), (record, true)))
                }
            })
            .await?;
        Ok(written)
    }

    /// Makes the namespace that the grant names, or gives it these settings. `immutable` is judged
    /// by the engine, which knows whether it is filled.
    ///
    /// # Errors
    /// `invalid_request`, `quota_exceeded`; what keeps the tenant's directory closed.
    pub async fn put_namespace(&self, grant: &Grant<Manage>, settings: NamespaceSettings) -> Result<NamespaceRecord> {
        settings.validate()?;
        let (residence, name) = self.enter(grant)?;
        let quotas = self.quotas(grant)?;
        let written = residence
            .write(|state| {
                let entry = match state.namespaces.get(name) {
                    Some(known) if *known.settings == settings => {
                        return Ok((None, NamespaceRecord::of(name, known)));
                    }
                    Some(known) => NamespaceEntry { settings: Arc::new(settings), ..known.clone() },
                    None => self.new_entry(&residence, state, &quotas, settings)?,
                };
                let record = NamespaceRecord::of(name, &entry);
                Ok((Some(put(name, entry)), record))
            })
            .await?;
        Ok(written)
    }

    /// Says where vectors come from, if that is still open, and answers with what then stands:
    /// of two that come at once, the first decides.
    ///
    /// # Errors
    /// `not_found`, `invalid_request`; what keeps the tenant's directory closed.
    pub async fn fix_embedding<A: Action>(&self, grant: &Grant<A>, embedding: Embedding) -> Result<NamespaceRecord> {
        let (residence, name) = self.enter(grant)?;
        let written = residence
            .write(|state| {
                let known = state.namespaces.get(name).ok_or_else(Error::not_found)?;
                if known.settings.embedding != Embedding::Default || embedding == Embedding::Default {
                    return Ok((None, NamespaceRecord::of(name, known)));
                }
                let settings = NamespaceSettings { embedding, ..(*known.settings).clone() };
                settings.validate()?;
                let entry = NamespaceEntry { settings: Arc::new(settings), ..known.clone() };
                let record = NamespaceRecord::of(name, &entry);
                Ok((Some(put(name, entry)), record))
            })
            .await?;
        Ok(written)
    }

    /// Forgets the namespace that the grant names: its wrapped key leaves the directory and, by a
    /// checkpoint, its log and older checkpoints; what is left cannot be opened. The
    /// store, which has them open, removes them next; what a crash leaves of them is removed when
    /// the directory is opened next.
    ///
    /// # Errors
    /// `not_found`; what keeps the tenant's directory closed.
    pub async fn drop_namespace(&self, grant: &Grant<Manage>) -> Result<()> {
        let (residence, name) = self.enter(grant)?;
        let uuid = residence
            .write(|state| {
                let known = state.namespaces.get(name).ok_or_else(Error::not_found)?;
                let prefix = PlaceKind::Namespace.prefix(known.place.uuid);
                Ok((Some(DirectoryEvent::NamespaceDropped { name: name.clone(), prefix }), known.place.uuid))
            })
            .await?;
        residence.forget(uuid);
        Ok(residence.book().purge().await?)
    }

    fn enter<'g, A: Action>(&self, grant: &'g Grant<A>) -> Result<(Arc<Residence>, &'g NamespaceName)> {
        let name = grant.namespace().ok_or_else(|| Error::invalid("namespace", "is missing"))?;
        Ok((self.inner.residence(grant.incarnation())?, name))
    }

    /// As they stand now, not as they stood when the grant was given.
    fn quotas<A: Action>(&self, grant: &Grant<A>) -> Result<Quotas> {
        self.inner.control.read(|s| s.tenants.get(grant.tenant()).map(|t| t.quotas)).ok_or_else(Error::not_found)
    }

    fn new_entry(
        &self,
        residence: &Residence,
        state: &DirectoryState,
        quotas: &Quotas,
        settings: NamespaceSettings,
    ) -> Result<NamespaceEntry> {
        if quotas.namespaces.is_some_and(|max| state.namespaces.len() as u64 >= max) {
            let why = "the tenant's quota of namespaces is used up; delete one or ask for more";
            return Err(Error::new(Code::QuotaExceeded, why).with_param("quotas.namespaces"));
        }
        let world = &self.inner.world;
        // The ring is read here, under the directory's writer: a rotation that has swapped it
        // finds this namespace, and one that has not yet wraps its key again.
        let (_, place) = new_place(world, self.inner.control.home(), &residence.keys(), PlaceKind::Namespace)?;
        Ok(NamespaceEntry { settings: Arc::new(settings), created_at: world.clock.now(), place })
    }
}

fn put(name: &NamespaceName, entry: NamespaceEntry) -> DirectoryEvent {
    DirectoryEvent::NamespacePut { name: name.clone(), entry }
}

/// In the order of names, from the first one after `after`.
fn behind<'a>(
    all: &'a BTreeMap<NamespaceName, NamespaceEntry>,
    after: Option<&str>,
) -> impl Iterator<Item = (&'a NamespaceName, &'a NamespaceEntry)> {
    // What is no name still has a place in the order: it is looked for among all.
    let from = after.and_then(|a| NamespaceName::parse(a).ok());
    let start = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let odd = after.filter(|_| from.is_none()).map(str::to_owned);
    all.range((start, Bound::Unbounded))
        .filter(move |(name, _)| odd.as_ref().is_none_or(|a| name.as_str() > a.as_str()))
}
