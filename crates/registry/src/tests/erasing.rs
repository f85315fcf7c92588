//! Erasure: keys first, restartable, and the name is free afterwards for another life.

use super::{Site, Start, ask, tenant};
use crate::{Begun, NewTenant, OperationKind, certificate::Failed, trial::Way};
use access::{Erase, Grant, Manage, Search, TenantState};
use journal::Journal;
use kernel::{Code, TenantId};
use std::path::PathBuf;
use vault::{Home, ObjectKind, PlaceKind, PublicKey};

/// A checkpoint of this size is an object of its own.
const CHECKPOINT_OBJECT_BYTES: usize = 1 << 20;

async fn furnished(site: &mut Site) -> (Start, TenantId, String, Vec<PathBuf>) {
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await.to_string();
    let mut folders = Vec::new();
    for n in ["one", "two"] {
        start.namespace(&key, n).await;
        let home = Home::enter(&start.grant::<Manage>(&key, n), &*start.registry.directory()).unwrap();
        let world = &start.registry.inner.world;
        let open = Journal::recover(&world.storage, home.clone(), world.clock.clone(), world.entropy.clone());
        let (journal, _) = open.await.unwrap();
        // As a store would: an object whose reference stands in a checkpoint.
        let object = journal.put(ObjectKind::Segment, b"text").await.unwrap();
        let mut manifest = vec![0; CHECKPOINT_OBJECT_BYTES];
        object.encode(&mut manifest);
        journal.checkpoint(&manifest, journal.last()).await.unwrap();
        folders.push(site.data().join("data").join(home.prefix()));
    }
    let record = start.registry.inner.tenant_record(&id).unwrap();
    folders.push(site.data().join("data").join(PlaceKind::Directory.prefix(record.directory.unwrap().uuid)));
    assert!(folders.iter().all(|f| f.exists()));
    (start, id, key, folders)
}

/// Of a wrapped key as the record holds it.
fn sha256_of(base64: &str) -> String {
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
    vault::sha256(&bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn grant(start: &Start, id: &TenantId) -> Grant<Erase> {
    start.gate.delegate(&start.operator, id).unwrap()
}

#[tokio::test]
async fn a_tenant_is_erased_only_when_suspended_and_then_wholly() {
    let mut site = Site::new();
    let (start, id, key, folders) = furnished(&mut site).await;
    let error = start.registry.erase(&grant(&start, &id)).await.err().unwrap();
    assert_eq!(error.code, Code::NotSuspended);
    let first = start.registry.suspend(&start.operator, &id).await.unwrap();
    assert!(first.is_suspended());
    let wrapped = start.registry.inner.tenant_record(&id).unwrap();
    let wrapped = serde_json::to_value(&wrapped.keys.epochs[0].wrapped).unwrap()["bytes"].as_str().unwrap().to_owned();

    let erasure = start.registry.erase(&grant(&start, &id)).await.unwrap();
    assert_eq!(erasure.removed.len(), 4, "two namespaces, the audit, the directory");
    assert!(folders.iter().all(|f| !f.exists()));
    assert_eq!(start.registry.tenant(&start.operator, &id).await.err().unwrap().code, Code::NotFound);
    let inner = &start.registry.inner;
    let (_, found) = journal::Journal::recover(
        &inner.world.storage,
        inner.control.home().clone(),
        inner.world.clock.clone(),
        inner.world.entropy.clone(),
    )
    .await
    .unwrap();
    let bodies = found.checkpoint.into_iter().chain(found.entries.into_iter().map(|(_, b)| b));
    assert!(bodies.into_iter().all(|b| !String::from_utf8_lossy(&b).contains(&wrapped)));

    let certificate = erasure.certificate.unwrap();
    let signer = PublicKey::parse(&start.registry.signing_key()).unwrap();
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
    assert!(sampled.iter().all(|s| s["after"].as_str().unwrap().starts_with("its bytes lie there unchanged")));
    assert_eq!(stated["attempts"].as_array().map(Vec::len), Some(2), "{stated:#}");
    assert_eq!(stated["places_found_by_number"], serde_json::json!([]));
    assert!(!stated["cannot_be_proven"].to_string().contains("interrupted"), "{stated:#}");
    assert!(stated["cannot_be_proven"][1].as_str().unwrap().contains("key root of provider local"));
    assert_eq!(start.registry.certificates(&start.operator, Some(&id)), [certificate]);

    let again = start.tenant("acme").await;
    let second = start.registry.tenant(&start.operator, &again).await.unwrap();
    assert_ne!(first.incarnation, second.incarnation);
    assert_eq!(second.namespaces, 0);
    let refusal = start.gate.admit::<Search>(Some(&key), ask("one")).err().unwrap();
    assert_eq!(refusal.error.code, Code::Unauthenticated, "a key of the life before opens nothing");
}

#[tokio::test]
async fn an_erasure_that_a_stop_interrupted_is_finished_at_the_next_start() {
    let mut site = Site::new();
    let (start, id, key, folders) = furnished(&mut site).await;
    start.registry.suspend(&start.operator, &id).await.unwrap();
    let Ok(Begun::Fresh(operation)) = start.registry.begin_operation(&id, OperationKind::EraseTenant).await else {
        panic!("none runs")
    };
    let record = start.registry.inner.tenant_record(&id).unwrap();
    start.registry.doom(&record).await.unwrap();

    // From here on: nothing of it is served, nothing of it changes, and the name is not free yet.
    let view = start.registry.tenant(&start.operator, &id).await.unwrap();
    assert_eq!((view.state, view.key_epoch.0), (TenantState::Deleting, 0));
    assert!(start.gate.admit::<Search>(Some(&key), ask("one")).is_err());
    let new = NewTenant::named(id.clone());
    assert_eq!(start.registry.create_tenant(&start.operator, new).await.err().unwrap().code, Code::Conflict);
    assert_eq!(start.registry.resume(&start.operator, &id).await.err().unwrap().code, Code::Conflict);
    drop(operation);
    start.kill().await;

    let start = site.start_cold().await;
    let operation = start.registry.unfinished().pop().unwrap();
    let erasure = start.registry.resume_erasure(&operation).await.unwrap();
    assert_eq!(erasure.removed.len(), 4);
    let signer = PublicKey::parse(&start.registry.signing_key()).unwrap();
    let note = erasure.certificate.unwrap().note;
    let stated: serde_json::Value = serde_json::from_str(signer.open(&note).unwrap()).unwrap();
    assert_eq!(stated["attempts"].as_array().map(Vec::len), Some(1), "{stated:#}");
    assert!(stated["cannot_be_proven"].to_string().contains("the erasure was interrupted"), "{stated:#}");
    assert!(folders.iter().all(|f| !f.exists()));
    assert_eq!(start.registry.tenant(&start.operator, &id).await.err().unwrap().code, Code::NotFound);
    let again = start.registry.resume_erasure(&operation).await.unwrap();
    assert!(again.removed.is_empty() && again.certificate.is_some(), "done already, and still proven");
    operation.succeed(serde_json::Value::Null).await;
    start.tenant("acme").await;
}

/// What it says of a tenant that it could not open, and that it finds what lies where no record says any more.
#[tokio::test]
async fn a_tenant_that_does_not_open_is_erased_wholly_and_another_that_does_not_is_left() {
    let mut site = Site::new();
    let (start, id, _, folders) = furnished(&mut site).await;
    let other = start.tenant("other").await;
    let key = start.key(&other).await.to_string();
    start.namespace(&key, "one").await;
    let home = Home::enter(&start.grant::<Manage>(&key, "one"), &*start.registry.directory()).unwrap();
    let kept = site.data().join("data").join(home.prefix());
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("log-0000000001-0000000000000001"), b"sealed").unwrap();
    let directory = |id: &TenantId| {
        let record = start.registry.inner.tenant_record(id).unwrap();
        site.data().join("data").join(PlaceKind::Directory.prefix(record.directory.unwrap().uuid))
    };
    let directories = [directory(&id), directory(&other)];
    start.registry.suspend(&start.operator, &id).await.unwrap();
    drop(home);
    start.kill().await;
    for directory in directories {
        for file in std::fs::read_dir(directory).unwrap() {
            std::fs::write(file.unwrap().path(), b"damaged").unwrap();
        }
    }

    let start = site.start_cold().await;
    let erasure = start.registry.erase(&grant(&start, &id)).await.unwrap();
    assert!(folders.iter().all(|f| !f.exists()), "two namespaces that nothing named, and the directory");
    assert!(kept.exists(), "another tenant's directory does not open either, and nothing of it is touched");
    let signer = PublicKey::parse(&start.registry.signing_key()).unwrap();
    let note = erasure.certificate.unwrap().note;
    let stated: serde_json::Value = serde_json::from_str(signer.open(&note).unwrap()).unwrap();
    assert_eq!(stated["places_found_by_number"].as_array().map(Vec::len), Some(2), "{stated:#}");
    assert_eq!((&stated["canary"], &stated["remains"]), (&serde_json::Value::Null, &serde_json::json!([])));
    assert!(stated["cannot_be_proven"].to_string().contains("nothing could be tried before"), "{stated:#}");
}

/// The try is one: where the keys are still there it opens, and the certificate would say so.
#[tokio::test]
async fn a_try_opens_what_still_has_its_keys() {
    let mut site = Site::new();
    let (start, id, _, _) = furnished(&mut site).await;
    let inner = &start.registry.inner;
    let record = inner.tenant_record(&id).unwrap();
    let residence = inner.residence(record.incarnation).unwrap();
    let way = Way::look(inner, record.incarnation, Some(&residence)).await;
    let canary = inner.canary(&residence).unwrap();
    assert!(way.keys().is_ok() && way.canary(&canary).is_ok());
    let other = crate::certificate::Canary { plain_sha256: "00".into(), ..canary.clone() };
    assert!(matches!(way.canary(&other), Err(Failed::Refused(_))), "another one is told apart");
    start.registry.suspend(&start.operator, &id).await.unwrap();
    start.registry.doom(&record).await.unwrap();
    let way = Way::look(inner, record.incarnation, Some(&residence)).await;
    assert!(matches!(way.canary(&canary), Err(Failed::Refused(_))));
    let doomed = inner.tenant_record(&id).unwrap();
    let sample = &doomed.shredding.as_ref().unwrap().samples[0].sample;
    assert!(matches!(way.object(&sample.object).await, Err(Failed::Refused(_))));
}

#[tokio::test]
async fn another_tenant_is_untouched() {
    let mut site = Site::new();
    let (start, id, _, _) = furnished(&mut site).await;
    let other = start.tenant("other").await;
    let key = start.key(&other).await;
    start.namespace(&key, "one").await;
    start.registry.suspend(&start.operator, &id).await.unwrap();
    start.registry.erase(&grant(&start, &id)).await.unwrap();
    assert!(Home::enter(&start.grant::<Search>(&key, "one"), &*start.registry.directory()).is_ok());
    start.kill().await;
    let start = site.start().await;
    assert!(Home::enter(&start.grant::<Search>(&key, "one"), &*start.registry.directory()).is_ok());
    assert_eq!(start.registry.tenant(&start.operator, &tenant("other")).await.unwrap().state, TenantState::Active);
}
