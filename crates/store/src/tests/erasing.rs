//! Erasure: after it no object and no log file holds the bytes, found by opening all there is.

use super::fixture::{Draft, NAMESPACES, ROOMY, Sizes, World, id, line};
use access::{Delete, Ingest, Search};
use kernel::Audience;

const HOME: (&str, &str) = NAMESPACES[0];
const NEEDLE: &[u8] = b"xylophonist";

async fn store(world: &World, name: &str, text: &str) {
    world
        .enter::<Ingest>(HOME)
        .await
        .append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line())
        .await
        .unwrap();
}

async fn holds_needle(world: &World) -> bool {
    world.plain(HOME).await.iter().any(|bytes| bytes.windows(NEEDLE.len()).any(|window| window == NEEDLE))
}

async fn erase(world: &World, name: &str) -> crate::Erased {
    let room = world.enter::<Delete>(HOME).await;
    let erasing = room.erase(&[id(name)], &Audience::Everything, line()).await.unwrap();
    erasing.erased().await.unwrap()
}

/// In an object, in a second one under the same id, and in the log; with objects and inline.
#[tokio::test(flavor = "multi_thread")]
async fn the_erased_is_in_no_object_and_no_log() {
    for sizes in [ROOMY, Sizes { inline_bytes_max: 240 << 10, ..ROOMY }] {
        let mut world = World::new(sizes).await;
        for round in 0..2 {
            for n in 0..6 {
                store(&world, &format!("kept-{round}-{n}"), "some other words").await;
            }
            store(&world, "gone", &format!("the xylophonist of round {round}")).await;
            world.stores.flush_all().await.unwrap();
        }
        store(&world, "gone", "the xylophonist in the log").await;
        let logs = world.logs();
        assert!(!logs.is_empty());

        let erased = erase(&world, "gone").await;
        assert_eq!(erased.covers.0, world.stores.log_of());
        assert_eq!(erased.commit, world.enter::<Search>(HOME).await.totals().commit);
        assert!(logs.iter().all(|file| !file.exists()), "every log file that held it is gone");
        assert_eq!(world.objects().len(), world.stores.named_of());
        world.reopen().await;
        assert!(!holds_needle(&world).await);
        assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 12);
    }
}

/// Nothing is left of it to delete, and still its bytes are there: asked again, they go.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_crash_cut_short_is_asked_again() {
    let mut world = World::new(ROOMY).await;
    for n in 0..9 {
        store(&world, &n.to_string(), "some other words").await;
    }
    store(&world, "gone", "the xylophonist").await;
    world.stores.flush_all().await.unwrap();
    let which = crate::Selection::Ids(vec![id("gone")]);
    world.enter::<Delete>(HOME).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    world.reopen().await;
    assert!(holds_needle(&world).await, "the scan can see");
    erase(&world, "gone").await;
    world.reopen().await;
    assert!(!holds_needle(&world).await);
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 9);
}

/// A document that came back under the same id stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_after_the_delete_stays() {
    let world = World::new(ROOMY).await;
    store(&world, "gone", "the xylophonist").await;
    world.stores.flush_all().await.unwrap();
    let room = world.enter::<Delete>(HOME).await;
    let erasing = room.erase(&[id("gone")], &Audience::Everything, line()).await.unwrap();
    assert_eq!(erasing.outcome.deleted, 1);
    store(&world, "gone", "somebody else").await;
    erasing.erased().await.unwrap();
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 1);
}
