//! Rotation: a crash after any step leaves everything readable.

use super::{DataFolder, RunningServer, name};
use crate::{
    BegunOperation, OperationHandle, OperationKind, TenantChange,
    control::{ControlEvent, ControlState},
    directory::DirectoryState,
    event_store::{Env, State},
};
use access::{Gate, Manage, RotateKey, Search};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kernel::{KeyEpoch, ObjectUuid, OsEntropy, TenantId};
use std::sync::Arc;
use vault::{Keyspace, ObjectKind, PublicKey, WrappedKey};

const NAMESPACES: usize = 5;

struct SealedObject {
    namespace: String,
    object: ObjectUuid,
    key: WrappedKey,
    bytes: Vec<u8>,
}

async fn seal_in_namespaces(server: &RunningServer, key: &str) -> Vec<SealedObject> {
    let mut out = Vec::new();
    for i in 0..NAMESPACES {
        let namespace = format!("n{i}");
        server.namespace(key, &namespace).await;
        let grant = server.grant::<Manage>(key, &namespace);
        let keyspace = Keyspace::enter(&grant, &*server.registry.directory()).unwrap();
        let object = ObjectUuid::random(&OsEntropy);
        let (bytes, key) = keyspace.seal(ObjectKind::Segment, object, namespace.as_bytes(), &OsEntropy).unwrap();
        out.push(SealedObject { namespace, object, key, bytes });
    }
    out
}

async fn all_open(server: &RunningServer, key: &str, sealed: &[SealedObject]) {
    for one in sealed {
        let grant = server.grant::<Search>(key, &one.namespace);
        let keyspace = Keyspace::enter(&grant, &*server.registry.directory()).unwrap();
        let plain = keyspace.open(ObjectKind::Segment, one.object, &one.key, &one.bytes).unwrap();
        assert_eq!(*plain, *one.namespace.as_bytes());
        assert!(Keyspace::audit(&grant, &*server.registry.directory()).await.is_ok());
    }
}

fn delegate(gate: &Gate, server: &RunningServer, id: &TenantId) -> access::Grant<RotateKey> {
    gate.delegate(&server.operator, id).unwrap()
}

async fn begin(server: &RunningServer, id: &TenantId) -> OperationHandle {
    match server.registry.begin_operation(id, OperationKind::RotateKey).await.unwrap() {
        BegunOperation::Fresh(operation) => operation,
        BegunOperation::Running(_) => panic!("none runs"),
    }
}

async fn rotate(server: &RunningServer, id: &TenantId) -> KeyEpoch {
    let grant = delegate(&server.gate, server, id);
    let operation = begin(server, id).await;
    let rotated = server.registry.rotate(&grant, &operation).await.unwrap().unwrap();
    operation.succeed(serde_json::Value::Null).await;
    let key = PublicKey::parse(&server.registry.signing_key()).unwrap();
    let note = rotated.certificate.unwrap().note;
    let stated: serde_json::Value = serde_json::from_str(key.open(&note).unwrap()).unwrap();
    assert_eq!(
        (&stated["current_epoch"], &stated["destroyed"][0]["provider"]),
        (&rotated.epoch.0.into(), &"local".into())
    );
    rotated.epoch
}

#[tokio::test]
async fn a_rotation_rewraps_every_key_and_leaves_open_keyspaces_alone() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    let sealed = seal_in_namespaces(&server, &key).await;
    let before = Keyspace::enter(&server.grant::<Search>(&key, "n0"), &*server.registry.directory()).unwrap();
    let status = server.registry.key_status(&server.operator, &id).await.unwrap();
    assert_eq!(status.epochs.iter().map(|e| e.objects).sum::<u64>(), 2 + NAMESPACES as u64);
    let first = status.current;

    let epoch = rotate(&server, &id).await;
    assert!(epoch > first);
    let status = server.registry.key_status(&server.operator, &id).await.unwrap();
    assert_eq!(
        status.epochs.iter().map(|e| (e.epoch, e.objects)).collect::<Vec<_>>(),
        [(epoch, 2 + NAMESPACES as u64)]
    );
    assert_eq!((status.current, status.rotating), (epoch, None));
    let after = Keyspace::enter(&server.grant::<Search>(&key, "n0"), &*server.registry.directory()).unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    all_open(&server, &key, &sealed).await;
    server.namespace(&key, "later").await;
    drop((before, after));
    server.kill().await;

    let server = data_folder.start().await;
    all_open(&server, &key, &sealed).await;
    assert!(rotate(&server, &id).await > epoch);
    all_open(&server, &key, &sealed).await;
}

/// Stops after every step, starts again, checks, and lets the operation continue.
#[tokio::test]
async fn a_stop_after_any_step_leaves_everything_readable_and_is_continued() {
    for step in 0..6 {
        let mut data_folder = DataFolder::new();
        let server = data_folder.start().await;
        let id = server.tenant("acme").await;
        let key = server.key(&id).await;
        let sealed = seal_in_namespaces(&server, &key).await;
        let first = server.registry.key_status(&server.operator, &id).await.unwrap().current;
        let grant = delegate(&server.gate, &server, &id);
        let Ok(BegunOperation::Fresh(_)) = server.registry.begin_operation(&id, OperationKind::RotateKey).await else {
            panic!("none runs")
        };
        {
            let registry = &server.registry;
            let open_tenant = registry.inner.open_tenant(grant.incarnation()).unwrap();
            if step > 0 {
                let epoch = registry.begin_rotation(&grant, None).await.unwrap();
                assert_eq!(epoch, registry.begin_rotation(&grant, None).await.unwrap(), "one rotation at a time");
                if step > 1 {
                    registry.rewrap_own_keyspaces(&open_tenant, epoch).await.unwrap();
                }
                if step > 2 {
                    assert!(registry.rewrap_batch(&open_tenant, epoch).await.unwrap());
                }
                if step > 3 {
                    server.namespace(&key, "between").await;
                }
                if step > 4 {
                    open_tenant.directory().purge().await.unwrap();
                }
            }
        }
        drop(grant);
        server.kill().await;

        let server = data_folder.start().await;
        all_open(&server, &key, &sealed).await;
        let status = server.registry.key_status(&server.operator, &id).await.unwrap();
        assert_eq!(status.rotating.is_some(), step > 0, "step {step}");
        let operation = server.registry.unfinished_operations().pop().unwrap();
        let rotated = server.registry.resume_rotation(&operation).await.unwrap().unwrap();
        assert_eq!(rotated.epoch, first.next(), "step {step}");
        operation.succeed(serde_json::Value::Null).await;
        let status = server.registry.key_status(&server.operator, &id).await.unwrap();
        assert_eq!(status.epochs.len(), 1, "step {step}");
        all_open(&server, &key, &sealed).await;
    }
}

#[tokio::test]
async fn a_cancelled_rotation_leaves_both_epochs_and_the_next_one_ends_it() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    let sealed = seal_in_namespaces(&server, &key).await;
    let first = server.registry.key_status(&server.operator, &id).await.unwrap().current;
    let grant = delegate(&server.gate, &server, &id);
    let operation = begin(&server, &id).await;
    server.registry.cancel(&server.operator, operation.id()).unwrap();
    assert!(server.registry.rotate(&grant, &operation).await.unwrap().is_none());
    operation.stop().await;
    drop(grant);
    let status = server.registry.key_status(&server.operator, &id).await.unwrap();
    assert_eq!(status.epochs.iter().map(|e| e.epoch).collect::<Vec<_>>(), [first, first.next()]);
    all_open(&server, &key, &sealed).await;
    assert_eq!(rotate(&server, &id).await, first.next(), "no third epoch");
    assert_eq!(server.registry.key_status(&server.operator, &id).await.unwrap().epochs.len(), 1);
    all_open(&server, &key, &sealed).await;
}

/// A retry after the last step failed creates no other epoch and returns the same certificate.
#[tokio::test]
async fn a_rotation_retried_after_its_end_reuses_its_epoch() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let grant = delegate(&server.gate, &server, &id);
    let operation = begin(&server, &id).await;
    let first = server.registry.rotate(&grant, &operation).await.unwrap().unwrap();
    let again = server.registry.resume_rotation(&operation).await.unwrap().unwrap();
    assert_eq!((again.epoch, again.certificate), (first.epoch, first.certificate));
    assert_eq!(server.registry.certificates(&server.operator, Some(&id)).len(), 1);
}

/// Which rotations a rule begins.
#[tokio::test]
async fn a_rule_continues_what_failed_halfway_and_leaves_what_was_cancelled() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let change = TenantChange { rotate_days: Some(Some(30)), ..TenantChange::default() };
    server.registry.update_tenant(&server.operator, &id, change).await.unwrap();
    for fails in [true, false] {
        assert!(server.registry.rotations_due().is_empty(), "its keys are young");
        let grant = delegate(&server.gate, &server, &id);
        let operation = begin(&server, &id).await;
        server.registry.begin_rotation(&grant, None).await.unwrap();
        assert!(server.registry.rotations_due().is_empty(), "one runs");
        if fails {
            operation.fail(&kernel::Error::internal("a test")).await;
            assert_eq!(server.registry.rotations_due(), std::slice::from_ref(&id));
            rotate(&server, &id).await;
        } else {
            operation.stop().await;
            assert!(server.registry.rotations_due().is_empty(), "it was cancelled");
        }
    }
}

#[tokio::test]
async fn a_namespace_created_during_a_rotation_is_rotated_too() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    seal_in_namespaces(&server, &key).await;
    let makes = async {
        for i in 0..20 {
            server.namespace(&key, &format!("late{i}")).await;
        }
    };
    let (epoch, ()) = tokio::join!(rotate(&server, &id), makes);
    let incarnation = server.registry.tenant(&server.operator, &id).await.unwrap().incarnation;
    for i in 0..20 {
        let record = server.registry.namespace(incarnation, &name(&format!("late{i}"))).unwrap();
        assert_eq!(record.key_epoch, epoch);
        let grant = server.grant::<Search>(&key, record.name.as_str());
        assert!(Keyspace::enter(&grant, &*server.registry.directory()).is_ok());
    }
}

/// Whether a journal holds this wrapped key anywhere, in base64 or in binary.
pub(super) async fn journal_contains<S: State>(env: &Env, keyspace: Arc<Keyspace>, wrapped: &str) -> bool {
    let (_, found) =
        journal::Journal::recover(&env.storage, keyspace, env.clock.clone(), env.entropy.clone()).await.unwrap();
    let bytes = STANDARD.decode(wrapped).unwrap();
    let has = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|w| w == part);
    let mut bodies = found.checkpoint.into_iter().chain(found.entries.into_iter().map(|(_, body)| body));
    bodies.any(|body| has(&body, wrapped.as_bytes()) || has(&body, &bytes))
}

#[tokio::test]
async fn no_old_keys_are_left_when_a_rotation_is_done() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    seal_in_namespaces(&server, &key).await;
    let inner = &server.registry.inner;
    let record = inner.tenant_record(&id).unwrap();
    let open_tenant = inner.open_tenant(record.incarnation).unwrap();
    let old_tenant_key = serde_json::to_value(&record.keys.epochs[0].wrapped).unwrap()["bytes"].clone();
    let old_keyspace_key = open_tenant
        .directory()
        .read(|s| serde_json::to_value(&s.namespaces[&name("n0")].keyspace.wrapped).unwrap()["bytes"].clone());
    let (old_tenant_key, old_keyspace_key) = (old_tenant_key.as_str().unwrap(), old_keyspace_key.as_str().unwrap());

    let env = inner.env.clone();
    let (control, directory) = (inner.control.keyspace().clone(), open_tenant.directory().keyspace().clone());
    assert!(
        journal_contains::<ControlState>(&env, control.clone(), old_tenant_key).await,
        "the search finds what is there"
    );
    assert!(
        journal_contains::<DirectoryState>(&env, directory.clone(), old_keyspace_key).await,
        "the search finds what is there"
    );
    rotate(&server, &id).await;
    assert!(!journal_contains::<ControlState>(&env, control, old_tenant_key).await);
    assert!(!journal_contains::<DirectoryState>(&env, directory, old_keyspace_key).await);
    assert_eq!(open_tenant.keys().epochs().len(), 1);
}

#[tokio::test]
async fn keys_that_a_stop_left_in_the_log_are_gone_after_the_next_start() {
    let mut data_folder = DataFolder::new();
    let server = data_folder.start().await;
    let id = server.tenant("acme").await;
    let key = server.key(&id).await;
    seal_in_namespaces(&server, &key).await;
    let grant = delegate(&server.gate, &server, &id);
    let (inner, incarnation) = (&server.registry.inner, grant.incarnation());
    let record = inner.tenant_record(&id).unwrap();
    let old = serde_json::to_value(&record.keys.epochs[0].wrapped).unwrap()["bytes"].as_str().unwrap().to_owned();
    {
        let open_tenant = inner.open_tenant(incarnation).unwrap();
        let epoch = server.registry.begin_rotation(&grant, None).await.unwrap();
        server.registry.rewrap_own_keyspaces(&open_tenant, epoch).await.unwrap();
        while server.registry.rewrap_batch(&open_tenant, epoch).await.unwrap() {}
        let certificate = crate::Certificate {
            tenant: "acme".into(),
            incarnation: incarnation.to_string(),
            kind: "epochs.destroyed".into(),
            at: String::new(),
            note: String::new(),
        };
        let retired = ControlEvent::EpochsRetired { id: id.clone(), certificate };
        inner.control.write(|_| Ok((Some(retired), ()))).await.unwrap();
    }
    let (env, control) = (inner.env.clone(), inner.control.keyspace().clone());
    assert!(journal_contains::<ControlState>(&env, control.clone(), &old).await, "the log still has it");
    drop((grant, env));
    server.kill().await;
    let server = data_folder.start().await;
    let inner = &server.registry.inner;
    assert!(!journal_contains::<ControlState>(&inner.env.clone(), inner.control.keyspace().clone(), &old).await);
    assert!(Keyspace::enter(&server.grant::<Search>(&key, "n0"), &*server.registry.directory()).is_ok());
}
