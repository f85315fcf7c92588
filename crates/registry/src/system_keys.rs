//! The system's keys and their rotation: the key of the control keyspace, which a provider's key wraps, and a keyring
//! of the server's own, which wraps the key of the operators' audit.
//!
//! Each step of a rotation is durable before the next, and the stored state tells what is left to do:
//! 1. `SystemRotationBegun` in control, with the keys that are to be destroyed. From now on a start continues the
//!    rotation.
//! 2. `SystemEpochAdded`: a fresh key of the keyring. Then the key of the audit keyspace is either rewrapped, or it gets
//!    a successor, the ledger re-encrypts everything under that, and the old key is forgotten (`SystemAuditRewrapped`).
//! 3. The wrap of the control keyspace: a new small object is written, and the old one is removed once the new one is
//!    durable. When everything is re-encrypted, the wrap first holds two keys; the signing key is rewrapped and the
//!    whole journal is re-encrypted (`SignerRewrapped`, a checkpoint), and a further object holds the new key alone.
//! 4. `SystemRotated` with the statement, and a checkpoint, after which no copy of the keyring's old key is left.
//!
//! The MAC key of the control keyspace stays, because tokens are checked with it, and so does the signing key, because
//! others have pinned it.

use crate::{
    Certificate, Error, KeyChoice, Registry, Result,
    certificate::{ServerRotationStatement, ShreddedServerKey},
    codec,
    control::{ControlEvent, ControlState},
    keys::ProviderClient,
    open_tenant::open_keyspace,
    record::{EpochRecord, SystemRecord, Wrapped},
};
use access::Operator;
use journal::Storage;
use kernel::{Code, KeyEpoch, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use vault::{Key, Keyspace, KeyspaceKind, TenantKeys, WrappedKey};

/// The wrapped key of the control keyspace, as a start reads it. It reveals only the ciphertext, the name of the
/// wrapping key, and its age.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RootWrap {
    provider: String,
    key: String,
    wrapped: Wrapped,
    #[serde(with = "codec::millis")]
    created_at: Timestamp,
}

/// The wrap that is current, and the lock that admits one rotation at a time.
pub(crate) struct RootWrapStore {
    current: Mutex<(u64, RootWrap)>,
    rotation: Arc<tokio::sync::Mutex<()>>,
}

/// A rotation of the system's keys that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SystemRotation {
    reencrypt: bool,
    #[serde(with = "codec::millis")]
    begun_at: Timestamp,
    /// The wrap of the control keyspace, and the epoch that wraps the operators' audit, which were current when it
    /// began.
    root: u64,
    epoch: u32,
    provider: String,
    key: String,
    destroyed: Vec<ShreddedServerKey>,
}

/// The system's keys, as operators see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeys {
    /// The provider and the key that wrap them.
    pub key: (String, String),
    /// When the control keyspace's wrap was made.
    pub created_at: Timestamp,
    /// Epochs of the control keyspace's own key: two while everything is being re-encrypted.
    pub control_epochs: Vec<KeyEpoch>,
    /// Epochs of the key above the operators' audit, with the time of their creation, their providers and their keys.
    pub audit_epochs: Vec<(KeyEpoch, Timestamp, String, String)>,
    /// Start of the rotation in progress, and whether it re-encrypts.
    pub rotating: Option<(Timestamp, bool)>,
}

/// The rotation of the system's keys that is in progress; there is at most one.
pub struct ServerRotation {
    registry: Registry,
    begun: SystemRotation,
    keys: TenantKeys,
    _one: OwnedMutexGuard<()>,
}

/// Object of the first wrap; later ones are numbered under [`LATER_WRAPS`].
const FIRST_WRAP: &str = "ctl/root.wrap";
const LATER_WRAPS: &str = "ctl/root";

impl RootWrap {
    /// Describes a control keyspace that this key has wrapped.
    pub(crate) fn new(key: (String, String), wrapped: WrappedKey, created_at: Timestamp) -> Self {
        Self { provider: key.0, key: key.1, wrapped: wrapped.into(), created_at }
    }

    async fn open<T: Send + 'static>(
        &self,
        provider_client: &ProviderClient,
        open: impl FnOnce(&Key, &WrappedKey) -> vault::Result<T> + Send + 'static,
    ) -> Result<T> {
        let key = provider_client.config.providers.key(&self.provider, &self.key).map_err(|error| {
            let message = format!(
                "the server's own keys are wrapped by the key {:?} of the key provider '{}': {error}",
                self.key, self.provider
            );
            kernel::Error::new(Code::KeyUnavailable, message)
        })?;
        let wrapped = WrappedKey::from(&self.wrapped);
        provider_client.call(key, move |key| open(key, &wrapped)).await
    }
}

impl RootWrapStore {
    /// Finds the newest wrap and opens the control keyspace with it. Removes older wraps that an interrupted rotation
    /// left.
    pub(crate) async fn find(storage: &Storage, provider_client: &ProviderClient) -> Result<Option<(Self, Keyspace)>> {
        let mut numbers: Vec<u64> =
            storage.small_names(LATER_WRAPS).await?.iter().filter_map(|n| n.parse().ok()).collect();
        numbers.sort_unstable();
        let number = numbers.last().copied().unwrap_or(1);
        let Some(bytes) = storage.get_small(&wrap_path(number)).await? else { return Ok(None) };
        let wrap: RootWrap = codec::decode("control key", &bytes)?;
        let keyspace = wrap.open(provider_client, |key, wrapped| Keyspace::control(&**key, wrapped)).await?;
        let root = Self { current: Mutex::new((number, wrap)), rotation: Arc::default() };
        root.sweep(storage).await?;
        Ok(Some((root, keyspace)))
    }

    /// Removes the wraps that are no longer current.
    async fn sweep(&self, storage: &Storage) -> Result<()> {
        let (number, _) = self.current();
        let known = storage.small_names(LATER_WRAPS).await?;
        let later = known.iter().filter_map(|name| name.parse::<u64>().ok()).filter(|older| *older < number);
        for older in later.chain((number > 1).then_some(1)) {
            storage.delete_small(&wrap_path(older)).await?;
        }
        Ok(())
    }

    /// Writes the first wrap. `None` means that another one exists.
    pub(crate) async fn create(storage: &Storage, wrap: RootWrap) -> Result<Option<Self>> {
        let ours = storage.put_new(FIRST_WRAP, codec::encode(&wrap)?.to_vec()).await?;
        Ok(ours.then(|| Self { current: Mutex::new((1, wrap)), rotation: Arc::default() }))
    }

    fn current(&self) -> (u64, RootWrap) {
        self.current.lock().clone()
    }

    /// Replaces the current wrap: the new one is made durable first, and then the old one is removed.
    async fn replace(&self, storage: &Storage, wrap: RootWrap) -> Result<()> {
        let next = self.current().0 + 1;
        if !storage.put_new(&wrap_path(next), codec::encode(&wrap)?.to_vec()).await? {
            return Err(Error::TakenOver);
        }
        *self.current.lock() = (next, wrap);
        self.sweep(storage).await
    }
}

fn wrap_path(number: u64) -> String {
    if number == 1 { FIRST_WRAP.to_owned() } else { format!("{LATER_WRAPS}/{number:010}") }
}

impl Registry {
    /// Returns the system's keys.
    pub fn server_keys(&self, _: &Operator) -> ServerKeys {
        let inner = &self.inner;
        let (_, wrap) = inner.root.current();
        let (epochs, rotating) =
            inner.control.read(|s| (s.system.as_ref().map(|h| h.keys.epochs.clone()), s.rotating.clone()));
        let epoch = |e: EpochRecord| (KeyEpoch(e.wrapped.epoch), e.created_at, e.provider, e.key);
        ServerKeys {
            key: (wrap.provider, wrap.key),
            created_at: wrap.created_at,
            control_epochs: inner.control.keyspace().epochs(),
            audit_epochs: epochs.unwrap_or_default().into_iter().map(epoch).collect(),
            rotating: rotating.map(|r| (r.begun_at, r.reencrypt)),
        }
    }

    /// Returns the newest certificate about them.
    pub fn server_certificate(&self) -> Option<Certificate> {
        self.inner.control.read(|s| s.certificates.of(Self::SYSTEM).next_back().cloned())
    }

    /// Whether a rotation of the system's keys has begun and not ended.
    pub fn server_rotation_in_progress(&self) -> bool {
        self.inner.control.read(|s| s.rotating.is_some())
    }

    /// Begins a rotation of the system's keys. What `choice` leaves open stays as it is.
    ///
    /// # Errors
    /// `conflict` while another is in progress; errors of the provider.
    pub async fn begin_server_rotation(&self, _: &Operator, choice: &KeyChoice, reencrypt: bool) -> kernel::Result<()> {
        let inner = &self.inner;
        let (root, wrap) = inner.root.current();
        let provider = choice.provider.clone().unwrap_or_else(|| wrap.provider.clone());
        let key = match &choice.key {
            Some(key) => key.clone(),
            None if provider == wrap.provider => wrap.key.clone(),
            None => inner.provider_client.config.providers.provider(&provider)?.default_key().to_owned(),
        };
        // The key is looked up before anything is written, so that a mistyped name begins nothing.
        let known = inner.provider_client.config.providers.key(&provider, &key)?;
        inner.provider_client.call(known, |key| key.facts()).await?;
        let begun_at = inner.env.clock.now();
        let begun = inner.write(|state| {
            let system = system(state)?;
            if state.rotating.is_some() {
                let message = "a rotation of the server's own keys is in progress and continues by itself";
                return Err(kernel::Error::new(Code::Conflict, message).into());
            }
            let of_epoch =
                |e: &EpochRecord| ShreddedServerKey::of("operators' audit", &e.provider, &e.key, &e.wrapped.bytes);
            let control = ShreddedServerKey::of("control keyspace", &wrap.provider, &wrap.key, &wrap.wrapped.bytes);
            let destroyed = [control].into_iter().chain(system.keys.epochs.iter().map(of_epoch)).collect();
            let epoch = system.keys.current().0;
            let begun = SystemRotation { reencrypt, begun_at, root, epoch, provider, key, destroyed };
            Ok((Some(ControlEvent::SystemRotationBegun(begun)), ()))
        });
        Ok(begun.await?)
    }

    /// Continues the rotation that has begun. Its fresh key above the operators' audit is durable when this returns.
    /// `None` if there is none.
    ///
    /// # Errors
    /// Errors of the provider or of the control journal.
    pub async fn server_rotation(&self) -> kernel::Result<Option<ServerRotation>> {
        let inner = &self.inner;
        let one = inner.root.rotation.clone().lock_owned().await;
        let Some(begun) = inner.control.read(|s| s.rotating.clone()) else { return Ok(None) };
        let record = inner.control.read(|s| system(s).cloned())?;
        let mut keys = inner.provider_client.open_keyring(Self::SYSTEM, &record.keys).await?;
        if record.keys.current().0 == begun.epoch {
            let (key, entropy) =
                (inner.provider_client.config.providers.key(&begun.provider, &begun.key)?, inner.env.entropy.clone());
            let (ring, wrapped) = inner.provider_client.call(key, move |key| keys.rotated(&**key, &*entropy)).await?;
            let (provider, key, created_at) = (begun.provider.clone(), begun.key.clone(), inner.env.clock.now());
            let epoch = EpochRecord { provider, key, made: false, wrapped: wrapped.into(), created_at };
            inner.write(|_| Ok((Some(ControlEvent::SystemEpochAdded(epoch)), ()))).await?;
            keys = ring;
        }
        Ok(Some(ServerRotation { registry: self.clone(), begun, keys, _one: one }))
    }
}

impl ServerRotation {
    /// Returns the operators' audit, to be re-encrypted; `None` when there is nothing to re-encrypt.
    ///
    /// # Errors
    /// Errors of the control journal.
    pub async fn begin_audit(&self) -> kernel::Result<Option<Arc<Keyspace>>> {
        let inner = &self.registry.inner;
        let (keyspace, entropy) = (inner.system_audit.clone(), &*inner.env.entropy);
        let known = self.audit_wrap()?;
        if known.epoch != self.keys.current().0 {
            let wrapped = match self.begun.reencrypt {
                true => keyspace.with_next_key(&self.keys, entropy),
                false => keyspace.rewrap(&self.keys, entropy),
            };
            self.rewrap_audit(&keyspace, wrapped.map_err(Error::from)?).await?;
        }
        // This also picks up a wrap that an interrupted rotation stored.
        keyspace.install_keys(&self.keys, &WrappedKey::from(&self.audit_wrap()?))?;
        Ok((keyspace.epochs().len() > 1).then_some(keyspace))
    }

    /// Forgets the audit's old key, after everything was re-encrypted.
    ///
    /// # Errors
    /// As [`begin_audit`](Self::begin_audit).
    pub async fn end_audit(&self, keyspace: &Keyspace) -> kernel::Result<()> {
        let wrapped = keyspace.without_old_keys(&self.keys, &*self.registry.inner.env.entropy)?;
        self.rewrap_audit(keyspace, wrapped).await
    }

    /// Rewraps the control keyspace's key, and re-encrypts everything in the keyspace if that was asked for.
    ///
    /// # Errors
    /// Errors of the provider or of the control journal; `internal` when something is left under the old key.
    pub async fn control(&self) -> kernel::Result<()> {
        let inner = &self.registry.inner;
        let keyspace = inner.control.keyspace().clone();
        if inner.root.current().0 == self.begun.root {
            let reencrypt = self.begun.reencrypt;
            self.rewrap_control(move |keyspace, key, entropy| match reencrypt {
                true => keyspace.with_next_control_key(&**key, entropy),
                false => keyspace.rewrap_control(&**key, entropy),
            })
            .await?;
        }
        // With a single key there is nothing to re-encrypt, or it is done.
        if keyspace.epochs().len() < 2 {
            return Ok(());
        }
        let signer = inner.control.read(|s| system(s).map(|h| h.signer.clone()))?;
        if signer.epoch != keyspace.epoch().0 {
            let signer = keyspace.rewrap_signer(&WrappedKey::from(&signer), &*inner.env.entropy)?.into();
            inner.write(|_| Ok((Some(ControlEvent::SignerRewrapped(signer)), ()))).await?;
        }
        inner.control.purge().await?;
        if inner.control.uses_other_epochs(keyspace.epoch()).await? {
            return Err(kernel::Error::internal("part of the control journal is still sealed under an older key"));
        }
        self.rewrap_control(|keyspace, key, entropy| keyspace.without_old_control_keys(&**key, entropy)).await
    }

    /// Ends the rotation: destroys the old key above the operators' audit and certifies that.
    ///
    /// # Errors
    /// `internal` when a step is not done; errors of the control journal.
    pub async fn finish(self) -> kernel::Result<Certificate> {
        let inner = &self.registry.inner;
        let current = self.keys.current();
        let done = |wrap: &Wrapped| wrap.epoch == current.0 && Keyspace::key_count(&WrappedKey::from(wrap)) == Some(1);
        if !done(&self.audit_wrap()?)
            || inner.control.keyspace().epochs().len() != 1
            || inner.root.current().0 == self.begun.root
        {
            return Err(kernel::Error::internal("the server's own keys are not all rotated"));
        }
        // An earlier removal may have failed.
        inner.root.sweep(&inner.env.storage).await?;
        let at = inner.env.clock.now();
        let (begun, unprovable) = (&self.begun, self.begun.destroyed.iter().map(ShreddedServerKey::unprovable_claim));
        let mut unprovable: Vec<_> = unprovable.collect();
        unprovable.dedup();
        let statement = ServerRotationStatement {
            statement: "the server's own keys rotated: nothing in its control keyspace and its operators' audit is sealed \
                        under the earlier ones",
            version: 0,
            mode: if begun.reencrypt { "reencrypt" } else { "rewrap" },
            at: at.to_string(),
            destroyed: &begun.destroyed,
            provider: &begun.provider,
            key: &begun.key,
            cannot_be_proven: unprovable,
        };
        let certificate = Certificate::sign_own(&inner.signer, at, &statement)?;
        let kept = certificate.clone();
        inner.write(|_| Ok((Some(ControlEvent::SystemRotated { certificate: kept }), ()))).await?;
        inner.control.purge().await?;
        Ok(certificate)
    }

    fn audit_wrap(&self) -> kernel::Result<Wrapped> {
        self.registry.inner.control.read(|s| system(s).map(|h| h.audit.wrapped.clone())).map_err(Into::into)
    }

    async fn rewrap_audit(&self, keyspace: &Keyspace, wrapped: WrappedKey) -> kernel::Result<()> {
        let inner = &self.registry.inner;
        inner.write(|_| Ok((Some(ControlEvent::SystemAuditRewrapped(wrapped.into())), ()))).await?;
        let known = inner.control.read(|s| system(s).map(|h| h.audit.clone()))?;
        // Opening it first makes sure that a wrap which does not open is found before anything is sealed under it.
        open_keyspace(&self.keys, KeyspaceKind::Audit, &known)?;
        Ok(keyspace.install_keys(&self.keys, &WrappedKey::from(&known.wrapped))?)
    }

    /// Makes another wrap of the control keyspace's keys durable, and refreshes the keyspace in memory from it.
    pub(crate) async fn rewrap_control(
        &self,
        wrap: impl FnOnce(&Keyspace, &Key, &dyn kernel::Entropy) -> vault::Result<WrappedKey> + Send + 'static,
    ) -> kernel::Result<()> {
        let inner = &self.registry.inner;
        let key = inner.provider_client.config.providers.key(&self.begun.provider, &self.begun.key)?;
        let (keyspace, entropy) = (inner.control.keyspace().clone(), inner.env.entropy.clone());
        // The wrap is opened before it becomes current: without it nothing of the server opens.
        let wrapped = inner.provider_client.call(key.clone(), move |key| {
            let wrapped = wrap(&keyspace, key, &*entropy)?;
            Keyspace::control(&**key, &wrapped).map(|_| wrapped)
        });
        let wrapped = wrapped.await?;
        // A server that has lost the storage must not decide by which key it opens.
        inner.control.check_ownership().await?;
        let names = (self.begun.provider.clone(), self.begun.key.clone());
        inner.root.replace(&inner.env.storage, RootWrap::new(names, wrapped, inner.env.clock.now())).await?;
        let keyspace = inner.control.keyspace().clone();
        let (_, root) = inner.root.current();
        Ok(root
            .open(&inner.provider_client, move |key, wrapped| keyspace.install_control_keys(&**key, wrapped))
            .await?)
    }
}

fn system(state: &ControlState) -> Result<&SystemRecord> {
    state.system.as_ref().ok_or(Error::Damaged("the server has no keys of its own"))
}
