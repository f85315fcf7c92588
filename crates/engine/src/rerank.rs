//! Reranking: a model reads the question together with each of the best candidates, whose order is then that of the
//! model's scores.
//!
//! Promises: the model reads only what the reader may see, since only hits are reranked; the reader gets the requested
//! model or an error; passages with equal scores keep the order of the retrievers; `min_scores.rerank` and diversity
//! use the new scores. The work waits in the tenant's queue for the models and counts towards its token quota.

use crate::{
    Engine, RerankReport, SearchHit, SearchReply, diversify,
    fuse::FusedCandidate,
    phrases,
    query::{Reranking, SearchPlan},
    search::millis,
    work::TaskContext,
};
use access::{Grant, Search};
use kernel::{Error, Untrusted};
use std::sync::Arc;

impl Engine {
    /// Reranks the candidates of a reply and truncates them to `top_k`.
    ///
    /// # Errors
    /// `rate_limited` when the tenant's tokens are used up; otherwise as [`Engine::embed`].
    pub(crate) async fn rerank(
        &self,
        grant: &Grant<Search>,
        plan: Arc<SearchPlan>,
        mut reply: SearchReply,
    ) -> Result<SearchReply, Error> {
        let (Some(Reranking { model, method, .. }), Some(question)) = (plan.rerank(), plan.question()) else {
            return Ok(reply);
        };
        let work = &self.inner.work;
        let started = self.inner.clock.monotonic();
        grant.charge_tokens(reply.hits.iter().map(|hit| u64::from(hit.tokens)).sum())?;
        // Copying and ordering run on the pool, because passages may be long and many vectors may be compared.
        let hits = std::mem::take(&mut reply.hits);
        let copied = move || {
            let texts: Vec<Untrusted> = hits.iter().map(read_by_model).collect();
            (hits, texts)
        };
        let (hits, texts) = work.cpu(TaskContext::answer(grant), copied).await?;
        let candidates = texts.len();
        let scores = self.score_texts(grant, model, question.clone(), texts).await?;
        if let Some(explain) = &mut reply.explain {
            explain.rerank = Some(RerankReport { model: model.clone(), method: method.as_str(), candidates });
        }
        let ordering = plan.clone();
        reply.hits = work.cpu(TaskContext::answer(grant), move || order(&ordering, hits, &scores)).await??;
        reply.timings.push(("rerank", millis(started, self.inner.clock.monotonic())));
        Ok(reply)
    }
}

/// The text that the model reads of a hit. As for the passage's vector, the title is put before a passage that does not
/// begin with it.
fn read_by_model(hit: &SearchHit) -> Untrusted {
    let (title, text) = (hit.title.expose(), hit.text.as_ref().map_or("", Untrusted::expose));
    Untrusted::new(if text.starts_with(title) { text.to_owned() } else { format!("{title}\n{text}") })
}

/// Orders the hits by their new scores, truncates them to `top_k`, and removes members that were not requested.
fn order(plan: &SearchPlan, hits: Vec<SearchHit>, scores: &[f32]) -> Result<Vec<SearchHit>, Error> {
    let least = plan.min_scores().rerank.unwrap_or(f32::NEG_INFINITY);
    let mut hits: Vec<SearchHit> = hits
        .into_iter()
        .zip(scores)
        .filter(|(_, score)| **score >= least)
        .map(|(hit, score)| SearchHit {
            score: *score,
            scores: crate::HitScores { rerank: Some(*score), ..hit.scores },
            ..hit
        })
        .collect();
    // The sort is stable, so hits with equal scores stay in the order of the retrievers.
    hits.sort_by(|a, b| b.phrases.cmp(&a.phrases).then(b.score.total_cmp(&a.score)));
    phrases::raise_scores(hits.iter_mut().map(|hit| (hit.phrases, &mut hit.score)).collect());
    if let Some(diversity) = plan.diversity() {
        let ranked = hits.iter().enumerate().map(|(item, hit)| FusedCandidate {
            item,
            score: hit.score,
            retrievers: [None; 2],
            phrases: hit.phrases,
        });
        let vector = |item: usize| hits[item].vector.clone();
        let chosen = diversify::diversify(ranked.collect(), diversity, vector, plan.top_k())?;
        let mut left: Vec<Option<SearchHit>> = hits.into_iter().map(Some).collect();
        hits = chosen.into_iter().filter_map(|fused| left[fused.item].take()).collect();
    }
    hits.truncate(plan.top_k());
    let shown = plan.include();
    for hit in &mut hits {
        hit.text = hit.text.take().filter(|_| shown.text);
        hit.vector = hit.vector.take().filter(|_| shown.vector);
    }
    Ok(hits)
}
