//! Tests of the event store alone: acknowledged events survive, dropped writers do no harm, checkpoints are complete.

use super::{Env, EventStore};
use crate::{
    KeyChoice, codec,
    directory::{DirectoryEvent, DirectoryState},
    keys::ProviderClient,
    opening::new_keyring,
    tests::{DataFolder, entropy},
};
use futures::FutureExt as _;
use kernel::{Incarnation, NamespaceUuid, OsEntropy, limits};
use std::sync::Arc;
use vault::{Keyspace, KeyspaceKind, TenantKeys};

struct JournalFixture {
    env: Env,
    keyspace: Arc<Keyspace>,
    _keys: TenantKeys,
}

async fn fixture(data_folder: &DataFolder) -> JournalFixture {
    let env = Env { storage: data_folder.storage().await, clock: data_folder.clock.clone(), entropy: entropy() };
    let provider_client = ProviderClient::new(data_folder.provider().into(), tokio_util::task::TaskTracker::new());
    let incarnation = Incarnation::random(&OsEntropy);
    let key = provider_client.choose(&KeyChoice::default(), incarnation).unwrap().0;
    let (keys, _) = new_keyring(&env, &provider_client, incarnation, key, false).await.unwrap();
    let (keyspace, _) =
        Keyspace::create(&keys, KeyspaceKind::Directory, NamespaceUuid::random(&OsEntropy), &OsEntropy).unwrap();
    JournalFixture { env, keyspace: Arc::new(keyspace), _keys: keys }
}

impl JournalFixture {
    async fn open(&self) -> EventStore<DirectoryState> {
        EventStore::open(self.env.clone(), self.keyspace.clone()).await.unwrap()
    }
}

fn add_prefix(prefix: &str) -> DirectoryEvent {
    let name = crate::tests::name("n");
    DirectoryEvent::NamespaceDropped { name, prefix: prefix.into() }
}

fn pending_prefixes(store: &EventStore<DirectoryState>) -> Vec<String> {
    store.read(|s| s.pending_prefixes.clone())
}

#[tokio::test]
async fn a_refused_decision_writes_nothing() {
    let data_folder = DataFolder::new();
    let fixture = fixture(&data_folder).await;
    let store = fixture.open().await;
    let refused = store.write::<()>(|_| Err(kernel::Error::not_found().into())).await;
    assert!(refused.is_err());
    store.write(|_| Ok((None, ()))).await.unwrap();
    drop(store);
    assert_eq!(pending_prefixes(&fixture.open().await), Vec::<String>::new());
}

#[tokio::test]
async fn a_writer_dropped_at_any_point_leaves_memory_and_disk_in_agreement() {
    for polls in 0..6 {
        let data_folder = DataFolder::new();
        let fixture = fixture(&data_folder).await;
        let store = fixture.open().await;
        store.write(|_| Ok((Some(add_prefix("first")), ()))).await.unwrap();
        {
            let mut write = Box::pin(store.write(|_| Ok((Some(add_prefix("dropped")), ()))));
            for _ in 0..polls {
                if write.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        store.write(|_| Ok((Some(add_prefix("last")), ()))).await.unwrap();
        let prefixes = pending_prefixes(&store);
        assert!(prefixes == ["first", "last"] || prefixes == ["first", "dropped", "last"], "{prefixes:?}");
        fixture.env.storage.close().await;
        drop(store);
        assert_eq!(pending_prefixes(&fixture.open().await), prefixes, "after {polls} polls");
    }
}

#[tokio::test]
async fn a_checkpoint_holds_everything_and_shortens_the_log() {
    let data_folder = DataFolder::new();
    let fixture = fixture(&data_folder).await;
    let store = fixture.open().await;
    let count = usize::try_from(limits::REGISTRY_CHECKPOINT_ENTRIES).unwrap() + 10;
    for i in 0..count {
        store.write(|_| Ok((Some(add_prefix(&i.to_string())), ()))).await.unwrap();
    }
    let prefixes = pending_prefixes(&store);
    assert_eq!(prefixes.len(), count);
    drop(store);
    let again = fixture.open().await;
    assert_eq!(pending_prefixes(&again), prefixes);
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
