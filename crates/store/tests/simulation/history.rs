//! What clients called and what they were told, by namespace; and what the judges say of it.

use crate::{
    checker::{self, Deed, Op, Verdict},
    commits::{self, Effect},
    world::{DOCS, doc_of, version_in},
};
use kernel::{Document, NamespaceUuid};
use std::{collections::BTreeMap, sync::Arc};
use vault::Home;

/// Everything that happened in a run. Times are numbers of events.
#[derive(Default)]
pub(crate) struct History {
    events: u64,
    pub(crate) places: Vec<Place>,
    /// Where each version belongs.
    versions: Vec<(usize, u8)>,
    /// What no judge is needed for.
    pub(crate) faults: Vec<String>,
    /// A number that differs when anything did.
    digest: u64,
    /// Reads may be of any earlier moment, as where nobody asks who owns a place.
    stale_reads: bool,
}

/// One life of a namespace.
pub(crate) struct Place {
    pub(crate) tenant: &'static str,
    pub(crate) name: &'static str,
    pub(crate) home: Arc<Home>,
    pub(crate) tag: String,
    /// When its deletion began; what returns later is not judged.
    pub(crate) gone: Option<u64>,
    writes: Vec<Write>,
    views: Vec<commits::View>,
    searches: Vec<(usize, Op)>,
}

struct Write {
    called: u64,
    intents: Vec<Intent>,
    end: End,
}

/// What a write asked for one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intent {
    pub(crate) doc: u8,
    pub(crate) want: Want,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Put(u64),
    PutIfAbsent(u64),
    Delete,
}

/// What the caller was told.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Nothing, or that nobody knows.
    Unknown,
    /// That it did not happen.
    Refused,
    /// That it happened, as which commit, and of each intent whether it changed something.
    Done { commit: u64, changed: Vec<bool> },
    /// The same, with the time.
    Told { returned: u64, commit: u64, changed: Vec<bool> },
}

impl History {
    pub(crate) fn new(stale_reads: bool) -> Self {
        Self { stale_reads, ..Self::default() }
    }

    /// A new namespace.
    pub(crate) fn place(&mut self, tenant: &'static str, name: &'static str, home: Arc<Home>) -> usize {
        let at = self.places.len();
        let tag = format!("{tenant}{name}{at}");
        let (writes, views, searches) = (Vec::new(), Vec::new(), Vec::new());
        self.places.push(Place { tenant, name, home, tag, gone: None, writes, views, searches });
        at
    }

    pub(crate) fn version(&mut self, place: usize, doc: u8) -> u64 {
        self.versions.push((place, doc));
        self.versions.len() as u64
    }

    /// A moment.
    pub(crate) fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// A write is called. Until it ends nobody knows of it.
    pub(crate) fn write(&mut self, place: usize, intents: Vec<Intent>) -> usize {
        let called = self.event();
        self.mix(&[1, place as u64, called]);
        let writes = &mut self.places[place].writes;
        writes.push(Write { called, intents, end: End::Unknown });
        writes.len() - 1
    }

    pub(crate) fn end(&mut self, place: usize, write: usize, end: End) {
        let returned = self.event();
        self.mix(&[2, returned, u64::from(matches!(end, End::Refused))]);
        let late = self.places[place].gone.is_some();
        let end = match end {
            End::Done { commit, changed } if !late => End::Told { returned, commit, changed },
            // After a deletion nobody can look any more.
            End::Done { .. } => End::Unknown,
            other => other,
        };
        self.places[place].writes[write].end = end;
    }

    /// A view of some or all documents at one commit.
    pub(crate) fn view(&mut self, place: usize, called: u64, commit: u64, asked: &[u8], found: &[Document]) {
        let returned = self.event();
        let called = if self.stale_reads { 0 } else { called };
        self.mix(&[3, returned, commit, found.len() as u64]);
        let mut docs: BTreeMap<u8, Option<(u64, u64)>> = asked.iter().map(|doc| (*doc, None)).collect();
        for document in found {
            let version = self.belongs(place, document.id.as_str(), document.text.expose());
            docs.insert(doc_of(&document.id), version.map(|version| (version, document.commit.0)));
        }
        if self.places[place].gone.is_none() {
            self.places[place].views.push(commits::View { called, returned, commit, docs });
        }
    }

    /// A search for a version's word.
    pub(crate) fn search(&mut self, place: usize, called: u64, commit: u64, version: u64, found: bool) {
        let returned = self.event();
        let called = if self.stale_reads { 0 } else { called };
        self.mix(&[4, returned, commit, version, u64::from(found)]);
        let (_, doc) = self.versions[usize::try_from(version - 1).unwrap()];
        if self.places[place].gone.is_none() {
            let deed = Deed::Has { version, found };
            let place = &mut self.places[place];
            place.searches.push((doc.into(), Op { called, returned: Some(returned), deed }));
            place.views.push(commits::View { called, returned, commit, docs: BTreeMap::new() });
        }
    }

    /// The version in a text that was found in a namespace, if it is one of its own.
    pub(crate) fn belongs(&mut self, place: usize, id: &str, text: &str) -> Option<u64> {
        let version = version_in(text);
        let origin = version.and_then(|v| self.versions.get(usize::try_from(v).ok()?.checked_sub(1)?)).copied();
        let tagged = text.split_whitespace().next() == Some(&self.places[place].tag);
        let fits = origin.is_some_and(|(of, doc)| of == place && id == format!("doc-{doc}"));
        if fits && tagged {
            return version;
        }
        self.faults
            .push(format!("CROSSED: {} shows {id} with version {version:?} of {origin:?}", self.places[place].tag));
        None
    }

    /// A version that was written to a place, or tried.
    pub(crate) fn recent(&self, place: usize, back: usize) -> Option<(u8, u64)> {
        let versions = self.versions.iter().enumerate().rev().filter(|(_, (of, _))| *of == place);
        versions.map(|(at, (_, doc))| (*doc, at as u64 + 1)).nth(back)
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Acknowledged, refused, unknown.
    pub(crate) fn tally(&self) -> [u64; 3] {
        let mut tally = [0; 3];
        for write in self.places.iter().flat_map(|place| &place.writes) {
            tally[match write.end {
                End::Told { .. } | End::Done { .. } => 0,
                End::Refused => 1,
                End::Unknown => 2,
            }] += 1;
        }
        tally
    }

    /// Whether the last write was acknowledged and then read.
    pub(crate) fn works(&self, place: usize) -> bool {
        let place = &self.places[place];
        let Some(Write { end: End::Told { returned, .. }, .. }) = place.writes.last() else { return false };
        place.views.last().is_some_and(|view| view.returned > *returned)
    }

    /// Commits of a place that were acknowledged.
    pub(crate) fn acknowledged(&self, place: usize) -> Vec<(NamespaceUuid, u64)> {
        let place = &self.places[place];
        let commit = |write: &Write| if let End::Told { commit, .. } = write.end { Some(commit) } else { None };
        place.writes.iter().filter_map(commit).map(|commit| (place.home.uuid(), commit)).collect()
    }

    /// What is wrong, if anything.
    pub(crate) fn judge(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for place in &self.places {
            if let Err(why) = commits::check(&place.commits(), &place.views) {
                faults.push(format!("{}: {why}", place.tag));
            }
            for doc in 0..DOCS {
                match checker::check(&place.ops(doc)) {
                    Verdict::Fine => {}
                    verdict => faults.push(format!(
                        "{}, document {doc}: {verdict:?}\n{}",
                        place.tag,
                        place.tell(doc, &verdict)
                    )),
                }
            }
        }
        faults
    }

    fn mix(&mut self, values: &[u64]) {
        for value in values {
            self.digest = (self.digest ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        }
    }
}

impl Place {
    fn commits(&self) -> Vec<commits::Write> {
        let counts = self.writes.iter().filter(|write| !matches!(write.end, End::Refused));
        counts.map(Write::as_commit).collect()
    }

    /// What was done to one document, as a register sees it.
    fn ops(&self, doc: u8) -> Vec<Op> {
        let mut ops: Vec<Op> = Vec::new();
        for write in &self.writes {
            for (at, intent) in write.intents.iter().enumerate().filter(|(_, intent)| intent.doc == doc) {
                ops.extend(write.as_op(intent.want, at));
            }
        }
        for view in &self.views {
            if let Some(saw) = view.docs.get(&doc) {
                let deed = Deed::Read(saw.map(|(version, _)| version));
                ops.push(Op { called: view.called, returned: Some(view.returned), deed });
            }
        }
        ops.extend(self.searches.iter().filter(|(of, _)| *of == usize::from(doc)).map(|(_, op)| *op));
        ops
    }

    /// The operations around the one that does not fit.
    fn tell(&self, doc: u8, verdict: &Verdict) -> String {
        let Verdict::Wrong { stuck_at } = verdict else { return String::new() };
        let mut ops = self.ops(doc);
        ops.sort_by_key(|op| op.called);
        let at = ops.iter().position(|op| op == stuck_at).unwrap_or(0);
        let near = &ops[at.saturating_sub(12)..ops.len().min(at + 4)];
        near.iter().map(|op| format!("  {op:?}\n")).collect()
    }
}

impl Write {
    fn as_op(&self, want: Want, at: usize) -> Option<Op> {
        let (returned, changed) = match &self.end {
            End::Refused => return None,
            End::Told { returned, changed, .. } => (Some(*returned), Some(changed[at])),
            End::Unknown | End::Done { .. } => (None, None),
        };
        let deed = match want {
            Want::Put(version) => Deed::Put(version),
            Want::PutIfAbsent(version) => Deed::PutIfAbsent { version, stored: changed },
            Want::Delete => Deed::Delete { was: changed },
        };
        Some(Op { called: self.called, returned, deed })
    }

    fn as_commit(&self) -> commits::Write {
        let told = match &self.end {
            End::Told { returned, commit, changed } => Some((*returned, *commit, changed)),
            _ => None,
        };
        let mut effects = Vec::new();
        for (at, intent) in self.intents.iter().enumerate() {
            let changed = told.is_none_or(|(.., changed)| changed[at]);
            let version = match intent.want {
                Want::Put(version) | Want::PutIfAbsent(version) => Some(version),
                Want::Delete => None,
            };
            let maybe = told.is_none() && matches!(intent.want, Want::PutIfAbsent(_));
            if changed {
                effects.push(Effect { doc: intent.doc, version, maybe });
            }
        }
        commits::Write { called: self.called, done: told.map(|(returned, commit, _)| (returned, commit)), effects }
    }
}
