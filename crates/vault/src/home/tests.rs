use super::*;
use crate::{LocalProvider, floe};
use access::{Ask, Credentials, Gate, KeyRecord, OperatorRecord, Pepper, Search, TenantFacts, TenantState, token};
use kernel::{
    Code, KeyId, ManualClock, Plaintext, Pseudonymiser, Quotas, ReadAt, RequestId, Scope, SeededEntropy, TenantId,
    Timestamp,
};
use proptest::prelude::*;
use std::{collections::HashSet, sync::Mutex};

pub(crate) struct World {
    pub(crate) entropy: SeededEntropy,
    pub(crate) provider: LocalProvider,
    pub(crate) keys: TenantKeys,
}

impl World {
    pub(crate) fn new() -> Self {
        let entropy = SeededEntropy::new(1);
        let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(SeededEntropy::new(2))).unwrap();
        let (keys, _) = TenantKeys::create(&provider, life(1), &entropy).unwrap();
        Self { entropy, provider, keys }
    }

    pub(crate) fn uuid(&self, n: u8) -> NamespaceUuid {
        NamespaceUuid::from_bytes([n; 16])
    }

    pub(crate) fn namespace(&self) -> Home {
        Home::create_place(&self.keys, PlaceKind::Namespace, self.uuid(1), &self.entropy).unwrap().0
    }
}

impl Home {
    /// The same keys under another identity: what an attacker with a place key would have to make up.
    pub(crate) fn twin(&self, kind: PlaceKind, uuid: NamespaceUuid, incarnation: Option<Incarnation>) -> Home {
        let mac_key = SecretKey::from_slice(self.mac_key.bytes()).unwrap();
        Home::with_keys(kind, uuid, incarnation, self.keys().copied(), mac_key)
    }

    /// One twin for each part of the identity.
    pub(crate) fn twins(&self) -> [Home; 4] {
        [
            self.twin(self.kind, self.uuid, Some(life(99))),
            self.twin(self.kind, self.uuid, None),
            self.twin(self.kind, NamespaceUuid::from_bytes([99; 16]), self.incarnation),
            self.twin(PlaceKind::Audit, self.uuid, self.incarnation),
        ]
    }
}

fn life(n: u8) -> Incarnation {
    Incarnation::from_bytes([n; 16])
}

fn object(n: u8) -> ObjectUuid {
    ObjectUuid::from_bytes([n; 16])
}

fn corrupt<T>(answer: Result<T>) -> bool {
    matches!(answer, Err(Error::Corrupt { .. }))
}

/// Opening what is in memory and what is read from a source, which say the same.
pub(crate) trait Both {
    fn open_both(&self, kind: ObjectKind, object: ObjectUuid, key: &WrappedKey, sealed: &[u8]) -> Result<Plaintext>;
    fn open_whole_both(&self, kind: ObjectKind, object: ObjectUuid, sealed: &[u8]) -> Result<Plaintext>;
}

impl Both for Home {
    fn open_both(&self, kind: ObjectKind, object: ObjectUuid, key: &WrappedKey, sealed: &[u8]) -> Result<Plaintext> {
        let source: Arc<dyn ReadAt> = Arc::new(sealed.to_vec());
        same_answer(self.open(kind, object, key, sealed), self.open_from(kind, object, key, &source))
    }

    fn open_whole_both(&self, kind: ObjectKind, object: ObjectUuid, sealed: &[u8]) -> Result<Plaintext> {
        let source: Arc<dyn ReadAt> = Arc::new(sealed.to_vec());
        same_answer(self.open_whole(kind, object, sealed), self.open_whole_from(kind, object, &source))
    }
}

fn same_answer(here: Result<Plaintext>, read: Result<Plaintext>) -> Result<Plaintext> {
    match (&here, &read) {
        (Ok(here), Ok(read)) => assert!(here == read),
        (Err(here), Err(Error::Corrupt { .. })) => assert!(matches!(here, Error::Corrupt { .. }), "{here:?}"),
        both => panic!("{both:?}"),
    }
    here
}

const KINDS: [ObjectKind; 4] =
    [ObjectKind::Segment, ObjectKind::Checkpoint, ObjectKind::AuditChunk, ObjectKind::Control];

#[test]
fn objects_come_back() {
    let world = World::new();
    let home = world.namespace();
    for kind in KINDS {
        for plain in [&b""[..], b"x", &[3; 5_000], &[4; (2 << 20) + 9]] {
            let (sealed, key) = home.seal(kind, object(1), plain, &world.entropy).unwrap();
            assert_eq!(*home.open_both(kind, object(1), &key, &sealed).unwrap(), *plain);
            let whole = home.seal_whole(kind, object(1), plain, &world.entropy).unwrap();
            assert_eq!(*home.open_whole_both(kind, object(1), &whole).unwrap(), *plain);
        }
    }
}

#[test]
fn an_object_opens_as_itself_only() {
    let world = World::new();
    let home = world.namespace();
    let (sealed, key) = home.seal(ObjectKind::Segment, object(1), b"text", &world.entropy).unwrap();
    let whole = home.seal_whole(ObjectKind::Segment, object(1), b"text", &world.entropy).unwrap();
    for kind in &KINDS[1..] {
        assert!(corrupt(home.open_both(*kind, object(1), &key, &sealed)));
        assert!(corrupt(home.open_whole_both(*kind, object(1), &whole)));
    }
    assert!(corrupt(home.open_both(ObjectKind::Segment, object(2), &key, &sealed)));
    assert!(corrupt(home.open_whole_both(ObjectKind::Segment, object(2), &whole)));
    let epoch = WrappedKey { epoch: KeyEpoch(2), ..key.clone() };
    assert!(corrupt(home.open_both(ObjectKind::Segment, object(1), &epoch, &sealed)));
    let (others, other_key) = home.seal(ObjectKind::Segment, object(1), b"text", &world.entropy).unwrap();
    assert!(corrupt(home.open_both(ObjectKind::Segment, object(1), &other_key, &sealed)));
    assert!(corrupt(home.open_both(ObjectKind::Segment, object(1), &key, &others)));
}

/// The object's own associated data, with the wrap's binding out of the way: every field counts by itself.
#[test]
fn the_identity_of_an_object_is_every_field_of_it() {
    let base = (Some(life(1)), NamespaceUuid::from_bytes([2; 16]), ObjectKind::Segment, object(3));
    let encode = |(i, p, k, o)| identity::object(i, p, k, o);
    let key = [4; 32];
    let sealed = floe::seal(&floe::OBJECTS, &key, &encode(base), b"text", &SeededEntropy::new(1));
    let opens = |aad: &[u8]| floe::open(&floe::OBJECTS, &key, aad, &sealed).is_ok();
    assert!(opens(&encode(base)));
    assert!(!opens(&encode((Some(life(9)), base.1, base.2, base.3))));
    assert!(!opens(&encode((None, base.1, base.2, base.3))));
    assert!(!opens(&encode((base.0, NamespaceUuid::from_bytes([9; 16]), base.2, base.3))));
    assert!(!opens(&encode((base.0, base.1, ObjectKind::Checkpoint, base.3))));
    assert!(!opens(&encode((base.0, base.1, base.2, object(9)))));
    // Fields that change places.
    assert!(!opens(&encode((Some(life(3)), base.1, base.2, object(1)))));
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let world = World::new();
    let home = world.namespace();
    let (sealed, key) = home.seal(ObjectKind::Checkpoint, object(1), b"small", &world.entropy).unwrap();
    let whole = home.seal_whole(ObjectKind::Checkpoint, object(1), b"small", &world.entropy).unwrap();
    let open = |key: &WrappedKey, sealed: &[u8]| home.open_both(ObjectKind::Checkpoint, object(1), key, sealed);
    let changed = |bytes: &[u8], at: usize, bit: u32| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << bit;
        bytes
    };
    for bit in 0..8 {
        for at in 0..sealed.len() {
            assert!(corrupt(open(&key, &changed(&sealed, at, bit))), "object, byte {at}");
        }
        for at in 0..key.bytes.len() {
            let key = WrappedKey { bytes: changed(&key.bytes, at, bit), ..key };
            assert!(corrupt(open(&key, &sealed)), "key, byte {at}");
        }
        for at in 0..whole.len() {
            let answer = home.open_whole_both(ObjectKind::Checkpoint, object(1), &changed(&whole, at, bit));
            assert!(corrupt(answer), "whole, byte {at}");
        }
    }
    for at in 0..whole.len() {
        assert!(corrupt(home.open_whole_both(ObjectKind::Checkpoint, object(1), &whole[..at])), "whole, cut to {at}");
    }
    for at in 0..sealed.len() {
        assert!(corrupt(open(&key, &sealed[..at])), "object, cut to {at}");
    }
    for at in 0..key.bytes.len() {
        assert!(corrupt(open(&WrappedKey { bytes: key.bytes[..at].to_vec(), ..key }, &sealed)), "key, cut to {at}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(corrupt(home.open_whole_both(ObjectKind::Checkpoint, object(1), &longer)));
}

#[test]
fn what_is_sealed_shows_nothing_of_what_it_holds() {
    let world = World::new();
    let home = world.namespace();
    let text = b"the merger is on the ninth";
    let whole = home.seal_whole(ObjectKind::Segment, object(50), text, &world.entropy).unwrap();
    let (prologue, mut sealer) = home.start_log(object(51), LogEpoch(1), &world.entropy).unwrap();
    let frame = sealer.seal(1, text, &world.entropy).unwrap();
    for bytes in [whole, prologue, frame] {
        assert!(!bytes.windows(6).any(|w| w == &text[4..10]));
        assert!(!bytes.windows(16).any(|w| w == life(1).as_bytes()), "nor whose it is");
        let key = home.keys();
        assert!(!bytes.windows(32).any(|w| w == key.newest().1.bytes() || w == home.mac_key.bytes()));
    }
}

#[test]
fn a_rewrap_leaves_objects_as_they_are() {
    let world = World::new();
    let (home, first) = Home::create_place(&world.keys, PlaceKind::Namespace, world.uuid(1), &world.entropy).unwrap();
    let (sealed, key) = home.seal(ObjectKind::Segment, object(1), b"old", &world.entropy).unwrap();
    let (prologue, _) = home.start_log(object(2), LogEpoch(1), &world.entropy).unwrap();
    let mac = home.mac(b"label", &[b"part"]);

    let (rotated, _) = world.keys.rotated(&world.provider, &world.entropy).unwrap();
    let second = home.rewrap(&rotated, &world.entropy).unwrap();
    assert_eq!((first.epoch, second.epoch), (KeyEpoch(1), KeyEpoch(2)));
    let left = rotated.without(KeyEpoch(1));
    let open = |keys: &TenantKeys, wrapped| Home::place(keys, PlaceKind::Namespace, world.uuid(1), wrapped);

    let reopened = open(&left, &second).unwrap();
    assert_eq!(*reopened.open(ObjectKind::Segment, object(1), &key, &sealed).unwrap(), *b"old");
    reopened.open_log(&prologue).unwrap();
    assert_eq!(reopened.mac(b"label", &[b"part"]), mac);
    // Until the old epoch is destroyed both wraps open; afterwards the old one is dead.
    open(&rotated, &first).unwrap();
    assert!(matches!(open(&left, &first), Err(Error::NoEpoch(KeyEpoch(1)))));
    let forged = WrappedKey { epoch: KeyEpoch(2), ..first.clone() };
    assert!(corrupt(open(&left, &forged)));
    let lost = left.without(KeyEpoch(2));
    assert!(matches!(home.rewrap(&lost, &world.entropy), Err(Error::NoEpoch(_))));
}

#[test]
fn a_places_keys_are_renewed_and_the_old_ones_forgotten() {
    let world = World::new();
    let home = world.namespace();
    let open = |wrapped: &WrappedKey| Home::place(&world.keys, PlaceKind::Namespace, world.uuid(1), wrapped).unwrap();
    let (old, old_key) = home.seal(ObjectKind::Segment, object(1), b"old", &world.entropy).unwrap();
    let old_whole = home.seal_whole(ObjectKind::Checkpoint, object(2), b"old", &world.entropy).unwrap();
    let (old_log, _) = home.start_log(object(3), LogEpoch(1), &world.entropy).unwrap();
    let pseudonym = home.pseudonym(&[b"x"]);

    let both = home.with_next_key(&world.keys, &world.entropy).unwrap();
    assert_eq!(home.epochs(), [KeyEpoch(1)], "not before it is durable");
    let (_, key) = home.seal(ObjectKind::Segment, object(4), b"", &world.entropy).unwrap();
    assert_eq!((key.epoch, home.wraps()), (KeyEpoch(1), 4));
    home.refresh(&world.keys, &both).unwrap();
    let (new, new_key) = home.seal(ObjectKind::Segment, object(5), b"new", &world.entropy).unwrap();
    assert_eq!((new_key.epoch, home.wraps()), (KeyEpoch(2), 1));
    for home in [&home, &open(&both)] {
        assert_eq!(home.epochs(), [KeyEpoch(2), KeyEpoch(1)]);
        assert_eq!(*home.open(ObjectKind::Segment, object(1), &old_key, &old).unwrap(), *b"old");
        assert_eq!(*home.open(ObjectKind::Segment, object(5), &new_key, &new).unwrap(), *b"new");
        assert_eq!(*home.open_whole(ObjectKind::Checkpoint, object(2), &old_whole).unwrap(), *b"old");
        home.open_log(&old_log).unwrap();
    }

    let one = home.without_old_keys(&world.keys, &world.entropy).unwrap();
    home.refresh(&world.keys, &one).unwrap();
    for home in [&home, &open(&one)] {
        assert_eq!((home.epochs(), home.epoch()), (vec![KeyEpoch(2)], KeyEpoch(2)));
        assert_eq!(*home.open(ObjectKind::Segment, object(5), &new_key, &new).unwrap(), *b"new");
        assert!(corrupt(home.open(ObjectKind::Segment, object(1), &old_key, &old)));
        assert!(corrupt(home.open_whole(ObjectKind::Checkpoint, object(2), &old_whole)));
        assert!(corrupt(home.open_log(&old_log)));
        // Nor by naming the key that is there.
        let forged = WrappedKey { epoch: KeyEpoch(2), ..old_key.clone() };
        assert!(corrupt(home.open(ObjectKind::Segment, object(1), &forged, &old)));
        assert_eq!(home.pseudonym(&[b"x"]), pseudonym, "names stay what they were");
    }
    let (stranger, _) = Home::create_place(&world.keys, PlaceKind::Namespace, world.uuid(1), &world.entropy).unwrap();
    let theirs = stranger.rewrap(&world.keys, &world.entropy).unwrap();
    assert!(matches!(home.refresh(&world.keys, &theirs), Err(Error::Misplaced(_))), "another place's keys");
    let again = home.with_next_key(&world.keys, &world.entropy).unwrap();
    home.refresh(&world.keys, &again).unwrap();
    assert_eq!((Home::keys_in(&one), Home::keys_in(&again)), (Some(1), Some(2)));
    assert_eq!(Home::keys_in(&WrappedKey { epoch: KeyEpoch(1), bytes: vec![0; 64] }), None);
    assert_eq!(home.epochs(), [KeyEpoch(3), KeyEpoch(2)], "epochs are not reused");
}

#[test]
fn a_signer_is_its_places() {
    let world = World::new();
    let home = world.namespace();
    let (signer, wrapped) = home.create_signer(&world.entropy).unwrap();
    let again = home.signer(&wrapped).unwrap();
    assert_eq!(signer.public("x"), again.public("x"));
    assert!(home.twins().iter().all(|other| other.signer(&wrapped).is_err()));
    let object_key = home.seal(ObjectKind::Control, object(1), b"", &world.entropy).unwrap().1;
    assert!(home.signer(&object_key).is_err(), "no other wrap is a signer's");
}

#[test]
fn a_places_wrap_opens_as_that_place_only() {
    let world = World::new();
    let (_, wrapped) = Home::create_place(&world.keys, PlaceKind::Namespace, world.uuid(1), &world.entropy).unwrap();
    let place = |kind, uuid, wrapped: &WrappedKey| Home::place(&world.keys, kind, uuid, wrapped);
    place(PlaceKind::Namespace, world.uuid(1), &wrapped).unwrap();
    assert!(corrupt(place(PlaceKind::Audit, world.uuid(1), &wrapped)));
    assert!(corrupt(place(PlaceKind::Namespace, world.uuid(2), &wrapped)));
    for at in 0..wrapped.bytes.len() {
        let mut bytes = wrapped.bytes.clone();
        bytes[at] ^= 1;
        assert!(corrupt(place(PlaceKind::Namespace, world.uuid(1), &WrappedKey { bytes, ..wrapped })));
        let bytes = wrapped.bytes[..at].to_vec();
        assert!(corrupt(place(PlaceKind::Namespace, world.uuid(1), &WrappedKey { bytes, ..wrapped })));
    }
    let (other, _) = TenantKeys::create(&world.provider, life(2), &world.entropy).unwrap();
    assert!(corrupt(Home::place(&other, PlaceKind::Namespace, world.uuid(1), &wrapped)));
    assert!(matches!(world.namespace().rewrap(&other, &world.entropy), Err(Error::Misplaced(_))));
    assert!(matches!(place(PlaceKind::Control, world.uuid(1), &wrapped), Err(Error::Misplaced(_))));
    let control = Home::create_place(&world.keys, PlaceKind::Control, world.uuid(1), &world.entropy);
    assert!(matches!(control, Err(Error::Misplaced(_))));
}

#[test]
fn the_control_place_opens_under_its_root_key_only() {
    let world = World::new();
    let (home, wrapped) = Home::create_control(&world.provider, &world.entropy).unwrap();
    assert_eq!((home.kind(), home.incarnation()), (PlaceKind::Control, None));
    let whole = home.seal_whole(ObjectKind::Control, object(1), b"tenants", &world.entropy).unwrap();
    let again = Home::control(&world.provider, &wrapped).unwrap();
    assert_eq!(*again.open_whole(ObjectKind::Control, object(1), &whole).unwrap(), *b"tenants");
    assert!(matches!(home.rewrap(&world.keys, &world.entropy), Err(Error::Misplaced(_))));

    let stranger = LocalProvider::from_env_value(&"00".repeat(32), Arc::new(SeededEntropy::new(3))).unwrap();
    let error = Home::control(&stranger, &wrapped).unwrap_err();
    assert!(error.to_string().contains("is it the key that this data was created with?"));
    for at in 0..wrapped.bytes.len() {
        let mut bytes = wrapped.bytes.clone();
        bytes[at] ^= 1;
        assert!(Home::control(&world.provider, &WrappedKey { bytes, ..wrapped }).is_err(), "byte {at}");
        let bytes = wrapped.bytes[..at].to_vec();
        assert!(Home::control(&world.provider, &WrappedKey { bytes, ..wrapped }).is_err(), "cut to {at}");
    }
}

#[test]
fn prefixes_name_the_place_and_nobody() {
    let world = World::new();
    let uuid = world.uuid(1);
    let prefix = |kind| Home::create_place(&world.keys, kind, uuid, &world.entropy).unwrap().0.prefix();
    let tail = format!("/{:02x}/{uuid}/", crate::crypto::sha256(uuid.as_bytes())[0]);
    assert_eq!(prefix(PlaceKind::Namespace), format!("ns{tail}"));
    assert_eq!(prefix(PlaceKind::Directory), format!("dir{tail}"));
    assert_eq!(prefix(PlaceKind::Audit), format!("audit{tail}"));
    let control = Home::create_control(&world.provider, &world.entropy).unwrap().0.prefix();
    assert_eq!(control, "ctl/37/00000000-0000-0000-0000-000000000000/");
}

#[test]
fn macs_are_the_places_own_and_their_parts_do_not_run_together() {
    let world = World::new();
    let home = world.namespace();
    let mac = home.mac(b"label", &[b"ab", b"c"]);
    assert_eq!(mac, home.mac(b"label", &[b"ab", b"c"]));
    for other in [home.mac(b"label", &[b"a", b"bc"]), home.mac(b"label", &[b"abc"]), home.mac(b"labe", &[b"lab", b"c"])]
    {
        assert_ne!(mac, other);
    }
    let (other, _) = Home::create_place(&world.keys, PlaceKind::Namespace, world.uuid(1), &world.entropy).unwrap();
    assert_ne!(mac, other.mac(b"label", &[b"ab", b"c"]));
    assert_eq!(home.pseudonym(&[b"x"]), home.mac(b"pseudonym", &[b"x"])[..16]);
}

#[test]
fn debug_shows_kind_and_uuid() {
    let world = World::new();
    assert_eq!(format!("{:?}", world.namespace()), "Home(Namespace 01010101-0101-0101-0101-010101010101)");
}

#[test]
fn codes_on_disk_are_their_own() {
    let codes: HashSet<u8> = KINDS.iter().map(|k| k.code()).collect();
    assert_eq!(codes.len(), KINDS.len());
    assert!(KINDS.iter().all(|k| ObjectKind::from_code(k.code()) == Some(*k)));
    assert_eq!(ObjectKind::from_code(0), None);
}

/// One tenant with one key, which may do everything.
struct OneTenant {
    pepper: Pepper,
    key: Arc<KeyRecord>,
}

impl Credentials for OneTenant {
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        (*id == self.key.id).then(|| self.key.clone())
    }
    fn operator(&self, _: &KeyId) -> Option<Arc<OperatorRecord>> {
        None
    }
    fn tenant(&self, _: &TenantId) -> Option<TenantFacts> {
        let quotas = Quotas::default();
        Some(TenantFacts { incarnation: self.key.incarnation, state: TenantState::Active, quotas })
    }
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        self.pepper.mac(secret)
    }
}

fn grant(incarnation: Incarnation, namespace: Option<&str>) -> Grant<Search> {
    let entropy = SeededEntropy::new(20);
    let (pepper, _) = Pepper::generate(&entropy);
    let (id, whole, secret) = token::mint(access::TokenKind::Key, &entropy);
    let key = Arc::new(KeyRecord {
        id,
        tenant: TenantId::parse("acme").unwrap(),
        incarnation,
        name: String::new(),
        mac: pepper.mac(secret.as_bytes()),
        scopes: Scope::ALL.to_vec(),
        principals: Vec::new(),
        namespaces: Vec::new(),
        created_at: Timestamp::default(),
        expires_at: None,
    });
    let gate = Gate::new(Arc::new(OneTenant { pepper, key }), Arc::new(ManualClock::new(Timestamp::default())));
    let namespace = namespace.map(|n| NamespaceName::parse(n).unwrap());
    let request = RequestId::from_bytes([1; 16]);
    gate.admit(Some(&whole), Ask { namespace, request, trace: None, presence: kernel::Presence::default() }).unwrap()
}

/// A directory that hands out whatever it was given, right or wrong.
struct Careless {
    namespace: Option<Arc<Home>>,
    audit: Arc<Home>,
    asked: Mutex<Vec<Incarnation>>,
}

/// A future that waits for nobody.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

impl Directory for Careless {
    fn namespace(&self, incarnation: Incarnation, _: &NamespaceName) -> Result<Option<Arc<Home>>, kernel::Error> {
        self.asked.lock().unwrap().push(incarnation);
        Ok(self.namespace.clone())
    }
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<Arc<Home>, kernel::Error>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(incarnation);
            Ok(self.audit.clone())
        })
    }
}

#[test]
fn a_home_is_entered_by_its_own_tenants_grant_only() {
    let world = World::new();
    let place = |kind| Arc::new(Home::create_place(&world.keys, kind, world.uuid(1), &world.entropy).unwrap().0);
    let (namespace, audit) = (place(PlaceKind::Namespace), place(PlaceKind::Audit));
    let directory = |namespace: Option<&Arc<Home>>, audit: &Arc<Home>| Careless {
        namespace: namespace.cloned(),
        audit: audit.clone(),
        asked: Mutex::default(),
    };
    let right = directory(Some(&namespace), &audit);
    let mine = grant(life(1), Some("docs"));
    assert_eq!(Home::enter(&mine, &right).unwrap().kind(), PlaceKind::Namespace);
    assert_eq!(now(Home::audit(&mine, &right)).unwrap().kind(), PlaceKind::Audit);
    assert_eq!(now(Home::audit_for(&mine.tenure(), &right)).unwrap().kind(), PlaceKind::Audit);
    assert_eq!(*right.asked.lock().unwrap(), [life(1); 3]);

    let code = |answer: Result<Arc<Home>, kernel::Error>| answer.unwrap_err().code;
    let stranger = grant(life(2), Some("docs"));
    assert_eq!(code(Home::enter(&stranger, &right)), Code::Internal);
    assert_eq!(code(now(Home::audit(&stranger, &right))), Code::Internal);
    assert_eq!(code(now(Home::audit_for(&stranger.tenure(), &right))), Code::Internal);

    let mixed = directory(Some(&audit), &namespace);
    assert_eq!(code(Home::enter(&mine, &mixed)), Code::Internal);
    assert_eq!(code(now(Home::audit(&mine, &mixed))), Code::Internal);
    assert_eq!(code(Home::enter(&mine, &directory(None, &audit))), Code::NotFound);
    assert_eq!(code(Home::enter(&grant(life(1), None), &right)), Code::Internal);
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let world = World::new();
        let home = world.namespace();
        let wrapped = WrappedKey { epoch: KeyEpoch(1), bytes: bytes.clone() };
        prop_assert!(home.open_whole(ObjectKind::Segment, object(1), &bytes).is_err());
        let key = wrapped.clone();
        prop_assert!(home.open(ObjectKind::Segment, object(1), &key, &bytes).is_err());
        prop_assert!(Home::place(&world.keys, PlaceKind::Namespace, world.uuid(1), &wrapped).is_err());
        prop_assert!(Home::control(&world.provider, &wrapped).is_err());
    }
}
