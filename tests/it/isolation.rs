//! Two tenants with nearly equal documents: no answer ever contains the other's documents, readers and filters act
//! before ranking, and one tenant's answers do not change while the other works.
//!
//! The same test must fail on builds with one safeguard removed (`scripts/mutants`). `RINGFENCE_ISOLATION_SEARCHES`
//! sets the number of searches (5,000 by default), `RINGFENCE_ISOLATION_SEED` the seed.

use crate::server;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use testkit::{Http, NearTwin, Rng, Server, TwinTenant, near_twin};

const NAMESPACE: &str = "/v1/namespaces/handbook";
const DOCUMENTS: u64 = 240;
const TOP_K: usize = 10;

/// A key of a tenant, with its principals.
struct Reader {
    tenant: TwinTenant,
    secret: String,
    principals: Vec<String>,
}

impl Reader {
    fn may_see(&self, doc: &NearTwin) -> bool {
        doc.owner == self.tenant && (doc.readers.is_empty() || doc.readers.iter().any(|r| self.principals.contains(r)))
    }
}

fn readers(server: &Server, tenant: TwinTenant) -> Vec<Reader> {
    let sets: [&[&str]; 3] = [&[], &["group:staff"], &["group:staff", "group:board"]];
    let make = |principals: &&[&str]| Reader {
        tenant,
        secret: server.key(tenant.id(), &["search"], principals),
        principals: principals.iter().map(|p| (*p).to_owned()).collect(),
    };
    sets.iter().map(make).collect()
}

fn fill(server: &Server, tenant: TwinTenant) {
    server.tenant(tenant.id());
    let mut api = server.api(&server.key(tenant.id(), &["ingest", "manage"], &[]));
    api.send("PUT", NAMESPACE, &json!({"embedding": {"dimensions": 16}})).unwrap().ok();
    let documents: Vec<Value> = (0..DOCUMENTS).map(|n| near_twin(tenant, n).json).collect();
    for batch in documents.chunks(60) {
        let reply = api.send("POST", &format!("{NAMESPACE}/documents"), &json!({"documents": batch})).unwrap().ok();
        assert_eq!(reply["counts"]["indexed"], batch.len(), "{reply}");
    }
}

/// A query with its filter, the same for every reader.
fn query(rng: &Rng) -> (Value, Option<u64>) {
    let near = near_twin(TwinTenant::Acme, rng.below(DOCUMENTS));
    let topic = near.json["attributes"]["topic"].clone();
    let mode = *rng.pick(&["hybrid", "vector", "text"]);
    let mut body = json!({"query": format!("what is the rule for {}", topic.as_str().unwrap()),
        "vector": near.vector, "mode": mode, "top_k": TOP_K, "include": ["text", "attributes"]});
    let below = (rng.below(2) == 0).then(|| 20 + rng.below(DOCUMENTS));
    if let Some(below) = below {
        body["filter"] = json!({"type": "lt", "key": "number", "value": below});
    }
    (body, below)
}

/// The core of the test: checks one answer for this reader.
fn check(reader: &Reader, body: &Value, below: Option<u64>, answer: &Value) {
    let me = reader.tenant.id();
    let hits = answer["hits"].as_array().unwrap_or_else(|| panic!("no hits: {answer}"));
    for hit in hits {
        assert_eq!(hit["attributes"]["owner"], me, "{me} got another tenant's document: {hit}");
        assert!(hit["text"].as_str().unwrap().contains(me), "{me} got another tenant's text: {hit}");
        let n = hit["attributes"]["number"].as_u64().unwrap();
        assert!(reader.may_see(&near_twin(reader.tenant, n)), "a reader got a document that is hidden from it: {hit}");
        assert!(below.is_none_or(|b| n < b), "the filter let {n} through");
    }
    // Documents are filtered before ranking: a restricted reader never gets fewer hits while eligible documents remain.
    let eligible = (0..DOCUMENTS)
        .filter(|n| below.is_none_or(|b| *n < b) && reader.may_see(&near_twin(reader.tenant, *n)))
        .count();
    if body["mode"] != "text" {
        assert_eq!(hits.len(), TOP_K.min(eligible), "short answer for {body}");
    }
}

/// An answer without the members that differ between two equal requests.
fn stable(mut answer: Value) -> String {
    let object = answer.as_object_mut().unwrap();
    object.remove("timings_ms");
    object.remove("commit");
    answer.to_string()
}

#[test]
fn no_answer_crosses_and_no_answer_changes() {
    let searches: u64 =
        std::env::var("RINGFENCE_ISOLATION_SEARCHES").ok().and_then(|v| v.parse().ok()).unwrap_or(5_000);
    let seed: u64 = std::env::var("RINGFENCE_ISOLATION_SEED").ok().and_then(|v| v.parse().ok()).unwrap_or(0);
    let server = server().start();
    fill(&server, TwinTenant::Acme);
    let acme = readers(&server, TwinTenant::Acme);

    // A is alone.
    let queries: Vec<_> = (0..120).map(|seed| query(&Rng::new(seed))).collect();
    let answers_alone: Vec<Vec<String>> = acme.iter().map(|r| search_all(&server, r, &queries)).collect();

    // B stores documents and works while A's queries are repeated.
    fill(&server, TwinTenant::Zenith);
    let zenith = readers(&server, TwinTenant::Zenith);
    let stop = AtomicBool::new(false);
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let _stops = StopAtEnd(&stop);
        scope.spawn(|| write_until(&server, TwinTenant::Zenith, &stop));
        let other_searches = scope.spawn(|| search_until(&server, &zenith, &stop, &count, 1));
        for (reader, before) in acme.iter().zip(&answers_alone) {
            assert_eq!(search_all(&server, reader, &queries), *before, "A's answers changed with B's traffic");
            count.fetch_add(queries.len() as u64, Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
        other_searches.join().unwrap();
    });

    // Both search while both write.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = StopAtEnd(&stop);
        let writers = TwinTenant::BOTH.map(|t| {
            scope.spawn({
                let (server, stop) = (&server, &stop);
                move || write_until(server, t, stop)
            })
        });
        let (server, stop, count) = (&server, &stop, &count);
        let a = scope.spawn(move || search_count(server, &acme, searches, count, seed + 2));
        let b = scope.spawn(move || search_count(server, &zenith, searches, count, seed + 3));
        let ended = (a.join(), b.join());
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|w| w.join().unwrap());
        ended.0.unwrap();
        ended.1.unwrap();
    });
    let count = count.load(Ordering::Relaxed);
    assert!(count >= searches);
    println!("isolation: {count} searches, 0 answers from the other tenant");
}

/// Stops the other threads, also if an assertion ends the test: a scope waits for its threads.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn search_all(server: &Server, reader: &Reader, queries: &[(Value, Option<u64>)]) -> Vec<String> {
    let mut api = server.api(&reader.secret);
    let search_one_query = |(body, below): &(Value, Option<u64>)| {
        let answer = search(&mut api, body);
        check(reader, body, *below, &answer);
        stable(answer)
    };
    queries.iter().map(search_one_query).collect()
}

fn search(api: &mut Http, body: &Value) -> Value {
    api.send("POST", &format!("{NAMESPACE}/search"), body).unwrap().ok()
}

fn search_until(server: &Server, readers: &[Reader], stop: &AtomicBool, count: &AtomicU64, seed: u64) {
    let rng = Rng::new(seed);
    while !stop.load(Ordering::Relaxed) {
        search_one(server, readers, &rng, count);
    }
}

fn search_count(server: &Server, readers: &[Reader], searches: u64, count: &AtomicU64, seed: u64) {
    let rng = Rng::new(seed);
    let mut clients: Vec<Http> = readers.iter().map(|r| server.api(&r.secret)).collect();
    while count.load(Ordering::Relaxed) < searches {
        let at = usize::try_from(rng.below(readers.len() as u64)).unwrap();
        let (body, below) = query(&rng);
        check(&readers[at], &body, below, &search(&mut clients[at], &body));
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn search_one(server: &Server, readers: &[Reader], rng: &Rng, count: &AtomicU64) {
    let reader = rng.pick(readers);
    let (body, below) = query(rng);
    check(reader, &body, below, &search(&mut server.api(&reader.secret), &body));
    count.fetch_add(1, Ordering::Relaxed);
}

/// Writes until `stop` is set: documents that answers are checked against are written again with another attribute.
fn write_until(server: &Server, tenant: TwinTenant, stop: &AtomicBool) {
    let mut api = server.api(&server.key(tenant.id(), &["ingest", "delete"], &["group:staff", "group:board"]));
    let rng = Rng::new(tenant as u64 + 50);
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let mut documents = Vec::new();
        for _ in 0..8 {
            let mut json = near_twin(tenant, rng.below(DOCUMENTS)).json;
            json["attributes"]["round"] = json!(round);
            documents.push(json);
        }
        let unique: BTreeSet<String> = documents.iter().map(|d| d["id"].to_string()).collect();
        let reply = api.send("POST", &format!("{NAMESPACE}/documents"), &json!({"documents": documents})).unwrap();
        assert!(reply.status == 200 || reply.status == 429 || reply.status == 503, "{}", reply.status);
        assert!(!unique.is_empty());
    }
}
