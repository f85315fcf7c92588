//! The worst requests that the limits allow, each as a function of its size: what a tenant, or a connection without a
//! credential, may send that costs the server most. `tests/it/hostile.rs` mixes them, `tests/it/limits.rs` takes them
//! one by one; both watch another tenant and the operator ([`Beside`]).

mod beside;
mod connections;
mod documents;
mod filters;
mod questions;
mod replies;
mod wire;

pub use beside::{Beside, Seen};
pub use wire::{Answer, Attacker};

use crate::Server;
use kernel::{Clock, SystemClock};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How near a request goes to its limits, percent.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize);

impl Size {
    /// This share of a limit, at least one.
    pub fn of(self, limit: usize) -> usize {
        (limit.saturating_mul(self.0) / 100).max(1)
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// Path with its query string.
    pub path: String,
    /// Body; empty for none.
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

/// What an attack does.
#[derive(Clone, Copy)]
pub enum Act {
    /// Sends these, one after the other, and reads the answers.
    Requests(fn(Size) -> Vec<Request>),
    /// Holds connections open in a way of its own until the flag is set.
    Connections(fn(&Attacker, Size, &AtomicBool) -> Vec<Answer>),
}

/// One kind of worst request.
pub struct Attack {
    /// Its name in reports and tests.
    pub name: &'static str,
    /// The constants of `kernel/src/limits.rs` that it reaches.
    pub limits: &'static [&'static str],
    /// Stores what its requests read.
    pub stored: fn(Size) -> Vec<Request>,
    /// The requests themselves.
    pub act: Act,
    /// Statuses that an honest server may answer with; 429 and 503 always may be.
    pub statuses: &'static [u16],
}

/// Every attack.
pub fn attacks() -> Vec<Attack> {
    let mut all = filters::attacks();
    all.extend(documents::attacks());
    all.extend(questions::attacks());
    all.extend(replies::attacks());
    all.extend(connections::attacks());
    all
}

pub(crate) fn nothing(_: Size) -> Vec<Request> {
    Vec::new()
}

/// Answers by attack and status, from all threads.
#[derive(Default)]
pub struct Tally(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    counts: BTreeMap<(&'static str, String), u64>,
    wrong: Vec<String>,
    largest: u64,
}

impl Tally {
    /// Counts an answer, and keeps it when the attack does not allow it.
    pub fn note(&self, attack: &Attack, answer: &Answer) {
        let told = match answer {
            Answer::Reply { status, .. } => status.to_string(),
            Answer::Closed(kind) => format!("{kind:?}"),
        };
        let mut answers = self.lock();
        *answers.counts.entry((attack.name, told)).or_default() += 1;
        answers.wrong.extend(answer.wrong(attack.statuses).map(|wrong| format!("{}: {wrong}", attack.name)));
        if let Answer::Reply { bytes, .. } = answer {
            answers.largest = answers.largest.max(*bytes);
        }
    }

    /// Answers that no honest server gives: other statuses than the attack allows, 500, a 503 without `retry-after`.
    pub fn wrong(&self) -> Vec<String> {
        self.lock().wrong.clone()
    }

    /// Length of the longest reply, bytes.
    pub fn largest_reply(&self) -> u64 {
        self.lock().largest
    }

    /// One line for each attack.
    pub fn report(&self) -> String {
        let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((name, status), count) in &self.lock().counts {
            lines.entry(name).or_default().push(format!("{status} × {count}"));
        }
        lines.iter().map(|(name, counts)| format!("  {name}: {}\n", counts.join(", "))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores what an attack needs, on behalf of one attacker.
///
/// # Panics
/// When the server does not take it: the attack would then show nothing.
pub fn prepare(attack: &Attack, attacker: &Attacker, size: Size) {
    for request in (attack.stored)(size) {
        let answer = attacker.send(&request);
        let status = answer.status();
        let stored = status.is_some_and(|s| (200..300).contains(&s));
        // What the server refuses by a limit it need not defend against.
        let limited = matches!(status, Some(400 | 413)) && attack.statuses.contains(&400);
        assert!(stored || limited, "{}: {} {} was answered {answer:?}", attack.name, request.method, request.path);
    }
}

/// Sends the requests of an attack, or holds its connections, from `clients` clients at once for this long; each client
/// sends all requests at least once. The bytes that were on their way at the same moment, at most.
///
/// # Panics
/// When a client does.
pub fn run(attack: &Attack, attacker: &Attacker, size: Size, clients: usize, length: Duration, tally: &Tally) -> u64 {
    let clock = SystemClock::new();
    match attack.act {
        Act::Requests(make) => {
            let all = make(size);
            thread::scope(|scope| {
                for _ in 0..clients {
                    scope.spawn(|| {
                        loop {
                            all.iter().for_each(|request| tally.note(attack, &attacker.send(request)));
                            if clock.monotonic() > length {
                                return;
                            }
                        }
                    });
                }
            });
            (clients * all.iter().map(|request| request.body.len()).max().unwrap_or_default()) as u64
        }
        Act::Connections(hold) => {
            let stop = AtomicBool::new(false);
            let answers = thread::scope(|scope| {
                let held = scope.spawn(|| hold(attacker, size, &stop));
                while clock.monotonic() < length {
                    thread::park_timeout(Duration::from_millis(50));
                }
                stop.store(true, Ordering::Relaxed);
                held.join().expect("it holds to the end")
            });
            answers.iter().for_each(|answer| tally.note(attack, answer));
            0
        }
    }
}

/// Scopes of an attacker's key.
pub const SCOPES: &[&str] =
    &["search", "ingest", "delete", "manage", "review", "act_as", "read_all", "vectors", "audit"];

/// Makes a tenant with a key and gives an attacker for it, who comes from `127.0.0.<host>`.
pub fn attacker(server: &Server, tenant: &str, host: u8) -> Attacker {
    server.tenant(tenant);
    Attacker::new(server.data_address(), host, Some(server.key(tenant, SCOPES, &[])))
}
