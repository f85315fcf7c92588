//! Ids of keyspaces. They look random to everyone else, and tell this server which tenant owns a keyspace.
//!
//! Only the tenant's directory records where its namespaces lie. If the directory does not open any more, because its
//! key is gone or its bytes are damaged, an erasure must still find the namespaces, yet nothing may reveal to others
//! which keyspaces belong to one tenant. So half of an id is random, and the other half is a MAC of that half and the
//! tenant's incarnation under the control keyspace's own MAC key, which no rotation changes.

use kernel::{Entropy, Incarnation, NamespaceUuid};
use vault::Keyspace;

/// Bytes of the random half: 62 bits plus the variant.
const RANDOM: usize = 8;

/// Generates an id. Two ids of one tenant collide once in 2^62 pairs.
pub(crate) fn generate(control: &Keyspace, incarnation: Incarnation, entropy: &dyn Entropy) -> NamespaceUuid {
    let mut bytes = *NamespaceUuid::random(entropy).as_bytes();
    let tag = tag(control, incarnation, &bytes[RANDOM..]);
    bytes[..RANDOM].copy_from_slice(&tag);
    NamespaceUuid::from_bytes(bytes)
}

/// Whether [`generate`] made this id for this incarnation. A foreign id passes once in 2^60.
pub(crate) fn belongs_to(control: &Keyspace, incarnation: Incarnation, id: NamespaceUuid) -> bool {
    let (stored_tag, random) = id.as_bytes().split_at(RANDOM);
    // The result grants no access, so there is no secret to guess, and the comparison need not take constant time.
    stored_tag == tag(control, incarnation, random)
}

/// Computes 60 bits of the MAC, with the version of a random UUID.
fn tag(control: &Keyspace, incarnation: Incarnation, random: &[u8]) -> [u8; RANDOM] {
    let mac = control.mac(b"place number", &[incarnation.as_bytes(), random]);
    let mut tag = [0; RANDOM];
    tag.copy_from_slice(&mac[..RANDOM]);
    tag[VERSION_AT] = (tag[VERSION_AT] & 0x0f) | 0x40;
    tag
}

/// Index of the byte whose upper half is the version of a UUID.
const VERSION_AT: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::SeededEntropy;
    use vault::LocalProvider;

    #[test]
    fn an_id_reveals_its_owner_only_to_its_own_server() {
        let entropy = std::sync::Arc::new(SeededEntropy::new(4));
        let provider = LocalProvider::from_env_value(&"0c".repeat(32), entropy.clone()).unwrap();
        let key = vault::Providers::from(provider).key("local", "root").unwrap();
        let control = || Keyspace::create_control(&*key, &*entropy).unwrap().0;
        let (ours, another) = (control(), control());
        let incarnations: Vec<_> = (0..8).map(|_| Incarnation::random(&*entropy)).collect();
        for incarnation in &incarnations {
            for _ in 0..64 {
                let id = generate(&ours, *incarnation, &*entropy);
                let owners: Vec<_> = incarnations.iter().filter(|other| belongs_to(&ours, **other, id)).collect();
                assert_eq!(owners, [incarnation]);
                assert!(!belongs_to(&another, *incarnation, id), "the key of another server reveals nothing");
                assert_eq!(NamespaceUuid::parse(&id.to_string()).unwrap(), id);
                let (version, variant) = (id.as_bytes()[6] >> 4, id.as_bytes()[8] >> 6);
                assert_eq!((version, variant), (4, 2), "it looks like any random one");
            }
            assert!(!belongs_to(&ours, *incarnation, NamespaceUuid::random(&*entropy)));
        }
    }
}
