//! The log in a folder: append-only files, one flush per group. The folder's lock keeps other writers out.

pub(crate) mod file_header;
pub(crate) mod group;
mod log_file;
mod recover;
mod writer;

use crate::{
    Error, Stopped, WriterSession,
    data_folder::DataFolder,
    log::{Checkpoint, CommitLog, JournalEnv, LogStatus, OpenedLog, Truncation},
    names::{LogFileId, Name},
};
use file_header::CheckpointRef;
use futures::future::BoxFuture;
use kernel::{LogEpoch, Plaintext};
use recover::RecoveredLog;
use std::sync::Arc;
use writer::LogWriter;

/// Log in a folder; see the module.
pub(crate) struct FileLog {
    env: Arc<JournalEnv>,
    /// `None` while a blocking thread uses the writer.
    writer: Option<Box<LogWriter>>,
}

impl FileLog {
    /// Reads the keyspace and claims nothing.
    pub(crate) async fn open(env: Arc<JournalEnv>, data_folder: Arc<DataFolder>) -> Result<OpenedLog, Error> {
        let reading_env = Arc::clone(&env);
        let recovered =
            env.storage.tasks().run_blocking(move || recover::recover(&reading_env, &data_folder)).await??;
        let RecoveredLog { writer, checkpoint, entries, dropped } = recovered;
        Ok(OpenedLog { log: Box::new(Self { env, writer: Some(Box::new(writer)) }), checkpoint, entries, dropped })
    }

    /// Runs blocking work on the writer. The writer moves to the blocking thread, so no other task sees it in the
    /// middle of a change.
    async fn run_blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut LogWriter) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut writer = self.writer.take().ok_or(Error::Closing)?;
        let run = move || {
            let out = work(&mut writer);
            (writer, out)
        };
        let (writer, out) = self.env.storage.tasks().run_blocking(run).await?;
        self.writer = Some(writer);
        out
    }

    fn writer(&mut self) -> Result<&mut LogWriter, Error> {
        self.writer.as_deref_mut().ok_or(Error::Closing)
    }
}

impl CommitLog for FileLog {
    fn claim(&mut self) -> BoxFuture<'_, Result<LogEpoch, Error>> {
        Box::pin(async { self.writer()?.claim() })
    }

    fn commit(&mut self, body: Plaintext) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(self.run_blocking(move |writer| writer.commit(&[body])))
    }

    fn reserve_checkpoint_id(&mut self) -> BoxFuture<'_, Result<LogFileId, Error>> {
        Box::pin(self.run_blocking(|writer| {
            let epoch = writer.claim()?;
            if writer.log_files.is_empty() {
                // A checkpoint's object without any log would look as if the log had been lost.
                let id = writer.next_id(epoch);
                writer.start_log_file(id, None, None)?;
            }
            Ok(writer.next_id(epoch))
        }))
    }

    fn install_checkpoint(&mut self, checkpoint: Checkpoint, covers: u64) -> BoxFuture<'_, Result<Truncation, Error>> {
        Box::pin(self.run_blocking(move |writer| {
            let epoch = writer.claim()?;
            // The log file takes a number of its own, taken now: a group that was committed in the meantime may have
            // started a file with a number after the checkpoint's, and the newest file must be the one that names the
            // checkpoint.
            let id = writer.next_id(epoch);
            let (pointer, body) = match checkpoint {
                Checkpoint::Inline(body) => (CheckpointRef { id, uuid: None, covers }, Some(body)),
                Checkpoint::Object(named, uuid) => (CheckpointRef { id: named, uuid: Some(uuid), covers }, None),
            };
            writer.start_log_file(id, Some(pointer), body)?;
            Ok(Truncation { checkpoint: pointer.id, covered: writer.take_covered() })
        }))
    }

    fn drop_keyspace(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.run_blocking(|writer| {
            writer.drop_keyspace()?;
            writer.open_file = None;
            Ok(())
        }))
    }

    fn mark_clean(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async {
            if !self.writer()?.needs_clean_mark() {
                return Ok(());
            }
            self.run_blocking(LogWriter::mark_clean).await
        })
    }

    /// The folder is locked, so no other process writes.
    fn check(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    /// Returns nothing to resume from: the next opening starts a new log file, which needs a new epoch.
    fn detach(&mut self) -> Option<WriterSession> {
        if let Some(writer) = self.writer.as_deref_mut().filter(|writer| writer.stopped.is_none()) {
            writer.stopped = Some((Stopped::Detached, None));
        }
        None
    }

    fn count_obsolete(&self, names: &[Name]) -> usize {
        let Some(writer) = &self.writer else { return 0 };
        let (pointer, log_files) = (writer.checkpoint, &writer.log_files);
        let is_obsolete = |name: &&Name| match name {
            Name::Log(id) => !log_files.iter().any(|file| file.id == *id),
            Name::Checkpoint(id) => pointer.is_some_and(|pointer| *id < pointer.id),
            _ => false,
        };
        names.iter().filter(is_obsolete).count()
    }

    fn status(&self) -> LogStatus {
        let Some(writer) = &self.writer else {
            return LogStatus { stopped: Some(Stopped::Write), ..LogStatus::default() };
        };
        LogStatus {
            last: writer.last,
            covers: writer.checkpoint.map_or(0, |pointer| pointer.covers),
            log_bytes: writer.log_bytes(),
            newest: writer.newest,
            epoch: writer.epoch,
            stopped: writer.stopped.as_ref().map(|(why, _)| *why),
        }
    }
}
