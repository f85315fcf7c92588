//! Ingest: raw documents in; screened, embedded, sealed, durable and searchable when it answers.
//!
//! identify -> (unchanged? done) -> parse -> screen -> chunk -> embed -> admit -> one commit.
//! A document that is wrong in itself fails alone; the others go in together. Whatever would
//! leave the batch half judged (a full queue, a model that fails) fails the request and stores
//! nothing, so that a retry is whole.

use crate::{
    DocumentResult, Engine, Flow, IngestReply, IngestRequest, RawDocuments, ResultStatus, answer::LARGE_BYTES_MIN,
    embed::Embedding, work::Asker,
};
use access::{Grant, Ingest};
use intake::{Admitted, Body, Profile, RawDocument, Screened, Verdict};
use kernel::{
    Audience, Code, Discarded, DocumentId, Error, Finding, Interrupted, NamespaceSettings, OperationId, ReadersRule,
    STEPS_BETWEEN_CHECKS, checkpoint, limits,
};
use ledger::Deed;
use models::Kind;
use registry::{Begun, NamespaceRecord, OperationKind};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use store::{Known, Room, Upsert, UpsertStatus};

/// How many copies of a write are in memory before it is committed: as received, as stored, as a log entry, and as that
/// entry's sealed form.
const WRITE_FACTOR: u64 = 4;

type Identity = (DocumentId, [u8; 32]);

/// A document on its way to the commit.
enum Step {
    Done(DocumentResult),
    Screened { identity: Identity, screened: Screened },
}

impl Engine {
    /// Stores documents. See the module's text for the order.
    pub async fn ingest(&self, grant: Grant<Ingest>, mut request: IngestRequest) -> Flow<IngestReply> {
        let refused = std::mem::take(&mut request.refused);
        let end = self.ingest_under(&grant, request).await;
        let end = end.map(|(reply, written)| (with_refused(reply, refused), written));
        match end {
            // Nothing was written (all unchanged, rejected or failed): no commit carries the line.
            Ok((reply, false)) => {
                let deed = deed(&reply);
                self.settle(grant, Ok((reply, deed))).await
            }
            Ok((reply, true)) => {
                let commit = reply.commit;
                self.settle_commit(grant, Ok((reply, commit))).await
            }
            Err(error) => self.settle(grant, Err(error)).await,
        }
    }

    /// The same in the background (`Prefer: respond-async`): answers with an operation.
    /// `held` is the share of memory that the documents take; it is dropped when the work has ended.
    pub async fn ingest_later(
        &self,
        grant: Grant<Ingest>,
        request: IngestRequest,
        held: impl Send + 'static,
    ) -> Flow<OperationId> {
        let total = (request.documents.len() + request.refused.len()) as u64;
        let operation = match self.inner.registry.begin_own_operation(&grant, OperationKind::Ingest).await {
            Ok(Begun::Fresh(operation)) => operation,
            // Another request's operation is no receipt for these documents.
            Ok(Begun::Running(_)) => {
                let error = Error::new(Code::Conflict, "another background ingest runs; send the documents again");
                return self.settle(grant, Err(error)).await;
            }
            Err(error) => return self.settle(grant, Err(error)).await,
        };
        let id = operation.id();
        let engine = self.clone();
        // The grant goes with the work and is consumed when it ends; this reply is the receipt.
        let receipt = self.inner.trail.receipt(&grant, id);
        self.inner.tracker.spawn(async move {
            match engine.ingest(grant, request).await {
                Ok(reply) => {
                    let reply = reply.into_body();
                    operation.progress(total, total);
                    operation.succeed(counts_of(&reply)).await;
                }
                Err(error) => operation.fail(&error.into_body()).await,
            }
            drop(held);
        });
        Ok(receipt)
    }

    async fn ingest_under(&self, grant: &Grant<Ingest>, request: IngestRequest) -> Result<(IngestReply, bool), Error> {
        let _pass = self.inner.writes.enter(grant.incarnation(), 1)?;
        let bytes = WRITE_FACTOR.saturating_mul(request.documents.heap_bytes());
        let mut memory = self.inner.write_bytes.enter(grant.incarnation(), bytes)?;
        let (record, _created) = self.inner.registry.ensure_namespace(grant, NamespaceSettings::default()).await?;
        let record = self.fix_embedding(grant, record, &request.documents).await?;
        let settings = Arc::new(record.settings.clone());
        let room = self.inner.stores.enter(grant, &settings).await?;
        self.know_totals(grant).await?;

        let bytes_in = request.documents.iter().map(size).sum();
        let audience = grant.write_audience(settings.readers());
        let (steps, tokens) = self.prepare(grant, (&room, &audience), &settings, request.documents).await?;
        let (mut results, screened) = split(steps.into_inner());
        let passages: u64 = screened.iter().map(|(_, _, screened)| screened.passages_cut() as u64).sum();
        memory.grow(WRITE_FACTOR * 4 * passages * settings.embedding.dimensions() as u64)?;
        let admitted = self.vectors(grant, &settings, screened, &mut results).await?;
        if admitted.is_empty() {
            let commit = room.commit();
            return Ok((IngestReply { results: finish(results), commit }, false));
        }
        let used = Used { tokens, bytes_in };
        let commit = commit(self, grant, (&room, &audience), request.on_conflict, admitted, used, &mut results).await?;
        Ok((IngestReply { results: finish(results), commit }, true))
    }

    /// The first vector of a possible length decides how many numbers all have, unless the namespace was told; without one
    /// the default model makes them.
    async fn fix_embedding(
        &self,
        grant: &Grant<Ingest>,
        record: NamespaceRecord,
        documents: &[RawDocument],
    ) -> Result<NamespaceRecord, Error> {
        // A request of which nothing can be stored decides nothing.
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

    /// Identity, unchanged check, parsing, screening and chunking: all that needs no model.
    async fn prepare(
        &self,
        grant: &Grant<Ingest>,
        (room, audience): (&Room<Ingest>, &Audience),
        settings: &Arc<NamespaceSettings>,
        documents: RawDocuments,
    ) -> Result<(Discarded<Vec<Step>>, u64), Error> {
        let (keyed, judgement) = (room.keyed(), settings.judgement());
        let is_large = documents.heap_bytes() > LARGE_BYTES_MIN;
        let (identities, documents) = self
            .inner
            .work
            .cpu(Asker::write(grant), move || {
                let identities: Vec<Identity> =
                    documents.iter().map(|d| intake::identify(d, &judgement, &*keyed)).collect();
                (identities, documents)
            })
            .await?;
        let known = unchanged(room, audience, &identities).await?;
        let tokens = match &settings.embedding {
            kernel::Embedding::Model { name, .. } => {
                self.serving(name)?;
                self.inner.models.tokens(name)
            }
            _ => None,
        };
        let left = documents.into_inner().into_iter().zip(identities).zip(known);
        let mut documents = Discarded::new(left, is_large);
        let (clock, mut steps) = (&self.inner.clock, Discarded::new(Vec::new(), is_large));
        let until = clock.monotonic() + limits::PREPARE_WORK_MAX;
        loop {
            let group = next_group(&mut *documents);
            if group.is_empty() {
                break;
            }
            let (settings, tokens) = (settings.clone(), tokens.clone());
            let judged = move || {
                let one = |((raw, identity), same)| judge(raw, identity, same, &settings, tokens.as_deref());
                group.into_iter().map(one).collect::<Result<Vec<_>, Interrupted>>()
            };
            // Each in its tenant's turn: a batch may take a minute.
            let left = until.saturating_sub(clock.monotonic());
            steps.extend(self.inner.work.cpu(Asker::prepare(grant).within(left), judged).await??);
        }
        let cost =
            steps.iter().map(|s| if let Step::Screened { screened, .. } = s { screened.tokens() } else { 0 }).sum();
        grant.charge_tokens(cost)?;
        Ok((steps, cost))
    }

    /// Embeds the passages that need it, with all documents in the fair queue together, and admits the documents.
    async fn vectors(
        &self,
        grant: &Grant<Ingest>,
        settings: &NamespaceSettings,
        screened: Vec<(usize, Identity, Screened)>,
        results: &mut [Option<DocumentResult>],
    ) -> Result<Vec<(usize, Admitted)>, Error> {
        let profile = Profile { dimensions: settings.embedding.dimensions(), distance: settings.distance };
        let model = match &settings.embedding {
            kernel::Embedding::Model { name, .. } => Some(name),
            _ => None,
        };
        // Texts are copied and vectors made of unit length on the pool: there may be as many as a body holds.
        let copy = model.is_some();
        let passages = move || {
            let of = |(.., screened): &(usize, Identity, Screened)| {
                (copy && screened.own_vector().is_none()).then(|| screened.passages())
            };
            let passages: Vec<_> = screened.iter().map(of).collect();
            (screened, passages)
        };
        let (screened, passages) = self.inner.work.cpu(Asker::write(grant), passages).await?;
        let mut waiting: Vec<(usize, Identity, Screened, Option<Embedding>)> = Vec::new();
        for ((at, identity, screened), passages) in screened.into_iter().zip(passages) {
            let embedding = match (model, passages) {
                (Some(name), Some(passages)) => Some(self.embed_later(grant, name, Kind::Passage, passages)?),
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
            let one = |(at, identity, screened, vectors): (usize, Identity, Screened, Option<Vec<f32>>)| {
                let own = || screened.own_vector().map(<[f32]>::to_vec).unwrap_or_default();
                let (id, vectors) = (identity.0.clone(), vectors.unwrap_or_else(own));
                (at, id, intake::admit(screened, identity, vectors, &profile))
            };
            embedded.into_iter().map(one).collect::<Vec<_>>()
        };
        let mut admitted = Vec::new();
        for (at, id, outcome) in self.inner.work.cpu(Asker::write(grant), admit).await? {
            match outcome {
                Ok(document) => admitted.push((at, document)),
                Err(error) => results[at] = Some(failed(id, error.into())),
            }
        }
        Ok(admitted)
    }
}

/// Documents whose stored content is this very content. One that stands twice in the request is
/// never taken as unchanged: the first of the two may change it.
async fn unchanged(
    room: &Room<Ingest>,
    audience: &Audience,
    identities: &[Identity],
) -> Result<Vec<Option<DocumentResult>>, Error> {
    let mut seen = HashSet::new();
    let twice: HashSet<&DocumentId> = identities.iter().map(|i| &i.0).filter(|id| !seen.insert(*id)).collect();
    let known = room.known(identities, audience).await?;
    let same = |(identity, known): (&Identity, Known)| match known {
        Known::Same(head) if !twice.contains(&identity.0) => Some(DocumentResult {
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

/// A document, what it is called, and its result if it is unchanged.
type Unjudged = ((RawDocument, Identity), Option<DocumentResult>);

/// As many of the next documents as are judged without another turn; at least one, if there is one.
fn next_group(documents: &mut impl Iterator<Item = Unjudged>) -> Vec<Unjudged> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    while bytes < limits::PREPARED_AT_ONCE_BYTES {
        let Some(next) = documents.next() else { break };
        // What is unchanged costs nothing more.
        bytes += if next.1.is_some() { 0 } else { next.0.0.heap_bytes() };
        group.push(next);
    }
    group
}

/// Reads, screens and cuts a document. Ends between two of these when the caller has gone or its time is up.
fn judge(
    raw: RawDocument,
    identity: Identity,
    same: Option<DocumentResult>,
    settings: &NamespaceSettings,
    tokens: Option<&dyn kernel::Tokens>,
) -> Result<Step, Interrupted> {
    if let Some(done) = same {
        return Ok(Step::Done(done));
    }
    if settings.readers() == ReadersRule::Required && raw.readers.is_none() {
        return Ok(Step::Done(failed(identity.0, Error::invalid("readers", "is required in this namespace"))));
    }
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    let draft = match intake::parse(raw) {
        Ok(draft) => draft,
        Err(error) => return Ok(Step::Done(failed(identity.0, error.into()))),
    };
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    let rejected = |id, findings| {
        let status = ResultStatus::Rejected;
        Ok(Step::Done(DocumentResult { id: Some(id), status, passages: 0, findings, error: None }))
    };
    let mut screened = match intake::screen(draft, &settings.screening) {
        Verdict::Rejected { findings, .. } => return rejected(identity.0, findings),
        Verdict::Screened(screened) => screened,
    };
    checkpoint(STEPS_BETWEEN_CHECKS)?;
    match screened.chunk(tokens, &settings.chunking) {
        Ok(()) if screened.is_rejected() => rejected(identity.0, screened.findings().to_vec()),
        Ok(()) => Ok(Step::Screened { identity, screened }),
        Err(error) => Ok(Step::Done(failed(identity.0, error.into()))),
    }
}

type Results = Vec<Option<DocumentResult>>;

fn split(steps: Vec<Step>) -> (Results, Vec<(usize, Identity, Screened)>) {
    let mut results = Vec::new();
    let mut screened = Vec::new();
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            Step::Done(result) => results.push(Some(result)),
            Step::Screened { identity, screened: document } => {
                results.push(None);
                screened.push((at, identity, document));
            }
        }
    }
    (results, screened)
}

/// What a request cost, for the usage counters.
struct Used {
    tokens: u64,
    bytes_in: u64,
}

async fn commit(
    engine: &Engine,
    grant: &Grant<Ingest>,
    (room, audience): (&Room<Ingest>, &Audience),
    on_conflict: store::OnConflict,
    admitted: Vec<(usize, Admitted)>,
    used: Used,
    results: &mut Results,
) -> Result<kernel::CommitNo, Error> {
    let mut places = Vec::new();
    let mut findings: HashMap<usize, Vec<Finding>> = HashMap::new();
    let mut upserts = Vec::new();
    for (at, document) in admitted {
        places.push(at);
        findings.insert(at, document.findings().to_vec());
        upserts.push(Upsert { admitted: document, on_conflict });
    }
    let pen = engine.inner.trail.pen(grant);
    let line = Box::new(move |outcome: &store::Outcome| {
        let stored =
            outcome.results.iter().filter(|r| matches!(r.status, UpsertStatus::Indexed | UpsertStatus::Quarantined));
        let ids: Vec<DocumentId> = stored.map(|r| r.id.clone()).collect();
        let deed = Deed::success().count("documents", ids.len() as u64).documents(ids);
        pen.write(deed.count("tokens", used.tokens).count("bytes_in", used.bytes_in))
    });
    let outcome = room.append(upserts, audience, line).await?;
    for (at, stored) in places.into_iter().zip(outcome.results) {
        results[at] = Some(DocumentResult {
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

fn finish(results: Results) -> Vec<DocumentResult> {
    results.into_iter().flatten().collect()
}

/// All results in the order of the request.
fn with_refused(mut reply: IngestReply, refused: Vec<(usize, DocumentResult)>) -> IngestReply {
    // Ascending, so each place is right once those before it are there.
    for (at, result) in refused {
        reply.results.insert(at.min(reply.results.len()), result);
    }
    reply
}

fn failed(id: DocumentId, error: Error) -> DocumentResult {
    DocumentResult::failed(Some(id), error)
}

fn deed(reply: &IngestReply) -> Deed {
    Deed::success().count("documents", 0).count("unchanged", count(reply, ResultStatus::Unchanged))
}

fn count(reply: &IngestReply, status: ResultStatus) -> u64 {
    reply.results.iter().filter(|r| r.status == status).count() as u64
}

fn size(document: &RawDocument) -> u64 {
    match &document.body {
        Body::None => 0,
        Body::Text(text) => text.len() as u64,
        Body::Bytes { bytes, .. } => bytes.len() as u64,
    }
}

/// What an operation tells when it is done: numbers by status.
fn counts_of(reply: &IngestReply) -> serde_json::Value {
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
