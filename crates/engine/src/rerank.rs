//! Reranking: a model reads the question beside each of the best candidates and puts them in a new order.
//!
//! Promises: only what the reader may see is read, since only hits come here; the reader gets the model that was asked
//! for or an error; passages that the model holds for equal keep the order of the arms; `min_scores.rerank` and
//! diversity go by the new scores. Its work stands in the tenant's lane of the models' queue and in its token quota.

use crate::{
    Engine, Hit, Reranked, SearchReply, diversify,
    fuse::Fused,
    query::{Plan, Reranking},
    search::millis,
    work::Asker,
};
use access::{Grant, Search};
use kernel::{Error, Untrusted};
use std::sync::Arc;

impl Engine {
    /// Puts the candidates of a reply in the model's order and cuts it to what was asked for.
    ///
    /// # Errors
    /// `rate_limited` when the tenant's tokens are used up; else as [`Engine::embed`].
    pub(crate) async fn rerank(
        &self,
        grant: &Grant<Search>,
        plan: Arc<Plan>,
        mut reply: SearchReply,
    ) -> Result<SearchReply, Error> {
        let (Some(Reranking { model, method, .. }), Some(question)) = (plan.rerank(), plan.question()) else {
            return Ok(reply);
        };
        let work = &self.inner.work;
        let started = self.inner.clock.monotonic();
        grant.charge_tokens(reply.hits.iter().map(|hit| u64::from(hit.tokens)).sum())?;
        // Passages may be long, and vectors be many that are compared: both on the pool.
        let hits = std::mem::take(&mut reply.hits);
        let copied = move || {
            let texts: Vec<Untrusted> = hits.iter().map(read_by_model).collect();
            (hits, texts)
        };
        let (hits, texts) = work.cpu(Asker::answer(grant), copied).await?;
        let candidates = texts.len();
        let scores = self.judge(grant, model, question.clone(), texts).await?;
        if let Some(explain) = &mut reply.explain {
            explain.rerank = Some(Reranked { model: model.clone(), method: method.as_str(), candidates });
        }
        let ordering = plan.clone();
        reply.hits = work.cpu(Asker::answer(grant), move || order(&ordering, hits, &scores)).await??;
        reply.timings.push(("rerank", millis(started, self.inner.clock.monotonic())));
        Ok(reply)
    }
}

/// As for its vector, the title stands before a passage that does not begin with it.
fn read_by_model(hit: &Hit) -> Untrusted {
    let (title, text) = (hit.title.expose(), hit.text.as_ref().map_or("", Untrusted::expose));
    Untrusted::new(if text.starts_with(title) { text.to_owned() } else { format!("{title}\n{text}") })
}

/// The hits that are answered, in the order of their scores, with no more in them than was asked for.
fn order(plan: &Plan, hits: Vec<Hit>, scores: &[f32]) -> Result<Vec<Hit>, Error> {
    let least = plan.min_scores().rerank.unwrap_or(f32::NEG_INFINITY);
    let mut hits: Vec<Hit> = hits
        .into_iter()
        .zip(scores)
        .filter(|(_, score)| **score >= least)
        .map(|(hit, score)| Hit { score: *score, scores: crate::Scores { rerank: Some(*score), ..hit.scores }, ..hit })
        .collect();
    // Stable: equal ones stay as the arms ranked them.
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
    if let Some(diversity) = plan.diversity() {
        let ranked = hits.iter().enumerate().map(|(item, hit)| Fused { item, score: hit.score, arms: [None; 2] });
        let vector = |item: usize| hits[item].vector.clone();
        let chosen = diversify::diversify(ranked.collect(), diversity, vector, plan.top_k())?;
        let mut left: Vec<Option<Hit>> = hits.into_iter().map(Some).collect();
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
