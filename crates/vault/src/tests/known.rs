//! Known answers, made by `tests/kats/make.py` from `schemas/sealing.md` alone. Everything is opened, and sealed once
//! more with the same random bytes, which must give the very same.

use super::Replay;
use crate::{
    Home, LocalProvider, ObjectKind, PlaceKind, PublicKey, RootKey, SecretKey, Signer, TenantKeys, WrappedKey,
    epoch_of,
    floe::{self, Params, reader},
    home::tests::Both,
    identity::{self, Context, Wrap},
    sha256, wrap,
};
use kernel::{Incarnation, KeyEpoch, LogEpoch, NamespaceUuid, ObjectUuid, Pseudonymiser, ReadAt};
use serde_json::Value;
use std::sync::Arc;

macro_rules! answers {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../tests/kats/", $name, ".json"))).unwrap()
    };
}

/// The members of a list, of which there is at least one.
fn each(list: &Value) -> &[Value] {
    let list = list.as_array().unwrap();
    assert!(!list.is_empty());
    list
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn all(list: &Value) -> Vec<Vec<u8>> {
    list.as_array().unwrap().iter().map(unhex).collect()
}

fn slices(list: &[Vec<u8>]) -> Vec<&[u8]> {
    list.iter().map(Vec::as_slice).collect()
}

fn array<const N: usize>(text: &Value) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn secret(value: &Value) -> SecretKey {
    SecretKey::from_slice(&unhex(value)).unwrap()
}

fn place_kind(code: &Value) -> PlaceKind {
    let kinds = [PlaceKind::Control, PlaceKind::Directory, PlaceKind::Namespace, PlaceKind::Audit];
    kinds.into_iter().find(|kind| u32::from(kind.code()) == number(code)).unwrap()
}

fn object_kind(code: &Value) -> ObjectKind {
    ObjectKind::from_code(u8::try_from(number(code)).unwrap()).unwrap()
}

/// As `make.py` has it.
fn pattern(length: &Value) -> Vec<u8> {
    (0..number(length)).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// The server and the tenant of the answers, with what the provider draws.
struct World {
    provider: LocalProvider,
    draws: Replay,
    places: Value,
}

impl World {
    fn new() -> Self {
        let (places, draws) = (answers!("places"), Replay::default());
        let provider = LocalProvider::from_env_value(text(&places["root"]), Arc::new(draws.clone())).unwrap();
        Self { provider, draws, places }
    }

    fn life(&self) -> Incarnation {
        Incarnation::from_bytes(array(&self.places["incarnation"]))
    }

    /// The tenant's keys up to an epoch, from their wraps.
    fn keys(&self, newest: usize) -> TenantKeys {
        let epochs = each(&self.places["tenant"])[..newest].iter();
        let wraps: Vec<WrappedKey> = epochs.map(|one| wrapped(number(&one["epoch"]), &one["wrap"])).collect();
        TenantKeys::open(&self.provider, self.life(), &wraps).unwrap()
    }

    fn answer(&self, name: &str) -> &Value {
        each(&self.places["places"]).iter().find(|place| place["name"] == name).unwrap()
    }

    /// A place, from its wrap.
    fn home(&self, name: &Value) -> Home {
        if name == "control" {
            return Home::control(&self.provider, &wrapped(0, &self.places["control"]["wrap"])).unwrap();
        }
        let answer = self.answer(text(name));
        let uuid = NamespaceUuid::from_bytes(array(&answer["uuid"]));
        let wrapped = wrapped(number(&answer["tenant_epoch"]), &answer["wrap"]);
        Home::place(&self.keys(2), place_kind(&answer["kind"]), uuid, &wrapped).unwrap()
    }
}

fn wrapped(epoch: u32, bytes: &Value) -> WrappedKey {
    WrappedKey { epoch: KeyEpoch(epoch), bytes: unhex(bytes) }
}

#[test]
fn fields() {
    for answer in each(&answers!("fields")) {
        let parts = all(&answer["parts"]);
        assert_eq!(identity::fields(&slices(&parts)), unhex(&answer["encoded"]));
    }
}

#[test]
fn wraps() {
    let answers = answers!("wraps");
    let mut kinds = Vec::new();
    for answer in each(&answers) {
        let wraps = [Wrap::Root, Wrap::Tenant, Wrap::Place, Wrap::Object, Wrap::Log, Wrap::Signer];
        let kind = wraps.into_iter().find(|kind| *kind as u32 == number(&answer["kind"])).unwrap();
        let given = |name: &str| Some(&answer[name]).filter(|value| !value.is_null());
        let uuid = given("place").map(|uuid| NamespaceUuid::from_bytes(array(uuid)));
        let context = Context {
            wrap: kind,
            incarnation: given("incarnation").map(|life| Incarnation::from_bytes(array(life))),
            place: given("place_kind").map(|code| (place_kind(code), uuid.unwrap())),
            object: given("thing").map(|uuid| ObjectUuid::from_bytes(array(uuid))),
            epoch: KeyEpoch(number(&answer["epoch"])),
            log: given("log").map(|epoch| LogEpoch(number(epoch))),
            keys: given("keys").map(|epoch| KeyEpoch(number(epoch))),
        };
        let name = text(&answer["name"]);
        assert_eq!(context.encode(), unhex(&answer["context"]), "{name}");

        let (kek, bytes) = (secret(&answer["kek"]), unhex(&answer["wrap"]));
        let secrets: Vec<SecretKey> = each(&answer["secrets"]).iter().map(secret).collect();
        let opened = wrap::open_all(&kek, &context.encode(), &bytes).unwrap();
        assert!(opened.iter().map(SecretKey::bytes).eq(secrets.iter().map(SecretKey::bytes)), "{name}");
        let secrets: Vec<&SecretKey> = secrets.iter().collect();
        let draws = Replay::of(&[&unhex(&answer["nonce"])]);
        assert_eq!(wrap::wrap(&kek, &context, &secrets, &draws), bytes, "{name}");
        kinds.push((kind as u32, secrets.len()));
    }
    for kind in [(1, 1), (2, 1), (3, 2), (3, 3), (4, 1), (5, 2), (6, 1)] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

#[test]
fn the_local_provider() {
    let world = World::new();
    let answer = &world.places["local"];
    let (context, wrapped, key) = (unhex(&answer["context"]), unhex(&answer["wrap"]), secret(&answer["key"]));
    assert_eq!(world.provider.unwrap(&context, &wrapped).unwrap().bytes(), key.bytes());
    world.draws.add(&[&unhex(&answer["nonce"])]);
    assert_eq!(world.provider.wrap(&context, &key).unwrap(), wrapped);
}

#[test]
fn tenant_keys() {
    let world = World::new();
    let answers = each(&world.places["tenant"]);
    let mut made: Option<TenantKeys> = None;
    for answer in answers {
        let draws = Replay::of(&[&unhex(&answer["key"])]);
        world.draws.add(&[&unhex(&answer["nonce"])]);
        let (ring, one) = match made {
            None => TenantKeys::create(&world.provider, world.life(), &draws),
            Some(ring) => ring.rotated(&world.provider, &draws),
        }
        .unwrap();
        assert_eq!(one, wrapped(number(&answer["epoch"]), &answer["wrap"]));
        made = Some(ring);
    }
    let opened = world.keys(answers.len());
    for answer in answers {
        assert_eq!(opened.key(KeyEpoch(number(&answer["epoch"]))).unwrap().bytes(), &array(&answer["key"]));
    }
}

/// A place is made, renewed and left with its newest key, and each wrap on the way is the one that is known.
#[test]
fn places() {
    let world = World::new();
    let bytes = |answer: &Value| wrapped(number(&answer["tenant_epoch"]), &answer["wrap"]);
    for name in ["directory", "namespace", "audit"] {
        let answer = world.answer(name);
        let keys = all(&answer["keys"]);
        let draws = Replay::of(&[&keys[0], &unhex(&answer["mac_key"]), &unhex(&answer["nonce"])]);
        let uuid = NamespaceUuid::from_bytes(array(&answer["uuid"]));
        let ring = world.keys(number(&answer["tenant_epoch"]) as usize);
        let (home, made) = Home::create_place(&ring, place_kind(&answer["kind"]), uuid, &draws).unwrap();
        assert!(made == bytes(answer) && draws.is_used_up(), "{name}");
        assert_eq!(world.home(&answer["name"]).mac(b"x", &[]), home.mac(b"x", &[]), "{name}");
    }

    let (ring, home) = (world.keys(2), world.home(&"namespace".into()));
    let two = world.answer("namespace, two keys");
    let draws = Replay::of(&[&all(&two["keys"])[0], &unhex(&two["nonce"])]);
    let made = home.with_next_key(&ring, &draws).unwrap();
    assert_eq!((&made, Home::keys_in(&made)), (&bytes(two), Some(2)));
    home.refresh(&ring, &made).unwrap();
    let one = world.answer("namespace, newest key");
    let made = home.without_old_keys(&ring, &Replay::of(&[&unhex(&one["nonce"])])).unwrap();
    assert_eq!((&made, Home::keys_in(&made)), (&bytes(one), Some(1)));
    home.refresh(&ring, &made).unwrap();
    assert_eq!(world.home(&two["name"]).epochs(), [KeyEpoch(2), KeyEpoch(1)]);
    assert_eq!(world.home(&one["name"]).epochs(), [KeyEpoch(2)]);
}

#[test]
fn the_control_place() {
    let world = World::new();
    let answer = &world.places["control"];
    let control = wrapped(0, &answer["wrap"]);
    let draws = [&answer["keys"][0], &answer["mac_key"], &answer["secret"], &answer["nonce"]].map(unhex);
    world.draws.add(&[&unhex(&answer["provider_nonce"])]);
    let (home, made) = Home::create_control(&world.provider, &Replay::of(&slices(&draws))).unwrap();
    assert_eq!(made, control);
    assert_eq!(world.home(&"control".into()).mac(b"x", &[]), home.mac(b"x", &[]));
}

#[test]
fn floe_messages() {
    for answer in each(&answers!("floe")) {
        let params =
            Params { segment_len: number(&answer["segment_len"]), rotation_bits: number(&answer["rotation_bits"]) };
        let (key, aad, plain) = (array(&answer["key"]), unhex(&answer["aad"]), unhex(&answer["plain"]));
        let sealed = unhex(&answer["sealed"]);
        assert_eq!(*floe::open(&params, &key, &aad, &sealed).unwrap(), *plain);
        let source: Arc<dyn ReadAt> = Arc::new(sealed.clone());
        assert_eq!(*reader::read(&params, &key, aad.clone(), &source, 0..source.size()).unwrap(), *plain);

        let draws = Replay::of(&[&unhex(&answer["iv"])]);
        draws.add(&slices(&all(&answer["nonces"])));
        assert_eq!(floe::seal(&params, &key, &aad, &plain, &draws), sealed);
        assert!(draws.is_used_up());
    }
}

/// The bytes that are known, or those that were made, if what is known is their hash.
fn known(answer: &Value, made: &[u8]) -> Vec<u8> {
    match answer.get("sealed") {
        Some(sealed) => unhex(sealed),
        None => {
            assert_eq!(sha256(made), array(&answer["sha256"]));
            made.to_vec()
        }
    }
}

#[test]
fn objects() {
    let world = World::new();
    for answer in each(&answers!("objects")["whole"]) {
        let home = world.home(&answer["place"]);
        let (kind, uuid) = (object_kind(&answer["kind"]), ObjectUuid::from_bytes(array(&answer["uuid"])));
        let plain = pattern(&answer["length"]);
        let draws = || {
            let draws = Replay::of(&[&unhex(&answer["key"]), &unhex(&answer["wrap_nonce"]), &unhex(&answer["iv"])]);
            draws.add(&slices(&all(&answer["nonces"])));
            draws
        };
        let (made, key) = home.seal(kind, uuid, &plain, &draws()).unwrap();
        let sealed = known(answer, &made);
        assert!(made == sealed && key == wrapped(home.epoch().0, &answer["wrap"]));
        assert!(*home.open_both(kind, uuid, &key, &sealed).unwrap() == *plain);
        let whole = [unhex(&answer["prologue"]), sealed].concat();
        assert!(home.seal_whole(kind, uuid, &plain, &draws()).unwrap() == whole);
        assert_eq!(epoch_of(&whole), Some(home.epoch()));
        assert!(*home.open_whole_both(kind, uuid, &whole).unwrap() == *plain);
    }
}

#[test]
fn objects_in_two_parts() {
    let world = World::new();
    for answer in each(&answers!("objects")["split"]) {
        let home = world.home(&answer["place"]);
        let (kind, uuid) = (object_kind(&answer["kind"]), ObjectUuid::from_bytes(array(&answer["uuid"])));
        let (plain, border) = (pattern(&answer["length"]), number(&answer["border"]) as usize);
        let draws = Replay::of(&[&unhex(&answer["key"]), &unhex(&answer["wrap_nonce"])]);
        for (iv, nonces) in all(&answer["ivs"]).iter().zip(each(&answer["nonces"])) {
            draws.add(&[iv]);
            draws.add(&slices(&all(nonces)));
        }
        let (made, key) = home.seal_split(kind, uuid, &plain, border, &draws).unwrap();
        assert!(draws.is_used_up());
        let sealed = known(answer, &made);
        assert!(made == sealed && key == wrapped(home.epoch().0, &answer["wrap"]));
        let (whole, paged) = home.open_split(kind, uuid, &key, Arc::new(sealed)).unwrap();
        let mut behind = vec![0; paged.size() as usize];
        paged.read_at(0, &mut behind).unwrap();
        assert!(*whole == plain[..border] && behind == plain[border..]);
    }
}

#[test]
fn logs() {
    let world = World::new();
    for answer in each(&answers!("logs")) {
        let home = world.home(&answer["place"]);
        let (uuid, epoch) = (ObjectUuid::from_bytes(array(&answer["uuid"])), LogEpoch(number(&answer["epoch"])));
        let draws = [&answer["body_key"], &answer["header_key"], &answer["wrap_nonce"]].map(unhex);
        let (prologue, mut sealer) = home.start_log(uuid, epoch, &Replay::of(&slices(&draws))).unwrap();
        assert_eq!((&prologue, epoch_of(&prologue)), (&unhex(&answer["prologue"]), Some(home.epoch())));
        let (mut opener, used) = home.open_log(&prologue).unwrap();
        assert_eq!((opener.object(), opener.epoch(), used), (uuid, epoch, prologue.len()));
        assert_eq!(each(&answer["frames"]).len(), 3);
        for known in each(&answer["frames"]) {
            let (seq, body, frame) = (known["seq"].as_u64().unwrap(), unhex(&known["body"]), unhex(&known["frame"]));
            assert_eq!(sealer.seal(seq, &body, &Replay::of(&[&unhex(&known["nonce"])])).unwrap(), frame);
            let (opened_seq, opened, used) = opener.open(&frame).unwrap().unwrap();
            assert_eq!((opened_seq, &*opened, used), (seq, body.as_slice(), frame.len()));
        }
    }
}

#[test]
fn macs() {
    let world = World::new();
    for answer in each(&answers!("macs")) {
        let home = world.home(&answer["place"]);
        let (label, parts) = (unhex(&answer["label"]), all(&answer["parts"]));
        assert_eq!(home.mac(&label, &slices(&parts)), array(&answer["mac"]));
        if let Some(pseudonym) = answer.get("pseudonym") {
            assert_eq!(home.pseudonym(&slices(&parts)), array(pseudonym));
        }
    }
}

#[test]
fn notes() {
    let (world, answer) = (World::new(), answers!("notes"));
    let home = world.home(&answer["place"]);
    let draws = Replay::of(&[&unhex(&answer["seed"]), &unhex(&answer["nonce"])]);
    let (made, key) = home.create_signer(&draws).unwrap();
    assert_eq!(key, wrapped(home.epoch().0, &answer["wrap"]));
    let (name, public) = (text(&answer["name"]), PublicKey::parse(text(&answer["public"])).unwrap());
    let check = |signer: &Signer| {
        assert_eq!(signer.public(name), public);
        for known in each(&answer["notes"]) {
            assert_eq!(signer.note(name, text(&known["text"])), text(&known["note"]));
            assert_eq!(public.open(text(&known["note"])), Ok(text(&known["text"])));
        }
    };
    check(&made);
    check(&home.signer(&key).unwrap());
}
