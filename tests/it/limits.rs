//! For each limit of `kernel/src/limits.rs`: the worst request that it allows, and a second tenant that does not notice
//! it. A limit that no request reaches gives a reason; one that is in neither list fails.
//!
//! `RINGFENCE_LIMITS_PERCENT` sets how near the requests go to the limits. An unoptimised build takes long to reach
//! them, so `just long-limits` does it on the release build.

#![expect(clippy::print_stdout, reason = "figures of a run, which the test runner shows")]

use crate::{
    hostile::{ADDRESS_SPACE, assert_unharmed},
    load::setting,
};
use kernel::limits;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use testkit::hostile::{Act, AnswerSummary, Bystanders, Request, Size, attacker, attacks, prepare, run};

/// Clients that send the same attack at the same moment.
const CLIENTS: usize = 2;
/// Minimum duration of an attack; each client also sends each request at least once.
const LENGTH: Duration = Duration::from_secs(2);
/// Memory that the process may take for each byte that it was sent.
const BYTES_PER_INPUT_BYTE: u64 = 16;
/// Memory that it may take in addition, whatever it is sent: stacks of threads, caches, and what allocators keep.
const BYTES_IN_ADDITION: u64 = 96 << 20;

/// Runs one attack at its full size against a server of its own.
fn check_attack(name: &str) {
    let all = attacks();
    let attack = all.iter().find(|attack| attack.name == name).expect("an attack of this name");
    let mut server = crate::server().ulimit(ADDRESS_SPACE).start();
    let bystanders = Bystanders::new(&server);
    let hostile = attacker(&server, "hostile", 2);
    let before = server.memory().0;
    let size = Size(usize::try_from(setting("RINGFENCE_LIMITS_PERCENT", 10)).unwrap());
    let stored: Vec<Request> = (attack.stored)(size);
    prepare(attack, &hostile, size);
    let (stop, summary) = (AtomicBool::new(false), AnswerSummary::default());
    let (observed, sent) = thread::scope(|scope| {
        let watching = scope.spawn(|| bystanders.watch(&stop));
        let length = if matches!(attack.act, Act::Connections(_)) { 4 * LENGTH } else { LENGTH };
        let sent = run(attack, &hostile, size, CLIENTS, length, &summary);
        stop.store(true, Ordering::Relaxed);
        (watching.join().expect("the bystanders do not panic"), sent)
    });
    let (now, most) = if server.runs() { server.memory() } else { (0, u64::MAX) };
    let input = sent + stored.iter().map(|request| request.body.len() as u64).sum::<u64>();
    println!(
        "{name}: {} KiB sent, {} KiB in the longest reply, {} MiB before, {} MiB at most, {} MiB after\n{}{}",
        input >> 10,
        summary.largest_reply() >> 10,
        before >> 20,
        most >> 20,
        now >> 20,
        summary.report(),
        observed.report()
    );
    assert_unharmed(&observed, &mut server);
    assert!(summary.wrong().is_empty(), "answers that no correct server gives: {:#?}", summary.wrong());
    // All bodies together have a limit; connections that are held open send as much.
    let bodies = if matches!(attack.act, Act::Connections(_)) { limits::BODIES_BYTES_MAX as u64 } else { 0 };
    // A reply may be as long as its limit, and is in memory together with what it is built from.
    let replies = 2 * CLIENTS as u64 * summary.largest_reply().min(limits::REPLY_BYTES_MAX);
    let bound = before + BYTES_PER_INPUT_BYTE * input + BYTES_IN_ADDITION + bodies + replies;
    assert!(most <= bound, "{most} bytes were held for an input of {input}, and {before} before");
}

macro_rules! attack_tests {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check_attack(stringify!($name)); })*

        #[test]
        fn every_attack_has_a_test() {
            let tested: BTreeSet<&str> = [$(stringify!($name)),*].into();
            let known: BTreeSet<&str> = attacks().iter().map(|attack| attack.name).collect();
            assert_eq!(tested, known);
        }
    };
}

attack_tests! {
    match_words contains in_values instants deep_filter write_by_filter filter_of_numbers deep_json many_ids
    attribute_keys html_attributes html_colours html_nesting html_styles markdown attributes readers titles long_text
    vectors surplus stars_and_phrases long_question diversity recall context short_lists min_commit audit_readers whoami
    reply_attributes reply_text many_namespaces many_small_writes dribbling_bodies slow_heads long_heads never_reading
    half_handshakes
}

/// Limits that no tenant's request reaches, and the reason. Tests of their own name those that they reach.
const WITHOUT_ATTACK: &[(&str, &[&str])] = &[
    ("a default, below a limit that has its attack", &["TOP_K_DEFAULT", "RERANK_DEPTH_DEFAULT", "LIST_LIMIT_DEFAULT"]),
    (
        "needs a model: engine's tests rerank and embed with the fake one",
        &["RERANK_DEPTH_MAX", "MODEL_QUEUE_TEXTS_MAX"],
    ),
    ("the process ends: process::a_signal_drains_and_a_restart_finds_everything", &["DRAIN_WAIT"]),
    (
        "decides how the server works, not how much it takes: a size or a threshold of its own data",
        &[
            "INLINE_STEPS_MAX",
            "SEGMENT_ROWS_MAX",
            "PAGE_BYTES",
            "RESIDENT_PAGES_BYTES_MAX",
            "REMOTE_BLOCK_BYTES",
            "GRAPH_ROWS_MIN",
            "GRAPH_DIMENSIONS_MIN",
            "REGISTRY_CHECKPOINT_ENTRIES",
            "REWRAPS_PER_ENTRY",
            "LOG_FILE_STEP_MAX",
            "POOLED_BYTES_MAX",
            "CHECKPOINT_INLINE_BYTES_MAX",
            "VISIBLE_SETS_KEPT_MAX",
            "AUDIT_GROUP_RECORDS_MAX",
            "AUDIT_CHUNK_RECORDS",
            "AUDIT_CHUNK_BYTES",
            "CERTIFICATE_SAMPLES_MAX",
            "REPLIES_BYTES_MIN",
            "REPLY_PIECE_BYTES",
        ],
    ),
    (
        "ends work that takes longer, or makes it wait elsewhere: kernel::interrupt, engine::work and store::tests::costs",
        &["BLOCKED_JOBS_PER_TENANT_MAX", "BLOCKED_JOBS_MAX", "PREPARE_WORK_MAX", "PREPARE_TURN_BYTES"],
    ),
    (
        "an interval or a wait of the server's own work",
        &[
            "REOPEN_WAIT_MIN",
            "REOPEN_WAIT_MAX",
            "KEY_CHECK",
            "ROTATION_CHECK",
            "ROTATION_PAUSE_MIN",
            "ROTATION_PAUSE_MAX",
            "CONNECTION_WAIT",
            "CONNECTION_GRACE",
            "CONNECTIONS_QUEUED_MAX",
            "KEEPALIVE_IDLE",
            "KEEPALIVE_PAUSE",
            "KEEPALIVE_PROBES",
            "UNACKNOWLEDGED_WAIT",
            "OWNERSHIP_CHECK",
            "OWNERSHIP_TIMEOUT",
            "STALE_READS_MAX",
            "AUDIT_GROUP_WAIT",
            "AUDIT_RETRY_WAIT",
            "ERASE_WITHIN",
            "ERASE_WITHIN_HOURS_MAX",
            "ERASE_DUE_QUARTERS",
            "ERASE_SWEEPS",
            "ERASE_FIRST_SWEEP",
            "ERASE_CHECK",
            "ERASE_TENANTS_AT_ONCE",
            "ERASE_THROTTLE",
            "ERASE_THROTTLE_MAX",
        ],
    ),
    (
        "needs a key provider or an object store that misbehaves: tests it::keys, it::faults and it::bucket",
        &[
            "KEY_LEASE",
            "KEY_LEASE_MAX",
            "KEY_OUTAGE_MAX",
            "KEY_REOPEN_WAIT_MAX",
            "KEY_REQUESTS_MAX",
            "REMOTE_BLOCKS_BYTES_MAX",
            "STORE_ANSWER_WAIT",
            "STORE_ATTEMPTS_MAX",
            "STORE_PAUSE_MIN",
            "STORE_PAUSE_MAX",
        ],
    ),
    (
        "only an operator reaches it",
        &[
            "ROTATIONS_AT_ONCE",
            "REENCRYPTIONS_AT_ONCE",
            "REENCRYPT_DEADLINE",
            "ROTATE_DEADLINE",
            "BULK_ROTATION_CONCURRENCY_MAX",
            "ROTATE_DAYS_MAX",
            "LABEL_BYTES_MAX",
            "API_KEYS_PER_TENANT_MAX",
            "NAMESPACES_PER_KEY_MAX",
            "OPERATORS_MAX",
            "CONTROL_BODIES_BYTES_MAX",
            "CONTROL_BODY_BYTES_MAX",
            "AUDIT_QUEUE_OPERATOR_RECORDS_MAX",
            "AUDIT_LOGS_OPEN_MAX",
            "DIRECTORIES_BYTES_MAX",
            "TENANTS_OPEN_MAX",
            "USAGE_AUDIT_LOGS_OPENED_MAX",
            "CERTIFICATES_KEPT_MAX",
        ],
    ),
    (
        "reached by tests of the store and the journal; a body ends before them",
        &["DELETE_BYTES_PER_COMMIT_MAX", "PATCH_BYTES_PER_COMMIT_MAX", "LOG_ENTRY_BYTES_MAX", "LOG_FRAME_BYTES_MAX"],
    ),
    (
        "counts refusals and operations that cost nothing else: tests of ledger and registry",
        &["REFUSALS_AUDITED_PER_MINUTE", "OPERATIONS_KEPT_MAX", "OPERATIONS_RUNNING_PER_TENANT_MAX"],
    ),
];

#[test]
fn every_limit_has_an_attack_or_a_reason() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/kernel/src/limits.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let names = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() > 100, "the names of the limits are found");
    let mut covered: BTreeMap<&str, String> = BTreeMap::new();
    for attack in attacks() {
        for limit in attack.limits {
            covered.insert(limit, attack.name.to_owned());
        }
    }
    for (why, limits) in WITHOUT_ATTACK {
        for limit in *limits {
            let attack = covered.insert(limit, (*why).to_owned());
            assert!(attack.is_none(), "{limit} has an attack ({attack:?}) and needs no reason");
        }
    }
    let covered: BTreeSet<&str> = covered.into_keys().collect();
    let missing: Vec<_> = names.difference(&covered).collect();
    assert!(
        missing.is_empty(),
        "write an attack in testkit's `hostile`, or give the reason here why none reaches: {missing:#?}"
    );
    let stale: Vec<_> = covered.difference(&names).collect();
    assert!(stale.is_empty(), "these are no limits: {stale:?}");
}
