//! Clients that remember what they were told, for tests that break things under them: writers of
//! two tenants with near-twin documents, and searches that must stay within their tenant.
//!
//! What a client may expect of a document is a set: one state after an acknowledgement, two after an
//! answer that leaves it open, the same as before after a refusal.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};
use testkit::{Http, Reply, Rng, Server, Tenant, twin};

/// Scopes of the clients' keys.
pub(crate) const SCOPES: &[&str] = &["search", "ingest", "delete", "manage", "read_all"];
/// Documents of one namespace; few, so that they are written again and deleted often.
const DOCUMENTS: u64 = 160;

/// A number from the environment.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |v| v.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What a client learnt from one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is stored.
    Acknowledged,
    /// It is not stored, and will not be.
    Refused,
    /// Nobody can say.
    Unknown,
}

/// How to read an answer to a write.
pub(crate) fn told(reply: &io::Result<Reply>) -> Told {
    match reply {
        Ok(reply) if reply.status == 200 => Told::Acknowledged,
        Ok(reply) => {
            let said = String::from_utf8_lossy(&reply.body);
            assert!(!reply.code().is_empty(), "an error without a code: {said}");
            // Else the test would ask for what nobody may have, and show nothing.
            assert!(matches!(reply.status, 409 | 429 | 500 | 503), "{}: {said}", reply.status);
            if reply.json()["outcome"] == "unknown" { Told::Unknown } else { Told::Refused }
        }
        // Nobody was there to take it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Told::Refused,
        Err(_) => Told::Unknown,
    }
}

/// What may be found under each id: a version, or nothing.
#[derive(Default)]
pub(crate) struct Book {
    may: BTreeMap<String, BTreeSet<Option<u64>>>,
    /// Writes acknowledged, refused, unknown.
    pub(crate) counts: [u64; 3],
}

impl Book {
    /// Notes that these ids were to become `after`.
    pub(crate) fn note(&mut self, ids: &[String], after: Option<u64>, told: Told) {
        self.counts[told as usize] += 1;
        for id in ids {
            let may = self.may.entry(id.clone()).or_insert_with(|| BTreeSet::from([None]));
            match told {
                Told::Acknowledged => *may = BTreeSet::from([after]),
                Told::Unknown => drop(may.insert(after)),
                Told::Refused => {}
            }
        }
    }

    /// Compares with what is there, which from now on is what must be.
    pub(crate) fn settle(&mut self, found: &BTreeMap<String, u64>, when: &str) {
        let mut wrong = Vec::new();
        for (id, may) in &mut self.may {
            let now = found.get(id).copied();
            if !may.contains(&now) {
                wrong.push(format!("{id} is {now:?} and may be {may:?}"));
            }
            *may = BTreeSet::from([now]);
        }
        wrong.extend(found.keys().filter(|id| !self.may.contains_key(*id)).map(|id| format!("{id} was never written")));
        assert!(wrong.is_empty(), "{when}: {} documents are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(8)]);
    }

    /// How many documents were ever named.
    pub(crate) fn len(&self) -> usize {
        self.may.len()
    }
}

/// One namespace of one tenant, and a key to it.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) tenant: Tenant,
    pub(crate) path: String,
    key: String,
}

/// The only writer of a namespace, and its memory.
pub(crate) struct Client {
    pub(crate) reader: Reader,
    rng: Rng,
    version: u64,
    pub(crate) book: Book,
}

impl Reader {
    /// A connection for this client.
    pub(crate) fn http(&self, address: SocketAddr) -> Http {
        Http::new(address, Some(&self.key))
    }

    /// A search; every hit must be this tenant's. The answer's status, none when there was no answer.
    pub(crate) fn search(&self, http: &mut Http, rng: &Rng) -> Option<u16> {
        let near = twin(self.tenant, rng.below(DOCUMENTS));
        let body = json!({"query": near.json["title"], "vector": near.vector, "mode": *rng.pick(&["hybrid", "text", "vector"]),
            "top_k": 8, "include": ["text", "attributes"]});
        let reply = http.send("POST", &format!("{}/search", self.path), &body).ok()?;
        let answer = reply.json();
        for hit in answer["hits"].as_array().into_iter().flatten() {
            let (me, text) = (self.tenant.id(), hit["text"].as_str().unwrap_or_default());
            assert!(hit["attributes"]["owner"] == me && text.contains(me), "{me} met another's document: {hit}");
        }
        Some(reply.status)
    }
}

impl Client {
    /// `count` namespaces for each of the two tenants, which are made here.
    pub(crate) fn make(server: &Server, count: u64) -> Vec<Self> {
        let mut all = Vec::new();
        for tenant in Tenant::BOTH {
            server.tenant(tenant.id());
            let key = server.key(tenant.id(), SCOPES, &[]);
            for n in 0..count {
                let path = format!("/v1/namespaces/load-{n}");
                server.api(&key).send("PUT", &path, &json!({"embedding": {"dimensions": 16}})).unwrap().ok();
                let (rng, book) = (Rng::new(n * 2 + tenant as u64), Book::default());
                let reader = Reader { tenant, path, key: key.clone() };
                all.push(Self { reader, rng, version: 0, book });
            }
        }
        all
    }

    /// Stores or deletes some documents.
    pub(crate) fn write(&mut self, http: &mut Http) -> Told {
        self.version += 1;
        let numbers: BTreeSet<u64> = (0..=self.rng.below(4)).map(|_| self.rng.below(DOCUMENTS)).collect();
        let ids: Vec<String> = numbers.iter().map(|n| twin(self.reader.tenant, *n).id).collect();
        let delete = self.rng.below(5) == 0;
        let (path, body, after) = if delete {
            ("documents/delete", json!({"ids": ids}), None)
        } else {
            let documents: Vec<Value> =
                numbers.iter().map(|n| document(self.reader.tenant, *n, self.version)).collect();
            ("documents", json!({"documents": documents}), Some(self.version))
        };
        let reply = http.send("POST", &format!("{}/{path}", self.reader.path), &body);
        let told = told(&reply);
        self.book.note(&ids, after, told);
        told
    }

    /// Everything that was acknowledged is there, nothing that was deleted, nothing of the other's,
    /// no half of anything.
    pub(crate) fn verify(&mut self, address: SocketAddr, when: &str) {
        let body = json!({"limit": 1000, "include": ["text", "attributes"]});
        let listed =
            patiently(&mut self.reader.http(address), &format!("{}/documents/list", self.reader.path), &body).ok();
        let mut found = BTreeMap::new();
        for doc in listed["documents"].as_array().unwrap() {
            let attribute = |name: &str| doc["attributes"][name].as_u64().unwrap();
            let (number, version) = (attribute("number"), attribute("version"));
            let whole = document(self.reader.tenant, number, version);
            assert_eq!(doc["attributes"]["owner"], self.reader.tenant.id(), "{when}: another tenant's document");
            assert_eq!(doc["text"].as_str().unwrap().trim(), whole["text"].as_str().unwrap().trim(), "{when}");
            found.insert(doc["id"].as_str().unwrap().to_owned(), version);
        }
        self.book.settle(&found, &format!("{when}, {} {}", self.reader.tenant.id(), self.reader.path));
    }
}

/// A twin with a version, and a text whose length depends on it.
fn document(tenant: Tenant, number: u64, version: u64) -> Value {
    let mut json = twin(tenant, number).json;
    let more = " Ask again when it has changed.".repeat(usize::try_from(version % 40).unwrap());
    json["text"] = json!(format!("{} Version {version}.{more}", json["text"].as_str().unwrap()));
    json["attributes"]["version"] = json!(version);
    json
}

/// Asks until the answer is more than a request to come back, for half a minute at most: what was
/// broken a moment ago may need one to mend itself.
pub(crate) fn patiently(http: &mut Http, path: &str, body: &Value) -> Reply {
    let mut last = String::new();
    for _ in 0..300 {
        match http.send("POST", path, body) {
            Ok(reply) if !matches!(reply.status, 409 | 429 | 500 | 503) => return reply,
            Ok(reply) => last = reply.json().to_string(),
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{path} does not mend itself: {last}");
}

/// Sums what clients were told, for a line of the report.
pub(crate) fn counted<'a>(books: impl Iterator<Item = &'a Book>) -> String {
    let [mut acknowledged, mut refused, mut unknown] = [0; 3];
    for book in books {
        let [a, r, u] = book.counts;
        (acknowledged, refused, unknown) = (acknowledged + a, refused + r, unknown + u);
    }
    format!("writes acknowledged {acknowledged}, refused {refused}, unknown {unknown}")
}
