//! Sends several requests concurrently, each with a batch of files.

use super::{
    files::{FileSet, IngestFile, batches, document},
    summary::IngestSummary,
};
use api::{
    documents::{NewDocument, Stored, UpsertRequest},
    strict::BoundedList,
};
use client::{Client, Error};
use kernel::Principal;
use parking_lot::Mutex;
use std::time::Duration;

/// Number of concurrent requests: enough to keep reading, screening and embedding busy at the same time.
const PARALLEL: usize = 4;

/// Number of attempts for a batch whose connection broke. A repeated request sends the same documents under the same
/// ids.
const TRIES: u32 = 3;

/// What all requests of a run have in common.
pub(super) struct IngestRun<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
    pub(super) readers: &'a [Principal],
    pub(super) bar: &'a indicatif::ProgressBar,
}

/// State that the threads share.
struct IngestState {
    waiting: Vec<Vec<IngestFile>>,
    summary: IngestSummary,
    stopped: Option<Error>,
}

impl IngestRun<'_> {
    /// Sends all files. Returns the summary, and the error that stopped the run early, if any.
    pub(super) fn run(&self, mut files: FileSet) -> (IngestSummary, Option<Error>) {
        let mut summary = IngestSummary::default();
        for (name, unsent) in std::mem::take(&mut files.unsent) {
            summary.unsent(&name, &unsent);
            self.bar.inc(1);
        }
        let mut waiting = batches(files.into_files());
        waiting.reverse();
        let state = Mutex::new(IngestState { waiting, summary, stopped: None });
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(state.lock().waiting.len()) {
                scope.spawn(|| self.worker(&state));
            }
        });
        let state = state.into_inner();
        (state.summary, state.stopped)
    }

    fn worker(&self, state: &Mutex<IngestState>) {
        loop {
            let batch = {
                let mut state = state.lock();
                match state.waiting.pop() {
                    Some(batch) if state.stopped.is_none() => batch,
                    _ => return,
                }
            };
            let count = batch.len() as u64;
            let documents = self.read(batch, state);
            if let Err(error) = self.send(documents, state) {
                state.lock().stopped.get_or_insert(error);
            }
            self.bar.inc(count);
        }
    }

    fn read(&self, batch: Vec<IngestFile>, state: &Mutex<IngestState>) -> Vec<NewDocument> {
        let mut documents = Vec::with_capacity(batch.len());
        for file in batch {
            match document(&file, self.readers) {
                Ok(document) => documents.push(document),
                Err(unsent) => state.lock().summary.unsent(&file.id, &unsent),
            }
        }
        documents
    }

    /// Sends documents. A request that is refused because of its content is halved until the faulty document is alone
    /// in a request.
    fn send(&self, documents: Vec<NewDocument>, state: &Mutex<IngestState>) -> Result<(), Error> {
        if documents.is_empty() {
            return Ok(());
        }
        let request = UpsertRequest { documents: BoundedList(documents), on_conflict: None };
        match self.try_send(&request) {
            Ok(reply) => {
                state.lock().summary.add(&reply);
                Ok(())
            }
            Err(Error::Refused(problem)) if matches!(problem.status, 400 | 413 | 422) => {
                let BoundedList(mut first) = request.documents;
                if let [document] = &*first {
                    let id = document.id.as_deref().unwrap_or_default();
                    state.lock().summary.failure(id, &problem.code, &problem.message);
                    return Ok(());
                }
                let second = first.split_off(first.len() / 2);
                self.send(first, state)?;
                self.send(second, state)
            }
            Err(other) => Err(other),
        }
    }

    fn try_send(&self, request: &UpsertRequest) -> Result<Stored, Error> {
        let mut attempt = 1;
        loop {
            match self.client.upsert(self.namespace, request) {
                Err(Error::Broken { .. }) if attempt < TRIES => {
                    std::thread::sleep(Duration::from_secs(1));
                    attempt += 1;
                }
                other => return other,
            }
        }
    }
}
