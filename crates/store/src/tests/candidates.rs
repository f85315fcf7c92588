//! What one arm says of the other's candidates: as it ranks them itself, in every layout, and of eligible ones only.

use super::fixture::{DIMENSIONS, Draft, NAMESPACES, ROOMY, World, line};
use crate::{Address, Eligible, Error, Hit, Snapshot};
use access::{Ingest, Search};
use kernel::{Audience, Clock, Principal, Status};
use segment::TextQuery;
use std::collections::BTreeMap;

const HOME: (&str, &str) = NAMESPACES[0];

/// Fifty documents, a fifth of them for readers only, in as many commits; flushed at times.
async fn filled(commits: usize, flushes: usize) -> World {
    let world = World::new(ROOMY).await;
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
        world.enter::<Ingest>(HOME).await.append(upserts, &Audience::Everything, line()).await.unwrap();
        if at < flushes {
            world.stores.flush_all().await.unwrap();
        }
    }
    world
}

fn everyone(snapshot: &Snapshot, world: &World, audience: &Audience) -> Eligible {
    snapshot.eligible(audience, None, &[Status::Indexed], world.clock.now()).unwrap()
}

fn named(snapshot: &Snapshot, hits: Vec<Hit>) -> BTreeMap<String, u32> {
    hits.into_iter().map(|h| (snapshot.tie(h.at).0.unwrap().as_str().to_owned(), h.score.to_bits())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_arm_scores_candidates_as_it_ranks_them() {
    let mut seen = Vec::new();
    for (commits, flushes) in [(1, 0), (5, 3), (50, 10)] {
        let world = filled(commits, flushes).await;
        let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
        let eligible = everyone(&snapshot, &world, &Audience::Everything);
        let (query, vector) = (TextQuery::new("sail more"), vec![1.0; DIMENSIONS]);
        let stats = snapshot.text_stats(&query, &eligible).unwrap();
        let text = snapshot.text(&query, &eligible, 50).unwrap();
        let (near, _) = snapshot.vector(&vector, &eligible, 50).unwrap();
        assert_eq!((near.len(), text.len() < 50), (50, true));
        let all: Vec<Address> = near.iter().map(|h| h.at).collect();
        let again = snapshot.text_of(&query, &stats, &eligible, &all).unwrap();
        assert_eq!(named(&snapshot, again), named(&snapshot, text.clone()));
        let some: Vec<Address> = text.iter().map(|h| h.at).collect();
        let theirs = near.iter().filter(|h| some.contains(&h.at)).copied().collect();
        assert_eq!(named(&snapshot, snapshot.vector_of(&vector, &eligible, &some)), named(&snapshot, theirs));
        assert!(snapshot.vector_of(&vector[1..], &eligible, &some).is_empty());
        let values: BTreeMap<String, Vec<u32>> = near
            .iter()
            .map(|h| {
                let values = snapshot.vector_near(&eligible, h.at).unwrap();
                let exact = snapshot.passage(&eligible, h.at, true).unwrap().vector.unwrap();
                let apart = values.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart <= exact.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 60_000.0, "{apart}");
                (snapshot.tie(h.at).0.unwrap().as_str().to_owned(), values.iter().map(|x| x.to_bits()).collect())
            })
            .collect();
        seen.push((named(&snapshot, text), values));
    }
    assert!(seen.windows(2).all(|two| two[0] == two[1]), "layouts differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_a_reader_may_not_meet_nothing_is_said() {
    let world = filled(5, 3).await;
    let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let all = everyone(&snapshot, &world, &Audience::Everything);
    let open = everyone(&snapshot, &world, &Audience::Principals(Vec::new()));
    let (query, vector) = (TextQuery::new("note"), vec![1.0; DIMENSIONS]);
    let stats = snapshot.text_stats(&query, &open).unwrap();
    let (near, _) = snapshot.vector(&vector, &all, 50).unwrap();
    let asked: Vec<Address> = near.iter().map(|h| h.at).collect();
    let text = snapshot.text_of(&query, &stats, &open, &asked).unwrap();
    let scored = snapshot.vector_of(&vector, &open, &asked);
    assert_eq!((asked.len(), text.len(), scored.len()), (50, 40, 40));
    let shown: Vec<Address> = scored.iter().map(|h| h.at).collect();
    for at in asked {
        assert_eq!(snapshot.vector_near(&open, at).is_some(), shown.contains(&at));
        match snapshot.source(&open, at) {
            Ok(_) => assert!(shown.contains(&at)),
            Err(error) => assert!(matches!(error, Error::NotEligible) && !shown.contains(&at)),
        }
    }
    let foreign = filled(1, 0).await;
    let other = foreign.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let theirs = everyone(&other, &foreign, &Audience::Everything);
    assert!(snapshot.vector_of(&vector, &theirs, &shown).is_empty(), "eligible rows of another snapshot");
}
