//! Hostile load: three tenants and connections without a credential send the worst that the limits allow, mixed by a
//! seed, while a fourth tenant and an operator work normally and must not notice it. The operator also suspends the
//! attackers in turn, and is answered as fast.
//!
//! `RINGFENCE_HOSTILE_SECONDS` sets the duration (60), `RINGFENCE_HOSTILE_SEED` the order, and
//! `RINGFENCE_HOSTILE_PERCENT` how near to the limits the largest requests go (8: an unoptimised build takes long over
//! more). `just long-hostile` runs twenty minutes on the release build. A benchmark (`cargo bench --bench hostile`)
//! measures the latency of a neighbour; this test has only the bounds that hold on every machine.

#![expect(clippy::print_stdout, reason = "figures of a run, which the test runner shows")]

use crate::load::setting;
use kernel::{Clock, SystemClock};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use testkit::{
    Rng, Server,
    hostile::{
        Act, AnswerSummary, Attack, Attacker, Bystanders, Observations, Request, Size, attacker, attacks, prepare,
    },
};

/// Time within which `/healthz` and `suspend` are answered, whatever a tenant does.
const ALWAYS_WITHIN: Duration = Duration::from_secs(1);
/// Limit of the server's address space, as an argument of `ulimit` in KiB: 3 GiB.
pub(crate) const ADDRESS_SPACE: &str = "-v 3145728";
/// Threads of each hostile tenant.
const THREADS: usize = 3;
/// Bytes by which memory at the end may exceed the maximum of the first third: the mix is not the same in each part.
const GROWTH_BYTES: u64 = 64 << 20;
/// Number of memory samples after the load, half a second apart: they take three times as long as the interval at which
/// memory is given back to the system.
const SAMPLES_AFTER: usize = 60;

/// Checks what must hold during any attack.
pub(crate) fn assert_unharmed(observed: &Observations, server: &mut Server) {
    assert!(server.runs(), "the server's process has ended: {}", server.stderr().lines().last().unwrap_or_default());
    let some = &observed.failed[..observed.failed.len().min(5)];
    assert!(observed.failed.is_empty(), "{} requests of others failed: {some:#?}", observed.failed.len());
    for what in ["healthz", "fresh healthz", "suspend"] {
        assert_answered_soon(observed, what);
    }
}

fn assert_answered_soon(observed: &Observations, what: &str) {
    // The server is not responsible for processor time that the machine itself withheld.
    let (slowest, bound) = (observed.slowest(what), ALWAYS_WITHIN + observed.stall);
    assert!(!slowest.is_zero() && slowest < bound, "{what} took {slowest:?}\n{}", observed.report());
}

fn tenant_name(n: u8) -> String {
    format!("hostile-{n}")
}

struct SizedAttack {
    attack: Attack,
    /// Requests by size; empty for attacks that hold connections.
    requests: Vec<Vec<Request>>,
}

fn sized_attacks(sizes: [Size; 3]) -> Vec<SizedAttack> {
    let make = |attack: Attack| {
        let requests = match attack.act {
            Act::Requests(make) => sizes.map(make).to_vec(),
            Act::Connections(_) => Vec::new(),
        };
        SizedAttack { attack, requests }
    };
    attacks().into_iter().map(make).collect()
}

#[test]
fn a_tenant_and_an_operator_do_not_notice_hostile_load() {
    let length = Duration::from_secs(setting("RINGFENCE_HOSTILE_SECONDS", 60));
    let seed = setting("RINGFENCE_HOSTILE_SEED", 1);
    // The memory budget is one that the load fills soon: up to it, memory grows as it should.
    let mut server = crate::server().ulimit(ADDRESS_SPACE).env("RINGFENCE__LIMITS__MEMORY_MIB", "128").start();
    let percent = usize::try_from(setting("RINGFENCE_HOSTILE_PERCENT", 8)).unwrap();
    let sized_attacks =
        Arc::new(sized_attacks([percent / 10, percent / 3, percent].map(|percent| Size(percent.max(1)))));
    let attackers: Vec<Attacker> = (0..3).map(|n| attacker(&server, &tenant_name(n), 2 + n)).collect();
    for attacker in &attackers {
        let mut stored = Vec::new();
        for sized in sized_attacks.iter() {
            // Several attacks read the same documents, which are stored once.
            if !stored.iter().any(|known| std::ptr::fn_addr_eq(*known, sized.attack.stored)) {
                prepare(&sized.attack, attacker, Size(percent));
                stored.push(sized.attack.stored);
            }
        }
    }
    let (stop, stopped, summary) = (AtomicBool::new(false), AtomicBool::new(false), AnswerSummary::of_suspended());
    let bystanders = Bystanders::new(&server);
    let names: Vec<String> = (0..3).map(tenant_name).collect();
    let (observed, memory) = thread::scope(|scope| {
        let mut hostile = Vec::new();
        for (n, attacker) in attackers.iter().enumerate() {
            for thread in 0..THREADS {
                let rng = Rng::new(seed * 100 + (n * THREADS + thread) as u64);
                let (sized_attacks, stop, summary) = (&sized_attacks, &stop, &summary);
                hostile.push(scope.spawn(move || send_attacks(attacker, sized_attacks, &rng, stop, summary)));
            }
        }
        let anonymous = Attacker::new(server.data_address(), 9, None);
        let (sized_attacks, summary, stop_flag) = (&sized_attacks, &summary, &stop);
        hostile.push(
            scope.spawn(move || hold_connections(&anonymous, sized_attacks, &Rng::new(seed), stop_flag, summary)),
        );
        let keyed = attackers[0].clone();
        hostile.push(
            scope.spawn(move || hold_connections(&keyed, sized_attacks, &Rng::new(seed + 1), stop_flag, summary)),
        );
        let watching = scope.spawn(|| bystanders.watch(&stopped));
        let suspending = scope.spawn(|| bystanders.suspend_in_turn(&names, &stop));
        let memory = sample(&server, length);
        stop.store(true, Ordering::Relaxed);
        for thread in hostile {
            thread.join().expect("the attacker does not panic");
        }
        stopped.store(true, Ordering::Relaxed);
        let suspended = suspending.join().expect("the operator does not panic");
        (watching.join().expect("the bystanders do not panic").and(suspended), memory)
    });
    println!("hostile load, seed {seed}, {length:?}:\n{}{}", summary.report(), observed.report());
    assert_unharmed(&observed, &mut server);
    assert_answered_soon(&observed, "suspend attacker");
    assert!(summary.wrong().is_empty(), "answers that no correct server gives: {:#?}", summary.wrong());
    assert_memory_is_flat(&server, &memory);
    for attacker in &attackers {
        let status =
            attacker.send(&Request { method: "GET", path: "/v1/whoami".to_owned(), body: Vec::new() }).status();
        assert_eq!(status, Some(200), "afterwards the attackers are served, too");
    }
}

/// Runs one thread of a hostile tenant: attacks in the order that the seed gives.
fn send_attacks(
    attacker: &Attacker,
    sized_attacks: &[SizedAttack],
    rng: &Rng,
    stop: &AtomicBool,
    summary: &AnswerSummary,
) {
    let with_requests: Vec<&SizedAttack> = sized_attacks.iter().filter(|sized| !sized.requests.is_empty()).collect();
    while !stop.load(Ordering::Relaxed) {
        let sized = *rng.pick(&with_requests);
        for request in rng.pick(&sized.requests) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            summary.note(&sized.attack, &attacker.send(request));
        }
    }
}

/// Holds connections open, each kind for some seconds.
fn hold_connections(
    attacker: &Attacker,
    sized_attacks: &[SizedAttack],
    rng: &Rng,
    stop: &AtomicBool,
    summary: &AnswerSummary,
) {
    let clock = SystemClock::new();
    let kinds: Vec<_> = sized_attacks.iter().filter(|sized| sized.requests.is_empty()).collect();
    while !stop.load(Ordering::Relaxed) {
        let sized = *rng.pick(&kinds);
        let Act::Connections(act) = sized.attack.act else { continue };
        let (ended, until) = (AtomicBool::new(false), clock.monotonic() + Duration::from_secs(5 + rng.below(10)));
        let answers = thread::scope(|scope| {
            let held = scope.spawn(|| act(attacker, Size(*rng.pick(&[5, 25, 60])), &ended));
            while clock.monotonic() < until && !stop.load(Ordering::Relaxed) {
                thread::park_timeout(Duration::from_millis(50));
            }
            ended.store(true, Ordering::Relaxed);
            held.join().expect("the attack does not panic")
        });
        answers.iter().for_each(|answer| summary.note(&sized.attack, answer));
    }
}

/// Samples the memory of the process for as long as the load lasts.
fn sample(server: &Server, length: Duration) -> Vec<u64> {
    let clock = SystemClock::new();
    let mut samples = Vec::new();
    while clock.monotonic() < length && is_alive(server) {
        samples.push(server.memory().0);
        thread::park_timeout(Duration::from_millis(200));
    }
    samples
}

fn is_alive(server: &Server) -> bool {
    std::fs::read_to_string(format!("/proc/{}/status", server.pid())).is_ok_and(|status| status.contains("VmRSS:"))
}

/// Checks that memory after the load is at most that of the first third, once the memory of the last attacks is freed
/// and given back to the system, which happens every ten seconds.
fn assert_memory_is_flat(server: &Server, during: &[u64]) {
    let first = during[..during.len() / 3].iter().copied().max().unwrap_or_default();
    let bound = first + GROWTH_BYTES;
    let mut now = server.memory();
    for _ in 0..SAMPLES_AFTER {
        if now.0 <= bound {
            break;
        }
        thread::park_timeout(Duration::from_millis(500));
        now = server.memory();
    }
    let tenths: Vec<u64> =
        during.chunks(during.len().div_ceil(10).max(1)).map(|part| part.iter().max().unwrap() >> 20).collect();
    println!("  memory by tenths of the time, MiB at most: {tenths:?}");
    println!("  memory: {} MiB in the first third, {} MiB now, {} MiB at most", first >> 20, now.0 >> 20, now.1 >> 20);
    assert!(now.0 <= bound, "memory grew from {first} to {} bytes", now.0);
}
