//! Files restored from an older copy: they lack what the audit log has recorded since then.

use super::fixture::{ACCEPTED, Draft, NAMESPACES, TestEnv, UNLIMITED, copied};
use access::{Ingest, Search};
use kernel::{Audience, AuditPosition, Code, CommitNo};
use std::{collections::HashMap, sync::atomic::Ordering};

const NAMESPACE: (&str, &str) = NAMESPACES[0];

async fn write(env: &TestEnv, name: &'static str) -> Result<CommitNo, kernel::Error> {
    let handle = env.try_enter::<Ingest>(NAMESPACE).await?;
    let line = name.as_bytes().to_vec();
    Ok(handle
        .append(vec![Draft::new(name, "some text").upsert()], &Audience::Everything, Box::new(move |_| line))
        .await?
        .commit)
}

/// An environment with the files of three commits ago, whose last commit follows a checkpoint if `flushed`.
async fn restored_env(flushed: bool) -> TestEnv {
    let env = TestEnv::new(UNLIMITED).await;
    for name in ["a", "b"] {
        write(&env, name).await.unwrap();
    }
    if flushed {
        env.stores.flush_all().await.unwrap();
    }
    write(&env, "c").await.unwrap();
    env.wait_idle().await;
    let before = copied(env.folder.path());
    for name in ["d", "e", "f"] {
        write(&env, name).await.unwrap();
    }
    env.wait_idle().await;
    env.over(before).await
}

#[tokio::test]
async fn a_namespace_older_than_its_audit_is_refused_until_an_operator_accepts_it() {
    for flushed in [false, true] {
        let env = restored_env(flushed).await;
        let refused = |error: &kernel::Error| {
            error.code == Code::RolledBack
                && error.message.contains("commit is 3")
                && error.message.contains("commit 6")
        };
        for _ in 0..2 {
            assert!(env.try_enter::<Search>(NAMESPACE).await.err().is_some_and(|e| refused(&e)), "flushed: {flushed}");
            assert!(write(&env, "g").await.is_err_and(|e| refused(&e)));
        }
        assert_eq!(*env.audit.alarms.lock().unwrap(), [(CommitNo(6), CommitNo(3))]);
        assert!(env.try_enter::<Search>(NAMESPACES[1]).await.is_ok(), "others are served");

        let settings = super::fixture::settings(super::fixture::DIMENSIONS);
        assert!(env.stores.accept_rollback(env.keyspace(NAMESPACE), &settings, ACCEPTED.to_vec()).await.unwrap());
        assert!(!env.stores.accept_rollback(env.keyspace(NAMESPACE), &settings, ACCEPTED.to_vec()).await.unwrap());
        // Its commits reuse numbers, and each has an audit record nevertheless.
        env.audit.lines.lock().unwrap().clear();
        assert_eq!(write(&env, "g").await.unwrap(), CommitNo(4));
        env.wait_idle().await;
        let lines = env.audit.lines.lock().unwrap().clone();
        let line = lines.iter().find(|((_, commit), _)| *commit == CommitNo(4)).map(|(_, line)| line.clone());
        assert_eq!(line.as_deref(), Some(&b"g"[..]), "flushed: {flushed}");
        let again = env.crashed().await;
        assert!(again.try_enter::<Search>(NAMESPACE).await.is_ok(), "and so it stays");
    }
}

/// Not older but a different history: it continued from an older copy.
#[tokio::test]
async fn a_namespace_with_another_history_is_refused() {
    let env = restored_env(true).await;
    let marks = std::mem::take(&mut *env.audit.marks.lock().unwrap());
    env.audit.lines.lock().unwrap().clear();
    for name in ["x", "y", "z", "more"] {
        write(&env, name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    env.wait_idle().await;
    *env.audit.marks.lock().unwrap() = marks;
    let again = env.crashed().await;
    assert_eq!(again.try_enter::<Search>(NAMESPACE).await.err().map(|e| e.code), Some(Code::RolledBack));
    assert_eq!(*env.audit.alarms.lock().unwrap(), [(CommitNo(6), CommitNo(7))]);
}

/// While the audit log cannot be read the namespace can; it is compared before its first write.
#[tokio::test]
async fn a_namespace_that_cannot_be_compared_is_readable_but_not_writable() {
    let env = restored_env(false).await;
    env.audit.refuses.store(true, Ordering::SeqCst);
    assert!(env.try_enter::<Search>(NAMESPACE).await.is_ok());
    assert_eq!(write(&env, "g").await.unwrap_err().code, Code::Internal);
    env.audit.refuses.store(false, Ordering::SeqCst);
    assert_eq!(write(&env, "g").await.unwrap_err().code, Code::RolledBack);
    env.wait_idle().await;
    assert_eq!(write(&env, "g").await.unwrap_err().code, Code::RolledBack, "and nothing of it was written");
}

/// Records that are delivered again after a crash are the same and raise no alarm.
#[tokio::test]
async fn a_crash_before_the_audit_has_the_records_is_no_rollback() {
    let env = TestEnv::new(UNLIMITED).await;
    write(&env, "a").await.unwrap();
    env.wait_idle().await;
    let recorded: HashMap<_, AuditPosition> = env.audit.marks.lock().unwrap().clone();
    for name in ["b", "c"] {
        write(&env, name).await.unwrap();
    }
    env.wait_idle().await;
    *env.audit.marks.lock().unwrap() = recorded;
    let again = env.crashed().await;
    assert_eq!(again.enter::<Search>(NAMESPACE).await.totals().documents, 3);
    again.wait_idle().await;
    assert!(env.audit.alarms.lock().unwrap().is_empty());
    assert_eq!(
        env.audit.marks.lock().unwrap().values().map(|m| (m.commit, m.documents)).collect::<Vec<_>>(),
        [(CommitNo(3), 3)]
    );
    assert_eq!(again.stores.tenant_totals(again.keyspace(NAMESPACE).incarnation().unwrap()).documents, 3);
}
