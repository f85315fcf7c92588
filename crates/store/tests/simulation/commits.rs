//! Checks whether the commit numbers of a namespace explain every answer.
//!
//! A second checker in addition to the search in `checker`, faster and about whole namespaces: no commit number is used
//! twice, numbers grow with time, a batch is visible in full or not at all, and each read shows the sum of the commits
//! up to its own.

use std::collections::{BTreeMap, HashMap};

/// One write that was not refused.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) called: u64,
    /// Event of the acknowledgement and commit number; `None` if the outcome is unknown.
    pub(crate) done: Option<(u64, u64)>,
    pub(crate) effects: Vec<Effect>,
}

/// Effect of a write on one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) doc: u8,
    /// The new version, or `None` for a delete.
    pub(crate) version: Option<u64>,
    /// Whether an unknown write may have left this document unchanged.
    pub(crate) maybe: bool,
}

/// Documents read at one commit.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) commit: u64,
    /// For each requested document, its version and the commit that wrote it.
    pub(crate) docs: BTreeMap<u8, Option<(u64, u64)>>,
}

/// Describes what is wrong, with the numbers of events.
pub(crate) fn check(writes: &[Write], views: &[View]) -> Result<(), String> {
    let observations = observe(writes, views)?;
    let numbered = number(writes, &observations)?;
    in_time(writes, views, &observations)?;
    replay(writes, views, &numbered, &observations)
}

/// What the reads reveal about writes.
struct Observations {
    /// Commit of each write.
    commit: HashMap<usize, u64>,
    /// Versions that a read has returned.
    returned_versions: HashMap<u64, usize>,
}

fn observe(writes: &[Write], views: &[View]) -> Result<Observations, String> {
    let mut by_version = HashMap::new();
    let mut observations = Observations { commit: HashMap::new(), returned_versions: HashMap::new() };
    for (at, write) in writes.iter().enumerate() {
        for effect in &write.effects {
            effect.version.map(|version| by_version.insert(version, at));
        }
        write.done.map(|(_, commit)| observations.commit.insert(at, commit));
    }
    for view in views {
        for (version, commit) in view.docs.values().flatten() {
            let at = *by_version
                .get(version)
                .ok_or_else(|| format!("version {version} was never written here, or refused"))?;
            let known = *observations.commit.entry(at).or_insert(*commit);
            if known != *commit || *commit > view.commit {
                return Err(format!(
                    "version {version} is of commit {known}, but shows {commit} in a view of {}",
                    view.commit
                ));
            }
            observations.returned_versions.insert(*version, at);
        }
    }
    Ok(observations)
}

fn number(writes: &[Write], observations: &Observations) -> Result<BTreeMap<u64, usize>, String> {
    let mut numbered = BTreeMap::new();
    for (at, commit) in &observations.commit {
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

/// Checks that everything acknowledged before an operation was called is part of it.
fn in_time(writes: &[Write], views: &[View], observations: &Observations) -> Result<(), String> {
    // For each event: the commit acknowledged by then, or the least commit that a call must include.
    let mut events: Vec<(u64, Event)> = Vec::new();
    for (at, write) in writes.iter().enumerate() {
        events.extend(write.done.map(|(returned, commit)| (returned, Event::Acknowledged(commit))));
        events.extend(observations.commit.get(&at).map(|commit| (write.called, Event::Write(*commit))));
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
                return Err(format!(
                    "the write called at {time} became commit {commit}, when {newest} had been acknowledged"
                ));
            }
            Event::View(commit) if commit < newest => {
                return Err(format!(
                    "the read called at {time} saw commit {commit}, when {newest} had been acknowledged"
                ));
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

fn replay(
    writes: &[Write],
    views: &[View],
    numbered: &BTreeMap<u64, usize>,
    observations: &Observations,
) -> Result<(), String> {
    let mut views: Vec<&View> = views.iter().collect();
    views.sort_by_key(|view| view.commit);
    let mut lost_deletes: Vec<(u64, u8)> = writes
        .iter()
        .enumerate()
        .filter(|(at, _)| !observations.commit.contains_key(at))
        .flat_map(|(_, write)| write.effects.iter().filter(|e| e.version.is_none()).map(|e| (write.called, e.doc)))
        .collect();
    let mut held: HashMap<u8, (u64, u64)> = HashMap::new();
    let mut next = numbered.iter().peekable();
    for view in views {
        while let Some((commit, at)) = next.next_if(|(commit, _)| **commit <= view.commit) {
            for effect in &writes[*at].effects {
                match effect.version {
                    Some(version) if !effect.maybe || observations.returned_versions.contains_key(&version) => {
                        held.insert(effect.doc, (version, *commit));
                    }
                    Some(_) => {}
                    None => drop(held.remove(&effect.doc)),
                }
            }
        }
        for (doc, observed) in &view.docs {
            let there = held.get(doc).copied();
            if there == *observed {
                continue;
            }
            let explains = |(called, of): &(u64, u8)| of == doc && *called < view.returned;
            match lost_deletes.iter().position(explains) {
                Some(at) if observed.is_none() => {
                    lost_deletes.remove(at);
                    held.remove(doc);
                }
                _ => {
                    let (called, commit) = (view.called, view.commit);
                    return Err(format!(
                        "the view called at {called} of commit {commit} has {observed:?} for document {doc}, not {there:?}"
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
