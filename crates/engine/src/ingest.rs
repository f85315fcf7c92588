//! Ingest: takes raw documents, which are screened, embedded, sealed, durable and searchable when it replies.
//!
//! identify -> (unchanged? done) -> parse -> screen -> chunk -> embed -> admit -> one commit. An invalid document fails
//! alone; the others are stored together. An error that would leave the batch half processed (a full queue, a model
//! that fails) fails the request and stores nothing, so that a retry repeats the whole batch.

use crate::{
    DocumentOutcome, Engine, FlowResult, IngestReply, IngestRequest, RawDocuments, ResultStatus,
    embed::PendingInference, types::LARGE_BYTES_MIN, work::TaskContext,
};
use access::{Grant, Ingest};
use intake::{Admitted, RawBody, RawDocument, Screened, VectorProfile, Verdict};
use kernel::{
    Audience, Code, DeferredDrop, DocumentId, Error, Finding, Interrupted, NamespaceSettings, OperationId, ReadersRule,
    STEPS_BETWEEN_CHECKS, checkpoint, limits,
};
use ledger::AuditEvent;
use models::TaskKind;
use registry::{BegunOperation, NamespaceRecord, OperationKind};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use store::{ExistingDocument, NamespaceHandle, Upsert, UpsertStatus};

/// Copies of a write that are in memory before it is committed: as received, as stored, as a log entry, and as the
/// sealed form of that entry.
const WRITE_FACTOR: u64 = 4;

type DocumentIdentity = (DocumentId, [u8; 32]);

/// A document before embedding: either it has its result already, or it was screened.
enum PreparedDocument {
    Done(DocumentOutcome),
    Screened { identity: DocumentIdentity, screened: Screened },
}

impl Engine {
    /// Stores documents. The module's documentation describes the order of steps.
    pub async fn ingest(&self, grant: Grant<Ingest>, mut request: IngestRequest) -> FlowResult<IngestReply> {
        let refused = std::mem::take(&mut request.refused);
        let end = self.ingest_under(&grant, request).await;
        let end = end.map(|(reply, written)| (with_refused(reply, refused), written));
        match end {
            // Nothing was written because all documents were unchanged, rejected or failed, so no commit carries the
            // audit record.
            Ok((reply, false)) => {
                let event = unwritten_event(&reply);
                self.finish_read(grant, Ok((reply, event))).await
            }
            Ok((reply, true)) => {
                let commit = reply.commit;
                self.finish_write(grant, Ok((reply, commit))).await
            }
            Err(error) => self.finish_read(grant, Err(error)).await,
        }
    }

    /// Ingests in the background (`Prefer: respond-async`) and replies with an operation. `held` is the permit for the
    /// memory that the documents take; it is dropped when the work has ended.
    pub async fn ingest_in_background(
        &self,
        grant: Grant<Ingest>,
        request: IngestRequest,
        held: impl Send + 'static,
    ) -> FlowResult<OperationId> {
        let total = (request.documents.len() + request.refused.len()) as u64;
        let operation = match self.inner.registry.begin_own_operation(&grant, OperationKind::Ingest).await {
            Ok(BegunOperation::Fresh(operation)) => operation,
            // The operation of another request is no receipt for these documents.
            Ok(BegunOperation::Running(_)) => {
                let error = Error::new(Code::Conflict, "another background ingest runs; send the documents again");
                return self.finish_read(grant, Err(error)).await;
            }
            Err(error) => return self.finish_read(grant, Err(error)).await,
        };
        let id = operation.id();
        let engine = self.clone();
        // The background work takes the grant and consumes it when it ends. This reply is the receipt.
        let receipt = self.inner.audit_log.receipt(&grant, id);
        self.inner.tracker.spawn(async move {
            match engine.ingest(grant, request).await {
                Ok(reply) => {
                    let reply = reply.into_body();
                    operation.progress(total, total);
                    operation.succeed(status_counts(&reply)).await;
                }
                Err(error) => operation.fail(&error.into_body()).await,
            }
            drop(held);
        });
        Ok(receipt)
    }

    async fn ingest_under(&self, grant: &Grant<Ingest>, request: IngestRequest) -> Result<(IngestReply, bool), Error> {
        let _permit = self.inner.writes.acquire(grant.incarnation(), 1)?;
        let bytes = WRITE_FACTOR.saturating_mul(request.documents.heap_bytes());
        let mut memory = self.inner.write_bytes.acquire(grant.incarnation(), bytes)?;
        let (record, _created) = self.inner.registry.ensure_namespace(grant, NamespaceSettings::default()).await?;
        let record = self.fix_embedding(grant, record, &request.documents).await?;
        let settings = Arc::new(record.settings.clone());
        let handle = self.inner.stores.enter(grant, &settings).await?;
        self.ensure_totals_known(grant).await?;

        let bytes_in = request.documents.iter().map(body_bytes).sum();
        let audience = grant.write_audience(settings.readers());
        let (steps, tokens) = self.prepare(grant, (&handle, &audience), &settings, request.documents).await?;
        let (mut results, screened) = split_prepared(steps.into_inner());
        let passages: u64 = screened.iter().map(|(_, _, screened)| screened.passage_count() as u64).sum();
        // The number of vectors is known only now; each number takes four bytes.
        memory.grow(WRITE_FACTOR * 4 * passages * settings.embedding.dimensions() as u64)?;
        let admitted = self.embed_and_admit(grant, &settings, screened, &mut results).await?;
        if admitted.is_empty() {
            let commit = handle.commit();
            return Ok((IngestReply { results: collect_results(results), commit }, false));
        }
        let used = IngestUsage { tokens, bytes_in };
        let commit =
            commit_documents(self, grant, (&handle, &audience), request.on_conflict, admitted, used, &mut results)
                .await?;
        Ok((IngestReply { results: collect_results(results), commit }, true))
    }

    /// Fixes the embedding of a namespace for which it is not set. The first vector of a valid length decides the
    /// dimensions of all; without any vector the default model embeds.
    async fn fix_embedding(
        &self,
        grant: &Grant<Ingest>,
        record: NamespaceRecord,
        documents: &[RawDocument],
    ) -> Result<NamespaceRecord, Error> {
        // A request without documents decides nothing.
        if record.settings.embedding != kernel::Embedding::Default || documents.is_empty() {
            return Ok(record);
        }
        let fits = |n: &usize| (limits::DIMENSIONS_MIN..=limits::DIMENSIONS_MAX).contains(n);
        let own = documents.iter().filter_map(|d| d.vector.as_ref()).map(Vec::len).find(fits);
        if own.is_none() && documents.iter().all(|d| d.vector.is_some()) {
            return Err(Error::invalid("documents[].vector", "must have 2 to 4096 numbers"));
        }
        let embedding = match (own, self.inner.models.default_model()) {
            (Some(n), _) => kernel::Embedding::Own { dimensions: u32::try_from(n).unwrap_or(u32::MAX) },
            (None, Some(model)) => kernel::Embedding::Model {
                dimensions: u32::try_from(model.dimensions).unwrap_or(u32::MAX),
                name: model.name,
            },
            (None, None) => kernel::Embedding::Own { dimensions: 0 },
        };
        self.inner.registry.fix_embedding(grant, embedding).await
    }

    /// Does everything that needs no model: identification, the check for unchanged documents, parsing, screening and
    /// chunking.
    async fn prepare(
        &self,
        grant: &Grant<Ingest>,
        (handle, audience): (&NamespaceHandle<Ingest>, &Audience),
        settings: &Arc<NamespaceSettings>,
        documents: RawDocuments,
    ) -> Result<(DeferredDrop<Vec<PreparedDocument>>, u64), Error> {
        let (keyed, judgement) = (handle.keyed(), settings.policy_bytes());
        let is_large = documents.heap_bytes() > LARGE_BYTES_MIN;
        let (identities, documents) = self
            .inner
            .work
            .cpu(TaskContext::write(grant), move || {
                let identities: Vec<DocumentIdentity> =
                    documents.iter().map(|d| intake::identify(d, &judgement, &*keyed)).collect();
                (identities, documents)
            })
            .await?;
        let known = unchanged(handle, audience, &identities).await?;
        let tokens = match &settings.embedding {
            kernel::Embedding::Model { name, .. } => {
                self.ensure_model_serves(name)?;
                self.inner.models.tokens(name)
            }
            _ => None,
        };
        let left = documents.into_inner().into_iter().zip(identities).zip(known);
        let mut documents = DeferredDrop::new(left, is_large);
        let (clock, mut steps) = (&self.inner.clock, DeferredDrop::new(Vec::new(), is_large));
        let until = clock.monotonic() + limits::PREPARE_WORK_MAX;
        loop {
            let group = next_group(&mut *documents);
            if group.is_empty() {
                break;
            }
            let (settings, tokens) = (settings.clone(), tokens.clone());
            let screen = move || {
                let one = |((raw, identity), same)| screen_document(raw, identity, same, &settings, tokens.as_deref());
                group.into_iter().map(one).collect::<Result<Vec<_>, Interrupted>>()
            };
            // Each group waits for its tenant's turn, because a batch may take a minute.
            let left = until.saturating_sub(clock.monotonic());
            steps.extend(self.inner.work.cpu(TaskContext::prepare(grant).within(left), screen).await??);
        }
        let cost = steps
            .iter()
            .map(|s| if let PreparedDocument::Screened { screened, .. } = s { screened.tokens() } else { 0 })
            .sum();
        grant.charge_tokens(cost)?;
        Ok((steps, cost))
    }

    /// Embeds the passages that need it, with those of all documents queued together, and admits the documents.
    async fn embed_and_admit(
        &self,
        grant: &Grant<Ingest>,
        settings: &NamespaceSettings,
        screened: Vec<(usize, DocumentIdentity, Screened)>,
        results: &mut [Option<DocumentOutcome>],
    ) -> Result<Vec<(usize, Admitted)>, Error> {
        let profile = VectorProfile { dimensions: settings.embedding.dimensions(), distance: settings.distance };
        let model = match &settings.embedding {
            kernel::Embedding::Model { name, .. } => Some(name),
            _ => None,
        };
        // Texts are copied and vectors are normalized on the pool, because a body may contain many.
        let copy = model.is_some();
        let passages = move || {
            let of = |(.., screened): &(usize, DocumentIdentity, Screened)| {
                (copy && screened.own_vector().is_none()).then(|| screened.passages())
            };
            let passages: Vec<_> = screened.iter().map(of).collect();
            (screened, passages)
        };
        let (screened, passages) = self.inner.work.cpu(TaskContext::write(grant), passages).await?;
        let mut waiting: Vec<(usize, DocumentIdentity, Screened, Option<PendingInference>)> = Vec::new();
        for ((at, identity, screened), passages) in screened.into_iter().zip(passages) {
            let embedding = match (model, passages) {
                (Some(name), Some(passages)) => Some(self.embed_later(grant, name, TaskKind::Passage, passages)?),
                _ => None,
            };
            waiting.push((at, identity, screened, embedding));
        }
        let mut embedded = Vec::with_capacity(waiting.len());
        for (at, identity, screened, embedding) in waiting {
            let vectors = match embedding {
                Some(embedding) => Some(embedding.wait().await?),
                None => None,
            };
            embedded.push((at, identity, screened, vectors));
        }
        let admit = move || {
            let one = |(at, identity, screened, vectors): (usize, DocumentIdentity, Screened, Option<Vec<f32>>)| {
                let own = || screened.own_vector().map(<[f32]>::to_vec).unwrap_or_default();
                let (id, vectors) = (identity.0.clone(), vectors.unwrap_or_else(own));
                (at, id, intake::admit(screened, identity, vectors, &profile))
            };
            embedded.into_iter().map(one).collect::<Vec<_>>()
        };
        let mut admitted = Vec::new();
        for (at, id, outcome) in self.inner.work.cpu(TaskContext::write(grant), admit).await? {
            match outcome {
                Ok(document) => admitted.push((at, document)),
                Err(error) => results[at] = Some(failed(id, error.into())),
            }
        }
        Ok(admitted)
    }
}

/// Returns the result of each document whose stored content is the same. A document that occurs twice in the request is
/// never taken as unchanged, because the first occurrence may change it.
async fn unchanged(
    handle: &NamespaceHandle<Ingest>,
    audience: &Audience,
    identities: &[DocumentIdentity],
) -> Result<Vec<Option<DocumentOutcome>>, Error> {
    let mut known_ids = HashSet::new();
    let twice: HashSet<&DocumentId> = identities.iter().map(|i| &i.0).filter(|id| !known_ids.insert(*id)).collect();
    let known = handle.known(identities, audience).await?;
    let same = |(identity, known): (&DocumentIdentity, ExistingDocument)| match known {
        ExistingDocument::Same(head) if !twice.contains(&identity.0) => Some(DocumentOutcome {
            id: Some(identity.0.clone()),
            status: ResultStatus::Unchanged,
            passages: head.passages.len(),
            findings: head.findings,
            error: None,
        }),
        _ => None,
    };
    Ok(identities.iter().zip(known).map(same).collect())
}

/// A document with its identity, and its result if it is unchanged.
type PendingDocument = ((RawDocument, DocumentIdentity), Option<DocumentOutcome>);

/// Takes the next documents, as many as are processed within one turn; at least one, if any is left.
fn next_group(documents: &mut impl Iterator<Item = PendingDocument>) -> Vec<PendingDocument> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    while bytes < limits::PREPARE_TURN_BYTES {
        let Some(next) = documents.next() else { break };
        // An unchanged document costs nothing more.
        bytes += if next.1.is_some() { 0 } else { next.0.0.heap_bytes() };
        group.push(next);
    }
    group
}

/// Parses, screens and chunks a document. Stops between two of these steps when the client has disconnected or the time
/// is up.
fn screen_document(
    raw: RawDocument,
    identity: DocumentIdentity,
    same: Option<DocumentOutcome>,
    settings: &NamespaceSettings,
    tokens: Option<&dyn kernel::Tokens>,
) -> Result<PreparedDocument, Interrupted> {
    if let Some(done) = same {
        return Ok(PreparedDocument::Done(done));
    }
    if settings.readers() == ReadersRule::Required && raw.readers.is_none() {
        return Ok(PreparedDocument::Done(failed(
            identity.0,
            Error::invalid("readers", "is required in this namespace"),
        )));
    }
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    let draft = match intake::parse(raw) {
        Ok(draft) => draft,
        Err(error) => return Ok(PreparedDocument::Done(failed(identity.0, error.into()))),
    };
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    let rejected = |id, findings| {
        let status = ResultStatus::Rejected;
        Ok(PreparedDocument::Done(DocumentOutcome { id: Some(id), status, passages: 0, findings, error: None }))
    };
    let mut screened = match intake::screen(draft, &settings.screening) {
        Verdict::Rejected { findings, .. } => return rejected(identity.0, findings),
        Verdict::Screened(screened) => screened,
    };
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    match screened.chunk(tokens, &settings.chunking) {
        Ok(()) if screened.is_rejected() => rejected(identity.0, screened.findings().to_vec()),
        Ok(()) => Ok(PreparedDocument::Screened { identity, screened }),
        Err(error) => Ok(PreparedDocument::Done(failed(identity.0, error.into()))),
    }
}

type Results = Vec<Option<DocumentOutcome>>;

fn split_prepared(steps: Vec<PreparedDocument>) -> (Results, Vec<(usize, DocumentIdentity, Screened)>) {
    let mut results = Vec::new();
    let mut screened = Vec::new();
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            PreparedDocument::Done(result) => results.push(Some(result)),
            PreparedDocument::Screened { identity, screened: document } => {
                results.push(None);
                screened.push((at, identity, document));
            }
        }
    }
    (results, screened)
}

/// Cost of a request, for the usage counters.
struct IngestUsage {
    tokens: u64,
    bytes_in: u64,
}

async fn commit_documents(
    engine: &Engine,
    grant: &Grant<Ingest>,
    (handle, audience): (&NamespaceHandle<Ingest>, &Audience),
    on_conflict: store::OnConflict,
    admitted: Vec<(usize, Admitted)>,
    used: IngestUsage,
    results: &mut Results,
) -> Result<kernel::CommitNo, Error> {
    let mut positions = Vec::new();
    let mut findings: HashMap<usize, Vec<Finding>> = HashMap::new();
    let mut upserts = Vec::new();
    for (at, document) in admitted {
        positions.push(at);
        findings.insert(at, document.findings().to_vec());
        upserts.push(Upsert { admitted: document, on_conflict });
    }
    let record_writer = engine.inner.audit_log.record_writer(grant);
    let write_record = Box::new(move |outcome: &store::WriteOutcome| {
        let stored =
            outcome.results.iter().filter(|r| matches!(r.status, UpsertStatus::Indexed | UpsertStatus::Quarantined));
        let ids: Vec<DocumentId> = stored.map(|r| r.id.clone()).collect();
        let event = AuditEvent::success().count("documents", ids.len() as u64).documents(ids);
        record_writer.write(event.count("tokens", used.tokens).count("bytes_in", used.bytes_in))
    });
    let outcome = handle.append(upserts, audience, write_record).await?;
    for (at, stored) in positions.into_iter().zip(outcome.results) {
        results[at] = Some(DocumentOutcome {
            status: match stored.status {
                UpsertStatus::Indexed => ResultStatus::Indexed,
                UpsertStatus::Quarantined => ResultStatus::Quarantined,
                UpsertStatus::Unchanged => ResultStatus::Unchanged,
                UpsertStatus::Skipped => ResultStatus::Skipped,
                _ => ResultStatus::Failed,
            },
            error: matches!(stored.status, UpsertStatus::Conflict).then(|| {
                Error::new(
                    Code::AlreadyExists,
                    "a document with this id exists with other content, or was stored under other settings",
                )
            }),
            passages: stored.passages,
            findings: findings.remove(&at).unwrap_or_default(),
            id: Some(stored.id),
        });
    }
    Ok(outcome.commit)
}

fn collect_results(results: Results) -> Vec<DocumentOutcome> {
    results.into_iter().flatten().collect()
}

/// Adds the results of refused documents, so that all results are in the order of the request.
fn with_refused(mut reply: IngestReply, refused: Vec<(usize, DocumentOutcome)>) -> IngestReply {
    // Positions ascend, so each is right once the results before it are inserted.
    for (at, result) in refused {
        reply.results.insert(at.min(reply.results.len()), result);
    }
    reply
}

fn failed(id: DocumentId, error: Error) -> DocumentOutcome {
    DocumentOutcome::failed(Some(id), error)
}

fn unwritten_event(reply: &IngestReply) -> AuditEvent {
    AuditEvent::success().count("documents", 0).count("unchanged", count(reply, ResultStatus::Unchanged))
}

fn count(reply: &IngestReply, status: ResultStatus) -> u64 {
    reply.results.iter().filter(|r| r.status == status).count() as u64
}

fn body_bytes(document: &RawDocument) -> u64 {
    match &document.body {
        RawBody::None => 0,
        RawBody::Text(text) => text.len() as u64,
        RawBody::Bytes { bytes, .. } => bytes.len() as u64,
    }
}

/// Result of an operation: the number of documents by status.
fn status_counts(reply: &IngestReply) -> serde_json::Value {
    let all = [
        ResultStatus::Indexed,
        ResultStatus::Unchanged,
        ResultStatus::Quarantined,
        ResultStatus::Rejected,
        ResultStatus::Skipped,
        ResultStatus::Failed,
    ];
    all.into_iter().map(|s| (s.as_str().to_owned(), count(reply, s).into())).collect::<serde_json::Map<_, _>>().into()
}
