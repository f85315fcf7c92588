//! PKCS #11 against SoftHSM. A process has one such library with one configuration, read when it is loaded: so each test
//! runs itself once more, in a process of its own with a token of its own, whatever runs the tests.

use super::{denial, outage, print, secret};
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

/// A token, as the process sees it that works with it.
struct Hsm {
    module: PathBuf,
    token: String,
    pin: String,
}

impl Hsm {
    /// Runs the test of this name in a process of its own. `None` in the one that only starts it.
    fn alone(test: &str) -> Option<Self> {
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
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
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

    /// A key that is there.
    fn key(&self, name: &str) -> Key {
        let key = self.provider().key(name).unwrap();
        key.create().unwrap();
        key
    }

    /// Where SoftHSM keeps its tokens.
    fn tokens(&self) -> PathBuf {
        Path::new(&env::var_os(CONF).unwrap()).with_file_name("tokens")
    }

    /// As somebody with the vendor's own tools.
    fn keeper(&self) -> Session {
        let library = Pkcs11::new(&self.module).unwrap();
        // Who comes second is told that it is done.
        let _ = library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let slot = library.get_slots_with_initialized_token().unwrap()[0];
        let session = library.open_rw_session(slot).unwrap();
        let _ = session.login(UserType::User, Some(&AuthPin::new(Box::from(self.pin.as_str()))));
        session
    }
}

/// A key that the keepers make by hand, with this beside what is usual.
fn make(session: &Session, label: &str, extractable: bool, bytes: u64) {
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
    let Some(hsm) = Hsm::alone("a_wrap_opens_with_its_key_and_context_only") else { return };
    let (ours, theirs, secret) = (hsm.key("ours"), hsm.key("theirs"), secret());
    let wrap = ours.wrap(b"tenant-a", &secret).unwrap();
    assert_eq!(print(&ours.unwrap(b"tenant-a", &wrap).unwrap()), print(&secret));
    assert_ne!(wrap, ours.wrap(b"tenant-a", &secret).unwrap());
    assert_eq!(denial(ours.unwrap(b"tenant-b", &wrap)), Denial::NotAuthentic);
    assert_eq!(denial(theirs.unwrap(b"tenant-a", &wrap)), Denial::NotAuthentic);
    for place in 0..wrap.len() {
        let mut altered = wrap.clone();
        altered[place] ^= 0x10;
        assert_eq!(denial(ours.unwrap(b"tenant-a", &altered)), Denial::NotAuthentic, "{place}");
    }
    for length in [0, 1, 5, wrap.len() - 1] {
        assert_eq!(denial(ours.unwrap(b"tenant-a", &wrap[..length])), Denial::NotAuthentic, "{length}");
    }
    // And the token is as well as before.
    assert_eq!(print(&ours.unwrap(b"tenant-a", &wrap).unwrap()), print(&secret));
}

#[test]
fn a_key_is_made_once_and_is_gone_when_it_is_destroyed() {
    let Some(hsm) = Hsm::alone("a_key_is_made_once_and_is_gone_when_it_is_destroyed") else { return };
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
    // A new one of that name is another key.
    key.create().unwrap();
    assert_eq!(denial(key.unwrap(b"c", &wrap)), Denial::NotAuthentic);
}

#[test]
fn old_versions_open_until_they_are_retired() {
    let Some(hsm) = Hsm::alone("old_versions_open_until_they_are_retired") else { return };
    let (key, secret) = (hsm.key("tenant-1"), secret());
    let old = key.wrap(b"c", &secret).unwrap();
    key.new_version().unwrap();
    let facts = key.facts().unwrap();
    assert_eq!((facts.version, facts.oldest), (2, 1));
    assert_eq!(print(&key.unwrap(b"c", &old).unwrap()), print(&secret));
    let new = key.rewrap(b"c", &old).unwrap();
    key.retire_versions().unwrap();
    let facts = key.facts().unwrap();
    assert_eq!((facts.version, facts.oldest), (2, 2));
    assert_eq!(denial(key.unwrap(b"c", &old)), Denial::Missing);
    assert_eq!(print(&key.unwrap(b"c", &new).unwrap()), print(&secret));
    key.new_version().unwrap();
    assert!(key.destroy().unwrap().destroyed);
    assert_eq!(denial(key.unwrap(b"c", &new)), Denial::Missing);
}

#[test]
fn keys_of_the_keepers_are_taken_if_nobody_can_copy_or_confuse_them() {
    let Some(hsm) = Hsm::alone("keys_of_the_keepers_are_taken_if_nobody_can_copy_or_confuse_them") else { return };
    let (provider, keeper) = (hsm.provider(), hsm.keeper());
    make(&keeper, "sound", false, 32);
    make(&keeper, "open", true, 32);
    make(&keeper, "small", false, 16);
    make(&keeper, "twice", false, 32);
    make(&keeper, "twice", false, 32);
    let sound = provider.clone().key("sound").unwrap();
    let wrap = sound.wrap(b"c", &secret()).unwrap();
    assert_eq!(sound.facts().unwrap().version, 0);
    sound.unwrap(b"c", &wrap).unwrap();
    for (name, part) in [("open", "not be extractable"), ("small", "256 bits"), ("twice", "several keys")] {
        let error = provider.clone().key(name).unwrap().wrap(b"c", &secret()).err().unwrap();
        assert!(matches!(error, Error::Provider { .. }) && error.to_string().contains(part), "{error}");
    }
    // Two of one name: which one is meant nobody says, so none is destroyed.
    let receipt = provider.key("twice").unwrap().destroy().unwrap();
    assert!(!receipt.destroyed, "{receipt:?}");
    assert_eq!(keeper.find_objects(&[Attribute::Label("twice".into())]).unwrap().len(), 2);
}

#[test]
fn a_token_that_is_away_is_an_outage_and_comes_back() {
    let Some(hsm) = Hsm::alone("a_token_that_is_away_is_an_outage_and_comes_back") else { return };
    let (key, tokens) = (hsm.key("tenant-1"), hsm.tokens());
    let away = tokens.with_file_name("away");
    let wrap = key.wrap(b"c", &secret()).unwrap();
    std::fs::rename(&tokens, &away).unwrap();
    for _ in 0..2 {
        let said = [
            outage(key.unwrap(b"c", &wrap)),
            outage(key.wrap(b"c", &secret())),
            outage(key.facts().map(drop)),
            outage(key.destroy()),
            outage(key.create()),
        ];
        assert!(said.iter().all(|said| !said.contains(&hsm.pin)), "{said:?}");
        // Nor is a new provider told otherwise, in a process that has the library.
        outage(hsm.provider().key("tenant-1").unwrap().unwrap(b"c", &wrap));
    }
    std::fs::rename(&away, &tokens).unwrap();
    key.unwrap(b"c", &wrap).unwrap();
}

#[test]
fn sessions_that_somebody_ends_are_opened_again() {
    let Some(hsm) = Hsm::alone("sessions_that_somebody_ends_are_opened_again") else { return };
    let key = hsm.key("tenant-1");
    let wrap = key.wrap(b"c", &secret()).unwrap();
    // One login is everybody's.
    hsm.keeper().logout().unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    // A library that is ended has forgotten everything.
    Pkcs11::new(&hsm.module).unwrap().finalize().unwrap();
    key.unwrap(b"c", &wrap).unwrap();
    key.new_version().unwrap();
}

#[test]
fn a_wrong_pin_is_refused_and_not_tried_again() {
    let Some(hsm) = Hsm::alone("a_wrong_pin_is_refused_and_not_tried_again") else { return };
    let tokens = hsm.tokens();
    let key = hsm.provider_with("9999", false).key("ringfence").unwrap();
    assert_eq!(denial(key.facts()), Denial::Forbidden);
    let text = key.facts().unwrap_err().to_string();
    assert!(!text.contains("9999"), "{text}");
    // Nobody is asked: a token that is away would be an outage.
    std::fs::rename(&tokens, tokens.with_file_name("away")).unwrap();
    assert_eq!(denial(key.wrap(b"c", &secret())), Denial::Forbidden);
    let receipt = key.destroy().unwrap();
    assert!(!receipt.destroyed && receipt.said.contains("forbidden"), "{receipt:?}");
}

#[test]
fn threads_share_a_token() {
    let Some(hsm) = Hsm::alone("threads_share_a_token") else { return };
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
                        assert_eq!(print(&key.unwrap(context.as_bytes(), wrap).unwrap()), print(&secret));
                        assert_eq!(denial(key.unwrap(b"other", wrap)), Denial::NotAuthentic);
                    }
                }
                assert!(own.destroy().unwrap().destroyed);
            });
        }
    });
}

#[test]
fn the_token_is_the_one_that_was_named() {
    let Some(hsm) = Hsm::alone("the_token_is_the_one_that_was_named") else { return };
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
