//! The real binary on real object stores: moto, Ceph, and s3s-fs, which must be refused. No acknowledged write is lost
//! when the process is killed, when the store's daemons fail under it, or when two servers compete for one bucket.
//!
//! `RINGFENCE_CEPH_SECONDS` (60) and `RINGFENCE_FIGHT_SECONDS` (20) set the durations.

#![expect(clippy::print_stdout, reason = "figures of a run, which the test runner shows")]

use crate::load::{LoadClient, Outcome, setting, write_counts};
use kernel::{Clock, SystemClock};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use testkit::{Ceph, FakeS3, Moto, Rng, S3sFs, Server, ServerBuilder, StoreKey, TwinTenant};

fn server_on(endpoint: &str, bucket: &str, key: &StoreKey) -> ServerBuilder {
    crate::server().bucket(endpoint, &format!("s3://{bucket}/node"), key)
}

/// Sets the flag that stops the threads, also if the test panics: otherwise the scope would wait for them forever.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn the_bucket_alone_suffices_after_a_kill() {
    let Some(moto) = Moto::start() else { return };
    let builder =
        server_on(&moto.endpoint(), moto.bucket(), &moto.credentials()).env("RINGFENCE__LIMITS__FLUSH_ROWS", "16");
    let mut server = builder.start();
    let mut clients = LoadClient::create(&server, 2);
    for client in &mut clients {
        let mut http = client.reader.http(server.data_address());
        for _ in 0..30 {
            assert_eq!(client.write(&mut http), Outcome::Acknowledged);
        }
    }
    server.kill();
    let second = server.sibling().start();
    for client in &mut clients {
        client.verify(second.data_address(), "after the kill");
        let mut http = client.reader.http(second.data_address());
        assert_eq!(client.reader.search(&mut http, &Rng::new(1)), Some(200));
        assert_eq!(client.write(&mut http), Outcome::Acknowledged);
        client.verify(second.data_address(), "after one more write");
    }
}

/// Starts a server that must end with an error, and returns its stderr.
fn refusal(server: &mut Server) -> String {
    assert!(!server.try_restart(), "the server starts");
    let status = server.ended(Duration::from_secs(10)).expect("the server ends by itself");
    assert!(status.code().is_some_and(|code| code != 0), "the server ends with {status}");
    server.stderr()
}

#[test]
fn another_format_is_refused() {
    let mut server = crate::server().start();
    assert_eq!(server.stop(), Some(0));
    let marker = server.data_folder().join("FORMAT");
    let ours = std::fs::read(&marker).expect("the folder's marker");
    std::fs::write(&marker, "ringfence data 99\n").unwrap();
    let log = refusal(&mut server);
    assert!(log.contains("ringfence data 99") && log.contains("use the version that wrote it"), "{log}");
    std::fs::write(&marker, &ours).unwrap();
    server.restart();

    let fake = FakeS3::start();
    fake.put_directly("node/FORMAT", b"ringfence data 99\n");
    let key = StoreKey { id: "id".to_owned(), secret: "secret".to_owned() };
    let log = refusal(&mut server_on(&fake.endpoint(), fake.bucket(), &key).stopped());
    assert!(log.contains("ringfence data 99") && log.contains("use the version that wrote it"), "{log}");
}

#[test]
fn a_store_that_accepts_two_creators_is_refused() {
    let Some(store) = S3sFs::start() else { return };
    let log = refusal(&mut server_on(&store.endpoint(), store.bucket(), &store.credentials()).stopped());
    assert!(log.contains("this store does not honour If-None-Match"), "{log}");
}

/// Phases: before the first kill, while a daemon is down, and after.
const PHASES: [&str; 3] = ["before", "during", "after"];

/// Durations of each kind of request by phase, milliseconds.
#[derive(Default)]
struct Durations(Mutex<[[Vec<f64>; 3]; 2]>);

impl Durations {
    fn note(&self, kind: usize, phase: usize, took: Duration) {
        self.0.lock().unwrap()[kind][phase].push(took.as_secs_f64() * 1e3);
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a report"
    )]
    fn print(&self) {
        for (kind, of) in ["writes", "searches"].iter().zip(self.0.lock().unwrap().iter_mut()) {
            for (phase, times) in PHASES.iter().zip(of) {
                times.sort_by(f64::total_cmp);
                let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
                println!("{kind} {phase}: {} answers, p50 {:.1} ms, p99 {:.1} ms", times.len(), at(0.5), at(0.99));
            }
        }
    }
}

#[test]
fn nothing_is_lost_while_the_stores_daemons_die() {
    let seconds = setting("RINGFENCE_CEPH_SECONDS", 60);
    let Some(mut ceph) = Ceph::start() else { return };
    let builder =
        server_on(&ceph.endpoint(), ceph.bucket(), &ceph.credentials()).env("RINGFENCE__LIMITS__FLUSH_ROWS", "64");
    let mut server = builder.start();
    let mut clients = LoadClient::create(&server, 2);
    let (stop, phase, times, clock) =
        (AtomicBool::new(false), AtomicUsize::new(0), Durations::default(), SystemClock::new());
    let answers = AtomicU64::new(0);
    let address = server.data_address();
    // Times a request and counts it in the worst phase that it touched.
    let timed = |kind: usize, work: &mut dyn FnMut() -> bool| {
        let (begun, first) = (clock.monotonic(), phase.load(Relaxed));
        if work() {
            let last = phase.load(Relaxed);
            let phase = if first == 1 || last == 1 { 1 } else { last };
            times.note(kind, phase, clock.monotonic() - begun);
        }
    };
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        let searchers: Vec<_> = clients.iter().step_by(2).map(|c| c.reader.clone()).collect();
        for searcher in searchers {
            let (stop, timed, answers) = (&stop, &timed, &answers);
            scope.spawn(move || {
                let (mut http, rng) = (searcher.http(address), Rng::new(searcher.tenant as u64));
                while !stop.load(Relaxed) {
                    timed(1, &mut || searcher.search(&mut http, &rng) == Some(200));
                    answers.fetch_add(1, Relaxed);
                }
            });
        }
        for client in &mut clients {
            let (stop, timed) = (&stop, &timed);
            scope.spawn(move || {
                let mut http = client.reader.http(address);
                while !stop.load(Relaxed) {
                    timed(0, &mut || client.write(&mut http) == Outcome::Acknowledged);
                }
            });
        }
        kill_daemons(&mut ceph, seconds, &phase);
    });
    assert!(server.runs(), "the server ended: {}", server.stderr());
    clients.iter_mut().for_each(|client| client.verify(address, "on the server that ran throughout"));
    server.kill();
    let second = server.sibling().start();
    clients.iter_mut().for_each(|client| client.verify(second.data_address(), "on a second server"));
    println!("{seconds} s: {}; searches {}", write_counts(clients.iter().map(|c| &c.expected)), answers.load(Relaxed));
    times.print();
    let times = times.0.lock().unwrap();
    assert!(times.iter().all(|kind| !kind[0].is_empty() && !kind[2].is_empty()), "nothing was served before or after");
}

/// Kills the gateway or an OSD every 15 seconds, and restarts it after five.
fn kill_daemons(ceph: &mut Ceph, seconds: u64, phase: &AtomicUsize) {
    let second = |n| thread::sleep(Duration::from_secs(n));
    second(15.min(seconds));
    for round in 1..seconds / 15 {
        let osd = (round % 4).checked_sub(1).map(|osd| usize::try_from(osd).unwrap());
        phase.store(1, Relaxed);
        match osd {
            Some(osd) => ceph.kill_osd(osd),
            None => ceph.kill_gateway(),
        }
        second(5);
        match osd {
            Some(osd) => ceph.start_osd(osd),
            None => ceph.start_gateway(),
        }
        second(1);
        phase.store(2, Relaxed);
        second(9);
    }
}

#[test]
fn of_two_servers_on_one_bucket_the_last_one_owns_it() {
    let seconds = setting("RINGFENCE_FIGHT_SECONDS", 20);
    let Some(moto) = Moto::start() else { return };
    let mut owner = server_on(&moto.endpoint(), moto.bucket(), &moto.credentials())
        .env("RINGFENCE__LIMITS__FLUSH_ROWS", "32")
        .start();
    let mut clients = LoadClient::create(&owner, 2);
    let mut other = owner.sibling().stopped();
    let addresses = [owner.data_address(), other.data_address()];
    let (stop, acknowledged, clock) = (AtomicBool::new(false), AtomicU64::new(0), SystemClock::new());
    let (frozen_one, aware) = (&AtomicUsize::new(usize::MAX), &AtomicUsize::new(0));
    let avoiding = clients.iter().filter(|client| client.reader.tenant == TwinTenant::Zenith).count();
    let mut rounds = [0; 2];
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for client in &mut clients {
            let (stop, acknowledged) = (&stop, &acknowledged);
            scope.spawn(move || write_to_either(client, addresses, frozen_one, aware, stop, acknowledged));
        }
        let end = clock.monotonic() + Duration::from_secs(seconds);
        while clock.monotonic() < end {
            let before = acknowledged.load(Relaxed);
            wait_for(&mut owner, || acknowledged.load(Relaxed) >= before + 20);
            let (frozen, log_start) = (rounds[0] % 2 == 1, owner.stderr().len());
            if frozen {
                aware.store(0, Relaxed);
                frozen_one.store(usize::from(owner.data_address() == addresses[1]), Relaxed);
                // The clients that avoid the frozen server have no request in progress there.
                wait_for(&mut owner, || aware.load(Relaxed) >= avoiding);
                owner.freeze();
            }
            other.restart();
            if frozen {
                let before = acknowledged.load(Relaxed);
                wait_for(&mut other, || acknowledged.load(Relaxed) >= before + 10);
                owner.thaw();
                frozen_one.store(usize::MAX, Relaxed);
            }
            let status =
                owner.ended(NOTICE_TIME).unwrap_or_else(|| panic!("the old owner continues: {}", log_tail(&owner, 0)));
            assert!(status.code().is_some_and(|code| code != 0), "the old owner ends with {status}");
            assert!(
                owner.stderr()[log_start..].contains("another server"),
                "the log does not say why: {}",
                log_tail(&owner, log_start)
            );
            std::mem::swap(&mut owner, &mut other);
            rounds = [rounds[0] + 1, rounds[1] + usize::from(frozen)];
        }
    });
    assert!(owner.runs(), "the last one ended: {}", log_tail(&owner, 0));
    clients.iter_mut().for_each(|client| client.verify(owner.data_address(), "on the last owner"));
    owner.kill();
    let last = owner.sibling().start();
    clients.iter_mut().for_each(|client| client.verify(last.data_address(), "on a third server"));
    println!(
        "{seconds} s, {} take-overs, {} of a frozen owner: {}",
        rounds[0],
        rounds[1],
        write_counts(clients.iter().map(|c| &c.expected))
    );
    assert!(rounds[0] > 0);
}

/// Time within which a server that lost the bucket must notice and end.
const NOTICE_TIME: Duration = Duration::from_secs(20);

/// Writes to either server, and searches now and then. The clients of one tenant know which server is frozen and avoid
/// it; the other tenant's wait for it with a request in progress.
fn write_to_either(
    client: &mut LoadClient,
    addresses: [std::net::SocketAddr; 2],
    frozen_one: &AtomicUsize,
    aware: &AtomicUsize,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) {
    let rng = Rng::new(client.reader.tenant as u64 + 100);
    let mut https = addresses.map(|address| client.reader.http(address));
    let (avoids, mut known) = (client.reader.tenant == TwinTenant::Zenith, usize::MAX);
    while !stop.load(Relaxed) {
        let at = usize::try_from(rng.below(2)).unwrap();
        let frozen_now = frozen_one.load(Relaxed);
        if avoids && std::mem::replace(&mut known, frozen_now) != frozen_now && frozen_now != usize::MAX {
            aware.fetch_add(1, Relaxed);
        }
        let frozen = avoids && frozen_now == at;
        let http = &mut https[if frozen { 1 - at } else { at }];
        match client.write(http) {
            Outcome::Acknowledged => drop(acknowledged.fetch_add(1, Relaxed)),
            // No server listens, or not yet: this is not retried in a tight loop.
            _ => thread::sleep(Duration::from_millis(5)),
        }
        if rng.below(4) == 0 {
            client.reader.search(http, &rng);
        }
    }
}

/// Waits for a condition that the server must bring about.
fn wait_for(server: &mut Server, mut until: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if until() {
            return;
        }
        assert!(server.runs(), "the owner ended: {}", log_tail(server, 0));
        thread::sleep(Duration::from_millis(5));
    }
    panic!("half a minute and nothing was acknowledged: {}", log_tail(server, 0));
}

/// Last lines of the server's stderr after `from` bytes.
fn log_tail(server: &Server, from: usize) -> String {
    let log = server.stderr();
    let lines: Vec<&str> = log[from.min(log.len())..].lines().filter(|l| !l.contains("\"request\"")).collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
