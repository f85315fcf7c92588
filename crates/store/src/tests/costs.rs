//! Where the store's work runs, and what ends it.

use super::fixture::*;
use crate::{Selection, cost};
use access::{Delete, Ingest, Search};
use kernel::{Audience, Field, Filter, cost::RunOn};

const HOME: (&str, &str) = NAMESPACES[0];

/// A filter that has to look at all of every id.
fn all_of_every_id() -> Selection {
    Selection::Filter(Filter::Not(Box::new(Filter::Match(Field::Id, kernel::MatchWords::of("nothing")))))
}

async fn with_long_ids() -> World {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(HOME).await;
    let upserts = (0..400).map(|n| Draft::new(&format!("{n} {}", "long id ".repeat(50)), "text").upsert()).collect();
    room.append(upserts, &Audience::Everything, line()).await.unwrap();
    world
}

/// It held the turn of the namespace's writer, and all its other writes, for as long as it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_by_filter_ends_with_its_caller_and_changes_nothing() {
    let world = with_long_ids().await;
    let room = world.enter::<Delete>(HOME).await;
    drop(room.presence.watch());
    let end = room.delete(&all_of_every_id(), &Audience::Everything, line()).await;
    assert!(matches!(&end, Err(error) if error.is_interrupted()), "{end:?}");
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 400);
    // The namespace goes on, and another caller's is done.
    let room = world.enter::<Delete>(HOME).await;
    let done = room.delete(&all_of_every_id(), &Audience::Everything, line()).await.unwrap();
    assert_eq!((done.deleted, world.enter::<Search>(HOME).await.totals().documents), (400, 0));
}

/// One that names what it deletes is done whole, waited for or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_handed_over_is_done() {
    let world = with_long_ids().await;
    let room = world.enter::<Ingest>(HOME).await;
    drop(room.presence.watch());
    room.append(vec![Draft::new("a", "text").upsert()], &Audience::Everything, line()).await.unwrap();
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_looked_at_here_if_they_are_few_and_short() {
    let world = with_long_ids().await;
    let view = world.stores.only().view();
    let ids: Vec<_> = (0..400).map(|n| id(&format!("{n} {}", "long id ".repeat(50)))).collect();
    assert!(matches!(cost::of_heads(&view, &ids[..1]).run_on(), RunOn::Caller(_)));
    let many: Vec<_> = ids.iter().cycle().take(10_000).collect();
    assert!(matches!(cost::of_heads(&view, many).run_on(), RunOn::Pool));
}
