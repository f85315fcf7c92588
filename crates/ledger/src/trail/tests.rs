//! The trail with two tenants on a real folder: what is written, once, chained and readable.

use super::*;
use crate::{OutcomeKind, verify_lines};
use access::{
    Ask, Credentials, Gate, Ingest, KeyRecord, OperatorRecord, Pepper, Read, Search, TenantFacts, TenantState,
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
use vault::{LocalProvider, PlaceKind, TenantKeys};

struct World {
    dir: tempfile::TempDir,
    parts: Arc<Parts>,
    control: Arc<Home>,
    gate: Gate,
    tokens: Vec<String>,
    operator: String,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
}

struct Parts {
    pepper: Pepper,
    keys: Vec<Arc<KeyRecord>>,
    operator: Arc<OperatorRecord>,
    homes: Vec<Arc<Home>>,
    unavailable: AtomicBool,
}

impl Credentials for Parts {
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

impl Directory for Parts {
    fn namespace(&self, _: Incarnation, _: &NamespaceName) -> Result<Option<Arc<Home>>, kernel::Error> {
        Ok(None)
    }
    fn audit(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<Arc<Home>, kernel::Error>> {
        Box::pin(async move {
            if self.unavailable.load(Ordering::SeqCst) {
                return Err(kernel::Error::new(Code::KeyUnavailable, "switched off by the test"));
            }
            self.homes
                .iter()
                .find(|home| home.incarnation() == Some(incarnation))
                .cloned()
                .ok_or_else(kernel::Error::not_found)
        })
    }
}

impl World {
    fn new() -> Self {
        let entropy = Arc::new(SeededEntropy::new(7));
        let provider = LocalProvider::from_env_value(&"0b".repeat(32), entropy.clone()).unwrap();
        let home = || {
            let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy).unwrap();
            let uuid = NamespaceUuid::random(&*entropy);
            Arc::new(Home::create_place(&keys, PlaceKind::Audit, uuid, &*entropy).unwrap().0)
        };
        let (homes, control) = (vec![home(), home()], home());
        let pepper = Pepper::new(&[5; 32]);
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
        let mut tokens = Vec::new();
        let mut keys = Vec::new();
        for (name, home) in ["alpha", "beta"].into_iter().zip(&homes) {
            let (id, whole, secret) = token::mint(TokenKind::Key, &*entropy);
            tokens.push(whole.to_string());
            keys.push(Arc::new(KeyRecord {
                id,
                tenant: TenantId::parse(name).unwrap(),
                incarnation: home.incarnation().unwrap(),
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
        let parts = Arc::new(Parts { pepper, keys, operator, homes, unavailable: AtomicBool::new(false) });
        let gate = Gate::new(parts.clone(), clock.clone());
        let dir = tempfile::tempdir().unwrap();
        Self { dir, parts, control, gate, tokens, operator: whole.to_string(), clock, entropy }
    }

    async fn trail(&self) -> (Trail, Storage) {
        self.narrow_trail(limits::AUDIT_CHAINS_OPEN_MAX).await
    }

    /// One that holds so many logs open.
    async fn narrow_trail(&self, chains_open_max: u64) -> (Trail, Storage) {
        let storage = Storage::open(self.dir.path()).await.unwrap();
        self.trail_on(storage, chains_open_max)
    }

    async fn bucket_trail(&self, bucket: &Arc<InMemory>) -> (Trail, Storage) {
        let (store, once) = (bucket.clone(), bucket.clone());
        let storage = Storage::remote(store, once, journal::Blocking::Threads).await.unwrap();
        self.trail_on(storage, limits::AUDIT_CHAINS_OPEN_MAX)
    }

    fn trail_on(&self, storage: Storage, chains_open_max: u64) -> (Trail, Storage) {
        let trail = Trail::new(TrailConfig {
            storage: storage.clone(),
            directory: self.parts.clone(),
            control: self.control.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            tracker: TaskTracker::new(),
            chains_open_max,
        });
        (trail, storage)
    }

    fn grant<A: Action>(&self, tenant: usize) -> Grant<A> {
        let namespace = Some(NamespaceName::parse("canary-handbook").unwrap());
        let ask = Ask {
            namespace,
            request: RequestId::random(&*self.entropy),
            trace: Some("00-4bf9-01".to_owned()),
            presence: kernel::Presence::default(),
        };
        self.gate.admit(Some(&self.tokens[tenant]), ask).unwrap()
    }

    fn operator(&self) -> Operator {
        self.gate.operator(Some(&self.operator), &[], RequestId::random(&*self.entropy)).unwrap()
    }

    fn switch_off(&self, off: bool) {
        self.parts.unavailable.store(off, Ordering::SeqCst);
    }

    fn absorbed(&self, trail: &Trail, namespace: NamespaceUuid, commit: u64) -> Absorbed {
        let grant = self.grant::<Ingest>(0);
        let deed =
            Deed::success().count("documents", 2).count("bytes_in", 100).documents(ids(&["canary-a", "canary-b"]));
        let line = trail.line(&grant, deed);
        Absorbed { incarnation: grant.incarnation(), namespace, mark: mark(commit), line }
    }

    async fn all(&self, trail: &Trail, tenant: usize) -> Vec<Value> {
        self.found(trail, tenant, everything()).await.unwrap().values().unwrap()
    }

    async fn found(&self, trail: &Trail, tenant: usize, reading: Reading) -> Result<AuditPage, kernel::Error> {
        whole_page(trail.read(&self.grant(tenant), reading).await?).await
    }
}

/// Ends the server: everything written, the folder's lock given back.
async fn end((trail, storage): (Trail, Storage)) {
    trail.close().await;
    trail.0.shared.tracker.close();
    trail.0.shared.tracker.wait().await;
    storage.close().await;
}

fn mark(commit: u64) -> AuditMark {
    AuditMark { commit: CommitNo(commit), digest: [commit as u8; 16], documents: 10 * commit, bytes: 100 * commit }
}

fn ids(names: &[&str]) -> Vec<DocumentId> {
    names.iter().map(|name| DocumentId::parse(name).unwrap()).collect()
}

fn everything() -> Reading {
    Reading { limit: usize::MAX, ..Reading::default() }
}

fn searched(name: &str) -> Deed {
    let who = vec![Principal::parse("user:canary-alice").unwrap()];
    Deed::success().count("hits", 1).documents(ids(&[name])).principals(who)
}

fn operations(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["api"]["operation"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_end_of_a_request_has_its_line() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    assert_eq!(trail.seal(world.grant::<Search>(0), searched("canary-1"), 42).await.into_body(), 42);
    trail.seal_durable(world.grant::<Read>(0), searched("canary-2"), ()).await.unwrap().into_body();
    let refused = trail.refuse(world.grant::<Search>(0), kernel::Error::not_found()).await;
    assert_eq!(refused.into_body().code, Code::NotFound);
    let ask = Ask {
        namespace: None,
        request: RequestId::random(&*world.entropy),
        trace: None,
        presence: kernel::Presence::default(),
    };
    let refusal = world.gate.admit::<access::Manage>(Some(&world.tokens[0]), ask).err().unwrap();
    let _ = trail.refused(refusal, "/v1/namespaces/{ns}").await;
    trail.seal(world.grant::<Search>(1), searched("canary-1"), ()).await.into_body();

    let lines = world.all(&trail, 0).await;
    assert_eq!(operations(&lines), ["search", "document.read", "search", "request.refused"]);
    assert_eq!(lines[2]["status"], "Failure");
    assert_eq!(lines[2]["status_code"], "not_found");
    assert_eq!(lines[3]["http_request"]["url"]["path"], "/v1/namespaces/{ns}");
    assert_eq!(lines[0]["actor"]["user"]["uid"], world.parts.keys[0].id.as_str());
    assert_eq!(lines[0]["actor"]["authorizations"][0]["policy"]["name"], "builtin-1");
    assert_eq!(trail.usage_of(world.parts.keys[0].incarnation), Usage { requests: 3, searches: 2, ..Usage::default() });
    let other = world.all(&trail, 1).await;
    assert_eq!(other.len(), 1, "another tenant has its own chain");
    assert_ne!(lines[0]["resources"], other[0]["resources"], "and its own names for equal ids");

    let report = trail.verify(&world.grant(0)).await.unwrap();
    assert_eq!(report, verify_lines(&lines).unwrap());
    assert_eq!((report.first, report.lines), (1, 4));
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("canary"), "no id, namespace or principal stands in a line: {text}");
    end((trail, storage)).await;
    let again = world.trail().await;
    assert_eq!(world.all(&again.0, 0).await, lines);
    assert_eq!(again.0.usage_of(world.parts.keys[0].incarnation).requests, 3);
    end(again).await;
}

#[tokio::test]
async fn lines_are_found_by_time_document_and_principal() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let start = world.clock.now();
    for name in ["x", "y", "x", "z"] {
        let deed = Deed { principals: vec![Principal::parse(&format!("user:{name}")).unwrap()], ..searched(name) };
        trail.seal(world.grant::<Search>(0), deed, ()).await.into_body();
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    let second = |n| Some(start.plus(std::time::Duration::from_secs(n)));
    let document = Some(DocumentId::parse("x").unwrap());
    let principal = Some(Principal::parse("user:x").unwrap());
    let cases = [
        (Reading { document: document.clone(), ..everything() }, vec![1, 3]),
        (Reading { principal, ..everything() }, vec![1, 3]),
        (Reading { since: second(1), until: second(3), ..everything() }, vec![2, 3]),
        (Reading { document, since: second(1), ..everything() }, vec![3]),
        (Reading { limit: 2, ..Reading::default() }, vec![1, 2]),
    ];
    for (reading, wanted) in cases {
        let found = world.found(&trail, 0, reading.clone()).await.unwrap().values().unwrap();
        let found: Vec<_> = found.iter().map(|line| line["record_integrity"]["sequence"].as_u64().unwrap()).collect();
        assert_eq!(found, wanted, "{reading:?}");
    }
    end((trail, storage)).await;
}

#[tokio::test]
async fn a_mutations_line_stands_once_however_often_it_is_handed_over() {
    let world = World::new();
    let (one, two) = (NamespaceUuid::random(&*world.entropy), NamespaceUuid::random(&*world.entropy));
    let parts = world.trail().await;
    let sink = parts.0.sink();
    for (namespace, commit) in [(one, 1), (one, 1), (two, 1), (one, 2), (one, 1)] {
        sink.absorb(world.absorbed(&parts.0, namespace, commit)).await.unwrap();
    }
    drop(sink);
    end(parts).await;

    let parts = world.trail().await;
    let sink = parts.0.sink();
    for (namespace, commit) in [(one, 1), (one, 2), (two, 1), (one, 3)] {
        sink.absorb(world.absorbed(&parts.0, namespace, commit)).await.unwrap();
    }
    let lines = world.all(&parts.0, 0).await;
    let commits: Vec<_> = lines.iter().map(|line| line["unmapped"]["commit"]["number"].as_u64().unwrap()).collect();
    assert_eq!(commits, [1, 1, 2, 3]);
    assert!(!serde_json::to_string(&lines).unwrap().contains("canary"));
    let usage = parts.0.usage_of(world.parts.keys[0].incarnation);
    assert_eq!(usage, Usage { requests: 4, documents: 8, bytes_in: 400, ..Usage::default() });
    let foreign = Absorbed { line: b"{}".to_vec(), ..world.absorbed(&parts.0, one, 4) };
    assert_eq!(sink.absorb(foreign).await.unwrap_err().code, Code::Internal);
    drop(sink);
    end(parts).await;
}

#[tokio::test]
async fn no_later_commit_hides_one_that_could_not_be_written() {
    let world = World::new();
    let namespace = NamespaceUuid::random(&*world.entropy);
    let parts = world.trail().await;
    let sink = parts.0.sink();
    world.switch_off(true);
    assert_eq!(sink.absorb(world.absorbed(&parts.0, namespace, 5)).await.unwrap_err().code, Code::KeyUnavailable);
    world.switch_off(false);
    assert_eq!(sink.absorb(world.absorbed(&parts.0, namespace, 6)).await.unwrap_err().code, Code::Internal);
    let elsewhere = NamespaceUuid::random(&*world.entropy);
    sink.absorb(world.absorbed(&parts.0, elsewhere, 9)).await.unwrap();
    for commit in [5, 6] {
        sink.absorb(world.absorbed(&parts.0, namespace, commit)).await.unwrap();
    }
    assert_eq!(world.all(&parts.0, 0).await.len(), 3);
    drop(sink);
    end(parts).await;
}

/// Lines are in memory until they are in a chunk: those of deep searches are long.
#[tokio::test]
async fn long_lines_fill_a_chunk_sooner() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let documents: Vec<DocumentId> = (0..1_000).map(|n| DocumentId::parse(&format!("d{n}")).unwrap()).collect();
    // A document takes 60 bytes of a line.
    let total = limits::AUDIT_CHUNK_BYTES / 60_000 + 20;
    assert!(total < limits::AUDIT_CHUNK_LINES);
    for _ in 0..total {
        let deed = Deed::success().documents(documents.clone());
        trail.seal(world.grant::<Search>(0), deed, ()).await.into_body();
    }
    let report = trail.verify(&world.grant(0)).await.unwrap();
    assert_eq!(report.lines, total as u64);
    let place = world.dir.path().join(world.parts.homes[0].prefix());
    let names = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("seg-")).count(), 1);
    end((trail, storage)).await;
}

#[tokio::test]
async fn full_chunks_move_out_of_the_log() {
    let world = World::new();
    let total = limits::AUDIT_CHUNK_LINES + 700;
    let (trail, storage) = world.trail().await;
    for i in 0..total {
        trail.seal(world.grant::<Search>(0), searched(&format!("canary-{i}")), ()).await.into_body();
    }
    trail.verify(&world.grant(0)).await.unwrap();
    end((trail, storage)).await;

    let (trail, storage) = world.trail().await;
    let report = trail.verify(&world.grant(0)).await.unwrap();
    assert_eq!(report.lines, total as u64);
    assert_eq!(trail.usage_of(world.parts.keys[0].incarnation).searches, total as u64);
    let place = world.dir.path().join(world.parts.homes[0].prefix());
    let names = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("seg-")).count(), 1);
    for name in ["canary-0", "canary-4795"] {
        let document = Some(DocumentId::parse(name).unwrap());
        assert_eq!(world.found(&trail, 0, Reading { document, ..everything() }).await.unwrap().lines.len(), 1);
    }
    trail.seal(world.grant::<Search>(0), searched("one more"), ()).await.into_body();
    assert_eq!(verify_lines(&world.all(&trail, 0).await).unwrap().lines, total as u64 + 1);
    end((trail, storage)).await;
}

/// In a bucket each line that comes alone is an object. An opening asks for few of them, however many came.
#[tokio::test]
async fn many_batches_in_a_bucket_are_folded() {
    let (world, bucket) = (World::new(), Arc::new(InMemory::new()));
    let home = &world.parts.homes[0];
    let total = 700;
    let logged = async || {
        let prefix = format!("{}/log", home.prefix().trim_end_matches('/')).into();
        bucket.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap().len()
    };
    let (trail, storage) = world.bucket_trail(&bucket).await;
    let mut most = 0;
    for i in 0..total {
        trail.seal_durable(world.grant::<Search>(0), searched(&format!("canary-{i}")), ()).await.unwrap().into_body();
        most = logged().await.max(most);
    }
    assert!((32..total / 5).contains(&most), "{most} objects of the log at once");
    end((trail, storage)).await;

    let (trail, storage) = world.bucket_trail(&bucket).await;
    assert_eq!(trail.verify(&world.grant(0)).await.unwrap().lines, total as u64);
    assert!(logged().await < 2 * 700 / 16, "{} objects of the log", logged().await);
    trail.seal_durable(world.grant::<Search>(0), searched("one more"), ()).await.unwrap().into_body();
    assert_eq!(verify_lines(&world.all(&trail, 0).await).unwrap().lines, total as u64 + 1);
    end((trail, storage)).await;
}

#[tokio::test]
async fn reads_go_on_while_nothing_can_be_written_and_the_gap_is_told() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    world.switch_off(true);
    let total = limits::AUDIT_QUEUE_LINES_MAX + 1_000;
    for _ in 0..total {
        trail.seal(world.grant::<Search>(0), searched("x"), ()).await.into_body();
        tokio::task::yield_now().await;
    }
    let refused = trail.seal_durable(world.grant::<Search>(0), searched("x"), "secret").await;
    drop(refused.unwrap_err());
    assert_eq!(world.found(&trail, 0, everything()).await.unwrap_err().code, Code::KeyUnavailable);
    world.switch_off(false);
    world.clock.advance(2 * limits::AUDIT_RETRY_WAIT);
    trail.seal(world.grant::<Search>(0), searched("x"), ()).await.into_body();
    let lines = world.all(&trail, 0).await;
    verify_lines(&lines).unwrap();
    let lost: u64 = lines
        .iter()
        .filter(|line| line["api"]["operation"] == "audit.gap")
        .map(|line| line["unmapped"]["counts"]["lines"].as_u64().unwrap())
        .sum();
    let written = operations(&lines).iter().filter(|operation| **operation == "search").count() as u64;
    assert!(lost >= 1_000, "{lost}");
    assert_eq!(written + lost, total as u64 + 1, "every line is there or counted");
    end((trail, storage)).await;
}

#[tokio::test]
async fn operators_acts_are_durable_before_their_effect() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let alpha = TenantId::parse("alpha").unwrap();
    trail.operator_act(&world.operator(), "tenant.create", Some(&alpha)).await.unwrap();
    trail.operator_act(&world.operator(), "tenant.suspend", Some(&alpha)).await.unwrap();
    end((trail, storage)).await;
    let (trail, storage) = world.trail().await;
    let reading = Reading { limit: 10, ..Reading::default() };
    let acts = whole_page(trail.operator_acts(&world.operator(), reading).await.unwrap()).await.unwrap();
    let acts = acts.values().unwrap();
    assert_eq!(operations(&acts), ["tenant.create", "tenant.suspend"]);
    assert_eq!(acts[0]["actor"]["user"]["uid"], "olga");
    assert_eq!(acts[0]["unmapped"]["tenant"], "alpha");
    verify_lines(&acts).unwrap();
    end((trail, storage)).await;
}

#[tokio::test]
async fn a_forgotten_tenant_leaves_memory_and_no_line() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let incarnation = world.parts.keys[0].incarnation;
    trail.seal(world.grant::<Search>(0), searched("x"), ()).await.into_body();
    trail.forget(incarnation).await;
    assert_eq!(trail.usage(), []);
    trail.seal(world.grant::<Search>(0), searched("y"), ()).await.into_body();
    assert_eq!(world.all(&trail, 0).await.len(), 2, "suspended and resumed: the chain goes on");
    trail.seal(world.grant::<Search>(0), searched("z"), ()).await.into_body();
    world.switch_off(true);
    trail.forget(incarnation).await;
    end((trail, storage)).await;
}

/// A tenant is suspended and served again while requests of before still write their lines.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_let_go_while_lines_come_has_one_log() {
    const WRITERS: u64 = 6;
    const EACH: u64 = 40;
    const LINES: u64 = WRITERS * EACH;
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let incarnation = world.parts.keys[0].incarnation;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let grants: Vec<_> = (0..EACH).map(|_| world.grant::<Search>(0)).collect();
        let trail = trail.clone();
        writers.spawn(async move {
            for grant in grants {
                trail.seal_durable(grant, searched("x"), ()).await.unwrap().into_body();
            }
        });
    }
    let mut closed = 0;
    while !writers.is_empty() {
        closed += u64::from(trail.release(incarnation).await);
        while let Some(written) = writers.try_join_next() {
            written.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert!(closed > 0, "it was closed in between");
    assert_eq!(trail.verify(&world.grant(0)).await.unwrap().lines, LINES);
    end((trail, storage)).await;
    let (trail, storage) = world.trail().await;
    assert_eq!(trail.verify(&world.grant(0)).await.unwrap().lines, LINES);
    end((trail, storage)).await;
}

/// What is released holds no key and no file, waits for who reads, and goes on with the next line.
#[tokio::test]
async fn a_released_chain_is_closed_when_nobody_is_at_it() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let (incarnation, other) = (world.parts.keys[0].incarnation, world.parts.keys[1].incarnation);
    assert!(trail.release(incarnation).await, "one that was never open is closed");
    for tenant in [0, 1] {
        trail.seal_durable(world.grant::<Search>(tenant), searched("x"), ()).await.unwrap().into_body();
    }
    trail.seal(world.grant::<Search>(0), searched("y"), ()).await.into_body();
    let holders = || Arc::strong_count(&world.parts.homes[0]);
    let rest = holders();
    let pages = trail.chain(incarnation).read(everything()).await.unwrap();
    assert!(!trail.release(incarnation).await, "a reader has its log");
    drop(pages);
    assert!(trail.release(incarnation).await);
    assert_eq!((trail.open_chains(), trail.usage_of(other).searches), (1, 1), "only this one");
    assert_eq!(trail.known_usage(other).map(|usage| usage.searches), Some(1), "it was opened once");
    assert_eq!(trail.usage_of(incarnation).searches, 2, "what waited is written, and known");
    assert!(holders() < rest, "its keys are let go");

    world.switch_off(true);
    trail.seal(world.grant::<Search>(0), searched("z"), ()).await.into_body();
    assert!(trail.release(incarnation).await, "a line that waits for its key holds none");
    world.switch_off(false);
    world.clock.advance(2 * limits::AUDIT_RETRY_WAIT);
    let lines = world.all(&trail, 0).await;
    assert_eq!(lines.len(), 3, "and is written when the key can be had");
    verify_lines(&lines).unwrap();
    end((trail, storage)).await;
}

/// Whoever still has lines of a tenant that is being erased opens no second log beside the one that ends.
#[tokio::test]
async fn a_chain_that_was_ended_refuses_until_it_is_forgotten() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let incarnation = world.parts.keys[0].incarnation;
    trail.seal(world.grant::<Search>(0), searched("x"), ()).await.into_body();
    trail.end(incarnation).await;
    let refused = trail.seal_durable(world.grant::<Search>(0), searched("y"), "secret").await;
    drop(refused.unwrap_err());
    assert!(world.found(&trail, 0, everything()).await.is_err());
    assert_eq!(trail.open_chains(), 0);
    trail.forget(incarnation).await;
    assert_eq!(world.all(&trail, 0).await.len(), 1, "one that could not be erased goes on");
    end((trail, storage)).await;
}

/// Files of a namespace were put back: its next commit has a number that is taken.
#[tokio::test]
async fn a_commit_number_that_comes_with_other_content_is_refused_and_told() {
    let world = World::new();
    let namespace = NamespaceUuid::random(&*world.entropy);
    let elsewhere = NamespaceUuid::random(&*world.entropy);
    let incarnation = world.parts.keys[0].incarnation;
    let parts = world.trail().await;
    let sink = parts.0.sink();
    assert_eq!(sink.recorded(incarnation, namespace).await.unwrap(), None);
    for commit in [1, 2] {
        sink.absorb(world.absorbed(&parts.0, namespace, commit)).await.unwrap();
    }
    let other =
        || Absorbed { mark: AuditMark { digest: [9; 16], ..mark(2) }, ..world.absorbed(&parts.0, namespace, 2) };
    for _ in 0..2 {
        assert_eq!(sink.absorb(other()).await.unwrap_err().code, Code::RolledBack);
    }
    let at_once = [other(), world.absorbed(&parts.0, elsewhere, 1)].map(|line| sink.absorb(line));
    let [refused, taken] = futures::future::join_all(at_once).await.try_into().unwrap();
    assert_eq!(refused.unwrap_err().code, Code::RolledBack);
    taken.unwrap();
    assert_eq!(world.all(&parts.0, 0).await.len(), 3, "the same again is no news, another is in no line");
    let rollback = parts.0.untold_rollback().unwrap();
    assert_eq!((rollback.namespace, rollback.recorded, rollback.found), (namespace, CommitNo(2), CommitNo(2)));
    let alpha = TenantId::parse("alpha").unwrap();
    parts.0.tell_rollback(rollback, Some(&alpha)).await.unwrap();
    assert_eq!((parts.0.untold_rollback(), parts.0.rollbacks()), (None, 1), "told once");
    let reading = Reading { limit: 10, ..Reading::default() };
    let acts = whole_page(parts.0.operator_acts(&world.operator(), reading).await.unwrap()).await.unwrap();
    let act = acts.values().unwrap().pop().unwrap();
    assert_eq!((act["status_code"].as_str(), act["unmapped"]["tenant"].as_str()), (Some("rolled_back"), Some("alpha")));
    assert_eq!(act["unmapped"]["rollback"]["log"], namespace.to_string());

    // An operator takes it as it is: as of an older commit, and its lines come again.
    let name = NamespaceName::parse("canary-handbook").unwrap();
    let line = parts.0.accepting(&world.operator(), &name);
    let accepted = AuditMark { digest: [7; 16], ..mark(1) };
    sink.absorb(Absorbed { incarnation, namespace, mark: accepted, line }).await.unwrap();
    assert_eq!((sink.recorded(incarnation, namespace).await.unwrap(), parts.0.rollbacks()), (Some(accepted), 0));
    sink.absorb(other()).await.unwrap();
    drop(sink);
    end(parts).await;
    let parts = world.trail().await;
    let recorded = parts.0.recorded(incarnation, &[elsewhere, namespace]).await.unwrap();
    assert_eq!(
        recorded,
        [Some(mark(1)), Some(AuditMark { digest: [9; 16], ..mark(2) })],
        "and so it stands on the disk"
    );
    let lines = world.all(&parts.0, 0).await;
    assert_eq!(operations(&lines)[3..], ["namespace.accept_rollback", "document.upsert"]);
    verify_lines(&lines).unwrap();
    end(parts).await;
}

#[tokio::test]
async fn of_a_deleted_namespace_nothing_is_kept() {
    let world = World::new();
    let namespace = NamespaceUuid::random(&*world.entropy);
    let incarnation = world.parts.keys[0].incarnation;
    let parts = world.trail().await;
    parts.0.sink().absorb(world.absorbed(&parts.0, namespace, 1)).await.unwrap();
    let grant = world.grant::<Search>(0);
    parts.0.seal_durable(grant, Deed::success().ended(namespace), ()).await.unwrap().into_body();
    assert_eq!(parts.0.recorded(incarnation, &[namespace]).await.unwrap(), [None]);
    end(parts).await;
    let parts = world.trail().await;
    assert_eq!(parts.0.recorded(incarnation, &[namespace]).await.unwrap(), [None]);
    end(parts).await;
}

#[tokio::test]
async fn an_audit_is_read_page_by_page_and_chunks_outside_the_time_are_not_opened() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let total = 2 * limits::AUDIT_CHUNK_LINES as u64 + 50;
    let begun = world.clock.now();
    for i in 0..total {
        trail.seal(world.grant::<Search>(0), searched(&format!("canary-{i}")), ()).await.into_body();
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    let (mut seen, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = world.found(&trail, 0, Reading { after: Some(from), limit: 1_000, ..everything() }).await.unwrap();
        assert_eq!((page.head.lines, page.lines.len()), (total, 1_000.min((total - from) as usize)));
        seen.extend(page.values().unwrap());
        after = page.next;
    }
    assert_eq!(verify_lines(&seen).unwrap().lines, total);
    let opened = async |reading: Reading| {
        let mut reader = trail.read(&world.grant(0), reading).await.unwrap();
        let mut pieces = 0;
        while let Some(piece) = reader.next().await.unwrap() {
            pieces += 1;
            reader.take(piece.read().unwrap());
        }
        (pieces, reader.finish().lines.len())
    };
    let second = |n: u64| Some(begun.plus(std::time::Duration::from_secs(n)));
    assert_eq!(opened(Reading { limit: 3, ..everything() }).await, (1, 3), "no more than the page needs");
    assert_eq!(opened(Reading { since: second(5_000), until: second(5_010), ..everything() }).await, (2, 10));
    assert_eq!(opened(Reading { after: Some(total - 10), ..everything() }).await, (1, 10), "it is in memory");
    assert_eq!(opened(Reading { until: second(10), ..everything() }).await, (2, 10));
    let unknown = Some(DocumentId::parse("nothing").unwrap());
    assert_eq!(opened(Reading { document: unknown, ..everything() }).await, (3, 0));
    end((trail, storage)).await;
}

/// Lines of deep searches are long: a page ends before its limit of lines, and the next goes on there.
#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let documents: Vec<DocumentId> = (0..10_000).map(|n| DocumentId::parse(&format!("d{n}")).unwrap()).collect();
    for _ in 0..20 {
        trail.seal(world.grant::<Search>(0), Deed::success().documents(documents.clone()), ()).await.into_body();
    }
    let (mut sizes, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = world.found(&trail, 0, Reading { after: Some(from), limit: 1_000, ..everything() }).await.unwrap();
        let bytes: usize = page.lines.iter().map(|line| line.len()).sum();
        assert!(bytes <= limits::AUDIT_PAGE_BYTES_MAX, "{bytes}");
        sizes.push(page.lines.len());
        after = page.next;
    }
    assert!(sizes.len() > 1 && sizes.iter().sum::<usize>() == 20, "{sizes:?}");
    end((trail, storage)).await;
}

#[tokio::test]
async fn a_tenant_reads_of_its_keys_in_its_own_audit() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    let incarnation = world.parts.keys[0].incarnation;
    let principal = Principal::parse("user:canary-alice").unwrap();
    let key = ApiKeyDeed {
        id: world.parts.keys[1].id.clone(),
        scopes: vec![Scope::ReadAll, Scope::Search],
        principals: vec![principal.clone()],
        namespaces: vec![NamespaceName::parse("canary-handbook").unwrap()],
        expires_at: Some(Timestamp::from_millis(0)),
    };
    trail.tenant_act(&world.operator(), "api_key.create", incarnation, Some(&key)).await.unwrap();
    trail.tenant_act_later(&world.operator(), "api_key.revoke", incarnation, Some(&key)).await;
    trail.seal(world.grant::<Search>(0), searched("x"), ()).await.into_body();
    let lines = world.all(&trail, 0).await;
    assert_eq!(operations(&lines), ["api_key.create", "api_key.revoke", "search"]);
    for line in &lines[..2] {
        let told = &line["unmapped"]["api_key"];
        assert_eq!(
            (told["uid"].as_str(), &told["scopes"]),
            (Some(key.id.as_str()), &serde_json::json!(["read_all", "search"]))
        );
        assert_eq!(told["expires_dt"], "1970-01-01T00:00:00.000Z");
        assert_eq!(line["unmapped"]["namespaces"][0], lines[2]["unmapped"]["namespace"], "as in the lines of its use");
        assert_eq!(line["actor"]["user"]["uid"], "olga");
    }
    let found = world.found(&trail, 0, Reading { principal: Some(principal), ..everything() }).await.unwrap();
    assert_eq!(found.lines.len(), 3, "whoever reads as somebody is found by it");
    assert!(!serde_json::to_string(&lines).unwrap().contains("canary"));
    assert_eq!(trail.usage_of(incarnation).requests, 1, "what operators do is no use of the tenant's");
    verify_lines(&lines).unwrap();
    end((trail, storage)).await;
}

#[test]
fn a_deed_says_how_it_ended() {
    assert_eq!(Deed::failure(Code::TooLarge).outcome, OutcomeKind::Failure(Code::TooLarge));
}

/// Many tenants are at work over a day, and each had its file open for ever.
#[tokio::test(flavor = "multi_thread")]
async fn chains_that_nobody_writes_are_closed() {
    let world = World::new();
    let (trail, storage) = world.narrow_trail(1).await;
    let settled = || async {
        trail.0.shared.tracker.close();
        trail.0.shared.tracker.wait().await;
        trail.0.shared.tracker.reopen();
    };
    for round in 0..6 {
        for tenant in 0..2 {
            trail.seal_durable(world.grant::<Search>(tenant), searched("canary-1"), ()).await.unwrap().into_body();
            if round % 2 == 0 {
                settled().await;
            }
        }
    }
    trail.seal_durable(world.grant::<Search>(0), searched("canary-1"), ()).await.unwrap().into_body();
    settled().await;
    assert_eq!(trail.open_chains(), 1, "the other one rests");
    // What was used is known without its file, and a reader opens it.
    for (tenant, lines) in [(0, 7), (1, 6)] {
        let incarnation = world.parts.keys[tenant].incarnation;
        assert_eq!(trail.usage_of(incarnation).searches, lines);
        assert_eq!(world.all(&trail, tenant).await.len() as u64, lines);
        assert_eq!(trail.verify(&world.grant(tenant)).await.unwrap().lines, lines);
    }
    end((trail, storage)).await;
    let (trail, storage) = world.trail().await;
    assert_eq!(trail.verify(&world.grant(0)).await.unwrap().lines, 7);
    end((trail, storage)).await;
}

/// With few files to be had, many tenants that came at one moment had each its log opened, and other files could not be.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_logs_are_open_than_there_are_files_for() {
    let world = World::new();
    let (trail, storage) = world.narrow_trail(1).await;
    trail.operator_act(&world.operator(), "tenant.create", None).await.unwrap();
    let reading = trail.read(&world.grant(0), everything()).await.unwrap();
    assert_eq!(trail.open_chains(), 2, "the operators' log has a file of its own");
    let refused = trail.warm(world.parts.keys[1].incarnation).await.unwrap_err();
    assert_eq!((refused.code, trail.open_chains()), (Code::Overloaded, 2), "one is being read");
    // A read's line waits for its file, and no reply waits for the line.
    trail.seal(world.grant::<Search>(1), searched("canary-1"), ()).await.into_body();
    drop(reading);
    assert_eq!(world.all(&trail, 1).await.len(), 1, "the first one was closed for it");
    assert_eq!(trail.open_chains(), 2);
    for _ in 0..20 {
        let write = async |tenant| {
            trail.seal_durable(world.grant::<Search>(tenant), searched("canary-1"), ()).await.unwrap().into_body();
            trail.open_chains()
        };
        let (first, second) = tokio::join!(write(0), write(1));
        assert!(first <= 2 && second <= 2, "{first} {second}");
    }
    end((trail, storage)).await;
}

/// A reader writes what waits before it reads. One that goes away meanwhile must not leave a chain that no longer knows
/// what stands on the disk.
#[tokio::test]
async fn a_reader_that_goes_away_breaks_no_chain() {
    let world = World::new();
    let (trail, storage) = world.trail().await;
    trail.warm(world.parts.keys[0].incarnation).await.unwrap();
    let mut written = 0;
    for polls in 1..20 {
        trail.seal(world.grant::<Search>(0), searched("canary-1"), ()).await.into_body();
        {
            let grant = world.grant(0);
            let mut read = std::pin::pin!(async { whole_page(trail.read(&grant, everything()).await?).await });
            for _ in 0..polls {
                if futures::poll!(&mut read).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        trail.seal_durable(world.grant::<Search>(0), searched("canary-2"), ()).await.unwrap().into_body();
        written += 2;
    }
    end((trail, storage)).await;
    let (trail, storage) = world.trail().await;
    let report = trail.verify(&world.grant(0)).await.unwrap();
    assert!(report.lines >= written, "{} of {written} lines", report.lines);
    end((trail, storage)).await;
}

/// A runtime that ends drops the task that would write what waits. Nobody starts another one, which it would drop too,
/// from within the drop of the one before.
#[test]
fn a_runtime_that_ends_under_lines_that_wait_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = World::new();
    let (trail, _storage) = runtime.block_on(async {
        let (trail, storage) = world.trail().await;
        // Gathering: it waits for more before it writes.
        trail.seal(world.grant::<Search>(0), searched("canary-1"), ()).await.into_body();
        (trail, storage)
    });
    drop(runtime);
    assert_eq!(trail.usage_of(world.parts.keys[0].incarnation).requests, 1, "it is counted, and was in no file yet");
}
