//! What clients do: one call after another, to this process or that, each written into the history.

use crate::{
    history::{End, Intent, Want},
    process::Process,
    rng::Rng,
    sim::Sim,
    world::{DOCS, admitted, doc_id, settings, word},
};
use access::{Delete, Ingest, Manage, Read, Search};
use kernel::{Audience, Code, Status, Timestamp};
use std::{rc::Rc, time::Duration};
use store::{Eligible, Listed, OnConflict, Outcome, Quarantine, Selection, Snapshot, TextQuery, Upsert, UpsertStatus};

/// One client.
pub(crate) struct Client<'a> {
    pub(crate) sim: &'a Sim,
    pub(crate) rng: Rng,
}

impl Client<'_> {
    /// Calls until the run has had enough.
    pub(crate) async fn run(mut self) {
        while self.sim.takes_one_more() {
            self.call().await;
            let refused = self.sim.refused_some();
            let pause = if refused {
                self.rng.millis(10, 500)
            } else if self.rng.chance(5) {
                self.rng.millis(0, 60_000)
            } else {
                self.rng.millis(0, 20)
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn call(&mut self) {
        let name = self.sim.some_name(&mut self.rng);
        let process = self.sim.route(name, &mut self.rng).await;
        match self.rng.below(1000) {
            0..400 => self.append(name, &process).await,
            400..540 => self.delete(name, &process).await,
            540..760 => self.list(name, &process).await,
            760..880 => self.get(name, &process).await,
            880..988 => self.search(name, &process).await,
            988..994 => self.reseal(name, &process).await,
            994..998 => drop(process.serve(Duration::from_secs(60), process.stores.flush_all()).await),
            _ => self.replace(name, &process).await,
        }
    }

    async fn append(&mut self, name: usize, process: &Process) {
        let place = self.sim.current(name);
        let (tenant, known_as, tag) = self.sim.label(place);
        let mut upserts = Vec::new();
        let mut intents = Vec::new();
        for doc in self.some_docs() {
            let absent_only = self.rng.chance(200);
            let version = self.sim.history().version(place, doc);
            let want = if absent_only { Want::PutIfAbsent(version) } else { Want::Put(version) };
            let on_conflict = if absent_only { OnConflict::Skip } else { OnConflict::Overwrite };
            upserts.push(Upsert { admitted: admitted(doc, version, &tag, &mut self.rng), on_conflict });
            intents.push(Intent { doc, want });
        }
        let write = self.sim.history().write(place, intents.clone());
        let line = format!("{place} {write}").into_bytes();
        let call = async {
            self.sim.still(name, place).map_err(|e| (false, e))?;
            let grant = self.sim.world.grant::<Ingest>(tenant, known_as);
            let room = process.stores.enter(&grant, &settings()).await.map_err(|e| (false, e))?;
            room.append(upserts, &Audience::Everything, Box::new(move |_| line)).await.map_err(|e| (true, e))
        };
        let end = self.ended(place, process.serve(self.sim.patience, call).await, |outcome| {
            let told = |(at, intent): (usize, &Intent)| match (outcome.results[at].status, intent.want) {
                (UpsertStatus::Indexed, _) => Some(true),
                (UpsertStatus::Skipped, Want::PutIfAbsent(_)) => Some(false),
                _ => None,
            };
            intents.iter().enumerate().map(told).collect()
        });
        self.sim.history().end(place, write, end);
    }

    async fn delete(&mut self, name: usize, process: &Process) {
        let place = self.sim.current(name);
        let (tenant, known_as, _) = self.sim.label(place);
        let docs = self.some_docs();
        let intents = docs.iter().map(|doc| Intent { doc: *doc, want: Want::Delete }).collect();
        let write = self.sim.history().write(place, intents);
        let line = format!("{place} {write}").into_bytes();
        let which = Selection::Ids(docs.iter().map(|doc| doc_id(*doc)).collect());
        let call = async {
            self.sim.still(name, place).map_err(|e| (false, e))?;
            let grant = self.sim.world.grant::<Delete>(tenant, known_as);
            let room = process.stores.enter(&grant, &settings()).await.map_err(|e| (false, e))?;
            room.delete(&which, &Audience::Everything, Box::new(move |_| line)).await.map_err(|e| (true, e))
        };
        let end = self.ended(place, process.serve(self.sim.patience, call).await, |outcome| {
            docs.iter().map(|doc| Some(outcome.ids.contains(&doc_id(*doc)))).collect()
        });
        self.sim.history().end(place, write, end);
    }

    /// What a caller of a write knows now. `handed over` is whether the write itself was called.
    fn ended(
        &self,
        place: usize,
        answer: Option<Result<Outcome, (bool, store::Error)>>,
        changed: impl FnOnce(&Outcome) -> Option<Vec<bool>>,
    ) -> End {
        match answer {
            None => {
                self.sim.gave_up(place);
                End::Unknown
            }
            Some(Ok(outcome)) => match changed(&outcome) {
                Some(changed) => End::Done { commit: outcome.commit.0, changed },
                None => {
                    self.sim.history().faults.push(format!("a write was answered with {:?}", outcome.results));
                    End::Unknown
                }
            },
            Some(Err((handed_over, error))) => {
                let unknown = self.sim.refused(place, error);
                if handed_over && unknown { End::Unknown } else { End::Refused }
            }
        }
    }

    async fn list(&mut self, name: usize, process: &Process) {
        let place = self.sim.current(name);
        let called = self.sim.history().event();
        let Some(snapshot) = self.snapshot(name, place, process).await else { return };
        let eligible = everything(&snapshot);
        let (found, total, end) =
            snapshot.list(&eligible, &Listed { limit: 100, text: true, ..Listed::default() }).unwrap();
        let mut history = self.sim.history();
        if end.is_some() || total != found.len() as u64 || snapshot.totals().documents != total {
            history.faults.push(format!("a list of {} says {total}, and {end:?}", found.len()));
        }
        let all: Vec<u8> = (0..DOCS).collect();
        history.view(place, called, snapshot.commit().0, &all, &found);
    }

    async fn get(&mut self, name: usize, process: &Process) {
        let place = self.sim.current(name);
        let (tenant, known_as, _) = self.sim.label(place);
        let called = self.sim.history().event();
        let doc = self.some_docs()[0];
        let call = async {
            self.sim.still(name, place)?;
            let grant = self.sim.world.grant::<Read>(tenant, known_as);
            process.stores.enter(&grant, &settings()).await?.snapshot(None).await
        };
        let Some(snapshot) = self.read(place, process.serve(self.sim.patience, call).await) else { return };
        let found =
            snapshot.get(&doc_id(doc), &Audience::Everything, false, Quarantine::Shown, Timestamp::default()).unwrap();
        self.sim.history().view(place, called, snapshot.commit().0, &[doc], found.as_slice());
    }

    /// Searches for the word of one version, and for the words that all twins share.
    async fn search(&mut self, name: usize, process: &Process) {
        let place = self.sim.current(name);
        let back = self.rng.index(20);
        let wanted = self.sim.history().recent(place, back);
        let called = self.sim.history().event();
        let Some(snapshot) = self.snapshot(name, place, process).await else { return };
        let eligible = everything(&snapshot);
        let mut history = self.sim.history();
        let texts = |query: &str| {
            let hits = snapshot.text(&TextQuery::new(query), &eligible, 100).unwrap();
            let passage = |hit: &store::Hit| snapshot.passage(&eligible, hit.at, false).unwrap();
            hits.iter().map(passage).collect::<Vec<_>>()
        };
        for passage in texts("river") {
            // Passages behind the first have no words of their own; their documents have.
            let whole = snapshot
                .get(&passage.document_id, &Audience::Everything, false, Quarantine::Shown, Timestamp::default())
                .unwrap();
            match whole {
                Some(whole) => drop(history.belongs(place, whole.id.as_str(), whole.text.expose())),
                None => history.faults.push(format!("a hit of {place} has no document")),
            }
        }
        if let Some((doc, version)) = wanted {
            let hits = texts(&word(version));
            if hits.iter().any(|hit| hit.document_id != doc_id(doc)) {
                history.faults.push(format!("CROSSED: the word of version {version} is found in another document"));
            }
            history.search(place, called, snapshot.commit().0, version, !hits.is_empty());
        }
    }

    async fn snapshot(&self, name: usize, place: usize, process: &Process) -> Option<Snapshot> {
        let (tenant, known_as, _) = self.sim.label(place);
        let call = async {
            self.sim.still(name, place)?;
            let grant = self.sim.world.grant::<Search>(tenant, known_as);
            process.stores.enter(&grant, &settings()).await?.snapshot(None).await
        };
        self.read(place, process.serve(self.sim.patience, call).await)
    }

    fn read(&self, place: usize, answer: Option<Result<Snapshot, store::Error>>) -> Option<Snapshot> {
        match answer {
            Some(Ok(snapshot)) => Some(snapshot),
            None => {
                self.sim.gave_up(place);
                None
            }
            Some(Err(error)) => {
                self.sim.refused(place, error);
                None
            }
        }
    }

    /// Deletes a namespace and makes a new one of the same name.
    /// Everything of a namespace sealed anew, as a rotation does: a next key, all under it, the old one forgotten. What
    /// a death leaves half done is gone on with by whoever comes next.
    async fn reseal(&mut self, name: usize, process: &Process) {
        let place = self.sim.current(name);
        if !self.sim.begin_resealing(place) {
            return;
        }
        let (tenant, home) = {
            let history = self.sim.history();
            (history.places[place].tenant, history.places[place].home.clone())
        };
        if home.epochs().len() == 1 {
            self.sim.world.next_key(tenant, &home);
        } else {
            self.sim.count("resealing taken up");
        }
        match process.serve(self.sim.patience, process.stores.renew(home.clone(), &settings())).await {
            Some(Ok(renewal)) => {
                self.sim.world.forget_old_key(tenant, &home);
                self.sim.count("resealed");
                if renewal.under.keys().any(|epoch| *epoch != home.epoch()) {
                    self.sim.history().faults.push(format!("place {place} is resealed and stands under an old key"));
                }
            }
            Some(Err(_)) => self.sim.count("not resealed"),
            None => {}
        }
        self.sim.end_resealing(place);
    }

    async fn replace(&mut self, name: usize, process: &Process) {
        let place = self.sim.current(name);
        let (tenant, known_as, _) = self.sim.label(place);
        let grant = self.sim.world.grant::<Manage>(tenant, known_as);
        let entered = process.serve(self.sim.patience, process.stores.enter(&grant, &settings())).await;
        let room = match entered {
            Some(Ok(room)) if self.sim.current(name) == place => room,
            Some(Err(error)) => {
                self.sim.refused(place, error);
                return;
            }
            _ => return,
        };
        // From here on nobody finds it; what its objects hold goes next.
        self.sim.renew(name);
        match process.serve(self.sim.patience, room.destroy()).await {
            Some(Ok(())) => self.sim.destroyed(place),
            Some(Err(error)) => {
                self.sim.refused(place, error);
            }
            None => {}
        }
    }

    /// One to three different documents.
    fn some_docs(&mut self) -> Vec<u8> {
        let mut docs: Vec<u8> = (0..DOCS).collect();
        self.rng.shuffle(&mut docs);
        docs.truncate(1 + self.rng.index(3));
        docs
    }
}

fn everything(snapshot: &Snapshot) -> Eligible {
    snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], Timestamp::default()).unwrap()
}

/// Whether an error says that a namespace is not there.
pub(crate) fn is_not_found(error: &kernel::Error) -> bool {
    error.code == Code::NotFound
}

/// A process that clients share; it may be replaced while they talk to it.
pub(crate) type Shared = Rc<Process>;

impl Client<'_> {
    /// With nothing going wrong any more: the namespace opens, holds what it must, and takes writes.
    pub(crate) async fn check_in(&mut self, name: usize, process: &Process) {
        self.list(name, process).await;
        self.append(name, process).await;
        self.list(name, process).await;
        let place = self.sim.current(name);
        if !self.sim.history().works(place) {
            self.sim.history().faults.push(format!("place {place} does not work when nothing goes wrong"));
        }
    }
}
