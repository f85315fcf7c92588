//! Hardware modules and what speaks like one: keys are AES-256 objects of a token, which encrypts with them inside.
//!
//! A key is found by its label at each use, so that one that is gone is missed at once. Its versions are objects of
//! one label with `CKA_ID`s of ours; one that somebody else made has any id and is version 0. A wrap is a byte for the
//! format, the version, a nonce, ciphertext and tag (`CKM_AES_GCM`), with the context as associated data.
//!
//! Calls go through a library of the token's vendor and have no time limit but the library's own.

use super::{Denial, Key, KeyFacts, KeyProvider, Receipt, RootKey};
use crate::{
    Error, FORMAT_VERSION, Result, SecretKey,
    crypto::{KEY, NONCE, TAG},
    identity::fields,
};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11},
    error::{Error as Said, RvError},
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, SessionState, UserType},
    slot::TokenInfo,
    types::AuthPin,
};
use kernel::Entropy;
use std::{
    collections::BTreeMap,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError},
};
use zeroize::Zeroizing;

/// Which token, and which of its keys.
pub struct Pkcs11Config {
    /// The provider's name.
    pub name: String,
    /// The vendor's library. It becomes part of this process.
    pub module: PathBuf,
    /// The token's label. Numbers of slots change.
    pub token: String,
    /// The user's PIN there.
    pub pin: Zeroizing<String>,
    /// The label of the key of tenants that name none; with `key_per_tenant` the prefix of their keys' labels.
    pub key: String,
    /// A key for each tenant, made and destroyed by this server.
    pub key_per_tenant: bool,
}

/// See the [module](self).
pub struct Pkcs11Provider {
    config: Pkcs11Config,
    library: Arc<Library>,
    entropy: Arc<dyn Entropy>,
    /// Sessions at rest: reading, logged in.
    rest: Mutex<Vec<Opened>>,
    /// Whether the PIN was refused. Held while it is tried.
    pin_refused: Mutex<bool>,
}

impl Pkcs11Provider {
    /// Loads the library; asks no token.
    ///
    /// # Errors
    /// [`Error::Provider`] for a library that cannot be loaded.
    pub fn new(config: Pkcs11Config, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let library = Library::load(&config)?;
        Ok(Self { config, library, entropy, rest: Mutex::default(), pin_refused: Mutex::default() })
    }

    /// Does something that changes nothing, in a session from the pool.
    fn read<T>(&self, act: impl Fn(&Session) -> Outcome<T>) -> Result<T> {
        self.persist(false, |life| {
            let opened = match self.rested(life) {
                Some(opened) => opened,
                None => self.open(false, life)?,
            };
            let done = act(&opened.session);
            // What failed there may have left an operation behind.
            if matches!(done, Err(Trouble::Token(_))) {
                opened.close()
            } else {
                self.lay_to_rest(opened)
            }
            done
        })
    }

    /// Does something that makes or destroys objects, in a session of its own. May be done more than once. Nobody else is
    /// in the library meanwhile: two that look and then make would make two, and SoftHSM fails those who look while
    /// something is made.
    fn change<T>(&self, act: impl Fn(&Session) -> Outcome<T>) -> Result<T> {
        self.persist(true, |life| {
            let opened = self.open(true, life)?;
            let done = act(&opened.session);
            opened.close();
            done
        })
    }

    /// Tries again with new sessions where old ones are worth nothing any more, and with a library that is begun anew
    /// where the token is away: some never see it again otherwise. Each once.
    fn persist<T>(&self, alone: bool, act: impl Fn(u64) -> Outcome<T>) -> Result<T> {
        let (mut renewed, mut restarted) = (false, false);
        loop {
            let held = self.library.hold(alone);
            let life = *held;
            let trouble = match act(life) {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            let stale = matches!(trouble, Trouble::Token(Said::Pkcs11(rv, _)) if is_stale(rv));
            if stale && !renewed {
                renewed = true;
                while let Some(old) = self.rested(life) {
                    old.close();
                }
                continue;
            }
            drop(held);
            let error = match trouble {
                Trouble::Ours(error) => error,
                Trouble::Token(said) => self.refused(&said),
            };
            if !matches!(error, Error::Unavailable { .. }) || restarted || !self.library.restart() {
                return Err(error);
            }
            restarted = true;
        }
    }

    fn rested(&self, life: u64) -> Option<Opened> {
        let mut rest = self.resting();
        rest.retain(|opened| opened.life == life);
        rest.pop()
    }

    fn lay_to_rest(&self, opened: Opened) {
        let mut rest = self.resting();
        if rest.len() < RESTING_MAX { rest.push(opened) } else { opened.close() }
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Opened>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, change: bool, life: u64) -> Outcome<Opened> {
        // Tokens lock themselves after a few wrong PINs: one that was refused is not tried again, nor by two at once.
        let mut pin_refused = self.pin_refused.lock().unwrap_or_else(PoisonError::into_inner);
        if *pin_refused {
            return Err(self.denied(Denial::Forbidden).into());
        }
        let library = &self.library.calls;
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Said::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(said) => return Err(said.into()),
        }
        let mut slots = library.get_slots_with_token()?;
        // One slot that is out of order is no reason to see none.
        slots.retain(|slot| library.get_token_info(*slot).is_ok_and(|info| self.is_ours(&info)));
        let slot = match slots[..] {
            [slot] => slot,
            [] => return Err(self.away().into()),
            _ => return Err(self.problem(format!("several tokens are called {:?}", self.config.token)).into()),
        };
        let session =
            if change { library.open_rw_session_no_drop(slot)? } else { library.open_ro_session_no_drop(slot)? };
        let opened = Opened { session, life };
        match opened.session.login(UserType::User, Some(&AuthPin::new(Box::from(self.config.pin.as_str())))) {
            // All sessions of a process are logged in or none.
            Ok(()) | Err(Said::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(opened),
            Err(said) => {
                opened.close();
                *pin_refused = matches!(said, Said::Pkcs11(RvError::PinIncorrect | RvError::PinLocked, _));
                Err(said.into())
            }
        }
    }

    /// Makes sure that what was not found would have been: that the token is there, and that it shows this session
    /// what is private. Otherwise a key would count as destroyed that only is not seen.
    fn sees(&self, session: &Session) -> Outcome<()> {
        let info = session.get_session_info()?;
        if !matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser) {
            return Err(Said::Pkcs11(RvError::UserNotLoggedIn, Function::GetSessionInfo).into());
        }
        let token = self.library.calls.get_token_info(info.slot_id())?;
        if self.is_ours(&token) { Ok(()) } else { Err(self.away().into()) }
    }

    fn is_ours(&self, token: &TokenInfo) -> bool {
        token.label().trim_end() == self.config.token
    }

    fn away(&self) -> Error {
        self.unavailable(format!("there is no token {:?}", self.config.token))
    }

    /// What the library said, in words of ours.
    fn refused(&self, said: &Said) -> Error {
        let Said::Pkcs11(rv, function) = said else {
            return self.unavailable("its library answers in a way that is not understood".to_owned());
        };
        match meaning(*rv) {
            Meaning::Denied(why) => self.denied(why),
            Meaning::Unfit => {
                self.problem(format!("the token does not do AES-256-GCM as is needed ({function:?}: {rv:?})"))
            }
            Meaning::Outage => self.unavailable(format!("{function:?}: {rv:?}")),
        }
    }

    fn denied(&self, why: Denial) -> Error {
        Error::Denied { provider: self.config.name.clone(), why }
    }

    fn unavailable(&self, reason: String) -> Error {
        Error::Unavailable { provider: self.config.name.clone(), reason }
    }

    fn problem(&self, problem: String) -> Error {
        Error::Provider { provider: self.config.name.clone(), problem }
    }
}

impl KeyProvider for Pkcs11Provider {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn kind(&self) -> &'static str {
        "pkcs11"
    }

    fn default_key(&self) -> &str {
        &self.config.key
    }

    fn key_per_tenant(&self) -> Option<&str> {
        self.config.key_per_tenant.then_some(&self.config.key)
    }

    fn key(self: Arc<Self>, name: &str) -> Result<Key> {
        let fits = |c: char| c.is_ascii_graphic() || c == ' ';
        if !(1..=NAME_MAX).contains(&name.len()) || !name.chars().all(fits) || name.trim() != name {
            return Err(Error::no_key(&self.config.name, name));
        }
        Ok(Arc::new(Pkcs11Key { name: name.to_owned(), provider: self }))
    }
}

/// One of its keys.
struct Pkcs11Key {
    provider: Arc<Pkcs11Provider>,
    name: String,
}

impl Pkcs11Key {
    /// Its versions, the newest last; never none.
    fn versions(&self, session: &Session) -> Outcome<Vec<(u32, ObjectHandle)>> {
        let versions = self.found(session)?;
        if versions.is_empty() { Err(self.provider.denied(Denial::Missing).into()) } else { Ok(versions) }
    }

    /// Its versions, if there are any. A key that could leave the token is none.
    fn found(&self, session: &Session) -> Outcome<Vec<(u32, ObjectHandle)>> {
        let ours = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Label(self.name.clone().into_bytes()),
        ];
        let mut versions = BTreeMap::new();
        for handle in session.find_objects(&ours)? {
            let asked = [
                AttributeType::Id,
                AttributeType::ValueLen,
                AttributeType::Private,
                AttributeType::Sensitive,
                AttributeType::Extractable,
            ];
            let (mut version, mut sound) = (0, 0);
            for attribute in session.get_attributes(handle, &asked)? {
                match attribute {
                    Attribute::Id(id) => version = version_of(&id),
                    Attribute::ValueLen(length) => sound += u8::from(*length == KEY as u64),
                    Attribute::Private(yes) | Attribute::Sensitive(yes) => sound += u8::from(yes),
                    Attribute::Extractable(yes) => sound += u8::from(!yes),
                    _ => {}
                }
            }
            if sound != 4 {
                let problem =
                    format!("key {:?} must have 256 bits, be private and sensitive, and not be extractable", self.name);
                return Err(self.provider.problem(problem).into());
            }
            if versions.insert(version, handle).is_some() {
                return Err(self.provider.problem(format!("several keys are called {:?}", self.name)).into());
            }
        }
        if versions.is_empty() {
            self.provider.sees(session)?;
        }
        Ok(versions.into_iter().collect())
    }

    fn generate(&self, session: &Session, version: u32) -> Outcome<()> {
        let template = [
            Attribute::Label(self.name.clone().into_bytes()),
            Attribute::Id(id_of(version)),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::ValueLen((KEY as u64).into()),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template)?;
        Ok(())
    }

    /// Nonce, ciphertext and tag. Tokens that insist on a nonce of their own write it over ours.
    fn encrypt(&self, session: &Session, key: ObjectHandle, bound: &[u8], plain: &[u8]) -> Outcome<Vec<u8>> {
        let mut nonce = [0; NONCE];
        self.provider.entropy.fill(&mut nonce);
        let params = GcmParams::new(&mut nonce, bound, TAG_BITS.into())?;
        let sealed = session.encrypt(&Mechanism::AesGcm(params), key, plain)?;
        if sealed.len() != plain.len() + TAG {
            return Err(self.provider.problem("the token's ciphertexts have an unknown form".to_owned()).into());
        }
        Ok([&nonce[..], &sealed].concat())
    }

    fn decrypt(session: &Session, key: ObjectHandle, bound: &[u8], sealed: &[u8]) -> Outcome<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at(NONCE);
        let mut nonce = nonce.to_vec();
        let params = GcmParams::new(&mut nonce, bound, TAG_BITS.into())?;
        Ok(Zeroizing::new(session.decrypt(&Mechanism::AesGcm(params), key, sealed)?))
    }

    fn open(&self, session: &Session, key: ObjectHandle, bound: &[u8], sealed: &[u8]) -> Outcome<SecretKey> {
        let not = || Trouble::Ours(self.provider.denied(Denial::NotAuthentic));
        match Self::decrypt(session, key, bound, sealed) {
            Ok(plain) => SecretKey::from_slice(&plain).ok_or_else(not),
            // SoftHSM says so of a tag that does not fit, and others may: a token that opens what it sealed is well.
            Err(Trouble::Token(Said::Pkcs11(rv, Function::Decrypt))) if !is_stale(rv) => {
                let probe = self.encrypt(session, key, bound, &[0; KEY])?;
                Self::decrypt(session, key, bound, &probe)?;
                Err(not())
            }
            Err(trouble) => Err(trouble),
        }
    }
}

impl RootKey for Pkcs11Key {
    fn provider(&self) -> &str {
        &self.provider.config.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>> {
        self.provider.read(|session| {
            let versions = self.versions(session)?;
            let (version, handle) = versions[versions.len() - 1];
            let sealed = self.encrypt(session, handle, &bound(context, version), key.bytes())?;
            Ok([&[FORMAT_VERSION][..], &version.to_be_bytes(), &sealed].concat())
        })
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        let (version, sealed) = parts(wrapped).ok_or_else(|| self.provider.denied(Denial::NotAuthentic))?;
        self.provider.read(|session| {
            let versions = self.versions(session)?;
            let newest = versions[versions.len() - 1].0;
            let found = versions.into_iter().find(|(of, _)| *of == version);
            let gone = if version > newest { Denial::NotAuthentic } else { Denial::Missing };
            let (_, handle) = found.ok_or_else(|| self.provider.denied(gone))?;
            self.open(session, handle, &bound(context, version), sealed)
        })
    }

    fn facts(&self) -> Result<KeyFacts> {
        self.provider.read(|session| {
            let versions = self.versions(session)?;
            let (oldest, version) = (versions[0].0, versions[versions.len() - 1].0);
            Ok(KeyFacts { algorithm: "aes-256-gcm".to_owned(), version, oldest })
        })
    }

    fn create(&self) -> Result<()> {
        self.provider.change(|session| {
            if self.found(session)?.is_empty() {
                self.generate(session, 1)?;
            }
            Ok(())
        })
    }

    fn new_version(&self) -> Result<()> {
        self.provider.change(|session| {
            let versions = self.versions(session)?;
            let next = versions[versions.len() - 1].0.checked_add(1);
            let next =
                next.ok_or_else(|| self.provider.problem(format!("key {:?} has too many versions", self.name)))?;
            self.generate(session, next)
        })
    }

    fn retires_versions(&self) -> bool {
        true
    }

    fn retire_versions(&self) -> Result<()> {
        self.provider.change(|session| {
            let mut versions = self.versions(session)?;
            versions.pop();
            versions.into_iter().try_for_each(|(_, handle)| Ok(session.destroy_object(handle)?))
        })
    }

    fn destroy(&self) -> Result<Receipt> {
        let destroyed = self.provider.change(|session| {
            for (_, handle) in self.found(session)? {
                session.destroy_object(handle)?;
            }
            // Not what the destruction said but what is there now.
            Ok(self.found(session)?.is_empty())
        });
        match destroyed {
            Ok(true) => Ok(Receipt {
                destroyed: true,
                said: "destroyed; the token no longer has it. Backups of the token, if its keepers make any, are not \
                       known to this server"
                    .to_owned(),
            }),
            Ok(false) => Ok(Receipt::kept("the token accepted the destruction and still has the key")),
            Err(Error::Denied { why, .. }) => {
                Ok(Receipt::kept(&format!("the token does not let this server destroy it: {}", why.as_str())))
            }
            Err(Error::Provider { problem, .. }) => Ok(Receipt::kept(&problem)),
            Err(error) => Err(error),
        }
    }
}

type Outcome<T> = std::result::Result<T, Trouble>;

/// What stopped an act on a token.
enum Trouble {
    /// The library's word, still to be understood.
    Token(Said),
    Ours(Error),
}

impl From<Said> for Trouble {
    fn from(said: Said) -> Self {
        Trouble::Token(said)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Ours(error)
    }
}

/// Sessions that are kept for the next.
const RESTING_MAX: usize = 8;
/// Of a label, bytes.
const NAME_MAX: usize = 128;
const TAG_BITS: u64 = 8 * TAG as u64;
/// Before the version in the `CKA_ID`s of keys that this server makes.
const ID: &[u8] = b"ringfence";

/// What a return value means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Denied(Denial),
    /// The token or its library lacks something, and will lack it tomorrow.
    Unfit,
    Outage,
}

fn meaning(rv: RvError) -> Meaning {
    Meaning::Denied(match rv {
        RvError::KeyHandleInvalid | RvError::ObjectHandleInvalid => Denial::Missing,
        RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange => Denial::NotAuthentic,
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::PinLocked
        | RvError::UserPinNotInitialized
        | RvError::UserNotLoggedIn
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::KeyFunctionNotPermitted
        | RvError::ActionProhibited
        | RvError::FunctionRejected
        | RvError::SessionReadOnly
        | RvError::TokenWriteProtected => Denial::Forbidden,
        RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::FunctionNotSupported
        | RvError::KeyTypeInconsistent
        | RvError::TemplateInconsistent => return Meaning::Unfit,
        _ => return Meaning::Outage,
    })
}

/// A session that a restart of the token, or another thread's, has ended.
fn is_stale(rv: RvError) -> bool {
    matches!(
        rv,
        RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::SlotIdInvalid
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
    )
}

fn id_of(version: u32) -> Vec<u8> {
    [ID, &version.to_be_bytes()].concat()
}

fn version_of(id: &[u8]) -> u32 {
    let version = id.strip_prefix(ID).and_then(|rest| rest.try_into().ok());
    version.map(u32::from_be_bytes).unwrap_or_default()
}

fn bound(context: &[u8], version: u32) -> Vec<u8> {
    fields(&[b"ringfence pkcs11 provider", &version.to_be_bytes(), context])
}

/// The version and what is sealed, of a wrap that has the form of one.
fn parts(wrapped: &[u8]) -> Option<(u32, &[u8])> {
    let (format, rest) = wrapped.split_first()?;
    let (version, sealed) = rest.split_first_chunk()?;
    (*format == FORMAT_VERSION && sealed.len() == NONCE + KEY + TAG).then(|| (u32::from_be_bytes(*version), sealed))
}

/// A vendor's library. A process loads it once, whoever asks, and never unloads it.
struct Library {
    calls: Pkcs11,
    /// How often it was begun anew: sessions are of one life. Calls that read share it; who changes something, or ends
    /// a life, has it alone.
    life: RwLock<u64>,
}

impl Library {
    fn load(config: &Pkcs11Config) -> Result<Arc<Self>> {
        static LOADED: Mutex<BTreeMap<PathBuf, Arc<Library>>> = Mutex::new(BTreeMap::new());
        let wrong = |problem: String| Error::Provider { provider: config.name.clone(), problem };
        if !config.module.is_absolute() {
            return Err(wrong("its module must be an absolute path".to_owned()));
        }
        let path = config.module.canonicalize().map_err(|e| wrong(format!("its module cannot be read: {e}")))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = loaded.get(&path) {
            return Ok(library.clone());
        }
        let calls = Pkcs11::new(&path).map_err(|_| wrong("its module is no PKCS #11 library".to_owned()))?;
        let library = Arc::new(Self { calls, life: RwLock::default() });
        loaded.insert(path, library.clone());
        Ok(library)
    }

    /// Who is in it.
    fn hold(&self, alone: bool) -> Hold<'_> {
        match alone {
            false => Hold::Shared(self.life.read().unwrap_or_else(PoisonError::into_inner)),
            true => Hold::Alone(self.life.write().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Ends it, so that the next call begins it anew; false while others are in it, for whom it cannot be ended.
    fn restart(&self) -> bool {
        let mut life = match self.life.try_write() {
            Ok(life) => life,
            Err(TryLockError::Poisoned(life)) => life.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        *life += 1;
        // One that was not begun cannot be ended, which is as good.
        let _ = self.calls.clone().finalize();
        true
    }
}

/// A turn in a library.
enum Hold<'a> {
    Shared(RwLockReadGuard<'a, u64>),
    Alone(RwLockWriteGuard<'a, u64>),
}

impl Deref for Hold<'_> {
    type Target = u64;

    fn deref(&self) -> &u64 {
        match self {
            Hold::Shared(life) => life,
            Hold::Alone(life) => life,
        }
    }
}

/// A session that is closed by [`Opened::close`] alone: in another life of the library its number may be another's.
struct Opened {
    session: Session,
    life: u64,
}

impl Opened {
    /// In the life in which it was opened.
    fn close(self) {
        // What is gone already needs no closing.
        let _ = self.session.close();
    }
}

#[cfg(test)]
mod tests;
