//! No key uses a nonce twice over whole tenant lifetimes; and the nonce log that checks this detects a repetition.

use super::incarnation_of;
use crate::{
    FrameSealer, Keyspace, KeyspaceKind, LocalProvider, ObjectKind, SecretKey, TenantKeys,
    crypto::nonce_log,
    floe::{self, Params},
    keyspace::tests::VaultFixture,
};
use kernel::{Entropy, LogEpoch, NamespaceUuid, ObjectUuid, SeededEntropy, limits};
use std::sync::Arc;

/// Seals one of everything that a keyspace seals, with many frames, and returns the number of seals.
fn seal_everything(keyspace: &Keyspace, entropy: &SeededEntropy, frames: u64) -> usize {
    let mut seals = 0;
    let object = ObjectUuid::random(entropy);
    // The same object repeatedly, each time under another key: a wrap and its segments.
    for (pages, kind) in [(0, ObjectKind::Checkpoint), (1, ObjectKind::Segment), (5, ObjectKind::Segment)] {
        let plain = vec![1; pages * limits::PAGE_BYTES];
        keyspace.seal(kind, object, &plain, entropy).unwrap();
        keyspace.seal_whole(kind, object, &plain, entropy).unwrap();
        keyspace.seal_split(kind, object, &plain, plain.len() / 5, entropy).unwrap();
        seals += 2 + 2 + 2 + (plain.len() - plain.len() / 5).div_ceil(limits::PAGE_BYTES).max(1);
    }
    keyspace.create_signer(entropy).unwrap();
    // Logs of different epochs start at the same number and may hold the same entries.
    for epoch in 1..=2 {
        let (_, mut sealer) = keyspace.start_log(object, LogEpoch(epoch), entropy).unwrap();
        for seq in 1..=frames {
            sealer.seal(seq, b"the same body", entropy).unwrap();
        }
        seals += 1 + frames as usize;
    }
    seals + 1
}

#[test]
fn no_key_uses_a_nonce_twice_over_whole_lifetimes() {
    let fixture = VaultFixture::new();
    let (entropy, provider) = (&fixture.entropy, &fixture.provider);
    let mut expected = 0;
    let (seals, pairs) = nonce_log::count_nonces(|| {
        let (control, _) = Keyspace::create_control(provider, entropy).unwrap();
        expected += 2 + seal_everything(&control, entropy, 1_000);
        for number in 1..=6 {
            // A recreated tenant has another incarnation and the same names.
            let (mut keys, _) = TenantKeys::create(provider, incarnation_of(number), entropy).unwrap();
            control.rewrap_control(provider, entropy).unwrap();
            expected += 1 + 2 + seal_everything(&control, entropy, 10);
            for kind in [KeyspaceKind::Directory, KeyspaceKind::Audit, KeyspaceKind::Namespace, KeyspaceKind::Namespace]
            {
                let (keyspace, _) = Keyspace::create(&keys, kind, NamespaceUuid::random(entropy), entropy).unwrap();
                expected += 1 + seal_everything(&keyspace, entropy, 500);
                for _ in 0..3 {
                    // A rotation, its rewrap twice (after a crash in between), and a rotation of the keyspace key.
                    keys = keys.rotated(provider, entropy).unwrap().0;
                    keyspace.rewrap(&keys, entropy).unwrap();
                    keyspace.rewrap(&keys, entropy).unwrap();
                    // The first wrap is lost in a crash.
                    keyspace.with_next_key(&keys, entropy).unwrap();
                    keyspace.install_keys(&keys, &keyspace.with_next_key(&keys, entropy).unwrap()).unwrap();
                    expected += 5 + seal_everything(&keyspace, entropy, 200);
                    keyspace.install_keys(&keys, &keyspace.without_old_keys(&keys, entropy).unwrap()).unwrap();
                    expected += 1 + seal_everything(&keyspace, entropy, 50);
                }
            }
        }
        // One message of many segments, with several key rotations.
        let params = Params { segment_len: 40, rotation_bits: 3 };
        floe::seal(&params, &[1; 32], b"", &vec![0; 8 * 5_000], entropy);
        expected += 5_000;
    });
    assert_eq!(seals, expected, "every seal is logged");
    assert!(seals > 50_000, "{seals}");
    assert_eq!(pairs, seals);
}

/// Broken entropy that always returns the same bytes.
struct ConstantEntropy;

impl Entropy for ConstantEntropy {
    fn fill(&self, out: &mut [u8]) {
        out.fill(4);
    }
}

/// Each construction, twice with a broken generator: the log counts one pair too few.
#[test]
fn a_repeated_nonce_is_detected_in_every_construction() {
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(ConstantEntropy)).unwrap();
    let (keys, _) = TenantKeys::create(&provider, incarnation_of(1), &SeededEntropy::new(1)).unwrap();
    let keyspace_id = NamespaceUuid::from_bytes([1; 16]);
    let keyspace = Keyspace::create(&keys, KeyspaceKind::Namespace, keyspace_id, &SeededEntropy::new(2)).unwrap().0;
    let object = ObjectUuid::from_bytes([1; 16]);
    let repeats = |seal_everything: &mut dyn FnMut()| {
        let (seals, pairs) = nonce_log::count_nonces(|| {
            seal_everything();
            seal_everything();
        });
        (seals, seals - pairs)
    };
    assert_eq!(
        repeats(&mut || drop(TenantKeys::create(&provider, incarnation_of(1), &ConstantEntropy).unwrap())),
        (2, 1)
    );
    assert_eq!(repeats(&mut || drop(keyspace.rewrap(&keys, &ConstantEntropy).unwrap())), (2, 1));
    assert_eq!(repeats(&mut || drop(keyspace.create_signer(&ConstantEntropy).unwrap())), (2, 1));
    assert_eq!(
        repeats(&mut || drop(keyspace.seal(ObjectKind::Segment, object, b"x", &ConstantEntropy).unwrap())),
        (4, 2)
    );
    assert_eq!(
        repeats(&mut || drop(keyspace.seal_split(ObjectKind::Segment, object, b"xy", 1, &ConstantEntropy).unwrap())),
        (6, 3)
    );
    assert_eq!(repeats(&mut || drop(keyspace.start_log(object, LogEpoch(1), &ConstantEntropy).unwrap())), (2, 1));
    let log = [1, 2].map(|n| SecretKey::from_slice(&[n; 32]).unwrap());
    let mut sealer = FrameSealer::new(Vec::new(), object, log, b"");
    assert_eq!(repeats(&mut || drop(sealer.seal(1, b"x", &ConstantEntropy).unwrap())), (2, 1));
    let message =
        || drop(floe::seal(&Params { segment_len: 40, rotation_bits: 1 }, &[1; 32], b"", &[0; 32], &ConstantEntropy));
    assert_eq!(nonce_log::count_nonces(message), (4, 2), "two segments per key");
}
