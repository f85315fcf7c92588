//! The system's keys: they rotate online, a restart continues after any step, and nothing is left under the old ones.

use super::{DataFolder, RunningServer};
use crate::{Certificate, KeyChoice};
use access::Search;
use journal::Journal;
use kernel::Code;
use std::path::PathBuf;
use vault::{Keyspace, PublicKey};

impl RunningServer {
    async fn begin(&self, reencrypt: bool) {
        self.registry.begin_server_rotation(&self.operator, &KeyChoice::default(), reencrypt).await.unwrap();
    }

    /// Rotates them as the engine does.
    async fn rotate_server_keys(&self) -> Certificate {
        let work = self.registry.server_rotation().await.unwrap().unwrap();
        if let Some(keyspace) = work.begin_audit().await.unwrap() {
            self.write_audit().await;
            work.end_audit(&keyspace).await.unwrap();
        }
        work.control().await.unwrap();
        work.finish().await.unwrap()
    }

    /// Appends a record to the operators' audit and re-encrypts all of it, as the ledger does.
    async fn write_audit(&self) {
        let env = &self.registry.inner.env;
        let keyspace = self.registry.audit_keyspace();
        let open = Journal::recover(&env.storage, keyspace, env.clock.clone(), env.entropy.clone());
        let (journal, found) = open.await.unwrap();
        assert!(found.entries.iter().all(|(_, body)| **body == *b"line"));
        journal.append(zeroize::Zeroizing::new(b"line".to_vec())).await.unwrap();
        journal.checkpoint(b"", journal.last()).await.unwrap();
    }
}

/// Returns every stored wrap of the control keyspace.
fn wrap_files(data_folder: &DataFolder) -> Vec<PathBuf> {
    let ctl = data_folder.data().join("data/ctl");
    let later = std::fs::read_dir(ctl.join("root")).into_iter().flatten().map(|file| file.unwrap().path());
    [ctl.join("root.wrap")].into_iter().chain(later).filter(|path| path.exists()).collect()
}

#[tokio::test]
async fn a_root_key_is_changed_and_the_old_one_opens_nothing() {
    for reencrypt in [false, true] {
        let mut data_folder = DataFolder::new();
        let server = data_folder.start().await;
        let id = server.tenant("acme").await;
        let key = server.key(&id).await.to_string();
        server.namespace(&key, "n").await;
        let signing = server.registry.signing_key();
        server.kill().await;

        let old = std::mem::replace(&mut data_folder.root, "6b".repeat(32));
        data_folder.previous = Some(old.clone());
        let server = data_folder.start().await;
        let before = server.registry.server_keys(&server.operator);
        server.begin(reencrypt).await;
        assert!(
            server
                .registry
                .server_keys(&server.operator)
                .rotating
                .is_some_and(|(_, reencrypts)| reencrypts == reencrypt)
        );
        let again = server.registry.begin_server_rotation(&server.operator, &KeyChoice::default(), reencrypt).await;
        assert_eq!(again.unwrap_err().code, Code::Conflict);
        let certificate = server.rotate_server_keys().await;
        let after = server.registry.server_keys(&server.operator);
        assert_eq!((after.rotating, after.audit_epochs.len(), wrap_files(&data_folder).len()), (None, 1, 1));
        assert!(after.audit_epochs[0].0 > before.audit_epochs[0].0);
        assert_eq!(after.control_epochs != before.control_epochs, reencrypt, "re-encrypted or rewrapped");
        let stated = PublicKey::parse(&signing).unwrap().open(&certificate.note).unwrap().to_owned();
        let stated: serde_json::Value = serde_json::from_str(&stated).unwrap();
        assert_eq!(stated["destroyed"].as_array().map(Vec::len), Some(2), "{stated:#}");
        assert_eq!(server.registry.server_certificate(), Some(certificate));
        // The keys of tenants are not rotated with the system's.
        let grant = server.gate.delegate(&server.operator, &id).unwrap();
        let Ok(crate::BegunOperation::Fresh(operation)) =
            server.registry.begin_operation(&id, crate::OperationKind::RotateKey).await
        else {
            panic!("none runs")
        };
        server.registry.rotate(&grant, &operation).await.unwrap();
        operation.succeed(serde_json::Value::Null).await;
        drop(grant);
        server.kill().await;

        data_folder.previous = None;
        let server = data_folder.start().await;
        assert!(Keyspace::enter(&server.grant::<Search>(&key, "n"), &*server.registry.directory()).is_ok());
        assert_eq!(server.registry.signing_key(), signing, "the signing key is pinned elsewhere, and stays");
        server.kill().await;
        data_folder.root = old;
        let (storage, opened) = data_folder.open(None).await;
        assert_eq!(opened.err().unwrap().code, Code::KeyUnavailable);
        storage.close().await;
    }
}

/// Stops after every step, starts again, and continues to the end.
#[tokio::test]
async fn a_rotation_continues_after_a_stop_at_any_step() {
    for reencrypt in [false, true] {
        for step in 0..7 {
            let mut data_folder = DataFolder::new();
            let server = data_folder.start().await;
            server.tenant("acme").await;
            server.write_audit().await;
            server.begin(reencrypt).await;
            if step > 0 {
                let work = server.registry.server_rotation().await.unwrap().unwrap();
                if step > 1 {
                    let keyspace = work.begin_audit().await.unwrap();
                    assert_eq!(keyspace.is_some(), reencrypt);
                    if let Some(keyspace) = keyspace.filter(|_| step > 2) {
                        server.write_audit().await;
                        work.end_audit(&keyspace).await.unwrap();
                    }
                }
                if step == 4 && reencrypt {
                    work.rewrap_control(|keyspace, key, entropy| keyspace.with_next_control_key(&**key, entropy))
                        .await
                        .unwrap();
                    // Something is written under the new key before the stop.
                    server.tenant("other").await;
                }
                if step > 4 {
                    work.control().await.unwrap();
                }
                if step > 5 {
                    // A stop between the new wrap and the removal of the old one leaves both.
                    let last = wrap_files(&data_folder).pop().unwrap();
                    std::fs::copy(last, data_folder.data().join("data/ctl/root.wrap")).unwrap();
                }
            }
            server.kill().await;

            let server = data_folder.start().await;
            assert!(server.registry.server_rotation_in_progress(), "step {step}");
            server.write_audit().await;
            server.rotate_server_keys().await;
            let after = server.registry.server_keys(&server.operator);
            assert_eq!(
                (after.rotating, after.audit_epochs.len(), wrap_files(&data_folder).len()),
                (None, 1, 1),
                "step {step}"
            );
            assert_eq!(server.registry.inner.control.keyspace().epochs().len(), 1);
            assert_eq!(server.registry.audit_keyspace().epochs().len(), 1);
            server.kill().await;
            let server = data_folder.start().await;
            assert!(server.registry.server_rotation().await.unwrap().is_none());
            server.write_audit().await;
            server.kill().await;
        }
    }
}
