//! The two tenants, and their requests through the engine's public flows.

use access::{Action, Grant, Ingest, Operator, RequestInfo, Search};
use anyhow::{Context, Result, anyhow, ensure};
use engine::{
    Engine, EngineConfig, Include, IngestRequest, Mode, NewApiKey, NewTenant, OnConflict, RawBody, RawDocument,
    SearchRequest,
};
use journal::Storage;
use kernel::{
    Attributes, CancelFlag, DocumentId, Entropy, NamespaceName, OsEntropy, Scope, SeededEntropy, TenantId, Untrusted,
};
use models::Models;
use std::{
    ops::Range,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};
use vault::LocalProvider;
use zeroize::Zeroizing;

const DIMENSIONS: usize = 384;

/// Keys of both tenants.
pub(crate) struct People {
    pub(crate) quiet: String,
    pub(crate) noisy: String,
}

/// A tenant at a server.
#[derive(Clone)]
pub(crate) struct TenantClient {
    engine: Engine,
    key: String,
}

pub(crate) async fn open(folder: &Path, turns: bool) -> Result<(Engine, Option<Zeroizing<String>>)> {
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy))?;
    let storage = Storage::open(&folder.join("data")).await?;
    let config = EngineConfig {
        fair_scheduling: turns,
        ..EngineConfig::new(storage, provider, Models::unavailable("a benchmark"))
    };
    Engine::open(config).await.map_err(flow_error)
}

/// Creates both tenants and their namespaces.
pub(crate) async fn make(folder: &Path, quiet: &[(&str, usize)], noise: usize) -> Result<People> {
    let (engine, token) = open(folder, true).await?;
    let token = token.context("the folder is not new")?;
    let operator = engine.gate().operator(Some(&token), &[], engine.request_id()).map_err(|r| flow_error(r.error))?;
    let tenants =
        People { quiet: tenant(&engine, &operator, "quiet").await?, noisy: tenant(&engine, &operator, "noisy").await? };
    let client = TenantClient::new(&engine, &tenants.quiet);
    for (namespace, rows) in quiet {
        fill(&client, namespace, *rows).await?;
    }
    fill(&TenantClient::new(&engine, &tenants.noisy), "noise", noise).await?;
    close_when_idle(engine).await;
    Ok(tenants)
}

async fn fill(client: &TenantClient, namespace: &str, rows: usize) -> Result<()> {
    for from in (0..rows).step_by(500) {
        client.write(namespace, from..(from + 500).min(rows)).await?;
    }
    Ok(())
}

/// Waits for background work to end, so that it does not disturb the measurement.
pub(crate) async fn wait_until_idle(engine: &Engine) {
    let mut quiet = 0;
    while quiet < 10 {
        let stores = engine.health().stores;
        let busy = stores.maintenance_jobs_running + stores.maintenance_waiting > 0;
        quiet = if busy { 0 } else { quiet + 1 };
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn close_when_idle(engine: Engine) {
    wait_until_idle(&engine).await;
    engine.close(Duration::from_secs(60)).await;
}

async fn tenant(engine: &Engine, operator: &Operator, name: &str) -> Result<String> {
    let id = TenantId::parse(name).map_err(flow_error)?;
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

impl TenantClient {
    pub(crate) fn new(engine: &Engine, key: &str) -> Self {
        Self { engine: engine.clone(), key: key.to_owned() }
    }

    /// Searches for the nearest passages to a random direction.
    pub(crate) async fn search(&self, namespace: &str, top_k: usize, seed: u64) -> Result<()> {
        let grant = self.grant::<Search>(namespace).await?;
        let request = SearchRequest {
            vector: Some(vector(seed)),
            top_k,
            mode: Some(Mode::Vector),
            include: Include { text: true, ..Include::default() },
            ..SearchRequest::default()
        };
        let reply = self.engine.search(grant, request).await.map_err(|e| flow_error(e.into_body()))?.into_body();
        ensure!(reply.hits.len() == top_k, "{} hits instead of {top_k}", reply.hits.len());
        Ok(())
    }

    pub(crate) async fn write(&self, namespace: &str, numbers: Range<usize>) -> Result<()> {
        let grant = self.grant::<Ingest>(namespace).await?;
        let documents = numbers.map(document).collect::<Result<Vec<_>>>()?;
        let request =
            IngestRequest { documents: documents.into(), refused: Vec::new(), on_conflict: OnConflict::Overwrite };
        let wanted = request.documents.len();
        let reply = self.engine.ingest(grant, request).await.map_err(|e| flow_error(e.into_body()))?.into_body();
        let stored = reply.results.iter().filter(|r| r.passages == 1).count();
        ensure!(stored == wanted, "{stored} of {wanted} passages were stored");
        Ok(())
    }

    async fn grant<A: Action>(&self, namespace: &str) -> Result<Grant<A>> {
        let ask = RequestInfo {
            namespace: Some(NamespaceName::parse(namespace).map_err(flow_error)?),
            request: self.engine.request_id(),
            trace: None,
            cancel: CancelFlag::default(),
        };
        self.engine.admit::<A>(Some(&self.key), ask).await.map_err(|refusal| flow_error(refusal.error))
    }
}

fn document(n: usize) -> Result<RawDocument> {
    Ok(RawDocument {
        id: Some(DocumentId::parse(&format!("document-{n}")).map_err(flow_error)?),
        body: RawBody::Text(Untrusted::new(format!("passage {n} is about topic {} and little else", n % 7))),
        media_type: None,
        title: None,
        uri: None,
        attributes: Attributes::default(),
        readers: None,
        vector: Some(vector(n as u64)),
        expires_at: None,
    })
}

/// A random direction. It is drawn once, because the callers' own work is not part of the measurement.
fn vector(seed: u64) -> Vec<f32> {
    static DRAWN: LazyLock<Vec<Vec<f32>>> = LazyLock::new(|| {
        let draw = |seed| {
            let mut bytes = vec![0; DIMENSIONS];
            SeededEntropy::new(seed).fill(&mut bytes);
            bytes.iter().map(|b| f32::from(*b) / 128.0 - 1.0).collect()
        };
        (0..16_384).map(draw).collect()
    });
    DRAWN[seed as usize % DRAWN.len()].clone()
}

fn flow_error(error: kernel::Error) -> anyhow::Error {
    anyhow!(error)
}
