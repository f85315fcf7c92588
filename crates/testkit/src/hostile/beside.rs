//! What must not notice an attack: a tenant that works normally, `/healthz` of both planes, and an operator. Each has
//! connections of its own that were opened before; `/healthz` is asked on fresh ones, too.
//!
//! A thread that only sleeps tells how long the machine itself withheld the processor: what it missed is no fault of the
//! server's, and is told beside the bound.

use crate::{Http, Server};
use kernel::{Clock, SystemClock};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// The quiet tenant and what it stored.
pub struct Beside<'a> {
    server: &'a Server,
    key: String,
}

/// What was seen beside an attack.
#[derive(Default)]
pub struct Seen {
    /// Requests that were not answered as they should be.
    pub failed: Vec<String>,
    /// How long each kind of request took.
    pub took: BTreeMap<&'static str, Vec<Duration>>,
    /// The longest time for which the machine gave a sleeping thread no processor.
    pub stall: Duration,
}

const NAMESPACES: usize = 3;
const DOCUMENTS: usize = 60;
/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(20);

impl<'a> Beside<'a> {
    /// Makes the tenant `quiet` with three filled namespaces, and the tenant `idle`, which the operator suspends.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn new(server: &'a Server) -> Self {
        server.tenant("quiet");
        server.tenant("idle");
        let key = server.key("quiet", &["search", "ingest", "delete", "manage"], &[]);
        let mut http = server.api(&key);
        for n in 0..NAMESPACES {
            let put = json!({ "embedding": { "dimensions": 16 } });
            http.send("PUT", &at(n), &put).expect("an answer").ok();
            let documents: Vec<Value> = (0..DOCUMENTS).map(|d| document(d, 0)).collect();
            http.send("POST", &format!("{}/documents", at(n)), &json!({ "documents": documents }))
                .expect("an answer")
                .ok();
        }
        Self { server, key }
    }

    /// Works until it is told to stop.
    pub fn watch(&self, stop: &AtomicBool) -> Seen {
        thread::scope(|scope| {
            let all = [
                scope.spawn(|| self.reads(stop)),
                scope.spawn(|| self.writes(stop)),
                scope.spawn(|| self.health(stop)),
                scope.spawn(|| self.operator(stop)),
                scope.spawn(|| stalls(stop)),
            ];
            all.into_iter().map(|thread| thread.join().expect("it watches to the end")).fold(Seen::default(), Seen::and)
        })
    }

    fn reads(&self, stop: &AtomicBool) -> Seen {
        let mut client = Client::new(self.server.api(&self.key));
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let (at, near) = (at(round % NAMESPACES), round % DOCUMENTS);
            let text = json!({ "query": format!("the rule number {near}"), "mode": "text", "top_k": 5 });
            let found = |reply: &Value| reply["hits"].as_array().is_some_and(|hits| hits.len() == 5);
            client.ask("search", "POST", &format!("{at}/search"), &text, found);
            let hybrid = json!({ "query": "rule", "vector": vector(near), "mode": "hybrid", "top_k": 5 });
            client.ask("search", "POST", &format!("{at}/search"), &hybrid, found);
            let shown = |reply: &Value| reply["id"] == format!("rule-{near}");
            client.ask("get", "GET", &format!("{at}/documents/rule-{near}?include=text"), &Value::Null, shown);
            let listed = |reply: &Value| reply["documents"].as_array().is_some_and(|page| page.len() == 10);
            client.ask("list", "POST", &format!("{at}/documents/list"), &json!({ "limit": 10 }), listed);
            let context = json!({ "query": "rule", "mode": "text", "max_tokens": 500 });
            client.ask("context", "POST", &format!("{at}/context"), &context, |reply| reply["tokens"].is_u64());
            if round % 10 == 0 {
                client.ask("whoami", "GET", "/v1/whoami", &Value::Null, |reply| reply["tenant"] == "quiet");
            }
        }
        client.seen
    }

    fn writes(&self, stop: &AtomicBool) -> Seen {
        let mut client = Client::new(self.server.api(&self.key));
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let body = json!({ "documents": [document(round % DOCUMENTS, round)] });
            let stored = |reply: &Value| reply["results"][0]["status"] == "indexed";
            client.ask("write", "POST", &format!("{}/documents", at(round % NAMESPACES)), &body, stored);
        }
        client.seen
    }

    fn health(&self, stop: &AtomicBool) -> Seen {
        let mut data = Client::new(Http::new(self.server.data_address(), None));
        let mut control = Client::new(Http::new(self.server.control_address(), None));
        while !stop.load(Ordering::Relaxed) {
            data.ask("healthz", "GET", "/healthz", &Value::Null, |_| true);
            // And one that has no connection yet: places are left for others.
            let mut fresh = Client::new(Http::new(self.server.data_address(), None));
            fresh.ask("fresh healthz", "GET", "/healthz", &Value::Null, |_| true);
            data.seen = std::mem::take(&mut data.seen).and(fresh.seen);
            control.ask("healthz", "GET", "/healthz", &Value::Null, |_| true);
        }
        data.seen.and(control.seen)
    }

    fn operator(&self, stop: &AtomicBool) -> Seen {
        let mut client = Client::new(self.server.control());
        while !stop.load(Ordering::Relaxed) {
            for what in ["suspend", "resume"] {
                client.ask(what, "POST", &format!("/admin/v1/tenants/idle/{what}"), &Value::Null, |_| true);
            }
            client
                .ask("tenants", "GET", "/admin/v1/tenants?limit=10", &Value::Null, |reply| reply["tenants"].is_array());
        }
        client.seen
    }
}

fn at(n: usize) -> String {
    format!("/v1/namespaces/quiet-{n}")
}

fn vector(n: usize) -> Vec<i32> {
    (0..16).map(|d| ((n * 31 + d * 17) % 97) as i32 - 48).collect()
}

fn document(n: usize, round: usize) -> Value {
    json!({ "id": format!("rule-{n}"), "text": format!("The rule number {n} holds for everybody, {round}."), "vector": vector(n),
            "attributes": { "n": n } })
}

fn stalls(stop: &AtomicBool) -> Seen {
    let clock = SystemClock::new();
    let nap = Duration::from_millis(5);
    let mut seen = Seen::default();
    while !stop.load(Ordering::Relaxed) {
        let from = clock.monotonic();
        thread::sleep(nap);
        let missed = (clock.monotonic() - from).saturating_sub(nap);
        seen.stall = seen.stall.max(missed);
        seen.took.entry("stall").or_default().push(missed);
    }
    seen
}

struct Client {
    http: Http,
    clock: SystemClock,
    seen: Seen,
}

impl Client {
    fn new(http: Http) -> Self {
        Self { http, clock: SystemClock::new(), seen: Seen::default() }
    }

    fn ask(&mut self, what: &'static str, method: &str, path: &str, body: &Value, right: impl Fn(&Value) -> bool) {
        let from = self.clock.monotonic();
        let reply = self.http.send(method, path, body);
        self.seen.took.entry(what).or_default().push(self.clock.monotonic() - from);
        match reply {
            Ok(reply) if reply.status == 200 && right(&reply.json()) => {}
            Ok(reply) => {
                let said = String::from_utf8_lossy(&reply.body[..reply.body.len().min(600)]).into_owned();
                self.seen.failed.push(format!("{what}: {} {said}", reply.status));
            }
            Err(error) => self.seen.failed.push(format!("{what}: {error}")),
        }
        thread::park_timeout(PACE);
    }
}

impl Seen {
    fn and(mut self, other: Self) -> Self {
        self.failed.extend(other.failed);
        for (what, times) in other.took {
            self.took.entry(what).or_default().extend(times);
        }
        self.stall = self.stall.max(other.stall);
        self
    }

    /// The longest time that one of these took.
    pub fn slowest(&self, what: &str) -> Duration {
        self.took.get(what).into_iter().flatten().copied().max().unwrap_or_default()
    }

    /// The time within which this share of them was answered.
    pub fn quantile(&self, what: &str, share: f64) -> Duration {
        let mut times = self.took.get(what).cloned().unwrap_or_default();
        times.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list"
        )]
        let at = (times.len() as f64 * share) as usize;
        times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// One line for each kind of request.
    pub fn report(&self) -> String {
        let mut lines = format!("  the machine stalled {:?} at most\n", self.stall);
        for (what, times) in &self.took {
            let of = |share| self.quantile(what, share);
            lines += &format!(
                "  {what}: {} requests, median {:?}, p99 {:?}, slowest {:?}\n",
                times.len(),
                of(0.5),
                of(0.99),
                of(1.0)
            );
        }
        lines
    }
}
