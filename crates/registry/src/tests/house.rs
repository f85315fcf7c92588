//! The server's own keys: rotated online, taken up behind every step, and nothing stands under those of before.

use super::{Site, Start};
use crate::{Certificate, KeyChoice};
use access::Search;
use journal::Journal;
use kernel::Code;
use std::path::PathBuf;
use vault::{Home, PublicKey};

impl Start {
    async fn begin(&self, reencrypt: bool) {
        self.registry.begin_server_rotation(&self.operator, &KeyChoice::default(), reencrypt).await.unwrap();
    }

    /// As the engine does.
    async fn rotate_own(&self) -> Certificate {
        let work = self.registry.server_rotation().await.unwrap().unwrap();
        if let Some(home) = work.begin_audit().await.unwrap() {
            self.audited().await;
            work.end_audit(&home).await.unwrap();
        }
        work.control().await.unwrap();
        work.finish().await.unwrap()
    }

    /// A line in the operators' audit, and all of it sealed anew, as the ledger does.
    async fn audited(&self) {
        let world = &self.registry.inner.world;
        let home = self.registry.audit_home();
        let open = Journal::recover(&world.storage, home, world.clock.clone(), world.entropy.clone());
        let (journal, found) = open.await.unwrap();
        assert!(found.entries.iter().all(|(_, body)| **body == *b"line"));
        journal.append(zeroize::Zeroizing::new(b"line".to_vec())).await.unwrap();
        journal.checkpoint(b"", journal.last()).await.unwrap();
    }
}

/// Every wrap of the control place that lies there.
fn roots(site: &Site) -> Vec<PathBuf> {
    let ctl = site.data().join("data/ctl");
    let later = std::fs::read_dir(ctl.join("root")).into_iter().flatten().map(|file| file.unwrap().path());
    [ctl.join("root.wrap")].into_iter().chain(later).filter(|path| path.exists()).collect()
}

#[tokio::test]
async fn a_root_key_is_changed_and_the_old_one_opens_nothing() {
    for reencrypt in [false, true] {
        let mut site = Site::new();
        let start = site.start().await;
        let id = start.tenant("acme").await;
        let key = start.key(&id).await.to_string();
        start.namespace(&key, "n").await;
        let signing = start.registry.signing_key();
        start.kill().await;

        let old = std::mem::replace(&mut site.root, "6b".repeat(32));
        site.previous = Some(old.clone());
        let start = site.start().await;
        let before = start.registry.server_keys(&start.operator);
        start.begin(reencrypt).await;
        assert!(start.registry.server_keys(&start.operator).rotating.is_some_and(|(_, anew)| anew == reencrypt));
        let again = start.registry.begin_server_rotation(&start.operator, &KeyChoice::default(), reencrypt).await;
        assert_eq!(again.unwrap_err().code, Code::Conflict);
        let certificate = start.rotate_own().await;
        let after = start.registry.server_keys(&start.operator);
        assert_eq!((after.rotating, after.audit_epochs.len(), roots(&site).len()), (None, 1, 1));
        assert!(after.audit_epochs[0].0 > before.audit_epochs[0].0);
        assert_eq!(after.control_epochs != before.control_epochs, reencrypt, "sealed anew, or wrapped anew");
        let stated = PublicKey::parse(&signing).unwrap().open(&certificate.note).unwrap().to_owned();
        let stated: serde_json::Value = serde_json::from_str(&stated).unwrap();
        assert_eq!(stated["destroyed"].as_array().map(Vec::len), Some(2), "{stated:#}");
        assert_eq!(start.registry.server_certificate(), Some(certificate));
        // Tenants' own keys are theirs to rotate.
        let grant = start.gate.delegate(&start.operator, &id).unwrap();
        let Ok(crate::Begun::Fresh(operation)) =
            start.registry.begin_operation(&id, crate::OperationKind::RotateKey).await
        else {
            panic!("none runs")
        };
        start.registry.rotate(&grant, &operation).await.unwrap();
        operation.succeed(serde_json::Value::Null).await;
        drop(grant);
        start.kill().await;

        site.previous = None;
        let start = site.start().await;
        assert!(Home::enter(&start.grant::<Search>(&key, "n"), &*start.registry.directory()).is_ok());
        assert_eq!(start.registry.signing_key(), signing, "the signing key is pinned elsewhere, and stays");
        start.kill().await;
        site.root = old;
        let (storage, opened) = site.open(None).await;
        assert_eq!(opened.err().unwrap().code, Code::KeyUnavailable);
        storage.close().await;
    }
}

/// Stops behind every step, starts again, looks, and goes on to the end.
#[tokio::test]
async fn a_stop_behind_any_step_of_it_is_gone_on_from() {
    for reencrypt in [false, true] {
        for step in 0..7 {
            let mut site = Site::new();
            let start = site.start().await;
            start.tenant("acme").await;
            start.audited().await;
            start.begin(reencrypt).await;
            if step > 0 {
                let work = start.registry.server_rotation().await.unwrap().unwrap();
                if step > 1 {
                    let home = work.begin_audit().await.unwrap();
                    assert_eq!(home.is_some(), reencrypt);
                    if let Some(home) = home.filter(|_| step > 2) {
                        start.audited().await;
                        work.end_audit(&home).await.unwrap();
                    }
                }
                if step == 4 && reencrypt {
                    work.rewrap_control(|home, key, entropy| home.with_next_control_key(&**key, entropy))
                        .await
                        .unwrap();
                    // Something is written under the new key before the stop.
                    start.tenant("other").await;
                }
                if step > 4 {
                    work.control().await.unwrap();
                }
                if step > 5 {
                    // What a stop between the new wrap and the removal of the old one leaves.
                    let last = roots(&site).pop().unwrap();
                    std::fs::copy(last, site.data().join("data/ctl/root.wrap")).unwrap();
                }
            }
            start.kill().await;

            let start = site.start().await;
            assert!(start.registry.server_rotates(), "step {step}");
            start.audited().await;
            start.rotate_own().await;
            let after = start.registry.server_keys(&start.operator);
            assert_eq!((after.rotating, after.audit_epochs.len(), roots(&site).len()), (None, 1, 1), "step {step}");
            assert_eq!(start.registry.inner.control.home().epochs().len(), 1);
            assert_eq!(start.registry.audit_home().epochs().len(), 1);
            start.kill().await;
            let start = site.start().await;
            assert!(start.registry.server_rotation().await.unwrap().is_none());
            start.audited().await;
            start.kill().await;
        }
    }
}
