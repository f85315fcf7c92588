//! A home: one place's keys and the prefix of its objects. What happens inside it names no other.
//!
//! A home is made from a grant or a tenure by [`Home::enter`] and [`Home::audit`]; the registry,
//! which keeps the wrapped keys, makes the homes that a directory hands out.

use crate::{
    Error, FrameOpener, FrameSealer, Result, RootKey, SecretKey, Signer, TenantKeys, WrappedKey,
    crypto::{HmacKey, same},
    frames::{LOG_PROLOGUE_BYTES, Prologue},
    identity::{self, Context, Wrap},
    wrap,
};
use access::{Action, Grant, Tenure};
use kernel::{BoxFuture, Entropy, Incarnation, KeyEpoch, LogEpoch, NamespaceName, NamespaceUuid, ObjectUuid};
use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

mod control;
mod kinds;
mod objects;
mod place_keys;
mod split;
pub use kinds::{ObjectKind, PlaceKind};
pub use objects::epoch_of;
use place_keys::PlaceKeys;

/// Of wrapping keys that have no epochs.
const NO_EPOCH: KeyEpoch = KeyEpoch(0);
/// There is one control place, and it needs no name.
const CONTROL: NamespaceUuid = NamespaceUuid::from_bytes([0; 16]);
/// Wraps under one key, with random nonces: NIST SP 800-38D allows 2^32.
pub const WRAPS_MAX: u64 = 1 << 30;

/// Finds the homes of a tenant. The registry implements it.
pub trait Directory: Send + Sync {
    /// The home of a namespace, if there is one of that name in that life of the tenant.
    ///
    /// # Errors
    /// `key_unavailable` when its key cannot be had.
    fn namespace(&self, incarnation: Incarnation, name: &NamespaceName) -> Result<Option<Arc<Home>>, kernel::Error>;

    /// The home of the tenant's audit. May ask its key provider.
    ///
    /// # Errors
    /// `key_unavailable` when its key cannot be had, `not_found` when that life is over.
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<Arc<Home>, kernel::Error>>;
}

/// One place. See the [module](self).
pub struct Home {
    kind: PlaceKind,
    uuid: NamespaceUuid,
    incarnation: Option<Incarnation>,
    keys: RwLock<Arc<PlaceKeys>>,
    mac_key: SecretKey,
    /// Wraps under the newest key since this home was opened.
    wraps: AtomicU64,
}

impl Home {
    /// The home of the namespace that the grant names.
    ///
    /// # Errors
    /// `not_found` when there is none; `internal` when the directory hands out another tenant's.
    pub fn enter<A: Action>(grant: &Grant<A>, directory: &dyn Directory) -> Result<Arc<Home>, kernel::Error> {
        let name = grant.namespace().ok_or_else(|| kernel::Error::internal("the grant names no namespace"))?;
        let home = directory.namespace(grant.incarnation(), name)?.ok_or_else(kernel::Error::not_found)?;
        home.belongs(PlaceKind::Namespace, grant.incarnation())
    }

    /// The home of the tenant's audit.
    ///
    /// # Errors
    /// As the directory says; `internal` when it hands out another tenant's.
    pub async fn audit<A: Action>(grant: &Grant<A>, directory: &dyn Directory) -> Result<Arc<Home>, kernel::Error> {
        Self::audit_for(&grant.tenure(), directory).await
    }

    /// The home of the tenant's audit, for work after the request has gone.
    ///
    /// # Errors
    /// As [`Home::audit`].
    pub async fn audit_for(tenure: &Tenure, directory: &dyn Directory) -> Result<Arc<Home>, kernel::Error> {
        directory.audit(tenure.incarnation()).await?.belongs(PlaceKind::Audit, tenure.incarnation())
    }

    /// The directory's answer is checked, not trusted: a mix-up there must not open another tenant's place.
    fn belongs(self: Arc<Self>, kind: PlaceKind, incarnation: Incarnation) -> Result<Arc<Self>, kernel::Error> {
        if self.incarnation == Some(incarnation) && self.kind == kind {
            return Ok(self);
        }
        Err(Error::Misplaced("the home that the directory handed out").into())
    }

    /// Makes the control place, under a root key that the provider wraps.
    ///
    /// # Errors
    /// What the provider says.
    pub fn create_control(provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<(Home, WrappedKey)> {
        let home = Self::fresh(PlaceKind::Control, CONTROL, None, entropy);
        let wrapped = home.rewrap_control(provider, entropy)?;
        Ok((home, wrapped))
    }

    /// The control place's keys under a fresh secret that the provider wraps.
    ///
    /// # Errors
    /// What the provider says; [`Error::Misplaced`] for any other place.
    pub fn rewrap_control(&self, provider: &dyn RootKey, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_control(&self.keys(), provider, entropy)
    }

    /// Opens the control place.
    ///
    /// # Errors
    /// What the provider says; [`Error::Corrupt`] for altered bytes.
    pub fn control(provider: &dyn RootKey, wrapped: &WrappedKey) -> Result<Home> {
        let short = || Error::corrupt(Wrap::Root.name(), "of the server", "the wrap is cut short");
        let (length, rest) = wrapped.bytes.split_first_chunk::<2>().ok_or_else(short)?;
        let (outer, inner) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(short)?;
        let root = provider.unwrap(&control_context(Wrap::Root).encode(), outer)?;
        let (mac_key, keys) = PlaceKeys::unwrap(&root, control_context(Wrap::Place), inner)?;
        Ok(Self::with_keys(PlaceKind::Control, CONTROL, None, keys, mac_key))
    }

    /// Makes a place of a tenant, and the wrap of its keys under the tenant's current epoch.
    ///
    /// # Errors
    /// [`Error::NoEpoch`] when the ring has lost it; [`Error::Misplaced`] for the control place.
    pub fn create_place(
        keys: &TenantKeys,
        kind: PlaceKind,
        uuid: NamespaceUuid,
        entropy: &dyn Entropy,
    ) -> Result<(Home, WrappedKey)> {
        tenants(kind)?;
        let home = Self::fresh(kind, uuid, Some(keys.incarnation()), entropy);
        let wrapped = home.rewrap(keys, entropy)?;
        Ok((home, wrapped))
    }

    /// Opens a place of a tenant.
    ///
    /// # Errors
    /// [`Error::NoEpoch`] when the ring lacks the wrap's epoch, [`Error::Corrupt`] when the wrap is
    /// another place's or altered, [`Error::Misplaced`] for the control place.
    pub fn place(keys: &TenantKeys, kind: PlaceKind, uuid: NamespaceUuid, wrapped: &WrappedKey) -> Result<Home> {
        tenants(kind)?;
        let incarnation = Some(keys.incarnation());
        let context = place_context(kind, uuid, incarnation, wrapped.epoch);
        let (mac_key, place) = PlaceKeys::unwrap(keys.key(wrapped.epoch)?, context, &wrapped.bytes)?;
        Ok(Self::with_keys(kind, uuid, incarnation, place, mac_key))
    }

    /// How many keys a place's wrap holds beside its MAC key: more than one while everything is written anew. `None` for
    /// what is no such wrap. Asks no key.
    pub fn keys_in(wrapped: &WrappedKey) -> Option<usize> {
        PlaceKeys::count(&wrapped.bytes)
    }

    /// This place's keys under the tenant's current epoch. Objects stay as they are.
    ///
    /// # Errors
    /// [`Error::Misplaced`] for another tenant's ring, [`Error::NoEpoch`] when the ring has lost its current epoch.
    pub fn rewrap(&self, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_keys(&self.keys(), keys, entropy)
    }

    /// The wrap of this place's keys and a next one. Nothing is sealed under it before [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// As [`rewrap`](Self::rewrap).
    pub fn with_next_key(&self, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_keys(&self.keys().with_next(entropy), keys, entropy)
    }

    /// The wrap of this place's newest key alone. What only an older one wrapped opens no more after
    /// [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// As [`rewrap`](Self::rewrap).
    pub fn without_old_keys(&self, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        self.wrap_keys(&self.keys().newest_only(), keys, entropy)
    }

    /// Has the keys of this wrap from now on, which must be durable and this place's.
    ///
    /// # Errors
    /// As [`place`](Self::place).
    pub fn refresh(&self, keys: &TenantKeys, wrapped: &WrappedKey) -> Result<()> {
        let (kind, uuid, incarnation) = (self.kind, self.uuid, self.incarnation);
        if incarnation != Some(keys.incarnation()) {
            return Err(Error::Misplaced("the key ring"));
        }
        let context = place_context(kind, uuid, incarnation, wrapped.epoch);
        let (mac_key, place) = PlaceKeys::unwrap(keys.key(wrapped.epoch)?, context, &wrapped.bytes)?;
        if !same(mac_key.bytes(), self.mac_key.bytes()) {
            return Err(Error::Misplaced("a place's keys"));
        }
        let newer = place.newest().0 != self.epoch();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(place);
        if newer {
            self.wraps.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The epochs of this place's keys, newest first: one, or two while its objects are written anew.
    pub fn epochs(&self) -> Vec<KeyEpoch> {
        self.keys().epochs().collect()
    }

    /// The epoch that wraps now.
    pub fn epoch(&self) -> KeyEpoch {
        self.keys().newest().0
    }

    /// How many keys this home has wrapped under its newest key.
    pub fn wraps(&self) -> u64 {
        self.wraps.load(Ordering::Relaxed)
    }

    /// A key that signs what the server states, and its wrap under this place's key.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn create_signer(&self, entropy: &dyn Entropy) -> Result<(Signer, WrappedKey)> {
        let seed = SecretKey::random(entropy);
        let wrapped = self.wrap_one(Wrap::Signer, None, None, &[&seed], entropy)?;
        Ok((Signer::from_seed(seed), wrapped))
    }

    /// Opens what [`create_signer`](Self::create_signer) made.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else.
    pub fn signer(&self, wrapped: &WrappedKey) -> Result<Signer> {
        let [seed] = self.unwrap_one(Wrap::Signer, None, None, wrapped)?;
        Ok(Signer::from_seed(seed))
    }

    fn keys(&self) -> Arc<PlaceKeys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wrap_keys(&self, place: &PlaceKeys, keys: &TenantKeys, entropy: &dyn Entropy) -> Result<WrappedKey> {
        if self.incarnation != Some(keys.incarnation()) {
            return Err(Error::Misplaced("the key ring"));
        }
        let epoch = keys.current();
        let context = place_context(self.kind, self.uuid, self.incarnation, epoch);
        let bytes = place.wrap(keys.key(epoch)?, context, &self.mac_key, entropy);
        Ok(WrappedKey { epoch, bytes })
    }

    /// Keys of something in this place, under its newest key.
    fn wrap_one(
        &self,
        wrap: Wrap,
        object: Option<ObjectUuid>,
        log: Option<LogEpoch>,
        secrets: &[&SecretKey],
        entropy: &dyn Entropy,
    ) -> Result<WrappedKey> {
        if self.wraps.fetch_add(1, Ordering::Relaxed) >= WRAPS_MAX {
            return Err(Error::PlaceKeyUsedUp(self.uuid));
        }
        let keys = self.keys();
        let (epoch, key) = keys.newest();
        let bytes = wrap::wrap(key, &self.context(wrap, object, log, epoch), secrets, entropy);
        Ok(WrappedKey { epoch, bytes })
    }

    fn unwrap_one<const N: usize>(
        &self,
        wrap: Wrap,
        object: Option<ObjectUuid>,
        log: Option<LogEpoch>,
        wrapped: &WrappedKey,
    ) -> Result<[SecretKey; N]> {
        let context = self.context(wrap, object, log, wrapped.epoch);
        let keys = self.keys();
        let key = keys.get(wrapped.epoch).ok_or_else(|| {
            Error::corrupt(wrap.name(), context.subject(), "it is under a place key that is not there")
        })?;
        wrap::unwrap(key, &context, &wrapped.bytes)
    }

    /// What kind of place.
    pub fn kind(&self) -> PlaceKind {
        self.kind
    }

    /// Which place.
    pub fn uuid(&self) -> NamespaceUuid {
        self.uuid
    }

    /// Whose; `None` for the control place.
    pub fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// Where its objects lie: `ns/3f/<uuid>/`. It tells nothing of the tenant's or the namespace's name.
    pub fn prefix(&self) -> String {
        self.kind.prefix(self.uuid)
    }

    /// Starts a log under a fresh key: the prologue that stands first in it, and what seals its frames.
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
        let wrapped = self.wrap_one(Wrap::Log, Some(object), Some(epoch), &[&keys[0], &keys[1]], entropy)?;
        let prologue = Prologue { object, epoch, key: wrapped.epoch, wrapped: &wrapped.bytes }.encode();
        let sealer = FrameSealer::new(self.log_identity(object, epoch), object, keys, &prologue);
        Ok((prologue, sealer))
    }

    /// Reads a log's prologue: what opens its frames, and where the first one begins. The caller compares
    /// [`FrameOpener::epoch`] with the epoch that it looked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything but a prologue of this place.
    pub fn open_log(&self, prologue: &[u8]) -> Result<(FrameOpener, usize)> {
        let Prologue { object, epoch, key, wrapped } = Prologue::read(prologue)
            .ok_or_else(|| Error::corrupt("log", self.uuid, "the prologue is cut short or of another version"))?;
        let wrapped = WrappedKey { epoch: key, bytes: wrapped.to_vec() };
        let keys = self.unwrap_one::<2>(Wrap::Log, Some(object), Some(epoch), &wrapped)?;
        let prologue = &prologue[..LOG_PROLOGUE_BYTES];
        let opener = FrameOpener::new(self.log_identity(object, epoch), object, epoch, keys, prologue);
        Ok((opener, prologue.len()))
    }

    /// HMAC-SHA-256 under this place's own MAC key, over the label and the parts, each length-prefixed.
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

    fn fresh(kind: PlaceKind, uuid: NamespaceUuid, incarnation: Option<Incarnation>, entropy: &dyn Entropy) -> Self {
        Self::with_keys(kind, uuid, incarnation, PlaceKeys::fresh(entropy), SecretKey::random(entropy))
    }

    fn with_keys(
        kind: PlaceKind,
        uuid: NamespaceUuid,
        incarnation: Option<Incarnation>,
        keys: PlaceKeys,
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

    fn context(&self, wrap: Wrap, object: Option<ObjectUuid>, log: Option<LogEpoch>, epoch: KeyEpoch) -> Context {
        let place = Some((self.kind, self.uuid));
        Context { wrap, incarnation: self.incarnation, place, object, epoch, log, keys: None }
    }
}

impl kernel::Pseudonymiser for Home {
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mac = self.mac(b"pseudonym", parts);
        let mut out = [0; 16];
        out.copy_from_slice(&mac[..16]);
        out
    }
}

/// Kind and uuid only.
impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Home({:?} {})", self.kind, self.uuid)
    }
}

fn tenants(kind: PlaceKind) -> Result<()> {
    if kind == PlaceKind::Control { Err(Error::Misplaced("the control place")) } else { Ok(()) }
}

fn place_context(kind: PlaceKind, uuid: NamespaceUuid, incarnation: Option<Incarnation>, epoch: KeyEpoch) -> Context {
    Context { wrap: Wrap::Place, incarnation, place: Some((kind, uuid)), object: None, epoch, log: None, keys: None }
}

fn control_context(wrap: Wrap) -> Context {
    Context { wrap, ..place_context(PlaceKind::Control, CONTROL, None, NO_EPOCH) }
}

#[cfg(test)]
pub(crate) mod tests;
