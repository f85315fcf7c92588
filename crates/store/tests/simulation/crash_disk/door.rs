//! One process's way to the disk: the calls of a file system, until the process dies.

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

/// One process's way in.
#[derive(Clone)]
pub(crate) struct Door {
    disk: Arc<CrashDisk>,
    /// Says that the process died.
    died: Arc<dyn Fn() + Send + Sync>,
    dead: Arc<AtomicBool>,
}

struct Opened {
    door: Door,
    node: u64,
}

struct Locked(Arc<AtomicBool>);

impl CrashDisk {
    /// A new process comes; `died` is called when the disk lets it die.
    pub(crate) fn door(self: &Arc<Self>, died: impl Fn() + Send + Sync + 'static) -> Door {
        Door { disk: self.clone(), died: Arc::new(died), dead: Arc::default() }
    }
}

impl Door {
    /// From here on every call fails.
    pub(crate) fn close(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(io::Error::other("this process is dead"));
        }
        Ok(self.disk.state())
    }

    /// Before a change. Whether the process dies in it.
    fn changing(&self) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.alive()?;
        if state.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        let dies = state.fuse == Some(0);
        state.fuse = if dies { None } else { state.fuse.map(|fuse| fuse - 1) };
        if dies {
            state.count("died in a change");
            self.close();
        }
        Ok((state, dies))
    }

    /// A change that happens or not when the process dies in it.
    fn change<T>(&self, deed: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let (mut state, dies) = self.changing()?;
        if !dies {
            return deed(&mut state);
        }
        if state.rng.chance(500) {
            let _never_told = deed(&mut state);
        }
        drop(state);
        (self.died)();
        Err(io::Error::other("the process died in a change"))
    }
}

impl Disk for Door {
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
        Ok(Box::new(Opened { door: self.clone(), node }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let node = self.alive()?.find(path)?;
        Ok(Box::new(Opened { door: self.clone(), node }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.alive()?;
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
            let (folder, name) = state.place(path)?;
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
            let (folder, name) = state.place(path)?;
            state.rename(folder, name, None);
            Ok(())
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.alive()?;
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
        self.alive().is_ok_and(|state| state.find(path).is_ok_and(|node| state.names(node).is_ok()))
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Send + Sync>, String>> {
        let key = path.to_string_lossy().into_owned();
        let mut state = self.alive()?;
        let held = |[free, dead]: &[Arc<AtomicBool>; 2]| !free.load(Ordering::SeqCst) && !dead.load(Ordering::SeqCst);
        if state.locks.get(&key).is_some_and(held) {
            return Ok(Err(holder.to_owned()));
        }
        // The lock goes with its process, or with its guard.
        let free = Arc::new(AtomicBool::new(false));
        state.locks.insert(key, [free.clone(), self.dead.clone()]);
        drop(state);
        let _content_is_for_people = self.create(path).and_then(|file| file.write_at(holder.as_bytes(), 0));
        Ok(Ok(Box::new(Locked(free))))
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        let state = self.alive()?;
        Ok(state.room() as u64)
    }
}

impl DiskFile for Opened {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let (mut state, dies) = self.door.changing()?;
        if !dies {
            return state.write(self.node, bytes, offset);
        }
        // Torn: the system has taken a part of it.
        let taken = state.rng.index(bytes.len() + 1);
        let _never_told = state.write(self.node, &bytes[..taken], offset);
        drop(state);
        (self.door.died)();
        Err(io::Error::other("the process died in a write"))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.door.alive()?;
        let (live, ..) = state.file(self.node)?;
        let from = live.get(offset..offset + bytes.len()).ok_or(ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let mut state = self.door.alive()?;
        let (live, ..) = state.file(self.node)?;
        Ok(live.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).unwrap();
        self.door.change(|state| {
            let (live, _, pending) = state.file(self.node)?;
            live.resize(bytes, 0);
            pending.push(Change::Length(bytes));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.door.change(|state| state.sync(self.node))
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
