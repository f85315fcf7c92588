//! Tenants open when somebody needs them, once for all who ask, and close again; what a key is
//! worth is known without that.

use super::{Site, name, new_key, tenant};
use crate::{NewKey, control::ControlEvent};
use access::{Manage, Search, TenantState, TokenKind, token};
use kernel::{Clock, Code, KeyId, NamespaceSettings, OsEntropy};
use std::{fs, time::Duration};
use vault::{Home, PlaceKind};

#[tokio::test]
async fn a_start_opens_no_tenant_and_a_stranger_opens_none_either() {
    let mut site = Site::new();
    let start = site.start().await;
    let (a, b) = (start.tenant("a").await, start.tenant("b").await);
    let (key, brief) =
        (start.key(&a).await, NewKey { expires_at: Some(super::now(&site).plus(SECOND)), ..new_key("e") });
    let (_, brief) = start.registry.create_key(&start.operator, &b, brief).await.unwrap();
    start.namespace(&key, "n").await;
    start.kill().await;

    site.clock.advance(SECOND * 2);
    let start = site.start_cold().await;
    assert_eq!(start.registry.stats().open, 0);
    let (_, unknown, _) = token::mint(TokenKind::Key, &OsEntropy);
    // The right public part with another secret, and a checksum that is right again.
    let wrong = same_id(&key);
    for stranger in [unknown.as_str(), &wrong, &brief, "rf_nonsense"] {
        assert_eq!(start.admit::<Search>(stranger, "n").await.err(), Some(Code::Unauthenticated));
    }
    assert_eq!(start.registry.stats().open, 0, "only a right secret opens anything");

    assert!(start.admit::<Search>(&key, "n").await.is_ok());
    assert_eq!(start.registry.stats().open, 1);
    let record =
        start.registry.namespace(start.registry.lives_after(&start.operator, None, usize::MAX)[0].1, &name("n"));
    assert_eq!(record.unwrap().settings, NamespaceSettings::default());
}

/// A token of the right form with the id of this one and another secret.
fn same_id(whole: &str) -> String {
    let mut text = String::from(&whole[..15]);
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
async fn all_who_ask_at_once_share_one_opening_and_one_who_goes_does_not_stop_it() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    start.kill().await;
    let start = site.start_cold().await;
    let incarnation = start.gate.recognise(Some(&key)).unwrap();
    {
        let mut gone = Box::pin(start.registry.prepare(incarnation));
        assert!(futures::poll!(gone.as_mut()).is_pending());
    }
    let inner = &start.registry.inner;
    let all = futures::future::join_all((0..32).map(|_| inner.open(incarnation))).await;
    let first = all[0].as_ref().unwrap();
    assert!(all.iter().all(|one| std::sync::Arc::ptr_eq(one.as_ref().unwrap(), first)));
    assert_eq!(start.registry.stats().open, 1);
}

#[tokio::test]
async fn idle_tenants_are_closed_for_memory_and_open_again_while_held_ones_stay() {
    let mut site = Site::new();
    let start = site.start().await;
    let (a, b) = (start.tenant("a").await, start.tenant("b").await);
    let (a_key, b_key) = (start.key(&a).await, start.key(&b).await);
    let before = start.namespace(&a_key, "n").await;
    let held = start.admit::<Manage>(&b_key, "n").await.unwrap();
    let home = {
        let grant = start.admit::<Manage>(&a_key, "n").await.unwrap();
        Home::enter(&grant, &*start.registry.directory()).unwrap()
    };
    start.registry.inner.seats.set_budget(0);
    start.registry.inner.seats.evict().await;
    let stats = start.registry.stats();
    assert_eq!((stats.open, stats.evictions), (1, 1), "the grant holds the other one");
    assert!(start.registry.put_namespace(&held, NamespaceSettings::default()).await.is_ok());
    assert_eq!(home.mac(b"x", &[]), home.mac(b"x", &[]), "who works in a namespace keeps its home");

    // Written and read on across the closing, by the same process and by the next.
    let after = start.admit::<Manage>(&a_key, "n").await.unwrap();
    assert_eq!(Home::enter(&after, &*start.registry.directory()).unwrap().uuid(), before.uuid);
    start.namespace(&a_key, "second").await;
    drop((after, held, home));
    for _ in 0..3 {
        start.registry.inner.seats.evict().await;
        assert_eq!(start.registry.stats().open, 0);
        assert!(start.admit::<Search>(&a_key, "second").await.is_ok());
        start.settled().await;
    }
    start.kill().await;
    let start = site.start().await;
    let grant = start.admit::<Search>(&a_key, "second").await.unwrap();
    assert!(Home::enter(&grant, &*start.registry.directory()).is_ok());
    assert_eq!(start.registry.namespace_count(grant.incarnation()), 2);
}

/// Each open directory that was written holds its log file open.
#[tokio::test]
async fn no_more_tenants_stay_open_than_files_allow() {
    let mut site = Site::new();
    let start = site.start().await;
    let mut keys = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let id = start.tenant(name).await;
        let key = start.key(&id).await;
        start.namespace(&key, "n").await;
        keys.push(key);
    }
    start.registry.bound_open(2);
    start.registry.inner.seats.evict().await;
    assert_eq!(start.registry.stats().open, 2);
    for key in &keys {
        assert!(start.admit::<Search>(key, "n").await.is_ok(), "a closed one opens again");
        start.settled().await;
        assert!(start.registry.stats().open <= 2, "the opening closes another");
    }
}

#[tokio::test]
async fn an_unopened_directory_is_tried_again_by_itself_later_and_later() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    let record = start.registry.inner.tenant_record(&id).unwrap();
    start.kill().await;
    let log = site.data().join("data").join(PlaceKind::Directory.prefix(record.directory.unwrap().uuid));
    let away = site.data().join("away");
    fs::rename(&log, &away).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(log.join("log-0000000001-0000000000000001"), b"no log").unwrap();

    let start = site.start_cold().await;
    let code = async || start.admit::<Search>(&key, "n").await.err();
    assert_eq!(code().await, Some(Code::KeyUnavailable));
    let view = start.registry.tenant(&start.operator, &id).await.unwrap();
    assert_eq!((view.state, start.registry.stats().unopened), (TenantState::KeyUnavailable, 1));
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    assert_eq!(code().await, Some(Code::KeyUnavailable), "not tried again at once");
    site.clock.advance(kernel::limits::REOPEN_WAIT_MIN);
    assert_eq!(code().await, None);
    assert_eq!(start.registry.tenant(&start.operator, &id).await.unwrap().state, TenantState::Active);

    let seat = start.registry.inner.seats.seat(view.incarnation);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let now = site.clock.monotonic();
        seat.fail(now, Code::Internal, String::new(), None);
        let waits = |s: u64| seat.ready(view.incarnation, now + SECOND * u32::try_from(s).unwrap()).is_err();
        pauses.push((1..=61).find(|s| !waits(*s)).unwrap());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
}

#[tokio::test]
async fn a_key_that_one_journal_alone_knows_opens_nothing_and_is_forgotten() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let (kept, lost) = (start.key(&id).await, start.key(&id).await);
    let inner = &start.registry.inner;
    let incarnation = start.gate.recognise(Some(&kept)).unwrap();
    let lost_id = token::parse(&lost).map(|t| t.id).unwrap();
    // A stop between the two writes of a revocation.
    inner.control.write(|_| Ok((Some(ControlEvent::KeysForgotten { ids: vec![lost_id.clone()] }), ()))).await.unwrap();
    assert_eq!(start.admit::<Search>(&lost, "n").await.err(), Some(Code::Unauthenticated), "revoked at once");
    // A stop between the two writes of a creation.
    let place = inner.control.read(|s| s.keys[&token::parse(&kept).unwrap().id].clone());
    let never_told = KeyId::parse("AAAAAAAAAAAA").unwrap();
    let filed = ControlEvent::KeyFiled { id: never_told.clone(), place };
    inner.control.write(|_| Ok((Some(filed), ()))).await.unwrap();
    start.kill().await;

    let start = site.start().await;
    let inner = &start.registry.inner;
    assert!(inner.control.read(|s| !s.keys.contains_key(&never_told) && s.keys_of(incarnation) == 1));
    let listed = start.registry.keys(&start.operator, &id, None, 10).await.unwrap().0;
    assert_eq!(listed.len(), 1);
    assert!(start.admit::<Search>(&kept, "n").await.is_ok());
    assert!(start.admit::<Search>(&lost, "n").await.is_err());
    assert!(inner.open(incarnation).await.unwrap().book().read(|s| !s.keys.contains_key(&lost_id)));
}

#[tokio::test]
async fn a_key_of_a_tenant_that_does_not_open_can_be_revoked() {
    let mut site = Site::new();
    let start = site.start().await;
    let (id, other) = (start.tenant("acme").await, start.tenant("other").await);
    let key = start.key(&id).await;
    let record = start.registry.inner.tenant_record(&id).unwrap();
    start.kill().await;
    let log = site.data().join("data").join(PlaceKind::Directory.prefix(record.directory.unwrap().uuid));
    let away = site.data().join("away");
    fs::rename(&log, &away).unwrap();
    fs::create_dir(&log).unwrap();
    fs::write(log.join("log-0000000001-0000000000000001"), b"no log").unwrap();
    let start = site.start_cold().await;
    let key_id = token::parse(&key).unwrap().id;
    assert_eq!(start.registry.revoke_key(&start.operator, &other, &key_id).await.err().unwrap().code, Code::NotFound);
    start.registry.revoke_key(&start.operator, &id, &key_id).await.unwrap();
    assert_eq!(start.admit::<Search>(&key, "n").await.err(), Some(Code::Unauthenticated));
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    start.registry.retry_closed().await;
    assert!(start.registry.keys(&start.operator, &id, None, 10).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn a_suspended_tenant_is_not_opened_by_its_keys_and_an_erased_ones_keys_are_unknown() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    let incarnation = start.gate.recognise(Some(&key)).unwrap();
    start.registry.suspend(&start.operator, &id).await.unwrap();
    start.kill().await;
    let start = site.start_cold().await;
    assert_eq!(start.admit::<Search>(&key, "n").await.err(), Some(Code::TenantSuspended));
    assert_eq!(start.registry.stats().open, 0);
    let directory = start.registry.directory();
    assert!(directory.audit(incarnation).await.is_ok(), "its refusals are written down all the same");
    let grant = start.gate.delegate(&start.operator, &tenant("acme")).unwrap();
    start.registry.erase(&grant).await.unwrap();
    assert!(start.gate.recognise(Some(&key)).is_none());
    assert!(directory.audit(incarnation).await.is_err());
    assert_eq!(start.registry.inner.control.read(|s| s.keys.len()), 0);
    assert!(start.registry.inner.open(incarnation).await.is_err());
}

const SECOND: Duration = Duration::from_secs(1);
