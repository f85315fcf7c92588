//! Does a namespace's own numbering of its commits explain every answer?
//!
//! A second judge beside the search in `checker`, quicker and about whole namespaces: commits are
//! never numbered twice, numbers grow with time, a batch is seen whole or not at all, and each view
//! is the sum of the commits up to its own.

use std::collections::{BTreeMap, HashMap};

/// One write that was not refused.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) called: u64,
    /// When and as which commit it was acknowledged; `None` when nobody knows whether it happened.
    pub(crate) done: Option<(u64, u64)>,
    pub(crate) effects: Vec<Effect>,
}

/// What a write does to one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) doc: u8,
    /// The version that is there now, or none.
    pub(crate) version: Option<u64>,
    /// Of an unknown write: it may have left this document alone.
    pub(crate) maybe: bool,
}

/// What was there at one commit.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) commit: u64,
    /// Each document that was asked for: its version and the commit that wrote it.
    pub(crate) docs: BTreeMap<u8, Option<(u64, u64)>>,
}

/// Says what is wrong, with the numbers of events.
pub(crate) fn check(writes: &[Write], views: &[View]) -> Result<(), String> {
    let learned = learn(writes, views)?;
    let numbered = number(writes, &learned)?;
    in_time(writes, views, &learned)?;
    replay(writes, views, &numbered, &learned)
}

/// What the views say about writes.
struct Learned {
    /// Commit of a write.
    commit: HashMap<usize, u64>,
    /// Versions that somebody saw.
    seen: HashMap<u64, usize>,
}

fn learn(writes: &[Write], views: &[View]) -> Result<Learned, String> {
    let mut by_version = HashMap::new();
    let mut learned = Learned { commit: HashMap::new(), seen: HashMap::new() };
    for (at, write) in writes.iter().enumerate() {
        for effect in &write.effects {
            effect.version.map(|version| by_version.insert(version, at));
        }
        write.done.map(|(_, commit)| learned.commit.insert(at, commit));
    }
    for view in views {
        for (version, commit) in view.docs.values().flatten() {
            let at = *by_version
                .get(version)
                .ok_or_else(|| format!("version {version} was never written here, or refused"))?;
            let known = *learned.commit.entry(at).or_insert(*commit);
            if known != *commit || *commit > view.commit {
                return Err(format!(
                    "version {version} is of commit {known}, but shows {commit} in a view of {}",
                    view.commit
                ));
            }
            learned.seen.insert(*version, at);
        }
    }
    Ok(learned)
}

fn number(writes: &[Write], learned: &Learned) -> Result<BTreeMap<u64, usize>, String> {
    let mut numbered = BTreeMap::new();
    for (at, commit) in &learned.commit {
        if let Some(other) = numbered.insert(*commit, *at) {
            return Err(format!(
                "commit {commit} is two writes, called at {} and {}",
                writes[*at].called, writes[other].called
            ));
        }
    }
    let last = numbered.keys().next_back().copied().unwrap_or(0);
    if last > writes.len() as u64 {
        return Err(format!("commit {last} of {} writes", writes.len()));
    }
    Ok(numbered)
}

/// Whatever was acknowledged before an operation was called is in it.
fn in_time(writes: &[Write], views: &[View], learned: &Learned) -> Result<(), String> {
    // Time, what is acknowledged then; or the least that must be in what is called then.
    let mut events: Vec<(u64, Event)> = Vec::new();
    for (at, write) in writes.iter().enumerate() {
        events.extend(write.done.map(|(returned, commit)| (returned, Event::Acknowledged(commit))));
        events.extend(learned.commit.get(&at).map(|commit| (write.called, Event::Write(*commit))));
    }
    for view in views {
        events.push((view.called, Event::View(view.commit)));
        events.push((view.returned, Event::Acknowledged(view.commit)));
    }
    events.sort_by_key(|(time, _)| *time);
    let mut newest = 0;
    for (time, event) in events {
        match event {
            Event::Acknowledged(commit) => newest = newest.max(commit),
            Event::Write(commit) if commit <= newest => {
                return Err(format!("the write called at {time} became commit {commit}, when {newest} had been told"));
            }
            Event::View(commit) if commit < newest => {
                return Err(format!("the read called at {time} saw commit {commit}, when {newest} had been told"));
            }
            _ => {}
        }
    }
    Ok(())
}

enum Event {
    Acknowledged(u64),
    Write(u64),
    View(u64),
}

fn replay(writes: &[Write], views: &[View], numbered: &BTreeMap<u64, usize>, learned: &Learned) -> Result<(), String> {
    let mut views: Vec<&View> = views.iter().collect();
    views.sort_by_key(|view| view.commit);
    let mut lost_deletes: Vec<(u64, u8)> = writes
        .iter()
        .enumerate()
        .filter(|(at, _)| !learned.commit.contains_key(at))
        .flat_map(|(_, write)| write.effects.iter().filter(|e| e.version.is_none()).map(|e| (write.called, e.doc)))
        .collect();
    let mut held: HashMap<u8, (u64, u64)> = HashMap::new();
    let mut next = numbered.iter().peekable();
    for view in views {
        while let Some((commit, at)) = next.next_if(|(commit, _)| **commit <= view.commit) {
            for effect in &writes[*at].effects {
                match effect.version {
                    Some(version) if !effect.maybe || learned.seen.contains_key(&version) => {
                        held.insert(effect.doc, (version, *commit));
                    }
                    Some(_) => {}
                    None => drop(held.remove(&effect.doc)),
                }
            }
        }
        for (doc, saw) in &view.docs {
            let there = held.get(doc).copied();
            if there == *saw {
                continue;
            }
            let explains = |(called, of): &(u64, u8)| of == doc && *called < view.returned;
            match lost_deletes.iter().position(explains) {
                Some(at) if saw.is_none() => {
                    lost_deletes.remove(at);
                    held.remove(doc);
                }
                _ => {
                    let (called, commit) = (view.called, view.commit);
                    return Err(format!(
                        "the view called at {called} of commit {commit} has {saw:?} for document {doc}, not {there:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
