//! The book alone: what is acknowledged is there again, dropped writers do no harm, checkpoints carry all.

use super::{Book, World};
use crate::{
    KeyChoice, codec,
    directory::{DirectoryEvent, DirectoryState},
    keys::Asking,
    opening::new_ring,
    tests::{Site, entropy},
};
use futures::FutureExt as _;
use kernel::{Incarnation, NamespaceUuid, OsEntropy, limits};
use std::sync::Arc;
use vault::{Home, PlaceKind, TenantKeys};

struct Shelf {
    world: World,
    home: Arc<Home>,
    _keys: TenantKeys,
}

async fn shelf(site: &Site) -> Shelf {
    let world = World { storage: site.storage().await, clock: site.clock.clone(), entropy: entropy() };
    let asking = Asking::new(site.provider().into(), tokio_util::task::TaskTracker::new());
    let life = Incarnation::random(&OsEntropy);
    let key = asking.choose(&KeyChoice::default(), life).unwrap().0;
    let (keys, _) = new_ring(&world, &asking, life, key, false).await.unwrap();
    let (home, _) =
        Home::create_place(&keys, PlaceKind::Directory, NamespaceUuid::random(&OsEntropy), &OsEntropy).unwrap();
    Shelf { world, home: Arc::new(home), _keys: keys }
}

impl Shelf {
    async fn open(&self) -> Book<DirectoryState> {
        Book::open(self.world.clone(), self.home.clone()).await.unwrap()
    }
}

fn add(prefix: &str) -> DirectoryEvent {
    let name = crate::tests::name("n");
    DirectoryEvent::NamespaceDropped { name, prefix: prefix.into() }
}

fn doomed(book: &Book<DirectoryState>) -> Vec<String> {
    book.read(|s| s.doomed.clone())
}

#[tokio::test]
async fn a_refused_decision_writes_nothing() {
    let site = Site::new();
    let shelf = shelf(&site).await;
    let book = shelf.open().await;
    let refused = book.write::<()>(|_| Err(kernel::Error::not_found().into())).await;
    assert!(refused.is_err());
    book.write(|_| Ok((None, ()))).await.unwrap();
    drop(book);
    assert_eq!(doomed(&shelf.open().await), Vec::<String>::new());
}

#[tokio::test]
async fn a_writer_that_is_dropped_anywhere_leaves_memory_and_disk_agreed() {
    for polls in 0..6 {
        let site = Site::new();
        let shelf = shelf(&site).await;
        let book = shelf.open().await;
        book.write(|_| Ok((Some(add("first")), ()))).await.unwrap();
        {
            let mut write = Box::pin(book.write(|_| Ok((Some(add("dropped")), ()))));
            for _ in 0..polls {
                if write.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        book.write(|_| Ok((Some(add("last")), ()))).await.unwrap();
        let seen = doomed(&book);
        assert!(seen == ["first", "last"] || seen == ["first", "dropped", "last"], "{seen:?}");
        shelf.world.storage.close().await;
        drop(book);
        assert_eq!(doomed(&shelf.open().await), seen, "after {polls} polls");
    }
}

#[tokio::test]
async fn a_checkpoint_carries_everything_and_shortens_the_log() {
    let site = Site::new();
    let shelf = shelf(&site).await;
    let book = shelf.open().await;
    let count = usize::try_from(limits::REGISTRY_CHECKPOINT_ENTRIES).unwrap() + 10;
    for i in 0..count {
        book.write(|_| Ok((Some(add(&i.to_string())), ()))).await.unwrap();
    }
    let seen = doomed(&book);
    assert_eq!(seen.len(), count);
    drop(book);
    let again = shelf.open().await;
    assert_eq!(doomed(&again), seen);
    assert!(again.writer.lock().await.since_checkpoint < 20, "the log was cut");
}

#[test]
fn another_version_is_refused_by_name() {
    let body = br#"{"v":9,"body":"barrier"}"#;
    let error = codec::decode::<DirectoryEvent>("directory journal", body).err().unwrap();
    assert!(error.to_string().contains("version 9"), "{error}");
    let error =
        codec::decode::<DirectoryEvent>("directory journal", br#"{"v":0,"body":{"nonsense":1}}"#).err().unwrap();
    assert_eq!(kernel::Error::from(error).code, kernel::Code::Internal);
}
