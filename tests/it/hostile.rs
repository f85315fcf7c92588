//! Hostile load: three tenants and connections without a credential send the worst that the limits allow, mixed by a
//! seed, while a fourth tenant and an operator work normally and must not notice it.
//!
//! `RINGFENCE_HOSTILE_SECONDS` says for how long (60), `RINGFENCE_HOSTILE_SEED` in which order,
//! `RINGFENCE_HOSTILE_PERCENT` how near to the limits the largest go (8: a build that is not optimised takes long over
//! more). `just long-hostile` is twenty minutes on the release build. What a neighbour's latency is, a benchmark shows (`cargo bench --bench hostile`);
//! here stand only the bounds that hold on every machine.

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
    hostile::{Act, Attack, Attacker, Beside, Request, Seen, Size, Tally, attacker, attacks, prepare},
};

/// `/healthz` and `suspend` are answered within this, whatever a tenant does.
const ALWAYS_WITHIN: Duration = Duration::from_secs(1);
/// Address space of the server's process, KiB: 3 GiB.
pub(crate) const ADDRESS_SPACE: &str = "-v 3145728";
/// Threads of each hostile tenant.
const THREADS: usize = 3;
/// Memory at the end may exceed the most of the first third by these bytes: the mix is not the same in each part.
const GROWTH_BYTES: u64 = 64 << 20;
/// Looks at memory after the load, half a second apart: three times as long as the pause between two times in which it is
/// given back.
const GIVEN_BACK_LOOKS: usize = 60;

/// What must hold beside any attack.
pub(crate) fn unharmed(seen: &Seen, server: &mut Server) {
    assert!(server.runs(), "the server's process has ended: {}", server.stderr().lines().last().unwrap_or_default());
    let some = &seen.failed[..seen.failed.len().min(5)];
    assert!(seen.failed.is_empty(), "{} requests of others failed: {some:#?}", seen.failed.len());
    for what in ["healthz", "fresh healthz", "suspend"] {
        // The processor that the machine itself withheld is not the server's doing.
        let (slowest, bound) = (seen.slowest(what), ALWAYS_WITHIN + seen.stall);
        assert!(!slowest.is_zero() && slowest < bound, "{what} took {slowest:?}\n{}", seen.report());
    }
}

struct Mix {
    attack: Attack,
    /// By size; empty for attacks that hold connections.
    requests: Vec<Vec<Request>>,
}

fn mixes(sizes: [Size; 3]) -> Vec<Mix> {
    let make = |attack: Attack| {
        let requests = match attack.act {
            Act::Requests(make) => sizes.map(make).to_vec(),
            Act::Connections(_) => Vec::new(),
        };
        Mix { attack, requests }
    };
    attacks().into_iter().map(make).collect()
}

#[test]
fn a_tenant_and_an_operator_do_not_notice_hostile_load() {
    let length = Duration::from_secs(setting("RINGFENCE_HOSTILE_SECONDS", 60));
    let seed = setting("RINGFENCE_HOSTILE_SEED", 1);
    // With a budget that the load fills soon: up to there memory grows as it should.
    let mut server = crate::server().ulimit(ADDRESS_SPACE).env("RINGFENCE__LIMITS__MEMORY_MIB", "128").start();
    let percent = usize::try_from(setting("RINGFENCE_HOSTILE_PERCENT", 8)).unwrap();
    let mixes = Arc::new(mixes([percent / 10, percent / 3, percent].map(|percent| Size(percent.max(1)))));
    let attackers: Vec<Attacker> = (0..3).map(|n| attacker(&server, &format!("hostile-{n}"), 2 + n)).collect();
    for attacker in &attackers {
        let mut stored = Vec::new();
        for mix in mixes.iter() {
            // Several attacks read the same documents.
            if !stored.iter().any(|known| std::ptr::fn_addr_eq(*known, mix.attack.stored)) {
                prepare(&mix.attack, attacker, Size(percent));
                stored.push(mix.attack.stored);
            }
        }
    }
    let (stop, stopped, tally) = (AtomicBool::new(false), AtomicBool::new(false), Tally::default());
    let beside = Beside::new(&server);
    let (seen, memory) = thread::scope(|scope| {
        let mut hostile = Vec::new();
        for (n, attacker) in attackers.iter().enumerate() {
            for thread in 0..THREADS {
                let rng = Rng::new(seed * 100 + (n * THREADS + thread) as u64);
                let (mixes, stop, tally) = (&mixes, &stop, &tally);
                hostile.push(scope.spawn(move || strike(attacker, mixes, &rng, stop, tally)));
            }
        }
        let nameless = Attacker::new(server.data_address(), 9, None);
        let (mixes, tally, halt) = (&mixes, &tally, &stop);
        hostile.push(scope.spawn(move || hold(&nameless, mixes, &Rng::new(seed), halt, tally)));
        let keyed = attackers[0].clone();
        hostile.push(scope.spawn(move || hold(&keyed, mixes, &Rng::new(seed + 1), halt, tally)));
        let watching = scope.spawn(|| beside.watch(&stopped));
        let memory = sample(&server, length);
        stop.store(true, Ordering::Relaxed);
        for thread in hostile {
            thread.join().expect("an attacker goes on to the end");
        }
        stopped.store(true, Ordering::Relaxed);
        (watching.join().expect("it watches to the end"), memory)
    });
    println!("hostile load, seed {seed}, {length:?}:\n{}{}", tally.report(), seen.report());
    unharmed(&seen, &mut server);
    assert!(tally.wrong().is_empty(), "answers that no honest server gives: {:#?}", tally.wrong());
    flat(&server, &memory);
    for attacker in &attackers {
        let status =
            attacker.send(&Request { method: "GET", path: "/v1/whoami".to_owned(), body: Vec::new() }).status();
        assert_eq!(status, Some(200), "afterwards those who attacked are served, too");
    }
}

/// One thread of a hostile tenant: attacks in the order that the seed gives.
fn strike(attacker: &Attacker, mixes: &[Mix], rng: &Rng, stop: &AtomicBool, tally: &Tally) {
    let with_requests: Vec<&Mix> = mixes.iter().filter(|mix| !mix.requests.is_empty()).collect();
    while !stop.load(Ordering::Relaxed) {
        let mix = *rng.pick(&with_requests);
        for request in rng.pick(&mix.requests) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            tally.note(&mix.attack, &attacker.send(request));
        }
    }
}

/// Holds connections, each kind for some seconds.
fn hold(attacker: &Attacker, mixes: &[Mix], rng: &Rng, stop: &AtomicBool, tally: &Tally) {
    let clock = SystemClock::new();
    let kinds: Vec<_> = mixes.iter().filter(|mix| mix.requests.is_empty()).collect();
    while !stop.load(Ordering::Relaxed) {
        let mix = *rng.pick(&kinds);
        let Act::Connections(act) = mix.attack.act else { continue };
        let (ended, until) = (AtomicBool::new(false), clock.monotonic() + Duration::from_secs(5 + rng.below(10)));
        let answers = thread::scope(|scope| {
            let held = scope.spawn(|| act(attacker, Size(*rng.pick(&[5, 25, 60])), &ended));
            while clock.monotonic() < until && !stop.load(Ordering::Relaxed) {
                thread::park_timeout(Duration::from_millis(50));
            }
            ended.store(true, Ordering::Relaxed);
            held.join().expect("it holds to the end")
        });
        answers.iter().for_each(|answer| tally.note(&mix.attack, answer));
    }
}

/// Memory of the process over time, for as long as the load lasts.
fn sample(server: &Server, length: Duration) -> Vec<u64> {
    let clock = SystemClock::new();
    let mut samples = Vec::new();
    while clock.monotonic() < length && alive(server) {
        samples.push(server.memory().0);
        thread::park_timeout(Duration::from_millis(200));
    }
    samples
}

fn alive(server: &Server) -> bool {
    std::fs::read_to_string(format!("/proc/{}/status", server.pid())).is_ok_and(|status| status.contains("VmRSS:"))
}

/// What it holds after the load is no more than what it held in the first third, once what the last attacks held is freed
/// and given back to the system, which happens every ten seconds.
fn flat(server: &Server, during: &[u64]) {
    let first = during[..during.len() / 3].iter().copied().max().unwrap_or_default();
    let bound = first + GROWTH_BYTES;
    let mut now = server.memory();
    for _ in 0..GIVEN_BACK_LOOKS {
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
