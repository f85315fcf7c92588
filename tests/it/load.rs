//! Clients that remember the answers to their writes, for tests that break things under them: writers of two tenants
//! with nearly equal documents, and searches that must stay within their tenant.
//!
//! What a client may expect of a document is a set of states: one after an acknowledgement, two after an answer that
//! leaves the outcome open, and the previous ones after a refusal.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};
use testkit::{Http, Reply, Rng, Server, TwinTenant, near_twin};

/// Scopes of the clients' keys.
pub(crate) const SCOPES: &[&str] = &["search", "ingest", "delete", "manage", "read_all"];
/// Documents in one namespace. They are few, so that they are rewritten and deleted often.
const DOCUMENTS: u64 = 160;

/// A number from the environment, or a default.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Outcome of a write as its answer tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The write is stored.
    Acknowledged,
    /// The write is not stored and will not be.
    Refused,
    /// The answer does not tell.
    Unknown,
}

/// Outcome that an answer to a write tells.
pub(crate) fn outcome_of(reply: &io::Result<Reply>) -> Outcome {
    match reply {
        Ok(reply) if reply.status == 200 => Outcome::Acknowledged,
        Ok(reply) => {
            let body = String::from_utf8_lossy(&reply.body);
            assert!(!reply.code().is_empty(), "an error without a code: {body}");
            // Other statuses would mean that the test sends invalid requests and tests nothing.
            assert!(matches!(reply.status, 409 | 429 | 500 | 503), "{}: {body}", reply.status);
            if reply.json()["outcome"] == "unknown" { Outcome::Unknown } else { Outcome::Refused }
        }
        // No process listened, so the request was not received.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Unknown,
    }
}

/// Possible states of each document: a version, or absent.
#[derive(Default)]
pub(crate) struct ExpectedState {
    possible: BTreeMap<String, BTreeSet<Option<u64>>>,
    /// Numbers of writes that were acknowledged, refused, and of unknown outcome.
    pub(crate) counts: [u64; 3],
}

impl ExpectedState {
    /// Records the outcome of a write that sets these ids to `after`.
    pub(crate) fn note(&mut self, ids: &[String], after: Option<u64>, outcome: Outcome) {
        self.counts[outcome as usize] += 1;
        for id in ids {
            let possible = self.possible.entry(id.clone()).or_insert_with(|| BTreeSet::from([None]));
            match outcome {
                Outcome::Acknowledged => *possible = BTreeSet::from([after]),
                Outcome::Unknown => drop(possible.insert(after)),
                Outcome::Refused => {}
            }
        }
    }

    /// Compares the states with the documents that were found, which from now on are the only possible ones.
    pub(crate) fn check(&mut self, found: &BTreeMap<String, u64>, when: &str) {
        let mut wrong = Vec::new();
        for (id, possible) in &mut self.possible {
            let now = found.get(id).copied();
            if !possible.contains(&now) {
                wrong.push(format!("{id} is {now:?} and may be {possible:?}"));
            }
            *possible = BTreeSet::from([now]);
        }
        wrong.extend(
            found.keys().filter(|id| !self.possible.contains_key(*id)).map(|id| format!("{id} was never written")),
        );
        assert!(wrong.is_empty(), "{when}: {} documents are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(8)]);
    }

    /// Number of documents that were ever written.
    pub(crate) fn len(&self) -> usize {
        self.possible.len()
    }
}

/// One namespace of one tenant, with a key to it.
#[derive(Clone)]
pub(crate) struct LoadReader {
    pub(crate) tenant: TwinTenant,
    pub(crate) path: String,
    key: String,
}

/// The only writer of a namespace, with its expectations.
pub(crate) struct LoadClient {
    pub(crate) reader: LoadReader,
    rng: Rng,
    version: u64,
    pub(crate) expected: ExpectedState,
}

impl LoadReader {
    /// Opens a connection for this client.
    pub(crate) fn http(&self, address: SocketAddr) -> Http {
        Http::new(address, Some(&self.key))
    }

    /// Searches and checks that every hit is this tenant's. Returns the status of the answer, `None` if there was none.
    pub(crate) fn search(&self, http: &mut Http, rng: &Rng) -> Option<u16> {
        let near = near_twin(self.tenant, rng.below(DOCUMENTS));
        let body = json!({"query": near.json["title"], "vector": near.vector, "mode": *rng.pick(&["hybrid", "text", "vector"]),
            "top_k": 8, "include": ["text", "attributes"]});
        let reply = http.send("POST", &format!("{}/search", self.path), &body).ok()?;
        let answer = reply.json();
        for hit in answer["hits"].as_array().into_iter().flatten() {
            let (me, text) = (self.tenant.id(), hit["text"].as_str().unwrap_or_default());
            assert!(
                hit["attributes"]["owner"] == me && text.contains(me),
                "{me} found another tenant's document: {hit}"
            );
        }
        Some(reply.status)
    }
}

impl LoadClient {
    /// Creates the two tenants and `count` namespaces for each of them.
    pub(crate) fn create(server: &Server, count: u64) -> Vec<Self> {
        let mut all = Vec::new();
        for tenant in TwinTenant::BOTH {
            server.tenant(tenant.id());
            let key = server.key(tenant.id(), SCOPES, &[]);
            for n in 0..count {
                let path = format!("/v1/namespaces/load-{n}");
                server.api(&key).send("PUT", &path, &json!({"embedding": {"dimensions": 16}})).unwrap().ok();
                let (rng, expected) = (Rng::new(n * 2 + tenant as u64), ExpectedState::default());
                let reader = LoadReader { tenant, path, key: key.clone() };
                all.push(Self { reader, rng, version: 0, expected });
            }
        }
        all
    }

    /// Stores or deletes some documents, and records the outcome.
    pub(crate) fn write(&mut self, http: &mut Http) -> Outcome {
        self.version += 1;
        let numbers: BTreeSet<u64> = (0..=self.rng.below(4)).map(|_| self.rng.below(DOCUMENTS)).collect();
        let ids: Vec<String> = numbers.iter().map(|n| near_twin(self.reader.tenant, *n).id).collect();
        let delete = self.rng.below(5) == 0;
        let (path, body, after) = if delete {
            ("documents/delete", json!({"ids": ids}), None)
        } else {
            let documents: Vec<Value> =
                numbers.iter().map(|n| document(self.reader.tenant, *n, self.version)).collect();
            ("documents", json!({"documents": documents}), Some(self.version))
        };
        let reply = http.send("POST", &format!("{}/{path}", self.reader.path), &body);
        let outcome = outcome_of(&reply);
        self.expected.note(&ids, after, outcome);
        outcome
    }

    /// Checks that every acknowledged document is there, no deleted one, none of the other tenant, and no incomplete
    /// one.
    pub(crate) fn verify(&mut self, address: SocketAddr, when: &str) {
        let body = json!({"limit": 1000, "include": ["text", "attributes"]});
        let listed =
            send_with_retries(&mut self.reader.http(address), &format!("{}/documents/list", self.reader.path), &body)
                .ok();
        let mut found = BTreeMap::new();
        for doc in listed["documents"].as_array().unwrap() {
            let attribute = |name: &str| doc["attributes"][name].as_u64().unwrap();
            let (number, version) = (attribute("number"), attribute("version"));
            let written = document(self.reader.tenant, number, version);
            assert_eq!(doc["attributes"]["owner"], self.reader.tenant.id(), "{when}: another tenant's document");
            assert_eq!(doc["text"].as_str().unwrap().trim(), written["text"].as_str().unwrap().trim(), "{when}");
            found.insert(doc["id"].as_str().unwrap().to_owned(), version);
        }
        self.expected.check(&found, &format!("{when}, {} {}", self.reader.tenant.id(), self.reader.path));
    }
}

/// A near twin with a version, and a text whose length depends on it.
fn document(tenant: TwinTenant, number: u64, version: u64) -> Value {
    let mut json = near_twin(tenant, number).json;
    let more = " Ask again when it has changed.".repeat(usize::try_from(version % 40).unwrap());
    json["text"] = json!(format!("{} Version {version}.{more}", json["text"].as_str().unwrap()));
    json["attributes"]["version"] = json!(version);
    json
}

/// Sends a request until the answer is no longer a request to retry, for half a minute at most: a fault that has just
/// ended may take some requests to recover from.
pub(crate) fn send_with_retries(http: &mut Http, path: &str, body: &Value) -> Reply {
    let mut last = String::new();
    for _ in 0..300 {
        match http.send("POST", path, body) {
            Ok(reply) if !matches!(reply.status, 409 | 429 | 500 | 503) => return reply,
            Ok(reply) => last = reply.json().to_string(),
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{path} does not recover: {last}");
}

/// Sums the outcomes of all clients' writes, for a line of the report.
pub(crate) fn write_counts<'a>(states: impl Iterator<Item = &'a ExpectedState>) -> String {
    let [mut acknowledged, mut refused, mut unknown] = [0; 3];
    for expected in states {
        let [a, r, u] = expected.counts;
        (acknowledged, refused, unknown) = (acknowledged + a, refused + r, unknown + u);
    }
    format!("writes acknowledged {acknowledged}, refused {refused}, unknown {unknown}")
}
