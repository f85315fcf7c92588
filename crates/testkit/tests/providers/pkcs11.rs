//! PKCS #11 against SoftHSM. A process has one such library with one configuration, which is read when the library is
//! loaded. Each test therefore runs itself once more in a process of its own with a token of its own, whatever runs the
//! tests.

use super::{denial, fingerprint, outage, secret};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::Attribute,
    session::{Session, UserType},
    types::AuthPin,
};
use kernel::OsEntropy;
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};
use testkit::SoftHsm;
use vault::{Denial, Error, Key, KeyProvider, LocalProvider, Pkcs11Config, Pkcs11Provider};
use zeroize::Zeroizing;

const MODULE: &str = "RINGFENCE_TEST_HSM_MODULE";
const TOKEN: &str = "RINGFENCE_TEST_HSM_TOKEN";
const PIN: &str = "RINGFENCE_TEST_HSM_PIN";
const CONF: &str = "SOFTHSM2_CONF";

/// A token, as the process that works with it sees it.
struct TestHsm {
    module: PathBuf,
    token: String,
    pin: String,
}

impl TestHsm {
    /// Runs the test of this name in a process of its own. Returns `None` in the process that only starts it.
    fn in_own_process(test: &str) -> Option<Self> {
        if let Some(module) = env::var_os(MODULE) {
            let [token, pin] = [TOKEN, PIN].map(|name| env::var(name).unwrap());
            return Some(Self { module: module.into(), token, pin });
        }
        let hsm = SoftHsm::start()?;
        let ran = Command::new(env::current_exe().unwrap())
            .args([&format!("pkcs11::{test}"), "--exact", "--nocapture"])
            .env(CONF, hsm.conf())
            .env(MODULE, hsm.module())
            .env(TOKEN, hsm.label())
            .env(PIN, hsm.pin())
            .output()
            .unwrap();
        let messages = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && messages.contains("1 passed"), "{messages}");
        None
    }

    fn provider_with(&self, pin: &str, key_per_tenant: bool) -> Arc<Pkcs11Provider> {
        let config = Pkcs11Config {
            name: "hsm".to_owned(),
            module: self.module.clone(),
            token: self.token.clone(),
            pin: Zeroizing::new(pin.to_owned()),
            key: "ringfence".to_owned(),
            key_per_tenant,
        };
        Arc::new(Pkcs11Provider::new(config, Arc::new(OsEntropy)).unwrap())
    }

    fn provider(&self) -> Arc<Pkcs11Provider> {
        self.provider_with(&self.pin, true)
    }

    /// A key that exists.
    fn key(&self, name: &str) -> Key {
        let key = self.provider().key(name).unwrap();
        key.create().unwrap();
        key
    }

    /// Folder in which SoftHSM stores its tokens.
    fn tokens(&self) -> PathBuf {
        Path::new(&env::var_os(CONF).unwrap()).with_file_name("tokens")
    }

    /// A session as an administrator with the vendor's own tools has it.
    fn administrator(&self) -> Session {
        let library = Pkcs11::new(&self.module).unwrap();
        // The second initialisation in a process fails, because the first has done it.
        let _ = library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let slot = library.get_slots_with_initialized_token().unwrap()[0];
        let session = library.open_rw_session(slot).unwrap();
        let _ = session.login(UserType::User, Some(&AuthPin::new(Box::from(self.pin.as_str()))));
        session
    }
}

/// Creates a key as an administrator would by hand, with these unusual properties.
fn create_key(session: &Session, label: &str, extractable: bool, bytes: u64) {
    let template = [
        Attribute::Label(label.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(extractable),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::ValueLen(bytes.into()),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
}

#[test]
fn a_wrap_opens_with_its_key_and_context_only() {
    let Some(hsm) = TestHsm::in_own_process("a_wrap_opens_with_its_key_and_context_only") else { return };
    let (ours, theirs, secret) = (hsm.key("ours"), hsm.key("theirs"), secret());
    let wrap = ours.wrap(b"tenant-a", &secret).unwrap();
    assert_eq!(fingerprint(&ours.unwrap(b"tenant-a", &wrap).unwrap()), fingerprint(&secret));
    assert_ne!(wrap, ours.wrap(b"tenant-a", &secret).unwrap());
    assert_eq!(denial(ours.unwrap(b"tenant-b", &wrap)), Denial::NotAuthentic);
    assert_eq!(denial(theirs.unwrap(b"tenant-a", &wrap)), Denial::NotAuthentic);
    for index in 0..wrap.len() {
        let mut altered = wrap.clone();
        altered[index] ^= 0x10;
        assert_eq!(denial(ours.unwrap(b"tenant-a", &altered)), Denial::NotAuthentic, "{index}");
    }
    for length in [0, 1, 5, wrap.len() - 1] {
        assert_eq!(denial(ours.unwrap(b"tenant-a", &wrap[..length])), Denial::NotAuthentic, "{length}");
    }
    // The token still works.
    assert_eq!(fingerprint(&ours.unwrap(b"tenant-a", &wrap).unwrap()), fingerprint(&secret));
}

#[test]
fn a_key_is_created_once_and_is_missing_after_its_destruction() {
    let Some(hsm) = TestHsm::in_own_process("a_key_is_created_once_and_is_missing_after_its_destruction") else {
        return;
    };
    let key = hsm.provider().key("tenant-1").unwrap();
    assert_eq!(denial(key.facts()), Denial::Missing);
    assert_eq!(denial(key.wrap(b"c", &secret())), Denial::Missing);
    key.create().unwrap();
    let wrap = key.wrap(b"c", &secret()).unwrap();
    key.create().unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    let facts = key.facts().unwrap();
    assert_eq!((&*facts.algorithm, facts.version, facts.oldest), ("aes-256-gcm", 1, 1));

    let receipt = key.destroy().unwrap();
    assert!(receipt.destroyed && receipt.said.contains("no longer has it"), "{receipt:?}");
    assert_eq!(denial(key.facts()), Denial::Missing);
    assert_eq!(denial(key.unwrap(b"c", &wrap)), Denial::Missing);
    assert!(key.destroy().unwrap().destroyed, "what is not there needs no destruction");
    // A new key of that name is another key.
    key.create().unwrap();
    assert_eq!(denial(key.unwrap(b"c", &wrap)), Denial::NotAuthentic);
}

#[test]
fn old_versions_open_until_they_are_retired() {
    let Some(hsm) = TestHsm::in_own_process("old_versions_open_until_they_are_retired") else { return };
    let (key, secret) = (hsm.key("tenant-1"), secret());
    let old = key.wrap(b"c", &secret).unwrap();
    key.new_version().unwrap();
    let facts = key.facts().unwrap();
    assert_eq!((facts.version, facts.oldest), (2, 1));
    assert_eq!(fingerprint(&key.unwrap(b"c", &old).unwrap()), fingerprint(&secret));
    let new = key.rewrap(b"c", &old).unwrap();
    key.retire_versions().unwrap();
    let facts = key.facts().unwrap();
    assert_eq!((facts.version, facts.oldest), (2, 2));
    assert_eq!(denial(key.unwrap(b"c", &old)), Denial::Missing);
    assert_eq!(fingerprint(&key.unwrap(b"c", &new).unwrap()), fingerprint(&secret));
    key.new_version().unwrap();
    assert!(key.destroy().unwrap().destroyed);
    assert_eq!(denial(key.unwrap(b"c", &new)), Denial::Missing);
}

#[test]
fn keys_of_administrators_are_accepted_if_they_cannot_be_copied_or_confused() {
    let Some(hsm) = TestHsm::in_own_process("keys_of_administrators_are_accepted_if_they_cannot_be_copied_or_confused")
    else {
        return;
    };
    let (provider, administrator) = (hsm.provider(), hsm.administrator());
    create_key(&administrator, "sound", false, 32);
    create_key(&administrator, "open", true, 32);
    create_key(&administrator, "small", false, 16);
    create_key(&administrator, "twice", false, 32);
    create_key(&administrator, "twice", false, 32);
    let sound = provider.clone().key("sound").unwrap();
    let wrap = sound.wrap(b"c", &secret()).unwrap();
    assert_eq!(sound.facts().unwrap().version, 0);
    sound.unwrap(b"c", &wrap).unwrap();
    for (name, part) in [("open", "not be extractable"), ("small", "256 bits"), ("twice", "several keys")] {
        let error = provider.clone().key(name).unwrap().wrap(b"c", &secret()).err().unwrap();
        assert!(matches!(error, Error::Provider { .. }) && error.to_string().contains(part), "{error}");
    }
    // Two keys have this name. Nothing tells which one is meant, so none is destroyed.
    let receipt = provider.key("twice").unwrap().destroy().unwrap();
    assert!(!receipt.destroyed, "{receipt:?}");
    assert_eq!(administrator.find_objects(&[Attribute::Label("twice".into())]).unwrap().len(), 2);
}

#[test]
fn a_missing_token_is_an_outage_that_ends_when_it_returns() {
    let Some(hsm) = TestHsm::in_own_process("a_missing_token_is_an_outage_that_ends_when_it_returns") else { return };
    let (key, tokens) = (hsm.key("tenant-1"), hsm.tokens());
    let away = tokens.with_file_name("away");
    let wrap = key.wrap(b"c", &secret()).unwrap();
    std::fs::rename(&tokens, &away).unwrap();
    for _ in 0..2 {
        let messages = [
            outage(key.unwrap(b"c", &wrap)),
            outage(key.wrap(b"c", &secret())),
            outage(key.facts().map(drop)),
            outage(key.destroy()),
            outage(key.create()),
        ];
        assert!(messages.iter().all(|messages| !messages.contains(&hsm.pin)), "{messages:?}");
        // A new provider in a process that has the library loaded gets the same error.
        outage(hsm.provider().key("tenant-1").unwrap().unwrap(b"c", &wrap));
    }
    std::fs::rename(&away, &tokens).unwrap();
    key.unwrap(b"c", &wrap).unwrap();
}

#[test]
fn closed_sessions_are_opened_again() {
    let Some(hsm) = TestHsm::in_own_process("closed_sessions_are_opened_again") else { return };
    let key = hsm.key("tenant-1");
    let wrap = key.wrap(b"c", &secret()).unwrap();
    // All sessions of a process share one login, so this ends the login of the provider too.
    hsm.administrator().logout().unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    // A finalized library has lost all sessions.
    Pkcs11::new(&hsm.module).unwrap().finalize().unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    key.new_version().unwrap();
}

#[test]
fn a_wrong_pin_is_refused_and_not_tried_again() {
    let Some(hsm) = TestHsm::in_own_process("a_wrong_pin_is_refused_and_not_tried_again") else { return };
    let tokens = hsm.tokens();
    let key = hsm.provider_with("9999", false).key("ringfence").unwrap();
    assert_eq!(denial(key.facts()), Denial::Forbidden);
    let text = key.facts().unwrap_err().to_string();
    assert!(!text.contains("9999"), "{text}");
    // No further login is tried: a missing token would be an outage.
    std::fs::rename(&tokens, tokens.with_file_name("away")).unwrap();
    assert_eq!(denial(key.wrap(b"c", &secret())), Denial::Forbidden);
    let receipt = key.destroy().unwrap();
    assert!(!receipt.destroyed && receipt.said.contains("forbidden"), "{receipt:?}");
}

#[test]
fn threads_share_a_token() {
    let Some(hsm) = TestHsm::in_own_process("threads_share_a_token") else { return };
    let provider = hsm.provider();
    provider.clone().key("shared").unwrap().create().unwrap();
    thread::scope(|scope| {
        for thread in 0..4 {
            let provider = provider.clone();
            scope.spawn(move || {
                let own = provider.clone().key(&format!("tenant-{thread}")).unwrap();
                own.create().unwrap();
                let shared = provider.key("shared").unwrap();
                for round in 0..50 {
                    let (context, secret) = (format!("{thread} {round}"), secret());
                    let wraps = [&own, &shared].map(|key| key.wrap(context.as_bytes(), &secret).unwrap());
                    for (key, wrap) in [&own, &shared].into_iter().zip(&wraps) {
                        assert_eq!(fingerprint(&key.unwrap(context.as_bytes(), wrap).unwrap()), fingerprint(&secret));
                        assert_eq!(denial(key.unwrap(b"other", wrap)), Denial::NotAuthentic);
                    }
                }
                assert!(own.destroy().unwrap().destroyed);
            });
        }
    });
}

#[test]
fn the_token_is_chosen_by_its_label() {
    let Some(hsm) = TestHsm::in_own_process("the_token_is_chosen_by_its_label") else { return };
    let config = |token: &str| Pkcs11Config {
        name: "hsm".to_owned(),
        module: hsm.module.clone(),
        token: token.to_owned(),
        pin: Zeroizing::new(hsm.pin.clone()),
        key: "ringfence".to_owned(),
        key_per_tenant: false,
    };
    let other = Arc::new(Pkcs11Provider::new(config("other"), Arc::new(OsEntropy)).unwrap());
    assert_eq!((other.kind(), other.default_key(), other.key_per_tenant()), ("pkcs11", "ringfence", None));
    assert!(outage(other.clone().key("ringfence").unwrap().facts()).contains("there is no token \"other\""));
    for name in ["", " a", "a ", "a\nb", "\u{e9}", &"a".repeat(129)] {
        assert!(matches!(other.clone().key(name), Err(Error::KeyName { .. })), "{name}");
    }
    assert_ne!(other.kind(), LocalProvider::NAME);
}
