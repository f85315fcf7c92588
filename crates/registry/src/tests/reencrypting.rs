//! Re-encryption: after a stop at any step everything is readable, and a restart does the rest.

use super::{DataFolder, RunningServer, name};
use crate::{BegunOperation, OperationHandle, OperationKind, Reencryption, control::ControlEvent};
use access::{Manage, Search};
use journal::{Journal, ObjectRef};
use kernel::{ByteReader, KeyEpoch, TenantId};
use std::sync::Arc;
use vault::{Keyspace, ObjectKind, WrappedKey};

const NAMESPACES: [&str; 3] = ["n0", "n1", "n2"];
const TEXT: &[u8] = b"text of a customer";

/// The last step before the stop, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LastStep {
    Begun,
    EpochAdded,
    DirectoryHasNextKey,
    DirectoryPurged,
    DirectoryEnded,
    AuditHasNextKey,
    AuditReencrypted,
    AuditEnded,
    NamespaceHasNextKey,
    NamespaceReencrypted,
    NamespaceEnded,
    OthersEnded,
    FinalPurge,
    Retired,
}

const STEPS: [LastStep; 14] = [
    LastStep::Begun,
    LastStep::EpochAdded,
    LastStep::DirectoryHasNextKey,
    LastStep::DirectoryPurged,
    LastStep::DirectoryEnded,
    LastStep::AuditHasNextKey,
    LastStep::AuditReencrypted,
    LastStep::AuditEnded,
    LastStep::NamespaceHasNextKey,
    LastStep::NamespaceReencrypted,
    LastStep::NamespaceEnded,
    LastStep::OthersEnded,
    LastStep::FinalPurge,
    LastStep::Retired,
];

impl RunningServer {
    /// Opens what is stored in a keyspace, as a store or a ledger would: the object that its checkpoint names.
    async fn stored(&self, keyspace: &Arc<Keyspace>) -> (Journal, Option<ObjectRef>) {
        let env = &self.registry.inner.env;
        let open = Journal::recover(&env.storage, keyspace.clone(), env.clock.clone(), env.entropy.clone());
        let (journal, found) = open.await.unwrap();
        let object = found.checkpoint.map(|body| ObjectRef::decode(&mut ByteReader::new(&body, "reference")).unwrap());
        if let Some(object) = &object {
            assert_eq!(*journal.get(object).await.unwrap(), *TEXT);
        }
        (journal, object)
    }

    /// Re-encrypts what is stored in a keyspace under its newest key, in the form that [`Self::stored`] reads.
    async fn seal(&self, keyspace: &Arc<Keyspace>) {
        let (journal, old) = self.stored(keyspace).await;
        let object = journal.put(ObjectKind::Segment, TEXT).await.unwrap();
        let mut body = Vec::new();
        object.encode(&mut body);
        journal.checkpoint(&body, journal.last()).await.unwrap();
        if let Some(old) = old {
            journal.delete(&old).await.unwrap();
        }
        let under = journal.count_by_key_epoch(&[object]).await.unwrap();
        assert!(under.keys().all(|epoch| *epoch == keyspace.epoch()), "{under:?}");
    }

    async fn all_open(&self, key: &str) {
        for namespace in NAMESPACES {
            let grant = self.grant::<Search>(key, namespace);
            let keyspace = Keyspace::enter(&grant, &*self.registry.directory()).unwrap();
            assert!(self.stored(&keyspace).await.1.is_some());
            let audit = Keyspace::audit(&grant, &*self.registry.directory()).await.unwrap();
            assert!(self.stored(&audit).await.1.is_some());
        }
    }

    async fn begin_reencryption(&self, id: &TenantId) -> OperationHandle {
        match self.registry.begin_operation(id, OperationKind::Reencrypt).await.unwrap() {
            BegunOperation::Fresh(operation) => operation,
            BegunOperation::Running(_) => panic!("none runs"),
        }
    }

    /// Runs the re-encryption up to a step, as the engine does.
    async fn run_up_to(&self, work: &Reencryption, last: LastStep) {
        if last >= LastStep::DirectoryHasNextKey && last < LastStep::DirectoryEnded {
            let directory = work.open_tenant.directory();
            work.begin_own_keyspace(directory.keyspace(), |r| r.directory.as_ref()).await.unwrap();
            if last == LastStep::DirectoryPurged {
                directory.purge().await.unwrap();
            }
        }
        if last >= LastStep::DirectoryEnded {
            work.directory().await.unwrap();
        }
        if last >= LastStep::AuditHasNextKey
            && let Some(keyspace) = work.begin_audit().await.unwrap()
        {
            if last >= LastStep::AuditReencrypted {
                self.seal(&keyspace).await;
            }
            if last >= LastStep::AuditEnded {
                work.end_audit(&keyspace).await.unwrap();
            }
        }
        // One namespace is re-encrypted alone and the others together, to cover both.
        let groups = match last {
            _ if last >= LastStep::OthersEnded => &[&NAMESPACES[..1], &NAMESPACES[1..]][..],
            _ if last >= LastStep::NamespaceHasNextKey => &[&NAMESPACES[..1]],
            _ => &[],
        };
        for together in groups {
            let names: Vec<_> = together.iter().map(|namespace| name(namespace)).collect();
            let renewing = work.begin(&names).await.unwrap();
            if last >= LastStep::NamespaceReencrypted {
                for (_, keyspace) in &renewing {
                    self.seal(keyspace).await;
                }
            }
            if last >= LastStep::NamespaceEnded {
                work.end(&renewing).await.unwrap();
            }
        }
        if last >= LastStep::FinalPurge {
            work.open_tenant.directory().purge().await.unwrap();
        }
    }

    /// Writes what `retire` writes, without the checkpoint after it.
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

    /// Returns the wrapped keys of all the tenant's keyspaces.
    fn wrapped_keys(&self, id: &TenantId) -> Vec<WrappedKey> {
        let record = self.registry.inner.tenant_record(id).unwrap();
        let open_tenant = self.registry.inner.open_tenant(record.incarnation).unwrap();
        let own =
            [record.directory, record.audit].into_iter().flatten().map(|keyspace| WrappedKey::from(&keyspace.wrapped));
        let namespaces = open_tenant
            .directory()
            .read(|state| state.namespaces.values().map(|n| WrappedKey::from(&n.keyspace.wrapped)).collect::<Vec<_>>());
        own.chain(namespaces).collect()
    }
}

#[tokio::test]
async fn a_stop_after_any_step_leaves_everything_readable_and_is_continued() {
    for step in STEPS {
        let mut data_folder = DataFolder::new();
        let server = data_folder.start().await;
        let id = server.tenant("acme").await;
        let key = server.key(&id).await.to_string();
        for namespace in NAMESPACES {
            server.namespace(&key, namespace).await;
            let grant = server.grant::<Manage>(&key, namespace);
            server.seal(&Keyspace::enter(&grant, &*server.registry.directory()).unwrap()).await;
        }
        let audit = Keyspace::audit(&server.grant::<Search>(&key, "n0"), &*server.registry.directory()).await.unwrap();
        server.seal(&audit).await;
        drop(audit);
        let before = server.wrapped_keys(&id);
        let first = server.registry.key_status(&server.operator, &id).await.unwrap().current;

        // The operation must begin after the present epoch, so that this epoch is not fresh enough.
        data_folder.clock.advance(std::time::Duration::from_secs(1));
        let operation = server.begin_reencryption(&id).await;
        if step >= LastStep::EpochAdded {
            let work = server.registry.reencrypt(&operation).await.unwrap();
            server.run_up_to(&work, step).await;
        }
        if step == LastStep::Retired {
            server.retire(&id).await;
        }
        server.all_open(&key).await;
        drop(operation);
        server.kill().await;

        let server = data_folder.start().await;
        server.all_open(&key).await;
        let status = server.registry.key_status(&server.operator, &id).await.unwrap();
        let half = step >= LastStep::EpochAdded && step < LastStep::Retired;
        assert_eq!(status.epochs.len(), 1 + usize::from(half), "{step:?}");
        let operation = server.registry.unfinished_operations().pop().unwrap();
        let work = server.registry.reencrypt(&operation).await.unwrap();
        assert_eq!(work.epoch(), first.next(), "{step:?}: the epoch that the stop left is reused");
        server.run_up_to(&work, LastStep::OthersEnded).await;
        assert_eq!(work.progress(), (5, 5), "{step:?}");
        let rotated = work.finish().await.unwrap();
        assert!(rotated.certificate.is_some(), "{step:?}: also if the stop came after the destruction");
        operation.succeed(serde_json::Value::Null).await;

        let after = server.wrapped_keys(&id);
        assert!(
            after.iter().all(|wrap| Keyspace::key_count(wrap) == Some(1) && wrap.epoch == rotated.epoch),
            "{step:?}"
        );
        let status = server.registry.key_status(&server.operator, &id).await.unwrap();
        assert_eq!((status.epochs.len(), status.rotating), (1, None), "{step:?}");
        server.all_open(&key).await;
        // Each keyspace has its second key, and only one such key was made, whatever the stop left.
        for namespace in NAMESPACES {
            let grant = server.grant::<Search>(&key, namespace);
            let keyspace = Keyspace::enter(&grant, &*server.registry.directory()).unwrap();
            assert_eq!(keyspace.epochs(), [KeyEpoch(2)], "{step:?}");
        }
        server.kill().await;
        let server = data_folder.start().await;
        server.all_open(&key).await;
        let env = &server.registry.inner.env;
        let control = server.registry.inner.control.keyspace().clone();
        for old in &before {
            let text = crate::codec::base64(&old.bytes);
            assert!(
                !super::rotating::journal_contains::<crate::control::ControlState>(env, control.clone(), &text).await
            );
        }
        server.kill().await;
    }
}
