use super::*;

#[test]
fn outages_and_denials_are_distinguished() {
    use Denial::{Forbidden, Missing, NotAuthentic};
    for (rv, means) in [
        (RvError::ObjectHandleInvalid, TokenErrorClass::Denied(Missing)),
        (RvError::KeyHandleInvalid, TokenErrorClass::Denied(Missing)),
        (RvError::EncryptedDataInvalid, TokenErrorClass::Denied(NotAuthentic)),
        (RvError::PinIncorrect, TokenErrorClass::Denied(Forbidden)),
        (RvError::PinLocked, TokenErrorClass::Denied(Forbidden)),
        (RvError::UserNotLoggedIn, TokenErrorClass::Denied(Forbidden)),
        (RvError::KeyFunctionNotPermitted, TokenErrorClass::Denied(Forbidden)),
        (RvError::MechanismInvalid, TokenErrorClass::Unfit),
        (RvError::DeviceRemoved, TokenErrorClass::Outage),
        (RvError::TokenNotPresent, TokenErrorClass::Outage),
        (RvError::DeviceError, TokenErrorClass::Outage),
        (RvError::GeneralError, TokenErrorClass::Outage),
        (RvError::SessionCount, TokenErrorClass::Outage),
        (RvError::HostMemory, TokenErrorClass::Outage),
    ] {
        assert_eq!(classify(rv), means, "{rv:?}");
    }
}

#[test]
fn only_ids_of_this_server_hold_versions() {
    assert_eq!(version_of(&id_of(7)), 7);
    assert_eq!(version_of(&id_of(u32::MAX)), u32::MAX);
    for foreign in
        [&b""[..], b"\x01", b"ringfence", b"ringfence\0\0\0", b"ringfence\0\0\0\x01\0", b"ringfencf\0\0\0\x01"]
    {
        assert_eq!(version_of(foreign), 0, "{foreign:?}");
    }
}

#[test]
fn a_wrap_has_exactly_one_form() {
    let wrap = [&[FORMAT_VERSION, 0, 0, 0, 3][..], &[9; NONCE + KEY + TAG]].concat();
    let (version, sealed) = parts(&wrap).unwrap();
    assert_eq!((version, sealed.len()), (3, NONCE + KEY + TAG));
    for length in 0..wrap.len() {
        assert!(parts(&wrap[..length]).is_none(), "{length}");
    }
    assert!(parts(&[&wrap[..], &[0]].concat()).is_none());
    assert!(parts(&[&[FORMAT_VERSION + 1], &wrap[1..]].concat()).is_none());
}

#[test]
fn a_module_that_does_not_load_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let absent = folder.path().join("absent.so");
    for (module, part) in [
        (PathBuf::from("libsofthsm2.so"), "absolute path"),
        (absent, "its module cannot be read"),
        (text, "its module is not a PKCS #11 library"),
    ] {
        let pin = Zeroizing::new("hunter2".to_owned());
        let (name, token, key) = ("hsm".to_owned(), "t".to_owned(), "k".to_owned());
        let config = Pkcs11Config { name, module, token, pin, key, key_per_tenant: false };
        let error = Pkcs11Provider::new(config, Arc::new(kernel::OsEntropy)).err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
    }
}
