//! Whether an object store does what the log stands on: a key is created by exactly one writer, and
//! what was written or deleted is so for every reader at once.
//!
//! Some stores that say they speak S3 take `If-None-Match` and look at it only before they write.
//! Such a store loses acknowledged writes, so it is refused before anything is entrusted to it.
//! What the probe writes lies under `probe/<random>/` and is deleted again; what a crash in the
//! middle leaves there is a few hundred bytes that nothing reads.

mod error;

pub use error::ProbeError;

use error::asked;
use futures::{StreamExt, TryStreamExt, future::join_all};
use kernel::Entropy;
use object_store::{
    Error as StoreError, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path,
};

/// Races that a start runs. A store that looks before it writes lost 19 of 20 of them.
pub const PROBE_ROUNDS: usize = 4;

/// Writers of one race.
const WRITERS: usize = 32;

/// Races in a row in which a store may turn every writer away: S3 answers 409 to writers that
/// meet, and may do so to all.
const EMPTY_RACES_MAX: usize = 3;

/// Asks `store` to prove itself, `rounds` races of 32 writers long; about 50 requests each.
///
/// # Errors
/// What it did wrong, or why it could not be asked.
pub async fn probe(store: &dyn ObjectStore, entropy: &dyn Entropy, rounds: usize) -> Result<(), ProbeError> {
    let mut name = [0; 8];
    entropy.fill(&mut name);
    let folder = Path::from(format!("probe/{:016x}", u64::from_le_bytes(name)));
    let probe = Probe { store, folder };
    let found = probe.run(rounds).await;
    // After a fault the answer is the fault; whether its traces could be removed comes second.
    let cleaned = probe.clean().await;
    found.and(cleaned)
}

struct Probe<'a> {
    store: &'a dyn ObjectStore,
    folder: Path,
}

/// How a create ended.
enum Created {
    Yes,
    Refused,
}

impl Probe<'_> {
    async fn run(&self, rounds: usize) -> Result<(), ProbeError> {
        self.absent().await?;
        let mut keys = Vec::new();
        for round in 0..rounds.max(1) {
            keys.push(self.settled_race(round).await?);
        }
        let key = self.folder.clone().join("race-0-0");
        let key = keys.first().unwrap_or(&key);
        self.second_create(key).await?;
        self.ranges(key).await?;
        self.listed(&keys).await?;
        self.deleted(keys).await
    }

    /// Nothing is there yet. Asked by as many at once as will race, so that connections are open by then.
    async fn absent(&self) -> Result<(), ProbeError> {
        let key = self.folder.clone().join("absent");
        for answer in join_all((0..WRITERS).map(|_| self.store.head(&key))).await {
            match answer {
                Err(StoreError::NotFound { .. }) => {}
                Ok(_) => return Err(ProbeError::Invented),
                Err(source) => return Err(asked("asking for an object that was never written", source)),
            }
        }
        Ok(())
    }

    /// One race, and another when nobody won. The key that was created.
    async fn settled_race(&self, round: usize) -> Result<Path, ProbeError> {
        for attempt in 0..EMPTY_RACES_MAX {
            let key = self.folder.clone().join(format!("race-{round}-{attempt}"));
            if self.race(&key).await? {
                return Ok(key);
            }
        }
        Err(ProbeError::NobodyWins { writers: WRITERS, races: EMPTY_RACES_MAX })
    }

    /// Whether the key is there after all have tried to create it.
    async fn race(&self, key: &Path) -> Result<bool, ProbeError> {
        let writers = (0..WRITERS).map(|writer| self.create(key, body(writer)));
        let mut winners = Vec::new();
        for (writer, answer) in join_all(writers).await.into_iter().enumerate() {
            if let Created::Yes = answer? {
                winners.push(writer);
            }
        }
        if winners.len() > 1 {
            return Err(ProbeError::ManyWinners { winners: winners.len(), writers: WRITERS });
        }
        let stored = match self.store.get(key).await {
            Ok(answer) => Some(read(answer).await?),
            Err(StoreError::NotFound { .. }) => None,
            Err(source) => return Err(asked("reading an object that was just written", source)),
        };
        match (winners.first(), stored) {
            (Some(winner), Some(stored)) if stored == body(*winner).as_bytes() => Ok(true),
            (Some(_), Some(_)) => Err(ProbeError::NotTheWinners),
            (Some(_), None) => Err(ProbeError::Unread),
            // A winner whose answer was lost asked again and was told of its own object: no fault.
            (None, Some(stored)) if (0..WRITERS).any(|w| stored == body(w).as_bytes()) => Ok(true),
            (None, Some(_)) => Err(ProbeError::NotTheWinners),
            (None, None) => Ok(false),
        }
    }

    async fn create(&self, key: &Path, body: String) -> Result<Created, ProbeError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(key, PutPayload::from(body), options).await {
            Ok(_) => Ok(Created::Yes),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(Created::Refused),
            Err(source @ StoreError::NotImplemented { .. }) => Err(ProbeError::NoCreate(source)),
            Err(source) => Err(asked("creating an object", source)),
        }
    }

    async fn second_create(&self, key: &Path) -> Result<(), ProbeError> {
        let before = self.get(key).await?;
        if let Created::Yes = self.create(key, "late".to_owned()).await? {
            return Err(ProbeError::CreatedTwice);
        }
        if self.get(key).await? != before {
            return Err(ProbeError::RefusedAndWritten);
        }
        Ok(())
    }

    async fn ranges(&self, key: &Path) -> Result<(), ProbeError> {
        let whole = self.get(key).await?;
        let part = self.store.get_range(key, 1..4).await;
        let part = part.map_err(|source| asked("reading a range of an object", source))?;
        if Some(&part[..]) == whole.get(1..4) { Ok(()) } else { Err(ProbeError::Range) }
    }

    async fn listed(&self, keys: &[Path]) -> Result<(), ProbeError> {
        let listed = self.list().await?;
        if keys.iter().any(|key| !listed.contains(key)) {
            return Err(ProbeError::ListMisses);
        }
        if listed.iter().any(|key| !key.prefix_matches(&self.folder)) {
            return Err(ProbeError::ListStrays);
        }
        Ok(())
    }

    /// Deletes all; after it nobody may see one.
    async fn deleted(&self, keys: Vec<Path>) -> Result<(), ProbeError> {
        self.clean().await?;
        for key in keys {
            match self.store.get(&key).await {
                Err(StoreError::NotFound { .. }) => {}
                Ok(_) => return Err(ProbeError::Undeleted),
                Err(source) => return Err(asked("reading an object that was just deleted", source)),
            }
        }
        if self.list().await?.is_empty() { Ok(()) } else { Err(ProbeError::Undeleted) }
    }

    async fn clean(&self) -> Result<(), ProbeError> {
        for key in self.list().await? {
            match self.store.delete(&key).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(source) => return Err(asked("deleting an object", source)),
            }
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Path>, ProbeError> {
        let objects = self.store.list(Some(&self.folder)).map(|meta| meta.map(|m| m.location));
        objects.try_collect().await.map_err(|source| asked("listing objects", source))
    }

    async fn get(&self, key: &Path) -> Result<Vec<u8>, ProbeError> {
        match self.store.get(key).await {
            Ok(answer) => read(answer).await,
            Err(StoreError::NotFound { .. }) => Err(ProbeError::Unread),
            Err(source) => Err(asked("reading an object", source)),
        }
    }
}

async fn read(answer: GetResult) -> Result<Vec<u8>, ProbeError> {
    let bytes = answer.bytes().await.map_err(|source| asked("reading an object", source))?;
    Ok(bytes.to_vec())
}

/// Different for each writer, in length too, so that a mixture of two is noticed.
fn body(writer: usize) -> String {
    format!("writer {writer:03} ").repeat(writer + 1)
}

#[cfg(test)]
mod tests;
