//! A tenant's API keys. They live in its directory; of a secret only the keyed hash is kept.
//!
//! The control journal knows of each whose it is, its hash and its end, so that a secret is judged
//! before anything is opened. A key counts while both know it. It is made there first and then in
//! the directory, and returned only then: a crash between leaves a key whose secret was never returned. It is
//! revoked there first, which ends it at once whatever state the directory is in. What one of them
//! alone knows is forgotten when the directory is opened next.

use crate::{
    Registry,
    control::ControlEvent,
    directory::DirectoryEvent,
    record::{ApiKey, KeyPlace, Life},
    registry::mac,
    tenants::check_label,
};
use access::{KeyRecord, Operator, TokenKind, token};
use kernel::{Code, Error, KeyId, NamespaceName, Principal, Result, Scope, TenantId, Timestamp, limits};
use std::sync::Arc;
use zeroize::Zeroizing;

/// An API key to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it may do; empty is [`Scope::DEFAULT`].
    pub scopes: Vec<Scope>,
    /// Who it reads as.
    pub principals: Vec<Principal>,
    /// The namespaces it may enter; empty is all of them.
    pub namespaces: Vec<NamespaceName>,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

/// An API key as operators see it.
#[derive(Clone, Debug)]
pub struct KeyView {
    /// Public part.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Who it reads as.
    pub principals: Vec<Principal>,
    /// The namespaces it may enter; empty is all of them.
    pub namespaces: Vec<NamespaceName>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

impl From<&KeyRecord> for KeyView {
    fn from(record: &KeyRecord) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            scopes: record.scopes.clone(),
            principals: record.principals.clone(),
            namespaces: record.namespaces.clone(),
            created_at: record.created_at,
            expires_at: record.expires_at,
        }
    }
}

impl Registry {
    /// Makes an API key. The secret is shown once.
    ///
    /// # Errors
    /// `not_found`, `invalid_request`, `quota_exceeded`; what keeps the tenant's directory closed.
    pub async fn create_key(
        &self,
        _: &Operator,
        tenant: &TenantId,
        new: NewKey,
    ) -> Result<(KeyView, Zeroizing<String>)> {
        let inner = &self.inner;
        let now = inner.world.clock.now();
        check(&new, now)?;
        let record = inner.tenant_record(tenant)?;
        let residence = inner.open(record.incarnation).await?;
        let (id, whole, secret) = token::mint(TokenKind::Key, &*inner.world.entropy);
        let key = ApiKey(Arc::new(KeyRecord {
            id,
            tenant: record.id,
            incarnation: record.incarnation,
            name: new.name,
            mac: mac(inner.control.home(), secret.as_bytes()),
            scopes: if new.scopes.is_empty() { Scope::DEFAULT.to_vec() } else { distinct(new.scopes) },
            principals: distinct(new.principals),
            namespaces: distinct(new.namespaces),
            created_at: now,
            expires_at: new.expires_at,
        }));
        self.file(&key.0).await?;
        let written = residence.write(|_| Ok((Some(DirectoryEvent::KeyCreated(key.clone())), ()))).await;
        if let Err(error) = written {
            // If this fails as well, the directory's next opening does it.
            let _ = self.unfile(&key.0.id).await;
            return Err(error.into());
        }
        Ok((KeyView::from(&*key.0), whole))
    }

    async fn file(&self, key: &KeyRecord) -> Result<()> {
        let (id, incarnation) = (key.id.clone(), key.incarnation);
        let place = KeyPlace { incarnation, mac: key.mac, expires_at: key.expires_at };
        self.inner
            .write(|state| {
                let living = state.by_incarnation(incarnation).filter(|t| t.life != Life::Deleting);
                living.ok_or_else(Error::not_found)?;
                if state.keys_of(incarnation) >= limits::API_KEYS_PER_TENANT_MAX || state.keys.contains_key(&id) {
                    let why = "a tenant may have at most 10000 API keys; revoke some first";
                    return Err(Error::new(Code::QuotaExceeded, why).into());
                }
                Ok((Some(ControlEvent::KeyFiled { id, place }), ()))
            })
            .await?;
        Ok(())
    }

    async fn unfile(&self, id: &KeyId) -> Result<()> {
        let forget = |known: bool| known.then(|| ControlEvent::KeysForgotten { ids: vec![id.clone()] });
        Ok(self.inner.write(|state| Ok((forget(state.keys.contains_key(id)), ()))).await?)
    }

    /// A tenant's API keys by public part, and where the next page begins.
    ///
    /// # Errors
    /// `not_found`; what keeps the tenant's directory closed.
    pub async fn keys(
        &self,
        _: &Operator,
        tenant: &TenantId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<KeyView>, Option<String>)> {
        let residence = self.inner.open(self.inner.tenant_record(tenant)?.incarnation).await?;
        let mut page: Vec<_> = residence.book().read(|s| {
            let behind = s.keys.values().filter(|k| after.is_none_or(|a| k.0.id.as_str() > a));
            behind.take(limit.saturating_add(1)).map(|k| KeyView::from(&*k.0)).collect()
        });
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|k| k.id.as_str().to_owned());
        Ok((page, next))
    }

    /// One API key of a tenant, as far as its directory opens.
    pub async fn key(&self, _: &Operator, tenant: &TenantId, id: &KeyId) -> Option<KeyView> {
        let residence = self.inner.open(self.inner.tenant_record(tenant).ok()?.incarnation).await.ok()?;
        residence.book().read(|s| s.keys.get(id).map(|key| KeyView::from(&*key.0)))
    }

    /// Revokes an API key, at once: also one of a tenant whose directory does not open, which
    /// learns of it when it does.
    ///
    /// # Errors
    /// `not_found`; that the change could not be written.
    pub async fn revoke_key(&self, _: &Operator, tenant: &TenantId, id: &KeyId) -> Result<()> {
        let incarnation = self.inner.tenant_record(tenant)?.incarnation;
        let filed = self.inner.control.read(|s| s.keys.get(id).is_some_and(|place| place.incarnation == incarnation));
        if filed {
            self.unfile(id).await?;
        }
        let residence = match self.inner.open(incarnation).await {
            Ok(residence) => residence,
            Err(_) if filed => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let known = residence
            .write(|state| {
                let known = state.keys.contains_key(id);
                Ok((known.then(|| DirectoryEvent::KeyRevoked { id: id.clone() }), known))
            })
            .await?;
        if filed || known { Ok(()) } else { Err(Error::not_found()) }
    }
}

fn check(new: &NewKey, now: Timestamp) -> Result<(), Error> {
    check_label("name", Some(&new.name))?;
    if new.principals.len() > limits::READERS_MAX {
        return Err(Error::invalid("principals", "may have at most 256"));
    }
    if new.namespaces.len() > limits::NAMESPACES_PER_KEY_MAX {
        return Err(Error::invalid("namespaces", "may name at most 1000; leave it out for all of them"));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("expires_at", "must be in the future"));
    }
    Ok(())
}

/// Each once, in the order given.
fn distinct<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut out = Vec::with_capacity(list.len());
    for item in list {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}
