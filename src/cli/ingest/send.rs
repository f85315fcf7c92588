//! Several requests under way at once, each a batch of files.

use super::{
    files::{Found, Walk, batches, document},
    tally::Tally,
};
use client::{Client, Error};
use serde_json::Value;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Requests under way at once: enough to keep reading, screening and embedding busy together.
const PARALLEL: usize = 4;

/// Tries of a batch whose connection broke. Sent again it is the same documents under the same ids.
const TRIES: u32 = 3;

/// What every request has in common.
pub(super) struct Job<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) readers: &'a [String],
    pub(super) bar: &'a indicatif::ProgressBar,
}

/// What the threads share.
struct Work {
    waiting: Vec<Vec<Found>>,
    tally: Tally,
    stopped: Option<Error>,
}

impl Job<'_> {
    /// Sends all files. An error is what stopped the run before its end.
    pub(super) fn run(&self, mut walk: Walk) -> (Tally, Option<Error>) {
        let mut tally = Tally::default();
        for (name, unsent) in std::mem::take(&mut walk.unsent) {
            tally.unsent(&name, &unsent);
            self.bar.inc(1);
        }
        let mut waiting = batches(walk.into_files());
        waiting.reverse();
        let work = Mutex::new(Work { waiting, tally, stopped: None });
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(lock(&work).waiting.len()) {
                scope.spawn(|| self.worker(&work));
            }
        });
        let work = work.into_inner().unwrap_or_else(PoisonError::into_inner);
        (work.tally, work.stopped)
    }

    fn worker(&self, work: &Mutex<Work>) {
        loop {
            let batch = {
                let mut work = lock(work);
                match work.waiting.pop() {
                    Some(batch) if work.stopped.is_none() => batch,
                    _ => return,
                }
            };
            let count = batch.len() as u64;
            let documents = self.read(batch, work);
            if let Err(error) = self.send(&documents, work) {
                lock(work).stopped.get_or_insert(error);
            }
            self.bar.inc(count);
        }
    }

    fn read(&self, batch: Vec<Found>, work: &Mutex<Work>) -> Vec<Value> {
        let mut documents = Vec::with_capacity(batch.len());
        for file in batch {
            match document(&file, self.readers) {
                Ok(document) => documents.push(document),
                Err(unsent) => lock(work).tally.unsent(&file.id, &unsent),
            }
        }
        documents
    }

    /// Sends documents. A request that is refused for what is in it is halved, until the document
    /// that is to blame stands alone.
    fn send(&self, documents: &[Value], work: &Mutex<Work>) -> Result<(), Error> {
        if documents.is_empty() {
            return Ok(());
        }
        match self.try_send(documents) {
            Ok(reply) => {
                lock(work).tally.add(&reply);
                Ok(())
            }
            Err(Error::Refused(problem)) if matches!(problem.status, 400 | 413 | 422) => {
                if let [document] = documents {
                    let id = document["id"].as_str().unwrap_or_default();
                    lock(work).tally.failure(id, &problem.code, &problem.message);
                    return Ok(());
                }
                let (first, second) = documents.split_at(documents.len() / 2);
                self.send(first, work)?;
                self.send(second, work)
            }
            Err(other) => Err(other),
        }
    }

    fn try_send(&self, documents: &[Value]) -> Result<client::UpsertReply, Error> {
        let mut attempt = 1;
        loop {
            match self.client.upsert(self.namespace, documents) {
                Err(Error::Broken { .. }) if attempt < TRIES => {
                    std::thread::sleep(Duration::from_secs(1));
                    attempt += 1;
                }
                other => return other,
            }
        }
    }
}

fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}
