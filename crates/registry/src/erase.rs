//! Erasure of a tenant: destroys its keys, removes its data, and certifies both.
//!
//! 1. `TenantDeleting` in control: from now on nothing of the tenant is served, no newer entry holds its wrapped keys,
//!    and the evidence for the certificate is recorded.
//! 2. A control checkpoint, after which no log holds the wrapped keys: what is on disk can no longer be opened.
//! 3. Keys that a provider made for this tenant alone are destroyed there.
//! 4. The server tries to open what opened before, which must fail.
//! 5. The prefixes are removed, and so is everything else whose keyspace id belongs to this tenant.
//! 6. `TenantDeleted` with the certificate: the name is free.
//!
//! After a crash at any point after step 1, the next start continues.

use crate::{
    Certificate, NamespaceRecord, OperationHandle, OperationKind, Registry,
    certificate::{
        Attempt, AuditHeadStatement, CheckFailure, DecryptionCheck, DocumentErasureStatement, ErasureStatement,
        ProviderReceipt, Recheck, ResultBefore, SampledObject, ShreddedKey, ShreddingRecord, SignedHead, hex,
    },
    codec,
    control::ControlEvent,
    decryption_check::KeyPath,
    keyspace_ids,
    record::{KeyringRecord, Lifecycle, TenantRecord},
};
use access::{Action, Erase, Grant};
use kernel::{Code, CommitNo, DocumentId, Error, Incarnation, Result, RetryPolicy, TenantId, limits};
use std::collections::BTreeSet;
use vault::{Key, KeyFailure, KeyspaceKind, TenantKeys, WrappedKey};

/// Result of an erasure.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// Prefixes of the keyspaces that were removed.
    pub removed: Vec<String>,
    /// Certificate of the erasure.
    pub certificate: Option<Certificate>,
}

impl Registry {
    /// Erases the grant's tenant.
    ///
    /// The stores must have released it before. A tenant whose directory does not open is erased as well, because the
    /// ids of its namespaces show whose they are.
    ///
    /// # Errors
    /// `not_suspended`, `not_found`. After any other error the erasure continues with the next call or the next start.
    pub async fn erase(&self, grant: &Grant<Erase>) -> Result<Erasure> {
        self.erase_incarnation(grant.tenant(), grant.incarnation()).await
    }

    /// Continues an erasure whose operation was interrupted by a restart; done if the tenant is deleted.
    ///
    /// # Errors
    /// As [`Registry::erase`]; `invalid_request` for another kind of operation.
    pub async fn resume_erasure(&self, operation: &OperationHandle) -> Result<Erasure> {
        if operation.kind() != OperationKind::EraseTenant {
            return Err(Error::invalid("operation", "is not an erasure"));
        }
        let incarnation = operation.incarnation();
        let is_deleted = self.inner.control.read(|s| s.by_incarnation(incarnation).is_none());
        if is_deleted {
            let certificate = self.inner.control.read(|s| s.certificates.of(incarnation).next_back().cloned());
            return Ok(Erasure { removed: Vec::new(), certificate });
        }
        self.erase_incarnation(operation.tenant(), incarnation).await
    }

    async fn erase_incarnation(&self, tenant: &TenantId, incarnation: Incarnation) -> Result<Erasure> {
        let record = self.inner.tenant_record(tenant)?;
        if record.incarnation != incarnation {
            return Err(Error::not_found());
        }
        let mut forgotten_keyring = None;
        if record.life != Lifecycle::Deleting {
            check_erasable(record.life)?;
            self.begin_erasure(&record).await?;
            forgotten_keyring = Some(&record.keys);
        }
        // This is repeated even if the tenant was being erased already: the previous call may have failed here.
        self.inner.control.purge().await?;
        self.inner.tenants.close(&incarnation).await;
        self.inner.key_events.forget(incarnation);
        self.remove_remains(&self.inner.tenant_record(tenant)?, forgotten_keyring).await
    }

    /// Step 1.
    pub(crate) async fn begin_erasure(&self, record: &TenantRecord) -> Result<()> {
        // The tenant is opened to learn where its namespaces lie.
        let open_tenant = self.inner.open(record.incarnation).await.ok();
        let mut prefixes = match &open_tenant {
            Some(open_tenant) => open_tenant.close().await?,
            None => Vec::new(),
        };
        prefixes.extend(record.audit.as_ref().map(|p| KeyspaceKind::Audit.prefix(p.uuid)));
        prefixes.extend(record.directory.as_ref().map(|p| KeyspaceKind::Directory.prefix(p.uuid)));
        let key_path = KeyPath::resolve(&self.inner, record.incarnation, open_tenant.as_deref()).await;
        let mut canary = open_tenant.as_deref().and_then(|open_tenant| self.inner.canary(open_tenant).ok());
        if let Some(canary) = &mut canary {
            canary.before = ResultBefore::of(key_path.canary(canary).map_err(CheckFailure::into_message));
        }
        let shredding = ShreddingRecord {
            begun_at: self.inner.env.clock.now().to_string(),
            directory_opened: open_tenant.is_some(),
            keys: record.keys.epochs.iter().map(ShreddedKey::of).collect(),
            canary,
            samples: self.samples(&key_path, &prefixes).await,
        };
        drop(key_path);
        let written = self.inner.write(|state| {
            let tenant = state.tenants.get(&record.id).filter(|t| t.incarnation == record.incarnation);
            let tenant = tenant.ok_or_else(Error::not_found)?;
            check_erasable(tenant.life)?;
            if !tenant.keys.epoch_numbers().eq(record.keys.epoch_numbers()) {
                return Err(Error::new(Code::Conflict, "the tenant's keys have changed meanwhile").into());
            }
            Ok((Some(ControlEvent::TenantDeleting { id: record.id.clone(), prefixes, shredding }), ()))
        });
        let written = written.await;
        if let (Err(_), Some(open_tenant)) = (&written, open_tenant) {
            open_tenant.reopen();
        }
        Ok(written?)
    }

    /// Takes sealed objects of each keyspace as they are stored and tries to decrypt each. One that cannot be read is
    /// left out.
    async fn samples(&self, key_path: &KeyPath<'_>, prefixes: &[String]) -> Vec<DecryptionCheck> {
        let mut samples = Vec::new();
        let each = limits::CERTIFICATE_SAMPLES_MAX.div_ceil(prefixes.len().max(1)).max(1);
        for prefix in prefixes {
            let most = each.min(limits::CERTIFICATE_SAMPLES_MAX.saturating_sub(samples.len()));
            if most == 0 {
                break;
            }
            for found in self.inner.env.storage.newest_samples(prefix, most).await.unwrap_or_default() {
                samples.push(DecryptionCheck::of(key_path, found).await);
            }
        }
        samples
    }

    /// Returns prefixes of keyspaces that belong to this incarnation by their id and that no record names, because the
    /// directory did not open or a crash left them.
    async fn unrecorded_prefixes(&self, record: &TenantRecord) -> Result<Vec<String>> {
        let control = self.inner.control.keyspace();
        let all = self.inner.env.storage.keyspaces(KeyspaceKind::Namespace).await?;
        let own = all.into_iter().filter(|number| keyspace_ids::belongs_to(control, record.incarnation, *number));
        let prefixes = own.map(|number| KeyspaceKind::Namespace.prefix(number));
        Ok(prefixes.filter(|prefix| !record.pending_prefixes.contains(prefix)).collect())
    }

    /// Steps 3 to 6. `forgotten_keyring` holds the wrapped keys that the caller has just made the journals forget.
    pub(crate) async fn remove_remains(
        &self,
        record: &TenantRecord,
        forgotten_keyring: Option<&KeyringRecord>,
    ) -> Result<Erasure> {
        let shredding =
            record.shredding.clone().ok_or_else(|| Error::internal("an erasure has no record of its keys"))?;
        let receipts = self.destroy_keys(&shredding).await;
        // This comes before anything is removed, so that the check fails for want of keys and not of bytes.
        let key_path = KeyPath::resolve(&self.inner, record.incarnation, None).await;
        let attempts = self.attempts(&key_path, record, &shredding, forgotten_keyring).await;
        let canary = shredding.canary.as_ref().map(|canary| Recheck::of(canary, "", key_path.canary(canary)));
        let mut sampled_objects = Vec::new();
        for decryption_check in &shredding.samples {
            let sample_state = self.sample_state(&decryption_check.sample).await;
            sampled_objects.push(Recheck::of(
                decryption_check,
                sample_state,
                key_path.object(&decryption_check.sample.object).await,
            ));
        }
        drop(key_path);
        // Step 5.
        let unrecorded_prefixes = self.unrecorded_prefixes(record).await?;
        let removed: Vec<_> = record.pending_prefixes.iter().chain(&unrecorded_prefixes).cloned().collect();
        for prefix in &removed {
            self.inner.env.storage.remove_prefix(prefix).await?;
        }
        // The certificate lists whatever is still there, which should be nothing.
        let mut remains = Vec::new();
        for prefix in &removed {
            let left = self.inner.env.storage.object_samples(prefix, limits::CERTIFICATE_SAMPLES_MAX).await?;
            remains.extend(left.into_iter().map(SampledObject::from));
        }
        let now = self.inner.env.clock.now();
        let statement = ErasureStatement {
            statement: "tenant erased",
            version: 0,
            tenant: record.id.as_str(),
            incarnation: record.incarnation.to_string(),
            keys_destroyed_at: &shredding.begun_at,
            finished_at: now.to_string(),
            keys: &shredding.keys,
            cannot_be_proven: unprovable(&shredding, &receipts, forgotten_keyring.is_some()),
            provider_receipts: receipts,
            attempts,
            canary,
            sampled_objects,
            keyspaces_removed: &removed,
            keyspaces_found_by_id: &unrecorded_prefixes,
            remains,
        };
        let (id, incarnation) = (&record.id, record.incarnation);
        let certificate = Certificate::sign(&self.inner.signer, id, incarnation, "tenant.erased", now, &statement)?;
        // Step 6. Another call may have finished this erasure meanwhile, and the name may be in use again.
        let kept = certificate.clone();
        self.inner
            .control
            .write(|state| {
                let same = state.tenants.get(id).is_some_and(|t| t.incarnation == incarnation);
                Ok((same.then(|| ControlEvent::TenantDeleted { id: id.clone(), certificate: kept }), ()))
            })
            .await?;
        Ok(Erasure { removed, certificate: Some(certificate) })
    }

    /// Describes the state in which a sampled object is found now.
    async fn sample_state(&self, sample: &SampledObject) -> &'static str {
        match self.inner.env.storage.sample(&sample.object).await {
            Ok(Some(now)) if hex(&now.sha256) == sample.sha256 => "its bytes are unchanged; ",
            Ok(Some(_)) => "its bytes have changed; ",
            Ok(None) => "its bytes were removed; ",
            Err(_) => "its bytes could not be read; ",
        }
    }

    /// Step 3. A provider that does not answer is asked a few times; after that the certificate says that its key still
    /// exists.
    async fn destroy_keys(&self, shredding: &ShreddingRecord) -> Vec<ProviderReceipt> {
        let own: BTreeSet<_> = shredding.keys.iter().map(|k| (&k.provider, &k.key, k.own_key)).collect();
        let mut receipts = Vec::new();
        for (provider, key, own_key) in own {
            let (destroyed, said) = match own_key {
                false => (
                    false,
                    "shared with other tenants, or the customer's own; this server does not destroy it".to_owned(),
                ),
                true => self.destroy_key(provider, key).await,
            };
            receipts.push(ProviderReceipt { provider: provider.clone(), key: key.clone(), destroyed, said });
        }
        receipts
    }

    async fn destroy_key(&self, provider: &str, name: &str) -> (bool, String) {
        let provider_client = &self.inner.provider_client;
        let mut pauses = DESTROY_RETRIES.pauses();
        loop {
            let asked = match provider_client.config.providers.key(provider, name) {
                Ok(key) => provider_client.call(key, |key| key.destroy()).await,
                Err(error) => Err(error.into()),
            };
            match asked {
                Ok(receipt) => return (receipt.destroyed, receipt.said),
                Err(error) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return (false, format!("not destroyed; destroy it by hand: {error}")),
                },
            }
        }
    }

    /// Step 4: reads the control journal from storage again, as a start would, and tries to unwrap the tenant's keys;
    /// asks the providers for the keys that they destroyed.
    async fn attempts(
        &self,
        key_path: &KeyPath<'_>,
        record: &TenantRecord,
        shredding: &ShreddingRecord,
        forgotten_keyring: Option<&KeyringRecord>,
    ) -> Vec<Attempt> {
        let tried = "read the control journal from storage again and unwrap the tenant's keys".to_owned();
        let mut attempts = vec![match key_path.keys() {
            Err(CheckFailure::NotTried(why)) => Attempt::not_tried(tried, &why),
            keys => Attempt::of(tried, keys.err().map(CheckFailure::into_message)),
        }];
        if let Some(ring) = forgotten_keyring {
            let texts: Vec<_> = ring.epochs.iter().map(|epoch| codec::base64(&epoch.wrapped.bytes)).collect();
            let tried = "search for the wrapped keys in the control journal's checkpoint and log".to_owned();
            attempts.push(match self.inner.control.storage_contains(&texts).await {
                Err(error) => Attempt::not_tried(tried, &error.to_string()),
                Ok(there) => Attempt::of(tried, (!there).then(|| "none of them was found".to_owned())),
            });
        }
        for key in shredding.keys.iter().filter(|k| k.own_key) {
            let tried = format!("ask provider {} for its key {}", key.provider, key.key);
            let facts = match self.inner.provider_client.config.providers.key(&key.provider, &key.key) {
                Ok(key) => self.inner.provider_client.call(key, |key| key.facts()).await,
                Err(error) => Err(error.into()),
            };
            attempts.push(Attempt::of_provider(tried, facts.map(drop)));
        }
        for epoch in forgotten_keyring.iter().flat_map(|ring| &ring.epochs).filter(|epoch| epoch.made) {
            let (number, incarnation) = (epoch.wrapped.epoch, record.incarnation);
            let tried = format!("ask provider {} to unwrap epoch {number} with its key {}", epoch.provider, epoch.key);
            let wrapped = WrappedKey::from(&epoch.wrapped);
            let probed = match self.inner.provider_client.key_of(epoch) {
                Ok(key) => {
                    let probe = move |key: &Key| TenantKeys::probe(&**key, incarnation, &wrapped);
                    self.inner.provider_client.call(key, probe).await
                }
                Err(error) => Err(error),
            };
            attempts.push(Attempt::of_provider(tried, probed));
        }
        attempts
    }

    /// Signs the statement that nothing in the grant's namespace holds these documents any more. The caller must have
    /// searched for each id and found, as of the commit `looked_at`, no copy that it may read; if it may read
    /// everything, no copy at all.
    ///
    /// # Errors
    /// `internal` when it does not encode.
    pub fn certify_erased<A: Action>(
        &self,
        grant: &Grant<A>,
        namespace: &NamespaceRecord,
        documents: &[DocumentId],
        deleted: u64,
        (clean_from, looked_at): (CommitNo, CommitNo),
        sees_all: bool,
    ) -> Result<String> {
        let at = self.inner.env.clock.now();
        let statement = DocumentErasureStatement {
            statement: "documents erased: no object, checkpoint or log of the namespace holds them",
            version: 0,
            tenant: grant.tenant().as_str(),
            incarnation: grant.incarnation().to_string(),
            namespace: namespace.name.as_str(),
            namespace_uuid: namespace.uuid.to_string(),
            at: at.to_string(),
            documents: documents.iter().map(DocumentId::as_str).collect(),
            covers: if sees_all {
                "every document under these ids"
            } else {
                "what the caller could read under these ids"
            },
            deleted,
            clean_from_commit: clean_from.0,
            attempts: vec![Attempt {
                tried: format!(
                    "find a copy under any of the {} ids in every index of the namespace, as of commit {looked_at}",
                    documents.len()
                ),
                outcome: "none was found".to_owned(),
                refused: true,
            }],
            cannot_be_proven: [
                "that no copies were made outside this server: of documents and answers by their readers, of its storage \
                 by snapshots and versions",
                "that the storage has overwritten what it deleted: such bytes are sealed under keys that were deleted \
                 with them, and those under the namespace's key",
                "that no trace of the ids is left: the audit keeps keyed pseudonyms of the names, and nothing of the \
                 content",
            ],
        };
        let (tenant, incarnation) = (grant.tenant(), grant.incarnation());
        let signed = Certificate::sign(&self.inner.signer, tenant, incarnation, "documents.erased", at, &statement)?;
        Ok(signed.note)
    }

    /// Returns the certificates that are kept, newest first; those about one tenant's name, if one is given.
    pub fn certificates(&self, _: &access::Operator, tenant: Option<&TenantId>) -> Vec<Certificate> {
        self.inner.control.read(|s| {
            let all = s.certificates.all().rev();
            all.filter(|c| tenant.is_none_or(|t| c.tenant == t.as_str())).cloned().collect()
        })
    }

    /// Signs the end of an audit log: a tenant's, or that of the operators' actions.
    ///
    /// # Errors
    /// `internal` when it does not encode.
    pub fn sign_audit_head(
        &self,
        tenant: Option<(&TenantId, kernel::Incarnation)>,
        chain: String,
        lines: u64,
        head: String,
    ) -> Result<SignedHead> {
        let at = self.inner.env.clock.now();
        let statement = AuditHeadStatement {
            statement: "audit head",
            version: 0,
            tenant: tenant.map(|(tenant, _)| tenant.as_str()),
            incarnation: tenant.map(|(_, incarnation)| incarnation.to_string()),
            chain: &chain,
            lines,
            head: &head,
            at: at.to_string(),
        };
        let text = serde_json::to_string_pretty(&statement)
            .map_err(|e| Error::internal("a statement does not encode").with_source(e))?;
        let note = self.inner.signer.note(crate::SIGNED_BY, &(text + "\n"));
        Ok(SignedHead { chain, lines, head, at, note })
    }

    /// Returns the key that verifies statements: `name+id+key`.
    pub fn signing_key(&self) -> String {
        self.inner.signer.public(crate::SIGNED_BY).to_string()
    }
}

impl Attempt {
    fn of(tried: String, refusal: Option<String>) -> Self {
        let refused = refusal.is_some();
        Self { tried, outcome: refusal.unwrap_or_else(|| "it succeeded".to_owned()), refused }
    }

    fn not_tried(tried: String, why: &str) -> Self {
        Self { tried, outcome: format!("could not be tried: {why}"), refused: false }
    }

    /// Records the answer of a provider. No answer is not a refusal.
    fn of_provider(tried: String, answer: crate::Result<()>) -> Self {
        match answer.as_ref().err().and_then(crate::keys::trouble_of) {
            Some(KeyFailure::Outage) => Self { tried, outcome: "no answer".to_owned(), refused: false },
            _ => Self::of(tried, answer.err().map(|error| error.to_string())),
        }
    }
}

/// Lists what cannot be proven from inside this server.
fn unprovable(shredding: &ShreddingRecord, receipts: &[ProviderReceipt], forgotten_keyring: bool) -> Vec<String> {
    let mut unprovable = vec![
        "that no copies were made outside this server: of documents and answers by their readers, of this server's \
         memory, of its storage by snapshots and versions"
            .to_owned(),
    ];
    for receipt in receipts {
        let name = format!("key {} of provider {}", receipt.key, receipt.provider);
        unprovable.push(match receipt.destroyed {
            true => format!("that backups of the provider's own storage do not hold {name}"),
            false => format!(
                "that earlier copies of the data folder are useless: their wrapped keys (wrapped_sha256) open as long as \
                 {name} exists"
            ),
        });
    }
    if !forgotten_keyring {
        unprovable.push(
            "that no log or checkpoint of the control journal holds the wrapped keys, and that providers refuse them: the \
             erasure was interrupted after their destruction, so the server no longer had them to try"
                .to_owned(),
        );
    }
    if !shredding.directory_opened {
        unprovable.push(
            "that what is refused now opened before: the tenant's keys or directory did not open when the erasure began, \
             so nothing could be tried before, and no canary was sealed"
                .to_owned(),
        );
        unprovable.push(
            "that nothing is left that another build of this server stored: its keyspaces were found by their ids"
                .to_owned(),
        );
    }
    unprovable
}

/// How a provider is asked to destroy a key.
const DESTROY_RETRIES: RetryPolicy =
    RetryPolicy { pause_min: limits::REOPEN_WAIT_MIN, pause_max: limits::REOPEN_WAIT_MAX, attempts_max: Some(4) };

/// Allows the erasure of suspended tenants only, so that no request is cut off halfway.
pub(crate) fn check_erasable(life: Lifecycle) -> Result<()> {
    if life == Lifecycle::Active {
        return Err(Error::new(Code::NotSuspended, "suspend the tenant first"));
    }
    Ok(())
}
