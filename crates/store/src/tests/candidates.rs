//! Scores of one retriever for the other's candidates: they equal its own ranking in every layout, and only eligible
//! candidates have them.

use super::fixture::{DIMENSIONS, Draft, NAMESPACES, TestEnv, UNLIMITED, line};
use crate::{Address, Eligible, Error, Hit, Snapshot};
use access::{Ingest, Search};
use kernel::{Audience, Clock, Principal, Status};
use segment::TextQuery;
use std::collections::BTreeMap;

const NAMESPACE: (&str, &str) = NAMESPACES[0];

/// Fifty documents, a fifth of them with restricted readers, in `commits` commits, the first `flushes` of which are
/// flushed.
async fn filled(commits: usize, flushes: usize) -> TestEnv {
    let env = TestEnv::new(UNLIMITED).await;
    let drafts: Vec<Draft> = (0..50usize)
        .map(|n| {
            let vector: Vec<f32> = (0..DIMENSIONS).map(|d| ((n * 31 + d * 17) % 13) as f32 - 5.5).collect();
            let readers = (n % 5 == 0).then(|| vec![Principal::parse("user:ada").unwrap()]);
            let text = ["sail", "bread", "press sail"][n % 3].to_owned() + " note" + &" more".repeat(n % 7);
            Draft { vector: Some(vector), readers, ..Draft::new(&format!("d{n:02}"), &text) }
        })
        .collect();
    for (at, batch) in drafts.chunks(50usize.div_ceil(commits)).enumerate() {
        let upserts = batch.iter().map(Draft::upsert).collect();
        env.enter::<Ingest>(NAMESPACE).await.append(upserts, &Audience::Everything, line()).await.unwrap();
        if at < flushes {
            env.stores.flush_all().await.unwrap();
        }
    }
    env
}

fn everyone(snapshot: &Snapshot, env: &TestEnv, audience: &Audience) -> Eligible {
    snapshot.eligible(audience, None, &[Status::Indexed], env.clock.now()).unwrap()
}

fn named(snapshot: &Snapshot, hits: Vec<Hit>) -> BTreeMap<String, u32> {
    hits.into_iter().map(|h| (snapshot.tie(h.at).0.unwrap().as_str().to_owned(), h.score.to_bits())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_retriever_scores_candidates_as_it_ranks_them() {
    let mut by_layout = Vec::new();
    for (commits, flushes) in [(1, 0), (5, 3), (50, 10)] {
        let env = filled(commits, flushes).await;
        let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
        let eligible = everyone(&snapshot, &env, &Audience::Everything);
        let (query, vector) = (TextQuery::new("sail more"), vec![1.0; DIMENSIONS]);
        let stats = snapshot.text_stats(&query, &eligible).unwrap();
        let text = snapshot.text(&query, &eligible, 50).unwrap();
        let (near, _) = snapshot.vector(&vector, &eligible, 50).unwrap();
        assert_eq!((near.len(), text.len() < 50), (50, true));
        let all: Vec<Address> = near.iter().map(|h| h.at).collect();
        let again = snapshot.text_of(&query, &stats, &eligible, &all).unwrap();
        assert_eq!(named(&snapshot, again), named(&snapshot, text.clone()));
        let some: Vec<Address> = text.iter().map(|h| h.at).collect();
        let expected = near.iter().filter(|h| some.contains(&h.at)).copied().collect();
        assert_eq!(named(&snapshot, snapshot.vector_of(&vector, &eligible, &some)), named(&snapshot, expected));
        assert!(snapshot.vector_of(&vector[1..], &eligible, &some).is_empty());
        let values: BTreeMap<String, Vec<u32>> = near
            .iter()
            .map(|h| {
                let values = snapshot.vector_near(&eligible, h.at).unwrap();
                let exact = snapshot.passage(&eligible, h.at, true).unwrap().vector.unwrap();
                let difference = values.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(difference <= exact.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 60_000.0, "{difference}");
                (snapshot.tie(h.at).0.unwrap().as_str().to_owned(), values.iter().map(|x| x.to_bits()).collect())
            })
            .collect();
        by_layout.push((named(&snapshot, text), values));
    }
    assert!(by_layout.windows(2).all(|two| two[0] == two[1]), "layouts differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn ineligible_candidates_have_no_scores_or_sources() {
    let env = filled(5, 3).await;
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let all = everyone(&snapshot, &env, &Audience::Everything);
    let open = everyone(&snapshot, &env, &Audience::Principals(Vec::new()));
    let (query, vector) = (TextQuery::new("note"), vec![1.0; DIMENSIONS]);
    let stats = snapshot.text_stats(&query, &open).unwrap();
    let (near, _) = snapshot.vector(&vector, &all, 50).unwrap();
    let requested: Vec<Address> = near.iter().map(|h| h.at).collect();
    let text = snapshot.text_of(&query, &stats, &open, &requested).unwrap();
    let scored = snapshot.vector_of(&vector, &open, &requested);
    assert_eq!((requested.len(), text.len(), scored.len()), (50, 40, 40));
    let shown: Vec<Address> = scored.iter().map(|h| h.at).collect();
    for at in requested {
        assert_eq!(snapshot.vector_near(&open, at).is_some(), shown.contains(&at));
        match snapshot.source(&open, at) {
            Ok(_) => assert!(shown.contains(&at)),
            Err(error) => assert!(matches!(error, Error::NotEligible) && !shown.contains(&at)),
        }
    }
    let foreign = filled(1, 0).await;
    let other = foreign.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let foreign_rows = everyone(&other, &foreign, &Audience::Everything);
    assert!(snapshot.vector_of(&vector, &foreign_rows, &shown).is_empty(), "eligible rows of another snapshot");
}
