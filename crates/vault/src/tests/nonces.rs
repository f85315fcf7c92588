//! No key meets a nonce twice, over whole lives; and the watch that says so would see it.

use super::life;
use crate::{
    FrameSealer, Home, LocalProvider, ObjectKind, PlaceKind, SecretKey, TenantKeys,
    crypto::watch,
    floe::{self, Params},
    home::tests::World,
};
use kernel::{Entropy, LogEpoch, NamespaceUuid, ObjectUuid, SeededEntropy, limits};
use std::sync::Arc;

/// Seals one of everything that a place seals, many frames among it; how many seals that is.
fn work(home: &Home, entropy: &SeededEntropy, frames: u64) -> usize {
    let mut seals = 0;
    let object = ObjectUuid::random(entropy);
    // The very same object again and again, each time under another key: a wrap and its segments.
    for (pages, kind) in [(0, ObjectKind::Checkpoint), (1, ObjectKind::Segment), (5, ObjectKind::Segment)] {
        let plain = vec![1; pages * limits::PAGE_BYTES];
        home.seal(kind, object, &plain, entropy).unwrap();
        home.seal_whole(kind, object, &plain, entropy).unwrap();
        home.seal_split(kind, object, &plain, plain.len() / 5, entropy).unwrap();
        seals += 2 + 2 + 2 + (plain.len() - plain.len() / 5).div_ceil(limits::PAGE_BYTES).max(1);
    }
    home.create_signer(entropy).unwrap();
    // A log of each epoch begins at the same number and may hold the same entries.
    for epoch in 1..=2 {
        let (_, mut sealer) = home.start_log(object, LogEpoch(epoch), entropy).unwrap();
        for seq in 1..=frames {
            sealer.seal(seq, b"the same body", entropy).unwrap();
        }
        seals += 1 + frames as usize;
    }
    seals + 1
}

#[test]
fn no_key_meets_a_nonce_twice_in_whole_lives() {
    let world = World::new();
    let (entropy, provider) = (&world.entropy, &world.provider);
    let mut expected = 0;
    let (seals, pairs) = watch::during(|| {
        let (control, _) = Home::create_control(provider, entropy).unwrap();
        expected += 2 + work(&control, entropy, 1_000);
        for number in 1..=6 {
            // A tenant that is made again has another life and the same names.
            let (mut keys, _) = TenantKeys::create(provider, life(number), entropy).unwrap();
            control.rewrap_control(provider, entropy).unwrap();
            expected += 1 + 2 + work(&control, entropy, 10);
            for kind in [PlaceKind::Directory, PlaceKind::Audit, PlaceKind::Namespace, PlaceKind::Namespace] {
                let (home, _) = Home::create_place(&keys, kind, NamespaceUuid::random(entropy), entropy).unwrap();
                expected += 1 + work(&home, entropy, 500);
                for _ in 0..3 {
                    // A rotation, its rewrap twice (a crash comes between), a renewal of the place's key.
                    keys = keys.rotated(provider, entropy).unwrap().0;
                    home.rewrap(&keys, entropy).unwrap();
                    home.rewrap(&keys, entropy).unwrap();
                    // The first wrap is lost with whoever made it.
                    home.with_next_key(&keys, entropy).unwrap();
                    home.refresh(&keys, &home.with_next_key(&keys, entropy).unwrap()).unwrap();
                    expected += 5 + work(&home, entropy, 200);
                    home.refresh(&keys, &home.without_old_keys(&keys, entropy).unwrap()).unwrap();
                    expected += 1 + work(&home, entropy, 50);
                }
            }
        }
        // One message of many segments, its keys changing on the way.
        let params = Params { segment_len: 40, rotation_bits: 3 };
        floe::seal(&params, &[1; 32], b"", &vec![0; 8 * 5_000], entropy);
        expected += 5_000;
    });
    assert_eq!(seals, expected, "everything that seals is watched");
    assert!(seals > 50_000, "{seals}");
    assert_eq!(pairs, seals);
}

/// Random bytes that are the same each time.
struct Stuck;

impl Entropy for Stuck {
    fn fill(&self, out: &mut [u8]) {
        out.fill(4);
    }
}

/// Each way of sealing, twice with what a broken generator draws: the watch counts one pair too few.
#[test]
fn a_nonce_that_comes_twice_is_seen_in_every_construction() {
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(Stuck)).unwrap();
    let (keys, _) = TenantKeys::create(&provider, life(1), &SeededEntropy::new(1)).unwrap();
    let place = NamespaceUuid::from_bytes([1; 16]);
    let home = Home::create_place(&keys, PlaceKind::Namespace, place, &SeededEntropy::new(2)).unwrap().0;
    let object = ObjectUuid::from_bytes([1; 16]);
    let repeats = |work: &mut dyn FnMut()| {
        let (seals, pairs) = watch::during(|| {
            work();
            work();
        });
        (seals, seals - pairs)
    };
    assert_eq!(repeats(&mut || drop(TenantKeys::create(&provider, life(1), &Stuck).unwrap())), (2, 1));
    assert_eq!(repeats(&mut || drop(home.rewrap(&keys, &Stuck).unwrap())), (2, 1));
    assert_eq!(repeats(&mut || drop(home.create_signer(&Stuck).unwrap())), (2, 1));
    assert_eq!(repeats(&mut || drop(home.seal(ObjectKind::Segment, object, b"x", &Stuck).unwrap())), (4, 2));
    assert_eq!(repeats(&mut || drop(home.seal_split(ObjectKind::Segment, object, b"xy", 1, &Stuck).unwrap())), (6, 3));
    assert_eq!(repeats(&mut || drop(home.start_log(object, LogEpoch(1), &Stuck).unwrap())), (2, 1));
    let log = [1, 2].map(|n| SecretKey::from_slice(&[n; 32]).unwrap());
    let mut sealer = FrameSealer::new(Vec::new(), object, log, b"");
    assert_eq!(repeats(&mut || drop(sealer.seal(1, b"x", &Stuck).unwrap())), (2, 1));
    let message = || drop(floe::seal(&Params { segment_len: 40, rotation_bits: 1 }, &[1; 32], b"", &[0; 32], &Stuck));
    assert_eq!(watch::during(message), (4, 2), "two segments a key");
}
