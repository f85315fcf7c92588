//! The server's own keys and their rotation: the control place, which a provider's key wraps; and the house ring, which
//! wraps the key of the operators' audit.
//!
//! Each step is durable before the next, and what is left to do can be read from what is there:
//! 1. `HouseRotationBegun` in control, with what is to be destroyed. From here on a start goes on with it.
//! 2. `HouseEpochAdded`: a fresh key of the ring. Then the audit place's key: wrapped anew, or with a next key
//!    beside it, everything sealed anew by the ledger, and the old one forgotten (`HouseAuditRewrapped`).
//! 3. The control place's wrap: a new small object beside the old one, which goes once the new one is durable. Where all
//!    is sealed anew it holds two keys first; the signing key's wrap and the whole journal follow (`SignerRewrapped`,
//!    a checkpoint), and another object holds the new key alone.
//! 4. `HouseRotated` with the statement, and a checkpoint, behind which the old key of the ring is nowhere.
//!
//! The MAC key of the control place stays, for tokens are judged by it; and the signing key, which is pinned elsewhere.

use crate::{
    Certificate, Error, KeyChoice, Registry, Result,
    certificate::{ServerRotated, ServerShredded},
    codec,
    control::{ControlEvent, ControlState},
    keys::Asking,
    record::{EpochRecord, HouseRecord, Wrapped},
    residence::place,
};
use access::Operator;
use journal::Storage;
use kernel::{Code, KeyEpoch, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;
use vault::{Home, Key, PlaceKind, TenantKeys, WrappedKey};

/// The control place's wrapped key, as a start reads it. Its ciphertext, the key's name and its age are all it says.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RootWrap {
    provider: String,
    key: String,
    wrapped: Wrapped,
    #[serde(with = "codec::millis")]
    created_at: Timestamp,
}

/// Which of them counts, and what stands in the way of a second rotation.
pub(crate) struct Root {
    now: Mutex<(u64, RootWrap)>,
    rotation: Arc<tokio::sync::Mutex<()>>,
}

/// A rotation of the server's own keys that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HouseRotation {
    reencrypt: bool,
    #[serde(with = "codec::millis")]
    begun_at: Timestamp,
    /// Which wrap of the control place and which epoch above the operators' audit counted then.
    root: u64,
    epoch: u32,
    provider: String,
    key: String,
    destroyed: Vec<ServerShredded>,
}

/// The server's own keys, as operators see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeys {
    /// The provider and the key that wrap them.
    pub key: (String, String),
    /// When the control place's wrap was made.
    pub created_at: Timestamp,
    /// Epochs of the control place's own key: two while everything is sealed anew.
    pub control_epochs: Vec<KeyEpoch>,
    /// Epochs of the key above the operators' audit, with their providers and keys.
    pub audit_epochs: Vec<(KeyEpoch, Timestamp, String, String)>,
    /// Since when a rotation is under way, and whether it seals anew.
    pub rotating: Option<(Timestamp, bool)>,
}

/// A rotation of the server's own keys under way: the only one.
pub struct ServerRotation {
    registry: Registry,
    begun: HouseRotation,
    keys: TenantKeys,
    _one: OwnedMutexGuard<()>,
}

/// The first of them; later ones are numbered.
const FIRST: &str = "ctl/root.wrap";
const LATER: &str = "ctl/root";

impl RootWrap {
    /// Wraps a fresh control place under this key.
    pub(crate) fn new(key: (String, String), wrapped: WrappedKey, created_at: Timestamp) -> Self {
        Self { provider: key.0, key: key.1, wrapped: wrapped.into(), created_at }
    }

    async fn open<T: Send + 'static>(
        &self,
        asking: &Asking,
        open: impl FnOnce(&Key, &WrappedKey) -> vault::Result<T> + Send + 'static,
    ) -> Result<T> {
        let key = asking.config.providers.key(&self.provider, &self.key).map_err(|error| {
            let message = format!(
                "the server's own keys stand under the key {:?} of the key provider '{}': {error}",
                self.key, self.provider
            );
            kernel::Error::new(Code::KeyUnavailable, message)
        })?;
        let wrapped = WrappedKey::from(&self.wrapped);
        asking.ask(key, move |key| open(key, &wrapped)).await
    }
}

impl Root {
    /// The newest that is there, and the control place that it opens. What a stop left of an older one goes.
    pub(crate) async fn find(storage: &Storage, asking: &Asking) -> Result<Option<(Self, Home)>> {
        let mut numbers: Vec<u64> = storage.small_names(LATER).await?.iter().filter_map(|n| n.parse().ok()).collect();
        numbers.sort_unstable();
        let number = numbers.last().copied().unwrap_or(1);
        let Some(bytes) = storage.get_small(&name_of(number)).await? else { return Ok(None) };
        let wrap: RootWrap = codec::decode("control key", &bytes)?;
        let home = wrap.open(asking, |key, wrapped| Home::control(&**key, wrapped)).await?;
        let root = Self { now: Mutex::new((number, wrap)), rotation: Arc::default() };
        root.sweep(storage).await?;
        Ok(Some((root, home)))
    }

    /// Removes those that count no more.
    async fn sweep(&self, storage: &Storage) -> Result<()> {
        let (number, _) = self.now();
        let known = storage.small_names(LATER).await?;
        let later = known.iter().filter_map(|name| name.parse::<u64>().ok()).filter(|older| *older < number);
        for older in later.chain((number > 1).then_some(1)) {
            storage.delete_small(&name_of(older)).await?;
        }
        Ok(())
    }

    /// Writes the first. `None`: another was there.
    pub(crate) async fn found(storage: &Storage, wrap: RootWrap) -> Result<Option<Self>> {
        let ours = storage.put_new(FIRST, codec::encode(&wrap)?.to_vec()).await?;
        Ok(ours.then(|| Self { now: Mutex::new((1, wrap)), rotation: Arc::default() }))
    }

    fn now(&self) -> (u64, RootWrap) {
        // One assignment under it.
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a newer one in the place of what counts now: durable beside it first, then the old one goes.
    async fn replace(&self, storage: &Storage, wrap: RootWrap) -> Result<()> {
        let next = self.now().0 + 1;
        if !storage.put_new(&name_of(next), codec::encode(&wrap)?.to_vec()).await? {
            return Err(Error::TakenOver);
        }
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = (next, wrap);
        self.sweep(storage).await
    }
}

fn name_of(number: u64) -> String {
    if number == 1 { FIRST.to_owned() } else { format!("{LATER}/{number:010}") }
}

impl Registry {
    /// The server's own keys.
    pub fn server_keys(&self, _: &Operator) -> ServerKeys {
        let inner = &self.inner;
        let (_, wrap) = inner.root.now();
        let (epochs, rotating) =
            inner.control.read(|s| (s.house.as_ref().map(|h| h.keys.epochs.clone()), s.rotating.clone()));
        let epoch = |e: EpochRecord| (KeyEpoch(e.wrapped.epoch), e.created_at, e.provider, e.key);
        ServerKeys {
            key: (wrap.provider, wrap.key),
            created_at: wrap.created_at,
            control_epochs: inner.control.home().epochs(),
            audit_epochs: epochs.unwrap_or_default().into_iter().map(epoch).collect(),
            rotating: rotating.map(|r| (r.begun_at, r.reencrypt)),
        }
    }

    /// The newest statement about them.
    pub fn server_certificate(&self) -> Option<Certificate> {
        self.inner.control.read(|s| s.certificates.of(Self::HOUSE).next_back().cloned())
    }

    /// Whether a rotation of the server's own keys has begun and not ended.
    pub fn server_rotates(&self) -> bool {
        self.inner.control.read(|s| s.rotating.is_some())
    }

    /// Begins a rotation of the server's own keys. What `choice` leaves open stays as it is.
    ///
    /// # Errors
    /// `conflict` while another is under way; what the provider says.
    pub async fn begin_server_rotation(&self, _: &Operator, choice: &KeyChoice, reencrypt: bool) -> kernel::Result<()> {
        let inner = &self.inner;
        let (root, wrap) = inner.root.now();
        let provider = choice.provider.clone().unwrap_or_else(|| wrap.provider.clone());
        let key = match &choice.key {
            Some(key) => key.clone(),
            None if provider == wrap.provider => wrap.key.clone(),
            None => inner.asking.config.providers.provider(&provider)?.default_key().to_owned(),
        };
        // Asked before anything is written, so that a mistyped name begins nothing.
        let known = inner.asking.config.providers.key(&provider, &key)?;
        inner.asking.ask(known, |key| key.facts()).await?;
        let begun_at = inner.world.clock.now();
        let begun = inner.write(|state| {
            let house = house(state)?;
            if state.rotating.is_some() {
                let message = "a rotation of the server's own keys is in progress and continues by itself";
                return Err(kernel::Error::new(Code::Conflict, message).into());
            }
            let of_epoch =
                |e: &EpochRecord| ServerShredded::of("operators' audit", &e.provider, &e.key, &e.wrapped.bytes);
            let control = ServerShredded::of("control place", &wrap.provider, &wrap.key, &wrap.wrapped.bytes);
            let destroyed = [control].into_iter().chain(house.keys.epochs.iter().map(of_epoch)).collect();
            let epoch = house.keys.current().0;
            let begun = HouseRotation { reencrypt, begun_at, root, epoch, provider, key, destroyed };
            Ok((Some(ControlEvent::HouseRotationBegun(begun)), ()))
        });
        Ok(begun.await?)
    }

    /// Goes on with the rotation that has begun: its fresh key above the operators' audit is durable when this returns.
    /// `None` when there is none.
    ///
    /// # Errors
    /// What the provider says, what stops the control journal.
    pub async fn server_rotation(&self) -> kernel::Result<Option<ServerRotation>> {
        let inner = &self.inner;
        let one = inner.root.rotation.clone().lock_owned().await;
        let Some(begun) = inner.control.read(|s| s.rotating.clone()) else { return Ok(None) };
        let record = inner.control.read(|s| house(s).cloned())?;
        let mut keys = inner.asking.ring(Self::HOUSE, &record.keys).await?;
        if record.keys.current().0 == begun.epoch {
            let (key, entropy) =
                (inner.asking.config.providers.key(&begun.provider, &begun.key)?, inner.world.entropy.clone());
            let (ring, wrapped) = inner.asking.ask(key, move |key| keys.rotated(&**key, &*entropy)).await?;
            let (provider, key, created_at) = (begun.provider.clone(), begun.key.clone(), inner.world.clock.now());
            let epoch = EpochRecord { provider, key, made: false, wrapped: wrapped.into(), created_at };
            inner.write(|_| Ok((Some(ControlEvent::HouseEpochAdded(epoch)), ()))).await?;
            keys = ring;
        }
        Ok(Some(ServerRotation { registry: self.clone(), begun, keys, _one: one }))
    }
}

impl ServerRotation {
    /// The operators' audit, to be sealed anew; `None` when there is nothing to seal.
    ///
    /// # Errors
    /// What stops the control journal.
    pub async fn begin_audit(&self) -> kernel::Result<Option<Arc<Home>>> {
        let inner = &self.registry.inner;
        let (home, entropy) = (inner.house_audit.clone(), &*inner.world.entropy);
        let known = self.audit_wrap()?;
        if known.epoch != self.keys.current().0 {
            let wrapped = match self.begun.reencrypt {
                true => home.with_next_key(&self.keys, entropy),
                false => home.rewrap(&self.keys, entropy),
            };
            self.rewrap_audit(&home, wrapped.map_err(Error::from)?).await?;
        }
        // What a stop left is followed as well.
        home.refresh(&self.keys, &WrappedKey::from(&self.audit_wrap()?))?;
        Ok((home.epochs().len() > 1).then_some(home))
    }

    /// It is sealed anew: its old key is forgotten.
    ///
    /// # Errors
    /// As [`begin_audit`](Self::begin_audit).
    pub async fn end_audit(&self, home: &Home) -> kernel::Result<()> {
        let wrapped = home.without_old_keys(&self.keys, &*self.registry.inner.world.entropy)?;
        self.rewrap_audit(home, wrapped).await
    }

    /// The control place: its wrap, and everything in it where that is asked for.
    ///
    /// # Errors
    /// What the provider says, what stops the control journal; `internal` when something is left under the old key.
    pub async fn control(&self) -> kernel::Result<()> {
        let inner = &self.registry.inner;
        let home = inner.control.home().clone();
        if inner.root.now().0 == self.begun.root {
            let reencrypt = self.begun.reencrypt;
            self.rewrap_control(move |home, key, entropy| match reencrypt {
                true => home.with_next_control_key(&**key, entropy),
                false => home.rewrap_control(&**key, entropy),
            })
            .await?;
        }
        if home.epochs().len() < 2 {
            return Ok(());
        }
        let signer = inner.control.read(|s| house(s).map(|h| h.signer.clone()))?;
        if signer.epoch != home.epoch().0 {
            let signer = home.rewrap_signer(&WrappedKey::from(&signer), &*inner.world.entropy)?.into();
            inner.write(|_| Ok((Some(ControlEvent::SignerRewrapped(signer)), ()))).await?;
        }
        inner.control.purge().await?;
        if inner.control.stands_under_others(home.epoch()).await? {
            return Err(kernel::Error::internal("the control journal still stands under an older key"));
        }
        self.rewrap_control(|home, key, entropy| home.without_old_control_keys(&**key, entropy)).await
    }

    /// Ends it: the old key above the operators' audit is destroyed, and that is stated.
    ///
    /// # Errors
    /// `internal` when something is not done; what stops the control journal.
    pub async fn finish(self) -> kernel::Result<Certificate> {
        let inner = &self.registry.inner;
        let current = self.keys.current();
        let done = |wrap: &Wrapped| wrap.epoch == current.0 && Home::keys_in(&WrappedKey::from(wrap)) == Some(1);
        if !done(&self.audit_wrap()?)
            || inner.control.home().epochs().len() != 1
            || inner.root.now().0 == self.begun.root
        {
            return Err(kernel::Error::internal("the server's own keys are not all rotated"));
        }
        // A failed removal of before.
        inner.root.sweep(&inner.world.storage).await?;
        let at = inner.world.clock.now();
        let (begun, doubts) = (&self.begun, self.begun.destroyed.iter().map(ServerShredded::doubt));
        let mut doubts: Vec<_> = doubts.collect();
        doubts.dedup();
        let statement = ServerRotated {
            statement: "the server's own keys rotated: nothing of its control place and its operators' audit stands under those of before",
            version: 0,
            mode: if begun.reencrypt { "reencrypt" } else { "rewrap" },
            at: at.to_string(),
            destroyed: &begun.destroyed,
            provider: &begun.provider,
            key: &begun.key,
            cannot_be_proven: doubts,
        };
        let certificate = Certificate::sign_own(&inner.signer, at, &statement)?;
        let kept = certificate.clone();
        inner.write(|_| Ok((Some(ControlEvent::HouseRotated { certificate: kept }), ()))).await?;
        inner.control.purge().await?;
        Ok(certificate)
    }

    fn audit_wrap(&self) -> kernel::Result<Wrapped> {
        self.registry.inner.control.read(|s| house(s).map(|h| h.audit.wrapped.clone())).map_err(Into::into)
    }

    async fn rewrap_audit(&self, home: &Home, wrapped: WrappedKey) -> kernel::Result<()> {
        let inner = &self.registry.inner;
        inner.write(|_| Ok((Some(ControlEvent::HouseAuditRewrapped(wrapped.into())), ()))).await?;
        let known = inner.control.read(|s| house(s).map(|h| h.audit.clone()))?;
        // Opened once more, so that a wrap which does not open is found before anything is sealed under it.
        place(&self.keys, PlaceKind::Audit, &known)?;
        Ok(home.refresh(&self.keys, &WrappedKey::from(&known.wrapped))?)
    }

    /// Makes another wrap of the control place's keys, durable, and has its home follow.
    pub(crate) async fn rewrap_control(
        &self,
        wrap: impl FnOnce(&Home, &Key, &dyn kernel::Entropy) -> vault::Result<WrappedKey> + Send + 'static,
    ) -> kernel::Result<()> {
        let inner = &self.registry.inner;
        let key = inner.asking.config.providers.key(&self.begun.provider, &self.begun.key)?;
        let (home, entropy) = (inner.control.home().clone(), inner.world.entropy.clone());
        // It is opened before it counts: without it nothing of the server opens.
        let wrapped = inner.asking.ask(key.clone(), move |key| {
            let wrapped = wrap(&home, key, &*entropy)?;
            Home::control(&**key, &wrapped).map(|_| wrapped)
        });
        let wrapped = wrapped.await?;
        // Who has lost the storage must not say by which key it opens.
        inner.control.check().await?;
        let names = (self.begun.provider.clone(), self.begun.key.clone());
        inner.root.replace(&inner.world.storage, RootWrap::new(names, wrapped, inner.world.clock.now())).await?;
        let home = inner.control.home().clone();
        let (_, root) = inner.root.now();
        Ok(root.open(&inner.asking, move |key, wrapped| home.refresh_control(&**key, wrapped)).await?)
    }
}

fn house(state: &ControlState) -> Result<&HouseRecord> {
    state.house.as_ref().ok_or(Error::Damaged("the server has no keys of its own"))
}
