//! A room: a namespace entered with a grant for one action. Its deeds are those of that action.
//!
//! There is no tenant and no namespace among the arguments: there is only this one.

use crate::{
    Decision, Erasing, Error, Known, Line, Outcome, Selection, Snapshot, Totals, Upsert, cost,
    cpu::{Errand, here, on_cpu},
    namespace::Namespace,
    plan::Deed,
    slot::Slot,
    view::View,
};
use access::{Action, Delete, Ingest, Manage, Patch, Read, Review, Search};
use intake::ScreenedPatch;
use kernel::{Audience, CommitNo, DocumentId, Presence, Pseudonymiser, Timestamp, cost::RunOn};
use segment::Spec;
use std::{marker::PhantomData, sync::Arc};

/// See the module. Made by [`crate::Stores::enter`] alone.
pub struct Room<A: Action> {
    namespace: Arc<Namespace>,
    slot: Arc<Slot>,
    spec: Spec,
    /// Whether the caller still waits.
    pub(crate) presence: Presence,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Room<A> {
    pub(crate) fn new(namespace: Arc<Namespace>, slot: Arc<Slot>, spec: Spec, presence: Presence) -> Self {
        Self { namespace, slot, spec, presence, action: PhantomData }
    }

    /// Exact numbers of what is published now.
    pub fn totals(&self) -> Totals {
        self.namespace.totals()
    }

    /// Keyed names under this namespace's own key.
    pub fn keyed(&self) -> Arc<dyn Pseudonymiser> {
        self.namespace.home.clone()
    }

    async fn stand(&self, min_commit: Option<CommitNo>) -> Result<Snapshot, Error> {
        if let Some(wanted) = min_commit {
            self.namespace.reached(wanted).await?;
        }
        Ok(Snapshot::new(self.namespace.clone()))
    }
}

impl Room<Ingest> {
    /// What stands under these ids, and whether it is the very same content. In their order.
    /// Judged again under the writer's turn by [`Room::append`].
    ///
    /// # Errors
    /// [`Error::Panicked`] when the pool goes away.
    pub async fn known(&self, asks: &[(DocumentId, [u8; 32])]) -> Result<Vec<Known>, Error> {
        let config = &self.namespace.shared.config;
        let (view, now) = (self.namespace.view(), config.clock.now());
        if let RunOn::Caller(short) = cost::of_heads(&view, asks.iter().map(|(id, _)| id)).run_on() {
            return here(&short, || asks.iter().map(|ask| known(&view, ask, now)).collect());
        }
        // Heads may be long, or lie in a page that has to be fetched.
        let asks = asks.to_vec();
        on_cpu(&*config.cpu, Errand::Write(self.namespace.incarnation), move || {
            asks.iter().map(|ask| known(&view, ask, now)).collect()
        })
        .await
    }

    /// Stores documents in one commit: all of those that no conflict rule leaves out, or none.
    /// Durable and searchable when it returns. Cost: a share of one fsync.
    ///
    /// # Errors
    /// [`Error::Dimensions`], a full queue or disk; `outcome_unknown` when the log failed mid-write.
    pub async fn append(&self, docs: Vec<Upsert>, line: Line) -> Result<Outcome, Error> {
        self.namespace.write(Deed::Append(docs, self.spec), line, self.presence.clone()).await
    }
}

fn known(view: &View, (id, hash): &(DocumentId, [u8; 32]), now: Timestamp) -> Known {
    let found = view.find(id).and_then(|(part, doc)| view.parts[part].index.head(doc).ok());
    match found.filter(|head| !crate::plan::expired(head, now)) {
        None => Known::Absent,
        Some(head) if head.content_hash == *hash => Known::Same(Box::new(head)),
        Some(head) => Known::Other(Box::new(head)),
    }
}

impl Room<Search> {
    /// The namespace as it is now, or as soon as `min_commit` is in.
    ///
    /// # Errors
    /// [`Error::NotYet`] when that takes too long.
    pub async fn snapshot(&self, min_commit: Option<CommitNo>) -> Result<Snapshot, Error> {
        self.stand(min_commit).await
    }
}

impl Room<Read> {
    /// The namespace as it is now, or as soon as `min_commit` is in.
    ///
    /// # Errors
    /// [`Error::NotYet`] when that takes too long.
    pub async fn snapshot(&self, min_commit: Option<CommitNo>) -> Result<Snapshot, Error> {
        self.stand(min_commit).await
    }
}

impl Room<Delete> {
    /// Deletes in one commit. What the audience does not see stays and is not counted.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; as [`Room::append`].
    pub async fn delete(&self, which: &Selection, audience: &Audience, line: Line) -> Result<Outcome, Error> {
        self.namespace.write(Deed::Delete(which.clone(), audience.clone()), line, self.presence.clone()).await
    }
}

impl Room<Delete> {
    /// Deletes these in one commit, and then rewrites what still holds their bytes: the answer is
    /// durable when this returns, and [`Erasing::erased`] names the checkpoint from which on no
    /// object and no log file holds them. May be asked again for the same ids.
    ///
    /// # Errors
    /// As [`Room::delete`].
    pub async fn erase(&self, ids: &[DocumentId], audience: &Audience, line: Line) -> Result<Erasing, Error> {
        let outcome = self.delete(&Selection::Ids(ids.to_vec()), audience, line).await?;
        Ok(Erasing::start(&self.namespace, ids.to_vec(), outcome))
    }
}

impl Room<Patch> {
    /// Changes what documents say of themselves, in one commit, with the vectors they have.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Patch`]; as [`Room::append`].
    pub async fn patch(
        &self,
        which: &Selection,
        audience: &Audience,
        patch: ScreenedPatch,
        line: Line,
    ) -> Result<Outcome, Error> {
        let deed = Deed::Patch(which.clone(), audience.clone(), Box::new(patch));
        self.namespace.write(deed, line, self.presence.clone()).await
    }
}

impl Room<Review> {
    /// Releases or deletes what a screen held back, in one commit.
    ///
    /// # Errors
    /// As [`Room::append`].
    pub async fn decide(
        &self,
        ids: &[DocumentId],
        audience: &Audience,
        decision: Decision,
        line: Line,
    ) -> Result<Outcome, Error> {
        self.namespace.write(Deed::Decide(ids.to_vec(), audience.clone(), decision), line, self.presence.clone()).await
    }
}

impl Room<Manage> {
    /// Deletes the namespace's bytes for good; from here on nobody enters. Its key should be gone
    /// before: then a crash or an error in the middle leaves bytes that nothing opens.
    ///
    /// # Errors
    /// The journal's.
    pub async fn destroy(self) -> Result<(), Error> {
        self.slot.destroy(self.namespace).await
    }
}
