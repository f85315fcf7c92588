//! Tenants open on their first request, once for all requests at the same time, and close again. Credentials are
//! checked without that.

use super::{DataFolder, name, new_key, tenant};
use crate::{NewApiKey, control::ControlEvent, tenant_table::TenantFailure};
use access::{Manage, Search, TenantState, TokenKind, token};
use kernel::{Clock, Code, KeyId, NamespaceSettings, OsEntropy, limits};
use std::{fs, time::Duration};
use vault::{Keyspace, KeyspaceKind};

#[tokio::test]
async fn neither_a_start_nor_an_invalid_credential_opens_a_tenant() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let (a, b) = (server.tenant("a").await, server.tenant("b").await);
    let (key, short_lived) =
        (server.key(&a).await, NewApiKey { expires_at: Some(super::now(&data_folder).plus(SECOND)), ..new_key("e") });
    let (_, short_lived) = server.registry.create_key(&server.operator, &b, short_lived).await.unwrap();
    server.namespace(&key, "n").await;
    server.kill().await;

    data_folder.clock.advance(SECOND * 2);
    let server = data_folder.start_cold().await;
    assert_eq!(server.registry.stats().open, 0);
    let (_, unknown, _) = token::mint(TokenKind::Key, &OsEntropy);
    // This has the right public part, another secret, and a valid checksum.
    let wrong = same_id(&key);
    for stranger in [unknown.as_str(), &wrong, &short_lived, "rf_nonsense"] {
        assert_eq!(server.admit::<Search>(stranger, "n").await.err(), Some(Code::Unauthenticated));
    }
    assert_eq!(server.registry.stats().open, 0, "only a right secret opens anything");

    assert!(server.admit::<Search>(&key, "n").await.is_ok());
    assert_eq!(server.registry.stats().open, 1);
    let record = server
        .registry
        .namespace(server.registry.incarnations_after(&server.operator, None, usize::MAX)[0].1, &name("n"));
    assert_eq!(record.unwrap().settings, NamespaceSettings::default());
}

/// Makes a well-formed token with the same id and another secret.
fn same_id(token_text: &str) -> String {
    let mut text = String::from(&token_text[..15]);
    let (_, other, _) = token::mint(TokenKind::Key, &OsEntropy);
    text.push_str(&other[15..47]);
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let (mut crc, mut check) = (!crc, [0; 6]);
    for digit in check.iter_mut().rev() {
        *digit = digits[(crc % 62) as usize];
        crc /= 62;
    }
    text.push_str(std::str::from_utf8(&check).unwrap());
    assert!(token::parse(&text).is_ok());
    text
}

#[tokio::test]
async fn concurrent_requests_share_one_opening_and_a_dropped_one_does_not_stop_it() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    server.kill().await;
    let server = data_folder.start_cold().await;
    let incarnation = server.gate.recognise(Some(&key)).unwrap();
    {
        let mut gone = Box::pin(server.registry.prepare(incarnation));
        assert!(futures::poll!(gone.as_mut()).is_pending());
    }
    let inner = &server.registry.inner;
    let all = futures::future::join_all((0..32).map(|_| inner.open(incarnation))).await;
    let first = all[0].as_ref().unwrap();
    assert!(all.iter().all(|one| std::ptr::eq(&raw const **one.as_ref().unwrap(), &raw const **first)));
    assert_eq!(server.registry.stats().open, 1);
}

#[tokio::test]
async fn idle_tenants_are_closed_for_memory_and_open_again_while_held_ones_stay() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let (a, b) = (server.tenant("a").await, server.tenant("b").await);
    let (a_key, b_key) = (server.key(&a).await, server.key(&b).await);
    let before = server.namespace(&a_key, "n").await;
    let held = server.admit::<Manage>(&b_key, "n").await.unwrap();
    let keyspace = {
        let grant = server.admit::<Manage>(&a_key, "n").await.unwrap();
        Keyspace::enter(&grant, &*server.registry.directory()).unwrap()
    };
    server.registry.inner.tenants.set_limits(limits::TENANTS_OPEN_MAX, 0);
    server.registry.inner.tenants.evict().await;
    let stats = server.registry.stats();
    assert_eq!((stats.open, stats.evictions), (1, 1), "the grant holds the other one");
    assert!(server.registry.put_namespace(&held, NamespaceSettings::default()).await.is_ok());
    assert_eq!(keyspace.mac(b"x", &[]), keyspace.mac(b"x", &[]), "a task in a namespace keeps its keyspace");

    // Writes and reads continue after a tenant was closed, in the same process and in the next.
    let after = server.admit::<Manage>(&a_key, "n").await.unwrap();
    assert_eq!(Keyspace::enter(&after, &*server.registry.directory()).unwrap().uuid(), before.uuid);
    server.namespace(&a_key, "second").await;
    drop((after, held, keyspace));
    for _ in 0..3 {
        server.registry.inner.tenants.evict().await;
        assert_eq!(server.registry.stats().open, 0);
        assert!(server.admit::<Search>(&a_key, "second").await.is_ok());
        server.wait_for_background().await;
    }
    server.kill().await;
    let server = data_folder.start().await;
    let grant = server.admit::<Search>(&a_key, "second").await.unwrap();
    assert!(Keyspace::enter(&grant, &*server.registry.directory()).is_ok());
    assert_eq!(server.registry.namespace_count(grant.incarnation()), 2);
}

/// Each open directory that was written to keeps its log file open.
#[tokio::test]
async fn no_more_tenants_stay_open_than_files_allow() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let mut keys = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let id = server.tenant(name).await;
        let key = server.key(&id).await;
        server.namespace(&key, "n").await;
        keys.push(key);
    }
    server.registry.bound_open(2);
    server.registry.inner.tenants.evict().await;
    assert_eq!(server.registry.stats().open, 2);
    for key in &keys {
        assert!(server.admit::<Search>(key, "n").await.is_ok(), "a closed one opens again");
        server.wait_for_background().await;
        assert!(server.registry.stats().open <= 2, "the opening closes another");
    }
}

#[tokio::test]
async fn an_unopened_directory_is_retried_with_growing_pauses() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    let record = server.registry.inner.tenant_record(&id).unwrap();
    server.kill().await;
    let log = data_folder.data().join("data").join(KeyspaceKind::Directory.prefix(record.directory.unwrap().uuid));
    let away = data_folder.data().join("away");
    fs::rename(&log, &away).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(log.join("log-0000000001-0000000000000001"), b"no log").unwrap();

    let server = data_folder.start_cold().await;
    let code = async || server.admit::<Search>(&key, "n").await.err();
    assert_eq!(code().await, Some(Code::KeyUnavailable));
    let view = server.registry.tenant(&server.operator, &id).await.unwrap();
    assert_eq!((view.state, server.registry.stats().unopened), (TenantState::KeyUnavailable, 1));
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    assert_eq!(code().await, Some(Code::KeyUnavailable), "not tried again at once");
    data_folder.clock.advance(kernel::limits::REOPEN_WAIT_MIN);
    assert_eq!(code().await, None);
    assert_eq!(server.registry.tenant(&server.operator, &id).await.unwrap().state, TenantState::Active);

    // From here on every attempt fails.
    assert!(server.registry.inner.tenants.close_unused(&view.incarnation).await);
    fs::remove_dir_all(&log).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(log.join("log-0000000001-0000000000000001"), b"no log").unwrap();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(code().await, Some(Code::KeyUnavailable));
        let failed = server.registry.inner.tenants.failed(&view.incarnation).unwrap();
        let pause = failed.retry_at - data_folder.clock.monotonic();
        pauses.push(pause.as_secs());
        data_folder.clock.advance(pause);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[tokio::test]
async fn an_opening_that_fails_after_it_was_published_leaves_no_second_writer() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    server.namespace(&key, "n").await;
    let incarnation = server.gate.recognise(Some(&key)).unwrap();
    let inner = &server.registry.inner;
    let held = inner.open(incarnation).await.unwrap();
    // The record is read again after the tenant was published, and its keys may fail then.
    let failure = TenantFailure::Unopened { code: Code::KeyUnavailable, why: String::new(), trouble: None };
    assert!(inner.tenants.withdraw(&incarnation, held.clone(), failure).await);
    assert!(held.write(|_| Ok((None, ()))).await.is_err(), "the request that holds it writes no more");
    data_folder.clock.advance(kernel::limits::REOPEN_WAIT_MIN);
    let refused = server.admit::<Search>(&key, "n").await.err();
    assert_eq!(refused, Some(Code::KeyUnavailable), "not opened while that request holds it");
    drop(held);
    data_folder.clock.advance(kernel::limits::KEY_REOPEN_WAIT_MAX);
    assert!(server.admit::<Search>(&key, "n").await.is_ok());
}

#[tokio::test]
async fn a_key_that_only_one_journal_has_is_refused_and_removed() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let (kept, lost) = (server.key(&id).await, server.key(&id).await);
    let inner = &server.registry.inner;
    let incarnation = server.gate.recognise(Some(&kept)).unwrap();
    let lost_id = token::parse(&lost).map(|t| t.id).unwrap();
    // This is a stop between the two writes of a revocation.
    inner
        .control
        .write(|_| Ok((Some(ControlEvent::KeysUnregistered { ids: vec![lost_id.clone()] }), ())))
        .await
        .unwrap();
    assert_eq!(server.admit::<Search>(&lost, "n").await.err(), Some(Code::Unauthenticated), "revoked at once");
    // This is a stop between the two writes of a creation.
    let key = inner.control.read(|s| s.keys[&token::parse(&kept).unwrap().id].clone());
    let never_returned = KeyId::parse("AAAAAAAAAAAA").unwrap();
    let registered = ControlEvent::KeyRegistered { id: never_returned.clone(), key };
    inner.control.write(|_| Ok((Some(registered), ()))).await.unwrap();
    server.kill().await;

    let server = data_folder.start().await;
    let inner = &server.registry.inner;
    assert!(inner.control.read(|s| !s.keys.contains_key(&never_returned) && s.keys_of(incarnation) == 1));
    let listed = server.registry.keys(&server.operator, &id, None, 10).await.unwrap().0;
    assert_eq!(listed.len(), 1);
    assert!(server.admit::<Search>(&kept, "n").await.is_ok());
    assert!(server.admit::<Search>(&lost, "n").await.is_err());
    assert!(inner.open(incarnation).await.unwrap().directory().read(|s| !s.keys.contains_key(&lost_id)));
}

#[tokio::test]
async fn a_key_of_a_tenant_that_does_not_open_can_be_revoked() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let (id, other) = (server.tenant("acme").await, server.tenant("other").await);
    let key = server.key(&id).await;
    let record = server.registry.inner.tenant_record(&id).unwrap();
    server.kill().await;
    let log = data_folder.data().join("data").join(KeyspaceKind::Directory.prefix(record.directory.unwrap().uuid));
    let away = data_folder.data().join("away");
    fs::rename(&log, &away).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(log.join("log-0000000001-0000000000000001"), b"no log").unwrap();
    let server = data_folder.start_cold().await;
    let key_id = token::parse(&key).unwrap().id;
    assert_eq!(server.registry.revoke_key(&server.operator, &other, &key_id).await.err().unwrap().code, Code::NotFound);
    server.registry.revoke_key(&server.operator, &id, &key_id).await.unwrap();
    assert_eq!(server.admit::<Search>(&key, "n").await.err(), Some(Code::Unauthenticated));
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    server.registry.retry_unopened().await;
    assert!(server.registry.keys(&server.operator, &id, None, 10).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn a_suspended_tenant_is_not_opened_by_its_keys_and_an_erased_ones_keys_are_unknown() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    let incarnation = server.gate.recognise(Some(&key)).unwrap();
    server.registry.suspend(&server.operator, &id).await.unwrap();
    server.kill().await;
    let server = data_folder.start_cold().await;
    assert_eq!(server.admit::<Search>(&key, "n").await.err(), Some(Code::TenantSuspended));
    assert_eq!(server.registry.stats().open, 0);
    let directory = server.registry.directory();
    assert!(directory.audit(incarnation).await.is_ok(), "its refusals are still recorded");
    let grant = server.gate.delegate(&server.operator, &tenant("acme")).unwrap();
    server.registry.erase(&grant).await.unwrap();
    assert!(server.gate.recognise(Some(&key)).is_none());
    assert!(directory.audit(incarnation).await.is_err());
    assert_eq!(server.registry.inner.control.read(|s| s.keys.len()), 0);
    assert!(server.registry.inner.open(incarnation).await.is_err());
}

const SECOND: Duration = Duration::from_secs(1);
