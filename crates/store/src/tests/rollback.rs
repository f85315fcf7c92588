//! Files that were put back: what the audit has recorded since then is not in them.

use super::fixture::{ACCEPTED, Draft, NAMESPACES, ROOMY, World, copied};
use access::{Ingest, Search};
use kernel::{Audience, AuditMark, Code, CommitNo};
use std::{collections::HashMap, sync::atomic::Ordering};

const AT: (&str, &str) = NAMESPACES[0];

async fn write(world: &World, name: &'static str) -> Result<CommitNo, kernel::Error> {
    let room = world.try_enter::<Ingest>(AT).await?;
    let line = name.as_bytes().to_vec();
    Ok(room
        .append(vec![Draft::new(name, "some text").upsert()], &Audience::Everything, Box::new(move |_| line))
        .await?
        .commit)
}

/// A world whose files are those of three commits ago, with one more behind a checkpoint or not.
async fn put_back(flushed: bool) -> World {
    let world = World::new(ROOMY).await;
    for name in ["a", "b"] {
        write(&world, name).await.unwrap();
    }
    if flushed {
        world.stores.flush_all().await.unwrap();
    }
    write(&world, "c").await.unwrap();
    world.settle().await;
    let before = copied(world.folder.path());
    for name in ["d", "e", "f"] {
        write(&world, name).await.unwrap();
    }
    world.settle().await;
    world.over(before).await
}

#[tokio::test]
async fn a_namespace_that_is_behind_its_audit_is_refused_until_an_operator_takes_it() {
    for flushed in [false, true] {
        let world = put_back(flushed).await;
        let refused = |error: &kernel::Error| {
            error.code == Code::RolledBack
                && error.message.contains("commit is 3")
                && error.message.contains("commit 6")
        };
        for _ in 0..2 {
            assert!(world.try_enter::<Search>(AT).await.err().is_some_and(|e| refused(&e)), "flushed: {flushed}");
            assert!(write(&world, "g").await.is_err_and(|e| refused(&e)));
        }
        assert_eq!(*world.chain.alarms.lock().unwrap(), [(CommitNo(6), CommitNo(3))]);
        assert!(world.try_enter::<Search>(NAMESPACES[1]).await.is_ok(), "others are served");

        let settings = super::fixture::settings(super::fixture::DIMENSIONS);
        assert!(world.stores.accept_rollback(world.home(AT), &settings, ACCEPTED.to_vec()).await.unwrap());
        assert!(!world.stores.accept_rollback(world.home(AT), &settings, ACCEPTED.to_vec()).await.unwrap());
        // Its commits have numbers that were taken, and each has a line all the same.
        world.chain.lines.lock().unwrap().clear();
        assert_eq!(write(&world, "g").await.unwrap(), CommitNo(4));
        world.settle().await;
        let lines = world.chain.lines.lock().unwrap().clone();
        let line = lines.iter().find(|((_, commit), _)| *commit == CommitNo(4)).map(|(_, line)| line.clone());
        assert_eq!(line.as_deref(), Some(&b"g"[..]), "flushed: {flushed}");
        let again = world.killed().await;
        assert!(again.try_enter::<Search>(AT).await.is_ok(), "and so it stays");
    }
}

/// Not older, but another history: it went on from an older copy.
#[tokio::test]
async fn a_namespace_that_went_another_way_is_refused() {
    let world = put_back(true).await;
    let marks = std::mem::take(&mut *world.chain.marks.lock().unwrap());
    world.chain.lines.lock().unwrap().clear();
    for name in ["x", "y", "z", "more"] {
        write(&world, name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    world.settle().await;
    *world.chain.marks.lock().unwrap() = marks;
    let again = world.killed().await;
    assert_eq!(again.try_enter::<Search>(AT).await.err().map(|e| e.code), Some(Code::RolledBack));
    assert_eq!(*world.chain.alarms.lock().unwrap(), [(CommitNo(6), CommitNo(7))]);
}

/// While the audit cannot be read the namespace can; before its first write it is asked again.
#[tokio::test]
async fn what_cannot_be_compared_is_read_and_not_written() {
    let world = put_back(false).await;
    world.chain.refuses.store(true, Ordering::SeqCst);
    assert!(world.try_enter::<Search>(AT).await.is_ok());
    assert_eq!(write(&world, "g").await.unwrap_err().code, Code::Internal);
    world.chain.refuses.store(false, Ordering::SeqCst);
    assert_eq!(write(&world, "g").await.unwrap_err().code, Code::RolledBack);
    world.settle().await;
    assert_eq!(write(&world, "g").await.unwrap_err().code, Code::RolledBack, "and nothing of it was written");
}

/// What a crash hands over again is the same, and no alarm.
#[tokio::test]
async fn a_crash_before_the_audit_has_the_lines_is_no_rollback() {
    let world = World::new(ROOMY).await;
    write(&world, "a").await.unwrap();
    world.settle().await;
    let recorded: HashMap<_, AuditMark> = world.chain.marks.lock().unwrap().clone();
    for name in ["b", "c"] {
        write(&world, name).await.unwrap();
    }
    world.settle().await;
    *world.chain.marks.lock().unwrap() = recorded;
    let again = world.killed().await;
    assert_eq!(again.enter::<Search>(AT).await.totals().documents, 3);
    again.settle().await;
    assert!(world.chain.alarms.lock().unwrap().is_empty());
    assert_eq!(
        world.chain.marks.lock().unwrap().values().map(|m| (m.commit, m.documents)).collect::<Vec<_>>(),
        [(CommitNo(3), 3)]
    );
    assert_eq!(again.stores.tenant_totals(again.home(AT).incarnation().unwrap()).documents, 3);
}
