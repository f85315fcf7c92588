//! Share of sealing in the CPU time of storing.

use crate::{cpu_time, env, env::BenchEnv, upsert};
use kernel::{Incarnation, LogEpoch, NamespaceUuid, ObjectUuid, OsEntropy};
use std::{hint::black_box, path::Path, sync::Arc, time::Duration};
use vault::{Keyspace, KeyspaceKind, LocalProvider, ObjectKind, TenantKeys};

/// Documents of a request.
const AT_ONCE: usize = 500;
/// Repetitions, because sealing alone takes hundredths of a second, the unit in which CPU time is counted.
const TIMES: u32 = 10;
const OBJECT: ObjectUuid = ObjectUuid::from_bytes([4; 16]);

/// What was sealed.
struct SealedSizes {
    frames: usize,
    frame_bytes: usize,
    objects: usize,
    object_bytes: usize,
}

pub(crate) fn measure(runtime: &tokio::runtime::Runtime, folder: &Path, rows: usize) {
    std::fs::create_dir(folder).expect("a folder");
    let env = runtime.block_on(BenchEnv::new(folder, 1, 4 << 30, kernel::limits::ERASE_WITHIN));
    let batches: Vec<Vec<_>> = (0..rows)
        .step_by(AT_ONCE)
        .map(|first| (first..rows.min(first + AT_ONCE)).map(|n| upsert(&env, n)).collect())
        .collect();
    let frames = batches.len();
    let (whole, sealed) = runtime.block_on(async {
        let handle = env.enter(0).await;
        let (before, used) = (env.stores.stats(), cpu_time());
        let mut first = None;
        for batch in batches {
            env::write(&handle, batch).await;
            // Nothing is flushed yet, so what was written is one frame.
            first.get_or_insert_with(|| env.stores.stats().bytes_written - before.bytes_written);
        }
        drop(handle);
        env.wait_idle().await;
        env.stores.flush_all().await.expect("it flushes");
        env.wait_idle().await;
        let whole = cpu_time() - used;
        let after = env.stores.stats();
        let frame_bytes = first.unwrap_or_default() as usize;
        let written = (after.bytes_written - before.bytes_written) as usize;
        let objects = (after.flushes + after.compactions - before.flushes - before.compactions).max(1) as usize;
        let object_bytes = written.saturating_sub(frames * frame_bytes) / objects;
        (whole, SealedSizes { frames, frame_bytes, objects, object_bytes })
    });
    let used = cpu_time();
    (0..TIMES).for_each(|_| alone(&sealed));
    let alone = (cpu_time() - used) / TIMES;
    println!(
        "{rows} documents stored: {:.2} s of CPU; {} frames of {:.2} MB and {} objects of {:.2} MB sealed alone: {:.3} s; \
         share {:.3}",
        whole.as_secs_f64(),
        sealed.frames,
        sealed.frame_bytes as f64 / 1e6,
        sealed.objects,
        sealed.object_bytes as f64 / 1e6,
        alone.as_secs_f64(),
        share(alone, whole),
    );
}

/// Seals as many bytes in as many pieces. Objects are sealed in two parts; about a quarter of each belongs to the part
/// that is opened in full.
fn alone(sealed: &SealedSizes) {
    let provider = LocalProvider::from_env_value(&"7".repeat(64), Arc::new(OsEntropy)).expect("a root key");
    let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&OsEntropy), &OsEntropy).expect("keys");
    let uuid = NamespaceUuid::random(&OsEntropy);
    let (keyspace, _) = Keyspace::create(&keys, KeyspaceKind::Namespace, uuid, &OsEntropy).expect("a keyspace");
    let plain = vec![7; sealed.frame_bytes.max(sealed.object_bytes)];
    let (_, mut sealer) = keyspace.start_log(OBJECT, LogEpoch(1), &OsEntropy).expect("a log");
    for seq in 0..sealed.frames as u64 {
        black_box(sealer.seal(seq, &plain[..sealed.frame_bytes], &OsEntropy).expect("a frame"));
    }
    let object = &plain[..sealed.object_bytes];
    for _ in 0..sealed.objects {
        let made = keyspace.seal_split(ObjectKind::Segment, OBJECT, object, object.len() / 4, &OsEntropy);
        black_box(made.expect("it is sealed"));
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}
