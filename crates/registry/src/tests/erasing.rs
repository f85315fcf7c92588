//! Erasure: keys are destroyed first, a restart continues it, and the name is free afterwards for another incarnation.

use super::{DataFolder, RunningServer, ask, tenant};
use crate::{BegunOperation, NewTenant, OperationKind, certificate::CheckFailure, decryption_check::KeyPath};
use access::{Erase, Grant, Manage, Search, TenantState};
use journal::Journal;
use kernel::{Code, TenantId};
use std::path::PathBuf;
use vault::{Keyspace, KeyspaceKind, ObjectKind, PublicKey};

/// Size from which a checkpoint is an object of its own.
const CHECKPOINT_OBJECT_BYTES: usize = 1 << 20;

async fn tenant_with_data(data_folder: &mut DataFolder) -> (RunningServer, TenantId, String, Vec<PathBuf>) {
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await.to_string();
    let mut folders = Vec::new();
    for n in ["one", "two"] {
        server.namespace(&key, n).await;
        let keyspace = Keyspace::enter(&server.grant::<Manage>(&key, n), &*server.registry.directory()).unwrap();
        let env = &server.registry.inner.env;
        let open = Journal::recover(&env.storage, keyspace.clone(), env.clock.clone(), env.entropy.clone());
        let (journal, _) = open.await.unwrap();
        // As a store does, this writes an object and a checkpoint that refers to it.
        let object = journal.put(ObjectKind::Segment, b"text").await.unwrap();
        let mut manifest = vec![0; CHECKPOINT_OBJECT_BYTES];
        object.encode(&mut manifest);
        journal.checkpoint(&manifest, journal.last()).await.unwrap();
        folders.push(data_folder.data().join("data").join(keyspace.prefix()));
    }
    let record = server.registry.inner.tenant_record(&id).unwrap();
    folders.push(data_folder.data().join("data").join(KeyspaceKind::Directory.prefix(record.directory.unwrap().uuid)));
    assert!(folders.iter().all(|f| f.exists()));
    (server, id, key, folders)
}

/// Hash of a wrapped key in the form in which the record holds it.
fn sha256_of(base64: &str) -> String {
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
    vault::sha256(&bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn grant(server: &RunningServer, id: &TenantId) -> Grant<Erase> {
    server.gate.delegate(&server.operator, id).unwrap()
}

#[tokio::test]
async fn a_tenant_is_erased_only_when_suspended_and_then_wholly() {
    let mut data_folder = DataFolder::new();
    let (server, id, key, folders) = tenant_with_data(&mut data_folder).await;
    let error = server.registry.erase(&grant(&server, &id)).await.err().unwrap();
    assert_eq!(error.code, Code::NotSuspended);
    let first = server.registry.suspend(&server.operator, &id).await.unwrap();
    assert!(first.is_suspended());
    let wrapped = server.registry.inner.tenant_record(&id).unwrap();
    let wrapped = serde_json::to_value(&wrapped.keys.epochs[0].wrapped).unwrap()["bytes"].as_str().unwrap().to_owned();

    let erasure = server.registry.erase(&grant(&server, &id)).await.unwrap();
    assert_eq!(erasure.removed.len(), 4, "two namespaces, the audit, the directory");
    assert!(folders.iter().all(|f| !f.exists()));
    assert_eq!(server.registry.tenant(&server.operator, &id).await.err().unwrap().code, Code::NotFound);
    let inner = &server.registry.inner;
    let (_, found) = journal::Journal::recover(
        &inner.env.storage,
        inner.control.keyspace().clone(),
        inner.env.clock.clone(),
        inner.env.entropy.clone(),
    )
    .await
    .unwrap();
    let bodies = found.checkpoint.into_iter().chain(found.entries.into_iter().map(|(_, b)| b));
    assert!(bodies.into_iter().all(|b| !String::from_utf8_lossy(&b).contains(&wrapped)));

    let certificate = erasure.certificate.unwrap();
    let signer = PublicKey::parse(&server.registry.signing_key()).unwrap();
    let stated: serde_json::Value = serde_json::from_str(signer.open(&certificate.note).unwrap()).unwrap();
    let hash = sha256_of(&wrapped);
    assert_eq!((stated["tenant"].as_str(), stated["keys"][0]["wrapped_sha256"].as_str()), (Some("acme"), Some(&*hash)));
    assert_eq!(stated["attempts"][0]["refused"], true, "{stated:#}");
    assert_eq!(stated["remains"], serde_json::json!([]));
    let sampled = stated["sampled_objects"].as_array().unwrap();
    let kinds: std::collections::BTreeSet<_> = sampled.iter().map(|s| s["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["checkpoint", "log", "object"].into(), "{stated:#}");
    for tried in sampled.iter().chain([&stated["canary"]]) {
        assert_eq!((&tried["opened_before"], &tried["refused"]), (&true.into(), &true.into()), "{stated:#}");
        assert!(tried["after"].as_str().unwrap().contains("no wrapped key of the tenant"), "{stated:#}");
    }
    assert!(sampled.iter().all(|s| s["after"].as_str().unwrap().starts_with("its bytes are unchanged")));
    assert_eq!(stated["attempts"].as_array().map(Vec::len), Some(2), "{stated:#}");
    assert_eq!(stated["keyspaces_found_by_id"], serde_json::json!([]));
    assert!(!stated["cannot_be_proven"].to_string().contains("interrupted"), "{stated:#}");
    assert!(stated["cannot_be_proven"][1].as_str().unwrap().contains("key root of provider local"));
    assert_eq!(server.registry.certificates(&server.operator, Some(&id)), [certificate]);

    let again = server.tenant("acme").await;
    let second = server.registry.tenant(&server.operator, &again).await.unwrap();
    assert_ne!(first.incarnation, second.incarnation);
    assert_eq!(second.namespaces, Some(0));
    let refusal = server.gate.admit::<Search>(Some(&key), ask("one")).err().unwrap();
    assert_eq!(refusal.error.code, Code::Unauthenticated, "a key of the previous incarnation opens nothing");
}

#[tokio::test]
async fn an_erasure_that_a_stop_interrupted_is_finished_at_the_next_start() {
    let mut data_folder = DataFolder::new();
    let (server, id, key, folders) = tenant_with_data(&mut data_folder).await;
    server.registry.suspend(&server.operator, &id).await.unwrap();
    let Ok(BegunOperation::Fresh(operation)) = server.registry.begin_operation(&id, OperationKind::EraseTenant).await
    else {
        panic!("none runs")
    };
    let record = server.registry.inner.tenant_record(&id).unwrap();
    server.registry.begin_erasure(&record).await.unwrap();

    // From now on nothing of the tenant is served or changes, and the name is not free yet.
    let view = server.registry.tenant(&server.operator, &id).await.unwrap();
    assert_eq!((view.state, view.key_epoch.0), (TenantState::Deleting, 0));
    assert!(server.gate.admit::<Search>(Some(&key), ask("one")).is_err());
    let new = NewTenant::named(id.clone());
    assert_eq!(server.registry.create_tenant(&server.operator, new).await.err().unwrap().code, Code::Conflict);
    assert_eq!(server.registry.resume(&server.operator, &id).await.err().unwrap().code, Code::Conflict);
    drop(operation);
    server.kill().await;

    let server = data_folder.start_cold().await;
    let operation = server.registry.unfinished_operations().pop().unwrap();
    let erasure = server.registry.resume_erasure(&operation).await.unwrap();
    assert_eq!(erasure.removed.len(), 4);
    let signer = PublicKey::parse(&server.registry.signing_key()).unwrap();
    let note = erasure.certificate.unwrap().note;
    let stated: serde_json::Value = serde_json::from_str(signer.open(&note).unwrap()).unwrap();
    assert_eq!(stated["attempts"].as_array().map(Vec::len), Some(1), "{stated:#}");
    assert!(stated["cannot_be_proven"].to_string().contains("the erasure was interrupted"), "{stated:#}");
    assert!(folders.iter().all(|f| !f.exists()));
    assert_eq!(server.registry.tenant(&server.operator, &id).await.err().unwrap().code, Code::NotFound);
    let again = server.registry.resume_erasure(&operation).await.unwrap();
    assert!(again.removed.is_empty() && again.certificate.is_some(), "done already, and still certified");
    operation.succeed(serde_json::Value::Null).await;
    server.tenant("acme").await;
}

/// The certificate says that the tenant could not be opened, and the erasure finds keyspaces that no record names.
#[tokio::test]
async fn a_tenant_that_does_not_open_is_erased_wholly_and_no_other() {
    let mut data_folder = DataFolder::new();
    let (server, id, _, folders) = tenant_with_data(&mut data_folder).await;
    let other = server.tenant("other").await;
    let key = server.key(&other).await.to_string();
    server.namespace(&key, "one").await;
    let keyspace = Keyspace::enter(&server.grant::<Manage>(&key, "one"), &*server.registry.directory()).unwrap();
    let kept = data_folder.data().join("data").join(keyspace.prefix());
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("log-0000000001-0000000000000001"), b"sealed").unwrap();
    let directory = |id: &TenantId| {
        let record = server.registry.inner.tenant_record(id).unwrap();
        data_folder.data().join("data").join(KeyspaceKind::Directory.prefix(record.directory.unwrap().uuid))
    };
    let directories = [directory(&id), directory(&other)];
    server.registry.suspend(&server.operator, &id).await.unwrap();
    drop(keyspace);
    server.kill().await;
    for directory in directories {
        for file in std::fs::read_dir(directory).unwrap() {
            std::fs::write(file.unwrap().path(), b"damaged").unwrap();
        }
    }

    let server = data_folder.start_cold().await;
    let erasure = server.registry.erase(&grant(&server, &id)).await.unwrap();
    assert!(folders.iter().all(|f| !f.exists()), "two namespaces that no record named, and the directory");
    assert!(kept.exists(), "another tenant's directory does not open either, and nothing of it is touched");
    let signer = PublicKey::parse(&server.registry.signing_key()).unwrap();
    let note = erasure.certificate.unwrap().note;
    let stated: serde_json::Value = serde_json::from_str(signer.open(&note).unwrap()).unwrap();
    assert_eq!(stated["keyspaces_found_by_id"].as_array().map(Vec::len), Some(2), "{stated:#}");
    assert_eq!((&stated["canary"], &stated["remains"]), (&serde_json::Value::Null, &serde_json::json!([])));
    assert!(stated["cannot_be_proven"].to_string().contains("nothing could be tried before"), "{stated:#}");
}

/// The check really decrypts: while the keys exist it succeeds, and the certificate would say so.
#[tokio::test]
async fn a_check_opens_what_still_has_its_keys() {
    let mut data_folder = DataFolder::new();
    let (server, id, _, _) = tenant_with_data(&mut data_folder).await;
    let inner = &server.registry.inner;
    let record = inner.tenant_record(&id).unwrap();
    let open_tenant = inner.open_tenant(record.incarnation).unwrap();
    let key_path = KeyPath::resolve(inner, record.incarnation, Some(&open_tenant)).await;
    let canary = inner.canary(&open_tenant).unwrap();
    assert!(key_path.keys().is_ok() && key_path.canary(&canary).is_ok());
    let other = crate::certificate::Canary { plain_sha256: "00".into(), ..canary.clone() };
    assert!(matches!(key_path.canary(&other), Err(CheckFailure::Refused(_))), "a different value is detected");
    server.registry.suspend(&server.operator, &id).await.unwrap();
    server.registry.begin_erasure(&record).await.unwrap();
    let key_path = KeyPath::resolve(inner, record.incarnation, Some(&open_tenant)).await;
    assert!(matches!(key_path.canary(&canary), Err(CheckFailure::Refused(_))));
    let pending_prefixes = inner.tenant_record(&id).unwrap();
    let sample = &pending_prefixes.shredding.as_ref().unwrap().samples[0].sample;
    assert!(matches!(key_path.object(&sample.object).await, Err(CheckFailure::Refused(_))));
}

#[tokio::test]
async fn another_tenant_is_untouched() {
    let mut data_folder = DataFolder::new();
    let (server, id, _, _) = tenant_with_data(&mut data_folder).await;
    let other = server.tenant("other").await;
    let key = server.key(&other).await;
    server.namespace(&key, "one").await;
    server.registry.suspend(&server.operator, &id).await.unwrap();
    server.registry.erase(&grant(&server, &id)).await.unwrap();
    assert!(Keyspace::enter(&server.grant::<Search>(&key, "one"), &*server.registry.directory()).is_ok());
    server.kill().await;
    let server = data_folder.start().await;
    assert!(Keyspace::enter(&server.grant::<Search>(&key, "one"), &*server.registry.directory()).is_ok());
    assert_eq!(server.registry.tenant(&server.operator, &tenant("other")).await.unwrap().state, TenantState::Active);
}
