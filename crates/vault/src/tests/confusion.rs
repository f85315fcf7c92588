//! Sealed bytes stand for what they are and for nothing else: each construction opens unchanged, and is refused when one
//! thing about it is another. What single modules can see is tested there.

use super::{Replay, life, object, place};
use crate::{
    Error, FORMAT_VERSION, FrameOpener, FrameSealer, Home, LOG_PROLOGUE_BYTES, ObjectKind, PlaceKind, Result, RootKey,
    SecretKey, TenantKeys, WrappedKey,
    crypto::{HmacKey, sha256},
    home::tests::{Both, World},
    identity::{self, Context, Wrap},
    wrap,
};
use kernel::{KeyEpoch, LogEpoch, ObjectUuid, ReadAt, SeededEntropy};
use std::{collections::HashSet, sync::Arc};

const WRAPS: [Wrap; 6] = [Wrap::Root, Wrap::Tenant, Wrap::Place, Wrap::Object, Wrap::Log, Wrap::Signer];
const PLACES: [PlaceKind; 4] = [PlaceKind::Control, PlaceKind::Directory, PlaceKind::Namespace, PlaceKind::Audit];
const OBJECTS: [ObjectKind; 4] =
    [ObjectKind::Segment, ObjectKind::Checkpoint, ObjectKind::AuditChunk, ObjectKind::Control];

/// Every kind of wrap, in a tenant's place and in the control place, as `schemas/sealing.md` has them.
fn contexts() -> Vec<Context> {
    let tenants = |wrap, object, log, keys| Context {
        wrap,
        incarnation: Some(life(1)),
        place: Some((PlaceKind::Namespace, place(2))),
        object,
        epoch: KeyEpoch(4),
        log,
        keys,
    };
    let controls = |wrap, object, log, epoch, keys| Context {
        incarnation: None,
        place: Some((PlaceKind::Control, place(0))),
        epoch: KeyEpoch(epoch),
        ..tenants(wrap, object, log, keys)
    };
    vec![
        controls(Wrap::Root, None, None, 0, None),
        Context { place: None, ..tenants(Wrap::Tenant, None, None, None) },
        tenants(Wrap::Place, None, None, Some(KeyEpoch(6))),
        controls(Wrap::Place, None, None, 0, Some(KeyEpoch(1))),
        tenants(Wrap::Object, Some(object(3)), None, None),
        controls(Wrap::Object, Some(object(3)), None, 1, None),
        tenants(Wrap::Log, Some(object(3)), Some(LogEpoch(5)), None),
        controls(Wrap::Log, Some(object(3)), Some(LogEpoch(5)), 1, None),
        controls(Wrap::Signer, None, None, 1, None),
    ]
}

/// The same but for one field, every field in turn.
fn changed(context: &Context) -> Vec<Context> {
    let here = context.place.unwrap_or((PlaceKind::Namespace, place(2)));
    let mut out: Vec<Context> =
        WRAPS.into_iter().filter(|w| *w != context.wrap).map(|wrap| Context { wrap, ..*context }).collect();
    out.extend([Some(life(9)), None].map(|incarnation| Context { incarnation, ..*context }));
    let places = PLACES.into_iter().map(|kind| Some((kind, here.1))).chain([Some((here.0, place(9))), None]);
    out.extend(places.map(|place| Context { place, ..*context }));
    out.extend([Some(object(9)), None].map(|object| Context { object, ..*context }));
    out.extend([0, 1, 3, 4, 5].map(|epoch| Context { epoch: KeyEpoch(epoch), ..*context }));
    out.extend([Some(LogEpoch(4)), Some(LogEpoch(6)), None].map(|log| Context { log, ..*context }));
    out.extend([Some(KeyEpoch(5)), Some(KeyEpoch(7)), None].map(|keys| Context { keys, ..*context }));
    // Fields that change places.
    if let (Some(of), Some(thing)) = (context.incarnation, context.object) {
        let (incarnation, object) = (life(thing.as_bytes()[0]), object(of.as_bytes()[0]));
        out.push(Context { incarnation: Some(incarnation), object: Some(object), ..*context });
    }
    out.push(Context {
        log: context.keys.map(|k| LogEpoch(k.0)),
        keys: context.log.map(|l| KeyEpoch(l.0)),
        ..*context
    });
    out.into_iter().fold(Vec::new(), |mut all, other| {
        if other != *context && !all.contains(&other) {
            all.push(other);
        }
        all
    })
}

#[test]
fn a_wrap_opens_as_what_it_is_only() {
    let entropy = SeededEntropy::new(1);
    let kek = SecretKey::random(&entropy);
    let contexts = contexts();
    for context in &contexts {
        for count in 1..=3 {
            let keys: Vec<SecretKey> = (0..count).map(|_| SecretKey::random(&entropy)).collect();
            let wrapped = wrap::wrap(&kek, context, &keys.iter().collect::<Vec<_>>(), &entropy);
            let opens =
                |aad: &[u8], wrapped: &[u8]| wrap::open_all(&kek, aad, wrapped).is_some_and(|k| k.len() == count);
            let aad = context.encode();
            assert!(opens(&aad, &wrapped));

            let others = changed(context);
            let encoded: HashSet<Vec<u8>> = others.iter().map(Context::encode).collect();
            assert!(others.len() >= 15 && !encoded.contains(&aad), "{}", context.wrap.name());
            assert_eq!(encoded.len(), others.len(), "each context has its own bytes");
            assert!(!encoded.iter().any(|other| opens(other, &wrapped)), "{}", context.wrap.name());
            let rows = contexts.iter().filter(|other| other.encode() != aad);
            assert!(rows.into_iter().all(|other| !opens(&other.encode(), &wrapped)), "{}", context.wrap.name());
            let mut version = aad.clone();
            version[4] ^= 1;
            assert!(!opens(&version, &wrapped) && !opens(&aad[..aad.len() - 4], &wrapped));
            assert!((0..wrapped.len()).all(|cut| !opens(&aad, &wrapped[..cut])));
            assert!(!opens(&aad, &[&wrapped[..], &[0]].concat()) && !opens(&aad, &[&wrapped[..], &[0; 32]].concat()));
        }
    }
}

/// What somebody says that sealed bytes are.
#[derive(Clone, Copy)]
struct Named {
    kind: ObjectKind,
    object: ObjectUuid,
    /// Of the place key.
    epoch: KeyEpoch,
    log: LogEpoch,
}

type Opens = Box<dyn Fn(&Home, Named) -> bool>;

/// Something that a place made: whether it opens there, as what it is said to be.
struct Made {
    what: &'static str,
    opens: Opens,
    has_kind: bool,
    has_object: bool,
    has_log: bool,
}

/// One of each thing that a place makes, all of one uuid.
fn everything(home: &Home, said: Named, entropy: &SeededEntropy) -> Vec<Made> {
    let Named { kind, object, log, .. } = said;
    let (sealed, key) = home.seal(kind, object, b"some text", entropy).unwrap();
    let (split, split_key) = home.seal_split(kind, object, b"some text", 4, entropy).unwrap();
    let whole = home.seal_whole(kind, object, b"some text", entropy).unwrap();
    let (prologue, mut sealer) = home.start_log(object, log, entropy).unwrap();
    let frame = sealer.seal(1, b"some text", entropy).unwrap();
    let (_, seed) = home.create_signer(entropy).unwrap();
    let under = |key: &WrappedKey, epoch| WrappedKey { epoch, ..key.clone() };
    let object = |what, opens| Made { what, opens, has_kind: true, has_object: true, has_log: false };
    vec![
        object(
            "object",
            Box::new(move |home: &Home, n: Named| {
                home.open_both(n.kind, n.object, &under(&key, n.epoch), &sealed).is_ok()
            }) as Opens,
        ),
        object(
            "object in two parts",
            Box::new(move |home, n| {
                let key = under(&split_key, n.epoch);
                let opened = home.open_split(n.kind, n.object, &key, Arc::new(split.clone()));
                opened.is_ok_and(|(_, paged)| paged.read_at(0, &mut [0; 5]).is_ok())
            }),
        ),
        object(
            "object with its key",
            Box::new(move |home, n| {
                let mut whole = whole.clone();
                whole[5] = n.kind.code();
                whole[6..22].copy_from_slice(n.object.as_bytes());
                whole[22..26].copy_from_slice(&n.epoch.0.to_be_bytes());
                home.open_whole_both(n.kind, n.object, &whole).is_ok()
            }),
        ),
        Made {
            what: "log",
            opens: Box::new(move |home, n| {
                let mut prologue = prologue.clone();
                prologue[5..21].copy_from_slice(n.object.as_bytes());
                prologue[21..25].copy_from_slice(&n.log.0.to_be_bytes());
                prologue[25..29].copy_from_slice(&n.epoch.0.to_be_bytes());
                home.open_log(&prologue).is_ok_and(|(mut opener, _)| opener.open(&frame).unwrap().is_some())
            }),
            has_kind: false,
            has_object: true,
            has_log: true,
        },
        Made {
            what: "signer",
            opens: Box::new(move |home, n| home.signer(&under(&seed, n.epoch)).is_ok()),
            has_kind: false,
            has_object: false,
            has_log: false,
        },
    ]
}

/// The clear bytes say what they are said to be each time, so that the keys and the associated data alone must hold.
#[test]
fn what_a_place_makes_opens_there_and_as_itself_only() {
    let world = World::new();
    let home = world.namespace();
    let renewed = home.with_next_key(&world.keys, &world.entropy).unwrap();
    home.refresh(&world.keys, &renewed).unwrap();
    assert_eq!(home.epochs(), [KeyEpoch(2), KeyEpoch(1)]);
    let control = Home::create_control(&world.provider, &world.entropy).unwrap().0;
    for (home, kind) in [(&home, ObjectKind::Segment), (&control, ObjectKind::Control)] {
        let said = Named { kind, object: object(7), epoch: home.epoch(), log: LogEpoch(5) };
        let mut strangers: Vec<Home> = [Some(life(9)), None, Some(life(1))]
            .into_iter()
            .filter(|other| *other != home.incarnation())
            .map(|other| home.twin(home.kind(), home.uuid(), other))
            .collect();
        strangers.push(home.twin(home.kind(), place(9), home.incarnation()));
        let kinds = PLACES.into_iter().filter(|kind| *kind != home.kind());
        strangers.extend(kinds.map(|kind| home.twin(kind, home.uuid(), home.incarnation())));
        assert_eq!(strangers.len(), 6);
        let same = home.twin(home.kind(), home.uuid(), home.incarnation());

        for Made { what, opens, has_kind, has_object, has_log } in everything(home, said, &world.entropy) {
            assert!(opens(home, said) && opens(&same, said), "{what}");
            for stranger in &strangers {
                assert!(!opens(stranger, said), "{what} in {stranger:?}");
            }
            for other in home.epochs().into_iter().chain([KeyEpoch(0), KeyEpoch(3)]).filter(|e| *e != said.epoch) {
                assert!(!opens(home, Named { epoch: other, ..said }), "{what} under epoch {other}");
            }
            for kind in OBJECTS.into_iter().filter(|other| *other != kind) {
                assert_eq!(opens(home, Named { kind, ..said }), !has_kind, "{what} as {kind:?}");
            }
            assert_eq!(opens(home, Named { object: object(8), ..said }), !has_object, "{what}");
            assert_eq!(opens(home, Named { log: LogEpoch(6), ..said }), !has_log, "{what}");
        }
    }
}

/// A place key wraps objects, logs and seeds; they are of one length, or may be cut to it.
#[test]
fn what_a_place_key_wraps_is_not_taken_for_another_kind() {
    let world = World::new();
    let home = world.namespace();
    let sealed = |key: &WrappedKey| home.open(ObjectKind::Segment, object(1), key, b"");
    let (bytes, key) = home.seal(ObjectKind::Segment, object(1), b"text", &world.entropy).unwrap();
    let (_, seed) = home.create_signer(&world.entropy).unwrap();
    let (prologue, _) = home.start_log(object(1), LogEpoch(1), &world.entropy).unwrap();
    let log = WrappedKey { epoch: KeyEpoch(1), bytes: prologue[LOG_PROLOGUE_BYTES - 93..].to_vec() };
    assert!(home.open(ObjectKind::Segment, object(1), &key, &bytes).is_ok() && home.signer(&seed).is_ok());
    let key_trouble = |answer: Result<()>| matches!(answer, Err(Error::Corrupt { what, .. }) if what == "object key" || what == "signing key");
    for key in [&seed, &log] {
        assert!(key_trouble(sealed(key).map(drop)));
    }
    for key in [&key, &log] {
        assert!(key_trouble(home.signer(key).map(drop)));
    }
    assert!(!key_trouble(sealed(&key).map(drop)), "its own key opens, and the object does not");
    for other in [&key, &seed] {
        let dressed = [&prologue[..29], &[0, 61], &other.bytes, &[0; 32]].concat();
        assert!(home.open_log(&dressed).is_err() && home.open_log(&prologue).is_ok());
    }
    for at in 0..seed.bytes.len() {
        let mut changed = seed.clone();
        changed.bytes[at] ^= 1;
        assert!(home.signer(&changed).is_err(), "byte {at}");
        let cut = WrappedKey { bytes: seed.bytes[..at].to_vec(), ..seed };
        assert!(home.signer(&cut).is_err(), "cut to {at}");
    }
}

/// One and the same secret as a tenant's key and as the control place's root, in several lives and epochs: what it wraps
/// is told apart by the associated data alone.
#[test]
fn wraps_of_places_stay_in_their_tenant_epoch_and_level() {
    let world = World::new();
    let secret = [7; 32];
    let ring = |life| TenantKeys::create(&world.provider, life, &Replay::of(&[&secret])).unwrap();
    let (keys, tenant) = ring(life(1));
    let (home, one) = Home::create_place(&keys, PlaceKind::Namespace, place(0), &world.entropy).unwrap();
    let two = home.with_next_key(&keys, &world.entropy).unwrap();
    let opens = |keys: &TenantKeys, wrapped: &WrappedKey| Home::place(keys, PlaceKind::Namespace, place(0), wrapped);
    let rotated = keys.rotated(&world.provider, &Replay::of(&[&secret])).unwrap().0;
    for wrapped in [&one, &two] {
        assert!(opens(&keys, wrapped).is_ok() && opens(&rotated, wrapped).is_ok());
        assert!(opens(&ring(life(2)).0, wrapped).is_err(), "in another life");
        let later = WrappedKey { epoch: KeyEpoch(2), ..wrapped.clone() };
        assert!(opens(&rotated, &later).is_err(), "as of another key epoch");
        for kind in [PlaceKind::Directory, PlaceKind::Audit] {
            assert!(Home::place(&keys, kind, place(0), wrapped).is_err());
        }
        for newest in [0, 1, 2, 3, u32::MAX].map(u32::to_be_bytes) {
            let bytes = [&newest[..], &wrapped.bytes[4..]].concat();
            assert_eq!(opens(&keys, &WrappedKey { bytes, ..*wrapped }).is_ok(), newest == wrapped.bytes[..4]);
        }
        for at in 0..wrapped.bytes.len() {
            let mut changed = wrapped.clone();
            changed.bytes[at] ^= 0x80;
            assert!(opens(&keys, &changed).is_err(), "byte {at}");
            assert!(opens(&keys, &WrappedKey { bytes: wrapped.bytes[..at].to_vec(), ..*wrapped }).is_err());
        }
    }

    // The control place under the same secret: its parts, a tenant's, and another wrap's.
    let draws = [[1; 32].as_slice(), &[2; 32], &secret, &[3; 12]];
    let control = Home::create_control(&world.provider, &Replay::of(&draws)).unwrap();
    let again = control.0.rewrap_control(&world.provider, &world.entropy).unwrap();
    let halves = |wrapped: &WrappedKey| (wrapped.bytes[2..63].to_vec(), wrapped.bytes[63..].to_vec());
    let ((outer, inner), (outer2, inner2)) = (halves(&control.1), halves(&again));
    let joined = |outer: &[u8], inner: &[u8]| {
        let bytes = [&61u16.to_be_bytes()[..], outer, inner].concat();
        Home::control(&world.provider, &WrappedKey { epoch: KeyEpoch(0), bytes })
    };
    assert!(joined(&outer, &inner).is_ok() && joined(&outer2, &inner2).is_ok());
    assert!(joined(&outer, &inner2).is_err() && joined(&outer2, &inner).is_err());
    assert!(joined(&outer, &one.bytes).is_err(), "a tenant's place is not the control place");
    assert!(joined(&tenant.bytes, &inner).is_err(), "a tenant's key is not the root secret");
    let root = WrappedKey { epoch: KeyEpoch(1), bytes: outer.clone() };
    assert!(TenantKeys::open(&world.provider, life(1), &[root]).is_err(), "nor the other way round");
    assert!(TenantKeys::open(&world.provider, life(1), std::slice::from_ref(&tenant)).is_ok());
    for epoch in [KeyEpoch(0), KeyEpoch(1)] {
        let inner = WrappedKey { epoch, bytes: inner.clone() };
        assert!(opens(&keys, &inner).is_err());
    }
    // A provider's context is no place's: what it wraps opens through it alone.
    let direct = wrap::seal(&SecretKey::random(&Replay::of(&[&[0x5a; 32]])), b"context", &[], &world.entropy);
    assert!(world.provider.unwrap(b"context", &direct).is_err());
}

/// A message with the clear prologue of another one of the same name, and a part in place of a whole.
#[test]
fn parts_of_objects_are_not_put_together_anew() {
    let world = World::new();
    let home = world.namespace();
    let seal = || home.seal_whole(ObjectKind::Checkpoint, object(1), b"text", &world.entropy).unwrap();
    let open = |bytes: &[u8]| home.open_whole(ObjectKind::Checkpoint, object(1), bytes).is_ok();
    let (one, two) = (seal(), seal());
    let prologue = one.len() - 4 - 74 - 32;
    assert!(open(&one) && open(&two));
    assert!(!open(&[&one[..prologue], &two[prologue..]].concat()));
    assert!(!open(&[&one[..28], &two[28..prologue], &one[prologue..]].concat()));

    let (split, key) = home.seal_split(ObjectKind::Segment, object(1), b"first second", 6, &world.entropy).unwrap();
    let parts = [&split[13..13 + 112], &split[13 + 112..]];
    assert_eq!(parts[0].len(), parts[1].len());
    assert!(home.open_split(ObjectKind::Segment, object(1), &key, Arc::new(split.clone())).is_ok());
    for part in parts {
        assert!(home.open(ObjectKind::Segment, object(1), &key, part).is_err());
    }
}

const PROLOGUE: &[u8] = b"a prologue";

/// The first frames of a log: header and body keys, and what they are bound to, out of a home's hands.
fn frames(identity: &[u8], bodies: &[&[u8]]) -> Vec<Vec<u8>> {
    let entropy = SeededEntropy::new(2);
    let mut sealer = FrameSealer::new(identity.to_vec(), object(3), log_keys(), PROLOGUE);
    bodies.iter().zip(1..).map(|(body, seq)| sealer.seal(seq, body, &entropy).unwrap()).collect()
}

fn log_keys() -> [SecretKey; 2] {
    [1, 2].map(|n| SecretKey::from_slice(&[n; 32]).unwrap())
}

fn log_identity() -> Vec<u8> {
    identity::log(Some(life(1)), place(2), object(3), LogEpoch(4))
}

/// The same keys and the same prologue: the header is authentic, so that the body's associated data alone must hold.
#[test]
fn the_identity_of_a_frame_is_every_field_of_it() {
    let opens = |identity: Vec<u8>, keys: [SecretKey; 2], prologue: &[u8]| {
        let mut opener = FrameOpener::new(identity, object(3), LogEpoch(4), keys, prologue);
        match opener.open(&frames(&log_identity(), &[b"text"])[0]) {
            Ok(Some(_)) => "opened",
            Ok(None) => "torn",
            Err(error) if error.to_string().contains("the body") => "body",
            Err(_) => "header",
        }
    };
    assert_eq!(opens(log_identity(), log_keys(), PROLOGUE), "opened");
    let others = [
        identity::log(Some(life(9)), place(2), object(3), LogEpoch(4)),
        identity::log(None, place(2), object(3), LogEpoch(4)),
        identity::log(Some(life(1)), place(9), object(3), LogEpoch(4)),
        identity::log(Some(life(1)), place(2), object(9), LogEpoch(4)),
        identity::log(Some(life(1)), place(2), object(3), LogEpoch(5)),
        // Fields that change places, an object's, and another version's.
        identity::log(Some(life(2)), place(1), object(3), LogEpoch(4)),
        identity::log(Some(life(1)), place(3), object(2), LogEpoch(4)),
        identity::object(Some(life(1)), place(2), ObjectKind::Segment, object(3)),
        [&[0, 0, 0, 1, FORMAT_VERSION + 1], &log_identity()[5..]].concat(),
    ];
    for other in others {
        assert_eq!(opens(other, log_keys(), PROLOGUE), "body");
    }
    assert_eq!(opens(log_identity(), log_keys(), b"another one"), "header");
    let [body, header] = log_keys();
    assert_eq!(opens(log_identity(), [header, body], PROLOGUE), "header");
}

/// A header made anew, by whoever has its key: the body is bound to its number and to the frame before as well.
#[test]
fn a_body_is_bound_to_its_place_in_the_log_by_itself() {
    let frames = frames(&log_identity(), &[b"first", b"other"]);
    let [_, header] = log_keys();
    let headed = |frame: &[u8], seq: u64| {
        let mut frame = frame.to_vec();
        frame[8..16].copy_from_slice(&seq.to_be_bytes());
        let mac = HmacKey::new(header.bytes()).mac(&[&sha256(PROLOGUE), &frame[..28]]);
        frame[28..44].copy_from_slice(&mac[..16]);
        frame
    };
    let open = |frame: Vec<u8>| {
        let mut opener = FrameOpener::new(log_identity(), object(3), LogEpoch(4), log_keys(), PROLOGUE);
        opener.open(&frame).map(|opened| opened.unwrap().0)
    };
    assert_eq!(open(headed(&frames[0], 1)).unwrap(), 1);
    for (frame, seq) in [(&frames[0], 2), (&frames[1], 1), (&frames[1], 2)] {
        let error = open(headed(frame, seq)).unwrap_err();
        assert!(error.to_string().contains("the body does not authenticate"), "{error}");
    }
}

/// Every order of some frames of a log and of another with the same keys: as many open as stand where they were made.
#[test]
fn frames_open_up_to_the_first_that_is_not_the_next() {
    let bodies: [&[u8]; 3] = [b"one", b"two", b"three"];
    let mine = frames(&log_identity(), &bodies);
    let theirs = frames(&identity::log(Some(life(9)), place(2), object(3), LogEpoch(4)), &bodies);
    let all: Vec<&Vec<u8>> = mine.iter().chain(&theirs).collect();
    let read = |bytes: &[u8]| {
        let (mut opener, mut at, mut count) =
            (FrameOpener::new(log_identity(), object(3), LogEpoch(4), log_keys(), PROLOGUE), 0, 0);
        loop {
            match opener.open(&bytes[at..]) {
                Ok(Some((_, _, used))) => (at, count) = (at + used, count + 1),
                Ok(None) => return (count, true),
                Err(_) => return (count, false),
            }
        }
    };
    for order in 0..6usize.pow(4) {
        let picked: Vec<usize> = (0..4).map(|digit| order / 6usize.pow(digit) % 6).collect();
        let right = picked.iter().enumerate().take_while(|(at, frame)| at == *frame).count().min(3);
        let bytes: Vec<u8> = picked.iter().flat_map(|frame| all[*frame].iter().copied()).collect();
        assert_eq!(read(&bytes), (right, false), "{picked:?}");
    }
    assert_eq!(read(&mine.concat()), (3, true));
    // Cut short with more behind it is no torn tail.
    for cut in 0..mine[1].len() {
        let bytes = [&mine[0][..], &mine[1][..cut], &mine[2]].concat();
        assert_eq!(read(&bytes), (1, false), "cut to {cut}");
    }
}
