//! A wrong root key, a damaged directory, a suspended tenant's homes: clear errors, and only where they belong.

use super::{Site, ask};
use access::{Erase, Manage, Search, TenantState};
use kernel::Code;
use std::{fs, path::PathBuf};
use vault::{Home, PlaceKind};

#[tokio::test]
async fn another_root_key_is_refused_and_changes_nothing() {
    let mut site = Site::new();
    site.start().await.kill().await;
    let right = std::mem::replace(&mut site.root, "77".repeat(32));
    let (storage, opened) = site.open(None).await;
    assert_eq!(opened.err().unwrap().code, Code::KeyUnavailable);
    storage.close().await;
    drop(storage);
    site.root = right;
    site.start().await;
}

/// Every file of the log in a folder.
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
    let mut site = Site::new();
    let start = site.start().await;
    let (bad, good) = (start.tenant("bad").await, start.tenant("good").await);
    let (bad_key, good_key) = (start.key(&bad).await, start.key(&good).await);
    start.namespace(&bad_key, "n").await;
    start.namespace(&good_key, "n").await;
    let prefix = PlaceKind::Directory.prefix(start.registry.inner.tenant_record(&bad).unwrap().directory.unwrap().uuid);
    start.kill().await;

    let folder = site.data().join("data").join(prefix);
    let mut kept = Vec::new();
    for file in logs(folder.clone()) {
        let bytes = fs::read(&file).unwrap();
        let mut torn = bytes.clone();
        torn[40] ^= 1;
        fs::write(&file, torn).unwrap();
        kept.push((file, bytes));
    }
    let start = site.start().await;
    assert_eq!(start.registry.tenant(&start.operator, &bad).await.unwrap().state, TenantState::KeyUnavailable);
    assert_eq!(start.admit::<Search>(&bad_key, "n").await.err(), Some(Code::KeyUnavailable), "423, not 401");
    assert!(start.registry.keys(&start.operator, &bad, None, 10).await.is_err());
    assert!(Home::enter(&start.grant::<Search>(&good_key, "n"), &*start.registry.directory()).is_ok());
    assert_eq!(start.registry.retry_closed().await, 1);

    for (file, bytes) in kept {
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(start.registry.retry_closed().await, 0);
    assert!(Home::enter(&start.grant::<Search>(&bad_key, "n"), &*start.registry.directory()).is_ok());
}

#[tokio::test]
async fn a_tenant_whose_directory_is_damaged_can_be_erased() {
    let mut site = Site::new();
    let start = site.start().await;
    let bad = start.tenant("bad").await;
    start.key(&bad).await;
    let prefix = PlaceKind::Directory.prefix(start.registry.inner.tenant_record(&bad).unwrap().directory.unwrap().uuid);
    start.kill().await;
    let folder = site.data().join("data").join(prefix);
    for file in logs(folder.clone()) {
        fs::write(file, b"nothing of ours").unwrap();
    }
    let start = site.start().await;
    start.registry.suspend(&start.operator, &bad).await.unwrap();
    let grant = start.gate.delegate::<Erase>(&start.operator, &bad).unwrap();
    start.registry.erase(&grant).await.unwrap();
    assert!(!folder.exists());
    assert_eq!(start.registry.tenant(&start.operator, &bad).await.err().unwrap().code, Code::NotFound);
}

#[tokio::test]
async fn suspension_drops_the_homes_and_resumption_opens_them_again() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    start.namespace(&key, "n").await;
    let grant = start.grant::<Manage>(&key, "n");
    let home = Home::enter(&grant, &*start.registry.directory()).unwrap();
    start.registry.suspend(&start.operator, &id).await.unwrap();
    assert_eq!(std::sync::Arc::strong_count(&home), 1, "nobody else holds the key");
    assert_eq!(Home::enter(&grant, &*start.registry.directory()).err().unwrap().code, Code::TenantSuspended);
    assert!(Home::audit(&grant, &*start.registry.directory()).await.is_ok(), "refusals are still written down");
    drop(grant);
    start.kill().await;
    let start = site.start().await;
    assert!(start.gate.admit::<Search>(Some(&key), ask("n")).is_err());
    start.registry.resume(&start.operator, &id).await.unwrap();
    assert!(Home::enter(&start.grant::<Search>(&key, "n"), &*start.registry.directory()).is_ok());
}
