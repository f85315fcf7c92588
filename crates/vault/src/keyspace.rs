//! A keyspace: the keys of a sealed prefix, and that prefix. Nothing inside it refers to another keyspace.
//!
//! Request code gets a keyspace from a grant or a background grant, through [`Keyspace::enter`] and
//! [`Keyspace::audit`]. The registry, which stores the wrapped keys, creates the keyspaces that a directory returns.

use crate::{
    Error, FrameOpener, FrameSealer, Result, RootKey, SecretKey, Signer, TenantKeys, WrappedKey,
    crypto::{HmacKey, constant_time_eq},
    frames::{LOG_PROLOGUE_BYTES, LogPrologue},
    identity::{self, WrapContext, WrapKind},
    wrap,
};
use access::{Action, BackgroundGrant, Grant};
use kernel::{BoxFuture, Entropy, Incarnation, KeyEpoch, LogEpoch, NamespaceName, NamespaceUuid, ObjectUuid};
use parking_lot::RwLock;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

mod control;
mod keys;
mod kinds;
mod objects;
mod split;
use keys::KeyspaceKeys;
pub use kinds::{KeyspaceKind, ObjectKind};
pub use objects::epoch_of;

/// Epoch in wraps whose wrapping key has no epochs.
const NO_EPOCH: KeyEpoch = KeyEpoch(0);
/// Uuid of the control keyspace, of which there is only one.
const CONTROL: NamespaceUuid = NamespaceUuid::from_bytes([0; 16]);
/// Maximum number of wraps under one key. Their nonces are random, for which NIST SP 800-38D allows 2^32.
pub const WRAPS_MAX: u64 = 1 << 30;

/// Looks up the keyspaces of a tenant. The registry implements it.
pub trait Directory: Send + Sync {
    /// The keyspace of a namespace, if this incarnation of the tenant has one of that name.
    ///
    /// # Errors
    /// `key_unavailable` when its key is unavailable.
    fn namespace(&self, incarnation: Incarnation, name: &NamespaceName)
    -> Result<Option<Arc<Keyspace>>, kernel::Error>;

    /// The keyspace of the tenant's audit log. May call the tenant's key provider.
    ///
    /// # Errors
    /// `key_unavailable` when its key is unavailable, `not_found` when that incarnation has been erased.
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<Arc<Keyspace>, kernel::Error>>;
}

/// One keyspace. See the [module](self).
pub struct Keyspace {
    kind: KeyspaceKind,
    uuid: NamespaceUuid,
    incarnation: Option<Incarnation>,
    keys: RwLock<Arc<KeyspaceKeys>>,
    mac_key: SecretKey,
    /// Number of wraps under the newest key since this keyspace was opened.
    wraps: AtomicU64,
}

impl Keyspace {
    /// Returns the keyspace of the namespace that the grant names.
    ///
    /// # Errors
    /// `not_found` when there is none; `internal` when the directory returns another tenant's keyspace.
    pub fn enter<A: Action>(grant: &Grant<A>, directory: &dyn Directory) -> Result<Arc<Keyspace>, kernel::Error> {
        let name = grant.namespace().ok_or_else(|| kernel::Error::internal("the grant names no namespace"))?;
        let keyspace = directory.namespace(grant.incarnation(), name)?.ok_or_else(kernel::Error::not_found)?;
        keyspace.check_owner(KeyspaceKind::Namespace, grant.incarnation())
    }

    /// Returns the keyspace of the tenant's audit log.
    ///
    /// # Errors
    /// Errors of the directory; `internal` when it returns another tenant's keyspace.
    pub async fn audit<A: Action>(grant: &Grant<A>, directory: &dyn Directory) -> Result<Arc<Keyspace>, kernel::Error> {
        Self::audit_for(&grant.background_grant(), directory).await
    }

    /// Returns the keyspace of the tenant's audit log, for work that continues after the request.
    ///
    /// # Errors
    /// As [`Keyspace::audit`].
    pub async fn audit_for(
        background_grant: &BackgroundGrant,
        directory: &dyn Directory,
    ) -> Result<Arc<Keyspace>, kernel::Error> {
        directory
            .audit(background_grant.incarnation())
            .await?
            .check_owner(KeyspaceKind::Audit, background_grant.incarnation())
    }

    /// The directory's answer is checked, not trusted: a mix-up there must not open another tenant's keyspace.
    fn check_owner(self: Arc<Self>, kind: KeyspaceKind, incarnation: Incarnation) -> Result<Arc<Self>, kernel::Error> {
        if self.incarnation == Some(incarnation) && self.kind == kind {
            return Ok(self);
        }
        Err(Error::Mismatch("the keyspace that the directory returned").into())
    }

    /// Creates the control keyspace, under a root secret that the provider wraps.
    ///
    /// # Errors
    /// Errors of the provider.
    pub fn create_control(provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<(Keyspace, WrappedKey)> {
        let keyspace = Self::fresh(KeyspaceKind::Control, CONTROL, None, entropy);
        let wrapped = keyspace.rewrap_control(provider, entropy)?;
        Ok((keyspace, wrapped))
    }

    /// Wraps the control keyspace's keys under a fresh root secret, which the provider wraps.
    ///
    /// # Errors
    /// Errors of the provider; [`Error::Mismatch`] for any other keyspace.
    pub fn rewrap_control(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_control(&self.keys(), provider, entropy)
    }

    /// Opens the control keyspace.
    ///
    /// # Errors
    /// Errors of the provider; [`Error::Corrupt`] for altered bytes.
    pub fn control(provider: &dyn RootKey, wrapped: &WrappedKey) -> Result<Keyspace> {
        let short = || Error::corrupt(WrapKind::Root.name(), "of the server", "the wrap is cut short");
        let (length, rest) = wrapped.bytes.split_first_chunk::<2>().ok_or_else(short)?;
        let (outer, inner) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(short)?;
        let root = provider.unwrap(&control_context(WrapKind::Root).encode(), outer)?;
        let (mac_key, keys) = KeyspaceKeys::unwrap(&root, control_context(WrapKind::KeyspaceKey), inner)?;
        Ok(Self::with_keys(KeyspaceKind::Control, CONTROL, None, keys, mac_key))
    }

    /// Creates a keyspace of a tenant, and the wrap of its keys under the tenant's current epoch.
    ///
    /// # Errors
    /// [`Error::NoEpoch`] when the ring no longer holds that epoch; [`Error::Mismatch`] for the control keyspace.
    pub fn create(
        keys: &TenantKeys,
        kind: KeyspaceKind,
        uuid: NamespaceUuid,
        entropy: &dyn Entropy,
    ) -> Result<(Keyspace, WrappedKey)> {
        require_tenant_kind(kind)?;
        let keyspace = Self::fresh(kind, uuid, Some(keys.incarnation()), entropy);
        let wrapped = keyspace.rewrap(keys, entropy)?;
        Ok((keyspace, wrapped))
    }

    /// Opens a keyspace of a tenant.
    ///
    /// # Errors
    /// [`Error::NoEpoch`] when the ring lacks the wrap's epoch, [`Error::Corrupt`] when the wrap is altered or another
    /// keyspace's, [`Error::Mismatch`] for the control keyspace.
    pub fn from_wrapped(
        keys: &TenantKeys,
        kind: KeyspaceKind,
        uuid: NamespaceUuid,
        wrapped: &WrappedKey,
    ) -> Result<Keyspace> {
        require_tenant_kind(kind)?;
        let incarnation = Some(keys.incarnation());
        let context = keyspace_context(kind, uuid, incarnation, wrapped.epoch);
        let (mac_key, keyspace_keys) = KeyspaceKeys::unwrap(keys.key(wrapped.epoch)?, context, &wrapped.bytes)?;
        Ok(Self::with_keys(kind, uuid, incarnation, keyspace_keys, mac_key))
    }

    /// Number of wrapping keys in a keyspace's wrap, not counting the MAC key: more than one while everything is being
    /// re-encrypted. `None` for bytes that cannot be such a wrap. Uses no key.
    pub fn key_count(wrapped: &WrappedKey) -> Option<usize> {
        KeyspaceKeys::count(&wrapped.bytes)
    }

    /// Wraps this keyspace's keys under the tenant's current epoch. Objects stay as they are.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another tenant's ring, [`Error::NoEpoch`] when the ring no longer holds its current
    /// epoch.
    pub fn rewrap(&self, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_keys(&self.keys(), keys, entropy)
    }

    /// Wraps this keyspace's keys together with a new one. Nothing is sealed under the new key before
    /// [`Self::install_keys`].
    ///
    /// # Errors
    /// As [`rewrap`](Self::rewrap).
    pub fn with_next_key(&self, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_keys(&self.keys().with_next(entropy), keys, entropy)
    }

    /// Wraps only this keyspace's newest key. After [`Self::install_keys`], data that only an older key wrapped no
    /// longer opens.
    ///
    /// # Errors
    /// As [`rewrap`](Self::rewrap).
    pub fn without_old_keys(&self, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_keys(&self.keys().newest_only(), keys, entropy)
    }

    /// Uses the keys of this wrap from now on. The wrap must be durable and this keyspace's.
    ///
    /// # Errors
    /// As [`Self::from_wrapped`].
    pub fn install_keys(&self, keys: &TenantKeys, wrapped: &WrappedKey) -> Result<()> {
        let (kind, uuid, incarnation) = (self.kind, self.uuid, self.incarnation);
        if incarnation != Some(keys.incarnation()) {
            return Err(Error::Mismatch("the key ring"));
        }
        let context = keyspace_context(kind, uuid, incarnation, wrapped.epoch);
        let (mac_key, keyspace_keys) = KeyspaceKeys::unwrap(keys.key(wrapped.epoch)?, context, &wrapped.bytes)?;
        // The MAC key never changes, so it identifies the keyspace that the wrap belongs to.
        if !constant_time_eq(mac_key.bytes(), self.mac_key.bytes()) {
            return Err(Error::Mismatch("a keyspace's keys"));
        }
        let newer = keyspace_keys.newest().0 != self.epoch();
        *self.keys.write() = Arc::new(keyspace_keys);
        if newer {
            self.wraps.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The epochs of this keyspace's keys, newest first: one, or two while its objects are being re-encrypted.
    pub fn epochs(&self) -> Vec<KeyEpoch> {
        self.keys().epochs().collect()
    }

    /// The epoch of the key that new wraps use.
    pub fn epoch(&self) -> KeyEpoch {
        self.keys().newest().0
    }

    /// Number of keys that were wrapped under the newest key since this keyspace was opened.
    pub fn wraps(&self) -> u64 {
        self.wraps.load(Ordering::Relaxed)
    }

    /// Creates a key that signs the server's statements, and its wrap under this keyspace's key.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn create_signer(&self, entropy: &dyn Entropy) -> Result<(Signer, WrappedKey)> {
        let seed = SecretKey::random(entropy);
        let wrapped = self.wrap_secrets(WrapKind::Signer, None, None, &[&seed], entropy)?;
        Ok((Signer::from_seed(seed), wrapped))
    }

    /// Opens a signing key that [`create_signer`](Self::create_signer) wrapped.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else.
    pub fn signer(&self, wrapped: &WrappedKey) -> Result<Signer> {
        let [seed] = self.unwrap_secrets(WrapKind::Signer, None, None, wrapped)?;
        Ok(Signer::from_seed(seed))
    }

    fn keys(&self) -> Arc<KeyspaceKeys> {
        self.keys.read().clone()
    }

    fn wrap_keys(&self, keyspace_keys: &KeyspaceKeys, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        if self.incarnation != Some(keys.incarnation()) {
            return Err(Error::Mismatch("the key ring"));
        }
        let epoch = keys.current();
        let context = keyspace_context(self.kind, self.uuid, self.incarnation, epoch);
        let bytes = keyspace_keys.wrap(keys.key(epoch)?, context, &self.mac_key, entropy);
        Ok(WrappedKey { epoch, bytes })
    }

    /// Wraps the keys of an item in this keyspace under its newest key.
    fn wrap_secrets(
        &self,
        wrap: WrapKind,
        object: Option<ObjectUuid>,
        log: Option<LogEpoch>,
        secrets: &[&SecretKey],
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey> {
        if self.wraps.fetch_add(1, Ordering::Relaxed) >= WRAPS_MAX {
            return Err(Error::KeyspaceKeyExhausted(self.uuid));
        }
        let keys = self.keys();
        let (epoch, key) = keys.newest();
        let bytes = wrap::wrap(key, &self.context(wrap, object, log, epoch), secrets, entropy);
        Ok(WrappedKey { epoch, bytes })
    }

    fn unwrap_secrets<const N: usize>(
        &self,
        wrap: WrapKind,
        object: Option<ObjectUuid>,
        log: Option<LogEpoch>,
        wrapped: &WrappedKey,
    ) -> Result<[SecretKey; N]> {
        let context = self.context(wrap, object, log, wrapped.epoch);
        let keys = self.keys();
        let key = keys.get(wrapped.epoch).ok_or_else(|| {
            Error::corrupt(wrap.name(), context.subject(), "the keyspace key that it is wrapped under does not exist")
        })?;
        wrap::unwrap(key, &context, &wrapped.bytes)
    }

    /// Kind of this keyspace.
    pub fn kind(&self) -> KeyspaceKind {
        self.kind
    }

    /// Uuid of this keyspace.
    pub fn uuid(&self) -> NamespaceUuid {
        self.uuid
    }

    /// Incarnation of the owning tenant; `None` for the control keyspace.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// Prefix of its objects' names: `ns/3f/<uuid>/`. It reveals neither the tenant's nor the namespace's name.
    pub fn prefix(&self) -> String {
        self.kind.prefix(self.uuid)
    }

    /// Starts a log under fresh keys: returns the prologue, which goes first, and the sealer of its frames.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn start_log(
        &self,
        object: ObjectUuid,
        epoch: LogEpoch,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, FrameSealer)> {
        let keys = [SecretKey::random(entropy), SecretKey::random(entropy)];
        let wrapped = self.wrap_secrets(WrapKind::Log, Some(object), Some(epoch), &[&keys[0], &keys[1]], entropy)?;
        let prologue = LogPrologue { object, epoch, key: wrapped.epoch, wrapped: &wrapped.bytes }.encode();
        let sealer = FrameSealer::new(self.log_identity(object, epoch), object, keys, &prologue);
        Ok((prologue, sealer))
    }

    /// Opens a log by its prologue: returns the opener of its frames and the offset of the first frame. The caller must
    /// compare [`FrameOpener::epoch`] with the expected epoch.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything but a prologue of this keyspace.
    pub fn open_log(&self, prologue: &[u8]) -> Result<(FrameOpener, usize)> {
        let LogPrologue { object, epoch, key, wrapped } = LogPrologue::read(prologue)
            .ok_or_else(|| Error::corrupt("log", self.uuid, "the prologue is cut short or of another version"))?;
        let wrapped = WrappedKey { epoch: key, bytes: wrapped.to_vec() };
        let keys = self.unwrap_secrets::<2>(WrapKind::Log, Some(object), Some(epoch), &wrapped)?;
        let prologue = &prologue[..LOG_PROLOGUE_BYTES];
        let opener = FrameOpener::new(self.log_identity(object, epoch), object, epoch, keys, prologue);
        Ok((opener, prologue.len()))
    }

    /// HMAC-SHA-256 under this keyspace's own MAC key, over the label and the parts, each length-prefixed.
    pub fn mac(&self, label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut framed = Vec::with_capacity(1 + parts.len());
        framed.push(label);
        framed.extend_from_slice(parts);
        HmacKey::new(self.mac_key.bytes()).mac(&[&identity::fields(&framed)])
    }

    #[cfg(all(test, not(feature = "portable")))]
    pub(crate) fn mac_key(&self) -> &SecretKey {
        &self.mac_key
    }

    fn fresh(kind: KeyspaceKind, uuid: NamespaceUuid, incarnation: Option<Incarnation>, entropy: &dyn Entropy) -> Self {
        Self::with_keys(kind, uuid, incarnation, KeyspaceKeys::fresh(entropy), SecretKey::random(entropy))
    }

    fn with_keys(
        kind: KeyspaceKind,
        uuid: NamespaceUuid,
        incarnation: Option<Incarnation>,
        keys: KeyspaceKeys,
        mac_key: SecretKey,
    ) -> Self {
        Self { kind, uuid, incarnation, keys: RwLock::new(Arc::new(keys)), mac_key, wraps: AtomicU64::new(0) }
    }

    fn identity(&self, kind: ObjectKind, object: ObjectUuid) -> Vec<u8> {
        identity::object(self.incarnation, self.uuid, kind, object)
    }

    fn log_identity(&self, object: ObjectUuid, epoch: LogEpoch) -> Vec<u8> {
        identity::log(self.incarnation, self.uuid, object, epoch)
    }

    fn context(
        &self,
        wrap: WrapKind,
        object: Option<ObjectUuid>,
        log: Option<LogEpoch>,
        epoch: KeyEpoch,
    ) -> WrapContext {
        let keyspace = Some((self.kind, self.uuid));
        WrapContext { wrap, incarnation: self.incarnation, keyspace, object, epoch, log, keys: None }
    }
}

impl kernel::Pseudonymiser for Keyspace {
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mac = self.mac(b"pseudonym", parts);
        let mut out = [0; 16];
        out.copy_from_slice(&mac[..16]);
        out
    }
}

/// Shows only the kind and the uuid.
impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyspace({:?} {})", self.kind, self.uuid)
    }
}

fn require_tenant_kind(kind: KeyspaceKind) -> Result<()> {
    if kind == KeyspaceKind::Control { Err(Error::Mismatch("the control keyspace")) } else { Ok(()) }
}

fn keyspace_context(
    kind: KeyspaceKind,
    uuid: NamespaceUuid,
    incarnation: Option<Incarnation>,
    epoch: KeyEpoch,
) -> WrapContext {
    WrapContext {
        wrap: WrapKind::KeyspaceKey,
        incarnation,
        keyspace: Some((kind, uuid)),
        object: None,
        epoch,
        log: None,
        keys: None,
    }
}

fn control_context(wrap: WrapKind) -> WrapContext {
    WrapContext { wrap, ..keyspace_context(KeyspaceKind::Control, CONTROL, None, NO_EPOCH) }
}

#[cfg(test)]
pub(crate) mod tests;
