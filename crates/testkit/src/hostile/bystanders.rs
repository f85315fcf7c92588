//! The clients that must not notice an attack: a tenant that works normally, `/healthz` of both planes, and an
//! operator. Each has connections that were opened before; `/healthz` is also requested on new ones.
//!
//! A thread that only sleeps measures how long the machine itself withheld the processor. The server is not responsible
//! for that time, so it is reported next to the bound.

use crate::{Http, Server};
use kernel::{Clock, SystemClock};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// The quiet tenant with its stored documents.
pub struct Bystanders<'a> {
    server: &'a Server,
    key: String,
}

/// Observations during an attack.
#[derive(Default)]
pub struct Observations {
    /// Requests with a wrong answer.
    pub failed: Vec<String>,
    /// Durations of the requests, by kind.
    pub took: BTreeMap<&'static str, Vec<Duration>>,
    /// Longest time for which the machine gave a sleeping thread no processor.
    pub stall: Duration,
}

const NAMESPACES: usize = 3;
const DOCUMENTS: usize = 60;
/// Pause between two requests of one client.
const PACE: Duration = Duration::from_millis(20);
/// Time between two suspensions of attackers.
const SUSPENDED_EVERY: Duration = Duration::from_secs(3);

impl<'a> Bystanders<'a> {
    /// Creates the tenant `quiet` with three filled namespaces, and the tenant `idle`, which the operator suspends.
    ///
    /// # Panics
    /// If the server refuses a request.
    pub fn new(server: &'a Server) -> Self {
        server.tenant("quiet");
        server.tenant("idle");
        let key = server.key("quiet", &["search", "ingest", "delete", "manage"], &[]);
        let mut http = server.api(&key);
        for n in 0..NAMESPACES {
            let put = json!({ "embedding": { "dimensions": 16 } });
            http.send("PUT", &namespace_path(n), &put).expect("an answer").ok();
            let documents: Vec<Value> = (0..DOCUMENTS).map(|d| document(d, 0)).collect();
            http.send("POST", &format!("{}/documents", namespace_path(n)), &json!({ "documents": documents }))
                .expect("an answer")
                .ok();
        }
        Self { server, key }
    }

    /// Sends requests until `stop` is set.
    pub fn watch(&self, stop: &AtomicBool) -> Observations {
        thread::scope(|scope| {
            let all = [
                scope.spawn(|| self.reads(stop)),
                scope.spawn(|| self.writes(stop)),
                scope.spawn(|| self.health(stop)),
                scope.spawn(|| self.operator(stop)),
                scope.spawn(|| measure_stalls(stop)),
            ];
            all.into_iter()
                .map(|thread| thread.join().expect("the client does not panic"))
                .fold(Observations::default(), Observations::and)
        })
    }

    fn reads(&self, stop: &AtomicBool) -> Observations {
        let mut client = TimedClient::new(self.server.api(&self.key));
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let (namespace, near) = (namespace_path(round % NAMESPACES), round % DOCUMENTS);
            let text = json!({ "query": format!("the rule number {near}"), "mode": "text", "top_k": 5 });
            let has_hits = |reply: &Value| reply["hits"].as_array().is_some_and(|hits| hits.len() == 5);
            client.request("search", "POST", &format!("{namespace}/search"), &text, has_hits);
            let hybrid = json!({ "query": "rule", "vector": vector(near), "mode": "hybrid", "top_k": 5 });
            client.request("search", "POST", &format!("{namespace}/search"), &hybrid, has_hits);
            let is_document = |reply: &Value| reply["id"] == format!("rule-{near}");
            client.request(
                "get",
                "GET",
                &format!("{namespace}/documents/rule-{near}?include=text"),
                &Value::Null,
                is_document,
            );
            let is_page = |reply: &Value| reply["documents"].as_array().is_some_and(|page| page.len() == 10);
            client.request("list", "POST", &format!("{namespace}/documents/list"), &json!({ "limit": 10 }), is_page);
            let context = json!({ "query": "rule", "mode": "text", "max_tokens": 500 });
            client.request("context", "POST", &format!("{namespace}/context"), &context, |reply| {
                reply["tokens"].is_u64()
            });
            if round % 10 == 0 {
                client.request("whoami", "GET", "/v1/whoami", &Value::Null, |reply| reply["tenant"] == "quiet");
            }
        }
        client.observed
    }

    fn writes(&self, stop: &AtomicBool) -> Observations {
        let mut client = TimedClient::new(self.server.api(&self.key));
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let body = json!({ "documents": [document(round % DOCUMENTS, round)] });
            let is_indexed = |reply: &Value| reply["results"][0]["status"] == "indexed";
            client.request(
                "write",
                "POST",
                &format!("{}/documents", namespace_path(round % NAMESPACES)),
                &body,
                is_indexed,
            );
        }
        client.observed
    }

    fn health(&self, stop: &AtomicBool) -> Observations {
        let mut data = TimedClient::new(Http::new(self.server.data_address(), None));
        let mut control = TimedClient::new(Http::new(self.server.control_address(), None));
        while !stop.load(Ordering::Relaxed) {
            data.request("healthz", "GET", "/healthz", &Value::Null, |_| true);
            // A client without a connection gets one, too: the attack does not take all of them.
            let mut fresh = TimedClient::new(Http::new(self.server.data_address(), None));
            fresh.request("fresh healthz", "GET", "/healthz", &Value::Null, |_| true);
            data.observed = std::mem::take(&mut data.observed).and(fresh.observed);
            control.request("healthz", "GET", "/healthz", &Value::Null, |_| true);
        }
        data.observed.and(control.observed)
    }

    /// Suspends and resumes these tenants, which attack meanwhile, in turn until `stop` is set.
    pub fn suspend_in_turn(&self, tenants: &[String], stop: &AtomicBool) -> Observations {
        let mut client = TimedClient::new(self.server.control());
        let clock = SystemClock::new();
        for tenant in tenants.iter().cycle() {
            let until = clock.monotonic() + SUSPENDED_EVERY;
            while clock.monotonic() < until {
                if stop.load(Ordering::Relaxed) {
                    return client.observed;
                }
                thread::park_timeout(PACE);
            }
            for (what, act) in [("suspend attacker", "suspend"), ("resume attacker", "resume")] {
                client.request(what, "POST", &format!("/admin/v1/tenants/{tenant}/{act}"), &Value::Null, |_| true);
            }
        }
        client.observed
    }

    fn operator(&self, stop: &AtomicBool) -> Observations {
        let mut client = TimedClient::new(self.server.control());
        while !stop.load(Ordering::Relaxed) {
            for what in ["suspend", "resume"] {
                client.request(what, "POST", &format!("/admin/v1/tenants/idle/{what}"), &Value::Null, |_| true);
            }
            client.request("tenants", "GET", "/admin/v1/tenants?limit=10", &Value::Null, |reply| {
                reply["tenants"].is_array()
            });
        }
        client.observed
    }
}

fn namespace_path(n: usize) -> String {
    format!("/v1/namespaces/quiet-{n}")
}

fn vector(n: usize) -> Vec<i32> {
    (0..16).map(|d| ((n * 31 + d * 17) % 97) as i32 - 48).collect()
}

fn document(n: usize, round: usize) -> Value {
    json!({ "id": format!("rule-{n}"), "text": format!("The rule number {n} holds for everybody, {round}."), "vector": vector(n),
            "attributes": { "n": n } })
}

fn measure_stalls(stop: &AtomicBool) -> Observations {
    let clock = SystemClock::new();
    let sleep_time = Duration::from_millis(5);
    let mut observed = Observations::default();
    while !stop.load(Ordering::Relaxed) {
        let from = clock.monotonic();
        thread::sleep(sleep_time);
        let missed = (clock.monotonic() - from).saturating_sub(sleep_time);
        observed.stall = observed.stall.max(missed);
        observed.took.entry("stall").or_default().push(missed);
    }
    observed
}

struct TimedClient {
    http: Http,
    clock: SystemClock,
    observed: Observations,
}

impl TimedClient {
    fn new(http: Http) -> Self {
        Self { http, clock: SystemClock::new(), observed: Observations::default() }
    }

    fn request(
        &mut self,
        what: &'static str,
        method: &str,
        path: &str,
        body: &Value,
        is_right: impl Fn(&Value) -> bool,
    ) {
        let from = self.clock.monotonic();
        let reply = self.http.send(method, path, body);
        self.observed.took.entry(what).or_default().push(self.clock.monotonic() - from);
        match reply {
            Ok(reply) if reply.status == 200 && is_right(&reply.json()) => {}
            Ok(reply) => {
                let text = String::from_utf8_lossy(&reply.body[..reply.body.len().min(600)]).into_owned();
                self.observed.failed.push(format!("{what}: {} {text}", reply.status));
            }
            Err(error) => self.observed.failed.push(format!("{what}: {error}")),
        }
        thread::park_timeout(PACE);
    }
}

impl Observations {
    /// Both observations together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.failed.extend(other.failed);
        for (what, times) in other.took {
            self.took.entry(what).or_default().extend(times);
        }
        self.stall = self.stall.max(other.stall);
        self
    }

    /// Longest duration of a request of this kind.
    pub fn slowest(&self, what: &str) -> Duration {
        self.took.get(what).into_iter().flatten().copied().max().unwrap_or_default()
    }

    /// Time within which this share of the requests of a kind was answered.
    pub fn quantile(&self, what: &str, share: f64) -> Duration {
        let mut times = self.took.get(what).cloned().unwrap_or_default();
        times.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index in a list"
        )]
        let index = (times.len() as f64 * share) as usize;
        times.get(index.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Report with one line for each kind of request.
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
