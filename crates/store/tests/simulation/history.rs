//! What clients called and which answers they got, per namespace; and the verdicts of the checkers.

use crate::{
    checker::{self, Action, Op, Verdict},
    commits::{self, Effect},
    env::{DOCS, doc_of, version_in},
};
use kernel::{Document, NamespaceUuid};
use std::{collections::BTreeMap, sync::Arc};
use vault::Keyspace;

/// Everything that happened in a run. Times are numbers of events.
#[derive(Default)]
pub(crate) struct History {
    events: u64,
    pub(crate) instances: Vec<NamespaceInstance>,
    /// Instance and document of each version.
    versions: Vec<(usize, u8)>,
    /// Faults that need no checker.
    pub(crate) faults: Vec<String>,
    /// Digest that differs if anything differed.
    digest: u64,
    /// Whether reads may return any earlier state, because ownership is not checked before a read.
    stale_reads: bool,
}

/// One instance of a namespace, from its creation to its deletion.
pub(crate) struct NamespaceInstance {
    pub(crate) tenant: &'static str,
    pub(crate) name: &'static str,
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) tag: String,
    /// Event at which its deletion began; operations that return later are not checked.
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

/// What a write requested for one document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intent {
    pub(crate) doc: u8,
    pub(crate) kind: IntentKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntentKind {
    Put(u64),
    PutIfAbsent(u64),
    Delete,
}

/// Answer that the caller got.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// No answer, or an unknown outcome.
    Unknown,
    /// The write did not happen.
    Refused,
    /// The write happened as this commit; for each intent, whether it changed something.
    Done { commit: u64, changed: Vec<bool> },
    /// Like `Done`, with the event of the return.
    Acknowledged { returned: u64, commit: u64, changed: Vec<bool> },
}

impl History {
    pub(crate) fn new(stale_reads: bool) -> Self {
        Self { stale_reads, ..Self::default() }
    }

    /// Adds a new namespace instance.
    pub(crate) fn instance(&mut self, tenant: &'static str, name: &'static str, keyspace: Arc<Keyspace>) -> usize {
        let at = self.instances.len();
        let tag = format!("{tenant}{name}{at}");
        let (writes, views, searches) = (Vec::new(), Vec::new(), Vec::new());
        self.instances.push(NamespaceInstance { tenant, name, keyspace, tag, gone: None, writes, views, searches });
        at
    }

    pub(crate) fn version(&mut self, instance: usize, doc: u8) -> u64 {
        self.versions.push((instance, doc));
        self.versions.len() as u64
    }

    /// Returns the number of a new event.
    pub(crate) fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Records the call of a write. Its outcome is unknown until it ends.
    pub(crate) fn write(&mut self, instance: usize, intents: Vec<Intent>) -> usize {
        let called = self.event();
        self.mix(&[1, instance as u64, called]);
        let writes = &mut self.instances[instance].writes;
        writes.push(Write { called, intents, end: End::Unknown });
        writes.len() - 1
    }

    pub(crate) fn end(&mut self, instance: usize, write: usize, end: End) {
        let returned = self.event();
        self.mix(&[2, returned, u64::from(matches!(end, End::Refused))]);
        let late = self.instances[instance].gone.is_some();
        let end = match end {
            End::Done { commit, changed } if !late => End::Acknowledged { returned, commit, changed },
            // After a deletion the outcome can no longer be observed.
            End::Done { .. } => End::Unknown,
            other => other,
        };
        self.instances[instance].writes[write].end = end;
    }

    /// Records a read of some or all documents at one commit.
    pub(crate) fn view(&mut self, instance: usize, called: u64, commit: u64, requested: &[u8], found: &[Document]) {
        let returned = self.event();
        let called = if self.stale_reads { 0 } else { called };
        self.mix(&[3, returned, commit, found.len() as u64]);
        let mut docs: BTreeMap<u8, Option<(u64, u64)>> = requested.iter().map(|doc| (*doc, None)).collect();
        for document in found {
            let version = self.belongs(instance, document.id.as_str(), document.text.expose());
            docs.insert(doc_of(&document.id), version.map(|version| (version, document.commit.0)));
        }
        if self.instances[instance].gone.is_none() {
            self.instances[instance].views.push(commits::View { called, returned, commit, docs });
        }
    }

    /// Records a search for a version's word.
    pub(crate) fn search(&mut self, instance: usize, called: u64, commit: u64, version: u64, found: bool) {
        let returned = self.event();
        let called = if self.stale_reads { 0 } else { called };
        self.mix(&[4, returned, commit, version, u64::from(found)]);
        let (_, doc) = self.versions[usize::try_from(version - 1).unwrap()];
        if self.instances[instance].gone.is_none() {
            let action = Action::Has { version, found };
            let instance = &mut self.instances[instance];
            instance.searches.push((doc.into(), Op { called, returned: Some(returned), action }));
            instance.views.push(commits::View { called, returned, commit, docs: BTreeMap::new() });
        }
    }

    /// The version in a text that was found in an instance, if it is one of its own.
    pub(crate) fn belongs(&mut self, instance: usize, id: &str, text: &str) -> Option<u64> {
        let version = version_in(text);
        let origin = version.and_then(|v| self.versions.get(usize::try_from(v).ok()?.checked_sub(1)?)).copied();
        let tagged = text.split_whitespace().next() == Some(&self.instances[instance].tag);
        let fits = origin.is_some_and(|(of, doc)| of == instance && id == format!("doc-{doc}"));
        if fits && tagged {
            return version;
        }
        self.faults.push(format!(
            "CROSSED: {} shows {id} with version {version:?} of {origin:?}",
            self.instances[instance].tag
        ));
        None
    }

    /// A version that was written to an instance, or attempted.
    pub(crate) fn recent(&self, instance: usize, back: usize) -> Option<(u8, u64)> {
        let versions = self.versions.iter().enumerate().rev().filter(|(_, (of, _))| *of == instance);
        versions.map(|(at, (_, doc))| (*doc, at as u64 + 1)).nth(back)
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Numbers of acknowledged, refused and unknown writes.
    pub(crate) fn write_counts(&self) -> [u64; 3] {
        let mut write_counts = [0; 3];
        for write in self.instances.iter().flat_map(|instance| &instance.writes) {
            write_counts[match write.end {
                End::Acknowledged { .. } | End::Done { .. } => 0,
                End::Refused => 1,
                End::Unknown => 2,
            }] += 1;
        }
        write_counts
    }

    /// Whether the last write was acknowledged and then read.
    pub(crate) fn works(&self, instance: usize) -> bool {
        let instance = &self.instances[instance];
        let Some(Write { end: End::Acknowledged { returned, .. }, .. }) = instance.writes.last() else { return false };
        instance.views.last().is_some_and(|view| view.returned > *returned)
    }

    /// Acknowledged commits of an instance.
    pub(crate) fn acknowledged(&self, instance: usize) -> Vec<(NamespaceUuid, u64)> {
        let instance = &self.instances[instance];
        let commit = |write: &Write| if let End::Acknowledged { commit, .. } = write.end { Some(commit) } else { None };
        instance.writes.iter().filter_map(commit).map(|commit| (instance.keyspace.uuid(), commit)).collect()
    }

    /// All faults.
    pub(crate) fn all_faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for instance in &self.instances {
            if let Err(why) = commits::check(&instance.commits(), &instance.views) {
                faults.push(format!("{}: {why}", instance.tag));
            }
            for doc in 0..DOCS {
                match checker::check(&instance.ops(doc)) {
                    Verdict::Consistent => {}
                    verdict => faults.push(format!(
                        "{}, document {doc}: {verdict:?}\n{}",
                        instance.tag,
                        instance.describe(doc, &verdict)
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

impl NamespaceInstance {
    fn commits(&self) -> Vec<commits::Write> {
        let counts = self.writes.iter().filter(|write| !matches!(write.end, End::Refused));
        counts.map(Write::as_commit).collect()
    }

    /// What was done to one document, as operations on a register.
    fn ops(&self, doc: u8) -> Vec<Op> {
        let mut ops: Vec<Op> = Vec::new();
        for write in &self.writes {
            for (at, intent) in write.intents.iter().enumerate().filter(|(_, intent)| intent.doc == doc) {
                ops.extend(write.as_op(intent.kind, at));
            }
        }
        for view in &self.views {
            if let Some(observed) = view.docs.get(&doc) {
                let action = Action::Read(observed.map(|(version, _)| version));
                ops.push(Op { called: view.called, returned: Some(view.returned), action });
            }
        }
        ops.extend(self.searches.iter().filter(|(of, _)| *of == usize::from(doc)).map(|(_, op)| *op));
        ops
    }

    /// The operations around the one that does not fit.
    fn describe(&self, doc: u8, verdict: &Verdict) -> String {
        let Verdict::Inconsistent { failed_at } = verdict else { return String::new() };
        let mut ops = self.ops(doc);
        ops.sort_by_key(|op| op.called);
        let at = ops.iter().position(|op| op == failed_at).unwrap_or(0);
        let near = &ops[at.saturating_sub(12)..ops.len().min(at + 4)];
        near.iter().map(|op| format!("  {op:?}\n")).collect()
    }
}

impl Write {
    fn as_op(&self, kind: IntentKind, at: usize) -> Option<Op> {
        let (returned, changed) = match &self.end {
            End::Refused => return None,
            End::Acknowledged { returned, changed, .. } => (Some(*returned), Some(changed[at])),
            End::Unknown | End::Done { .. } => (None, None),
        };
        let action = match kind {
            IntentKind::Put(version) => Action::Put(version),
            IntentKind::PutIfAbsent(version) => Action::PutIfAbsent { version, stored: changed },
            IntentKind::Delete => Action::Delete { was: changed },
        };
        Some(Op { called: self.called, returned, action })
    }

    fn as_commit(&self) -> commits::Write {
        let acknowledged_as = match &self.end {
            End::Acknowledged { returned, commit, changed } => Some((*returned, *commit, changed)),
            _ => None,
        };
        let mut effects = Vec::new();
        for (at, intent) in self.intents.iter().enumerate() {
            let changed = acknowledged_as.is_none_or(|(.., changed)| changed[at]);
            let version = match intent.kind {
                IntentKind::Put(version) | IntentKind::PutIfAbsent(version) => Some(version),
                IntentKind::Delete => None,
            };
            let maybe = acknowledged_as.is_none() && matches!(intent.kind, IntentKind::PutIfAbsent(_));
            if changed {
                effects.push(Effect { doc: intent.doc, version, maybe });
            }
        }
        commits::Write {
            called: self.called,
            done: acknowledged_as.map(|(returned, commit, _)| (returned, commit)),
            effects,
        }
    }
}
