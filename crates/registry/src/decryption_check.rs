//! Tries to decrypt objects of a tenant along the path that a start takes: the control journal as it is on storage, the
//! tenant's key as its provider unwraps it now, the key of the keyspace, the object. The check must succeed while the
//! tenant has its keys and fail once they are destroyed; an erasure's certificate records both.

use crate::{
    certificate::{Canary, CheckFailure, DecryptionCheck, ResultBefore, hex},
    keys::trouble_of,
    open_tenant::{OpenTenant, open_keyspace},
    record::{KeyspaceRecord, TenantRecord},
    registry::Inner,
};
use journal::ObjectSample;
use kernel::{Incarnation, NamespaceUuid, ObjectUuid};
use std::sync::Arc;
use vault::{KeyFailure, Keyspace, KeyspaceKind, ObjectKind, TenantKeys, sha256};
use zeroize::Zeroizing;

/// The keys and records on the path to a tenant's objects, resolved once.
pub(crate) struct KeyPath<'a> {
    inner: &'a Inner,
    record: Option<TenantRecord>,
    keys: Result<TenantKeys, CheckFailure>,
    /// Keyspaces of its namespaces, as its directory on storage records them.
    namespaces: Result<Vec<KeyspaceRecord>, CheckFailure>,
}

impl<'a> KeyPath<'a> {
    /// Resolves the path; `open_tenant` is given while the tenant is open.
    pub(crate) async fn resolve(inner: &'a Inner, incarnation: Incarnation, open_tenant: Option<&OpenTenant>) -> Self {
        let (record, keys) = match inner.control.read_from_storage().await {
            Err(error) => (None, Err(CheckFailure::NotTried(format!("the control journal does not open: {error}")))),
            Ok(state) => {
                let record = state.by_incarnation(incarnation).cloned();
                let keys = match record.as_ref().filter(|record| !record.keys.epochs.is_empty()) {
                    None => {
                        Err(CheckFailure::Refused("the control journal holds no wrapped key of the tenant".to_owned()))
                    }
                    Some(record) => {
                        inner.provider_client.open_keyring(incarnation, &record.keys).await.map_err(|error| {
                            // No answer is not a refusal.
                            let untried = trouble_of(&error) == Some(KeyFailure::Outage);
                            let why = format!("the tenant's key is unavailable: {error}");
                            if untried { CheckFailure::NotTried(why) } else { CheckFailure::Refused(why) }
                        })
                    }
                };
                (record, keys)
            }
        };
        let namespaces = match open_tenant {
            None => Err(CheckFailure::Refused("the tenant's directory does not open".to_owned())),
            Some(open_tenant) => match open_tenant.directory().read_from_storage().await {
                Ok(state) => Ok(state.namespaces.values().map(|n| n.keyspace.clone()).collect()),
                Err(error) => Err(CheckFailure::NotTried(format!("the tenant's directory does not open: {error}"))),
            },
        };
        Self { inner, record, keys, namespaces }
    }

    /// Whether the tenant's keys are available.
    pub(crate) fn keys(&self) -> Result<(), CheckFailure> {
        self.keys.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Opens the sealed object with this full name.
    pub(crate) async fn object(&self, name: &str) -> Result<(), CheckFailure> {
        let keyspace = Arc::new(self.keyspace(name)?);
        let env = &self.inner.env;
        let opened = env.storage.open_sample(&keyspace, name, env.clock.clone(), env.entropy.clone()).await;
        opened.map_err(|error| match error {
            journal::Error::Vault(error) => CheckFailure::Refused(error.to_string()),
            error => CheckFailure::NotTried(error.to_string()),
        })
    }

    /// Opens the canary.
    pub(crate) fn canary(&self, canary: &Canary) -> Result<(), CheckFailure> {
        let opened = self.keyspace(&canary.keyspace)?.open_whole(CANARY, canary.object, &canary.sealed);
        let plain = opened.map_err(|error| CheckFailure::Refused(error.to_string()))?;
        if hex(&sha256(&plain)) != canary.plain_sha256 {
            return Err(CheckFailure::Refused("it opens, but its content differs".to_owned()));
        }
        Ok(())
    }

    /// Returns the keyspace that an object's name begins with.
    fn keyspace(&self, name: &str) -> Result<Keyspace, CheckFailure> {
        let keys = self.keys.as_ref().map_err(Clone::clone)?;
        let no_record = || CheckFailure::Refused("no record names its keyspace".to_owned());
        let number = name.split('/').nth(2).and_then(|text| NamespaceUuid::parse(text).ok()).ok_or_else(no_record)?;
        let own = |kind: KeyspaceKind| name.starts_with(&kind.prefix(number));
        let record = self.record.as_ref().ok_or_else(no_record)?;
        let (kind, keyspace_record) = if own(KeyspaceKind::Directory) {
            (KeyspaceKind::Directory, record.directory.as_ref())
        } else if own(KeyspaceKind::Audit) {
            (KeyspaceKind::Audit, record.audit.as_ref())
        } else {
            let namespaces = self.namespaces.as_ref().map_err(Clone::clone)?;
            (KeyspaceKind::Namespace, namespaces.iter().find(|keyspace| keyspace.uuid == number))
        };
        let found = keyspace_record.filter(|keyspace| keyspace.uuid == number).ok_or_else(no_record)?;
        open_keyspace(keys, kind, found).map_err(|error| CheckFailure::Refused(error.to_string()))
    }
}

impl Inner {
    /// Seals a random value under the key of the tenant's directory. The result is not checked yet.
    pub(crate) fn canary(&self, open_tenant: &OpenTenant) -> crate::Result<Canary> {
        let (keyspace, entropy) = (open_tenant.directory().keyspace(), &*self.env.entropy);
        let mut plain = Zeroizing::new([0; 32]);
        entropy.fill(&mut *plain);
        let object = ObjectUuid::random(entropy);
        let sealed = keyspace.seal_whole(CANARY, object, &*plain, entropy)?.into_boxed_slice();
        let (sealed_sha256, plain_sha256) = (hex(&sha256(&sealed)), hex(&sha256(&*plain)));
        let before = ResultBefore::of(Err("not tried".to_owned()));
        Ok(Canary { keyspace: keyspace.prefix(), object, sealed, sealed_sha256, plain_sha256, before })
    }
}

impl DecryptionCheck {
    /// Checks one stored object.
    pub(crate) async fn of(key_path: &KeyPath<'_>, sample: ObjectSample) -> Self {
        let before = ResultBefore::of(key_path.object(&sample.name).await.map_err(CheckFailure::into_message));
        let kind = match sample.name.split('/').nth(3) {
            Some("log") => "log",
            Some("ckpt") => "checkpoint",
            _ => "object",
        };
        Self { sample: sample.into(), kind: kind.to_owned(), before }
    }
}

/// Object kind of the canary, which no other object in a directory's keyspace has.
const CANARY: ObjectKind = ObjectKind::Control;
