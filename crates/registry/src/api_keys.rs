//! A tenant's API keys. They are stored in its directory; of a secret only the keyed hash is kept.
//!
//! The control journal records the owner, the hash and the expiry of each key, so that a secret is checked before
//! anything is opened. A key is valid only while both journals have it. It is created in the control journal first,
//! then in the directory, and returned only then: a crash in between leaves a key whose secret was never returned. It
//! is also revoked in the control journal first, which ends it at once whatever the state of the directory. The next
//! opening of the directory removes what only one of the two has.

use crate::{
    Registry,
    control::ControlEvent,
    directory::DirectoryEvent,
    record::{Lifecycle, RegisteredKey, StoredApiKey},
    registry::mac,
    tenants::check_label,
};
use access::{KeyRecord, Operator, TokenKind, token};
use kernel::{Code, Error, KeyId, NamespaceName, Principal, Result, Scope, TenantId, Timestamp, limits};
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Description of an API key to be created.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Name for people.
    pub name: String,
    /// What the key may do; empty means [`Scope::DEFAULT`].
    pub scopes: Vec<Scope>,
    /// Principals as which it reads.
    pub principals: Vec<Principal>,
    /// Namespaces that it may use; empty means all of them.
    pub namespaces: Vec<NamespaceName>,
    /// Time from which the key is refused.
    pub expires_at: Option<Timestamp>,
}

/// An API key as operators see it.
#[derive(Clone, Debug)]
pub struct ApiKeyView {
    /// Public part of the key.
    pub id: KeyId,
    /// Name for people.
    pub name: String,
    /// What the key may do.
    pub scopes: Vec<Scope>,
    /// Principals as which it reads.
    pub principals: Vec<Principal>,
    /// Namespaces that it may use; empty means all of them.
    pub namespaces: Vec<NamespaceName>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Time from which the key is refused.
    pub expires_at: Option<Timestamp>,
}

impl From<&KeyRecord> for ApiKeyView {
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
    /// Creates an API key. The secret is shown once.
    ///
    /// # Errors
    /// `not_found`, `invalid_request`, `quota_exceeded`; the error that keeps the tenant's directory closed.
    pub async fn create_key(
        &self,
        _: &Operator,
        tenant: &TenantId,
        new: NewApiKey,
    ) -> Result<(ApiKeyView, Zeroizing<String>)> {
        let inner = &self.inner;
        let now = inner.env.clock.now();
        check(&new, now)?;
        let record = inner.tenant_record(tenant)?;
        let open_tenant = inner.open(record.incarnation).await?;
        let (id, full_token, secret) = token::mint(TokenKind::Key, &*inner.env.entropy);
        let key = StoredApiKey(Arc::new(KeyRecord {
            id,
            tenant: record.id,
            incarnation: record.incarnation,
            name: new.name,
            mac: mac(inner.control.keyspace(), secret.as_bytes()),
            scopes: if new.scopes.is_empty() { Scope::DEFAULT.to_vec() } else { distinct(new.scopes) },
            principals: distinct(new.principals),
            namespaces: distinct(new.namespaces),
            created_at: now,
            expires_at: new.expires_at,
        }));
        self.register(&key.0).await?;
        let written = open_tenant.write(|_| Ok((Some(DirectoryEvent::KeyCreated(key.clone())), ()))).await;
        if let Err(error) = written {
            // If this fails as well, the directory's next opening removes the key.
            let _ = self.unregister(&key.0.id).await;
            return Err(error.into());
        }
        Ok((ApiKeyView::from(&*key.0), full_token))
    }

    async fn register(&self, key: &KeyRecord) -> Result<()> {
        let (id, incarnation) = (key.id.clone(), key.incarnation);
        let registered = RegisteredKey { incarnation, mac: key.mac, expires_at: key.expires_at };
        self.inner
            .write(|state| {
                let owner = state.by_incarnation(incarnation).filter(|t| t.life != Lifecycle::Deleting);
                owner.ok_or_else(Error::not_found)?;
                if state.keys_of(incarnation) >= limits::API_KEYS_PER_TENANT_MAX || state.keys.contains_key(&id) {
                    let why = "a tenant may have at most 10000 API keys; revoke some first";
                    return Err(Error::new(Code::QuotaExceeded, why).into());
                }
                Ok((Some(ControlEvent::KeyRegistered { id, key: registered }), ()))
            })
            .await?;
        Ok(())
    }

    async fn unregister(&self, id: &KeyId) -> Result<()> {
        let forget = |known: bool| known.then(|| ControlEvent::KeysUnregistered { ids: vec![id.clone()] });
        Ok(self.inner.write(|state| Ok((forget(state.keys.contains_key(id)), ()))).await?)
    }

    /// Returns a tenant's API keys in order of their public part, and where the next page begins.
    ///
    /// # Errors
    /// `not_found`; the error that keeps the tenant's directory closed.
    pub async fn keys(
        &self,
        _: &Operator,
        tenant: &TenantId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<ApiKeyView>, Option<String>)> {
        let open_tenant = self.inner.open(self.inner.tenant_record(tenant)?.incarnation).await?;
        let mut page: Vec<_> = open_tenant.directory().read(|s| {
            let following = s.keys.values().filter(|k| after.is_none_or(|a| k.0.id.as_str() > a));
            following.take(limit.saturating_add(1)).map(|k| ApiKeyView::from(&*k.0)).collect()
        });
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|k| k.id.as_str().to_owned());
        Ok((page, next))
    }

    /// Revokes an API key at once, whatever the state of the tenant's directory, which removes the key when it opens.
    /// Returns the key if the directory answers soon enough.
    ///
    /// # Errors
    /// `not_found`; the error of a change that could not be written.
    pub async fn revoke_key(&self, _: &Operator, tenant: &TenantId, id: &KeyId) -> Result<Option<ApiKeyView>> {
        let incarnation = self.inner.tenant_record(tenant)?.incarnation;
        let registered = self.inner.control.read(|s| s.keys.get(id).is_some_and(|key| key.incarnation == incarnation));
        if registered {
            // From now on the key is refused. The rest may wait for a key provider or a disk.
            self.unregister(id).await?;
        }
        let (inner, key) = (self.inner.clone(), id.clone());
        // The directory is updated in a task of its own, which continues if the caller stops waiting.
        let directory_task = self.inner.tracker.spawn(async move {
            let open_tenant = inner.open(incarnation).await?;
            let known = open_tenant.directory().read(|s| s.keys.get(&key).map(|key| ApiKeyView::from(&*key.0)));
            let revoked = open_tenant.write(|state| {
                let known = state.keys.contains_key(&key);
                Ok((known.then(|| DirectoryEvent::KeyRevoked { id: key.clone() }), ()))
            });
            // The caller may have been answered already.
            revoked.await.map(|()| known).inspect_err(|error| {
                tracing::warn!(%incarnation, %error, "a revoked API key is still listed; it opens nothing");
            })
        });
        let known = match tokio::time::timeout(DIRECTORY_WAIT, directory_task).await {
            Ok(Ok(Ok(known))) => known,
            Ok(Ok(Err(error))) if !registered => return Err(error.into()),
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => None,
        };
        if registered || known.is_some() { Ok(known) } else { Err(Error::not_found()) }
    }
}

/// How long a request to revoke a key waits for the tenant's directory.
const DIRECTORY_WAIT: Duration = Duration::from_millis(500);

fn check(new: &NewApiKey, now: Timestamp) -> Result<(), Error> {
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

/// Removes repeated items and keeps the order.
fn distinct<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut out = Vec::with_capacity(list.len());
    for item in list {
        if !out.contains(&item) {
            out.push(item);
        }
    }
    out
}
