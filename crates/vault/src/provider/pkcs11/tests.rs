use super::*;

#[test]
fn an_outage_and_a_no_are_told_apart() {
    use Denial::{Forbidden, Missing, NotAuthentic};
    for (rv, means) in [
        (RvError::ObjectHandleInvalid, Meaning::Denied(Missing)),
        (RvError::KeyHandleInvalid, Meaning::Denied(Missing)),
        (RvError::EncryptedDataInvalid, Meaning::Denied(NotAuthentic)),
        (RvError::PinIncorrect, Meaning::Denied(Forbidden)),
        (RvError::PinLocked, Meaning::Denied(Forbidden)),
        (RvError::UserNotLoggedIn, Meaning::Denied(Forbidden)),
        (RvError::KeyFunctionNotPermitted, Meaning::Denied(Forbidden)),
        (RvError::MechanismInvalid, Meaning::Unfit),
        (RvError::DeviceRemoved, Meaning::Outage),
        (RvError::TokenNotPresent, Meaning::Outage),
        (RvError::DeviceError, Meaning::Outage),
        (RvError::GeneralError, Meaning::Outage),
        (RvError::SessionCount, Meaning::Outage),
        (RvError::HostMemory, Meaning::Outage),
    ] {
        assert_eq!(meaning(rv), means, "{rv:?}");
    }
}

#[test]
fn versions_stand_in_ids_of_ours_and_only_there() {
    assert_eq!(version_of(&id_of(7)), 7);
    assert_eq!(version_of(&id_of(u32::MAX)), u32::MAX);
    for foreign in
        [&b""[..], b"\x01", b"ringfence", b"ringfence\0\0\0", b"ringfence\0\0\0\x01\0", b"ringfencf\0\0\0\x01"]
    {
        assert_eq!(version_of(foreign), 0, "{foreign:?}");
    }
}

#[test]
fn a_wrap_has_one_form() {
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
fn a_module_that_cannot_be_loaded_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let absent = folder.path().join("absent.so");
    for (module, part) in [
        (PathBuf::from("libsofthsm2.so"), "absolute path"),
        (absent, "its module cannot be read"),
        (text, "its module is no PKCS #11 library"),
    ] {
        let pin = Zeroizing::new("hunter2".to_owned());
        let (name, token, key) = ("hsm".to_owned(), "t".to_owned(), "k".to_owned());
        let config = Pkcs11Config { name, module, token, pin, key, key_per_tenant: false };
        let error = Pkcs11Provider::new(config, Arc::new(kernel::OsEntropy)).err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
    }
}
