use super::*;
use crate::{Journal, Recovered, Storage};
use kernel::{ManualClock, Timestamp};
use std::{collections::BTreeMap, fs, path::Path};
use testkit::Rng;

#[global_allocator]
static ALLOCATOR: testkit::Largest = testkit::Largest;

#[test]
fn no_bytes_break_a_decoder() {
    assert!(slots().iter().all(|seed| LogSlot::decode(seed).is_ok()), "the seeds are records");
    testkit::fuzz(TARGETS);
}

/// Files of a keyspace, by their names inside it.
type Files = BTreeMap<String, Vec<u8>>;

fn files(root: &Path) -> Files {
    let folder = root.join(keyspace().prefix());
    let mut found = Files::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

async fn recover(root: &Path) -> Result<(Storage, Journal, Recovered), crate::Error> {
    let storage = Storage::open(root).await?;
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1)));
    let (journal, recovered) =
        Journal::recover(&storage, keyspace().clone(), clock, Arc::new(SeededEntropy::new(9))).await?;
    Ok((storage, journal, recovered))
}

fn body(n: u64) -> Vec<u8> {
    vec![n as u8; 20 + n as usize * 7]
}

/// Files after three openings of a keyspace that wrote entries, a checkpoint, and entries after it.
async fn written() -> Files {
    let dir = tempfile::tempdir().unwrap();
    for opening in 0..3u64 {
        let (storage, journal, _) = recover(dir.path()).await.unwrap();
        for n in 1..=4 {
            journal.append(Plaintext::from(&body(opening * 4 + n)[..])).await.unwrap();
        }
        if opening == 1 {
            journal.checkpoint(&8u64.to_le_bytes(), journal.last()).await.unwrap();
        }
        drop(journal);
        storage.close().await;
    }
    files(dir.path())
}

/// Changes one file, or removes, replaces or copies one.
fn damage(rng: &Rng, files: &mut Files) {
    let names: Vec<String> = files.keys().cloned().collect();
    let (one, other) = (rng.pick(&names).clone(), rng.pick(&names).clone());
    match rng.below(6) {
        0 => drop(files.remove(&one)),
        1 => drop(files.insert(one, files[&other].clone())),
        2 => drop(files.insert(one.replace("-0", "-1"), files[&other].clone())),
        _ => {
            let changed = testkit::mutated(rng, &[files[&one].clone()]);
            files.insert(one, changed);
        }
    }
}

/// Recovery yields a prefix of what was written, or an error: never a different entry, a gap or a panic.
#[tokio::test]
async fn a_damaged_folder_opens_to_a_prefix_or_not_at_all() {
    let good = written().await;
    let mut opened = 0;
    let cases = testkit::fuzz_cases().div_ceil(8);
    for case in 0..cases {
        let mut files = good.clone();
        damage(&Rng::new(case), &mut files);
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            let path = dir.path().join(keyspace().prefix()).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        // Opening the storage writes the format marker, which a folder with a keyspace always has.
        let Ok((_storage, journal, recovered)) = recover(dir.path()).await else { continue };
        opened += 1;
        let mut next = match &recovered.checkpoint {
            Some(covered) => u64::from_le_bytes(covered[..].try_into().unwrap()) + 1,
            None => 1,
        };
        for (seq, entry) in &recovered.entries {
            assert_eq!((seq.0, &**entry), (next, &body(next)[..]), "case {case}");
            next += 1;
        }
        assert_eq!(journal.last().0 + 1, next, "case {case}");
    }
    assert!(opened > 0 && opened < cases, "{opened} of {cases} opened");
}
