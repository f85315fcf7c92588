//! Erasure of a tenant: its keys first, then its data, then a statement that proves it.
//!
//! 1. `TenantDoomed` in control: from here on nothing of the tenant is served, its wrapped keys are in no newer entry,
//!    and what is to be proven stands there. 2. A control checkpoint, after which no log holds them: what is on disk
//!    can no longer be opened. 3. Keys that a provider made for this tenant alone are destroyed there.
//!    4. What opened before and must not any more is tried. 5. The prefixes are removed, and what else lies under
//!    numbers of this tenant. 6. `TenantGone` with the certificate: the name is free.
//!    After a crash anywhere after step 1 the next start continues.

use crate::{
    Certificate, NamespaceRecord, OperationHandle, OperationKind, Registry,
    certificate::{
        Again, Attempt, AuditHeadStatement, Before, Erased, ErasedDocuments, Failed, ReceiptLine, Sample, ShreddedKey,
        Shredding, SignedHead, Trial, hex,
    },
    codec,
    control::ControlEvent,
    numbers,
    record::{KeyringRecord, Life, TenantRecord},
    trial::Way,
};
use access::{Action, Erase, Grant};
use kernel::{Code, CommitNo, DocumentId, Error, Incarnation, Result, TenantId, limits};
use std::collections::BTreeSet;
use vault::{Key, KeyTrouble, PlaceKind, TenantKeys, WrappedKey};

/// What an erasure leaves.
#[derive(Clone, Debug)]
pub struct Erasure {
    /// The places that were removed.
    pub removed: Vec<String>,
    /// The proof.
    pub certificate: Option<Certificate>,
}

impl Registry {
    /// Erases the grant's tenant.
    ///
    /// The stores must have let go of it before. A tenant whose directory does not open is erased as well: the numbers
    /// of its namespaces say that they are its own.
    ///
    /// # Errors
    /// `not_suspended`, `not_found`. After any other error the erasure continues with the next call
    /// or the next start.
    pub async fn erase(&self, grant: &Grant<Erase>) -> Result<Erasure> {
        self.erase_life(grant.tenant(), grant.incarnation()).await
    }

    /// Goes on with an erasure whose operation a restart interrupted; done if the tenant is gone.
    ///
    /// # Errors
    /// As [`Registry::erase`]; `invalid_request` for another kind of operation.
    pub async fn resume_erasure(&self, operation: &OperationHandle) -> Result<Erasure> {
        if operation.kind() != OperationKind::EraseTenant {
            return Err(Error::invalid("operation", "is no erasure"));
        }
        let incarnation = operation.incarnation();
        let gone = self.inner.control.read(|s| s.by_incarnation(incarnation).is_none());
        if gone {
            let certificate = self.inner.control.read(|s| s.certificates.of(incarnation).next_back().cloned());
            return Ok(Erasure { removed: Vec::new(), certificate });
        }
        self.erase_life(operation.tenant(), incarnation).await
    }

    async fn erase_life(&self, tenant: &TenantId, incarnation: Incarnation) -> Result<Erasure> {
        let record = self.inner.tenant_record(tenant)?;
        if record.incarnation != incarnation {
            return Err(Error::not_found());
        }
        let mut remembered = None;
        if record.life != Life::Deleting {
            may_erase(record.life)?;
            self.doom(&record).await?;
            remembered = Some(&record.keys);
        }
        // Again even when it stood there already: the call before may have failed here.
        self.inner.control.purge().await?;
        self.inner.seats.leave(incarnation).await;
        self.inner.key_events.forget(incarnation);
        self.remove_remains(&self.inner.tenant_record(tenant)?, remembered).await
    }

    /// Step 1.
    pub(crate) async fn doom(&self, record: &TenantRecord) -> Result<()> {
        // Opened to learn where its namespaces lie.
        let residence = self.inner.open(record.incarnation).await.ok();
        let mut prefixes = match &residence {
            Some(residence) => residence.close().await?,
            None => Vec::new(),
        };
        prefixes.extend(record.audit.as_ref().map(|p| PlaceKind::Audit.prefix(p.uuid)));
        prefixes.extend(record.directory.as_ref().map(|p| PlaceKind::Directory.prefix(p.uuid)));
        let way = Way::look(&self.inner, record.incarnation, residence.as_deref()).await;
        let mut canary = residence.as_deref().and_then(|residence| self.inner.canary(residence).ok());
        if let Some(canary) = &mut canary {
            canary.before = Before::of(way.canary(canary).map_err(Failed::why));
        }
        let shredding = Shredding {
            begun_at: self.inner.world.clock.now().to_string(),
            directory_opened: residence.is_some(),
            keys: record.keys.epochs.iter().map(ShreddedKey::of).collect(),
            canary,
            samples: self.samples(&way, &prefixes).await,
        };
        drop(way);
        let written = self.inner.write(|state| {
            let tenant = state.tenants.get(&record.id).filter(|t| t.incarnation == record.incarnation);
            let tenant = tenant.ok_or_else(Error::not_found)?;
            may_erase(tenant.life)?;
            if !tenant.keys.numbers().eq(record.keys.numbers()) {
                return Err(Error::new(Code::Conflict, "the tenant's keys have changed meanwhile").into());
            }
            Ok((Some(ControlEvent::TenantDoomed { id: record.id.clone(), prefixes, shredding }), ()))
        });
        let written = written.await;
        if let (Err(_), Some(residence)) = (&written, residence) {
            residence.reopen();
        }
        Ok(written?)
    }

    /// Sealed objects as they lie, some of each place, each of them tried. One that cannot be read is no sample.
    async fn samples(&self, way: &Way<'_>, prefixes: &[String]) -> Vec<Trial> {
        let mut samples = Vec::new();
        let each = limits::CERTIFICATE_SAMPLES_MAX.div_ceil(prefixes.len().max(1)).max(1);
        for prefix in prefixes {
            let most = each.min(limits::CERTIFICATE_SAMPLES_MAX.saturating_sub(samples.len()));
            if most == 0 {
                break;
            }
            for found in self.inner.world.storage.samples(prefix, most).await.unwrap_or_default() {
                samples.push(Trial::of(way, found).await);
            }
        }
        samples
    }

    /// Places of this life that no record names: its directory did not open, or a crash left them. Their numbers tell.
    async fn unnamed(&self, record: &TenantRecord) -> Result<Vec<String>> {
        let control = self.inner.control.home();
        let all = self.inner.world.storage.places(PlaceKind::Namespace).await?;
        let mine = all.into_iter().filter(|number| numbers::is_of(control, record.incarnation, *number));
        let prefixes = mine.map(|number| PlaceKind::Namespace.prefix(number));
        Ok(prefixes.filter(|prefix| !record.doomed.contains(prefix)).collect())
    }

    /// Steps 3 to 6. `remembered`: the wrapped keys that were just forgotten, from the caller that forgot them.
    pub(crate) async fn remove_remains(
        &self,
        record: &TenantRecord,
        remembered: Option<&KeyringRecord>,
    ) -> Result<Erasure> {
        let shredding =
            record.shredding.clone().ok_or_else(|| Error::internal("an erasure has no record of its keys"))?;
        let receipts = self.destroy_keys(&shredding).await;
        // Before anything is removed, so that what is refused lies there.
        let way = Way::look(&self.inner, record.incarnation, None).await;
        let attempts = self.attempts(&way, record, &shredding, remembered).await;
        let canary = shredding.canary.as_ref().map(|canary| Again::of(canary, "", way.canary(canary)));
        let mut sampled_objects = Vec::new();
        for trial in &shredding.samples {
            let lies = self.lies(&trial.sample).await;
            sampled_objects.push(Again::of(trial, lies, way.object(&trial.sample.object).await));
        }
        drop(way);
        let unnamed = self.unnamed(record).await?;
        let removed: Vec<_> = record.doomed.iter().chain(&unnamed).cloned().collect();
        for prefix in &removed {
            self.inner.world.storage.remove_prefix(prefix).await?;
        }
        let mut remains = Vec::new();
        for prefix in &removed {
            let left = self.inner.world.storage.witnesses(prefix, limits::CERTIFICATE_SAMPLES_MAX).await?;
            remains.extend(left.into_iter().map(Sample::from));
        }
        let now = self.inner.world.clock.now();
        let statement = Erased {
            statement: "tenant erased",
            version: 0,
            tenant: record.id.as_str(),
            incarnation: record.incarnation.to_string(),
            keys_destroyed_at: &shredding.begun_at,
            finished_at: now.to_string(),
            keys: &shredding.keys,
            cannot_be_proven: doubts(&shredding, &receipts, remembered.is_some()),
            provider_receipts: receipts,
            attempts,
            canary,
            sampled_objects,
            places_removed: &removed,
            places_found_by_number: &unnamed,
            remains,
        };
        let (id, incarnation) = (&record.id, record.incarnation);
        let certificate = Certificate::sign(&self.inner.signer, id, incarnation, "tenant.erased", now, &statement)?;
        let kept = certificate.clone();
        self.inner
            .control
            .write(|state| {
                let same = state.tenants.get(id).is_some_and(|t| t.incarnation == incarnation);
                Ok((same.then(|| ControlEvent::TenantGone { id: id.clone(), certificate: kept }), ()))
            })
            .await?;
        Ok(Erasure { removed, certificate: Some(certificate) })
    }

    /// How a sampled object lies there now.
    async fn lies(&self, sample: &Sample) -> &'static str {
        match self.inner.world.storage.witness(&sample.object).await {
            Ok(Some(now)) if hex(&now.sha256) == sample.sha256 => "its bytes lie there unchanged; ",
            Ok(Some(_)) => "its bytes have changed; ",
            Ok(None) => "its bytes are removed; ",
            Err(_) => "its bytes could not be read; ",
        }
    }

    /// Step 3. A provider that does not answer is asked a few times; then the certificate says that its key stands.
    async fn destroy_keys(&self, shredding: &Shredding) -> Vec<ReceiptLine> {
        let own: BTreeSet<_> = shredding.keys.iter().map(|k| (&k.provider, &k.key, k.own_key)).collect();
        let mut receipts = Vec::new();
        for (provider, key, own_key) in own {
            let (destroyed, said) = match own_key {
                false => (
                    false,
                    "shared with other tenants or the customer's own: this server does not destroy it".to_owned(),
                ),
                true => self.destroy_key(provider, key).await,
            };
            receipts.push(ReceiptLine { provider: provider.clone(), key: key.clone(), destroyed, said });
        }
        receipts
    }

    async fn destroy_key(&self, provider: &str, name: &str) -> (bool, String) {
        let asking = &self.inner.asking;
        let mut pause = limits::REOPEN_WAIT_MIN;
        for tries in 1.. {
            let asked = match asking.config.providers.key(provider, name) {
                Ok(key) => asking.ask(key, |key| key.destroy()).await,
                Err(error) => Err(error.into()),
            };
            match asked {
                Ok(receipt) => return (receipt.destroyed, receipt.said),
                Err(error) if tries == DESTROY_TRIES => {
                    return (false, format!("not destroyed, do it by hand: {error}"));
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        unreachable!("the last try returns")
    }

    /// Step 4: the control journal is read again from the storage, as a start would, and the tenant's keys are asked
    /// for; and the providers are asked for the keys that they destroyed.
    async fn attempts(
        &self,
        way: &Way<'_>,
        record: &TenantRecord,
        shredding: &Shredding,
        remembered: Option<&KeyringRecord>,
    ) -> Vec<Attempt> {
        let tried = "read the control journal from the storage again and unwrap the tenant's keys".to_owned();
        let mut attempts = vec![match way.keys() {
            Err(Failed::Untried(why)) => Attempt::untried(tried, &why),
            keys => Attempt::of(tried, keys.err().map(Failed::why)),
        }];
        if let Some(ring) = remembered {
            let texts: Vec<_> = ring.epochs.iter().map(|epoch| codec::base64(&epoch.wrapped.bytes)).collect();
            let tried = "look for the wrapped keys in the control journal's checkpoint and log".to_owned();
            attempts.push(match self.inner.control.holds(&texts).await {
                Err(error) => Attempt::untried(tried, &error.to_string()),
                Ok(there) => Attempt::of(tried, (!there).then(|| "none of them is there".to_owned())),
            });
        }
        for key in shredding.keys.iter().filter(|k| k.own_key) {
            let tried = format!("ask provider {} for its key {}", key.provider, key.key);
            let facts = match self.inner.asking.config.providers.key(&key.provider, &key.key) {
                Ok(key) => self.inner.asking.ask(key, |key| key.facts()).await,
                Err(error) => Err(error.into()),
            };
            attempts.push(Attempt::asked(tried, facts.map(drop)));
        }
        for epoch in remembered.iter().flat_map(|ring| &ring.epochs).filter(|epoch| epoch.made) {
            let (number, incarnation) = (epoch.wrapped.epoch, record.incarnation);
            let tried = format!("have provider {} unwrap epoch {number} with its key {}", epoch.provider, epoch.key);
            let wrapped = WrappedKey::from(&epoch.wrapped);
            let probed = match self.inner.asking.key_of(epoch) {
                Ok(key) => {
                    let probe = move |key: &Key| TenantKeys::probe(&**key, incarnation, &wrapped);
                    self.inner.asking.ask(key, probe).await
                }
                Err(error) => Err(error),
            };
            attempts.push(Attempt::asked(tried, probed));
        }
        attempts
    }

    /// The signed statement that nothing of the grant's namespace holds these documents any more. The caller has looked
    /// for each of them: as of the commit `looked_at` no copy stood under its id that the caller could read, which for one who
    /// sees all is none at all.
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
        let at = self.inner.world.clock.now();
        let statement = ErasedDocuments {
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
                    "to find a copy under any of the {} ids in every index of the namespace, as of commit {looked_at}",
                    documents.len()
                ),
                outcome: "none was found".to_owned(),
                refused: true,
            }],
            cannot_be_proven: [
                "copies that were made outside this server: of documents and answers by their readers, of its storage by \
                 snapshots and versions",
                "that the storage has overwritten what it deleted: what lies there is sealed under keys that were deleted \
                 with it, and those under the namespace's key",
                "the audit keeps keyed pseudonyms of the names, and nothing of the content",
            ],
        };
        let (tenant, incarnation) = (grant.tenant(), grant.incarnation());
        let signed = Certificate::sign(&self.inner.signer, tenant, incarnation, "documents.erased", at, &statement)?;
        Ok(signed.note)
    }

    /// Signed statements that are remembered, newest first; of one tenant's name, if one is given.
    pub fn certificates(&self, _: &access::Operator, tenant: Option<&TenantId>) -> Vec<Certificate> {
        self.inner.control.read(|s| {
            let all = s.certificates.all().rev();
            all.filter(|c| tenant.is_none_or(|t| c.tenant == t.as_str())).cloned().collect()
        })
    }

    /// Signs where an audit ends: of a tenant, or of the operators' acts.
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
        let at = self.inner.world.clock.now();
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

    /// The key to check statements with: `name+id+key`.
    pub fn signing_key(&self) -> String {
        self.inner.signer.public(crate::SIGNED_BY).to_string()
    }
}

impl Attempt {
    fn of(tried: String, refusal: Option<String>) -> Self {
        let refused = refusal.is_some();
        Self { tried, outcome: refusal.unwrap_or_else(|| "it was given".to_owned()), refused }
    }

    fn untried(tried: String, why: &str) -> Self {
        Self { tried, outcome: format!("could not be tried: {why}"), refused: false }
    }

    /// What a provider said. No answer is no refusal.
    fn asked(tried: String, answer: crate::Result<()>) -> Self {
        match answer.as_ref().err().and_then(crate::keys::trouble_of) {
            Some(KeyTrouble::Outage) => Self { tried, outcome: "no answer".to_owned(), refused: false },
            _ => Self::of(tried, answer.err().map(|error| error.to_string())),
        }
    }
}

/// What cannot be shown from inside this server.
fn doubts(shredding: &Shredding, receipts: &[ReceiptLine], remembered: bool) -> Vec<String> {
    let mut doubts = vec![
        "copies that were made outside this server: of documents and answers by their readers, of this server's memory, \
         of its storage by snapshots and versions"
            .to_owned(),
    ];
    for receipt in receipts {
        let name = format!("key {} of provider {}", receipt.key, receipt.provider);
        doubts.push(match receipt.destroyed {
            true => format!("that backups of the provider's own storage do not hold {name}"),
            false => format!(
                "that copies of the data folder from before are useless: their wrapped keys (wrapped_sha256) open as \
                 long as {name} exists"
            ),
        });
    }
    if !remembered {
        doubts.push(
            "that no log or checkpoint of the control journal holds the wrapped keys, and that providers refuse them: the \
             erasure was interrupted behind their destruction, nobody knows them any more, and so they were not tried"
                .to_owned(),
        );
    }
    if !shredding.directory_opened {
        doubts.push(
            "that what is refused now opened before: the tenant's keys or directory did not open when the erasure began, \
             so nothing could be tried before, and no canary sealed"
                .to_owned(),
        );
        doubts.push(
            "that nothing of it is left that another build of this server stored: its places were found by their numbers"
                .to_owned(),
        );
    }
    doubts
}

/// How often a provider is asked to destroy a key.
const DESTROY_TRIES: u32 = 4;

/// Only suspended tenants are erased, so that no request is cut off in the middle.
pub(crate) fn may_erase(life: Life) -> Result<()> {
    if life == Life::Active {
        return Err(Error::new(Code::NotSuspended, "suspend the tenant first"));
    }
    Ok(())
}
