//! Makes the data through the engine's public flows and shuts the engine down.

use crate::setup::{Sizes, Stopwatch, flow_error, grant, open, vector};
use access::{Ingest, Operator};
use anyhow::{Context, Result, ensure};
use engine::{Engine, IngestRequest, NewApiKey, NewTenant, OnConflict, RawBody, RawDocument};
use futures::{StreamExt, stream};
use kernel::{Attributes, DocumentId, Scope, TenantId, Untrusted};
use std::{path::Path, time::Duration};

/// Concurrent requests.
const AT_ONCE: usize = 16;
/// Documents in one request.
const DOCUMENTS_AT_ONCE: usize = 500;

pub(crate) async fn make(sizes: &Sizes, folder: &Path) -> Result<()> {
    let watch = Stopwatch::start();
    let (engine, token) = open(sizes, folder).await?;
    let token = token.context("the folder is not new")?;
    let operator = engine.gate().operator(Some(&token), &[], engine.request_id()).map_err(|r| flow_error(r.error))?;
    let mut keys = Vec::new();
    for n in 0..sizes.tenants {
        keys.push(tenant(&engine, &operator, n).await?);
    }
    println!("made {} tenants in {:.1} s", sizes.tenants, watch.read().as_secs_f64());
    let all = (0..sizes.namespaces).flat_map(|n| keys.iter().enumerate().map(move |(t, key)| (t, key, n)));
    let filled = stream::iter(all).map(|(t, key, n)| fill(&engine, sizes, key, t, n)).buffer_unordered(AT_ONCE);
    let filled: Vec<Result<()>> = filled.collect().await;
    let made = filled.into_iter().collect::<Result<Vec<()>>>()?.len();
    let seconds = watch.read().as_secs_f64();
    println!("made {made} namespaces in {seconds:.1} s, {:.0} a second", made as f64 / seconds);
    // The graphs of large segments are built in the background; data without them would not be comparable.
    let mut quiet = 0;
    while quiet < 20 {
        let stores = engine.health().stores;
        ensure!(stores.maintenance_failures == 0, "maintenance was postponed: the setup would be incomplete");
        let busy = stores.maintenance_jobs_running + stores.maintenance_waiting + stores.rows_without_graph > 0;
        quiet = if busy { 0 } else { quiet + 1 };
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("maintenance done after {:.1} s", watch.read().as_secs_f64());
    engine.close(Duration::from_secs(60)).await;
    std::fs::write(folder.join("keys"), keys.join("\n"))?;
    Ok(())
}

async fn tenant(engine: &Engine, operator: &Operator, n: usize) -> Result<String> {
    let id = TenantId::parse(&format!("tenant-{n:06}")).map_err(flow_error)?;
    let new = NewTenant::named(id.clone());
    engine.create_tenant(operator, new).await.map_err(flow_error)?;
    let new = NewApiKey {
        name: "bench".to_owned(),
        scopes: Scope::ALL.to_vec(),
        principals: Vec::new(),
        namespaces: Vec::new(),
        expires_at: None,
    };
    let (_, secret) = engine.create_api_key(operator, &id, new).await.map_err(flow_error)?;
    Ok((*secret).clone())
}

async fn fill(engine: &Engine, sizes: &Sizes, key: &str, tenant: usize, namespace: usize) -> Result<()> {
    let numbers: Vec<usize> = (0..sizes.passages).collect();
    for some in numbers.chunks(DOCUMENTS_AT_ONCE) {
        let grant = grant::<Ingest>(engine, key, namespace).await?;
        let documents = some.iter().map(|n| document(sizes, tenant, namespace, *n)).collect::<Result<Vec<_>>>()?;
        let request =
            IngestRequest { documents: documents.into(), refused: Vec::new(), on_conflict: OnConflict::Overwrite };
        let reply = engine.ingest(grant, request).await.map_err(|e| flow_error(e.into_body()))?.into_body();
        let stored = reply.results.iter().filter(|r| r.passages == 1).count();
        ensure!(stored == some.len(), "{stored} of {} passages were stored", some.len());
    }
    Ok(())
}

fn document(sizes: &Sizes, tenant: usize, namespace: usize, n: usize) -> Result<RawDocument> {
    Ok(RawDocument {
        id: Some(DocumentId::parse(&format!("document-{n}")).map_err(flow_error)?),
        body: RawBody::Text(Untrusted::new(text(tenant, namespace, n))),
        media_type: None,
        title: None,
        uri: None,
        attributes: Attributes::default(),
        readers: None,
        vector: Some(vector(((tenant * 1_000_003 + namespace) * 131 + n) as u64, sizes.dimensions)),
        expires_at: None,
    })
}

/// Text of a passage, with words of its own so that text search can distinguish passages.
pub(crate) fn text(tenant: usize, namespace: usize, n: usize) -> String {
    format!("passage {n} of namespace {namespace} of tenant {tenant} is about topic {} and little else", n % 7)
}

/// Bytes of text and vectors that the caller sends into one namespace.
pub(crate) fn content_bytes(sizes: &Sizes) -> usize {
    let text: usize = (0..sizes.passages).map(|n| text(0, 0, n).len()).sum();
    text + sizes.passages * sizes.dimensions * size_of::<f32>()
}
