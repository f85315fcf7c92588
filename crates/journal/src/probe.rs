//! Checks whether an object store provides what the log relies on: exactly one writer creates a key, and every reader
//! immediately sees what was written or deleted.
//!
//! Some stores that claim S3 compatibility accept `If-None-Match` but only check it before they write. Such a store
//! loses acknowledged writes, so it is refused before any data is entrusted to it. The probe writes under
//! `probe/<random>/` and deletes everything again; a crash in the middle leaves a few hundred bytes that are never
//! read.

mod error;

pub use error::ProbeError;

use error::request_failed;
use futures::{StreamExt, TryStreamExt, future::join_all};
use kernel::Entropy;
use object_store::{
    Error as StoreError, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};

/// Number of races at a start. A store that checks before it writes failed 19 of 20 of them.
pub const PROBE_ROUNDS: usize = 4;

/// Number of writers per race.
const WRITERS: usize = 32;

/// Number of consecutive races in which a store may refuse every writer: S3 answers 409 to concurrent writers, possibly
/// to all of them.
const RACES_WITHOUT_WINNER_MAX: usize = 3;

/// Tests `store` with `rounds` races of 32 writers each; about 50 requests per race.
///
/// # Errors
/// The defect of the store, or why it could not be tested.
pub async fn probe(store: &dyn ObjectStore, entropy: &dyn Entropy, rounds: usize) -> Result<(), ProbeError> {
    let mut name = [0; 8];
    entropy.fill(&mut name);
    let folder = Path::from(format!("probe/{:016x}", u64::from_le_bytes(name)));
    let probe = ProbeRun { store, folder };
    let defect = probe.run(rounds).await;
    // After a defect the result is the defect, whether or not its traces could be removed.
    let cleaned = probe.clean().await;
    defect.and(cleaned)
}

struct ProbeRun<'a> {
    store: &'a dyn ObjectStore,
    folder: Path,
}

/// Outcome of a create.
enum ProbeCreate {
    Created,
    Refused,
}

impl ProbeRun<'_> {
    async fn run(&self, rounds: usize) -> Result<(), ProbeError> {
        self.check_absent().await?;
        let mut keys = Vec::new();
        for round in 0..rounds.max(1) {
            keys.push(self.race_until_won(round).await?);
        }
        let key = self.folder.clone().join("race-0-0");
        let key = keys.first().unwrap_or(&key);
        self.check_second_create(key).await?;
        self.check_ranges(key).await?;
        self.check_list(&keys).await?;
        self.check_delete(keys).await
    }

    /// Checks that a key that was never written is absent. Sends as many concurrent requests as the races do, so that
    /// the connections are open by then.
    async fn check_absent(&self) -> Result<(), ProbeError> {
        let key = self.folder.clone().join("absent");
        for answer in join_all((0..WRITERS).map(|_| self.store.head(&key))).await {
            match answer {
                Err(StoreError::NotFound { .. }) => {}
                Ok(_) => return Err(ProbeError::UnwrittenExists),
                Err(source) => return Err(request_failed("requesting an object that was never written", source)),
            }
        }
        Ok(())
    }

    /// Runs races until one has a winner. Returns the created key.
    async fn race_until_won(&self, round: usize) -> Result<Path, ProbeError> {
        for attempt in 0..RACES_WITHOUT_WINNER_MAX {
            let key = self.folder.clone().join(format!("race-{round}-{attempt}"));
            if self.race(&key).await? {
                return Ok(key);
            }
        }
        Err(ProbeError::NoWinner { writers: WRITERS, races: RACES_WITHOUT_WINNER_MAX })
    }

    /// Lets all writers create one key at the same time. Returns whether the key exists afterwards.
    async fn race(&self, key: &Path) -> Result<bool, ProbeError> {
        let writers = (0..WRITERS).map(|writer| self.create(key, body(writer)));
        let mut winners = Vec::new();
        for (writer, answer) in join_all(writers).await.into_iter().enumerate() {
            if let ProbeCreate::Created = answer? {
                winners.push(writer);
            }
        }
        if winners.len() > 1 {
            return Err(ProbeError::ManyWinners { winners: winners.len(), writers: WRITERS });
        }
        let stored = match self.store.get(key).await {
            Ok(answer) => Some(read(answer).await?),
            Err(StoreError::NotFound { .. }) => None,
            Err(source) => return Err(request_failed("reading an object that was just written", source)),
        };
        match (winners.first(), stored) {
            (Some(winner), Some(stored)) if stored == body(*winner).as_bytes() => Ok(true),
            (Some(_), Some(_)) => Err(ProbeError::WrongBytes),
            (Some(_), None) => Err(ProbeError::NotReadable),
            // A winner whose answer was lost repeated its request and found its own object: not a defect.
            (None, Some(stored)) if (0..WRITERS).any(|w| stored == body(w).as_bytes()) => Ok(true),
            (None, Some(_)) => Err(ProbeError::WrongBytes),
            (None, None) => Ok(false),
        }
    }

    async fn create(&self, key: &Path, body: String) -> Result<ProbeCreate, ProbeError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(key, PutPayload::from(body), options).await {
            Ok(_) => Ok(ProbeCreate::Created),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(ProbeCreate::Refused),
            Err(source @ StoreError::NotImplemented { .. }) => Err(ProbeError::NoConditionalCreate(source)),
            Err(source) => Err(request_failed("creating an object", source)),
        }
    }

    async fn check_second_create(&self, key: &Path) -> Result<(), ProbeError> {
        let before = self.get(key).await?;
        if let ProbeCreate::Created = self.create(key, "late".to_owned()).await? {
            return Err(ProbeError::CreatedTwice);
        }
        if self.get(key).await? != before {
            return Err(ProbeError::RefusedButWritten);
        }
        Ok(())
    }

    async fn check_ranges(&self, key: &Path) -> Result<(), ProbeError> {
        let whole = self.get(key).await?;
        let part = self.store.get_range(key, 1..4).await;
        let part = part.map_err(|source| request_failed("reading a range of an object", source))?;
        if Some(&part[..]) == whole.get(1..4) { Ok(()) } else { Err(ProbeError::Range) }
    }

    async fn check_list(&self, keys: &[Path]) -> Result<(), ProbeError> {
        let listed = self.list().await?;
        if keys.iter().any(|key| !listed.contains(key)) {
            return Err(ProbeError::ListMisses);
        }
        if listed.iter().any(|key| !key.prefix_matches(&self.folder)) {
            return Err(ProbeError::ListOutsidePrefix);
        }
        Ok(())
    }

    /// Deletes all keys, and checks that no read shows one afterwards.
    async fn check_delete(&self, keys: Vec<Path>) -> Result<(), ProbeError> {
        self.clean().await?;
        for key in keys {
            match self.store.get(&key).await {
                Err(StoreError::NotFound { .. }) => {}
                Ok(_) => return Err(ProbeError::NotDeleted),
                Err(source) => return Err(request_failed("reading an object that was just deleted", source)),
            }
        }
        if self.list().await?.is_empty() { Ok(()) } else { Err(ProbeError::NotDeleted) }
    }

    async fn clean(&self) -> Result<(), ProbeError> {
        for key in self.list().await? {
            match self.store.delete(&key).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(source) => return Err(request_failed("deleting an object", source)),
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Path>, ProbeError> {
        let objects = self.store.list(Some(&self.folder)).map(|meta| meta.map(|m| m.location));
        objects.try_collect().await.map_err(|source| request_failed("listing objects", source))
    }

    async fn get(&self, key: &Path) -> Result<Vec<u8>, ProbeError> {
        match self.store.get(key).await {
            Ok(answer) => read(answer).await,
            Err(StoreError::NotFound { .. }) => Err(ProbeError::NotReadable),
            Err(source) => Err(request_failed("reading an object", source)),
        }
    }
}

async fn read(answer: GetResult) -> Result<Vec<u8>, ProbeError> {
    let bytes = answer.bytes().await.map_err(|source| request_failed("reading an object", source))?;
    Ok(bytes.to_vec())
}

/// Bytes of one writer. They differ in length too, so that a mixture of two is noticed.
fn body(writer: usize) -> String {
    format!("writer {writer:03} ").repeat(writer + 1)
}

#[cfg(test)]
mod tests;
