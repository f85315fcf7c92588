//! Access of one process to the disk: file system calls, until the process is killed.

use super::{Change, CrashDisk, Mutant, Names, Node, State};
use journal::disk::{Disk, DiskFile};
use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Access of one process.
#[derive(Clone)]
pub(crate) struct DiskClient {
    disk: Arc<CrashDisk>,
    /// Called when the disk kills the process.
    on_kill: Arc<dyn Fn() + Send + Sync>,
    killed: Arc<AtomicBool>,
}

struct Opened {
    disk_client: DiskClient,
    node: u64,
}

struct Locked(Arc<AtomicBool>);

impl CrashDisk {
    /// Gives access to a new process; `on_kill` is called when the disk kills it.
    pub(crate) fn disk_client(self: &Arc<Self>, on_kill: impl Fn() + Send + Sync + 'static) -> DiskClient {
        DiskClient { disk: self.clone(), on_kill: Arc::new(on_kill), killed: Arc::default() }
    }
}

impl DiskClient {
    /// Makes every further call fail.
    pub(crate) fn close(&self) {
        self.killed.store(true, Ordering::SeqCst);
    }

    fn state_if_running(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.killed.load(Ordering::SeqCst) {
            return Err(io::Error::other("this process was killed"));
        }
        Ok(self.disk.state())
    }

    /// Prepares a change. Returns whether the process is killed during it.
    fn changing(&self) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.state_if_running()?;
        if state.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        let is_killed = state.changes_until_kill == Some(0);
        state.changes_until_kill =
            if is_killed { None } else { state.changes_until_kill.map(|changes_until_kill| changes_until_kill - 1) };
        if is_killed {
            state.count("died in a change");
            self.close();
        }
        Ok((state, is_killed))
    }

    /// Makes a change, which may or may not happen if the process is killed during it.
    fn change<T>(&self, action: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let (mut state, is_killed) = self.changing()?;
        if !is_killed {
            return action(&mut state);
        }
        if state.rng.chance(500) {
            let _not_reported = action(&mut state);
        }
        drop(state);
        (self.on_kill)();
        Err(io::Error::other("the process died in a change"))
    }
}

impl Disk for DiskClient {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let node = self.change(|state| {
            if let Ok(node) = state.find(path) {
                let (live, _, pending) = state.file(node)?;
                live.clear();
                pending.push(Change::Length(0));
                return Ok(node);
            }
            let empty = Node::File { live: Vec::new(), durable: Vec::new(), pending: Vec::new() };
            state.add(path, |state| state.node(empty))
        })?;
        Ok(Box::new(Opened { disk_client: self.clone(), node }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let node = self.state_if_running()?.find(path)?;
        Ok(Box::new(Opened { disk_client: self.clone(), node }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state_if_running()?;
        let node = state.find(path)?;
        Ok(state.file(node)?.0.clone())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| {
            let node = state.find(from)?;
            state.file(node)?;
            state.add(to, |_| node).map(|_| ())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            let node = state.find(path)?;
            state.file(node)?;
            let (folder, name) = state.locate(path)?;
            state.rename(folder, name, None);
            Ok(())
        })
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let empty = Node::Folder { live: Names::new(), durable: Names::new(), pending: Vec::new() };
        self.change(|state| state.add(path, |state| state.node(empty)).map(|_| ()))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            let node = state.find(path)?;
            state.remove_all(node)?;
            let (folder, name) = state.locate(path)?;
            state.rename(folder, name, None);
            Ok(())
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state_if_running()?;
        let node = state.find(folder)?;
        let mut names: Vec<String> = state.names(node)?.keys().cloned().collect();
        state.rng.shuffle(&mut names);
        Ok(names)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(|state| {
            let node = state.find(folder)?;
            let ignored = state.mutant == Mutant::FolderSyncIgnored;
            match state.nodes.get_mut(&node) {
                Some(Node::Folder { live, durable, pending }) if !ignored => {
                    pending.clear();
                    durable.clone_from(live);
                    Ok(())
                }
                Some(Node::Folder { .. }) => Ok(()),
                _ => Err(ErrorKind::NotADirectory.into()),
            }
        })
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.state_if_running().is_ok_and(|state| state.find(path).is_ok_and(|node| state.names(node).is_ok()))
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Send + Sync>, String>> {
        let key = path.to_string_lossy().into_owned();
        let mut state = self.state_if_running()?;
        let held =
            |[free, killed]: &[Arc<AtomicBool>; 2]| !free.load(Ordering::SeqCst) && !killed.load(Ordering::SeqCst);
        if state.locks.get(&key).is_some_and(held) {
            return Ok(Err(holder.to_owned()));
        }
        // The lock is released with its process or its guard.
        let free = Arc::new(AtomicBool::new(false));
        state.locks.insert(key, [free.clone(), self.killed.clone()]);
        drop(state);
        let _content_is_informational = self.create(path).and_then(|file| file.write_at(holder.as_bytes(), 0));
        Ok(Ok(Box::new(Locked(free))))
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        let state = self.state_if_running()?;
        Ok(state.free_bytes() as u64)
    }
}

impl DiskFile for Opened {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let (mut state, is_killed) = self.disk_client.changing()?;
        if !is_killed {
            return state.write(self.node, bytes, offset);
        }
        // A torn write: the system has taken a part of it.
        let taken = state.rng.index(bytes.len() + 1);
        let _not_reported = state.write(self.node, &bytes[..taken], offset);
        drop(state);
        (self.disk_client.on_kill)();
        Err(io::Error::other("the process died in a write"))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.disk_client.state_if_running()?;
        let (live, ..) = state.file(self.node)?;
        let from = live.get(offset..offset + bytes.len()).ok_or(ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk_client.state_if_running()?;
        let (live, ..) = state.file(self.node)?;
        Ok(live.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).unwrap();
        self.disk_client.change(|state| {
            let (live, _, pending) = state.file(self.node)?;
            live.resize(bytes, 0);
            pending.push(Change::Length(bytes));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk_client.change(|state| state.sync(self.node))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
