//! Simulated clients: they make one call after another to some process, and record each in the history.

use crate::{
    env::{DOCS, admitted, doc_id, settings, word},
    history::{End, Intent, IntentKind},
    process::Process,
    rng::Rng,
    sim::Sim,
};
use access::{Delete, Ingest, Manage, Read, Search};
use kernel::{Audience, Code, Status, Timestamp};
use std::{rc::Rc, time::Duration};
use store::{
    Eligible, ListOptions, OnConflict, Quarantine, Selection, Snapshot, TextQuery, Upsert, UpsertStatus, WriteOutcome,
};

/// A simulated client.
pub(crate) struct Client<'a> {
    pub(crate) sim: &'a Sim,
    pub(crate) rng: Rng,
}

impl Client<'_> {
    /// Makes calls until the run is complete.
    pub(crate) async fn run(mut self) {
        while self.sim.take_operation() {
            self.call().await;
            let refused = self.sim.take_refused();
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
            988..994 => self.reencrypt(name, &process).await,
            994..998 => drop(process.serve(Duration::from_secs(60), process.stores.flush_all()).await),
            _ => self.replace(name, &process).await,
        }
    }

    async fn append(&mut self, name: usize, process: &Process) {
        let instance = self.sim.current(name);
        let (tenant, namespace_name, tag) = self.sim.label(instance);
        let mut upserts = Vec::new();
        let mut intents = Vec::new();
        for doc in self.some_docs() {
            let absent_only = self.rng.chance(200);
            let version = self.sim.history().version(instance, doc);
            let kind = if absent_only { IntentKind::PutIfAbsent(version) } else { IntentKind::Put(version) };
            let on_conflict = if absent_only { OnConflict::Skip } else { OnConflict::Overwrite };
            upserts.push(Upsert { admitted: admitted(doc, version, &tag, &mut self.rng), on_conflict });
            intents.push(Intent { doc, kind });
        }
        let write = self.sim.history().write(instance, intents.clone());
        let line = format!("{instance} {write}").into_bytes();
        let call = async {
            self.sim.check_current(name, instance).map_err(|e| (false, e))?;
            let grant = self.sim.env.grant::<Ingest>(tenant, namespace_name);
            let handle = process.stores.enter(&grant, &settings()).await.map_err(|e| (false, e))?;
            handle.append(upserts, &Audience::Everything, Box::new(move |_| line)).await.map_err(|e| (true, e))
        };
        let end = self.ended(instance, process.serve(self.sim.call_timeout, call).await, |outcome| {
            let changed_by = |(at, intent): (usize, &Intent)| match (outcome.results[at].status, intent.kind) {
                (UpsertStatus::Indexed, _) => Some(true),
                (UpsertStatus::Skipped, IntentKind::PutIfAbsent(_)) => Some(false),
                _ => None,
            };
            intents.iter().enumerate().map(changed_by).collect()
        });
        self.sim.history().end(instance, write, end);
    }

    async fn delete(&mut self, name: usize, process: &Process) {
        let instance = self.sim.current(name);
        let (tenant, namespace_name, _) = self.sim.label(instance);
        let docs = self.some_docs();
        let intents = docs.iter().map(|doc| Intent { doc: *doc, kind: IntentKind::Delete }).collect();
        let write = self.sim.history().write(instance, intents);
        let line = format!("{instance} {write}").into_bytes();
        let which = Selection::Ids(docs.iter().map(|doc| doc_id(*doc)).collect());
        let call = async {
            self.sim.check_current(name, instance).map_err(|e| (false, e))?;
            let grant = self.sim.env.grant::<Delete>(tenant, namespace_name);
            let handle = process.stores.enter(&grant, &settings()).await.map_err(|e| (false, e))?;
            handle.delete(&which, &Audience::Everything, Box::new(move |_| line)).await.map_err(|e| (true, e))
        };
        let end = self.ended(instance, process.serve(self.sim.call_timeout, call).await, |outcome| {
            docs.iter().map(|doc| Some(outcome.ids.contains(&doc_id(*doc)))).collect()
        });
        self.sim.history().end(instance, write, end);
    }

    /// What the caller of a write knows now. The flag of an error says whether the write itself was called.
    fn ended(
        &self,
        instance: usize,
        answer: Option<Result<WriteOutcome, (bool, store::Error)>>,
        changed: impl FnOnce(&WriteOutcome) -> Option<Vec<bool>>,
    ) -> End {
        match answer {
            None => {
                self.sim.no_answer(instance);
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
                let unknown = self.sim.refused(instance, error);
                if handed_over && unknown { End::Unknown } else { End::Refused }
            }
        }
    }

    async fn list(&mut self, name: usize, process: &Process) {
        let instance = self.sim.current(name);
        let called = self.sim.history().event();
        let Some(snapshot) = self.snapshot(name, instance, process).await else { return };
        let eligible = everything(&snapshot);
        let (found, total, end) =
            snapshot.list(&eligible, &ListOptions { limit: 100, text: true, ..ListOptions::default() }).unwrap();
        let mut history = self.sim.history();
        if end.is_some() || total != found.len() as u64 || snapshot.totals().documents != total {
            history.faults.push(format!("a list of {} says {total}, and {end:?}", found.len()));
        }
        let all: Vec<u8> = (0..DOCS).collect();
        history.view(instance, called, snapshot.commit().0, &all, &found);
    }

    async fn get(&mut self, name: usize, process: &Process) {
        let instance = self.sim.current(name);
        let (tenant, namespace_name, _) = self.sim.label(instance);
        let called = self.sim.history().event();
        let doc = self.some_docs()[0];
        let call = async {
            self.sim.check_current(name, instance)?;
            let grant = self.sim.env.grant::<Read>(tenant, namespace_name);
            process.stores.enter(&grant, &settings()).await?.snapshot(None).await
        };
        let Some(snapshot) = self.read(instance, process.serve(self.sim.call_timeout, call).await) else { return };
        let found =
            snapshot.get(&doc_id(doc), &Audience::Everything, false, Quarantine::Shown, Timestamp::default()).unwrap();
        self.sim.history().view(instance, called, snapshot.commit().0, &[doc], found.as_slice());
    }

    /// Searches for the word of one version, and for the words that all documents share.
    async fn search(&mut self, name: usize, process: &Process) {
        let instance = self.sim.current(name);
        let back = self.rng.index(20);
        let requested = self.sim.history().recent(instance, back);
        let called = self.sim.history().event();
        let Some(snapshot) = self.snapshot(name, instance, process).await else { return };
        let eligible = everything(&snapshot);
        let mut history = self.sim.history();
        let texts = |query: &str| {
            let hits = snapshot.text(&TextQuery::new(query), &eligible, 100).unwrap();
            let passage = |hit: &store::Hit| snapshot.passage(&eligible, hit.at, false).unwrap();
            hits.iter().map(passage).collect::<Vec<_>>()
        };
        for passage in texts("river") {
            // Only the first passage has the document's own words; for the others, the document is checked.
            let whole = snapshot
                .get(&passage.document_id, &Audience::Everything, false, Quarantine::Shown, Timestamp::default())
                .unwrap();
            match whole {
                Some(whole) => drop(history.belongs(instance, whole.id.as_str(), whole.text.expose())),
                None => history.faults.push(format!("a hit of {instance} has no document")),
            }
        }
        if let Some((doc, version)) = requested {
            let hits = texts(&word(version));
            if hits.iter().any(|hit| hit.document_id != doc_id(doc)) {
                history.faults.push(format!("CROSSED: the word of version {version} is found in another document"));
            }
            history.search(instance, called, snapshot.commit().0, version, !hits.is_empty());
        }
    }

    async fn snapshot(&self, name: usize, instance: usize, process: &Process) -> Option<Snapshot> {
        let (tenant, namespace_name, _) = self.sim.label(instance);
        let call = async {
            self.sim.check_current(name, instance)?;
            let grant = self.sim.env.grant::<Search>(tenant, namespace_name);
            process.stores.enter(&grant, &settings()).await?.snapshot(None).await
        };
        self.read(instance, process.serve(self.sim.call_timeout, call).await)
    }

    fn read(&self, instance: usize, answer: Option<Result<Snapshot, store::Error>>) -> Option<Snapshot> {
        match answer {
            Some(Ok(snapshot)) => Some(snapshot),
            None => {
                self.sim.no_answer(instance);
                None
            }
            Some(Err(error)) => {
                self.sim.refused(instance, error);
                None
            }
        }
    }

    /// Re-encrypts a namespace, as a rotation does: creates the next key, re-encrypts everything, forgets the old key.
    /// If a kill interrupts it, the next client continues.
    async fn reencrypt(&mut self, name: usize, process: &Process) {
        let instance = self.sim.current(name);
        if !self.sim.begin_reencryption(instance) {
            return;
        }
        let (tenant, keyspace) = {
            let history = self.sim.history();
            (history.instances[instance].tenant, history.instances[instance].keyspace.clone())
        };
        if keyspace.epochs().len() == 1 {
            self.sim.env.next_key(tenant, &keyspace);
        } else {
            self.sim.count("re-encryption continued");
        }
        match process.serve(self.sim.call_timeout, process.stores.reencrypt(keyspace.clone(), &settings())).await {
            Some(Ok(report)) => {
                self.sim.env.forget_old_key(tenant, &keyspace);
                self.sim.count("re-encrypted");
                if report.under.keys().any(|epoch| *epoch != keyspace.epoch()) {
                    self.sim
                        .history()
                        .faults
                        .push(format!("instance {instance} is re-encrypted and has files under an old key"));
                }
            }
            Some(Err(_)) => self.sim.count("not re-encrypted"),
            None => {}
        }
        self.sim.end_reencryption(instance);
    }

    /// Deletes a namespace and creates a new one of the same name.
    async fn replace(&mut self, name: usize, process: &Process) {
        let instance = self.sim.current(name);
        let (tenant, namespace_name, _) = self.sim.label(instance);
        let grant = self.sim.env.grant::<Manage>(tenant, namespace_name);
        let entered = process.serve(self.sim.call_timeout, process.stores.enter(&grant, &settings())).await;
        let handle = match entered {
            Some(Ok(handle)) if self.sim.current(name) == instance => handle,
            Some(Err(error)) => {
                self.sim.refused(instance, error);
                return;
            }
            _ => return,
        };
        // From here on no name refers to it; its objects are deleted next.
        self.sim.new_instance(name);
        match process.serve(self.sim.call_timeout, handle.destroy()).await {
            Some(Ok(())) => self.sim.destroyed(instance),
            Some(Err(error)) => {
                self.sim.refused(instance, error);
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

/// Whether an error says that a namespace does not exist.
pub(crate) fn is_not_found(error: &kernel::Error) -> bool {
    error.code == Code::NotFound
}

/// A process that clients share; it may be replaced during a call.
pub(crate) type Shared = Rc<Process>;

impl Client<'_> {
    /// Checks without faults that the namespace opens, holds what it must, and accepts writes.
    pub(crate) async fn check_namespace(&mut self, name: usize, process: &Process) {
        self.list(name, process).await;
        self.append(name, process).await;
        self.list(name, process).await;
        let instance = self.sim.current(name);
        if !self.sim.history().works(instance) {
            self.sim.history().faults.push(format!("instance {instance} does not work when nothing goes wrong"));
        }
    }
}
