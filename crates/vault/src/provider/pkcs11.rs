//! Hardware security modules and compatible tokens (PKCS #11): keys are AES-256 objects of a token, which encrypts with
//! them internally.
//!
//! A key is looked up by its label at each use, so that a deleted key is noticed at once. Its versions are objects with
//! the same label and with `CKA_ID`s that this server assigns; a key that was created elsewhere has any id and is
//! version 0. A wrap is a byte for the format, the version, a nonce, ciphertext and tag (`CKM_AES_GCM`), with the
//! context as associated data.
//!
//! Calls go through a library of the token's vendor and have no time limit but the library's own.

use super::{Denial, DestructionReceipt, Key, KeyDescription, KeyProvider, RootKey};
use crate::{
    Error, FORMAT_VERSION, Result, SecretKey,
    crypto::{KEY, NONCE, TAG},
    identity::fields,
};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11},
    error::{Error as CryptokiError, RvError},
    mechanism::{Mechanism, aead::GcmParams},
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, SessionState, UserType},
    slot::TokenInfo,
    types::AuthPin,
};
use kernel::Entropy;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::{collections::BTreeMap, ops::Deref, path::PathBuf, sync::Arc};
use zeroize::Zeroizing;

/// Configuration of [`Pkcs11Provider`].
pub struct Pkcs11Config {
    /// Name of the provider.
    pub name: String,
    /// Path of the vendor's library, which is loaded into this process.
    pub module: PathBuf,
    /// Label of the token. Slot numbers are not stable.
    pub token: String,
    /// PIN of the token's user.
    pub pin: Zeroizing<String>,
    /// Label of the key of tenants that name none; with `key_per_tenant`, the prefix of the labels of their keys.
    pub key: String,
    /// Whether each tenant gets a key of its own, which this server creates and destroys.
    pub key_per_tenant: bool,
}

/// A token as a key provider; see the [module](self).
pub struct Pkcs11Provider {
    config: Pkcs11Config,
    library: Arc<Library>,
    entropy: Arc<dyn Entropy>,
    /// Idle sessions: read-only and logged in.
    idle: Mutex<Vec<PooledSession>>,
    /// Whether the PIN was refused. The lock is held while the PIN is tried.
    pin_refused: Mutex<bool>,
}

impl Pkcs11Provider {
    /// Loads the library without a call to a token.
    ///
    /// # Errors
    /// [`Error::Provider`] for a library that cannot be loaded.
    pub fn new(config: Pkcs11Config, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let library = Library::load(&config)?;
        Ok(Self { config, library, entropy, idle: Mutex::default(), pin_refused: Mutex::default() })
    }

    /// Runs an action that changes nothing, in a session from the pool.
    fn read<T>(&self, action: impl Fn(&Session) -> TokenResult<T>) -> Result<T> {
        self.with_retry(Access::Read, |generation| {
            let session = match self.take_idle(generation) {
                Some(session) => session,
                None => self.open(Access::Read, generation)?,
            };
            let done = action(&session.session);
            // A failed call may have left an operation active in the session, so it is not reused.
            if matches!(done, Err(TokenFailure::Token(_))) {
                session.close()
            } else {
                self.return_to_pool(session)
            }
            done
        })
    }

    /// Runs an action that creates or destroys objects, in a session of its own; the action may run more than once. It
    /// has exclusive use of the library: two actions that look up and then create would create two objects, and SoftHSM
    /// fails concurrent lookups while an object is created.
    fn change<T>(&self, action: impl Fn(&Session) -> TokenResult<T>) -> Result<T> {
        self.with_retry(Access::Change, |generation| {
            let session = self.open(Access::Change, generation)?;
            let done = action(&session.session);
            session.close();
            done
        })
    }

    /// Retries an action, once with new sessions if the old ones are stale, and once with a restarted library if the
    /// token is missing: some libraries never see it again otherwise.
    fn with_retry<T>(&self, access: Access, action: impl Fn(u64) -> TokenResult<T>) -> Result<T> {
        let (mut reopened, mut restarted) = (false, false);
        loop {
            let guard = self.library.lock(access);
            let generation = *guard;
            let failure = match action(generation) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let stale = matches!(failure, TokenFailure::Token(CryptokiError::Pkcs11(rv, _)) if is_stale(rv));
            if stale && !reopened {
                reopened = true;
                while let Some(old) = self.take_idle(generation) {
                    old.close();
                }
                continue;
            }
            drop(guard);
            let error = match failure {
                TokenFailure::Translated(error) => error,
                TokenFailure::Token(error) => self.translate_error(&error),
            };
            if !matches!(error, Error::Unavailable { .. }) || restarted || !self.library.restart() {
                return Err(error);
            }
            restarted = true;
        }
    }

    fn take_idle(&self, generation: u64) -> Option<PooledSession> {
        let mut idle = self.idle.lock();
        idle.retain(|session| session.generation == generation);
        idle.pop()
    }

    fn return_to_pool(&self, session: PooledSession) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_SESSIONS_MAX { idle.push(session) } else { session.close() }
    }

    fn open(&self, access: Access, generation: u64) -> TokenResult<PooledSession> {
        // Tokens lock themselves after a few wrong PINs: a refused PIN is not tried again, nor by two threads at once.
        let mut pin_refused = self.pin_refused.lock();
        if *pin_refused {
            return Err(self.denied(Denial::Forbidden).into());
        }
        let library = &self.library.calls;
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(CryptokiError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(error.into()),
        }
        let mut slots = library.get_slots_with_token()?;
        // A broken slot must not hide the others.
        slots.retain(|slot| library.get_token_info(*slot).is_ok_and(|info| self.is_ours(&info)));
        let slot = match slots[..] {
            [slot] => slot,
            [] => return Err(self.token_missing().into()),
            _ => return Err(self.problem(format!("several tokens are called {:?}", self.config.token)).into()),
        };
        let raw_session = match access {
            Access::Read => library.open_ro_session_no_drop(slot)?,
            Access::Change => library.open_rw_session_no_drop(slot)?,
        };
        let session = PooledSession { session: raw_session, generation };
        match session.session.login(UserType::User, Some(&AuthPin::new(Box::from(self.config.pin.as_str())))) {
            // The login state is shared by all sessions of a process.
            Ok(()) | Err(CryptokiError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => {
                session.close();
                *pin_refused = matches!(error, CryptokiError::Pkcs11(RvError::PinIncorrect | RvError::PinLocked, _));
                Err(error.into())
            }
        }
    }

    /// Checks that a key that was not found would have been visible: the token is present, and it shows private objects
    /// to this session. Otherwise an invisible key would count as destroyed.
    fn check_visibility(&self, session: &Session) -> TokenResult<()> {
        let info = session.get_session_info()?;
        if !matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser) {
            return Err(CryptokiError::Pkcs11(RvError::UserNotLoggedIn, Function::GetSessionInfo).into());
        }
        let token = self.library.calls.get_token_info(info.slot_id())?;
        if self.is_ours(&token) { Ok(()) } else { Err(self.token_missing().into()) }
    }

    fn is_ours(&self, token: &TokenInfo) -> bool {
        token.label().trim_end() == self.config.token
    }

    fn token_missing(&self) -> Error {
        self.unavailable(format!("there is no token {:?}", self.config.token))
    }

    /// Translates an error of the library.
    fn translate_error(&self, error: &CryptokiError) -> Error {
        let CryptokiError::Pkcs11(rv, function) = error else {
            return self.unavailable("its library returned an error that is not understood".to_owned());
        };
        match classify(*rv) {
            TokenErrorClass::Denied(why) => self.denied(why),
            TokenErrorClass::Unfit => {
                self.problem(format!("the token does not support AES-256-GCM as required ({function:?}: {rv:?})"))
            }
            TokenErrorClass::Outage => self.unavailable(format!("{function:?}: {rv:?}")),
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

/// A key of the provider.
struct Pkcs11Key {
    provider: Arc<Pkcs11Provider>,
    name: String,
}

impl Pkcs11Key {
    /// The versions of the key, the newest last; at least one.
    fn versions(&self, session: &Session) -> TokenResult<Vec<(u32, ObjectHandle)>> {
        let versions = self.find_versions(session)?;
        if versions.is_empty() { Err(self.provider.denied(Denial::Missing).into()) } else { Ok(versions) }
    }

    /// The versions of the key, possibly none. A key that could leave the token is refused.
    fn find_versions(&self, session: &Session) -> TokenResult<Vec<(u32, ObjectHandle)>> {
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
            let (mut version, mut valid) = (0, 0);
            for attribute in session.get_attributes(handle, &asked)? {
                match attribute {
                    Attribute::Id(id) => version = version_of(&id),
                    Attribute::ValueLen(length) => valid += u8::from(*length == KEY as u64),
                    Attribute::Private(yes) | Attribute::Sensitive(yes) => valid += u8::from(yes),
                    Attribute::Extractable(yes) => valid += u8::from(!yes),
                    _ => {}
                }
            }
            if valid != 4 {
                let problem =
                    format!("key {:?} must have 256 bits, be private and sensitive, and not be extractable", self.name);
                return Err(self.provider.problem(problem).into());
            }
            if versions.insert(version, handle).is_some() {
                return Err(self.provider.problem(format!("several keys are called {:?}", self.name)).into());
            }
        }
        if versions.is_empty() {
            self.provider.check_visibility(session)?;
        }
        Ok(versions.into_iter().collect())
    }

    fn generate(&self, session: &Session, version: u32) -> TokenResult<()> {
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

    /// Encrypts to nonce, ciphertext and tag. Tokens that insist on a nonce of their own overwrite ours.
    fn encrypt(
        &self,
        session: &Session,
        key: ObjectHandle,
        associated_data: &[u8],
        plain: &[u8],
    ) -> TokenResult<Vec<u8>> {
        let mut nonce = [0; NONCE];
        self.provider.entropy.fill(&mut nonce);
        let params = GcmParams::new(&mut nonce, associated_data, TAG_BITS.into())?;
        let sealed = session.encrypt(&Mechanism::AesGcm(params), key, plain)?;
        if sealed.len() != plain.len() + TAG {
            return Err(self.provider.problem("the token's ciphertexts have an unknown format".to_owned()).into());
        }
        Ok([&nonce[..], &sealed].concat())
    }

    fn decrypt(
        session: &Session,
        key: ObjectHandle,
        associated_data: &[u8],
        sealed: &[u8],
    ) -> TokenResult<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at(NONCE);
        let mut nonce = nonce.to_vec();
        let params = GcmParams::new(&mut nonce, associated_data, TAG_BITS.into())?;
        Ok(Zeroizing::new(session.decrypt(&Mechanism::AesGcm(params), key, sealed)?))
    }

    fn open(
        &self,
        session: &Session,
        key: ObjectHandle,
        associated_data: &[u8],
        sealed: &[u8],
    ) -> TokenResult<SecretKey> {
        let not_authentic = || TokenFailure::Translated(self.provider.denied(Denial::NotAuthentic));
        match Self::decrypt(session, key, associated_data, sealed) {
            Ok(plain) => SecretKey::from_slice(&plain).ok_or_else(not_authentic),
            // SoftHSM reports a wrong tag with an unspecific error, and others may too: if the token opens what it just
            // sealed, the token works and the wrap is not authentic.
            Err(TokenFailure::Token(CryptokiError::Pkcs11(rv, Function::Decrypt))) if !is_stale(rv) => {
                let probe = self.encrypt(session, key, associated_data, &[0; KEY])?;
                Self::decrypt(session, key, associated_data, &probe)?;
                Err(not_authentic())
            }
            Err(failure) => Err(failure),
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
            let sealed = self.encrypt(session, handle, &associated_data(context, version), key.bytes())?;
            Ok([&[FORMAT_VERSION][..], &version.to_be_bytes(), &sealed].concat())
        })
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        let (version, sealed) = parts(wrapped).ok_or_else(|| self.provider.denied(Denial::NotAuthentic))?;
        self.provider.read(|session| {
            let versions = self.versions(session)?;
            let newest = versions[versions.len() - 1].0;
            let matching = versions.into_iter().find(|(of, _)| *of == version);
            let gone = if version > newest { Denial::NotAuthentic } else { Denial::Missing };
            let (_, handle) = matching.ok_or_else(|| self.provider.denied(gone))?;
            self.open(session, handle, &associated_data(context, version), sealed)
        })
    }

    fn facts(&self) -> Result<KeyDescription> {
        self.provider.read(|session| {
            let versions = self.versions(session)?;
            let (oldest, version) = (versions[0].0, versions[versions.len() - 1].0);
            Ok(KeyDescription { algorithm: "aes-256-gcm".to_owned(), version, oldest })
        })
    }

    fn create(&self) -> Result<()> {
        self.provider.change(|session| {
            if self.find_versions(session)?.is_empty() {
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

    fn destroy(&self) -> Result<DestructionReceipt> {
        let destroyed = self.provider.change(|session| {
            for (_, handle) in self.find_versions(session)? {
                session.destroy_object(handle)?;
            }
            // The result is what exists now, not the reply to the destruction.
            Ok(self.find_versions(session)?.is_empty())
        });
        match destroyed {
            Ok(true) => Ok(DestructionReceipt {
                destroyed: true,
                said:
                    "destroyed; the token no longer has it. Backups of the token, if its operators make any, are not \
                       known to this server"
                        .to_owned(),
            }),
            Ok(false) => {
                Ok(DestructionReceipt::not_destroyed("the token accepted the destruction and still has the key"))
            }
            Err(Error::Denied { why, .. }) => Ok(DestructionReceipt::not_destroyed(&format!(
                "the token does not let this server destroy it: {}",
                why.as_str()
            ))),
            Err(Error::Provider { problem, .. }) => Ok(DestructionReceipt::not_destroyed(&problem)),
            Err(error) => Err(error),
        }
    }
}

type TokenResult<T> = std::result::Result<T, TokenFailure>;

/// Whether an action changes objects of the token. If so, it has exclusive use of the library.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Change,
}

/// Failure of an action on a token.
enum TokenFailure {
    /// An error of the library that is not translated yet.
    Token(CryptokiError),
    Translated(Error),
}

impl From<CryptokiError> for TokenFailure {
    fn from(error: CryptokiError) -> Self {
        TokenFailure::Token(error)
    }
}

impl From<Error> for TokenFailure {
    fn from(error: Error) -> Self {
        TokenFailure::Translated(error)
    }
}

/// Maximum number of idle sessions in the pool.
const IDLE_SESSIONS_MAX: usize = 8;
/// Maximum length of a label in bytes.
const NAME_MAX: usize = 128;
const TAG_BITS: u64 = 8 * TAG as u64;
/// Prefix of the version in the `CKA_ID`s that this server assigns.
const ID: &[u8] = b"ringfence";

/// Meaning of a return value.
#[derive(Debug, PartialEq, Eq)]
enum TokenErrorClass {
    Denied(Denial),
    /// The token or its library lacks a feature, which retries do not change.
    Unfit,
    Outage,
}

fn classify(rv: RvError) -> TokenErrorClass {
    TokenErrorClass::Denied(match rv {
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
        | RvError::TemplateInconsistent => return TokenErrorClass::Unfit,
        _ => return TokenErrorClass::Outage,
    })
}

/// Whether the error means that a restart of the token, or another thread's restart of the library, has ended the
/// session.
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

fn associated_data(context: &[u8], version: u32) -> Vec<u8> {
    fields(&[b"ringfence pkcs11 provider", &version.to_be_bytes(), context])
}

/// Splits a well-formed wrap into the version and the sealed bytes.
fn parts(wrapped: &[u8]) -> Option<(u32, &[u8])> {
    let (format, rest) = wrapped.split_first()?;
    let (version, sealed) = rest.split_first_chunk()?;
    (*format == FORMAT_VERSION && sealed.len() == NONCE + KEY + TAG).then(|| (u32::from_be_bytes(*version), sealed))
}

/// A vendor's library. A process loads it once for all providers, and never unloads it.
struct Library {
    calls: Pkcs11,
    /// Number of restarts: a session belongs to one generation. Calls that read share the lock; a call that changes
    /// objects or restarts the library holds it exclusively.
    generation: RwLock<u64>,
}

impl Library {
    fn load(config: &Pkcs11Config) -> Result<Arc<Self>> {
        static LOADED: Mutex<BTreeMap<PathBuf, Arc<Library>>> = Mutex::new(BTreeMap::new());
        let config_error = |problem: String| Error::Provider { provider: config.name.clone(), problem };
        if !config.module.is_absolute() {
            return Err(config_error("its module must be an absolute path".to_owned()));
        }
        let path = config.module.canonicalize().map_err(|e| config_error(format!("its module cannot be read: {e}")))?;
        let mut loaded = LOADED.lock();
        if let Some(library) = loaded.get(&path) {
            return Ok(library.clone());
        }
        let calls = Pkcs11::new(&path).map_err(|_| config_error("its module is not a PKCS #11 library".to_owned()))?;
        let library = Arc::new(Self { calls, generation: RwLock::default() });
        loaded.insert(path, library.clone());
        Ok(library)
    }

    /// Locks the library for a call.
    fn lock(&self, access: Access) -> LibraryGuard<'_> {
        match access {
            Access::Read => LibraryGuard::Shared(self.generation.read()),
            Access::Change => LibraryGuard::Exclusive(self.generation.write()),
        }
    }

    /// Finalises the library, so that the next call initialises it again. Returns false while other calls use it,
    /// because it must not be finalised under them.
    fn restart(&self) -> bool {
        let Some(mut generation) = self.generation.try_write() else { return false };
        *generation += 1;
        // Finalising fails if the library was not initialised, which is as good.
        let _ = self.calls.clone().finalize();
        true
    }
}

/// Guard of a call into the library; dereferences to the generation.
enum LibraryGuard<'a> {
    Shared(RwLockReadGuard<'a, u64>),
    Exclusive(RwLockWriteGuard<'a, u64>),
}

impl Deref for LibraryGuard<'_> {
    type Target = u64;

    fn deref(&self) -> &u64 {
        match self {
            LibraryGuard::Shared(generation) => generation,
            LibraryGuard::Exclusive(generation) => generation,
        }
    }
}

/// A session that only [`PooledSession::close`] closes: in another generation of the library its handle may belong to
/// another session.
struct PooledSession {
    session: Session,
    generation: u64,
}

impl PooledSession {
    /// Closes the session. Only valid in the generation in which it was opened.
    fn close(self) {
        // A session that is already gone needs no closing.
        let _ = self.session.close();
    }
}

#[cfg(test)]
mod tests;
