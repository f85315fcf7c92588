//! Tries to open something of a tenant, by the way that a start would go: the control journal as it lies on the storage,
//! the tenant's key as its provider unwraps it now, its place's key, the object. While the tenant has its keys the try
//! must succeed; once they are destroyed it must not, and that is what an erasure's certificate shows.

use crate::{
    certificate::{Before, Canary, Failed, Trial, hex},
    keys::trouble_of,
    record::{PlaceRecord, TenantRecord},
    registry::Inner,
    residence::{Residence, place},
};
use journal::Witness;
use kernel::{Incarnation, NamespaceUuid, ObjectUuid};
use std::sync::Arc;
use vault::{Home, KeyTrouble, ObjectKind, PlaceKind, TenantKeys, sha256};
use zeroize::Zeroizing;

/// What stands on the way to a tenant's objects, looked up once.
pub(crate) struct Way<'a> {
    inner: &'a Inner,
    record: Option<TenantRecord>,
    keys: Result<TenantKeys, Failed>,
    /// Places of its namespaces, as its directory on the storage names them.
    namespaces: Result<Vec<PlaceRecord>, Failed>,
}

impl<'a> Way<'a> {
    /// `residence`: the tenant, while it is open.
    pub(crate) async fn look(inner: &'a Inner, incarnation: Incarnation, residence: Option<&Residence>) -> Self {
        let (record, keys) = match inner.control.reread().await {
            Err(error) => (None, Err(Failed::Untried(format!("the control journal does not open: {error}")))),
            Ok(state) => {
                let record = state.by_incarnation(incarnation).cloned();
                let keys = match record.as_ref().filter(|record| !record.keys.epochs.is_empty()) {
                    None => Err(Failed::Refused("the control journal holds no wrapped key of the tenant".to_owned())),
                    Some(record) => inner.asking.ring(incarnation, &record.keys).await.map_err(|error| {
                        // No answer is no refusal.
                        let untried = trouble_of(&error) == Some(KeyTrouble::Outage);
                        let why = format!("the tenant's key cannot be had: {error}");
                        if untried { Failed::Untried(why) } else { Failed::Refused(why) }
                    }),
                };
                (record, keys)
            }
        };
        let namespaces = match residence {
            None => Err(Failed::Refused("the tenant's directory does not open".to_owned())),
            Some(residence) => match residence.book().reread().await {
                Ok(state) => Ok(state.namespaces.values().map(|n| n.place.clone()).collect()),
                Err(error) => Err(Failed::Untried(format!("the tenant's directory does not open: {error}"))),
            },
        };
        Self { inner, record, keys, namespaces }
    }

    /// Whether the tenant's keys are given.
    pub(crate) fn keys(&self) -> Result<(), Failed> {
        self.keys.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Opens a sealed object by its whole name.
    pub(crate) async fn object(&self, name: &str) -> Result<(), Failed> {
        let home = Arc::new(self.home(name)?);
        let world = &self.inner.world;
        let opened = world.storage.open_sample(&home, name, world.clock.clone(), world.entropy.clone()).await;
        opened.map_err(|error| match error {
            journal::Error::Vault(error) => Failed::Refused(error.to_string()),
            error => Failed::Untried(error.to_string()),
        })
    }

    /// Opens the canary.
    pub(crate) fn canary(&self, canary: &Canary) -> Result<(), Failed> {
        let opened = self.home(&canary.place)?.open_whole(CANARY, canary.object, &canary.sealed);
        let plain = opened.map_err(|error| Failed::Refused(error.to_string()))?;
        if hex(&sha256(&plain)) != canary.plain_sha256 {
            return Err(Failed::Refused("it opens, and is another".to_owned()));
        }
        Ok(())
    }

    /// The home of the place that this name begins with.
    fn home(&self, name: &str) -> Result<Home, Failed> {
        let keys = self.keys.as_ref().map_err(Clone::clone)?;
        let unnamed = || Failed::Refused("no record names its place".to_owned());
        let number = name.split('/').nth(2).and_then(|text| NamespaceUuid::parse(text).ok()).ok_or_else(unnamed)?;
        let own = |kind: PlaceKind| name.starts_with(&kind.prefix(number));
        let record = self.record.as_ref().ok_or_else(unnamed)?;
        let (kind, place_record) = if own(PlaceKind::Directory) {
            (PlaceKind::Directory, record.directory.as_ref())
        } else if own(PlaceKind::Audit) {
            (PlaceKind::Audit, record.audit.as_ref())
        } else {
            let namespaces = self.namespaces.as_ref().map_err(Clone::clone)?;
            (PlaceKind::Namespace, namespaces.iter().find(|place| place.uuid == number))
        };
        let found = place_record.filter(|place| place.uuid == number).ok_or_else(unnamed)?;
        place(keys, kind, found).map_err(|error| Failed::Refused(error.to_string()))
    }
}

impl Inner {
    /// Something sealed under the key of the tenant's directory, not tried yet.
    pub(crate) fn canary(&self, residence: &Residence) -> crate::Result<Canary> {
        let (home, entropy) = (residence.book().home(), &*self.world.entropy);
        let mut plain = Zeroizing::new([0; 32]);
        entropy.fill(&mut *plain);
        let object = ObjectUuid::random(entropy);
        let sealed = home.seal_whole(CANARY, object, &*plain, entropy)?.into_boxed_slice();
        let (sealed_sha256, plain_sha256) = (hex(&sha256(&sealed)), hex(&sha256(&*plain)));
        let before = Before::of(Err("not tried".to_owned()));
        Ok(Canary { place: home.prefix(), object, sealed, sealed_sha256, plain_sha256, before })
    }
}

impl Trial {
    /// One that lies there, tried.
    pub(crate) async fn of(way: &Way<'_>, witness: Witness) -> Self {
        let before = Before::of(way.object(&witness.name).await.map_err(Failed::why));
        let kind = match witness.name.split('/').nth(3) {
            Some("log") => "log",
            Some("ckpt") => "checkpoint",
            _ => "object",
        };
        Self { sample: witness.into(), kind: kind.to_owned(), before }
    }
}

/// Nothing else of a directory's place is of this kind.
const CANARY: ObjectKind = ObjectKind::Control;
