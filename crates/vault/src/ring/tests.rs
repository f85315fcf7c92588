use super::*;
use crate::{Denial, LocalProvider};
use kernel::{Code, SeededEntropy};

fn provider() -> LocalProvider {
    LocalProvider::from_env_value(&"ab".repeat(32), Arc::new(SeededEntropy::new(1))).unwrap()
}

const LIFE: Incarnation = Incarnation::from_bytes([1; 16]);

fn epochs(numbers: &[u32]) -> Vec<KeyEpoch> {
    numbers.iter().map(|n| KeyEpoch(*n)).collect()
}

#[test]
fn a_ring_grows_by_rotation_and_shrinks_by_destruction() {
    let (provider, entropy) = (provider(), SeededEntropy::new(2));
    let (first, one) = TenantKeys::create(&provider, LIFE, &entropy).unwrap();
    assert_eq!((first.current(), first.epochs()), (KeyEpoch(1), epochs(&[1])));
    let (second, two) = first.rotated(&provider, &entropy).unwrap();
    assert_eq!((second.current(), second.epochs()), (KeyEpoch(2), epochs(&[1, 2])));
    assert_eq!((one.epoch, two.epoch), (KeyEpoch(1), KeyEpoch(2)));

    // The order in which they are stored does not matter.
    let opened = TenantKeys::open(&provider, LIFE, &[two.clone(), one.clone()]).unwrap();
    assert_eq!((opened.current(), opened.epochs()), (KeyEpoch(2), epochs(&[1, 2])));
    assert_eq!(opened.key(KeyEpoch(1)).unwrap().bytes(), first.key(KeyEpoch(1)).unwrap().bytes());
    assert_ne!(opened.key(KeyEpoch(1)).unwrap().bytes(), opened.key(KeyEpoch(2)).unwrap().bytes());

    let left = opened.without(KeyEpoch(1));
    assert_eq!(left.epochs(), epochs(&[2]));
    assert!(matches!(left.key(KeyEpoch(1)), Err(Error::NoEpoch(KeyEpoch(1)))));
    let reopened = TenantKeys::open(&provider, LIFE, &[two]).unwrap();
    assert_eq!((reopened.current(), reopened.epochs()), (KeyEpoch(2), epochs(&[2])));
    assert_eq!(reopened.rotated(&provider, &entropy).unwrap().0.current(), KeyEpoch(3), "epochs are not reused");
}

#[test]
fn a_wrap_is_bound_to_its_incarnation_and_epoch() {
    let (provider, entropy) = (provider(), SeededEntropy::new(3));
    let (_, wrapped) = TenantKeys::create(&provider, LIFE, &entropy).unwrap();
    let denied = |life, wrapped: WrappedKey| matches!(TenantKeys::open(&provider, life, &[wrapped]), Err(Error::Denied { provider, why: Denial::NotAuthentic }) if provider == "local");
    assert!(denied(Incarnation::from_bytes([2; 16]), wrapped.clone()));
    assert!(denied(LIFE, WrappedKey { epoch: KeyEpoch(2), ..wrapped.clone() }));
    for at in 0..wrapped.bytes.len() {
        let mut bytes = wrapped.bytes.clone();
        bytes[at] ^= 0x80;
        assert!(denied(LIFE, WrappedKey { bytes, ..wrapped }), "byte {at}");
        assert!(denied(LIFE, WrappedKey { bytes: wrapped.bytes[..at].to_vec(), ..wrapped }), "cut to {at}");
    }
}

#[test]
fn an_empty_list_is_not_a_ring() {
    assert!(matches!(TenantKeys::open(&provider(), LIFE, &[]), Err(Error::NoEpoch(_))));
}

#[test]
fn errors_map_to_the_callers_codes() {
    let code = |error: Error| kernel::Error::from(error).code;
    assert_eq!(code(Error::Denied { provider: "local".into(), why: Denial::Disabled }), Code::KeyUnavailable);
    assert_eq!(code(Error::Unavailable { provider: "kms".into(), reason: "timeout".into() }), Code::KeyUnavailable);
    assert_eq!(code(Error::NoEpoch(KeyEpoch(3))), Code::KeyUnavailable);
    assert_eq!(code(Error::corrupt("segment", "x", "y")), Code::Internal);
    assert_eq!(code(Error::Mismatch("x")), Code::Internal);
    assert_eq!(code(Error::TooLarge { what: "x", bytes: 2, max: 1 }), Code::TooLarge);
}

#[test]
fn debug_shows_no_bytes() {
    let wrapped = WrappedKey { epoch: KeyEpoch(4), bytes: vec![222; 61] };
    assert_eq!(format!("{wrapped:?}"), "WrappedKey(epoch 4, 61 bytes)");
}

#[test]
fn keys_are_neither_cloneable_nor_printable() {
    // The calls below become ambiguous, and do not compile, as soon as one of these traits is implemented.
    trait Unless<Marker> {
        fn some() {}
    }
    struct Cloned;
    struct Shown;
    impl<T: ?Sized> Unless<()> for T {}
    impl<T: Clone> Unless<Cloned> for T {}
    impl<T: fmt::Debug> Unless<Shown> for T {}
    <SecretKey as Unless<_>>::some();
    <TenantKeys as Unless<_>>::some();
    fn zeroed<T: zeroize::ZeroizeOnDrop>() {}
    zeroed::<SecretKey>();
}
