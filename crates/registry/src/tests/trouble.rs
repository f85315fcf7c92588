//! A wrong root key, a damaged directory, a suspended tenant: errors are clear and affect only what they must.

use super::{DataFolder, ask};
use access::{Erase, Manage, Search, TenantState};
use kernel::Code;
use std::{fs, path::PathBuf};
use vault::{Keyspace, KeyspaceKind};

#[tokio::test]
async fn another_root_key_is_refused_and_changes_nothing() {
    let mut data_folder = DataFolder::new();
    data_folder.start().await.kill().await;
    let right = std::mem::replace(&mut data_folder.root, "77".repeat(32));
    let (storage, opened) = data_folder.open(None).await;
    assert_eq!(opened.err().unwrap().code, Code::KeyUnavailable);
    storage.close().await;
    drop(storage);
    data_folder.root = right;
    data_folder.start().await;
}

/// Returns every file in a folder.
fn logs(folder: PathBuf) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(logs(path)) } else { out.push(path) }
    }
    out
}

#[tokio::test]
async fn a_directory_that_does_not_open_closes_only_its_tenant() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let (bad, good) = (server.tenant("bad").await, server.tenant("good").await);
    let (bad_key, good_key) = (server.key(&bad).await, server.key(&good).await);
    server.namespace(&bad_key, "n").await;
    server.namespace(&good_key, "n").await;
    let prefix =
        KeyspaceKind::Directory.prefix(server.registry.inner.tenant_record(&bad).unwrap().directory.unwrap().uuid);
    server.kill().await;

    let folder = data_folder.data().join("data").join(prefix);
    let mut kept = Vec::new();
    for file in logs(folder.clone()) {
        let bytes = fs::read(&file).unwrap();
        let mut torn = bytes.clone();
        torn[40] ^= 1;
        fs::write(&file, torn).unwrap();
        kept.push((file, bytes));
    }
    let server = data_folder.start().await;
    assert_eq!(server.registry.tenant(&server.operator, &bad).await.unwrap().state, TenantState::KeyUnavailable);
    assert_eq!(server.admit::<Search>(&bad_key, "n").await.err(), Some(Code::KeyUnavailable), "423, not 401");
    assert!(server.registry.keys(&server.operator, &bad, None, 10).await.is_err());
    assert!(Keyspace::enter(&server.grant::<Search>(&good_key, "n"), &*server.registry.directory()).is_ok());
    assert_eq!(server.registry.retry_unopened().await, 1);

    for (file, bytes) in kept {
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(server.registry.retry_unopened().await, 0);
    assert!(Keyspace::enter(&server.grant::<Search>(&bad_key, "n"), &*server.registry.directory()).is_ok());
}

#[tokio::test]
async fn a_tenant_whose_directory_is_damaged_can_be_erased() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let bad = server.tenant("bad").await;
    server.key(&bad).await;
    let prefix =
        KeyspaceKind::Directory.prefix(server.registry.inner.tenant_record(&bad).unwrap().directory.unwrap().uuid);
    server.kill().await;
    let folder = data_folder.data().join("data").join(prefix);
    for file in logs(folder.clone()) {
        fs::write(file, b"not a valid log").unwrap();
    }
    let server = data_folder.start().await;
    server.registry.suspend(&server.operator, &bad).await.unwrap();
    let grant = server.gate.delegate::<Erase>(&server.operator, &bad).unwrap();
    server.registry.erase(&grant).await.unwrap();
    assert!(!folder.exists());
    assert_eq!(server.registry.tenant(&server.operator, &bad).await.err().unwrap().code, Code::NotFound);
}

#[tokio::test]
async fn suspension_drops_the_keyspaces_and_resumption_opens_them_again() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    server.namespace(&key, "n").await;
    let grant = server.grant::<Manage>(&key, "n");
    let keyspace = Keyspace::enter(&grant, &*server.registry.directory()).unwrap();
    server.registry.suspend(&server.operator, &id).await.unwrap();
    assert_eq!(std::sync::Arc::strong_count(&keyspace), 1, "no other task holds the key");
    assert_eq!(Keyspace::enter(&grant, &*server.registry.directory()).err().unwrap().code, Code::TenantSuspended);
    assert!(Keyspace::audit(&grant, &*server.registry.directory()).await.is_ok(), "refusals are still recorded");
    drop(grant);
    server.kill().await;
    let server = data_folder.start().await;
    assert!(server.gate.admit::<Search>(Some(&key), ask("n")).is_err());
    server.registry.resume(&server.operator, &id).await.unwrap();
    assert!(Keyspace::enter(&server.grant::<Search>(&key, "n"), &*server.registry.directory()).is_ok());
}

#[test]
fn a_control_state_with_an_unknown_member_is_refused() {
    use crate::{control::ControlState, event_store::State};

    let bytes = ControlState::default().encode().unwrap();
    assert!(ControlState::decode(&bytes).is_ok());
    // Read as an empty journal, it would have the start make new keys and a new operators' audit.
    let older = std::str::from_utf8(&bytes).unwrap().replace("\"system\":", "\"house\":");
    assert!(older.contains("\"house\":"));
    assert!(ControlState::decode(older.as_bytes()).is_err());
}
