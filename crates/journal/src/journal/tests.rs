//! Compares a keyspace with a `Vec`: what was acknowledged is there after every crash, what was not is there whole or
//! not at all, and changed bytes are an error.

use super::*;
use crate::faults::FaultPlan;
use kernel::{ByteReader, Incarnation, ManualClock, NamespaceUuid, SeededEntropy, Timestamp};
use proptest::prelude::*;
use std::{fs, path::PathBuf};
use vault::{KeyspaceKind, LocalProvider, TenantKeys};

struct FolderFixture {
    dir: tempfile::TempDir,
    keyspace: Arc<Keyspace>,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
}

/// An open keyspace, and the acknowledged entries as its owner would keep them.
struct OpenJournal {
    storage: Storage,
    journal: Journal,
    state: Vec<Vec<u8>>,
    dropped: bool,
}

impl FolderFixture {
    fn new(seed: u64) -> Self {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let provider = LocalProvider::from_env_value(&"07".repeat(32), entropy.clone()).unwrap();
        let incarnation = Incarnation::random(&*entropy);
        let (keys, _) = TenantKeys::create(&provider, incarnation, &*entropy).unwrap();
        let uuid = NamespaceUuid::random(&*entropy);
        let (keyspace, _) = Keyspace::create(&keys, KeyspaceKind::Namespace, uuid, &*entropy).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
        Self { dir: tempfile::tempdir().unwrap(), keyspace: Arc::new(keyspace), clock, entropy }
    }

    async fn open(&self) -> Result<OpenJournal, Error> {
        let storage = Storage::open(self.dir.path()).await?;
        let (journal, recovered) =
            Journal::recover(&storage, self.keyspace.clone(), self.clock.clone(), self.entropy.clone()).await?;
        let mut state = recovered.checkpoint.map(|body| decode(&body)).unwrap_or_default();
        for (seq, body) in recovered.entries {
            assert_eq!(seq.0, state.len() as u64 + 1, "entries follow the checkpoint without a gap");
            state.push(body.to_vec());
        }
        assert_eq!(journal.last().0, state.len() as u64);
        Ok(OpenJournal { storage, journal, state, dropped: recovered.dropped })
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join(self.keyspace.prefix())
    }

    /// Files of the keyspace whose names begin with `kind`.
    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let mut found: Vec<_> = fs::read_dir(self.folder()).into_iter().flatten().map(|e| e.unwrap().path()).collect();
        found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
        found.sort();
        found
    }
}

impl OpenJournal {
    async fn append(&mut self, body: &[u8]) -> Result<(), Error> {
        let seq = self.journal.append(Plaintext::from(body)).await?;
        self.state.push(body.to_vec());
        assert_eq!(seq.0, self.state.len() as u64);
        Ok(())
    }

    async fn checkpoint(&mut self, covers: usize) -> Result<(), Error> {
        self.journal.checkpoint(&encode(&self.state[..covers]), Seq(covers as u64)).await
    }

    fn plan(&self, change: impl FnOnce(&mut FaultPlan)) {
        self.storage.faults().plan(change);
    }

    async fn close(self) {
        self.storage.close().await;
    }
}

fn encode(state: &[Vec<u8>]) -> Vec<u8> {
    state.iter().flat_map(|body| [&(body.len() as u32).to_le_bytes()[..], body].concat()).collect()
}

fn decode(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (body, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        out.push(body.to_vec());
        bytes = rest;
    }
    out
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// Scenario of every crash test: open, write, checkpoint in the middle, truncate the log.
async fn scenario(open: &mut OpenJournal, large: bool) -> Result<(), Error> {
    for i in 0..3u8 {
        open.append(&[i; 40]).await?;
    }
    if large {
        // From here on a checkpoint is an object of its own.
        open.append(&vec![9; limits::CHECKPOINT_INLINE_BYTES_MAX]).await?;
    }
    open.checkpoint(open.state.len() - 1).await?;
    open.append(&[3; 6_000]).await?;
    open.append(&[4; 10]).await?;
    let all = open.state.len();
    open.checkpoint(all).await?;
    open.append(&[5; 100]).await?;
    open.checkpoint(all).await?;
    open.append(&[6; 100]).await
}

#[test]
fn entries_come_back_in_order() {
    run(async {
        let fixture = FolderFixture::new(1);
        let open = fixture.open().await.unwrap();
        let appends = (0..200u32).map(|i| open.journal.append(Plaintext::from(&i.to_le_bytes()[..])));
        let seqs: Vec<_> = futures::future::join_all(appends).await.into_iter().map(|s| s.unwrap().0).collect();
        assert_eq!(seqs, (1..=200).collect::<Vec<_>>(), "in the order of the calls");
        open.close().await;
        let again = fixture.open().await.unwrap();
        assert_eq!(again.state, (0..200u32).map(|i| i.to_le_bytes().to_vec()).collect::<Vec<_>>());
    });
}

#[test]
fn every_concurrent_caller_gets_an_answer() {
    run(async {
        let fixture = FolderFixture::new(15);
        let open = fixture.open().await.unwrap();
        let journal = Arc::new(open.journal);
        let tasks = tokio_util::task::TaskTracker::new();
        let callers: Vec<_> = (0..8u8)
            .map(|caller| {
                let journal = journal.clone();
                tasks.spawn(async move {
                    for _ in 0..100 {
                        journal.append(Plaintext::from(&[caller; 20][..])).await.unwrap();
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(journal.last(), Seq(800));
        drop(journal);
        open.storage.close().await;
        drop(open.storage);
        assert_eq!(fixture.open().await.unwrap().state.len(), 800);
    });
}

#[test]
fn a_second_server_is_refused_by_name() {
    run(async {
        let fixture = FolderFixture::new(2);
        let first = Storage::open(fixture.dir.path()).await.unwrap();
        let refused = Storage::open(fixture.dir.path()).await.err().unwrap().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        Storage::open(fixture.dir.path()).await.unwrap();
        fs::write(fixture.dir.path().join("FORMAT"), "ringfence data, format 7\n").unwrap();
        assert!(matches!(Storage::open(fixture.dir.path()).await, Err(Error::Format { .. })));
    });
}

#[test]
fn every_writing_process_claims_an_epoch_and_reading_claims_none() {
    run(async {
        let fixture = FolderFixture::new(3);
        for epoch in 1..=3 {
            fixture.open().await.unwrap().close().await;
            let mut open = fixture.open().await.unwrap();
            open.append(b"x").await.unwrap();
            open.append(b"y").await.unwrap();
            open.close().await;
            let newest = fixture.files("log").pop().unwrap();
            assert!(newest.to_str().unwrap().ends_with(&format!("log-{epoch:010}-{:016}", 1)), "{newest:?}");
        }
        let mut open = fixture.open().await.unwrap();
        fs::write(fixture.folder().join(format!("log-{:010}-{:016}", 4, 1)), "another, now").unwrap();
        let fenced = open.append(b"z").await;
        assert!(matches!(fenced, Err(Error::Stopped { why: Stopped::Fenced, .. })), "{fenced:?}");
        assert_eq!(open.journal.failed(), Some(Stopped::Fenced));
    });
}

#[test]
fn the_log_is_truncated_only_after_a_durable_checkpoint() {
    run(async {
        let fixture = FolderFixture::new(4);
        let mut open = fixture.open().await.unwrap();
        for i in 0..4u8 {
            open.append(&[i]).await.unwrap();
        }
        open.checkpoint(2).await.unwrap();
        assert_eq!(fixture.files("log").len(), 2, "entries 3 and 4 are still in the first file");
        open.append(b"five").await.unwrap();
        open.checkpoint(5).await.unwrap();
        assert_eq!(fixture.files("log").len(), 1, "it holds the checkpoint, for that is small");
        assert_eq!(fixture.files("ckpt").len(), 0);
        let small = open.journal.log_bytes();
        open.append(&[1; 100_000]).await.unwrap();
        assert!(open.journal.log_bytes() > small + 100_000);
        let ahead = open.journal.checkpoint(b"", Seq(99)).await;
        assert!(matches!(ahead, Err(Error::CoversAhead { .. })));
        let state = open.state.clone();
        open.close().await;
        assert_eq!(fixture.open().await.unwrap().state, state);
    });
}

#[test]
fn a_crash_after_any_step_keeps_what_was_acknowledged() {
    run(async {
        let masks = [None, Some(0), Some(!1), Some(0x5555_5555_5555_5555)];
        for (mask, large) in masks.into_iter().zip([false, true, false, true]) {
            let mut crashes = 0;
            for step in 1.. {
                let fixture = FolderFixture::new(5);
                let mut open = fixture.open().await.unwrap();
                open.plan(|plan| (plan.crash_after, plan.torn) = (Some(step), mask));
                let ended = scenario(&mut open, large).await;
                let acknowledged = open.state.clone();
                open.close().await;
                let mut again = fixture.open().await.unwrap_or_else(|e| panic!("step {step}, mask {mask:?}: {e}"));
                assert!(again.state.starts_with(&acknowledged), "step {step}, mask {mask:?}");
                assert!(again.state.len() <= acknowledged.len() + 1, "step {step}: an entry that was never written");
                again.append(b"continued").await.unwrap();
                let all = again.state.len();
                again.checkpoint(all).await.unwrap();
                again.append(b"and on").await.unwrap();
                let state = again.state.clone();
                again.close().await;
                assert_eq!(fixture.open().await.unwrap().state, state, "step {step}, mask {mask:?}");
                let is_object = encode(&state).len() > limits::CHECKPOINT_INLINE_BYTES_MAX;
                assert_eq!(
                    fixture.files("ckpt").len(),
                    usize::from(is_object),
                    "the checkpoint deleted the obsolete ones"
                );
                assert!(
                    fixture.files("").iter().all(|file| file.extension().is_none()),
                    "unfinished files are deleted too"
                );
                if ended.is_ok() {
                    break;
                }
                crashes += 1;
            }
            assert!(crashes > 20, "the scenario has that many steps: {crashes}");
        }
    });
}

#[test]
fn a_destruction_completes_after_a_crash() {
    run(async {
        for step in 1.. {
            let fixture = FolderFixture::new(6);
            let mut open = fixture.open().await.unwrap();
            open.append(b"kept until the Drop").await.unwrap();
            open.checkpoint(1).await.unwrap();
            open.journal.put(ObjectKind::Segment, b"object").await.unwrap();
            let before = open.storage.faults().done().len();
            open.plan(|plan| plan.crash_after = Some(before + step));
            let ended = open.journal.destroy().await;
            open.close().await;
            let again = fixture.open().await.unwrap();
            if !again.dropped && again.state.is_empty() {
                assert!(fixture.files("").is_empty(), "step {step}: nothing is left");
            } else if !again.dropped {
                assert_eq!(again.state, [b"kept until the Drop"]);
            }
            again.journal.destroy().await.unwrap();
            let refused = again.journal.append(Plaintext::from(&[1][..])).await;
            assert!(matches!(refused, Err(Error::Stopped { why: Stopped::Dropped, .. })));
            again.close().await;
            assert!(fixture.files("").is_empty(), "step {step}: {:?}", fixture.files(""));
            if ended.is_ok() {
                assert!(step > 3);
                break;
            }
        }
    });
}

#[test]
fn every_changed_byte_is_detected() {
    run(async {
        let fixture = FolderFixture::new(7);
        let mut open = fixture.open().await.unwrap();
        for i in 0..3u8 {
            open.append(&[i; 30]).await.unwrap();
        }
        open.checkpoint(2).await.unwrap();
        open.append(&[3; 30]).await.unwrap();
        open.close().await;
        let mut open = fixture.open().await.unwrap();
        for i in 4..7u8 {
            open.append(&[i; 30]).await.unwrap();
        }
        let state = open.state.clone();
        open.close().await;
        let logs = fixture.files("log");
        assert_eq!(logs.len(), 3);
        let mut errors = 0;
        for file in &logs {
            let good = fs::read(file).unwrap();
            let used = good.iter().rposition(|b| *b != 0).unwrap() + 1;
            let last_group = good.windows(4).rposition(|w| w == b"RFG0").unwrap_or(0);
            for at in (0..good.len()).filter(|at| *at < used || at % 509 == 0) {
                if at % 3 != 0 && at < last_group.saturating_sub(50) {
                    continue;
                }
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                fs::write(file, &bad).unwrap();
                let newest = file == logs.last().unwrap();
                match fixture.open().await {
                    Err(Error::Corrupt { .. }) => errors += 1,
                    Err(other) => panic!("{other:?}"),
                    Ok(open) if newest && (last_group..used).contains(&at) => assert_eq!(open.state, state[..6]),
                    Ok(open) => {
                        assert!(at >= used || (file == &logs[0] && at >= last_group), "byte {at} of {file:?}");
                        assert_eq!(open.state, state, "byte {at} of {file:?}");
                    }
                }
            }
            fs::write(file, &good).unwrap();
        }
        assert!(errors > 500, "{errors}");
        assert_eq!(fixture.open().await.unwrap().state, state);
    });
}

#[test]
fn lost_truncated_and_moved_files_are_detected() {
    run(async {
        let fixture = FolderFixture::new(8);
        for i in 0..3u8 {
            let mut open = fixture.open().await.unwrap();
            open.append(&[i; 30]).await.unwrap();
            open.append(&[i; 9_000]).await.unwrap();
            open.close().await;
        }
        let logs = fixture.files("log");
        let good: Vec<_> = logs.iter().map(|log| fs::read(log).unwrap()).collect();
        for (i, log) in logs.iter().enumerate() {
            for length in [0, 20, 300, 4_096, good[i].len() / 2] {
                fs::write(log, &good[i][..length]).unwrap();
                let found = fixture.open().await.map(|open| open.state.len());
                assert!(matches!(found, Err(Error::Corrupt { .. })), "{i} truncated to {length}: {found:?}");
            }
            fs::write(log, &good[(i + 1) % 3]).unwrap();
            assert!(matches!(fixture.open().await, Err(Error::Corrupt { .. })), "{i} replaced by another");
            if i < 2 {
                fs::remove_file(log).unwrap();
                assert!(matches!(fixture.open().await, Err(Error::Corrupt { .. })), "{i} is gone");
            }
            fs::write(log, &good[i]).unwrap();
        }
        assert_eq!(fixture.open().await.unwrap().state.len(), 6);
    });
}

/// Regression test: the first file of a process used to be started by a group or by the checkpoint, whichever came
/// first, under a number that the checkpoint had taken earlier. An older name could thus hold a newer checkpoint, and
/// the newest file named a checkpoint that was deleted.
#[test]
fn a_checkpoint_and_a_group_may_race_for_the_first_file() {
    run(async {
        let fixture = FolderFixture::new(77);
        let mut open = fixture.open().await.unwrap();
        open.append(b"first").await.unwrap();
        for round in 0..12_u8 {
            open.close().await;
            open = fixture.open().await.unwrap();
            let (body, covers) = (encode(&open.state), Seq(open.state.len() as u64));
            let entry = vec![round; 8];
            let (checkpointed, written) =
                tokio::join!(open.journal.checkpoint(&body, covers), open.journal.append(Plaintext::from(&entry[..])));
            checkpointed.unwrap();
            written.unwrap();
            open.state.push(entry);
        }
        let expected = open.state.clone();
        open.close().await;
        assert_eq!(fixture.open().await.unwrap().state, expected);
    });
}

#[test]
fn after_a_clean_shutdown_a_change_to_the_last_entry_is_detected() {
    run(async {
        let fixture = FolderFixture::new(78);
        let mut open = fixture.open().await.unwrap();
        open.append(b"the one before").await.unwrap();
        open.append(b"the last one").await.unwrap();
        let log = fixture.files("log").pop().unwrap();
        let bytes = fs::read(&log).unwrap();
        let end = bytes.iter().rposition(|b| *b != 0).unwrap();
        open.journal.close().await.unwrap();
        open.close().await;
        let mut bytes = fs::read(&log).unwrap();
        bytes[end] ^= 1;
        fs::write(&log, &bytes).unwrap();
        assert!(matches!(fixture.open().await, Err(Error::Corrupt { .. })));
        bytes[end] ^= 1;
        fs::write(&log, &bytes).unwrap();
        assert_eq!(fixture.open().await.unwrap().state.len(), 2);
    });
}

#[test]
fn a_full_disk_refuses_and_takes_writes_again() {
    run(async {
        let fixture = FolderFixture::new(9);
        let mut open = fixture.open().await.unwrap();
        open.append(b"before").await.unwrap();
        open.plan(|plan| plan.free_bytes = Some(5_000));
        let full = kernel::Error::from(open.append(&[1; 20_000]).await.unwrap_err());
        assert_eq!((full.code, full.outcome_unknown), (kernel::Code::StorageFull, false));
        assert_eq!(open.journal.failed(), None, "noticed before anything was written");
        let full = open.checkpoint(1).await.unwrap_err();
        assert!(matches!(full, Error::Full { .. }), "{full:?}");
        open.plan(|plan| plan.free_bytes = None);
        open.append(&[2; 20_000]).await.unwrap();
        open.checkpoint(1).await.unwrap();

        open.plan(|plan| plan.free_bytes = Some(30));
        let full = kernel::Error::from(open.append(b"torn by the full disk").await.unwrap_err());
        assert_eq!((full.code, full.outcome_unknown), (kernel::Code::StorageFull, false));
        assert_eq!(open.journal.failed(), Some(Stopped::Full));
        open.plan(|plan| plan.free_bytes = None);
        let refused = kernel::Error::from(open.append(b"not before it is opened again").await.unwrap_err());
        assert_eq!(refused.code, kernel::Code::StorageFull);
        let state = open.state.clone();
        open.close().await;
        let mut open = fixture.open().await.unwrap();
        assert_eq!(open.state, state);
        open.append(b"room again").await.unwrap();
        let state = open.state.clone();
        open.close().await;
        assert_eq!(fixture.open().await.unwrap().state, state);
    });
}

#[test]
fn a_failed_flush_is_never_repeated() {
    run(async {
        let fixture = FolderFixture::new(10);
        let mut open = fixture.open().await.unwrap();
        open.append(b"before").await.unwrap();
        open.plan(|plan| plan.fail_sync = true);
        let failed = kernel::Error::from(open.append(b"unknown").await.unwrap_err());
        assert_eq!((failed.code, failed.outcome_unknown), (kernel::Code::Internal, true));
        assert_eq!(open.journal.failed(), Some(Stopped::Sync));
        let steps = open.storage.faults().done().len();
        assert!(open.append(b"after").await.is_err());
        assert!(open.checkpoint(1).await.is_err());
        assert_eq!(open.storage.faults().done().len(), steps, "nothing touched the disk");
        open.close().await;
        let again = fixture.open().await.unwrap();
        assert!(again.state == [b"before".to_vec()] || again.state == [b"before".to_vec(), b"unknown".to_vec()]);
    });
}

#[test]
fn an_append_whose_caller_is_dropped_is_written_completely() {
    run(async {
        let fixture = FolderFixture::new(11);
        let open = fixture.open().await.unwrap();
        for i in 0..20u8 {
            let mut append = Box::pin(open.journal.append(Plaintext::from(&[i; 50][..])));
            assert!(futures::poll!(&mut append).is_pending());
            drop(append);
        }
        let never_polled = open.journal.append(Plaintext::from(&[99][..]));
        drop(never_polled);
        open.close().await;
        assert_eq!(fixture.open().await.unwrap().state, (0..20u8).map(|i| vec![i; 50]).collect::<Vec<_>>());
    });
}

#[test]
fn objects_open_only_under_their_own_name() {
    run(async {
        let fixture = FolderFixture::new(12);
        let mut open = fixture.open().await.unwrap();
        open.append(b"one").await.unwrap();
        let a = open.journal.put(ObjectKind::Segment, b"alpha").await.unwrap();
        let b = open.journal.put(ObjectKind::Segment, b"betaa").await.unwrap();
        assert_eq!(*open.journal.get(&a).await.unwrap(), *b"alpha");
        let mut encoded = Vec::new();
        a.encode(&mut encoded);
        let decode = |bytes| ObjectRef::decode(&mut ByteReader::new(bytes, "reference")).ok();
        assert_eq!(decode(&encoded[..]), Some(a.clone()));
        assert_eq!(decode(&encoded[..encoded.len() - 1]), None);

        let [at_a, at_b] = [&a, &b].map(|object| fixture.folder().join(object.name().to_string().replace('/', "-")));
        let sealed = fs::read(&at_a).unwrap();
        fs::copy(&at_b, &at_a).unwrap();
        assert!(matches!(open.journal.get(&a).await, Err(Error::Corrupt { .. })), "b's bytes under a's name");
        fs::write(&at_a, &sealed[..sealed.len() - 1]).unwrap();
        assert!(matches!(open.journal.get(&a).await, Err(Error::Corrupt { .. })), "truncated");
        fs::write(&at_a, &sealed).unwrap();
        assert_eq!(open.journal.sweep(&[]).await.unwrap(), 0, "this process put them");
        open.close().await;

        fs::write(fixture.folder().join(format!("seg-{:010}-{}.new", 1, b.uuid)), b"unfinished").unwrap();
        let open = fixture.open().await.unwrap();
        assert!(fixture.files("").iter().all(|file| file.extension().is_none()), "the unfinished file is gone");
        assert_eq!(open.journal.sweep(std::slice::from_ref(&a)).await.unwrap(), 1);
        assert_eq!(*open.journal.get(&a).await.unwrap(), *b"alpha");
        open.journal.delete(&a).await.unwrap();
        open.journal.delete(&a).await.unwrap();
        assert!(matches!(open.journal.get(&a).await, Err(Error::Corrupt { .. })));
    });
}

#[test]
fn nothing_plain_reaches_the_disk() {
    run(async {
        let fixture = FolderFixture::new(13);
        let mut open = fixture.open().await.unwrap();
        open.append(b"canary-in-the-log").await.unwrap();
        open.checkpoint(1).await.unwrap();
        open.journal.put(ObjectKind::Segment, b"canary-in-an-object").await.unwrap();
        open.close().await;
        let files = fixture.files("");
        assert!(files.len() >= 2);
        for file in files {
            let bytes = fs::read(&file).unwrap();
            assert!(!bytes.windows(6).any(|w| w == b"canary"), "{file:?}");
        }
    });
}

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Together(Vec<usize>),
    Checkpoint(usize),
    Reopen,
    Crash(usize, Option<u64>),
    Full(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3_000usize).prop_map(Op::Append),
        2 => proptest::collection::vec(0..2_000usize, 1..6).prop_map(Op::Together),
        2 => (0..100usize).prop_map(Op::Checkpoint),
        2 => Just(Op::Reopen),
        2 => ((1..12usize), any::<Option<u64>>()).prop_map(|(steps, mask)| Op::Crash(steps, mask)),
        1 => (0..9_000usize).prop_map(Op::Full),
    ]
}

/// Random work with crashes. `acknowledged` must be recovered; after it only entries without an answer may follow, in
/// any number but each of them whole.
async fn random_work(seed: u64, ops: Vec<Op>) {
    let fixture = FolderFixture::new(seed);
    let mut open = fixture.open().await.unwrap();
    for (i, op) in ops.into_iter().enumerate() {
        let body = |length: usize, j: usize| vec![(i * 7 + j) as u8; length];
        match op {
            Op::Append(length) => drop(open.append(&body(length, 0)).await),
            Op::Together(lengths) => {
                let bodies: Vec<_> = lengths.iter().enumerate().map(|(j, length)| body(*length, j)).collect();
                let appends = bodies.iter().map(|body| open.journal.append(Plaintext::from(&body[..])));
                let outcomes = futures::future::join_all(appends).await;
                for (outcome, body) in outcomes.into_iter().zip(bodies) {
                    let Ok(seq) = outcome else { continue };
                    open.state.push(body);
                    assert_eq!(seq.0, open.state.len() as u64);
                }
            }
            Op::Checkpoint(share) => {
                let covers = open.state.len() * share / 99;
                drop(open.checkpoint(covers).await);
            }
            Op::Reopen => open = reopen(&fixture, open).await,
            Op::Crash(steps, mask) => {
                let done = open.storage.faults().done().len();
                open.plan(|plan| (plan.crash_after, plan.torn) = (Some(done + steps), mask));
            }
            Op::Full(free_bytes) => open.plan(|plan| plan.free_bytes = Some(free_bytes)),
        }
    }
    reopen(&fixture, open).await.close().await;
}

async fn reopen(fixture: &FolderFixture, old: OpenJournal) -> OpenJournal {
    let acknowledged = old.state.clone();
    old.close().await;
    let new = fixture.open().await.unwrap();
    assert!(
        new.state.starts_with(&acknowledged),
        "acknowledged entries are there: {} of {}",
        new.state.len(),
        acknowledged.len()
    );
    for body in &new.state[acknowledged.len()..] {
        assert!(body.windows(2).all(|w| w[0] == w[1]), "an unacknowledged entry is whole");
    }
    new
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_work_with_crashes_recovers(seed in any::<u64>(), ops in proptest::collection::vec(op(), 1..40)) {
        run(random_work(seed, ops));
    }

    #[test]
    fn foreign_bytes_as_a_log_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        run(async {
            let fixture = FolderFixture::new(14);
            fs::create_dir_all(fixture.folder()).unwrap();
            fs::write(fixture.folder().join("log-0000000001-0000000000000001"), bytes).unwrap();
            assert!(matches!(fixture.open().await, Err(Error::Corrupt { .. })));
        });
    }
}
