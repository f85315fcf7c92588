//! The log in a folder: append files, one flush a group, the folder's lock against other writers.

pub(crate) mod group;
pub(crate) mod opening;
mod part;
mod recover;
mod writer;

use crate::{
    Error, Stopped, Tenancy,
    local::Local,
    log::{Checkpoint, CommitLog, Found, Place, Standing, Turned},
    names::{Name, PartId},
};
use futures::future::BoxFuture;
use kernel::{LogEpoch, Plaintext};
use opening::Pointer;
use std::sync::Arc;
use writer::Writer;

/// See the module.
pub(crate) struct FileLog {
    place: Arc<Place>,
    /// Away while a thread works with it.
    writer: Option<Box<Writer>>,
}

impl FileLog {
    /// Reads the place and claims nothing.
    pub(crate) async fn open(place: Arc<Place>, local: Arc<Local>) -> Result<Found, Error> {
        let reading = Arc::clone(&place);
        let found = place.storage.tasks().disk(move || recover::recover(&reading, &local)).await??;
        let recover::Found { writer, checkpoint, entries, dropped } = found;
        Ok(Found { log: Box::new(Self { place, writer: Some(Box::new(writer)) }), checkpoint, entries, dropped })
    }

    /// Runs blocking work on the writer, which travels with it: nobody sees it half done.
    async fn disk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut writer = self.writer.take().ok_or(Error::Closing)?;
        let run = move || {
            let out = work(&mut writer);
            (writer, out)
        };
        let (writer, out) = self.place.storage.tasks().disk(run).await?;
        self.writer = Some(writer);
        out
    }

    fn writer(&mut self) -> Result<&mut Writer, Error> {
        self.writer.as_deref_mut().ok_or(Error::Closing)
    }
}

impl CommitLog for FileLog {
    fn claim(&mut self) -> BoxFuture<'_, Result<LogEpoch, Error>> {
        Box::pin(async { self.writer()?.claim() })
    }

    fn commit(&mut self, bodies: Vec<Plaintext>) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(self.disk(move |writer| writer.commit(&bodies)))
    }

    fn number(&mut self) -> BoxFuture<'_, Result<PartId, Error>> {
        Box::pin(self.disk(|writer| {
            let epoch = writer.claim()?;
            if writer.parts.is_empty() {
                // A checkpoint's object without any log would look like a log that was lost.
                let id = writer.number(epoch);
                writer.start_part(id, None, None)?;
            }
            Ok(writer.number(epoch))
        }))
    }

    fn point(&mut self, checkpoint: Checkpoint, covers: u64) -> BoxFuture<'_, Result<Turned, Error>> {
        Box::pin(self.disk(move |writer| {
            let epoch = writer.claim()?;
            // A number of its own, taken now: a group that was committed meanwhile may have started a
            // file behind the checkpoint's name, and the newest file must be the one that names it.
            let id = writer.number(epoch);
            let (pointer, body) = match checkpoint {
                Checkpoint::Inline(body) => (Pointer { id, uuid: None, covers }, Some(body)),
                Checkpoint::Object(named, uuid) => (Pointer { id: named, uuid: Some(uuid), covers }, None),
            };
            writer.start_part(id, Some(pointer), body)?;
            Ok(Turned { checkpoint: pointer.id, covered: writer.take_covered() })
        }))
    }

    fn drop_place(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.disk(|writer| {
            writer.drop_place()?;
            writer.open = None;
            Ok(())
        }))
    }

    fn end(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            if !self.writer()?.may_end() {
                return Ok(());
            }
            self.disk(Writer::end).await
        })
    }

    /// The folder is locked: nobody else writes.
    fn check(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// The next opening starts a file of its own, which needs an epoch of its own.
    fn leave(&mut self) -> Option<Tenancy> {
        if let Some(writer) = self.writer.as_deref_mut().filter(|writer| writer.stopped.is_none()) {
            writer.stopped = Some((Stopped::Left, None));
        }
        None
    }

    fn needless(&self, names: &[Name]) -> usize {
        let Some(writer) = &self.writer else { return 0 };
        let (pointer, parts) = (writer.checkpoint, &writer.parts);
        let needless = |name: &&Name| match name {
            Name::Log(id) => !parts.iter().any(|part| part.id == *id),
            Name::Checkpoint(id) => pointer.is_some_and(|pointer| *id < pointer.id),
            _ => false,
        };
        names.iter().filter(needless).count()
    }

    fn standing(&self) -> Standing {
        let Some(writer) = &self.writer else {
            return Standing { stopped: Some(Stopped::Write), ..Standing::default() };
        };
        Standing {
            last: writer.last,
            covers: writer.checkpoint.map_or(0, |pointer| pointer.covers),
            log_bytes: writer.log_bytes(),
            newest: writer.newest,
            epoch: writer.epoch,
            stopped: writer.stopped.as_ref().map(|(why, _)| *why),
        }
    }
}
