//! Rotation: every step can be the last one before a crash, and nothing is ever unreadable.

use super::{Site, Start, name};
use crate::{
    Begun, OperationHandle, OperationKind, TenantChange,
    book::{Fold, World},
    control::{ControlEvent, ControlState},
    directory::DirectoryState,
};
use access::{Gate, Manage, RotateKey, Search};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kernel::{KeyEpoch, ObjectUuid, OsEntropy, TenantId};
use std::sync::Arc;
use vault::{Home, ObjectKind, PublicKey, WrappedKey};

const NAMESPACES: usize = 5;

struct Sealed {
    namespace: String,
    object: ObjectUuid,
    key: WrappedKey,
    bytes: Vec<u8>,
}

async fn furnish(start: &Start, key: &str) -> Vec<Sealed> {
    let mut out = Vec::new();
    for i in 0..NAMESPACES {
        let namespace = format!("n{i}");
        start.namespace(key, &namespace).await;
        let grant = start.grant::<Manage>(key, &namespace);
        let home = Home::enter(&grant, &*start.registry.directory()).unwrap();
        let object = ObjectUuid::random(&OsEntropy);
        let (bytes, key) = home.seal(ObjectKind::Segment, object, namespace.as_bytes(), &OsEntropy).unwrap();
        out.push(Sealed { namespace, object, key, bytes });
    }
    out
}

async fn all_open(start: &Start, key: &str, sealed: &[Sealed]) {
    for one in sealed {
        let grant = start.grant::<Search>(key, &one.namespace);
        let home = Home::enter(&grant, &*start.registry.directory()).unwrap();
        let plain = home.open(ObjectKind::Segment, one.object, &one.key, &one.bytes).unwrap();
        assert_eq!(*plain, *one.namespace.as_bytes());
        assert!(Home::audit(&grant, &*start.registry.directory()).await.is_ok());
    }
}

fn delegate(gate: &Gate, start: &Start, id: &TenantId) -> access::Grant<RotateKey> {
    gate.delegate(&start.operator, id).unwrap()
}

async fn begun(start: &Start, id: &TenantId) -> OperationHandle {
    match start.registry.begin_operation(id, OperationKind::RotateKey).await.unwrap() {
        Begun::Fresh(operation) => operation,
        Begun::Running(_) => panic!("none runs"),
    }
}

async fn rotate(start: &Start, id: &TenantId) -> KeyEpoch {
    let grant = delegate(&start.gate, start, id);
    let operation = begun(start, id).await;
    let rotated = start.registry.rotate(&grant, &operation).await.unwrap().unwrap();
    operation.succeed(serde_json::Value::Null).await;
    let key = PublicKey::parse(&start.registry.signing_key()).unwrap();
    let note = rotated.certificate.unwrap().note;
    let stated: serde_json::Value = serde_json::from_str(key.open(&note).unwrap()).unwrap();
    assert_eq!(
        (&stated["current_epoch"], &stated["destroyed"][0]["provider"]),
        (&rotated.epoch.0.into(), &"local".into())
    );
    rotated.epoch
}

#[tokio::test]
async fn a_rotation_moves_every_key_and_open_homes_do_not_notice() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    let sealed = furnish(&start, &key).await;
    let before = Home::enter(&start.grant::<Search>(&key, "n0"), &*start.registry.directory()).unwrap();
    let status = start.registry.key_status(&start.operator, &id).await.unwrap();
    assert_eq!(status.epochs.iter().map(|e| e.objects).sum::<u64>(), 2 + NAMESPACES as u64);
    let first = status.current;

    let epoch = rotate(&start, &id).await;
    assert!(epoch > first);
    let status = start.registry.key_status(&start.operator, &id).await.unwrap();
    assert_eq!(
        status.epochs.iter().map(|e| (e.epoch, e.objects)).collect::<Vec<_>>(),
        [(epoch, 2 + NAMESPACES as u64)]
    );
    assert_eq!((status.current, status.rotating), (epoch, None));
    let after = Home::enter(&start.grant::<Search>(&key, "n0"), &*start.registry.directory()).unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    all_open(&start, &key, &sealed).await;
    start.namespace(&key, "later").await;
    drop((before, after));
    start.kill().await;

    let start = site.start().await;
    all_open(&start, &key, &sealed).await;
    assert!(rotate(&start, &id).await > epoch);
    all_open(&start, &key, &sealed).await;
}

/// Stops behind every step, starts again, looks, and lets the operation go on.
#[tokio::test]
async fn a_stop_behind_any_step_leaves_everything_readable_and_is_taken_up() {
    for step in 0..6 {
        let mut site = Site::new();
        let start = site.start().await;
        let id = start.tenant("acme").await;
        let key = start.key(&id).await;
        let sealed = furnish(&start, &key).await;
        let first = start.registry.key_status(&start.operator, &id).await.unwrap().current;
        let grant = delegate(&start.gate, &start, &id);
        let Ok(Begun::Fresh(_)) = start.registry.begin_operation(&id, OperationKind::RotateKey).await else {
            panic!("none runs")
        };
        {
            let registry = &start.registry;
            let residence = registry.inner.residence(grant.incarnation()).unwrap();
            if step > 0 {
                let epoch = registry.begin_rotation(&grant, None).await.unwrap();
                assert_eq!(epoch, registry.begin_rotation(&grant, None).await.unwrap(), "one rotation at a time");
                if step > 1 {
                    registry.rewrap_own_places(&residence, epoch).await.unwrap();
                }
                if step > 2 {
                    assert!(registry.rewrap_some(&residence, epoch).await.unwrap());
                }
                if step > 3 {
                    start.namespace(&key, "between").await;
                }
                if step > 4 {
                    residence.book().purge().await.unwrap();
                }
            }
        }
        drop(grant);
        start.kill().await;

        let start = site.start().await;
        all_open(&start, &key, &sealed).await;
        let status = start.registry.key_status(&start.operator, &id).await.unwrap();
        assert_eq!(status.rotating.is_some(), step > 0, "step {step}");
        let operation = start.registry.unfinished().pop().unwrap();
        let rotated = start.registry.resume_rotation(&operation).await.unwrap().unwrap();
        assert_eq!(rotated.epoch, first.next(), "step {step}");
        operation.succeed(serde_json::Value::Null).await;
        let status = start.registry.key_status(&start.operator, &id).await.unwrap();
        assert_eq!(status.epochs.len(), 1, "step {step}");
        all_open(&start, &key, &sealed).await;
    }
}

#[tokio::test]
async fn a_cancelled_rotation_leaves_both_epochs_and_the_next_one_ends_it() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    let sealed = furnish(&start, &key).await;
    let first = start.registry.key_status(&start.operator, &id).await.unwrap().current;
    let grant = delegate(&start.gate, &start, &id);
    let operation = begun(&start, &id).await;
    start.registry.cancel(&start.operator, operation.id()).unwrap();
    assert!(start.registry.rotate(&grant, &operation).await.unwrap().is_none());
    operation.stop().await;
    drop(grant);
    let status = start.registry.key_status(&start.operator, &id).await.unwrap();
    assert_eq!(status.epochs.iter().map(|e| e.epoch).collect::<Vec<_>>(), [first, first.next()]);
    all_open(&start, &key, &sealed).await;
    assert_eq!(rotate(&start, &id).await, first.next(), "no third epoch");
    assert_eq!(start.registry.key_status(&start.operator, &id).await.unwrap().epochs.len(), 1);
    all_open(&start, &key, &sealed).await;
}

/// A try behind the end, because something failed there, makes no other epoch, and says what the one before said.
#[tokio::test]
async fn a_rotation_that_is_tried_again_behind_its_end_leads_where_it_led() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let grant = delegate(&start.gate, &start, &id);
    let operation = begun(&start, &id).await;
    let first = start.registry.rotate(&grant, &operation).await.unwrap().unwrap();
    let again = start.registry.resume_rotation(&operation).await.unwrap().unwrap();
    assert_eq!((again.epoch, again.certificate), (first.epoch, first.certificate));
    assert_eq!(start.registry.certificates(&start.operator, Some(&id)).len(), 1);
}

/// Which rotations a rule begins by itself.
#[tokio::test]
async fn a_rule_goes_on_with_what_failed_halfway_and_leaves_what_was_cancelled() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let change = TenantChange { rotate_days: Some(Some(30)), ..TenantChange::default() };
    start.registry.update_tenant(&start.operator, &id, change).await.unwrap();
    for fails in [true, false] {
        assert!(start.registry.rotations_due().is_empty(), "its keys are young");
        let grant = delegate(&start.gate, &start, &id);
        let operation = begun(&start, &id).await;
        start.registry.begin_rotation(&grant, None).await.unwrap();
        assert!(start.registry.rotations_due().is_empty(), "one runs");
        if fails {
            operation.fail(&kernel::Error::internal("a test")).await;
            assert_eq!(start.registry.rotations_due(), std::slice::from_ref(&id));
            rotate(&start, &id).await;
        } else {
            operation.stop().await;
            assert!(start.registry.rotations_due().is_empty(), "somebody cancelled it");
        }
    }
}

#[tokio::test]
async fn a_namespace_made_during_a_rotation_is_not_left_behind() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    furnish(&start, &key).await;
    let makes = async {
        for i in 0..20 {
            start.namespace(&key, &format!("late{i}")).await;
        }
    };
    let (epoch, ()) = tokio::join!(rotate(&start, &id), makes);
    let incarnation = start.registry.tenant(&start.operator, &id).await.unwrap().incarnation;
    for i in 0..20 {
        let record = start.registry.namespace(incarnation, &name(&format!("late{i}"))).unwrap();
        assert_eq!(record.key_epoch, epoch);
        let grant = start.grant::<Search>(&key, record.name.as_str());
        assert!(Home::enter(&grant, &*start.registry.directory()).is_ok());
    }
}

/// Whether a journal holds this wrapped key anywhere: as its JSON has it, or as bytes.
pub(super) async fn holds<S: Fold>(world: &World, home: Arc<Home>, wrapped: &str) -> bool {
    let (_, found) =
        journal::Journal::recover(&world.storage, home, world.clock.clone(), world.entropy.clone()).await.unwrap();
    let bytes = STANDARD.decode(wrapped).unwrap();
    let has = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|w| w == part);
    let mut bodies = found.checkpoint.into_iter().chain(found.entries.into_iter().map(|(_, body)| body));
    bodies.any(|body| has(&body, wrapped.as_bytes()) || has(&body, &bytes))
}

#[tokio::test]
async fn the_old_keys_are_nowhere_when_a_rotation_is_done() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    furnish(&start, &key).await;
    let inner = &start.registry.inner;
    let record = inner.tenant_record(&id).unwrap();
    let residence = inner.residence(record.incarnation).unwrap();
    let old_tenant_key = serde_json::to_value(&record.keys.epochs[0].wrapped).unwrap()["bytes"].clone();
    let old_place_key = residence
        .book()
        .read(|s| serde_json::to_value(&s.namespaces[&name("n0")].place.wrapped).unwrap()["bytes"].clone());
    let (old_tenant_key, old_place_key) = (old_tenant_key.as_str().unwrap(), old_place_key.as_str().unwrap());

    let world = inner.world.clone();
    let (control, directory) = (inner.control.home().clone(), residence.book().home().clone());
    assert!(holds::<ControlState>(&world, control.clone(), old_tenant_key).await, "the look can see");
    assert!(holds::<DirectoryState>(&world, directory.clone(), old_place_key).await, "the look can see");
    rotate(&start, &id).await;
    assert!(!holds::<ControlState>(&world, control, old_tenant_key).await);
    assert!(!holds::<DirectoryState>(&world, directory, old_place_key).await);
    assert_eq!(residence.keys().epochs().len(), 1);
}

#[tokio::test]
async fn keys_that_a_stop_left_in_the_log_are_gone_after_the_next_start() {
    let mut site = Site::new();
    let start = site.start().await;
    let id = start.tenant("acme").await;
    let key = start.key(&id).await;
    furnish(&start, &key).await;
    let grant = delegate(&start.gate, &start, &id);
    let (inner, incarnation) = (&start.registry.inner, grant.incarnation());
    let record = inner.tenant_record(&id).unwrap();
    let old = serde_json::to_value(&record.keys.epochs[0].wrapped).unwrap()["bytes"].as_str().unwrap().to_owned();
    {
        let residence = inner.residence(incarnation).unwrap();
        let epoch = start.registry.begin_rotation(&grant, None).await.unwrap();
        start.registry.rewrap_own_places(&residence, epoch).await.unwrap();
        while start.registry.rewrap_some(&residence, epoch).await.unwrap() {}
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
    let (world, control) = (inner.world.clone(), inner.control.home().clone());
    assert!(holds::<ControlState>(&world, control.clone(), &old).await, "the log still has it");
    drop((grant, world));
    start.kill().await;
    let start = site.start().await;
    let inner = &start.registry.inner;
    assert!(!holds::<ControlState>(&inner.world.clone(), inner.control.home().clone(), &old).await);
    assert!(Home::enter(&start.grant::<Search>(&key, "n0"), &*start.registry.directory()).is_ok());
}
