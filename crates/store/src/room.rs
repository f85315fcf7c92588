//! A room: a namespace that was entered with a grant for one action, with the methods of that action only.
//!
//! No argument names a tenant or a namespace: there is only this one. Every write has an audience:
//!
//! ```
//! # use {access::Ingest, kernel::Audience, store::{Line, Room, Upsert}};
//! async fn write(room: Room<Ingest>, documents: Vec<Upsert>, audience: &Audience, line: Line) {
//!     let _outcome = room.append(documents, audience, line).await;
//! }
//! ```
//! ```compile_fail,E0061
//! # use {access::Ingest, kernel::Audience, store::{Line, Room, Upsert}};
//! async fn write(room: Room<Ingest>, documents: Vec<Upsert>, line: Line) {
//!     let _outcome = room.append(documents, line).await;
//! }
//! ```

use crate::{
    Decision, Erasing, Error, Known, Line, Outcome, Reviewed, Selection, Snapshot, Totals, Upsert, cost,
    cpu::{Errand, here, on_cpu},
    namespace::Namespace,
    plan::{Act, Deed},
    slot::Slot,
    view::View,
};
use access::{Action, Delete, Ingest, Manage, Patch, Read, Review, Search};
use intake::ScreenedPatch;
use kernel::{Audience, CommitNo, DocumentId, Presence, Pseudonymiser, Retention, Timestamp, cost::RunOn};
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

    /// Exact numbers of all that is published now, hidden documents included: for limits, never for a reply.
    pub fn totals(&self) -> Totals {
        self.namespace.totals()
    }

    /// The newest commit that is published.
    pub fn commit(&self) -> CommitNo {
        self.namespace.totals().commit
    }

    /// Exact numbers of what an audience sees of it now.
    ///
    /// # Errors
    /// When an index does not read; [`Error::Panicked`] when the pool goes away.
    pub async fn totals_for(&self, audience: &Audience) -> Result<Totals, Error> {
        self.namespace.totals_for(audience).await
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
    /// What this audience sees under these ids, and whether it is the very same content. In their order.
    /// Judged again under the writer's turn by [`Room::append`].
    ///
    /// # Errors
    /// When a document does not read; [`Error::Panicked`] when the pool goes away.
    pub async fn known(&self, asks: &[(DocumentId, [u8; 32])], audience: &Audience) -> Result<Vec<Known>, Error> {
        let config = &self.namespace.shared.config;
        let (view, now) = (self.namespace.view(), config.clock.now());
        if let RunOn::Caller(short) = cost::of_heads(&view, asks.iter().map(|(id, _)| id)).run_on() {
            return here(&short, || asks.iter().map(|ask| known(&view, ask, audience, now)).collect())?;
        }
        // Heads may be long, or lie in a page that has to be fetched.
        let (asks, audience) = (asks.to_vec(), audience.clone());
        on_cpu(&*config.cpu, Errand::Write(self.namespace.incarnation), move || {
            asks.iter().map(|ask| known(&view, ask, &audience, now)).collect()
        })
        .await?
    }

    /// Stores documents in one commit: all of those that no conflict rule leaves out, or none. Documents that the audience
    /// does not see are neither shown nor changed: for this audience their ids are free.
    /// Durable and searchable when it returns. Cost: a share of one fsync.
    ///
    /// # Errors
    /// [`Error::Dimensions`], a full queue or disk; `outcome_unknown` when the log failed mid-write.
    pub async fn append(&self, docs: Vec<Upsert>, audience: &Audience, line: Line) -> Result<Outcome, Error> {
        let act = Act::Append(docs, self.spec);
        self.namespace.write(Deed { audience: audience.clone(), act }, line, self.presence.clone()).await
    }
}

fn known(
    view: &View,
    (id, hash): &(DocumentId, [u8; 32]),
    audience: &Audience,
    now: Timestamp,
) -> Result<Known, Error> {
    let mut seen = view.seen(id, audience, now)?.into_iter().map(|(.., head)| head);
    Ok(match (seen.next(), seen.next()) {
        (None, _) => Known::Absent,
        (Some(head), None) if head.content_hash == *hash => Known::Same(Box::new(head)),
        (Some(head), _) => Known::Other(Box::new(head)),
    })
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
        let act = Act::Delete(which.clone());
        self.namespace.write(Deed { audience: audience.clone(), act }, line, self.presence.clone()).await
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
        Ok(Erasing::start(&self.namespace, ids.to_vec(), audience.clone(), outcome))
    }
}

impl Room<Patch> {
    /// Changes attributes, readers, uri or expiry of documents in one commit; vectors stay.
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
        let act = Act::Patch(which.clone(), Box::new(patch));
        self.namespace.write(Deed { audience: audience.clone(), act }, line, self.presence.clone()).await
    }
}

impl Room<Review> {
    /// Releases or deletes quarantined documents in one commit. A document that is no longer in the state that the reviewer
    /// saw is reported as a conflict and stays.
    ///
    /// # Errors
    /// As [`Room::append`].
    pub async fn decide(
        &self,
        reviewed: &[Reviewed],
        audience: &Audience,
        decision: Decision,
        line: Line,
    ) -> Result<Outcome, Error> {
        let act = Act::Decide(reviewed.to_vec(), decision);
        self.namespace.write(Deed { audience: audience.clone(), act }, line, self.presence.clone()).await
    }
}

impl Room<Manage> {
    /// Applies a retention. Stored documents that would live longer get an earlier end. Cost: each of these is written
    /// again, some at a time. May be called again after an error.
    ///
    /// # Errors
    /// As [`Room::append`].
    pub async fn retain(&self, retention: Retention, line: impl Fn() -> Line) -> Result<(), Error> {
        self.namespace.set_retention(retention);
        if self.namespace.totals().documents == 0 {
            return Ok(());
        }
        loop {
            let deed = Deed { audience: Audience::Everything, act: Act::Shorten };
            if self.namespace.write(deed, line(), self.presence.clone()).await?.matched == 0 {
                return Ok(());
            }
        }
    }

    /// Deletes the namespace's bytes for good; from here on no request enters. Its key should be gone
    /// before: then a crash or an error in the middle leaves bytes that nothing opens.
    ///
    /// # Errors
    /// The journal's.
    pub async fn destroy(self) -> Result<(), Error> {
        self.slot.destroy(self.namespace).await
    }
}
