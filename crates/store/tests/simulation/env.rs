//! Environment that all simulated processes share: two tenants, their keys, the directory, the audit log, and documents
//! that are nearly equal in all namespaces.

use crate::rng::Rng;
use access::{
    Action, Credentials, Gate, Grant, KeyRecord, OperatorRecord, Pepper, RequestInfo, TenantFacts, TenantState,
    TokenKind, token::mint,
};
use intake::{Admitted, RawBody, RawDocument, VectorProfile, Verdict};
use kernel::{
    AttrValue, AuditOutboxRecord, AuditPosition, BoxFuture, Chunking, Clock, CommitNo, Distance, DocumentId, Embedding,
    Entropy, Incarnation, KeyId, NamespaceName, NamespaceSettings, NamespaceUuid, Pseudonymiser, Quotas, RequestId,
    Scalar, Scope, Screening, SeededEntropy, TenantId, Timestamp, Untrusted,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use vault::{Directory, Keyspace, KeyspaceKind, LocalProvider, TenantKeys};

pub(crate) const TENANTS: [&str; 2] = ["acme", "umbra"];
pub(crate) const NAMES: [&str; 3] = ["docs", "mail", "notes"];
/// Number of documents of a namespace; all namespaces use the same ids.
pub(crate) const DOCS: u8 = 8;
pub(crate) const DIMENSIONS: usize = 4;

pub(crate) struct SimEnv {
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) directory: Arc<SimDirectory>,
    pub(crate) audit: Arc<SimAudit>,
    /// Start of the simulation.
    pub(crate) began: Instant,
    gate: Gate,
    tenants: BTreeMap<&'static str, Tenant>,
}

struct Tenant {
    incarnation: Incarnation,
    keys_of_tenant: TenantKeys,
    token: String,
}

/// Keyspaces by incarnation and name. Every process sees a change at once.
#[derive(Default)]
pub(crate) struct SimDirectory(Mutex<HashMap<(Incarnation, NamespaceName), Arc<Keyspace>>>);

/// Audit log that keeps one record per commit, as the ledger does.
#[derive(Default)]
pub(crate) struct SimAudit {
    lines: Mutex<BTreeMap<(String, CommitNo), Vec<u8>>>,
    marks: Mutex<HashMap<NamespaceUuid, AuditPosition>>,
    /// Commits that arrived with two different records.
    pub(crate) twice: Mutex<Vec<(NamespaceUuid, u64)>>,
}

/// tokio's clock with an offset for the wall time of one process.
pub(crate) struct SimClock {
    /// Start of the simulation.
    began: Instant,
    start: Instant,
    wrong_by: Duration,
}

impl SimEnv {
    pub(crate) fn new(seed: u64) -> Self {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        let began = Instant::now();
        let clock = SimClock::new(began, Duration::ZERO);
        let (pepper, _) = Pepper::generate(&*entropy);
        let mut keys = SimCredentials { keys: HashMap::new(), tenants: HashMap::new(), pepper };
        let provider = LocalProvider::from_env_value(&"5a".repeat(32), entropy.clone()).unwrap();
        let mut tenants = BTreeMap::new();
        for name in TENANTS {
            let incarnation = Incarnation::random(&*entropy);
            let (keys_of_tenant, _) = TenantKeys::create(&provider, incarnation, &*entropy).unwrap();
            let token = keys.add(name, incarnation, &clock, &*entropy);
            tenants.insert(name, Tenant { incarnation, keys_of_tenant, token });
        }
        let gate = Gate::new(Arc::new(keys), Arc::new(clock));
        Self { entropy, directory: Arc::default(), audit: Arc::default(), began, gate, tenants }
    }

    /// Creates the keyspace of a new namespace, which has no name yet.
    pub(crate) fn keyspace(&self, tenant: &str) -> Arc<Keyspace> {
        let uuid = NamespaceUuid::random(&*self.entropy);
        let keys_of_tenant = &self.tenants[tenant].keys_of_tenant;
        Arc::new(Keyspace::create(keys_of_tenant, KeyspaceKind::Namespace, uuid, &*self.entropy).unwrap().0)
    }

    /// Gives a keyspace its next key in addition to the one it has, as a rotation begins.
    pub(crate) fn next_key(&self, tenant: &str, keyspace: &Keyspace) {
        let keys_of_tenant = &self.tenants[tenant].keys_of_tenant;
        keyspace
            .install_keys(keys_of_tenant, &keyspace.with_next_key(keys_of_tenant, &*self.entropy).unwrap())
            .unwrap();
    }

    /// Forgets the older key of a keyspace: what still needs it cannot be opened any more.
    pub(crate) fn forget_old_key(&self, tenant: &str, keyspace: &Keyspace) {
        let keys_of_tenant = &self.tenants[tenant].keys_of_tenant;
        keyspace
            .install_keys(keys_of_tenant, &keyspace.without_old_keys(keys_of_tenant, &*self.entropy).unwrap())
            .unwrap();
    }

    /// Gives a name to a keyspace, or removes the name.
    pub(crate) fn name(&self, tenant: &str, name: &str, keyspace: Option<Arc<Keyspace>>) {
        let key = (self.tenants[tenant].incarnation, NamespaceName::parse(name).unwrap());
        let mut directory = self.directory.0.lock().unwrap();
        match keyspace {
            Some(keyspace) => drop(directory.insert(key, keyspace)),
            None => drop(directory.remove(&key)),
        }
    }

    pub(crate) fn grant<A: Action>(&self, tenant: &str, name: &str) -> Grant<A> {
        let namespace = Some(NamespaceName::parse(name).unwrap());
        let ask = RequestInfo {
            namespace,
            request: RequestId::random(&*self.entropy),
            trace: None,
            cancel: kernel::CancelFlag::default(),
        };
        self.gate.admit(Some(&self.tenants[tenant].token), ask).unwrap_or_else(|r| panic!("{}", r.error))
    }

    pub(crate) fn incarnation(&self, tenant: &str) -> Incarnation {
        self.tenants[tenant].incarnation
    }
}

impl Directory for SimDirectory {
    fn namespace(
        &self,
        incarnation: Incarnation,
        name: &NamespaceName,
    ) -> Result<Option<Arc<Keyspace>>, kernel::Error> {
        Ok(self.0.lock().unwrap().get(&(incarnation, name.clone())).cloned())
    }

    fn audit(&self, _: Incarnation) -> BoxFuture<'_, Result<Arc<Keyspace>, kernel::Error>> {
        Box::pin(async move { Err(kernel::Error::not_found()) })
    }
}

impl SimAudit {
    pub(crate) fn append_from_outbox(&self, from: AuditOutboxRecord) {
        let mark = from.mark;
        let before = self.lines.lock().unwrap().insert((from.namespace.to_string(), mark.commit), from.line.clone());
        if before.is_some_and(|line| line != from.line) {
            self.twice.lock().unwrap().push((from.namespace, mark.commit.0));
        }
        let mut marks = self.marks.lock().unwrap();
        let newest = marks.entry(from.namespace).or_insert(mark);
        if newest.commit <= mark.commit {
            *newest = mark;
        }
    }

    /// Newest recorded mark of a namespace.
    pub(crate) fn mark(&self, namespace: NamespaceUuid) -> Option<AuditPosition> {
        self.marks.lock().unwrap().get(&namespace).copied()
    }

    /// The audit record of a commit.
    pub(crate) fn line(&self, namespace: NamespaceUuid, commit: u64) -> Option<Vec<u8>> {
        self.lines.lock().unwrap().get(&(namespace.to_string(), CommitNo(commit))).cloned()
    }
}

impl SimClock {
    pub(crate) fn new(began: Instant, wrong_by: Duration) -> Self {
        Self { began, start: Instant::now(), wrong_by }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus(self.wrong_by).plus(self.began.elapsed())
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Credentials of all tenants.
struct SimCredentials {
    keys: HashMap<KeyId, Arc<KeyRecord>>,
    tenants: HashMap<TenantId, TenantFacts>,
    pepper: Pepper,
}

impl SimCredentials {
    fn add(&mut self, tenant: &str, incarnation: Incarnation, clock: &dyn Clock, entropy: &dyn Entropy) -> String {
        let (id, whole, secret) = mint(TokenKind::Key, entropy);
        let tenant = TenantId::parse(tenant).unwrap();
        let record = KeyRecord {
            id: id.clone(),
            tenant: tenant.clone(),
            incarnation,
            name: String::new(),
            mac: self.pepper.mac(secret.as_bytes()),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            created_at: clock.now(),
            expires_at: None,
        };
        let facts = TenantFacts { incarnation, state: TenantState::Active, quotas: Quotas::default() };
        self.tenants.insert(tenant, facts);
        self.keys.insert(id, Arc::new(record));
        whole.to_string()
    }
}

impl Credentials for SimCredentials {
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        self.keys.get(id).cloned()
    }
    fn operator(&self, _: &KeyId) -> Option<Arc<OperatorRecord>> {
        None
    }
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts> {
        self.tenants.get(id).copied()
    }
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        self.pepper.mac(secret)
    }
}

pub(crate) fn settings() -> NamespaceSettings {
    NamespaceSettings {
        embedding: Embedding::Own { dimensions: DIMENSIONS.try_into().unwrap() },
        ..NamespaceSettings::default()
    }
}

pub(crate) fn doc_id(doc: u8) -> DocumentId {
    DocumentId::parse(&format!("doc-{doc}")).unwrap()
}

/// The number in an id that [`doc_id`] made.
pub(crate) fn doc_of(id: &DocumentId) -> u8 {
    id.as_str().trim_start_matches("doc-").parse().unwrap()
}

/// The word that only this version contains.
pub(crate) fn word(version: u64) -> String {
    format!("w{version}")
}

/// The version whose word is in a text.
pub(crate) fn version_in(text: &str) -> Option<u64> {
    text.split_whitespace().find_map(|word| word.strip_prefix('w')?.parse().ok())
}

/// A document of a namespace, admitted through the real intake. Only the namespace's tag and the version's word
/// distinguish it from its counterparts in other namespaces.
pub(crate) fn admitted(doc: u8, version: u64, tag: &str, rng: &mut Rng) -> Admitted {
    let filler = " river stone report".repeat(1 + rng.index(4) * rng.index(4));
    let raw = RawDocument {
        id: Some(doc_id(doc)),
        body: RawBody::Text(Untrusted::new(format!("{tag} {}{filler}", word(version)))),
        media_type: None,
        title: None,
        uri: None,
        attributes: [("year".to_owned(), AttrValue::One(Scalar::Num(f64::from(doc).into())))].into(),
        readers: None,
        vector: rng.chance(300).then(|| vec![1.0, f32::from(doc), 0.5, 0.25]),
        expires_at: None,
    };
    let identity = intake::identify(&raw, &[], &SimPseudonymiser);
    let Verdict::Screened(mut screened) = intake::screen(intake::parse(raw).unwrap(), &Screening::default()) else {
        panic!("rejected");
    };
    screened.chunk(None, &Chunking { max_tokens: 16, overlap_tokens: 4 }).unwrap();
    let vectors = screened.own_vector().map(<[f32]>::to_vec).unwrap_or_default();
    let profile = VectorProfile { dimensions: DIMENSIONS, distance: Distance::Cosine };
    intake::admit(screened, identity, vectors, &profile).unwrap()
}

struct SimPseudonymiser;

impl Pseudonymiser for SimPseudonymiser {
    /// FNV hash with two seeds: different content gets a different name.
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16] {
        let hash = |seed: u64| {
            let bytes = parts.iter().flat_map(|p| p.len().to_le_bytes().into_iter().chain(p.iter().copied()));
            bytes.fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3))
        };
        let mut out = [0; 16];
        out[..8].copy_from_slice(&hash(0xCBF2_9CE4_8422_2325).to_le_bytes());
        out[8..].copy_from_slice(&hash(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        out
    }
}
