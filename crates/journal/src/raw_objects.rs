//! Raw access to objects by name, without a [`Journal`]: the control keyspace's wrapped key, which is read before any
//! keyspace can be opened; the removal of keyspaces whose keys are gone, which cannot be opened any more; and samples
//! that show that none of their objects opens.

use crate::{Error, Journal, ObjectRef, Recovered, Storage, error::io_error, names::Name, storage::StorageBackend};
use kernel::{ByteReader, Clock, Entropy, NamespaceUuid, ObjectUuid};
use std::{io, sync::Arc};
use vault::{Keyspace, KeyspaceKind, ObjectKind};

impl Storage {
    /// Puts a small object under a name outside every keyspace; durable when this returns. Returns `false` if an object
    /// with this name already exists.
    ///
    /// # Errors
    /// `Full`, `Io`, `Store`.
    pub async fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error> {
        self.create(name, bytes, "writing a small object").await
    }

    /// Reads what [`Storage::put_new`] put; `None` if there is no such object.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn get_small(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read(name, "reading a small object").await
    }

    /// Durably removes what [`Storage::put_new`] put. Succeeds if the object is already gone.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn delete_small(&self, name: &str) -> Result<(), Error> {
        let what = "deleting a small object";
        match self.backend() {
            StorageBackend::Bucket(bucket) => bucket.delete(name, what).await,
            StorageBackend::Folder(_) => {
                let name = name.to_owned();
                self.on_data_folder(what, move |data_folder| data_folder.delete_synced(&name)).await
            }
        }
    }

    /// Names of small objects in a folder outside every keyspace.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn small_names(&self, folder: &str) -> Result<Vec<String>, Error> {
        let what = "listing small objects";
        match self.backend() {
            StorageBackend::Bucket(bucket) => bucket.names_in(folder, what).await,
            StorageBackend::Folder(_) => {
                let folder = folder.to_owned();
                self.on_data_folder(what, move |data_folder| data_folder.names_in(&folder)).await
            }
        }
    }

    /// Removes everything under the prefix of a keyspace, as `Keyspace::prefix` returns it. Succeeds if nothing is
    /// there; after a crash the next call removes the rest. The caller ensures that no process writes there.
    ///
    /// # Errors
    /// `Io`, `Store`; also for any other prefix, so that nothing else is ever removed.
    pub async fn remove_prefix(&self, prefix: &str) -> Result<(), Error> {
        if !is_keyspace_prefix(prefix) {
            return Err(io_error("removing a keyspace", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        self.remove_keyspace(prefix).await
    }

    /// Names of up to `count_max` sealed objects under the prefix of a keyspace, with hashes of their bytes. Skips
    /// objects of more than [`SAMPLE_BYTES_MAX`] bytes. Nothing is decrypted.
    ///
    /// # Errors
    /// `Io`, `Store`; also for a prefix that belongs to no keyspace.
    pub async fn object_samples(&self, prefix: &str, count_max: usize) -> Result<Vec<ObjectSample>, Error> {
        if !is_keyspace_prefix(prefix) {
            return Err(io_error("listing a keyspace", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        self.hash_samples(prefix, self.list(prefix).await?, count_max).await
    }

    /// Like [`Storage::object_samples`], but without empty marker objects, and with the newest first: log files,
    /// objects and checkpoints in turn.
    ///
    /// # Errors
    /// As [`Storage::object_samples`].
    pub async fn newest_samples(&self, prefix: &str, count_max: usize) -> Result<Vec<ObjectSample>, Error> {
        if !is_keyspace_prefix(prefix) {
            return Err(io_error("listing a keyspace", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        // Rank each name within its kind, the newest first, then take the kinds in turn.
        let mut ranks: [usize; 3] = [0; 3];
        let names = self.list(prefix).await?.into_iter().rev();
        let mut ranked: Vec<_> = names
            .filter_map(|name| {
                let kind = match name {
                    Name::Log(_) => 0,
                    Name::Object(..) => 1,
                    Name::Checkpoint(_) => 2,
                    Name::Claim(_) | Name::TruncationMarker | Name::Tombstone => return None,
                };
                ranks[kind] += 1;
                Some(((ranks[kind], kind), name))
            })
            .collect();
        ranked.sort_unstable();
        self.hash_samples(prefix, ranked.into_iter().map(|(_, name)| name).collect(), count_max).await
    }

    /// Hash of one object as it is stored now; `None` if there is no such object.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn sample(&self, name: &str) -> Result<Option<ObjectSample>, Error> {
        let bytes = self.read(name, "reading a sealed object").await?;
        let hash = |bytes: Vec<u8>| (bytes.len() as u64, vault::sha256(&bytes));
        Ok(bytes.map(hash).map(|(bytes, sha256)| ObjectSample { name: name.to_owned(), bytes, sha256 }))
    }

    async fn hash_samples(&self, prefix: &str, names: Vec<Name>, count_max: usize) -> Result<Vec<ObjectSample>, Error> {
        let mut found = Vec::new();
        for name in names {
            if found.len() >= count_max {
                break;
            }
            let name = format!("{prefix}{name}");
            let Some(bytes) = self.read(&name, "reading a sealed object").await? else { continue };
            if bytes.len() <= SAMPLE_BYTES_MAX {
                found.push(ObjectSample { name, bytes: bytes.len() as u64, sha256: vault::sha256(&bytes) });
            }
        }
        Ok(found)
    }

    /// Opens a sampled object in the way that any holder of the keyspace's keys could: a log file and a checkpoint with
    /// the wrapped keys that they contain, an object with its reference in the keyspace's checkpoint or log. The plain
    /// bytes are dropped.
    ///
    /// No process may write in the keyspace at the same time.
    ///
    /// # Errors
    /// `Vault` when the object does not open; `Corrupt`, `Io`, `Store` when it or its reference is missing.
    pub async fn open_sample(
        &self,
        keyspace: &Arc<Keyspace>,
        name: &str,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(), Error> {
        let missing = || io_error("opening a sealed object", io::Error::from(io::ErrorKind::NotFound));
        let name_inside = name.strip_prefix(&keyspace.prefix()).and_then(Name::parse).ok_or_else(missing)?;
        let read = || async { self.read(name, "opening a sealed object").await?.ok_or_else(missing) };
        match name_inside {
            Name::Log(_) => keyspace.open_log(&read().await?).map(drop)?,
            Name::Checkpoint(_) => {
                let bytes = read().await?;
                let uuid = bytes.get(PROLOGUE_UUID).and_then(|b| Some(*b.first_chunk()?)).ok_or_else(missing)?;
                keyspace.open_whole(ObjectKind::Checkpoint, ObjectUuid::from_bytes(uuid), &bytes).map(drop)?;
            }
            Name::Object(_, uuid) => {
                let (journal, found) = Journal::recover(self, Arc::clone(keyspace), clock, entropy).await?;
                let object = find_reference(&found, uuid).ok_or_else(missing)?;
                // An object with two regions opens only as one.
                if let Err(error) = journal.get(&object).await {
                    journal.read_whole_object(&object).await.map_err(|_| error)?;
                }
            }
            Name::Claim(_) | Name::TruncationMarker | Name::Tombstone => return Err(missing()),
        }
        Ok(())
    }

    /// Uuids of all keyspaces of this kind under which anything is stored.
    ///
    /// Cost: 257 folders read in a folder; as many listings in a bucket, and one more for each thousand keyspaces.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn keyspaces(&self, kind: KeyspaceKind) -> Result<Vec<NamespaceUuid>, Error> {
        let some_prefix = kind.prefix(NamespaceUuid::from_bytes([0; 16]));
        let folder = some_prefix.split('/').next().unwrap_or_default().to_owned();
        let what = "listing keyspaces";
        let found = match self.backend() {
            StorageBackend::Bucket(bucket) => bucket.folders_below(&folder, what).await?,
            StorageBackend::Folder(_) => {
                self.on_data_folder(what, move |data_folder| data_folder.folders_below(&folder)).await?
            }
        };
        let parse_uuid = |found: String| {
            let uuid = NamespaceUuid::parse(found.rsplit('/').next()?).ok()?;
            // Any other name is not ours.
            (kind.prefix(uuid).strip_suffix('/') == Some(found.as_str())).then_some(uuid)
        };
        Ok(found.into_iter().filter_map(parse_uuid).collect())
    }
}

/// Finds the reference to an object in the checkpoint and the entries of a keyspace. An encoded reference begins with
/// the kind and the uuid.
fn find_reference(found: &Recovered, uuid: ObjectUuid) -> Option<ObjectRef> {
    let mut bodies = found.checkpoint.iter().chain(found.entries.iter().map(|(_, body)| body));
    bodies.find_map(|body| {
        let positions = body.windows(uuid.as_bytes().len()).enumerate().filter(|(_, window)| window == uuid.as_bytes());
        let mut refs = positions.filter_map(|(at, _)| {
            ObjectRef::decode(&mut ByteReader::new(body.get(at.checked_sub(1)?..)?, "reference")).ok()
        });
        refs.find(|object| object.uuid == uuid)
    })
}

/// Bytes of a checkpoint's prologue that state its uuid: `schemas/sealing.md`.
const PROLOGUE_UUID: std::ops::Range<usize> = 6..22;

/// A sealed object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectSample {
    /// Full name of the object.
    pub name: String,
    /// Length of the object in bytes.
    pub bytes: u64,
    /// SHA-256 of the sealed bytes.
    pub sha256: [u8; 32],
}

/// Maximum size of a sampled object, in bytes.
const SAMPLE_BYTES_MAX: usize = 64 << 20;

/// Whether `prefix` is `<kind>/<two hex digits>/<uuid>/`, with a kind of keyspace that tenants have.
fn is_keyspace_prefix(prefix: &str) -> bool {
    let mut components = prefix.split('/');
    let (kind, shard, uuid) = (components.next(), components.next(), components.next());
    let end = (components.next(), components.next());
    kind.is_some_and(|k| matches!(k, "ns" | "dir" | "audit"))
        && shard.is_some_and(|s| s.len() == 2 && s.bytes().all(|b| b.is_ascii_hexdigit()))
        && uuid.is_some_and(|u| kernel::ObjectUuid::parse(u).is_ok())
        && end == (Some(""), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blocking;
    use kernel::SeededEntropy;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn small_objects_are_put_once_listed_and_removed() {
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
    async fn keyspaces_are_found_by_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Arc::new(InMemory::new());
        let storages = [
            Storage::open(folder.path()).await.unwrap(),
            Storage::remote(bucket.clone(), bucket, Blocking::Threads).await.unwrap(),
        ];
        let entropy = SeededEntropy::new(5);
        let uuids: Vec<_> = (0..40).map(|_| NamespaceUuid::random(&entropy)).collect();
        for storage in storages {
            assert_eq!(storage.keyspaces(KeyspaceKind::Namespace).await.unwrap(), [], "nothing was ever written");
            for uuid in &uuids {
                let name = format!("{}log/0000000001-0000000000000001", KeyspaceKind::Namespace.prefix(*uuid));
                storage.put_new(&name, b"x".to_vec()).await.unwrap();
            }
            storage.put_new(&format!("{}cut", KeyspaceKind::Audit.prefix(uuids[0])), vec![1]).await.unwrap();
            // A shard that does not match the uuid, and a name that is no uuid: neither is ours.
            storage.put_new(&format!("ns/zz/{}/cut", uuids[0]), vec![1]).await.unwrap();
            storage.put_new("ns/00/some/cut", vec![1]).await.unwrap();
            let mut found = storage.keyspaces(KeyspaceKind::Namespace).await.unwrap();
            found.sort_unstable();
            let mut expected = uuids.clone();
            expected.sort_unstable();
            assert_eq!(found, expected);
            assert_eq!(storage.keyspaces(KeyspaceKind::Directory).await.unwrap(), []);
            storage.close().await;
        }
    }

    #[test]
    fn only_the_prefix_of_a_keyspace_is_removed() {
        let uuid = "00000000-0000-4000-8000-000000000000";
        assert!(is_keyspace_prefix(&format!("ns/3f/{uuid}/")));
        for other in ["", "/", "ns/", "ns/3f/", "ctl/root.wrap", "../x", &format!("ns/3f/{uuid}/seg/")] {
            assert!(!is_keyspace_prefix(other), "{other}");
        }
        assert!(!is_keyspace_prefix(&format!("ctl/3f/{uuid}/")), "the control keyspace is never removed");
        assert!(!is_keyspace_prefix(&format!("ns/../{uuid}/")));
    }
}
