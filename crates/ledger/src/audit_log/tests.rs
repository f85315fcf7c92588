//! The audit log with two tenants on a real data folder: every event is written once, chained and readable.

use super::*;
use crate::{OutcomeKind, verify_records};
use access::{
    Credentials, Gate, Ingest, KeyRecord, OperatorRecord, Pepper, Read, RequestInfo, Search, TenantFacts, TenantState,
    TokenKind, token,
};
use futures::TryStreamExt;
use kernel::{
    BoxFuture, Code, DocumentId, KeyId, ManualClock, NamespaceName, NamespaceUuid, OperatorName, Principal, Quotas,
    RequestId, Role, Scope, SeededEntropy, limits,
};
use object_store::{ObjectStore, memory::InMemory};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use vault::{KeyspaceKind, LocalProvider, TenantKeys};

struct LedgerFixture {
    dir: tempfile::TempDir,
    directory: Arc<TestDirectory>,
    control: Arc<Keyspace>,
    gate: Gate,
    tokens: Vec<String>,
    operator: String,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
}

struct TestDirectory {
    pepper: Pepper,
    keys: Vec<Arc<KeyRecord>>,
    operator: Arc<OperatorRecord>,
    keyspaces: Vec<Arc<Keyspace>>,
    unavailable: AtomicBool,
}

impl Credentials for TestDirectory {
    fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        self.keys.iter().find(|key| key.id == *id).cloned()
    }
    fn operator(&self, id: &KeyId) -> Option<Arc<OperatorRecord>> {
        (self.operator.id == *id).then(|| self.operator.clone())
    }
    fn tenant(&self, id: &TenantId) -> Option<TenantFacts> {
        let key = self.keys.iter().find(|key| key.tenant == *id)?;
        let quotas = Quotas {
            documents: None,
            bytes: None,
            namespaces: None,
            requests_per_minute: None,
            tokens_per_minute: None,
        };
        Some(TenantFacts { incarnation: key.incarnation, state: TenantState::Active, quotas })
    }
    fn mac(&self, secret: &[u8]) -> [u8; 32] {
        self.pepper.mac(secret)
    }
}

impl Directory for TestDirectory {
    fn namespace(&self, _: Incarnation, _: &NamespaceName) -> Result<Option<Arc<Keyspace>>, kernel::Error> {
        Ok(None)
    }
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<Arc<Keyspace>, kernel::Error>> {
        Box::pin(async move {
            if self.unavailable.load(Ordering::SeqCst) {
                return Err(kernel::Error::new(Code::KeyUnavailable, "switched off by the test"));
            }
            self.keyspaces
                .iter()
                .find(|keyspace| keyspace.incarnation() == Some(incarnation))
                .cloned()
                .ok_or_else(kernel::Error::not_found)
        })
    }
}

impl LedgerFixture {
    fn new() -> Self {
        let entropy = Arc::new(SeededEntropy::new(7));
        let provider = LocalProvider::from_env_value(&"0b".repeat(32), entropy.clone()).unwrap();
        let keyspace = || {
            let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy).unwrap();
            let uuid = NamespaceUuid::random(&*entropy);
            Arc::new(Keyspace::create(&keys, KeyspaceKind::Audit, uuid, &*entropy).unwrap().0)
        };
        let (keyspaces, control) = (vec![keyspace(), keyspace()], keyspace());
        let pepper = Pepper::new(&[5; 32]);
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
        let mut tokens = Vec::new();
        let mut keys = Vec::new();
        for (name, keyspace) in ["alpha", "beta"].into_iter().zip(&keyspaces) {
            let (id, whole, secret) = token::mint(TokenKind::Key, &*entropy);
            tokens.push(whole.to_string());
            keys.push(Arc::new(KeyRecord {
                id,
                tenant: TenantId::parse(name).unwrap(),
                incarnation: keyspace.incarnation().unwrap(),
                name: "key".to_owned(),
                mac: pepper.mac(secret.as_bytes()),
                scopes: vec![Scope::Search, Scope::Ingest, Scope::Audit],
                principals: Vec::new(),
                namespaces: Vec::new(),
                created_at: clock.now(),
                expires_at: None,
            }));
        }
        let (id, whole, secret) = token::mint(TokenKind::Operator, &*entropy);
        let name = OperatorName::parse("olga").unwrap();
        let mac = pepper.mac(secret.as_bytes());
        let operator = Arc::new(OperatorRecord { id, name, role: Role::Admin, mac, created_at: clock.now() });
        let directory =
            Arc::new(TestDirectory { pepper, keys, operator, keyspaces, unavailable: AtomicBool::new(false) });
        let gate = Gate::new(directory.clone(), clock.clone());
        let dir = tempfile::tempdir().unwrap();
        Self { dir, directory, control, gate, tokens, operator: whole.to_string(), clock, entropy }
    }

    async fn audit_log(&self) -> (AuditLog, Storage) {
        self.audit_log_with_limit(limits::AUDIT_LOGS_OPEN_MAX).await
    }

    /// An audit log that keeps at most this many logs open.
    async fn audit_log_with_limit(&self, chains_open_max: u64) -> (AuditLog, Storage) {
        let storage = Storage::open(self.dir.path()).await.unwrap();
        self.audit_log_on(storage, chains_open_max)
    }

    async fn bucket_audit_log(&self, bucket: &Arc<InMemory>) -> (AuditLog, Storage) {
        let (store, once) = (bucket.clone(), bucket.clone());
        let storage = Storage::remote(store, once, journal::Blocking::Threads).await.unwrap();
        self.audit_log_on(storage, limits::AUDIT_LOGS_OPEN_MAX)
    }

    fn audit_log_on(&self, storage: Storage, chains_open_max: u64) -> (AuditLog, Storage) {
        let audit_log = AuditLog::new(AuditLogConfig {
            storage: storage.clone(),
            directory: self.directory.clone(),
            control: self.control.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            tracker: TaskTracker::new(),
            chains_open_max,
        });
        (audit_log, storage)
    }

    fn grant<A: Action>(&self, tenant: usize) -> Grant<A> {
        let namespace = Some(NamespaceName::parse("canary-handbook").unwrap());
        let request = RequestInfo {
            namespace,
            request: RequestId::random(&*self.entropy),
            trace: Some("00-4bf9-01".to_owned()),
            cancel: kernel::CancelFlag::default(),
        };
        self.gate.admit(Some(&self.tokens[tenant]), request).unwrap()
    }

    fn operator(&self) -> Operator {
        self.gate.operator(Some(&self.operator), &[], RequestId::random(&*self.entropy)).unwrap()
    }

    fn switch_off(&self, off: bool) {
        self.directory.unavailable.store(off, Ordering::SeqCst);
    }

    fn absorbed(&self, audit_log: &AuditLog, namespace: NamespaceUuid, commit: u64) -> AuditOutboxRecord {
        let grant = self.grant::<Ingest>(0);
        let event = AuditEvent::success()
            .count("documents", 2)
            .count("bytes_in", 100)
            .documents(ids(&["canary-a", "canary-b"]));
        let record = audit_log.encode_record(&grant, event);
        AuditOutboxRecord { incarnation: grant.incarnation(), namespace, mark: mark(commit), line: record }
    }

    async fn read_all(&self, audit_log: &AuditLog, tenant: usize) -> Vec<Value> {
        self.read_page(audit_log, tenant, all_records()).await.unwrap().values().unwrap()
    }

    async fn read_page(
        &self,
        audit_log: &AuditLog,
        tenant: usize,
        reading: RecordQuery,
    ) -> Result<AuditPage, kernel::Error> {
        whole_page(audit_log.read(&self.grant(tenant), reading).await?).await
    }
}

/// Stops the server: writes everything and releases the lock of the data folder.
async fn end((audit_log, storage): (AuditLog, Storage)) {
    audit_log.close().await;
    audit_log.0.shared.tracker.close();
    audit_log.0.shared.tracker.wait().await;
    storage.close().await;
}

fn mark(commit: u64) -> AuditPosition {
    AuditPosition { commit: CommitNo(commit), digest: [commit as u8; 16], documents: 10 * commit, bytes: 100 * commit }
}

fn ids(names: &[&str]) -> Vec<DocumentId> {
    names.iter().map(|name| DocumentId::parse(name).unwrap()).collect()
}

fn all_records() -> RecordQuery {
    RecordQuery { limit: usize::MAX, ..RecordQuery::default() }
}

fn searched(name: &str) -> AuditEvent {
    let who = vec![Principal::parse("user:canary-alice").unwrap()];
    AuditEvent::success().count("hits", 1).documents(ids(&[name])).principals(who)
}

fn operations(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|record| record["api"]["operation"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_reply_has_a_record() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    assert_eq!(audit_log.seal(fixture.grant::<Search>(0), searched("canary-1"), 42).await.into_body(), 42);
    audit_log.seal_durable(fixture.grant::<Read>(0), searched("canary-2"), ()).await.unwrap().into_body();
    let refused = audit_log.refuse(fixture.grant::<Search>(0), kernel::Error::not_found()).await;
    assert_eq!(refused.into_body().code, Code::NotFound);
    let request = RequestInfo {
        namespace: None,
        request: RequestId::random(&*fixture.entropy),
        trace: None,
        cancel: kernel::CancelFlag::default(),
    };
    let refusal = fixture.gate.admit::<access::Manage>(Some(&fixture.tokens[0]), request).err().unwrap();
    let _ = audit_log.refused(refusal, "/v1/namespaces/{ns}").await;
    audit_log.seal(fixture.grant::<Search>(1), searched("canary-1"), ()).await.into_body();

    let lines = fixture.read_all(&audit_log, 0).await;
    assert_eq!(operations(&lines), ["search", "document.read", "search", "request.refused"]);
    assert_eq!(lines[2]["status"], "Failure");
    assert_eq!(lines[2]["status_code"], "not_found");
    assert_eq!(lines[3]["http_request"]["url"]["path"], "/v1/namespaces/{ns}");
    assert_eq!(lines[0]["actor"]["user"]["uid"], fixture.directory.keys[0].id.as_str());
    assert_eq!(lines[0]["actor"]["authorizations"][0]["policy"]["name"], "builtin-1");
    assert_eq!(
        audit_log.usage_of(fixture.directory.keys[0].incarnation),
        Usage { requests: 3, searches: 2, ..Usage::default() }
    );
    let other = fixture.read_all(&audit_log, 1).await;
    assert_eq!(other.len(), 1, "another tenant has its own chain");
    assert_ne!(lines[0]["resources"], other[0]["resources"], "and its own pseudonyms for equal ids");

    let report = audit_log.verify(&fixture.grant(0)).await.unwrap();
    assert_eq!(report, verify_records(&lines).unwrap());
    assert_eq!((report.first, report.lines), (1, 4));
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("canary"), "no id, namespace or principal is in a record: {text}");
    end((audit_log, storage)).await;
    let again = fixture.audit_log().await;
    assert_eq!(fixture.read_all(&again.0, 0).await, lines);
    assert_eq!(again.0.usage_of(fixture.directory.keys[0].incarnation).requests, 3);
    end(again).await;
}

#[tokio::test]
async fn records_are_found_by_time_document_and_principal() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let start = fixture.clock.now();
    for name in ["x", "y", "x", "z"] {
        let event =
            AuditEvent { principals: vec![Principal::parse(&format!("user:{name}")).unwrap()], ..searched(name) };
        audit_log.seal(fixture.grant::<Search>(0), event, ()).await.into_body();
        fixture.clock.advance(std::time::Duration::from_secs(1));
    }
    let second = |n| Some(start.plus(std::time::Duration::from_secs(n)));
    let document = Some(DocumentId::parse("x").unwrap());
    let principal = Some(Principal::parse("user:x").unwrap());
    let cases = [
        (RecordQuery { document: document.clone(), ..all_records() }, vec![1, 3]),
        (RecordQuery { principal, ..all_records() }, vec![1, 3]),
        (RecordQuery { since: second(1), until: second(3), ..all_records() }, vec![2, 3]),
        (RecordQuery { document, since: second(1), ..all_records() }, vec![3]),
        (RecordQuery { limit: 2, ..RecordQuery::default() }, vec![1, 2]),
    ];
    for (reading, expected) in cases {
        let found = fixture.read_page(&audit_log, 0, reading.clone()).await.unwrap().values().unwrap();
        let found: Vec<_> =
            found.iter().map(|record| record["record_integrity"]["sequence"].as_u64().unwrap()).collect();
        assert_eq!(found, expected, "{reading:?}");
    }
    end((audit_log, storage)).await;
}

#[tokio::test]
async fn a_mutation_is_recorded_once_however_often_it_is_delivered() {
    let fixture = LedgerFixture::new();
    let (one, two) = (NamespaceUuid::random(&*fixture.entropy), NamespaceUuid::random(&*fixture.entropy));
    let server = fixture.audit_log().await;
    let sink = server.0.sink();
    for (namespace, commit) in [(one, 1), (one, 1), (two, 1), (one, 2), (one, 1)] {
        sink.append_from_outbox(fixture.absorbed(&server.0, namespace, commit)).await.unwrap();
    }
    drop(sink);
    end(server).await;

    let server = fixture.audit_log().await;
    let sink = server.0.sink();
    for (namespace, commit) in [(one, 1), (one, 2), (two, 1), (one, 3)] {
        sink.append_from_outbox(fixture.absorbed(&server.0, namespace, commit)).await.unwrap();
    }
    let lines = fixture.read_all(&server.0, 0).await;
    let commits: Vec<_> = lines.iter().map(|record| record["unmapped"]["commit"]["number"].as_u64().unwrap()).collect();
    assert_eq!(commits, [1, 1, 2, 3]);
    assert!(!serde_json::to_string(&lines).unwrap().contains("canary"));
    let usage = server.0.usage_of(fixture.directory.keys[0].incarnation);
    assert_eq!(usage, Usage { requests: 4, documents: 8, bytes_in: 400, ..Usage::default() });
    let foreign = AuditOutboxRecord { line: b"{}".to_vec(), ..fixture.absorbed(&server.0, one, 4) };
    assert_eq!(sink.append_from_outbox(foreign).await.unwrap_err().code, Code::Internal);
    drop(sink);
    end(server).await;
}

#[tokio::test]
async fn no_later_commit_hides_one_that_could_not_be_written() {
    let fixture = LedgerFixture::new();
    let namespace = NamespaceUuid::random(&*fixture.entropy);
    let server = fixture.audit_log().await;
    let sink = server.0.sink();
    fixture.switch_off(true);
    assert_eq!(
        sink.append_from_outbox(fixture.absorbed(&server.0, namespace, 5)).await.unwrap_err().code,
        Code::KeyUnavailable
    );
    fixture.switch_off(false);
    assert_eq!(
        sink.append_from_outbox(fixture.absorbed(&server.0, namespace, 6)).await.unwrap_err().code,
        Code::Internal
    );
    let elsewhere = NamespaceUuid::random(&*fixture.entropy);
    sink.append_from_outbox(fixture.absorbed(&server.0, elsewhere, 9)).await.unwrap();
    for commit in [5, 6] {
        sink.append_from_outbox(fixture.absorbed(&server.0, namespace, commit)).await.unwrap();
    }
    assert_eq!(fixture.read_all(&server.0, 0).await.len(), 3);
    drop(sink);
    end(server).await;
}

/// Records stay in memory until they are in a chunk, and records of deep searches are long.
#[tokio::test]
async fn long_records_fill_a_chunk_sooner() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let documents: Vec<DocumentId> = (0..1_000).map(|n| DocumentId::parse(&format!("d{n}")).unwrap()).collect();
    // A document takes 60 bytes of a record.
    let total = limits::AUDIT_CHUNK_BYTES / 60_000 + 20;
    assert!(total < limits::AUDIT_CHUNK_RECORDS);
    for _ in 0..total {
        let event = AuditEvent::success().documents(documents.clone());
        audit_log.seal(fixture.grant::<Search>(0), event, ()).await.into_body();
    }
    let report = audit_log.verify(&fixture.grant(0)).await.unwrap();
    assert_eq!(report.lines, total as u64);
    let folder = fixture.dir.path().join(fixture.directory.keyspaces[0].prefix());
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("seg-")).count(), 1);
    end((audit_log, storage)).await;
}

#[tokio::test]
async fn full_chunks_move_out_of_the_log() {
    let fixture = LedgerFixture::new();
    let total = limits::AUDIT_CHUNK_RECORDS + 700;
    let (audit_log, storage) = fixture.audit_log().await;
    for i in 0..total {
        audit_log.seal(fixture.grant::<Search>(0), searched(&format!("canary-{i}")), ()).await.into_body();
    }
    audit_log.verify(&fixture.grant(0)).await.unwrap();
    end((audit_log, storage)).await;

    let (audit_log, storage) = fixture.audit_log().await;
    let report = audit_log.verify(&fixture.grant(0)).await.unwrap();
    assert_eq!(report.lines, total as u64);
    assert_eq!(audit_log.usage_of(fixture.directory.keys[0].incarnation).searches, total as u64);
    let folder = fixture.dir.path().join(fixture.directory.keyspaces[0].prefix());
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("seg-")).count(), 1);
    for name in ["canary-0", "canary-4795"] {
        let document = Some(DocumentId::parse(name).unwrap());
        assert_eq!(
            fixture.read_page(&audit_log, 0, RecordQuery { document, ..all_records() }).await.unwrap().lines.len(),
            1
        );
    }
    audit_log.seal(fixture.grant::<Search>(0), searched("one more"), ()).await.into_body();
    assert_eq!(verify_records(&fixture.read_all(&audit_log, 0).await).unwrap().lines, total as u64 + 1);
    end((audit_log, storage)).await;
}

/// In a bucket each record that is written alone is an object. Opening the chain requests few of them, however many
/// were written.
#[tokio::test]
async fn many_batches_in_a_bucket_are_compacted() {
    let (fixture, bucket) = (LedgerFixture::new(), Arc::new(InMemory::new()));
    let keyspace = &fixture.directory.keyspaces[0];
    let total = 700;
    let logged = async || {
        let prefix = format!("{}/log", keyspace.prefix().trim_end_matches('/')).into();
        bucket.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap().len()
    };
    let (audit_log, storage) = fixture.bucket_audit_log(&bucket).await;
    let mut most = 0;
    for i in 0..total {
        audit_log
            .seal_durable(fixture.grant::<Search>(0), searched(&format!("canary-{i}")), ())
            .await
            .unwrap()
            .into_body();
        most = logged().await.max(most);
    }
    assert!((32..total / 5).contains(&most), "{most} objects of the log at once");
    end((audit_log, storage)).await;

    let (audit_log, storage) = fixture.bucket_audit_log(&bucket).await;
    assert_eq!(audit_log.verify(&fixture.grant(0)).await.unwrap().lines, total as u64);
    assert!(logged().await < 2 * 700 / 16, "{} objects of the log", logged().await);
    audit_log.seal_durable(fixture.grant::<Search>(0), searched("one more"), ()).await.unwrap().into_body();
    assert_eq!(verify_records(&fixture.read_all(&audit_log, 0).await).unwrap().lines, total as u64 + 1);
    end((audit_log, storage)).await;
}

#[tokio::test]
async fn reads_continue_while_writing_fails_and_the_gap_is_recorded() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    fixture.switch_off(true);
    let total = limits::AUDIT_QUEUE_RECORDS_MAX + 1_000;
    for _ in 0..total {
        audit_log.seal(fixture.grant::<Search>(0), searched("x"), ()).await.into_body();
        tokio::task::yield_now().await;
    }
    // The queue is full of the tenant's own records.
    audit_log.tenant_act_later(&fixture.operator(), "tenant.suspend", fixture.directory.keys[0].incarnation, None);
    let refused = audit_log.seal_durable(fixture.grant::<Search>(0), searched("x"), "secret").await;
    drop(refused.unwrap_err());
    assert_eq!(fixture.read_page(&audit_log, 0, all_records()).await.unwrap_err().code, Code::KeyUnavailable);
    fixture.switch_off(false);
    fixture.clock.advance(2 * limits::AUDIT_RETRY_WAIT);
    audit_log.seal(fixture.grant::<Search>(0), searched("x"), ()).await.into_body();
    let lines = fixture.read_all(&audit_log, 0).await;
    verify_records(&lines).unwrap();
    let dropped: u64 = lines
        .iter()
        .filter(|record| record["api"]["operation"] == "audit.gap")
        .map(|record| record["unmapped"]["counts"]["lines"].as_u64().unwrap())
        .sum();
    let written = operations(&lines).iter().filter(|operation| **operation == "search").count() as u64;
    assert!(dropped >= 1_000, "{dropped}");
    assert_eq!(written + dropped, total as u64 + 1, "every record is written or counted");
    let suspended = operations(&lines).iter().filter(|operation| **operation == "tenant.suspend").count();
    assert_eq!(suspended, 1, "an operator's act is not among the dropped records");
    end((audit_log, storage)).await;
}

#[tokio::test]
async fn operators_acts_are_durable_before_their_effect() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let alpha = TenantId::parse("alpha").unwrap();
    audit_log.operator_act(&fixture.operator(), "tenant.create", Some(&alpha)).await.unwrap();
    audit_log.operator_act(&fixture.operator(), "tenant.suspend", Some(&alpha)).await.unwrap();
    end((audit_log, storage)).await;
    let (audit_log, storage) = fixture.audit_log().await;
    let reading = RecordQuery { limit: 10, ..RecordQuery::default() };
    let acts = whole_page(audit_log.operator_acts(&fixture.operator(), reading).await.unwrap()).await.unwrap();
    let acts = acts.values().unwrap();
    assert_eq!(operations(&acts), ["tenant.create", "tenant.suspend"]);
    assert_eq!(acts[0]["actor"]["user"]["uid"], "olga");
    assert_eq!(acts[0]["unmapped"]["tenant"], "alpha");
    verify_records(&acts).unwrap();
    end((audit_log, storage)).await;
}

#[tokio::test]
async fn a_forgotten_tenant_leaves_memory_and_keeps_its_records() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let incarnation = fixture.directory.keys[0].incarnation;
    audit_log.seal(fixture.grant::<Search>(0), searched("x"), ()).await.into_body();
    audit_log.forget(incarnation).await;
    assert_eq!(audit_log.usage(), []);
    audit_log.seal(fixture.grant::<Search>(0), searched("y"), ()).await.into_body();
    assert_eq!(fixture.read_all(&audit_log, 0).await.len(), 2, "suspended and resumed: the chain continues");
    audit_log.seal(fixture.grant::<Search>(0), searched("z"), ()).await.into_body();
    fixture.switch_off(true);
    audit_log.forget(incarnation).await;
    end((audit_log, storage)).await;
}

/// A tenant is suspended and resumed while earlier requests still write their records.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_released_under_writers_has_one_log() {
    const WRITERS: u64 = 6;
    const EACH: u64 = 40;
    const LINES: u64 = WRITERS * EACH;
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let incarnation = fixture.directory.keys[0].incarnation;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let grants: Vec<_> = (0..EACH).map(|_| fixture.grant::<Search>(0)).collect();
        let audit_log = audit_log.clone();
        writers.spawn(async move {
            for grant in grants {
                audit_log.seal_durable(grant, searched("x"), ()).await.unwrap().into_body();
            }
        });
    }
    let mut closed = 0;
    while !writers.is_empty() {
        closed += u64::from(audit_log.release(incarnation).await);
        while let Some(written) = writers.try_join_next() {
            written.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert!(closed > 0, "the log was closed in between");
    assert_eq!(audit_log.verify(&fixture.grant(0)).await.unwrap().lines, LINES);
    end((audit_log, storage)).await;
    let (audit_log, storage) = fixture.audit_log().await;
    assert_eq!(audit_log.verify(&fixture.grant(0)).await.unwrap().lines, LINES);
    end((audit_log, storage)).await;
}

/// A released chain holds no key and no file, is not closed under a reader, and reopens with the next record.
#[tokio::test]
async fn a_released_chain_is_closed_when_it_is_unused() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let (incarnation, other) = (fixture.directory.keys[0].incarnation, fixture.directory.keys[1].incarnation);
    assert!(audit_log.release(incarnation).await, "a log that was never open counts as closed");
    for tenant in [0, 1] {
        audit_log.seal_durable(fixture.grant::<Search>(tenant), searched("x"), ()).await.unwrap().into_body();
    }
    audit_log.seal(fixture.grant::<Search>(0), searched("y"), ()).await.into_body();
    let holders = || Arc::strong_count(&fixture.directory.keyspaces[0]);
    let holders_before = holders();
    let pages = audit_log.chain(incarnation).read(all_records()).await.unwrap();
    assert!(!audit_log.release(incarnation).await, "a reader uses the log");
    drop(pages);
    assert!(audit_log.release(incarnation).await);
    assert_eq!((audit_log.open_chains(), audit_log.usage_of(other).searches), (1, 1), "only this log is closed");
    assert_eq!(audit_log.known_usage(other).map(|usage| usage.searches), Some(1), "the log was opened once");
    assert_eq!(audit_log.usage_of(incarnation).searches, 2, "queued records are written and counted");
    assert!(holders() < holders_before, "its keys are released");

    fixture.switch_off(true);
    audit_log.seal(fixture.grant::<Search>(0), searched("z"), ()).await.into_body();
    assert!(audit_log.release(incarnation).await, "a record that waits for its key does not hold the key");
    fixture.switch_off(false);
    fixture.clock.advance(2 * limits::AUDIT_RETRY_WAIT);
    let lines = fixture.read_all(&audit_log, 0).await;
    assert_eq!(lines.len(), 3, "the record is written once the key is available");
    verify_records(&lines).unwrap();
    end((audit_log, storage)).await;
}

/// A request that still has records of a tenant that is being erased does not open a second log next to the one that
/// ends.
#[tokio::test]
async fn an_ended_chain_refuses_until_it_is_forgotten() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let incarnation = fixture.directory.keys[0].incarnation;
    audit_log.seal(fixture.grant::<Search>(0), searched("x"), ()).await.into_body();
    audit_log.end(incarnation).await;
    let refused = audit_log.seal_durable(fixture.grant::<Search>(0), searched("y"), "secret").await;
    drop(refused.unwrap_err());
    assert!(fixture.read_page(&audit_log, 0, all_records()).await.is_err());
    assert_eq!(audit_log.open_chains(), 0);
    audit_log.forget(incarnation).await;
    assert_eq!(fixture.read_all(&audit_log, 0).await.len(), 1, "a chain that could not be erased continues");
    end((audit_log, storage)).await;
}

/// The files of a namespace were rolled back: the number of its next commit is already recorded.
#[tokio::test]
async fn a_commit_number_with_different_content_is_refused_and_reported() {
    let fixture = LedgerFixture::new();
    let namespace = NamespaceUuid::random(&*fixture.entropy);
    let elsewhere = NamespaceUuid::random(&*fixture.entropy);
    let incarnation = fixture.directory.keys[0].incarnation;
    let server = fixture.audit_log().await;
    let sink = server.0.sink();
    assert_eq!(sink.recorded(incarnation, namespace).await.unwrap(), None);
    for commit in [1, 2] {
        sink.append_from_outbox(fixture.absorbed(&server.0, namespace, commit)).await.unwrap();
    }
    let other = || AuditOutboxRecord {
        mark: AuditPosition { digest: [9; 16], ..mark(2) },
        ..fixture.absorbed(&server.0, namespace, 2)
    };
    for _ in 0..2 {
        assert_eq!(sink.append_from_outbox(other()).await.unwrap_err().code, Code::RolledBack);
    }
    let at_once = [other(), fixture.absorbed(&server.0, elsewhere, 1)].map(|record| sink.append_from_outbox(record));
    let [refused, taken] = futures::future::join_all(at_once).await.try_into().unwrap();
    assert_eq!(refused.unwrap_err().code, Code::RolledBack);
    taken.unwrap();
    assert_eq!(
        fixture.read_all(&server.0, 0).await.len(),
        3,
        "a repetition is not recorded, and neither is the conflicting commit"
    );
    let rollback = server.0.unreported_rollback().unwrap();
    assert_eq!((rollback.namespace, rollback.recorded, rollback.found), (namespace, CommitNo(2), CommitNo(2)));
    let alpha = TenantId::parse("alpha").unwrap();
    server.0.report_rollback(rollback, Some(&alpha)).await.unwrap();
    assert_eq!((server.0.unreported_rollback(), server.0.rollbacks()), (None, 1), "reported once");
    let reading = RecordQuery { limit: 10, ..RecordQuery::default() };
    let acts = whole_page(server.0.operator_acts(&fixture.operator(), reading).await.unwrap()).await.unwrap();
    let act = acts.values().unwrap().pop().unwrap();
    assert_eq!((act["status_code"].as_str(), act["unmapped"]["tenant"].as_str()), (Some("rolled_back"), Some("alpha")));
    assert_eq!(act["unmapped"]["rollback"]["log"], namespace.to_string());

    // An operator accepts the namespace as of an older commit, so records of later commits arrive again.
    let name = NamespaceName::parse("canary-handbook").unwrap();
    let record = server.0.encode_acceptance(&fixture.operator(), &name);
    let accepted = AuditPosition { digest: [7; 16], ..mark(1) };
    sink.append_from_outbox(AuditOutboxRecord { incarnation, namespace, mark: accepted, line: record }).await.unwrap();
    assert_eq!((sink.recorded(incarnation, namespace).await.unwrap(), server.0.rollbacks()), (Some(accepted), 0));
    sink.append_from_outbox(other()).await.unwrap();
    drop(sink);
    end(server).await;
    let server = fixture.audit_log().await;
    let recorded = server.0.recorded(incarnation, &[elsewhere, namespace]).await.unwrap();
    assert_eq!(recorded, [Some(mark(1)), Some(AuditPosition { digest: [9; 16], ..mark(2) })], "the same is on disk");
    let lines = fixture.read_all(&server.0, 0).await;
    assert_eq!(operations(&lines)[3..], ["namespace.accept_rollback", "document.upsert"]);
    verify_records(&lines).unwrap();
    end(server).await;
}

#[tokio::test]
async fn a_deleted_namespace_leaves_no_recorded_commit() {
    let fixture = LedgerFixture::new();
    let namespace = NamespaceUuid::random(&*fixture.entropy);
    let incarnation = fixture.directory.keys[0].incarnation;
    let server = fixture.audit_log().await;
    server.0.sink().append_from_outbox(fixture.absorbed(&server.0, namespace, 1)).await.unwrap();
    let grant = fixture.grant::<Search>(0);
    server.0.seal_durable(grant, AuditEvent::success().ended(namespace), ()).await.unwrap().into_body();
    assert_eq!(server.0.recorded(incarnation, &[namespace]).await.unwrap(), [None]);
    end(server).await;
    let server = fixture.audit_log().await;
    assert_eq!(server.0.recorded(incarnation, &[namespace]).await.unwrap(), [None]);
    end(server).await;
}

#[tokio::test]
async fn an_audit_log_is_read_in_pages_and_chunks_outside_the_time_range_are_not_opened() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let total = 2 * limits::AUDIT_CHUNK_RECORDS as u64 + 50;
    let begun = fixture.clock.now();
    for i in 0..total {
        audit_log.seal(fixture.grant::<Search>(0), searched(&format!("canary-{i}")), ()).await.into_body();
        fixture.clock.advance(std::time::Duration::from_secs(1));
    }
    let (mut records, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = fixture
            .read_page(&audit_log, 0, RecordQuery { after: Some(from), limit: 1_000, ..all_records() })
            .await
            .unwrap();
        assert_eq!((page.head.lines, page.lines.len()), (total, 1_000.min((total - from) as usize)));
        records.extend(page.values().unwrap());
        after = page.next;
    }
    assert_eq!(verify_records(&records).unwrap().lines, total);
    let opened = async |reading: RecordQuery| {
        let mut reader = audit_log.read(&fixture.grant(0), reading).await.unwrap();
        let mut pieces = 0;
        while let Some(piece) = reader.next().await.unwrap() {
            pieces += 1;
            reader.take(piece.read().unwrap());
        }
        (pieces, reader.finish().lines.len())
    };
    let second = |n: u64| Some(begun.plus(std::time::Duration::from_secs(n)));
    assert_eq!(opened(RecordQuery { limit: 3, ..all_records() }).await, (1, 3), "no more than the page needs");
    assert_eq!(opened(RecordQuery { since: second(5_000), until: second(5_010), ..all_records() }).await, (2, 10));
    assert_eq!(
        opened(RecordQuery { after: Some(total - 10), ..all_records() }).await,
        (1, 10),
        "the records are in memory"
    );
    assert_eq!(opened(RecordQuery { until: second(10), ..all_records() }).await, (2, 10));
    let unknown = Some(DocumentId::parse("nothing").unwrap());
    assert_eq!(opened(RecordQuery { document: unknown, ..all_records() }).await, (3, 0));
    end((audit_log, storage)).await;
}

/// Records of deep searches are long: a page ends before its record limit, and the next page continues there.
#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let documents: Vec<DocumentId> = (0..10_000).map(|n| DocumentId::parse(&format!("d{n}")).unwrap()).collect();
    for _ in 0..20 {
        audit_log
            .seal(fixture.grant::<Search>(0), AuditEvent::success().documents(documents.clone()), ())
            .await
            .into_body();
    }
    let (mut sizes, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = fixture
            .read_page(&audit_log, 0, RecordQuery { after: Some(from), limit: 1_000, ..all_records() })
            .await
            .unwrap();
        let bytes: usize = page.lines.iter().map(|record| record.len()).sum();
        assert!(bytes <= limits::AUDIT_PAGE_BYTES_MAX, "{bytes}");
        sizes.push(page.lines.len());
        after = page.next;
    }
    assert!(sizes.len() > 1 && sizes.iter().sum::<usize>() == 20, "{sizes:?}");
    end((audit_log, storage)).await;
}

#[tokio::test]
async fn a_tenant_finds_its_keys_in_its_own_audit_log() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    let incarnation = fixture.directory.keys[0].incarnation;
    let principal = Principal::parse("user:canary-alice").unwrap();
    let key = ApiKeyEvent {
        id: fixture.directory.keys[1].id.clone(),
        scopes: vec![Scope::ReadAll, Scope::Search],
        principals: vec![principal.clone()],
        namespaces: vec![NamespaceName::parse("canary-handbook").unwrap()],
        expires_at: Some(Timestamp::from_millis(0)),
    };
    audit_log.tenant_act(&fixture.operator(), "api_key.create", incarnation, Some(&key)).await.unwrap();
    audit_log.tenant_act_later(&fixture.operator(), "api_key.revoke", incarnation, Some(&key));
    audit_log.seal(fixture.grant::<Search>(0), searched("x"), ()).await.into_body();
    let lines = fixture.read_all(&audit_log, 0).await;
    assert_eq!(operations(&lines), ["api_key.create", "api_key.revoke", "search"]);
    for record in &lines[..2] {
        let recorded_key = &record["unmapped"]["api_key"];
        assert_eq!(
            (recorded_key["uid"].as_str(), &recorded_key["scopes"]),
            (Some(key.id.as_str()), &serde_json::json!(["read_all", "search"]))
        );
        assert_eq!(recorded_key["expires_dt"], "1970-01-01T00:00:00.000Z");
        assert_eq!(
            record["unmapped"]["namespaces"][0], lines[2]["unmapped"]["namespace"],
            "the pseudonym is the one in the records of its use"
        );
        assert_eq!(record["actor"]["user"]["uid"], "olga");
    }
    let found =
        fixture.read_page(&audit_log, 0, RecordQuery { principal: Some(principal), ..all_records() }).await.unwrap();
    assert_eq!(found.lines.len(), 3, "records are found by the principal that they name");
    assert!(!serde_json::to_string(&lines).unwrap().contains("canary"));
    assert_eq!(audit_log.usage_of(incarnation).requests, 1, "operators' acts are not the tenant's usage");
    verify_records(&lines).unwrap();
    end((audit_log, storage)).await;
}

#[test]
fn an_event_states_its_outcome() {
    assert_eq!(AuditEvent::failure(Code::TooLarge).outcome, OutcomeKind::Failure(Code::TooLarge));
}

/// Regression: many tenants are active over a day, and each kept its file open forever.
#[tokio::test(flavor = "multi_thread")]
async fn idle_chains_are_closed() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log_with_limit(1).await;
    let wait_for_tasks = || async {
        audit_log.0.shared.tracker.close();
        audit_log.0.shared.tracker.wait().await;
        audit_log.0.shared.tracker.reopen();
    };
    for round in 0..6 {
        for tenant in 0..2 {
            audit_log
                .seal_durable(fixture.grant::<Search>(tenant), searched("canary-1"), ())
                .await
                .unwrap()
                .into_body();
            if round % 2 == 0 {
                wait_for_tasks().await;
            }
        }
    }
    audit_log.seal_durable(fixture.grant::<Search>(0), searched("canary-1"), ()).await.unwrap().into_body();
    wait_for_tasks().await;
    assert_eq!(audit_log.open_chains(), 1, "the other log is closed");
    // The usage is known while the log is closed, and a reader reopens it.
    for (tenant, lines) in [(0, 7), (1, 6)] {
        let incarnation = fixture.directory.keys[tenant].incarnation;
        assert_eq!(audit_log.usage_of(incarnation).searches, lines);
        assert_eq!(fixture.read_all(&audit_log, tenant).await.len() as u64, lines);
        assert_eq!(audit_log.verify(&fixture.grant(tenant)).await.unwrap().lines, lines);
    }
    end((audit_log, storage)).await;
    let (audit_log, storage) = fixture.audit_log().await;
    assert_eq!(audit_log.verify(&fixture.grant(0)).await.unwrap().lines, 7);
    end((audit_log, storage)).await;
}

/// Regression: many tenants that arrived at once each opened a log, so that other files could not be opened.
#[tokio::test(flavor = "multi_thread")]
async fn open_logs_are_limited_by_available_files() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log_with_limit(1).await;
    audit_log.operator_act(&fixture.operator(), "tenant.create", None).await.unwrap();
    let reading = audit_log.read(&fixture.grant(0), all_records()).await.unwrap();
    assert_eq!(audit_log.open_chains(), 2, "the operators' log has a file of its own");
    let refused = audit_log.open_chain(fixture.directory.keys[1].incarnation).await.unwrap_err();
    assert_eq!((refused.code, audit_log.open_chains()), (Code::Overloaded, 2), "the other log is being read");
    // A read's record waits for its file, and no reply waits for the record.
    audit_log.seal(fixture.grant::<Search>(1), searched("canary-1"), ()).await.into_body();
    drop(reading);
    assert_eq!(fixture.read_all(&audit_log, 1).await.len(), 1, "the first log was closed for it");
    assert_eq!(audit_log.open_chains(), 2);
    for _ in 0..20 {
        let write = async |tenant| {
            audit_log
                .seal_durable(fixture.grant::<Search>(tenant), searched("canary-1"), ())
                .await
                .unwrap()
                .into_body();
            audit_log.open_chains()
        };
        let (first, second) = tokio::join!(write(0), write(1));
        assert!(first <= 2 && second <= 2, "{first} {second}");
    }
    end((audit_log, storage)).await;
}

/// A reader writes queued records before it reads. A reader that is cancelled during this must not leave a chain whose
/// state no longer matches the disk.
#[tokio::test]
async fn a_cancelled_reader_does_not_break_the_chain() {
    let fixture = LedgerFixture::new();
    let (audit_log, storage) = fixture.audit_log().await;
    audit_log.open_chain(fixture.directory.keys[0].incarnation).await.unwrap();
    let mut written = 0;
    for polls in 1..20 {
        audit_log.seal(fixture.grant::<Search>(0), searched("canary-1"), ()).await.into_body();
        {
            let grant = fixture.grant(0);
            let mut read = std::pin::pin!(async { whole_page(audit_log.read(&grant, all_records()).await?).await });
            for _ in 0..polls {
                if futures::poll!(&mut read).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        audit_log.seal_durable(fixture.grant::<Search>(0), searched("canary-2"), ()).await.unwrap().into_body();
        written += 2;
    }
    end((audit_log, storage)).await;
    let (audit_log, storage) = fixture.audit_log().await;
    let report = audit_log.verify(&fixture.grant(0)).await.unwrap();
    assert!(report.lines >= written, "{} of {written} records", report.lines);
    end((audit_log, storage)).await;
}

/// A runtime that shuts down drops the task that would write queued records. The drop must not start another task,
/// which the runtime would drop too, recursively.
#[test]
fn a_runtime_shuts_down_while_records_are_queued() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fixture = LedgerFixture::new();
    let (audit_log, _storage) = runtime.block_on(async {
        let (audit_log, storage) = fixture.audit_log().await;
        // The leader is waiting for a larger batch before it writes.
        audit_log.seal(fixture.grant::<Search>(0), searched("canary-1"), ()).await.into_body();
        (audit_log, storage)
    });
    drop(runtime);
    assert_eq!(
        audit_log.usage_of(fixture.directory.keys[0].incarnation).requests,
        1,
        "it is counted although it was never written"
    );
}
