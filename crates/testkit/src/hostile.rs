//! The worst requests that the limits allow, each as a function of its size: the most expensive requests that a tenant,
//! or a connection without a credential, can send. `tests/it/hostile.rs` mixes them, and `tests/it/limits.rs` runs them
//! one by one; both observe another tenant and the operator ([`Bystanders`]).

mod bystanders;
mod connections;
mod documents;
mod filters;
mod queries;
mod replies;
mod wire;

pub use bystanders::{Bystanders, Observations};
pub use wire::{Answer, Attacker};

use crate::Server;
use kernel::{Clock, SystemClock};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Size of a request as a share of its limits, percent.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize);

impl Size {
    /// This share of a limit, but at least one.
    pub fn of(self, limit: usize) -> usize {
        (limit.saturating_mul(self.0) / 100).max(1)
    }
}

/// One HTTP request.
#[derive(Clone, Debug)]
pub struct Request {
    /// HTTP method.
    pub method: &'static str,
    /// Path with the query string.
    pub path: String,
    /// Body; empty if there is none.
    pub body: Vec<u8>,
}

impl Request {
    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", path: path.to_owned(), body: body.into() }
    }

    pub(crate) fn put(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "PUT", path: path.to_owned(), body: body.into() }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), body: Vec::new() }
    }
}

/// The action of an attack.
#[derive(Clone, Copy)]
pub enum Act {
    /// Sends these requests one after another and reads the answers.
    Requests(fn(Size) -> Vec<Request>),
    /// Holds connections open in its own way until the flag is set.
    Connections(fn(&Attacker, Size, &AtomicBool) -> Vec<Answer>),
}

/// One kind of attack.
pub struct Attack {
    /// Name of the attack in reports and tests.
    pub name: &'static str,
    /// Constants of `kernel/src/limits.rs` that the attack reaches.
    pub limits: &'static [&'static str],
    /// Requests that store the data for the attack.
    pub stored: fn(Size) -> Vec<Request>,
    /// The attack itself.
    pub act: Act,
    /// Statuses with which a correct server may answer; 429 and 503 are always allowed.
    pub statuses: &'static [u16],
}

/// All attacks.
pub fn attacks() -> Vec<Attack> {
    let mut all = filters::attacks();
    all.extend(documents::attacks());
    all.extend(queries::attacks());
    all.extend(replies::attacks());
    all.extend(connections::attacks());
    all
}

pub(crate) fn no_requests(_: Size) -> Vec<Request> {
    Vec::new()
}

/// Number of answers by attack and status, from all threads.
#[derive(Default)]
pub struct AnswerSummary {
    answers: Mutex<AnswerCounts>,
    /// Whether an operator suspends the attackers meanwhile.
    suspended: bool,
}

#[derive(Default)]
struct AnswerCounts {
    counts: BTreeMap<(&'static str, String), u64>,
    wrong: Vec<String>,
    largest: u64,
}

impl AnswerSummary {
    /// Creates a summary for attackers that an operator suspends at times: 423 is then a correct answer.
    pub fn of_suspended() -> Self {
        Self { suspended: true, ..Self::default() }
    }

    /// Counts an answer, and keeps it if the attack does not allow it.
    pub fn note(&self, attack: &Attack, answer: &Answer) {
        let outcome = match answer {
            Answer::Reply { status, .. } => status.to_string(),
            Answer::Closed(kind) => format!("{kind:?}"),
        };
        let mut answers = self.answers.lock();
        *answers.counts.entry((attack.name, outcome)).or_default() += 1;
        if !(self.suspended && answer.status() == Some(423)) {
            answers.wrong.extend(answer.wrong(attack.statuses).map(|wrong| format!("{}: {wrong}", attack.name)));
        }
        if let Answer::Reply { bytes, .. } = answer {
            answers.largest = answers.largest.max(*bytes);
        }
    }

    /// Answers that no correct server gives: a status that the attack does not allow, 500, or a 503 without
    /// `retry-after`.
    pub fn wrong(&self) -> Vec<String> {
        self.answers.lock().wrong.clone()
    }

    /// Length of the longest reply, bytes.
    pub fn largest_reply(&self) -> u64 {
        self.answers.lock().largest
    }

    /// Report with one line for each attack.
    pub fn report(&self) -> String {
        let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((name, status), count) in &self.answers.lock().counts {
            lines.entry(name).or_default().push(format!("{status} × {count}"));
        }
        lines.iter().map(|(name, counts)| format!("  {name}: {}\n", counts.join(", "))).collect()
    }
}

/// Stores the data that an attack needs, as one attacker.
///
/// # Panics
/// If the server does not accept it: the attack would then test nothing.
pub fn prepare(attack: &Attack, attacker: &Attacker, size: Size) {
    for request in (attack.stored)(size) {
        let answer = attacker.send(&request);
        let status = answer.status();
        let stored = status.is_some_and(|s| (200..300).contains(&s));
        // The server need not be protected from data that a limit refuses.
        let limited = matches!(status, Some(400 | 413)) && attack.statuses.contains(&400);
        assert!(stored || limited, "{}: {} {} was answered {answer:?}", attack.name, request.method, request.path);
    }
}

/// Sends the requests of an attack, or holds its connections, from `clients` clients at once for `length`; each client
/// sends all requests at least once. Returns the largest number of bytes that were in flight at the same time, plus
/// those of the other documents that the requests store.
///
/// # Panics
/// If a client panics.
pub fn run(
    attack: &Attack,
    attacker: &Attacker,
    size: Size,
    clients: usize,
    length: Duration,
    summary: &AnswerSummary,
) -> u64 {
    let clock = SystemClock::new();
    match attack.act {
        Act::Requests(make) => {
            let all = make(size);
            thread::scope(|scope| {
                for _ in 0..clients {
                    scope.spawn(|| {
                        loop {
                            all.iter().for_each(|request| summary.note(attack, &attacker.send(request)));
                            if clock.monotonic() > length {
                                return;
                            }
                        }
                    });
                }
            });
            let largest = all.iter().map(|request| request.body.len()).max().unwrap_or_default();
            let stores = |request: &&Request| request.path.ends_with("/documents");
            let stored: usize = all.iter().filter(stores).map(|request| request.body.len()).sum();
            (clients * largest + stored.saturating_sub(largest)) as u64
        }
        Act::Connections(hold) => {
            let stop = AtomicBool::new(false);
            let answers = thread::scope(|scope| {
                let holder = scope.spawn(|| hold(attacker, size, &stop));
                while clock.monotonic() < length {
                    thread::park_timeout(Duration::from_millis(50));
                }
                stop.store(true, Ordering::Relaxed);
                holder.join().expect("the attack does not panic")
            });
            answers.iter().for_each(|answer| summary.note(attack, answer));
            0
        }
    }
}

/// Scopes of an attacker's key.
pub const SCOPES: &[&str] =
    &["search", "ingest", "delete", "manage", "review", "act_as", "read_all", "vectors", "audit"];

/// Creates a tenant with a key and returns an attacker for it, which connects from `127.0.0.<host>`.
pub fn attacker(server: &Server, tenant: &str, host: u8) -> Attacker {
    server.tenant(tenant);
    Attacker::new(server.data_address(), host, Some(server.key(tenant, SCOPES, &[])))
}
