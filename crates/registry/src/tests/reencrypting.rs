//! Re-encryption: a stop behind every step leaves everything readable, and what is left is done to the end.

use super::{Site, Start, name};
use crate::{Begun, OperationHandle, OperationKind, Reencryption, control::ControlEvent};
use access::{Manage, Search};
use journal::{Journal, ObjectRef};
use kernel::{KeyEpoch, TenantId};
use std::sync::Arc;
use vault::{Home, ObjectKind, WrappedKey};

const NAMESPACES: [&str; 3] = ["n0", "n1", "n2"];
const TEXT: &[u8] = b"text of a customer";

/// The last thing that was done before the stop, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Begun,
    EpochAdded,
    DirectoryHasNextKey,
    DirectoryPurged,
    DirectoryEnded,
    AuditHasNextKey,
    AuditSealedAnew,
    AuditEnded,
    NamespaceHasNextKey,
    NamespaceSealedAnew,
    NamespaceEnded,
    OthersEnded,
    FinalPurge,
    Retired,
}

const STEPS: [Step; 14] = [
    Step::Begun,
    Step::EpochAdded,
    Step::DirectoryHasNextKey,
    Step::DirectoryPurged,
    Step::DirectoryEnded,
    Step::AuditHasNextKey,
    Step::AuditSealedAnew,
    Step::AuditEnded,
    Step::NamespaceHasNextKey,
    Step::NamespaceSealedAnew,
    Step::NamespaceEnded,
    Step::OthersEnded,
    Step::FinalPurge,
    Step::Retired,
];

impl Start {
    /// What lies in a place, as a store or a ledger would open it: the object that its checkpoint names.
    async fn stored(&self, home: &Arc<Home>) -> (Journal, Option<ObjectRef>) {
        let world = &self.registry.inner.world;
        let open = Journal::recover(&world.storage, home.clone(), world.clock.clone(), world.entropy.clone());
        let (journal, found) = open.await.unwrap();
        let object = found.checkpoint.map(|body| ObjectRef::decode(&mut &body[..]).unwrap());
        if let Some(object) = &object {
            assert_eq!(*journal.get(object).await.unwrap(), *TEXT);
        }
        (journal, object)
    }

    /// Seals what lies in a place under its newest key, as [`Self::stored`] finds it.
    async fn seal(&self, home: &Arc<Home>) {
        let (journal, old) = self.stored(home).await;
        let object = journal.put(ObjectKind::Segment, TEXT).await.unwrap();
        let mut body = Vec::new();
        object.encode(&mut body);
        journal.checkpoint(&body, journal.last()).await.unwrap();
        if let Some(old) = old {
            journal.delete(&old).await.unwrap();
        }
        let under = journal.under_epochs(&[object]).await.unwrap();
        assert!(under.keys().all(|epoch| *epoch == home.epoch()), "{under:?}");
    }

    async fn all_open(&self, key: &str) {
        for namespace in NAMESPACES {
            let grant = self.grant::<Search>(key, namespace);
            let home = Home::enter(&grant, &*self.registry.directory()).unwrap();
            assert!(self.stored(&home).await.1.is_some());
            let audit = Home::audit(&grant, &*self.registry.directory()).await.unwrap();
            assert!(self.stored(&audit).await.1.is_some());
        }
    }

    async fn begin_reencryption(&self, id: &TenantId) -> OperationHandle {
        match self.registry.begin_operation(id, OperationKind::Reencrypt).await.unwrap() {
            Begun::Fresh(operation) => operation,
            Begun::Running(_) => panic!("none runs"),
        }
    }

    /// Goes on up to a step, as the engine does; whether it came there.
    async fn walk(&self, work: &Reencryption, last: Step) {
        if last >= Step::DirectoryHasNextKey && last < Step::DirectoryEnded {
            let book = work.residence.book();
            work.begin_own(book.home(), |r| r.directory.as_ref()).await.unwrap();
            if last == Step::DirectoryPurged {
                book.purge().await.unwrap();
            }
        }
        if last >= Step::DirectoryEnded {
            work.directory().await.unwrap();
        }
        if last >= Step::AuditHasNextKey
            && let Some(home) = work.begin_audit().await.unwrap()
        {
            if last >= Step::AuditSealedAnew {
                self.seal(&home).await;
            }
            if last >= Step::AuditEnded {
                work.end_audit(&home).await.unwrap();
            }
        }
        // One alone, and the others together, as many are.
        let mine = match last {
            _ if last >= Step::OthersEnded => &[&NAMESPACES[..1], &NAMESPACES[1..]][..],
            _ if last >= Step::NamespaceHasNextKey => &[&NAMESPACES[..1]],
            _ => &[],
        };
        for together in mine {
            let names: Vec<_> = together.iter().map(|namespace| name(namespace)).collect();
            let renewing = work.begin(&names).await.unwrap();
            if last >= Step::NamespaceSealedAnew {
                for (_, home) in &renewing {
                    self.seal(home).await;
                }
            }
            if last >= Step::NamespaceEnded {
                work.end(&renewing).await.unwrap();
            }
        }
        if last >= Step::FinalPurge {
            work.residence.book().purge().await.unwrap();
        }
    }

    /// What `retire` writes, without the checkpoint behind it.
    async fn retire(&self, id: &TenantId) {
        let incarnation = self.registry.inner.tenant_record(id).unwrap().incarnation;
        let certificate = crate::Certificate {
            tenant: id.as_str().into(),
            incarnation: incarnation.to_string(),
            kind: "epochs.destroyed".into(),
            at: String::new(),
            note: String::new(),
        };
        let retired = ControlEvent::EpochsRetired { id: id.clone(), certificate };
        self.registry.inner.control.write(|_| Ok((Some(retired), ()))).await.unwrap();
    }

    /// The keys of all the tenant's places, as they are wrapped.
    fn wraps(&self, id: &TenantId) -> Vec<WrappedKey> {
        let record = self.registry.inner.tenant_record(id).unwrap();
        let residence = self.registry.inner.residence(record.incarnation).unwrap();
        let own = [record.directory, record.audit].into_iter().flatten().map(|place| WrappedKey::from(&place.wrapped));
        let namespaces = residence
            .book()
            .read(|state| state.namespaces.values().map(|n| WrappedKey::from(&n.place.wrapped)).collect::<Vec<_>>());
        own.chain(namespaces).collect()
    }
}

#[tokio::test]
async fn a_stop_behind_any_step_leaves_everything_readable_and_is_gone_on_from() {
    for step in STEPS {
        let mut site = Site::new();
        let start = site.start().await;
        let id = start.tenant("acme").await;
        let key = start.key(&id).await.to_string();
        for namespace in NAMESPACES {
            start.namespace(&key, namespace).await;
            let grant = start.grant::<Manage>(&key, namespace);
            start.seal(&Home::enter(&grant, &*start.registry.directory()).unwrap()).await;
        }
        let audit = Home::audit(&start.grant::<Search>(&key, "n0"), &*start.registry.directory()).await.unwrap();
        start.seal(&audit).await;
        drop(audit);
        let before = start.wraps(&id);
        let first = start.registry.key_status(&start.operator, &id).await.unwrap().current;

        // Later than the epoch before: that one is not fresh enough.
        site.clock.advance(std::time::Duration::from_secs(1));
        let operation = start.begin_reencryption(&id).await;
        if step >= Step::EpochAdded {
            let work = start.registry.reencrypt(&operation).await.unwrap();
            start.walk(&work, step).await;
        }
        if step == Step::Retired {
            start.retire(&id).await;
        }
        start.all_open(&key).await;
        drop(operation);
        start.kill().await;

        let start = site.start().await;
        start.all_open(&key).await;
        let status = start.registry.key_status(&start.operator, &id).await.unwrap();
        let half = step >= Step::EpochAdded && step < Step::Retired;
        assert_eq!(status.epochs.len(), 1 + usize::from(half), "{step:?}");
        let operation = start.registry.unfinished().pop().unwrap();
        let work = start.registry.reencrypt(&operation).await.unwrap();
        assert_eq!(work.epoch(), first.next(), "{step:?}: the epoch that the stop left is gone on with");
        start.walk(&work, Step::OthersEnded).await;
        assert_eq!(work.progress(), (5, 5), "{step:?}");
        let rotated = work.finish().await.unwrap();
        assert!(rotated.certificate.is_some(), "{step:?}: also of what the stop came behind");
        operation.succeed(serde_json::Value::Null).await;

        let after = start.wraps(&id);
        assert!(after.iter().all(|wrap| Home::keys_in(wrap) == Some(1) && wrap.epoch == rotated.epoch), "{step:?}");
        let status = start.registry.key_status(&start.operator, &id).await.unwrap();
        assert_eq!((status.epochs.len(), status.rotating), (1, None), "{step:?}");
        start.all_open(&key).await;
        // Each place has its second key: one for every place, whatever the stop left.
        for namespace in NAMESPACES {
            let grant = start.grant::<Search>(&key, namespace);
            let home = Home::enter(&grant, &*start.registry.directory()).unwrap();
            assert_eq!(home.epochs(), [KeyEpoch(2)], "{step:?}");
        }
        start.kill().await;
        let start = site.start().await;
        start.all_open(&key).await;
        let world = &start.registry.inner.world;
        let control = start.registry.inner.control.home().clone();
        for old in &before {
            let text = crate::codec::base64(&old.bytes);
            assert!(!super::rotating::holds::<crate::control::ControlState>(world, control.clone(), &text).await);
        }
        start.kill().await;
    }
}
