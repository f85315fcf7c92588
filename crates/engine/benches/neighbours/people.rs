//! The two tenants, and what they do through the engine's public flows.

use access::{Action, Ask, Grant, Ingest, Operator, Search};
use anyhow::{Context, Result, anyhow, ensure};
use engine::{
    Body, Engine, EngineConfig, Include, IngestRequest, Mode, NewKey, NewTenant, OnConflict, RawDocument, SearchRequest,
};
use journal::Storage;
use kernel::{
    Attributes, DocumentId, Entropy, NamespaceName, OsEntropy, Presence, Scope, SeededEntropy, TenantId, Untrusted,
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

/// Both tenants' keys.
pub(crate) struct People {
    pub(crate) quiet: String,
    pub(crate) noisy: String,
}

/// A tenant at a server.
#[derive(Clone)]
pub(crate) struct Person {
    engine: Engine,
    key: String,
}

pub(crate) async fn open(folder: &Path, turns: bool) -> Result<(Engine, Option<Zeroizing<String>>)> {
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy))?;
    let storage = Storage::open(&folder.join("data")).await?;
    let config = EngineConfig { turns, ..EngineConfig::new(storage, provider, Models::unavailable("a benchmark")) };
    Engine::open(config).await.map_err(said)
}

/// Makes both tenants: the quiet one's namespaces, and the noisy one's.
pub(crate) async fn make(folder: &Path, quiet: &[(&str, usize)], noise: usize) -> Result<People> {
    let (engine, token) = open(folder, true).await?;
    let token = token.context("the folder is not new")?;
    let operator = engine.gate().operator(Some(&token), &[], engine.request_id()).map_err(|r| said(r.error))?;
    let people =
        People { quiet: tenant(&engine, &operator, "quiet").await?, noisy: tenant(&engine, &operator, "noisy").await? };
    let person = Person::new(&engine, &people.quiet);
    for (namespace, rows) in quiet {
        fill(&person, namespace, *rows).await?;
    }
    fill(&Person::new(&engine, &people.noisy), "noise", noise).await?;
    settle(engine).await;
    Ok(people)
}

async fn fill(person: &Person, namespace: &str, rows: usize) -> Result<()> {
    for from in (0..rows).step_by(500) {
        person.write(namespace, from..(from + 500).min(rows)).await?;
    }
    Ok(())
}

/// Waits for what runs in the background, so that a measurement alone is alone.
pub(crate) async fn quieten(engine: &Engine) {
    let mut quiet = 0;
    while quiet < 10 {
        let stores = engine.health().stores;
        let busy = stores.upkeep_running + stores.upkeep_waiting > 0;
        quiet = if busy { 0 } else { quiet + 1 };
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn settle(engine: Engine) {
    quieten(&engine).await;
    engine.close(Duration::from_secs(60)).await;
}

async fn tenant(engine: &Engine, operator: &Operator, name: &str) -> Result<String> {
    let id = TenantId::parse(name).map_err(said)?;
    let new = NewTenant::named(id.clone());
    engine.create_tenant(operator, new).await.map_err(said)?;
    let new = NewKey {
        name: "bench".to_owned(),
        scopes: Scope::ALL.to_vec(),
        principals: Vec::new(),
        namespaces: Vec::new(),
        expires_at: None,
    };
    let (_, secret) = engine.create_api_key(operator, &id, new).await.map_err(said)?;
    Ok((*secret).clone())
}

impl Person {
    pub(crate) fn new(engine: &Engine, key: &str) -> Self {
        Self { engine: engine.clone(), key: key.to_owned() }
    }

    /// The nearest of a random direction.
    pub(crate) async fn search(&self, namespace: &str, top_k: usize, seed: u64) -> Result<()> {
        let grant = self.grant::<Search>(namespace).await?;
        let request = SearchRequest {
            vector: Some(vector(seed)),
            top_k,
            mode: Some(Mode::Vector),
            include: Include { text: true, ..Include::default() },
            ..SearchRequest::default()
        };
        let reply = self.engine.search(grant, request).await.map_err(|e| said(e.into_body()))?.into_body();
        ensure!(reply.hits.len() == top_k, "{} hits instead of {top_k}", reply.hits.len());
        Ok(())
    }

    pub(crate) async fn write(&self, namespace: &str, numbers: Range<usize>) -> Result<()> {
        let grant = self.grant::<Ingest>(namespace).await?;
        let documents = numbers.map(document).collect::<Result<Vec<_>>>()?;
        let request =
            IngestRequest { documents: documents.into(), refused: Vec::new(), on_conflict: OnConflict::Overwrite };
        let wanted = request.documents.len();
        let reply = self.engine.ingest(grant, request).await.map_err(|e| said(e.into_body()))?.into_body();
        let stored = reply.results.iter().filter(|r| r.passages == 1).count();
        ensure!(stored == wanted, "{stored} of {wanted} passages were stored");
        Ok(())
    }

    async fn grant<A: Action>(&self, namespace: &str) -> Result<Grant<A>> {
        let ask = Ask {
            namespace: Some(NamespaceName::parse(namespace).map_err(said)?),
            request: self.engine.request_id(),
            trace: None,
            presence: Presence::default(),
        };
        self.engine.admit::<A>(Some(&self.key), ask).await.map_err(|refusal| said(refusal.error))
    }
}

fn document(n: usize) -> Result<RawDocument> {
    Ok(RawDocument {
        id: Some(DocumentId::parse(&format!("document-{n}")).map_err(said)?),
        body: Body::Text(Untrusted::new(format!("passage {n} is about topic {} and little else", n % 7))),
        media_type: None,
        title: None,
        uri: None,
        attributes: Attributes::default(),
        readers: None,
        vector: Some(vector(n as u64)),
        expires_at: None,
    })
}

/// A random direction. Drawn once: what callers do is no part of what is measured.
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

fn said(error: kernel::Error) -> anyhow::Error {
    anyhow!(error)
}
