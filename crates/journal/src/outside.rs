//! What a registry needs of the storage outside any one place: the control place's wrapped key,
//! which is read before any place can be opened, and the removal of places whose keys are gone, for
//! which no home can be made any more; and what shows that nothing of them opens.

use crate::{Error, Journal, ObjectRef, Recovered, Storage, error::io_error, names::Name, storage::Backend};
use kernel::{Clock, Entropy, NamespaceUuid, ObjectUuid};
use std::{io, sync::Arc};
use vault::{Home, ObjectKind, PlaceKind};

impl Storage {
    /// Puts a small object under a name outside every place, durable when this returns. `false`: another was there.
    ///
    /// # Errors
    /// `Full`, `Io`, `Store`.
    pub async fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error> {
        self.create(name, bytes, "writing a small object").await
    }

    /// Reads what [`Storage::put_new`] put; `None` when there is none.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn get_small(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read(name, "reading a small object").await
    }

    /// Removes what [`Storage::put_new`] put, durably; one that is gone is fine.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn delete_small(&self, name: &str) -> Result<(), Error> {
        let what = "deleting a small object";
        match self.backend() {
            Backend::Bucket(bucket) => bucket.delete(name, what).await,
            Backend::Local(_) => {
                let name = name.to_owned();
                self.local(what, move |local| local.delete_synced(&name)).await
            }
        }
    }

    /// Names of small objects in a folder outside every place.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn small_names(&self, folder: &str) -> Result<Vec<String>, Error> {
        let what = "listing small objects";
        match self.backend() {
            Backend::Bucket(bucket) => bucket.names_in(folder, what).await,
            Backend::Local(_) => {
                let folder = folder.to_owned();
                self.local(what, move |local| local.names_in(&folder)).await
            }
        }
    }

    /// Removes everything under a place's prefix, as `Home::prefix` gives it. One that is gone is fine, and what
    /// a crash leaves the next call removes. Whoever calls this knows that nobody writes there.
    ///
    /// # Errors
    /// `Io`, `Store`; also for a prefix that no place has: nothing else is ever removed.
    pub async fn remove_prefix(&self, prefix: &str) -> Result<(), Error> {
        if !is_prefix(prefix) {
            return Err(io_error("removing a place", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        self.remove_place(prefix).await
    }

    /// Sealed objects under a place's prefix, at most so many and each at most [`WITNESS_BYTES_MAX`] long: what they
    /// are called and the hash of their bytes. Nothing is opened.
    ///
    /// # Errors
    /// `Io`, `Store`; also for a prefix that no place has.
    pub async fn witnesses(&self, prefix: &str, most: usize) -> Result<Vec<Witness>, Error> {
        if !is_prefix(prefix) {
            return Err(io_error("listing a place", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        self.witnessed(prefix, self.list(prefix).await?, most).await
    }

    /// The same without marks that hold nothing, the newest of each kind first: objects, checkpoints and parts of the
    /// log, in turns.
    ///
    /// # Errors
    /// As [`Storage::witnesses`].
    pub async fn samples(&self, prefix: &str, most: usize) -> Result<Vec<Witness>, Error> {
        if !is_prefix(prefix) {
            return Err(io_error("listing a place", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        let mut turns: [usize; 3] = [0; 3];
        let names = self.list(prefix).await?.into_iter().rev();
        let mut ranked: Vec<_> = names
            .filter_map(|name| {
                let kind = match name {
                    Name::Log(_) => 0,
                    Name::Object(..) => 1,
                    Name::Checkpoint(_) => 2,
                    Name::Claim(_) | Name::Cut | Name::Tombstone => return None,
                };
                turns[kind] += 1;
                Some(((turns[kind], kind), name))
            })
            .collect();
        ranked.sort_unstable();
        self.witnessed(prefix, ranked.into_iter().map(|(_, name)| name).collect(), most).await
    }

    /// One object as it lies there now; `None` when it does not.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn witness(&self, name: &str) -> Result<Option<Witness>, Error> {
        let bytes = self.read(name, "reading a sealed object").await?;
        let hashed = |bytes: Vec<u8>| (bytes.len() as u64, vault::sha256(&bytes));
        Ok(bytes.map(hashed).map(|(bytes, sha256)| Witness { name: name.to_owned(), bytes, sha256 }))
    }

    async fn witnessed(&self, prefix: &str, names: Vec<Name>, most: usize) -> Result<Vec<Witness>, Error> {
        let mut found = Vec::new();
        for name in names {
            if found.len() >= most {
                break;
            }
            let name = format!("{prefix}{name}");
            let Some(bytes) = self.read(&name, "reading a sealed object").await? else { continue };
            if bytes.len() <= WITNESS_BYTES_MAX {
                found.push(Witness { name, bytes: bytes.len() as u64, sha256: vault::sha256(&bytes) });
            }
        }
        Ok(found)
    }

    /// Opens a sample as whoever has its place's keys could: a part of the log and a checkpoint by the keys that stand
    /// in them, an object by the reference that the place's checkpoint or log holds. What comes out is dropped.
    ///
    /// Nobody writes in the place meanwhile.
    ///
    /// # Errors
    /// `Vault` when it does not open; `Corrupt`, `Io`, `Store` when it or its reference is not there.
    pub async fn open_sample(
        &self,
        home: &Arc<Home>,
        name: &str,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(), Error> {
        let gone = || io_error("opening a sealed object", io::Error::from(io::ErrorKind::NotFound));
        let inside = name.strip_prefix(&home.prefix()).and_then(Name::parse).ok_or_else(gone)?;
        let read = || async { self.read(name, "opening a sealed object").await?.ok_or_else(gone) };
        match inside {
            Name::Log(_) => home.open_log(&read().await?).map(drop)?,
            Name::Checkpoint(_) => {
                let bytes = read().await?;
                let uuid = bytes.get(STATED_UUID).and_then(|b| Some(*b.first_chunk()?)).ok_or_else(gone)?;
                home.open_whole(ObjectKind::Checkpoint, ObjectUuid::from_bytes(uuid), &bytes).map(drop)?;
            }
            Name::Object(_, uuid) => {
                let (journal, found) = Journal::recover(self, Arc::clone(home), clock, entropy).await?;
                let object = reference(&found, uuid).ok_or_else(gone)?;
                // One in two parts opens in no other way.
                if let Err(whole) = journal.get(&object).await {
                    journal.whole_object(&object).await.map_err(|_| whole)?;
                }
            }
            Name::Claim(_) | Name::Cut | Name::Tombstone => return Err(gone()),
        }
        Ok(())
    }

    /// The numbers of all places of this kind that anything lies under.
    ///
    /// Cost: in a folder 257 folders read, in a bucket as many listings, and one more for each thousand places.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn places(&self, kind: PlaceKind) -> Result<Vec<NamespaceUuid>, Error> {
        let any = kind.prefix(NamespaceUuid::from_bytes([0; 16]));
        let folder = any.split('/').next().unwrap_or_default().to_owned();
        let what = "listing places";
        let found = match self.backend() {
            Backend::Bucket(bucket) => bucket.folders_below(&folder, what).await?,
            Backend::Local(_) => self.local(what, move |local| local.folders_below(&folder)).await?,
        };
        let number = |found: String| {
            let uuid = NamespaceUuid::parse(found.rsplit('/').next()?).ok()?;
            // Whatever else lies there is none of ours.
            (kind.prefix(uuid).strip_suffix('/') == Some(found.as_str())).then_some(uuid)
        };
        Ok(found.into_iter().filter_map(number).collect())
    }
}

/// An object's reference in what a place's checkpoint and log say, which begins with its kind and its number.
fn reference(found: &Recovered, uuid: ObjectUuid) -> Option<ObjectRef> {
    let mut bodies = found.checkpoint.iter().chain(found.entries.iter().map(|(_, body)| body));
    bodies.find_map(|body| {
        let numbers = body.windows(uuid.as_bytes().len()).enumerate().filter(|(_, part)| part == uuid.as_bytes());
        let mut refs = numbers.filter_map(|(at, _)| ObjectRef::decode(&mut body.get(at.checked_sub(1)?..)?));
        refs.find(|object| object.uuid == uuid)
    })
}

/// Where a checkpoint's own prologue says its number: `schemas/sealing.md`.
const STATED_UUID: std::ops::Range<usize> = 6..22;

/// A sealed object as it lies in the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its whole name.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// The hash of its sealed bytes.
    pub sha256: [u8; 32],
}

/// Larger objects are no witnesses.
const WITNESS_BYTES_MAX: usize = 64 << 20;

/// `<kind>/<two hex digits>/<uuid>/`, with the kinds that a tenant has.
fn is_prefix(prefix: &str) -> bool {
    let mut parts = prefix.split('/');
    let (kind, shard, uuid) = (parts.next(), parts.next(), parts.next());
    let rest = (parts.next(), parts.next());
    kind.is_some_and(|k| matches!(k, "ns" | "dir" | "audit"))
        && shard.is_some_and(|s| s.len() == 2 && s.bytes().all(|b| b.is_ascii_hexdigit()))
        && uuid.is_some_and(|u| kernel::ObjectUuid::parse(u).is_ok())
        && rest == (Some(""), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blocking;
    use kernel::SeededEntropy;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn small_objects_are_put_once_named_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Arc::new(InMemory::new());
        let storages = [
            Storage::open(folder.path()).await.unwrap(),
            Storage::remote(bucket.clone(), bucket, Blocking::Threads).await.unwrap(),
        ];
        for storage in storages {
            assert_eq!(storage.small_names("ctl/root").await.unwrap(), Vec::<String>::new());
            assert!(storage.put_new("ctl/root.wrap", vec![1]).await.unwrap());
            for n in ["0000000002", "0000000003"] {
                assert!(storage.put_new(&format!("ctl/root/{n}"), vec![2]).await.unwrap());
            }
            assert!(!storage.put_new("ctl/root/0000000002", vec![3]).await.unwrap(), "the first stays");
            storage.delete_small("ctl/root/0000000003").await.unwrap();
            storage.delete_small("ctl/root/0000000003").await.unwrap();
            assert_eq!(storage.small_names("ctl/root").await.unwrap(), ["0000000002"]);
            assert_eq!(storage.get_small("ctl/root/0000000002").await.unwrap(), Some(vec![2]));
            storage.close().await;
        }
    }

    #[tokio::test]
    async fn places_are_found_by_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Arc::new(InMemory::new());
        let storages = [
            Storage::open(folder.path()).await.unwrap(),
            Storage::remote(bucket.clone(), bucket, Blocking::Threads).await.unwrap(),
        ];
        let entropy = SeededEntropy::new(5);
        let numbers: Vec<_> = (0..40).map(|_| NamespaceUuid::random(&entropy)).collect();
        for storage in storages {
            assert_eq!(storage.places(PlaceKind::Namespace).await.unwrap(), [], "nothing was ever written");
            for number in &numbers {
                let name = format!("{}log/0000000001-0000000000000001", PlaceKind::Namespace.prefix(*number));
                storage.put_new(&name, b"x".to_vec()).await.unwrap();
            }
            storage.put_new(&format!("{}cut", PlaceKind::Audit.prefix(numbers[0])), vec![1]).await.unwrap();
            // In another shard than its number says, and no number: none of ours.
            storage.put_new(&format!("ns/zz/{}/cut", numbers[0]), vec![1]).await.unwrap();
            storage.put_new("ns/00/some/cut", vec![1]).await.unwrap();
            let mut found = storage.places(PlaceKind::Namespace).await.unwrap();
            found.sort_unstable();
            let mut wanted = numbers.clone();
            wanted.sort_unstable();
            assert_eq!(found, wanted);
            assert_eq!(storage.places(PlaceKind::Directory).await.unwrap(), []);
            storage.close().await;
        }
    }

    #[test]
    fn only_a_places_prefix_is_removed() {
        let uuid = "00000000-0000-4000-8000-000000000000";
        assert!(is_prefix(&format!("ns/3f/{uuid}/")));
        for other in ["", "/", "ns/", "ns/3f/", "ctl/root.wrap", "../x", &format!("ns/3f/{uuid}/seg/")] {
            assert!(!is_prefix(other), "{other}");
        }
        assert!(!is_prefix(&format!("ctl/3f/{uuid}/")), "the control place is never removed");
        assert!(!is_prefix(&format!("ns/../{uuid}/")));
    }
}
