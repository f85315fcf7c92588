//! Compares accounted bytes with allocated bytes, by a counting allocator: the memory of namespaces, and of replies
//! while they are made. It is a test binary of its own because it counts the whole process.

#![expect(clippy::print_stdout, reason = "figures of a run, which the test runner shows")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use access::{Action, Grant, Ingest, Read, RequestInfo, Search};
use engine::{
    ContextRequest, Engine, EngineConfig, Include, IngestRequest, ListRequest, Mode, NewApiKey, NewTenant, OnConflict,
    Permit, RawBody, RawDocument, Rendering, SearchRequest, WithPermit,
};
use journal::Storage;
use kernel::{
    AttrValue, Attributes, CancelFlag, Clock, Code, DocumentId, NamespaceName, OsEntropy, Principal, Scalar, Scope,
    SystemClock, TenantId, Untrusted, limits,
};
use models::Models;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};
use vault::{LocalProvider, Providers};

/// Makes the documents of one namespace.
type MakeDocuments = Box<dyn Fn() -> Vec<RawDocument>>;

/// Allocator that counts live bytes and their peak.
struct CountingAllocator;

static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

fn count(more: usize, less: usize) {
    let change = i64::try_from(more).unwrap_or(i64::MAX) - i64::try_from(less).unwrap_or(i64::MAX);
    PEAK.fetch_max(LIVE.fetch_add(change, Relaxed) + change, Relaxed);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without; every call goes to the system's unchanged")]
// SAFETY: each method hands its arguments to `System` and does nothing else with the memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn live() -> u64 {
    u64::try_from(LIVE.load(Relaxed)).unwrap()
}

/// Returns the peak of allocated bytes while the work runs, in addition to those before.
async fn peak<T>(work: impl Future<Output = T>) -> (T, u64) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let value = work.await;
    (value, u64::try_from(PEAK.load(Relaxed) - before).unwrap())
}

struct MemoryFixture {
    engine: Engine,
    secret: String,
    _folder: tempfile::TempDir,
}

impl MemoryFixture {
    /// A fixture that neither flushes nor evicts, so that written data stays in memory.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("data")).await.unwrap();
        let root = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy)).unwrap();
        let config = EngineConfig {
            flush_bytes_max: 1 << 40,
            flush_rows_max: 1 << 40,
            ..EngineConfig::new(storage, Providers::new(Arc::new(root)), Models::unavailable("a test"))
        };
        let (engine, token) = Engine::open(config).await.unwrap();
        let token = token.unwrap();
        let operator = engine.gate().operator(Some(&token), &[], engine.request_id()).map_err(|r| r.error).unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        engine.create_tenant(&operator, NewTenant::named(tenant.clone())).await.unwrap();
        let key = NewApiKey {
            name: "test".to_owned(),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            expires_at: None,
        };
        let (_, secret) = engine.create_api_key(&operator, &tenant, key).await.unwrap();
        Self { engine, secret: (*secret).clone(), _folder: folder }
    }

    async fn admit<A: Action>(&self, namespace: &str) -> Grant<A> {
        let ask = RequestInfo {
            namespace: Some(NamespaceName::parse(namespace).unwrap()),
            request: self.engine.request_id(),
            trace: None,
            cancel: CancelFlag::default(),
        };
        self.engine.admit::<A>(Some(&self.secret), ask).await.map_err(|refusal| refusal.error).unwrap()
    }

    async fn store(&self, namespace: &str, documents: Vec<RawDocument>) {
        let grant = self.admit::<Ingest>(namespace).await;
        let request =
            IngestRequest { documents: documents.into(), on_conflict: OnConflict::Overwrite, refused: Vec::new() };
        let reply = self.engine.ingest(grant, request).await.map_err(|refused| refused.into_body()).unwrap();
        assert!(reply.body().results.iter().all(|result| result.error.is_none()), "{:?}", reply.body().results.first());
    }

    async fn search(&self, namespace: &str, top_k: usize, attributes: bool) -> engine::SearchReply {
        let request = SearchRequest {
            query: Some(Untrusted::new("valve")),
            mode: Some(Mode::Text),
            top_k,
            include: Include { text: true, attributes, ..Include::default() },
            ..SearchRequest::default()
        };
        let grant = self.admit::<Search>(namespace).await;
        self.engine.search(grant, request).await.map_err(|refused| refused.into_body()).unwrap().into_body()
    }
}

fn document(id: &str, text: String) -> RawDocument {
    RawDocument {
        id: Some(DocumentId::parse(id).unwrap()),
        body: RawBody::Text(Untrusted::new(text)),
        media_type: None,
        title: None,
        uri: None,
        attributes: Attributes::default(),
        readers: None,
        vector: None,
        expires_at: None,
    }
}

fn many(n: usize, make: impl Fn(RawDocument, usize) -> RawDocument) -> Vec<RawDocument> {
    (0..n).map(|n| make(document(&format!("d{n}"), format!("valve {n}")), n)).collect()
}

fn strings(keys: usize, values: usize, length: usize) -> Attributes {
    let list = |key| AttrValue::Many((0..values).map(|n| Scalar::Str(format!("{key}-{n:0length$}"))).collect());
    (0..keys).map(|key| (format!("key-{key}"), list(key))).collect()
}

/// Accounted bytes of each namespace are within a factor of two of allocated bytes, before and after it is indexed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounted_bytes_are_near_allocated_bytes_and_replies_are_bounded() {
    // This happens once in a process and takes memory, so it is done before anything is counted.
    let clock = SystemClock::new();
    segment::calibrate(|| clock.monotonic());
    let fixture = MemoryFixture::new().await;
    fixture.store("warm", many(10, |document, _| document)).await;
    drop(fixture.search("warm", 10, true).await);
    let vector = |n: usize| (0..512).map(|d| ((n * 31 + d * 17) % 97) as f32 - 48.0).collect::<Vec<f32>>();
    let readers = || (0..200).map(|n| Principal::parse(&format!("group:team-{n:040}")).unwrap()).collect::<Vec<_>>();
    let shapes: Vec<(&str, MakeDocuments)> = vec![
        (
            "attributes",
            Box::new(move || many(30, |document, _| RawDocument { attributes: strings(40, 2, 2_000), ..document })),
        ),
        (
            "lists",
            Box::new(move || {
                many(12, |document, _| {
                    let flags = AttrValue::Many(vec![Scalar::Bool(true); 256]);
                    RawDocument { attributes: (0..64).map(|n| (format!("k{n}"), flags.clone())).collect(), ..document }
                })
            }),
        ),
        (
            "titles",
            Box::new(move || {
                many(40, |document, n| RawDocument {
                    title: Some(Untrusted::new(format!("title {n} ").repeat(90))),
                    body: RawBody::Text(Untrusted::new(format!("The valve {n} is checked. ").repeat(400))),
                    ..document
                })
            }),
        ),
        ("tiny", Box::new(move || many(1_000, |document, _| document))),
        ("vectors", Box::new(move || many(900, |document, n| RawDocument { vector: Some(vector(n)), ..document }))),
        ("readers", Box::new(move || many(300, |document, _| RawDocument { readers: Some(readers()), ..document }))),
        (
            "text",
            Box::new(move || {
                many(4, |document, n| RawDocument {
                    body: RawBody::Text(Untrusted::new(
                        (0..20_000).map(|w| format!("word{} ", w * (n + 1))).collect::<String>(),
                    )),
                    ..document
                })
            }),
        ),
    ];
    for (name, make) in shapes {
        let (before, counted) = (live(), fixture.engine.health().stores.memory_bytes);
        fixture.store(name, make()).await;
        let near = |when: &str| {
            let there = live().saturating_sub(before);
            let counted = fixture.engine.health().stores.memory_bytes - counted;
            println!("{name} {when}: {} KiB there, {} KiB counted", there >> 10, counted >> 10);
            // A namespace's logs, keys and audit records take memory in addition.
            let beside = 512 << 10;
            assert!(there <= 2 * counted + beside, "{name} {when}: {there} bytes are there, {counted} are counted");
            assert!(counted <= 2 * there + beside, "{name} {when}: {there} bytes are there, {counted} are counted");
        };
        near("as it was written");
        drop(fixture.search(name, 1, false).await);
        near("indexed");
    }
    replies(&fixture).await;
}

fn granted(reply: &mut impl WithPermit) -> Permit {
    reply.take_permit().expect("a permit")
}

/// Replies with 900 passages of one document with 2 MB of attributes, and with documents of which each fills a reply.
async fn replies(fixture: &MemoryFixture) {
    let text: String = (0..900).map(|n| format!("The valve number {n} of the boiler is checked.\n\n")).collect();
    let heavy = RawDocument { attributes: strings(2, 256, 3_900), ..document("heavy", text.repeat(4)) };
    fixture.store("heavy", vec![heavy]).await;
    drop(fixture.search("heavy", 1, false).await);
    let (mut found, most) = peak(fixture.search("heavy", 150, true)).await;
    let permit = granted(&mut found);
    println!("search: {} hits, {} KiB at most, {} KiB permitted", found.hits.len(), most >> 10, permit.amount() >> 10);
    assert!(found.incomplete && (1..150).contains(&found.hits.len()), "{} hits", found.hits.len());
    assert!(found.warnings.iter().any(|warning| warning.contains("16 MiB") && warning.contains("top_k")));
    let shared = found.hits[0].attributes.as_ref().unwrap();
    assert!(found.hits.iter().all(|hit| Arc::ptr_eq(hit.attributes.as_ref().unwrap(), shared)), "one for all hits");
    assert!(most <= 2 * permit.amount(), "{most} bytes at most, {} permitted", permit.amount());
    assert!(permit.amount() < 4 * limits::REPLY_BYTES_SOFT);
    assert_eq!(fixture.engine.health().search_bytes, permit.amount(), "held until the reply is written");
    drop((found, permit));
    assert_eq!(fixture.engine.health().search_bytes, 0);

    let (found, most) = peak(fixture.search("heavy", 150, false)).await;
    assert!(!found.incomplete && found.hits.len() > 100 && most < 4 << 20, "{} hits, {most} bytes", found.hits.len());
    drop(found);

    let search = SearchRequest {
        query: Some(Untrusted::new("valve")),
        mode: Some(Mode::Text),
        top_k: 900,
        include: Include { attributes: true, ..Include::default() },
        ..SearchRequest::default()
    };
    let request = ContextRequest { search, max_tokens: 200_000, rendering: Rendering::Datamarked };
    let grant = fixture.admit::<Search>("heavy").await;
    let (context, most) = peak(fixture.engine.context(grant, request)).await;
    let context = context.map_err(|refused| refused.into_body()).unwrap().into_body();
    assert!(context.sources.len() > 100 && most < 16 << 20, "{} sources, {most} bytes", context.sources.len());
    drop(context);

    // A control character is one byte here and six in JSON.
    let escaped = "valve\u{1}\u{1}\u{1}\u{1}\u{1} ".repeat(50_000);
    let long = |n: usize| document(&format!("long-{n:02}"), escaped.clone());
    for from in (0..12).step_by(6) {
        fixture.store("long", (from..from + 6).map(long).collect()).await;
    }
    let mut after = None;
    let (mut seen, mut pages) = (0, 0);
    loop {
        let request = ListRequest {
            filter: None,
            ids: None,
            acting_as: None,
            include: Include { text: true, ..Include::default() },
            limit: 1_000,
            after,
        };
        let grant = fixture.admit::<Read>("long").await;
        let (page, most) = peak(fixture.engine.list_documents(grant, request)).await;
        let mut page = page.map_err(|refused| refused.into_body()).unwrap().into_body();
        let permit = granted(&mut page);
        assert!(most <= 2 * permit.amount() && permit.amount() < 4 * limits::REPLY_BYTES_SOFT, "{most} {permit:?}");
        assert_eq!(page.total, 12);
        (seen, pages) = (seen + page.documents.len(), pages + 1);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert!(seen == 12 && pages > 1, "{seen} documents in {pages} pages");

    let list = AttrValue::Many(vec![Scalar::Str("\u{1}".repeat(4_000)); 256]);
    let attributes = (0..11).map(|key| (format!("k{key}"), list.clone())).collect();
    fixture.store("huge", vec![RawDocument { attributes, ..document("huge", "valve".to_owned()) }]).await;
    let grant = fixture.admit::<Read>("huge").await;
    let include = Include { attributes: true, ..Include::default() };
    let refused = fixture.engine.get_document(grant, DocumentId::parse("huge").unwrap(), include).await;
    let error = refused.map(|_| ()).unwrap_err().into_body();
    assert_eq!((error.code, error.param.as_deref()), (Code::TooLarge, Some("include")), "{error}");
    let (found, most) = peak(fixture.search("huge", 1, true)).await;
    assert!(found.hits.is_empty() && found.incomplete && most < 32 << 20, "{most} bytes");
    drop(found);
    assert_eq!(fixture.engine.health().search_bytes, 0);
}
