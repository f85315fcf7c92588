use super::*;
use crate::{LocalProvider, floe};
use access::{
    Credentials, Gate, KeyRecord, OperatorRecord, Pepper, RequestInfo, Search, TenantFacts, TenantState, token,
};
use kernel::{
    Code, KeyId, ManualClock, Plaintext, Pseudonymiser, Quotas, ReadAt, RequestId, Scope, SeededEntropy, TenantId,
    Timestamp,
};
use proptest::prelude::*;
use std::{collections::HashSet, sync::Mutex};

pub(crate) struct VaultFixture {
    pub(crate) entropy: SeededEntropy,
    pub(crate) provider: LocalProvider,
    pub(crate) keys: TenantKeys,
}

impl VaultFixture {
    pub(crate) fn new() -> Self {
        let entropy = SeededEntropy::new(1);
        let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(SeededEntropy::new(2))).unwrap();
        let (keys, _) = TenantKeys::create(&provider, incarnation_of(1), &entropy).unwrap();
        Self { entropy, provider, keys }
    }

    pub(crate) fn uuid(&self, n: u8) -> NamespaceUuid {
        NamespaceUuid::from_bytes([n; 16])
    }

    pub(crate) fn namespace(&self) -> Keyspace {
        Keyspace::create(&self.keys, KeyspaceKind::Namespace, self.uuid(1), &self.entropy).unwrap().0
    }
}

impl Keyspace {
    /// The same keys under another identity: what an attacker with a keyspace key would have to fabricate.
    pub(crate) fn with_identity(
        &self,
        kind: KeyspaceKind,
        uuid: NamespaceUuid,
        incarnation: Option<Incarnation>,
    ) -> Keyspace {
        let mac_key = SecretKey::from_slice(self.mac_key.bytes()).unwrap();
        Keyspace::with_keys(kind, uuid, incarnation, self.keys().copied(), mac_key)
    }

    /// One copy with a changed identity for each part of the identity.
    pub(crate) fn with_changed_identities(&self) -> [Keyspace; 4] {
        [
            self.with_identity(self.kind, self.uuid, Some(incarnation_of(99))),
            self.with_identity(self.kind, self.uuid, None),
            self.with_identity(self.kind, NamespaceUuid::from_bytes([99; 16]), self.incarnation),
            self.with_identity(KeyspaceKind::Audit, self.uuid, self.incarnation),
        ]
    }
}

fn incarnation_of(n: u8) -> Incarnation {
    Incarnation::from_bytes([n; 16])
}

fn object(n: u8) -> ObjectUuid {
    ObjectUuid::from_bytes([n; 16])
}

fn corrupt<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Corrupt { .. }))
}

/// Opens sealed bytes both in memory and through a source, which must agree.
pub(crate) trait OpenBothWays {
    fn open_both(&self, kind: ObjectKind, object: ObjectUuid, key: &WrappedKey, sealed: &[u8]) -> Result<Plaintext>;
    fn open_whole_both(&self, kind: ObjectKind, object: ObjectUuid, sealed: &[u8]) -> Result<Plaintext>;
}

impl OpenBothWays for Keyspace {
    fn open_both(&self, kind: ObjectKind, object: ObjectUuid, key: &WrappedKey, sealed: &[u8]) -> Result<Plaintext> {
        let source: Arc<dyn ReadAt> = Arc::new(sealed.to_vec());
        require_same_result(self.open(kind, object, key, sealed), self.open_from(kind, object, key, &source))
    }

    fn open_whole_both(&self, kind: ObjectKind, object: ObjectUuid, sealed: &[u8]) -> Result<Plaintext> {
        let source: Arc<dyn ReadAt> = Arc::new(sealed.to_vec());
        require_same_result(self.open_whole(kind, object, sealed), self.open_whole_from(kind, object, &source))
    }
}

fn require_same_result(in_memory: Result<Plaintext>, read: Result<Plaintext>) -> Result<Plaintext> {
    match (&in_memory, &read) {
        (Ok(in_memory), Ok(read)) => assert!(in_memory == read),
        (Err(in_memory), Err(Error::Corrupt { .. })) => {
            assert!(matches!(in_memory, Error::Corrupt { .. }), "{in_memory:?}")
        }
        both => panic!("{both:?}"),
    }
    in_memory
}

const KINDS: [ObjectKind; 4] =
    [ObjectKind::Segment, ObjectKind::Checkpoint, ObjectKind::AuditChunk, ObjectKind::Control];

#[test]
fn objects_are_read_back() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    for kind in KINDS {
        for plain in [&b""[..], b"x", &[3; 5_000], &[4; (2 << 20) + 9]] {
            let (sealed, key) = keyspace.seal(kind, object(1), plain, &fixture.entropy).unwrap();
            assert_eq!(*keyspace.open_both(kind, object(1), &key, &sealed).unwrap(), *plain);
            let whole = keyspace.seal_whole(kind, object(1), plain, &fixture.entropy).unwrap();
            assert_eq!(*keyspace.open_whole_both(kind, object(1), &whole).unwrap(), *plain);
        }
    }
}

#[test]
fn an_object_opens_as_itself_only() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (sealed, key) = keyspace.seal(ObjectKind::Segment, object(1), b"text", &fixture.entropy).unwrap();
    let whole = keyspace.seal_whole(ObjectKind::Segment, object(1), b"text", &fixture.entropy).unwrap();
    for kind in &KINDS[1..] {
        assert!(corrupt(keyspace.open_both(*kind, object(1), &key, &sealed)));
        assert!(corrupt(keyspace.open_whole_both(*kind, object(1), &whole)));
    }
    assert!(corrupt(keyspace.open_both(ObjectKind::Segment, object(2), &key, &sealed)));
    assert!(corrupt(keyspace.open_whole_both(ObjectKind::Segment, object(2), &whole)));
    let epoch = WrappedKey { epoch: KeyEpoch(2), ..key.clone() };
    assert!(corrupt(keyspace.open_both(ObjectKind::Segment, object(1), &epoch, &sealed)));
    let (others, other_key) = keyspace.seal(ObjectKind::Segment, object(1), b"text", &fixture.entropy).unwrap();
    assert!(corrupt(keyspace.open_both(ObjectKind::Segment, object(1), &other_key, &sealed)));
    assert!(corrupt(keyspace.open_both(ObjectKind::Segment, object(1), &key, &others)));
}

/// The object's own associated data without the wrap's binding: every field counts by itself.
#[test]
fn an_object_is_bound_to_every_field_of_its_identity() {
    let base = (Some(incarnation_of(1)), NamespaceUuid::from_bytes([2; 16]), ObjectKind::Segment, object(3));
    let encode = |(i, p, k, o)| identity::object(i, p, k, o);
    let key = [4; 32];
    let sealed = floe::seal(&floe::OBJECTS, &key, &encode(base), b"text", &SeededEntropy::new(1));
    let opens = |aad: &[u8]| floe::open(&floe::OBJECTS, &key, aad, &sealed).is_ok();
    assert!(opens(&encode(base)));
    assert!(!opens(&encode((Some(incarnation_of(9)), base.1, base.2, base.3))));
    assert!(!opens(&encode((None, base.1, base.2, base.3))));
    assert!(!opens(&encode((base.0, NamespaceUuid::from_bytes([9; 16]), base.2, base.3))));
    assert!(!opens(&encode((base.0, base.1, ObjectKind::Checkpoint, base.3))));
    assert!(!opens(&encode((base.0, base.1, base.2, object(9)))));
    // Fields that are swapped.
    assert!(!opens(&encode((Some(incarnation_of(3)), base.1, base.2, object(1)))));
}

#[test]
fn every_changed_byte_and_every_truncation_is_refused() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (sealed, key) = keyspace.seal(ObjectKind::Checkpoint, object(1), b"small", &fixture.entropy).unwrap();
    let whole = keyspace.seal_whole(ObjectKind::Checkpoint, object(1), b"small", &fixture.entropy).unwrap();
    let open = |key: &WrappedKey, sealed: &[u8]| keyspace.open_both(ObjectKind::Checkpoint, object(1), key, sealed);
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
            let result = keyspace.open_whole_both(ObjectKind::Checkpoint, object(1), &changed(&whole, at, bit));
            assert!(corrupt(result), "whole, byte {at}");
        }
    }
    for at in 0..whole.len() {
        assert!(
            corrupt(keyspace.open_whole_both(ObjectKind::Checkpoint, object(1), &whole[..at])),
            "whole, cut to {at}"
        );
    }
    for at in 0..sealed.len() {
        assert!(corrupt(open(&key, &sealed[..at])), "object, cut to {at}");
    }
    for at in 0..key.bytes.len() {
        assert!(corrupt(open(&WrappedKey { bytes: key.bytes[..at].to_vec(), ..key }, &sealed)), "key, cut to {at}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(corrupt(keyspace.open_whole_both(ObjectKind::Checkpoint, object(1), &longer)));
}

#[test]
fn sealed_bytes_reveal_neither_content_nor_owner() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let text = b"the merger is on the ninth";
    let whole = keyspace.seal_whole(ObjectKind::Segment, object(50), text, &fixture.entropy).unwrap();
    let (prologue, mut sealer) = keyspace.start_log(object(51), LogEpoch(1), &fixture.entropy).unwrap();
    let frame = sealer.seal(1, text, &fixture.entropy).unwrap();
    for bytes in [whole, prologue, frame] {
        assert!(!bytes.windows(6).any(|w| w == &text[4..10]));
        assert!(!bytes.windows(16).any(|w| w == incarnation_of(1).as_bytes()), "the owner is not revealed either");
        let key = keyspace.keys();
        assert!(!bytes.windows(32).any(|w| w == key.newest().1.bytes() || w == keyspace.mac_key.bytes()));
    }
}

#[test]
fn a_rewrap_leaves_objects_as_they_are() {
    let fixture = VaultFixture::new();
    let (keyspace, first) =
        Keyspace::create(&fixture.keys, KeyspaceKind::Namespace, fixture.uuid(1), &fixture.entropy).unwrap();
    let (sealed, key) = keyspace.seal(ObjectKind::Segment, object(1), b"old", &fixture.entropy).unwrap();
    let (prologue, _) = keyspace.start_log(object(2), LogEpoch(1), &fixture.entropy).unwrap();
    let mac = keyspace.mac(b"label", &[b"part"]);

    let (rotated, _) = fixture.keys.rotated(&fixture.provider, &fixture.entropy).unwrap();
    let second = keyspace.rewrap(&rotated, &fixture.entropy).unwrap();
    assert_eq!((first.epoch, second.epoch), (KeyEpoch(1), KeyEpoch(2)));
    let left = rotated.without(KeyEpoch(1));
    let open =
        |keys: &TenantKeys, wrapped| Keyspace::from_wrapped(keys, KeyspaceKind::Namespace, fixture.uuid(1), wrapped);

    let reopened = open(&left, &second).unwrap();
    assert_eq!(*reopened.open(ObjectKind::Segment, object(1), &key, &sealed).unwrap(), *b"old");
    reopened.open_log(&prologue).unwrap();
    assert_eq!(reopened.mac(b"label", &[b"part"]), mac);
    // Both wraps open until the old epoch is destroyed; then the old one no longer does.
    open(&rotated, &first).unwrap();
    assert!(matches!(open(&left, &first), Err(Error::NoEpoch(KeyEpoch(1)))));
    let forged = WrappedKey { epoch: KeyEpoch(2), ..first.clone() };
    assert!(corrupt(open(&left, &forged)));
    let lost = left.without(KeyEpoch(2));
    assert!(matches!(keyspace.rewrap(&lost, &fixture.entropy), Err(Error::NoEpoch(_))));
}

#[test]
fn keyspace_keys_rotate_and_old_ones_no_longer_open() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let open = |wrapped: &WrappedKey| {
        Keyspace::from_wrapped(&fixture.keys, KeyspaceKind::Namespace, fixture.uuid(1), wrapped).unwrap()
    };
    let (old, old_key) = keyspace.seal(ObjectKind::Segment, object(1), b"old", &fixture.entropy).unwrap();
    let old_whole = keyspace.seal_whole(ObjectKind::Checkpoint, object(2), b"old", &fixture.entropy).unwrap();
    let (old_log, _) = keyspace.start_log(object(3), LogEpoch(1), &fixture.entropy).unwrap();
    let pseudonym = keyspace.pseudonym(&[b"x"]);

    let both = keyspace.with_next_key(&fixture.keys, &fixture.entropy).unwrap();
    assert_eq!(keyspace.epochs(), [KeyEpoch(1)], "the new key is not used before it is durable");
    let (_, key) = keyspace.seal(ObjectKind::Segment, object(4), b"", &fixture.entropy).unwrap();
    assert_eq!((key.epoch, keyspace.wraps()), (KeyEpoch(1), 4));
    keyspace.install_keys(&fixture.keys, &both).unwrap();
    let (new, new_key) = keyspace.seal(ObjectKind::Segment, object(5), b"new", &fixture.entropy).unwrap();
    assert_eq!((new_key.epoch, keyspace.wraps()), (KeyEpoch(2), 1));
    for keyspace in [&keyspace, &open(&both)] {
        assert_eq!(keyspace.epochs(), [KeyEpoch(2), KeyEpoch(1)]);
        assert_eq!(*keyspace.open(ObjectKind::Segment, object(1), &old_key, &old).unwrap(), *b"old");
        assert_eq!(*keyspace.open(ObjectKind::Segment, object(5), &new_key, &new).unwrap(), *b"new");
        assert_eq!(*keyspace.open_whole(ObjectKind::Checkpoint, object(2), &old_whole).unwrap(), *b"old");
        keyspace.open_log(&old_log).unwrap();
    }

    let one = keyspace.without_old_keys(&fixture.keys, &fixture.entropy).unwrap();
    keyspace.install_keys(&fixture.keys, &one).unwrap();
    for keyspace in [&keyspace, &open(&one)] {
        assert_eq!((keyspace.epochs(), keyspace.epoch()), (vec![KeyEpoch(2)], KeyEpoch(2)));
        assert_eq!(*keyspace.open(ObjectKind::Segment, object(5), &new_key, &new).unwrap(), *b"new");
        assert!(corrupt(keyspace.open(ObjectKind::Segment, object(1), &old_key, &old)));
        assert!(corrupt(keyspace.open_whole(ObjectKind::Checkpoint, object(2), &old_whole)));
        assert!(corrupt(keyspace.open_log(&old_log)));
        // Naming the existing key does not help.
        let forged = WrappedKey { epoch: KeyEpoch(2), ..old_key.clone() };
        assert!(corrupt(keyspace.open(ObjectKind::Segment, object(1), &forged, &old)));
        assert_eq!(keyspace.pseudonym(&[b"x"]), pseudonym, "pseudonyms are unchanged");
    }
    let (stranger, _) =
        Keyspace::create(&fixture.keys, KeyspaceKind::Namespace, fixture.uuid(1), &fixture.entropy).unwrap();
    let theirs = stranger.rewrap(&fixture.keys, &fixture.entropy).unwrap();
    assert!(
        matches!(keyspace.install_keys(&fixture.keys, &theirs), Err(Error::Mismatch(_))),
        "another keyspace's keys"
    );
    let again = keyspace.with_next_key(&fixture.keys, &fixture.entropy).unwrap();
    keyspace.install_keys(&fixture.keys, &again).unwrap();
    assert_eq!((Keyspace::key_count(&one), Keyspace::key_count(&again)), (Some(1), Some(2)));
    assert_eq!(Keyspace::key_count(&WrappedKey { epoch: KeyEpoch(1), bytes: vec![0; 64] }), None);
    assert_eq!(keyspace.epochs(), [KeyEpoch(3), KeyEpoch(2)], "epochs are not reused");
}

#[test]
fn a_signer_opens_in_its_own_keyspace_only() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (signer, wrapped) = keyspace.create_signer(&fixture.entropy).unwrap();
    let again = keyspace.signer(&wrapped).unwrap();
    assert_eq!(signer.public("x"), again.public("x"));
    assert!(keyspace.with_changed_identities().iter().all(|other| other.signer(&wrapped).is_err()));
    let object_key = keyspace.seal(ObjectKind::Control, object(1), b"", &fixture.entropy).unwrap().1;
    assert!(keyspace.signer(&object_key).is_err(), "no other wrap opens as a signer's");
}

#[test]
fn a_keyspace_wrap_opens_as_that_keyspace_only() {
    let fixture = VaultFixture::new();
    let (_, wrapped) =
        Keyspace::create(&fixture.keys, KeyspaceKind::Namespace, fixture.uuid(1), &fixture.entropy).unwrap();
    let open = |kind, uuid, wrapped: &WrappedKey| Keyspace::from_wrapped(&fixture.keys, kind, uuid, wrapped);
    open(KeyspaceKind::Namespace, fixture.uuid(1), &wrapped).unwrap();
    assert!(corrupt(open(KeyspaceKind::Audit, fixture.uuid(1), &wrapped)));
    assert!(corrupt(open(KeyspaceKind::Namespace, fixture.uuid(2), &wrapped)));
    for at in 0..wrapped.bytes.len() {
        let mut bytes = wrapped.bytes.clone();
        bytes[at] ^= 1;
        assert!(corrupt(open(KeyspaceKind::Namespace, fixture.uuid(1), &WrappedKey { bytes, ..wrapped })));
        let bytes = wrapped.bytes[..at].to_vec();
        assert!(corrupt(open(KeyspaceKind::Namespace, fixture.uuid(1), &WrappedKey { bytes, ..wrapped })));
    }
    let (other, _) = TenantKeys::create(&fixture.provider, incarnation_of(2), &fixture.entropy).unwrap();
    assert!(corrupt(Keyspace::from_wrapped(&other, KeyspaceKind::Namespace, fixture.uuid(1), &wrapped)));
    assert!(matches!(fixture.namespace().rewrap(&other, &fixture.entropy), Err(Error::Mismatch(_))));
    assert!(matches!(open(KeyspaceKind::Control, fixture.uuid(1), &wrapped), Err(Error::Mismatch(_))));
    let control = Keyspace::create(&fixture.keys, KeyspaceKind::Control, fixture.uuid(1), &fixture.entropy);
    assert!(matches!(control, Err(Error::Mismatch(_))));
}

#[test]
fn the_control_keyspace_opens_under_its_root_key_only() {
    let fixture = VaultFixture::new();
    let (keyspace, wrapped) = Keyspace::create_control(&fixture.provider, &fixture.entropy).unwrap();
    assert_eq!((keyspace.kind(), keyspace.incarnation()), (KeyspaceKind::Control, None));
    let whole = keyspace.seal_whole(ObjectKind::Control, object(1), b"tenants", &fixture.entropy).unwrap();
    let again = Keyspace::control(&fixture.provider, &wrapped).unwrap();
    assert_eq!(*again.open_whole(ObjectKind::Control, object(1), &whole).unwrap(), *b"tenants");
    assert!(matches!(keyspace.rewrap(&fixture.keys, &fixture.entropy), Err(Error::Mismatch(_))));

    let stranger = LocalProvider::from_env_value(&"00".repeat(32), Arc::new(SeededEntropy::new(3))).unwrap();
    let error = Keyspace::control(&stranger, &wrapped).unwrap_err();
    assert!(error.to_string().contains("is it the key that this data was created with?"));
    for at in 0..wrapped.bytes.len() {
        let mut bytes = wrapped.bytes.clone();
        bytes[at] ^= 1;
        assert!(Keyspace::control(&fixture.provider, &WrappedKey { bytes, ..wrapped }).is_err(), "byte {at}");
        let bytes = wrapped.bytes[..at].to_vec();
        assert!(Keyspace::control(&fixture.provider, &WrappedKey { bytes, ..wrapped }).is_err(), "cut to {at}");
    }
}

#[test]
fn prefixes_name_the_keyspace_and_not_its_owner() {
    let fixture = VaultFixture::new();
    let uuid = fixture.uuid(1);
    let prefix = |kind| Keyspace::create(&fixture.keys, kind, uuid, &fixture.entropy).unwrap().0.prefix();
    let tail = format!("/{:02x}/{uuid}/", crate::crypto::sha256(uuid.as_bytes())[0]);
    assert_eq!(prefix(KeyspaceKind::Namespace), format!("ns{tail}"));
    assert_eq!(prefix(KeyspaceKind::Directory), format!("dir{tail}"));
    assert_eq!(prefix(KeyspaceKind::Audit), format!("audit{tail}"));
    let control = Keyspace::create_control(&fixture.provider, &fixture.entropy).unwrap().0.prefix();
    assert_eq!(control, "ctl/37/00000000-0000-0000-0000-000000000000/");
}

#[test]
fn macs_depend_on_the_keyspace_and_on_part_boundaries() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let mac = keyspace.mac(b"label", &[b"ab", b"c"]);
    assert_eq!(mac, keyspace.mac(b"label", &[b"ab", b"c"]));
    for other in [
        keyspace.mac(b"label", &[b"a", b"bc"]),
        keyspace.mac(b"label", &[b"abc"]),
        keyspace.mac(b"labe", &[b"lab", b"c"]),
    ] {
        assert_ne!(mac, other);
    }
    let (other, _) =
        Keyspace::create(&fixture.keys, KeyspaceKind::Namespace, fixture.uuid(1), &fixture.entropy).unwrap();
    assert_ne!(mac, other.mac(b"label", &[b"ab", b"c"]));
    assert_eq!(keyspace.pseudonym(&[b"x"]), keyspace.mac(b"pseudonym", &[b"x"])[..16]);
}

#[test]
fn debug_shows_kind_and_uuid() {
    let fixture = VaultFixture::new();
    assert_eq!(format!("{:?}", fixture.namespace()), "Keyspace(Namespace 01010101-0101-0101-0101-010101010101)");
}

#[test]
fn codes_on_disk_are_unique() {
    let codes: HashSet<u8> = KINDS.iter().map(|k| k.code()).collect();
    assert_eq!(codes.len(), KINDS.len());
    assert!(KINDS.iter().all(|k| ObjectKind::from_code(k.code()) == Some(*k)));
    assert_eq!(ObjectKind::from_code(0), None);
}

/// One tenant with one key, which has all scopes.
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
    gate.admit(Some(&whole), RequestInfo { namespace, request, trace: None, cancel: kernel::CancelFlag::default() })
        .unwrap()
}

/// A directory that returns whatever it was given, right or wrong.
struct UncheckedDirectory {
    namespace: Option<Arc<Keyspace>>,
    audit: Arc<Keyspace>,
    requested: Mutex<Vec<Incarnation>>,
}

/// Polls a future that must be ready at once.
fn poll_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("the future is not ready"),
    }
}

impl Directory for UncheckedDirectory {
    fn namespace(&self, incarnation: Incarnation, _: &NamespaceName) -> Result<Option<Arc<Keyspace>>, kernel::Error> {
        self.requested.lock().unwrap().push(incarnation);
        Ok(self.namespace.clone())
    }
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<Arc<Keyspace>, kernel::Error>> {
        Box::pin(async move {
            self.requested.lock().unwrap().push(incarnation);
            Ok(self.audit.clone())
        })
    }
}

#[test]
fn a_keyspace_is_returned_for_its_own_tenants_grant_only() {
    let fixture = VaultFixture::new();
    let create = |kind| Arc::new(Keyspace::create(&fixture.keys, kind, fixture.uuid(1), &fixture.entropy).unwrap().0);
    let (namespace, audit) = (create(KeyspaceKind::Namespace), create(KeyspaceKind::Audit));
    let directory = |namespace: Option<&Arc<Keyspace>>, audit: &Arc<Keyspace>| UncheckedDirectory {
        namespace: namespace.cloned(),
        audit: audit.clone(),
        requested: Mutex::default(),
    };
    let right = directory(Some(&namespace), &audit);
    let mine = grant(incarnation_of(1), Some("docs"));
    assert_eq!(Keyspace::enter(&mine, &right).unwrap().kind(), KeyspaceKind::Namespace);
    assert_eq!(poll_once(Keyspace::audit(&mine, &right)).unwrap().kind(), KeyspaceKind::Audit);
    assert_eq!(poll_once(Keyspace::audit_for(&mine.background_grant(), &right)).unwrap().kind(), KeyspaceKind::Audit);
    assert_eq!(*right.requested.lock().unwrap(), [incarnation_of(1); 3]);

    let code = |result: Result<Arc<Keyspace>, kernel::Error>| result.unwrap_err().code;
    let stranger = grant(incarnation_of(2), Some("docs"));
    assert_eq!(code(Keyspace::enter(&stranger, &right)), Code::Internal);
    assert_eq!(code(poll_once(Keyspace::audit(&stranger, &right))), Code::Internal);
    assert_eq!(code(poll_once(Keyspace::audit_for(&stranger.background_grant(), &right))), Code::Internal);

    let mixed = directory(Some(&audit), &namespace);
    assert_eq!(code(Keyspace::enter(&mine, &mixed)), Code::Internal);
    assert_eq!(code(poll_once(Keyspace::audit(&mine, &mixed))), Code::Internal);
    assert_eq!(code(Keyspace::enter(&mine, &directory(None, &audit))), Code::NotFound);
    assert_eq!(code(Keyspace::enter(&grant(incarnation_of(1), None), &right)), Code::Internal);
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let fixture = VaultFixture::new();
        let keyspace = fixture.namespace();
        let wrapped = WrappedKey { epoch: KeyEpoch(1), bytes: bytes.clone() };
        prop_assert!(keyspace.open_whole(ObjectKind::Segment, object(1), &bytes).is_err());
        let key = wrapped.clone();
        prop_assert!(keyspace.open(ObjectKind::Segment, object(1), &key, &bytes).is_err());
        prop_assert!(Keyspace::from_wrapped(&fixture.keys, KeyspaceKind::Namespace, fixture.uuid(1), &wrapped).is_err());
        prop_assert!(Keyspace::control(&fixture.provider, &wrapped).is_err());
    }
}
