//! The numbers of places: random to everybody else, and to this server they say whose the place is.
//!
//! Where a tenant's namespaces lie stands in its directory alone. When that does not open any more, because its key is
//! gone or its bytes are damaged, an erasure must still find them, and nothing may tell others which places are one
//! tenant's. So half of a number is random, and the other half is a MAC of it and the tenant's life under the control
//! place's own MAC key, which no rotation changes.

use kernel::{Entropy, Incarnation, NamespaceUuid};
use vault::Home;

/// The random half: 62 bits beside the variant.
const RANDOM: usize = 8;

/// A fresh number. Two of one tenant are the same once in 2^62 pairs.
pub(crate) fn fresh(control: &Home, incarnation: Incarnation, entropy: &dyn Entropy) -> NamespaceUuid {
    let mut bytes = *NamespaceUuid::random(entropy).as_bytes();
    let marked = mark(control, incarnation, &bytes[RANDOM..]);
    bytes[..RANDOM].copy_from_slice(&marked);
    NamespaceUuid::from_bytes(bytes)
}

/// Whether [`fresh`] made it for this life. It says so of another's once in 2^60 numbers.
pub(crate) fn is_of(control: &Home, incarnation: Incarnation, number: NamespaceUuid) -> bool {
    let (marked, random) = number.as_bytes().split_at(RANDOM);
    // Nothing is let in by it, so there is no secret to guess here.
    marked == mark(control, incarnation, random)
}

/// 60 bits of the MAC and the version of a random UUID.
fn mark(control: &Home, incarnation: Incarnation, random: &[u8]) -> [u8; RANDOM] {
    let mac = control.mac(b"place number", &[incarnation.as_bytes(), random]);
    let mut mark = [0; RANDOM];
    mark.copy_from_slice(&mac[..RANDOM]);
    mark[VERSION_AT] = (mark[VERSION_AT] & 0x0f) | 0x40;
    mark
}

/// The byte whose upper half is a UUID's version.
const VERSION_AT: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::SeededEntropy;
    use vault::LocalProvider;

    #[test]
    fn a_number_says_whose_it_is_to_its_server_only() {
        let entropy = std::sync::Arc::new(SeededEntropy::new(4));
        let provider = LocalProvider::from_env_value(&"0c".repeat(32), entropy.clone()).unwrap();
        let key = vault::Providers::from(provider).key("local", "root").unwrap();
        let control = || Home::create_control(&*key, &*entropy).unwrap().0;
        let (ours, another) = (control(), control());
        let lives: Vec<_> = (0..8).map(|_| Incarnation::random(&*entropy)).collect();
        for life in &lives {
            for _ in 0..64 {
                let number = fresh(&ours, *life, &*entropy);
                let said: Vec<_> = lives.iter().filter(|other| is_of(&ours, **other, number)).collect();
                assert_eq!(said, [life]);
                assert!(!is_of(&another, *life, number), "the key of another server tells nothing");
                assert_eq!(NamespaceUuid::parse(&number.to_string()).unwrap(), number);
                let (version, variant) = (number.as_bytes()[6] >> 4, number.as_bytes()[8] >> 6);
                assert_eq!((version, variant), (4, 2), "it looks like any random one");
            }
            assert!(!is_of(&ours, *life, NamespaceUuid::random(&*entropy)));
        }
    }
}
