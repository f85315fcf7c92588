//! Sealed bytes open only as exactly what they are: each construction opens unchanged, and is refused when any one
//! attribute differs. What a single module can check is tested there.

use super::{Replay, incarnation_of, keyspace_id, object};
use crate::{
    Error, FORMAT_VERSION, FrameOpener, FrameSealer, Keyspace, KeyspaceKind, LOG_PROLOGUE_BYTES, ObjectKind, Result,
    RootKey, SecretKey, TenantKeys, WrappedKey,
    crypto::{HmacKey, sha256},
    identity::{self, WrapContext, WrapKind},
    keyspace::tests::{OpenBothWays, VaultFixture},
    wrap,
};
use kernel::{KeyEpoch, LogEpoch, ObjectUuid, ReadAt, SeededEntropy};
use std::{collections::HashSet, sync::Arc};

const WRAPS: [WrapKind; 6] =
    [WrapKind::Root, WrapKind::Tenant, WrapKind::KeyspaceKey, WrapKind::Object, WrapKind::Log, WrapKind::Signer];
const KINDS: [KeyspaceKind; 4] =
    [KeyspaceKind::Control, KeyspaceKind::Directory, KeyspaceKind::Namespace, KeyspaceKind::Audit];
const OBJECTS: [ObjectKind; 4] =
    [ObjectKind::Segment, ObjectKind::Checkpoint, ObjectKind::AuditChunk, ObjectKind::Control];

/// Every kind of wrap, in a tenant's keyspace and in the control keyspace, as in `schemas/sealing.md`.
fn contexts() -> Vec<WrapContext> {
    let tenants = |wrap, object, log, keys| WrapContext {
        wrap,
        incarnation: Some(incarnation_of(1)),
        keyspace: Some((KeyspaceKind::Namespace, keyspace_id(2))),
        object,
        epoch: KeyEpoch(4),
        log,
        keys,
    };
    let controls = |wrap, object, log, epoch, keys| WrapContext {
        incarnation: None,
        keyspace: Some((KeyspaceKind::Control, keyspace_id(0))),
        epoch: KeyEpoch(epoch),
        ..tenants(wrap, object, log, keys)
    };
    vec![
        controls(WrapKind::Root, None, None, 0, None),
        WrapContext { keyspace: None, ..tenants(WrapKind::Tenant, None, None, None) },
        tenants(WrapKind::KeyspaceKey, None, None, Some(KeyEpoch(6))),
        controls(WrapKind::KeyspaceKey, None, None, 0, Some(KeyEpoch(1))),
        tenants(WrapKind::Object, Some(object(3)), None, None),
        controls(WrapKind::Object, Some(object(3)), None, 1, None),
        tenants(WrapKind::Log, Some(object(3)), Some(LogEpoch(5)), None),
        controls(WrapKind::Log, Some(object(3)), Some(LogEpoch(5)), 1, None),
        controls(WrapKind::Signer, None, None, 1, None),
    ]
}

/// Copies of a context that differ in one field, for each field.
fn changed(context: &WrapContext) -> Vec<WrapContext> {
    let here = context.keyspace.unwrap_or((KeyspaceKind::Namespace, keyspace_id(2)));
    let mut out: Vec<WrapContext> =
        WRAPS.into_iter().filter(|w| *w != context.wrap).map(|wrap| WrapContext { wrap, ..*context }).collect();
    out.extend([Some(incarnation_of(9)), None].map(|incarnation| WrapContext { incarnation, ..*context }));
    let keyspaces = KINDS.into_iter().map(|kind| Some((kind, here.1))).chain([Some((here.0, keyspace_id(9))), None]);
    out.extend(keyspaces.map(|keyspace| WrapContext { keyspace, ..*context }));
    out.extend([Some(object(9)), None].map(|object| WrapContext { object, ..*context }));
    out.extend([0, 1, 3, 4, 5].map(|epoch| WrapContext { epoch: KeyEpoch(epoch), ..*context }));
    out.extend([Some(LogEpoch(4)), Some(LogEpoch(6)), None].map(|log| WrapContext { log, ..*context }));
    out.extend([Some(KeyEpoch(5)), Some(KeyEpoch(7)), None].map(|keys| WrapContext { keys, ..*context }));
    // Fields that are swapped.
    if let (Some(of), Some(thing)) = (context.incarnation, context.object) {
        let (incarnation, object) = (incarnation_of(thing.as_bytes()[0]), object(of.as_bytes()[0]));
        out.push(WrapContext { incarnation: Some(incarnation), object: Some(object), ..*context });
    }
    out.push(WrapContext {
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
fn a_wrap_opens_under_its_own_context_only() {
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
            let encoded: HashSet<Vec<u8>> = others.iter().map(WrapContext::encode).collect();
            assert!(others.len() >= 15 && !encoded.contains(&aad), "{}", context.wrap.name());
            assert_eq!(encoded.len(), others.len(), "each context has a distinct encoding");
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

/// Claimed identity of sealed bytes.
#[derive(Clone, Copy)]
struct ClaimedIdentity {
    kind: ObjectKind,
    object: ObjectUuid,
    /// Epoch of the keyspace key.
    epoch: KeyEpoch,
    log: LogEpoch,
}

type Opens = Box<dyn Fn(&Keyspace, ClaimedIdentity) -> bool>;

/// An item that a keyspace sealed, and a function that tells whether it opens under a claimed identity.
struct SealedItem {
    what: &'static str,
    opens: Opens,
    has_kind: bool,
    has_object: bool,
    has_log: bool,
}

/// Seals one of each kind of item, all with the same uuid.
fn seal_one_of_each(keyspace: &Keyspace, claimed: ClaimedIdentity, entropy: &SeededEntropy) -> Vec<SealedItem> {
    let ClaimedIdentity { kind, object, log, .. } = claimed;
    let (sealed, key) = keyspace.seal(kind, object, b"some text", entropy).unwrap();
    let (split, split_key) = keyspace.seal_split(kind, object, b"some text", 4, entropy).unwrap();
    let whole = keyspace.seal_whole(kind, object, b"some text", entropy).unwrap();
    let (prologue, mut sealer) = keyspace.start_log(object, log, entropy).unwrap();
    let frame = sealer.seal(1, b"some text", entropy).unwrap();
    let (_, seed) = keyspace.create_signer(entropy).unwrap();
    let under = |key: &WrappedKey, epoch| WrappedKey { epoch, ..key.clone() };
    let object = |what, opens| SealedItem { what, opens, has_kind: true, has_object: true, has_log: false };
    vec![
        object(
            "object",
            Box::new(move |keyspace: &Keyspace, n: ClaimedIdentity| {
                keyspace.open_both(n.kind, n.object, &under(&key, n.epoch), &sealed).is_ok()
            }) as Opens,
        ),
        object(
            "object in two parts",
            Box::new(move |keyspace, n| {
                let key = under(&split_key, n.epoch);
                let opened = keyspace.open_split(n.kind, n.object, &key, Arc::new(split.clone()));
                opened.is_ok_and(|(_, paged)| paged.read_at(0, &mut [0; 5]).is_ok())
            }),
        ),
        object(
            "object with its key",
            Box::new(move |keyspace, n| {
                let mut whole = whole.clone();
                whole[5] = n.kind.code();
                whole[6..22].copy_from_slice(n.object.as_bytes());
                whole[22..26].copy_from_slice(&n.epoch.0.to_be_bytes());
                keyspace.open_whole_both(n.kind, n.object, &whole).is_ok()
            }),
        ),
        SealedItem {
            what: "log",
            opens: Box::new(move |keyspace, n| {
                let mut prologue = prologue.clone();
                prologue[5..21].copy_from_slice(n.object.as_bytes());
                prologue[21..25].copy_from_slice(&n.log.0.to_be_bytes());
                prologue[25..29].copy_from_slice(&n.epoch.0.to_be_bytes());
                keyspace.open_log(&prologue).is_ok_and(|(mut opener, _)| opener.open(&frame).unwrap().is_some())
            }),
            has_kind: false,
            has_object: true,
            has_log: true,
        },
        SealedItem {
            what: "signer",
            opens: Box::new(move |keyspace, n| keyspace.signer(&under(&seed, n.epoch)).is_ok()),
            has_kind: false,
            has_object: false,
            has_log: false,
        },
    ]
}

/// The cleartext is adapted to the claim each time, so that only the keys and the associated data protect.
#[test]
fn items_open_in_their_own_keyspace_and_as_themselves_only() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let next_wrap = keyspace.with_next_key(&fixture.keys, &fixture.entropy).unwrap();
    keyspace.install_keys(&fixture.keys, &next_wrap).unwrap();
    assert_eq!(keyspace.epochs(), [KeyEpoch(2), KeyEpoch(1)]);
    let control = Keyspace::create_control(&fixture.provider, &fixture.entropy).unwrap().0;
    for (keyspace, kind) in [(&keyspace, ObjectKind::Segment), (&control, ObjectKind::Control)] {
        let claimed = ClaimedIdentity { kind, object: object(7), epoch: keyspace.epoch(), log: LogEpoch(5) };
        let mut other_keyspaces: Vec<Keyspace> = [Some(incarnation_of(9)), None, Some(incarnation_of(1))]
            .into_iter()
            .filter(|other| *other != keyspace.incarnation())
            .map(|other| keyspace.with_identity(keyspace.kind(), keyspace.uuid(), other))
            .collect();
        other_keyspaces.push(keyspace.with_identity(keyspace.kind(), keyspace_id(9), keyspace.incarnation()));
        let kinds = KINDS.into_iter().filter(|kind| *kind != keyspace.kind());
        other_keyspaces.extend(kinds.map(|kind| keyspace.with_identity(kind, keyspace.uuid(), keyspace.incarnation())));
        assert_eq!(other_keyspaces.len(), 6);
        let same = keyspace.with_identity(keyspace.kind(), keyspace.uuid(), keyspace.incarnation());

        for SealedItem { what, opens, has_kind, has_object, has_log } in
            seal_one_of_each(keyspace, claimed, &fixture.entropy)
        {
            assert!(opens(keyspace, claimed) && opens(&same, claimed), "{what}");
            for other_keyspace in &other_keyspaces {
                assert!(!opens(other_keyspace, claimed), "{what} in {other_keyspace:?}");
            }
            for other in keyspace.epochs().into_iter().chain([KeyEpoch(0), KeyEpoch(3)]).filter(|e| *e != claimed.epoch)
            {
                assert!(!opens(keyspace, ClaimedIdentity { epoch: other, ..claimed }), "{what} under epoch {other}");
            }
            for kind in OBJECTS.into_iter().filter(|other| *other != kind) {
                assert_eq!(opens(keyspace, ClaimedIdentity { kind, ..claimed }), !has_kind, "{what} as {kind:?}");
            }
            assert_eq!(opens(keyspace, ClaimedIdentity { object: object(8), ..claimed }), !has_object, "{what}");
            assert_eq!(opens(keyspace, ClaimedIdentity { log: LogEpoch(6), ..claimed }), !has_log, "{what}");
        }
    }
}

/// A keyspace key wraps objects, logs and seeds; these have the same length, or can be cut to it.
#[test]
fn wraps_of_one_keyspace_key_do_not_open_as_another_kind() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let sealed = |key: &WrappedKey| keyspace.open(ObjectKind::Segment, object(1), key, b"");
    let (bytes, key) = keyspace.seal(ObjectKind::Segment, object(1), b"text", &fixture.entropy).unwrap();
    let (_, seed) = keyspace.create_signer(&fixture.entropy).unwrap();
    let (prologue, _) = keyspace.start_log(object(1), LogEpoch(1), &fixture.entropy).unwrap();
    let log = WrappedKey { epoch: KeyEpoch(1), bytes: prologue[LOG_PROLOGUE_BYTES - 93..].to_vec() };
    assert!(keyspace.open(ObjectKind::Segment, object(1), &key, &bytes).is_ok() && keyspace.signer(&seed).is_ok());
    let is_wrong_key = |answer: Result<()>| matches!(answer, Err(Error::Corrupt { what, .. }) if what == "object key" || what == "signing key");
    for key in [&seed, &log] {
        assert!(is_wrong_key(sealed(key).map(drop)));
    }
    for key in [&key, &log] {
        assert!(is_wrong_key(keyspace.signer(key).map(drop)));
    }
    assert!(!is_wrong_key(sealed(&key).map(drop)), "its own key opens, and the object does not");
    for other in [&key, &seed] {
        let forged = [&prologue[..29], &[0, 61], &other.bytes, &[0; 32]].concat();
        assert!(keyspace.open_log(&forged).is_err() && keyspace.open_log(&prologue).is_ok());
    }
    for at in 0..seed.bytes.len() {
        let mut changed = seed.clone();
        changed.bytes[at] ^= 1;
        assert!(keyspace.signer(&changed).is_err(), "byte {at}");
        let cut = WrappedKey { bytes: seed.bytes[..at].to_vec(), ..seed };
        assert!(keyspace.signer(&cut).is_err(), "cut to {at}");
    }
}

/// The same secret as a tenant's key and as the control keyspace's root secret, in several incarnations and epochs:
/// only the associated data distinguishes what it wraps.
#[test]
fn keyspace_wraps_are_bound_to_their_tenant_epoch_and_level() {
    let fixture = VaultFixture::new();
    let secret = [7; 32];
    let ring = |incarnation| TenantKeys::create(&fixture.provider, incarnation, &Replay::of(&[&secret])).unwrap();
    let (keys, tenant) = ring(incarnation_of(1));
    let (keyspace, one) = Keyspace::create(&keys, KeyspaceKind::Namespace, keyspace_id(0), &fixture.entropy).unwrap();
    let two = keyspace.with_next_key(&keys, &fixture.entropy).unwrap();
    let opens = |keys: &TenantKeys, wrapped: &WrappedKey| {
        Keyspace::from_wrapped(keys, KeyspaceKind::Namespace, keyspace_id(0), wrapped)
    };
    let rotated = keys.rotated(&fixture.provider, &Replay::of(&[&secret])).unwrap().0;
    for wrapped in [&one, &two] {
        assert!(opens(&keys, wrapped).is_ok() && opens(&rotated, wrapped).is_ok());
        assert!(opens(&ring(incarnation_of(2)).0, wrapped).is_err(), "in another incarnation");
        let later = WrappedKey { epoch: KeyEpoch(2), ..wrapped.clone() };
        assert!(opens(&rotated, &later).is_err(), "as of another key epoch");
        for kind in [KeyspaceKind::Directory, KeyspaceKind::Audit] {
            assert!(Keyspace::from_wrapped(&keys, kind, keyspace_id(0), wrapped).is_err());
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

    // The control keyspace under the same secret: its two parts, a tenant's wrap, and parts of another wrap.
    let draws = [[1; 32].as_slice(), &[2; 32], &secret, &[3; 12]];
    let control = Keyspace::create_control(&fixture.provider, &Replay::of(&draws)).unwrap();
    let again = control.0.rewrap_control(&fixture.provider, &fixture.entropy).unwrap();
    let halves = |wrapped: &WrappedKey| (wrapped.bytes[2..63].to_vec(), wrapped.bytes[63..].to_vec());
    let ((outer, inner), (outer2, inner2)) = (halves(&control.1), halves(&again));
    let joined = |outer: &[u8], inner: &[u8]| {
        let bytes = [&61u16.to_be_bytes()[..], outer, inner].concat();
        Keyspace::control(&fixture.provider, &WrappedKey { epoch: KeyEpoch(0), bytes })
    };
    assert!(joined(&outer, &inner).is_ok() && joined(&outer2, &inner2).is_ok());
    assert!(joined(&outer, &inner2).is_err() && joined(&outer2, &inner).is_err());
    assert!(joined(&outer, &one.bytes).is_err(), "a tenant's keyspace is not the control keyspace");
    assert!(joined(&tenant.bytes, &inner).is_err(), "a tenant's key is not the root secret");
    let root = WrappedKey { epoch: KeyEpoch(1), bytes: outer.clone() };
    assert!(TenantKeys::open(&fixture.provider, incarnation_of(1), &[root]).is_err(), "nor the reverse");
    assert!(TenantKeys::open(&fixture.provider, incarnation_of(1), std::slice::from_ref(&tenant)).is_ok());
    for epoch in [KeyEpoch(0), KeyEpoch(1)] {
        let inner = WrappedKey { epoch, bytes: inner.clone() };
        assert!(opens(&keys, &inner).is_err());
    }
    // A provider's context differs from any keyspace's: what the provider wraps opens only through the provider.
    let direct = wrap::seal(&SecretKey::random(&Replay::of(&[&[0x5a; 32]])), b"context", &[], &fixture.entropy);
    assert!(fixture.provider.unwrap(b"context", &direct).is_err());
}

/// A message with the cleartext prologue of another object of the same name, and a part in place of a whole object.
#[test]
fn parts_of_objects_cannot_be_recombined() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let seal = || keyspace.seal_whole(ObjectKind::Checkpoint, object(1), b"text", &fixture.entropy).unwrap();
    let open = |bytes: &[u8]| keyspace.open_whole(ObjectKind::Checkpoint, object(1), bytes).is_ok();
    let (one, two) = (seal(), seal());
    let prologue = one.len() - 4 - 74 - 32;
    assert!(open(&one) && open(&two));
    assert!(!open(&[&one[..prologue], &two[prologue..]].concat()));
    assert!(!open(&[&one[..28], &two[28..prologue], &one[prologue..]].concat()));

    let (split, key) =
        keyspace.seal_split(ObjectKind::Segment, object(1), b"first second", 6, &fixture.entropy).unwrap();
    let parts = [&split[13..13 + 112], &split[13 + 112..]];
    assert_eq!(parts[0].len(), parts[1].len());
    assert!(keyspace.open_split(ObjectKind::Segment, object(1), &key, Arc::new(split.clone())).is_ok());
    for part in parts {
        assert!(keyspace.open(ObjectKind::Segment, object(1), &key, part).is_err());
    }
}

const PROLOGUE: &[u8] = b"a prologue";

/// The first frames of a log, sealed without a keyspace, with the given identity.
fn frames(identity: &[u8], bodies: &[&[u8]]) -> Vec<Vec<u8>> {
    let entropy = SeededEntropy::new(2);
    let mut sealer = FrameSealer::new(identity.to_vec(), object(3), log_keys(), PROLOGUE);
    bodies.iter().zip(1..).map(|(body, seq)| sealer.seal(seq, body, &entropy).unwrap()).collect()
}

fn log_keys() -> [SecretKey; 2] {
    [1, 2].map(|n| SecretKey::from_slice(&[n; 32]).unwrap())
}

fn log_identity() -> Vec<u8> {
    identity::log(Some(incarnation_of(1)), keyspace_id(2), object(3), LogEpoch(4))
}

/// The same keys and prologue: the header is authentic, so that only the body's associated data protects.
#[test]
fn a_frame_is_bound_to_every_field_of_its_identity() {
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
        identity::log(Some(incarnation_of(9)), keyspace_id(2), object(3), LogEpoch(4)),
        identity::log(None, keyspace_id(2), object(3), LogEpoch(4)),
        identity::log(Some(incarnation_of(1)), keyspace_id(9), object(3), LogEpoch(4)),
        identity::log(Some(incarnation_of(1)), keyspace_id(2), object(9), LogEpoch(4)),
        identity::log(Some(incarnation_of(1)), keyspace_id(2), object(3), LogEpoch(5)),
        // Swapped fields, an object's identity, and another version's.
        identity::log(Some(incarnation_of(2)), keyspace_id(1), object(3), LogEpoch(4)),
        identity::log(Some(incarnation_of(1)), keyspace_id(3), object(2), LogEpoch(4)),
        identity::object(Some(incarnation_of(1)), keyspace_id(2), ObjectKind::Segment, object(3)),
        [&[0, 0, 0, 1, FORMAT_VERSION + 1], &log_identity()[5..]].concat(),
    ];
    for other in others {
        assert_eq!(opens(other, log_keys(), PROLOGUE), "body");
    }
    assert_eq!(opens(log_identity(), log_keys(), b"another one"), "header");
    let [body, header] = log_keys();
    assert_eq!(opens(log_identity(), [header, body], PROLOGUE), "header");
}

/// A header forged by an attacker who has its key: the body is bound to its number and to the previous frame as well.
#[test]
fn a_body_is_bound_to_its_position_in_the_log_by_itself() {
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

/// Every order of the frames of a log and of another with the same keys: only a prefix in the original positions opens.
#[test]
fn frames_open_up_to_the_first_out_of_sequence() {
    let bodies: [&[u8]; 3] = [b"one", b"two", b"three"];
    let mine = frames(&log_identity(), &bodies);
    let theirs = frames(&identity::log(Some(incarnation_of(9)), keyspace_id(2), object(3), LogEpoch(4)), &bodies);
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
    // A frame that is cut short before further bytes is not a torn tail.
    for cut in 0..mine[1].len() {
        let bytes = [&mine[0][..], &mine[1][..cut], &mine[2]].concat();
        assert_eq!(read(&bytes), (1, false), "cut to {cut}");
    }
}
