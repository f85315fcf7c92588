//! One tenant with many namespaces, and documents to write, with words distributed as in natural text. Other benchmarks
//! of the store use it too.

use crate::pool::Pools;
use access::{
    Action, Credentials, Gate, Ingest, KeyRecord, OperatorRecord, Pepper, RequestInfo, TenantFacts, TenantState,
    TokenKind, token::mint,
};
use intake::{RawBody, RawDocument, VectorProfile, Verdict};
use journal::Storage;
use kernel::{
    Audience, AuditOutboxRecord, AuditPosition, AuditSink, BoxFuture, Chunking, Clock, CommitNo, Distance, DocumentId,
    Embedding, Entropy, Incarnation, KeyId, NamespaceName, NamespaceSettings, NamespaceUuid, OsEntropy, Pseudonymiser,
    Quotas, RequestId, Scope, Screening, SeededEntropy, SystemClock, TenantId, Untrusted,
};
use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};
use store::{NamespaceHandle, OnConflict, Stores, StoresConfig, Upsert};
use tokio_util::task::TaskTracker;
use vault::{Directory, Keyspace, KeyspaceKind, LocalProvider, TenantKeys};

pub(crate) const DIMENSIONS: u32 = 384;
const TEXT_BYTES: usize = 1024;

pub(crate) struct BenchEnv {
    pub(crate) stores: Stores,
    pub(crate) tracker: TaskTracker,
    gate: Gate,
    token: String,
    words: Vec<String>,
}

struct BenchDirectory(HashMap<NamespaceName, Arc<Keyspace>>);

impl Directory for BenchDirectory {
    fn namespace(&self, _: Incarnation, name: &NamespaceName) -> Result<Option<Arc<Keyspace>>, kernel::Error> {
        Ok(self.0.get(name).cloned())
    }

    fn audit(&self, _: Incarnation) -> BoxFuture<'_, Result<Arc<Keyspace>, kernel::Error>> {
        Box::pin(async move { Err(kernel::Error::not_found()) })
    }
}

struct BenchCredentials {
    key: Arc<KeyRecord>,
    facts: TenantFacts,
    pepper: Pepper,
}

impl Credentials for BenchCredentials {
    fn key(&self, _: &KeyId) -> Option<Arc<KeyRecord>> {
        Some(self.key.clone())
    }
    fn operator(&self, _: &KeyId) -> Option<Arc<OperatorRecord>> {
        None
    }
    fn tenant(&self, _: &TenantId) -> Option<TenantFacts> {
        Some(self.facts)
    }
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        self.pepper.mac(secret)
    }
}

/// Audit sink that discards everything.
struct DiscardingSink;

impl AuditSink for DiscardingSink {
    fn append_from_outbox(&self, _: AuditOutboxRecord) -> BoxFuture<'_, Result<(), kernel::Error>> {
        Box::pin(async { Ok(()) })
    }

    fn recorded(
        &self,
        _: Incarnation,
        _: NamespaceUuid,
    ) -> BoxFuture<'_, Result<Option<AuditPosition>, kernel::Error>> {
        Box::pin(async { Ok(None) })
    }

    fn rolled_back(&self, _: Incarnation, _: NamespaceUuid, _: AuditPosition, _: CommitNo) {}
}

struct FnvPseudonymiser;

impl Pseudonymiser for FnvPseudonymiser {
    /// FNV hash: content hashes only have to differ.
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16] {
        let bytes = parts.iter().flat_map(|part| part.iter());
        let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3));
        let mut out = [1; 16];
        out[..8].copy_from_slice(&hash.to_le_bytes());
        out
    }
}

impl BenchEnv {
    pub(crate) async fn new(
        folder: &Path,
        namespaces: usize,
        memory_bytes_max: u64,
        erase_within: Duration,
    ) -> Arc<Self> {
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let clock = Arc::new(SystemClock::new());
        let provider = LocalProvider::from_env_value(&"5a".repeat(32), entropy.clone()).expect("a root key");
        let incarnation = Incarnation::random(&*entropy);
        let (tenant_keys, _) = TenantKeys::create(&provider, incarnation, &*entropy).expect("keys");
        let keyspace_of = |n: usize| {
            let uuid = NamespaceUuid::random(&*entropy);
            let (keyspace, _) =
                Keyspace::create(&tenant_keys, KeyspaceKind::Namespace, uuid, &*entropy).expect("a keyspace");
            (name(n), Arc::new(keyspace))
        };
        let directory = BenchDirectory((0..namespaces).map(keyspace_of).collect());
        let (pepper, _) = Pepper::generate(&*entropy);
        let (id, whole, secret) = mint(TokenKind::Key, &*entropy);
        let key = KeyRecord {
            id,
            tenant: TenantId::parse("acme").expect("a name"),
            incarnation,
            name: String::new(),
            mac: pepper.mac(secret.as_bytes()),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            created_at: clock.now(),
            expires_at: None,
        };
        let facts = TenantFacts { incarnation, state: TenantState::Active, quotas: Quotas::default() };
        let gate = Gate::new(Arc::new(BenchCredentials { key: Arc::new(key), facts, pepper }), clock.clone());
        let tracker = TaskTracker::new();
        let stores = Stores::new(StoresConfig {
            storage: Storage::open(&folder.join("data")).await.expect("a data folder"),
            directory: Arc::new(directory),
            clock,
            entropy,
            sink: Arc::new(DiscardingSink),
            cpu: Arc::new(Pools::new(crate::cores())),
            tracker: tracker.clone(),
            // The engine's defaults.
            flush_bytes_max: 16 << 20,
            flush_rows_max: 20_000,
            memory_bytes_max,
            stale_reads_max: Duration::ZERO,
            maintenance_jobs_max: crate::cores().div_ceil(2),
            maintenance_bytes_max: 1 << 30,
            short_merge_bytes_max: store::SHORT_MERGE_BYTES_MAX,
            erase_within,
            graphs: segment::GraphMode::Built,
            inline_bytes_max: store::INLINE_BYTES_MAX,
        });
        Arc::new(Self { stores, tracker, gate, token: whole.to_string(), words: vocabulary() })
    }

    pub(crate) async fn enter<A: Action>(&self, n: usize) -> NamespaceHandle<A> {
        let request = RequestInfo {
            namespace: Some(name(n)),
            request: RequestId::random(&OsEntropy),
            trace: None,
            cancel: kernel::CancelFlag::default(),
        };
        let Ok(grant) = self.gate.admit(Some(&self.token), request) else { panic!("the key is good") };
        let settings =
            NamespaceSettings { embedding: Embedding::Own { dimensions: DIMENSIONS }, ..NamespaceSettings::default() };
        self.stores.enter(&grant, &settings).await.expect("it opens")
    }

    /// Waits for background work.
    pub(crate) async fn wait_idle(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
    }

    /// A document with this vector and 1 KiB of text determined by the seed, admitted through the real intake.
    pub(crate) fn upsert(&self, n: usize, seed: usize, vector: Vec<f32>) -> Upsert {
        let random = SeededEntropy::new(seed as u64);
        let raw = RawDocument {
            id: Some(DocumentId::parse(&format!("doc-{n:020}")).expect("an id")),
            body: RawBody::Text(Untrusted::new(self.text(&random))),
            media_type: None,
            title: None,
            uri: None,
            attributes: Default::default(),
            readers: None,
            vector: Some(vector),
            expires_at: None,
        };
        let identity = intake::identify(&raw, &[], &FnvPseudonymiser);
        let screened = intake::screen(intake::parse(raw).expect("text"), &Screening::default());
        let Verdict::Screened(mut screened) = screened else { panic!("these words are harmless") };
        screened.chunk(None, &Chunking { max_tokens: 2_048, overlap_tokens: 0 }).expect("one passage");
        let vectors = screened.own_vector().map(<[f32]>::to_vec).unwrap_or_default();
        let profile = VectorProfile { dimensions: DIMENSIONS as usize, distance: Distance::Cosine };
        let admitted = intake::admit(screened, identity, vectors, &profile).expect("a good document");
        Upsert { admitted, on_conflict: OnConflict::Overwrite }
    }

    fn text(&self, random: &SeededEntropy) -> String {
        let mut text = String::with_capacity(TEXT_BYTES);
        while text.len() < TEXT_BYTES {
            // Word number r occurs about 1/r as often as the first.
            let share = below(random, 1_000_000) as f64 / 1_000_000.0;
            let rank = (self.words.len() as f64).powf(share) as usize - 1;
            text.push_str(&self.words[rank.min(self.words.len() - 1)]);
            text.push(' ');
        }
        text.truncate(TEXT_BYTES);
        text
    }
}

/// Stores documents; they are durable and searchable when this returns.
pub(crate) async fn write(handle: &NamespaceHandle<Ingest>, upserts: Vec<Upsert>) {
    let count = upserts.len();
    let outcome =
        handle.append(upserts, &Audience::Everything, Box::new(|_| b"{\"action\":\"ingest\"}".to_vec())).await;
    assert_eq!(outcome.expect("they are stored").ids.len(), count, "they are new");
}

fn name(n: usize) -> NamespaceName {
    NamespaceName::parse(&format!("ns-{n}")).expect("a name")
}

/// 20,000 words of three to nine letters.
fn vocabulary() -> Vec<String> {
    let random = SeededEntropy::new(42);
    let letter = || char::from(b"etaoinshrdlucmfwypvbgk"[below(&random, 22)]);
    (0..20_000).map(|_| (0..3 + below(&random, 7)).map(|_| letter()).collect()).collect()
}

pub(crate) fn below(random: &SeededEntropy, n: usize) -> usize {
    let mut raw = [0; 4];
    random.fill(&mut raw);
    u32::from_le_bytes(raw) as usize % n
}
