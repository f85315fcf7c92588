//! A file system in memory that simulates power cuts.
//!
//! For every file and folder it keeps the current and the durable content, and the unflushed changes between them. When
//! the power fails, any of these changes may have reached the disk, each 512-byte sector independently and in any
//! order, and the others are lost. A flush that fails drops the changes, as Linux does: they can still be read, later
//! flushes succeed, and a power cut loses them. Each simulated process has its own access, which ends with the process.

mod disk_client;

use crate::rng::Rng;
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::{Component, Path},
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
};

pub(crate) use disk_client::DiskClient;

/// The simulated disk, which outlives processes and power cuts.
pub(crate) struct CrashDisk(Mutex<State>);

/// A guarantee that this disk breaks, to simulate a store that forgets to ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mutant {
    #[default]
    None,
    /// Flushing a file does nothing.
    FileSyncIgnored,
    /// Flushing a folder does nothing.
    FolderSyncIgnored,
    /// A failing flush reports success.
    SyncErrorSwallowed,
}

struct State {
    rng: Rng,
    mutant: Mutant,
    nodes: BTreeMap<u64, Node>,
    last_node: u64,
    /// For each lock, whether it was released and whether its process was killed.
    locks: BTreeMap<String, [Arc<AtomicBool>; 2]>,
    /// Bytes of file content that fit.
    capacity: usize,
    read_only: bool,
    /// Number of file flushes until one fails.
    sync_fails_in: Option<u64>,
    /// Number of changes until the process is killed in the middle of one.
    changes_until_kill: Option<u64>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

enum Node {
    File { live: Vec<u8>, durable: Vec<u8>, pending: Vec<Change> },
    Folder { live: Names, durable: Names, pending: Vec<(String, Option<u64>)> },
}

type Names = BTreeMap<String, u64>;

/// Change to a file's bytes.
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl CrashDisk {
    pub(crate) fn new(rng: Rng, mutant: Mutant) -> Arc<Self> {
        let root = Node::Folder { live: Names::new(), durable: Names::new(), pending: Vec::new() };
        Arc::new(Self(Mutex::new(State {
            rng,
            mutant,
            nodes: BTreeMap::from([(ROOT, root)]),
            last_node: ROOT,
            locks: BTreeMap::new(),
            capacity: usize::MAX,
            read_only: false,
            sync_fails_in: None,
            changes_until_kill: None,
            counts: BTreeMap::new(),
        })))
    }

    /// Simulates a power cut. All processes must have been killed before.
    pub(crate) fn cut_power(&self) {
        let state = &mut *self.state();
        state.count("power cuts");
        // None, all or some of the unflushed changes have reached the disk.
        let share = *state.rng.pick(&[0, 0, 1000, 1000, 100, 500, 900]);
        for node in state.nodes.values_mut() {
            node.cut(&mut state.rng, share);
        }
    }

    /// Limits the further bytes of content; existing content stays.
    pub(crate) fn limit(&self, more: Option<usize>) {
        let mut state = self.state();
        state.capacity = more.map_or(usize::MAX, |more| state.used() + more);
    }

    pub(crate) fn read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Makes the file flush after `after` others fail.
    pub(crate) fn fail_sync(&self, after: Option<u64>) {
        self.state().sync_fails_in = after;
    }

    /// Kills the process that makes a change after `changes` others, in the middle of it.
    pub(crate) fn kill_after_changes(&self, changes: Option<u64>) {
        self.state().changes_until_kill = changes;
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn node(&mut self, node: Node) -> u64 {
        self.last_node += 1;
        self.nodes.insert(self.last_node, node);
        self.last_node
    }

    /// Free bytes; computed only if there is a limit, because that visits every file.
    fn free_bytes(&self) -> usize {
        if self.capacity == usize::MAX { usize::MAX } else { self.capacity.saturating_sub(self.used()) }
    }

    fn used(&self) -> usize {
        let bytes = |node: &Node| if let Node::File { live, .. } = node { live.len() } else { 0 };
        self.nodes.values().map(bytes).sum()
    }

    /// The node of a path.
    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut at = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let names = self.names(at)?;
                at = *names.get(name.to_str().unwrap()).ok_or(ErrorKind::NotFound)?;
            }
        }
        Ok(at)
    }

    /// The folder that contains a path, and the name there.
    fn locate(&self, path: &Path) -> io::Result<(u64, String)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_str().unwrap().to_owned();
        Ok((self.find(path.parent().ok_or(ErrorKind::InvalidInput)?)?, name))
    }

    fn names(&self, folder: u64) -> io::Result<&Names> {
        match self.nodes.get(&folder) {
            Some(Node::Folder { live, .. }) => Ok(live),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn rename(&mut self, folder: u64, name: String, to: Option<u64>) {
        let Some(Node::Folder { live, pending, .. }) = self.nodes.get_mut(&folder) else {
            unreachable!("looked up before")
        };
        match to {
            Some(node) => drop(live.insert(name.clone(), node)),
            None => drop(live.remove(&name)),
        }
        pending.push((name, to));
    }

    fn add(&mut self, path: &Path, node: impl FnOnce(&mut Self) -> u64) -> io::Result<u64> {
        let (folder, name) = self.locate(path)?;
        if self.names(folder)?.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = node(self);
        self.rename(folder, name, Some(node));
        Ok(node)
    }

    fn remove_all(&mut self, folder: u64) -> io::Result<()> {
        for (name, node) in self.names(folder)?.clone() {
            if self.names(node).is_ok() {
                self.remove_all(node)?;
            }
            self.rename(folder, name, None);
        }
        Ok(())
    }

    fn file(&mut self, node: u64) -> io::Result<(&mut Vec<u8>, &mut Vec<u8>, &mut Vec<Change>)> {
        match self.nodes.get_mut(&node) {
            Some(Node::File { live, durable, pending }) => Ok((live, durable, pending)),
            _ => Err(ErrorKind::IsADirectory.into()),
        }
    }

    /// Writes as much as fits.
    fn write(&mut self, node: u64, bytes: &[u8], offset: usize) -> io::Result<()> {
        let free_bytes = self.free_bytes();
        let (live, _, pending) = self.file(node)?;
        let fits = live.len().saturating_add(free_bytes).saturating_sub(offset).min(bytes.len());
        let change = Change::Write(offset, bytes[..fits].to_vec());
        change.apply(live);
        pending.push(change);
        if fits == bytes.len() {
            return Ok(());
        }
        self.count("full");
        Err(ErrorKind::StorageFull.into())
    }

    fn sync(&mut self, node: u64) -> io::Result<()> {
        let fails = self.sync_fails_in == Some(0);
        self.sync_fails_in = if fails { None } else { self.sync_fails_in.map(|left| left - 1) };
        let mutant = self.mutant;
        if fails {
            self.count("failed flushes");
        }
        let (_, durable, pending) = self.file(node)?;
        if mutant == Mutant::FileSyncIgnored {
            return Ok(());
        }
        for change in pending.drain(..) {
            if !fails {
                change.apply(durable);
            }
        }
        if fails && mutant != Mutant::SyncErrorSwallowed {
            return Err(io::Error::other("the disk did not take it"));
        }
        Ok(())
    }
}

impl Node {
    fn cut(&mut self, rng: &mut Rng, share: u64) {
        match self {
            Node::File { live, durable, pending } => {
                for change in pending.drain(..) {
                    change.apply_some(durable, rng, share);
                }
                live.clone_from(durable);
            }
            Node::Folder { live, durable, pending } => {
                for (name, to) in pending.drain(..).filter(|_| rng.chance(share)) {
                    match to {
                        Some(node) => drop(durable.insert(name, node)),
                        None => drop(durable.remove(&name)),
                    }
                }
                live.clone_from(durable);
            }
        }
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Length(bytes) => to.resize(*bytes, 0),
            Change::Write(offset, bytes) => {
                to.resize(to.len().max(offset + bytes.len()), 0);
                to[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// Applies some of the sectors, each independently.
    fn apply_some(&self, to: &mut Vec<u8>, rng: &mut Rng, share: u64) {
        match self {
            Change::Length(_) => {
                if rng.chance(share) {
                    self.apply(to);
                }
            }
            Change::Write(offset, bytes) => {
                let mut from = 0;
                while from < bytes.len() {
                    let next = (SECTOR - (offset + from) % SECTOR).min(bytes.len() - from);
                    if rng.chance(share) {
                        Change::Write(offset + from, bytes[from..from + next].to_vec()).apply(to);
                    }
                    from += next;
                }
            }
        }
    }
}

const ROOT: u64 = 1;
const SECTOR: usize = 512;

#[cfg(test)]
mod tests;
