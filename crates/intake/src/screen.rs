//! The screens: personal data, credentials, and text that tries to instruct a model.
//!
//! Promises that every stream of a document was looked at (visible, hidden, title, uri, string
//! attributes), that what the policy masks is gone from all that is stored, and that a finding
//! holds a rule's name and a count but never the text. Rules catch templates; an ordinary
//! sentence that happens to be an order to a model passes. Keys of attributes and ids are names
//! that the caller chose and are not screened.

mod checks;
mod encoded;
mod injection;
mod mask;
mod personal;
mod phrases;
mod rules;
mod secrets;
mod unicode;

use crate::parse::{Draft, Fields, HiddenKind};
use kernel::{DocumentId, Finding, FindingKind, Passage, ScreenAction, Screening, Severity, Span, Status, Untrusted};
use rules::Rule;
use std::{collections::BTreeMap, fmt};

pub(crate) use mask::scan_and_mask;

/// Text that the screens have seen. Made by [`screen`] alone.
pub struct Screened {
    pub(crate) fields: Fields,
    pub(crate) vector: Option<Vec<f32>>,
    pub(crate) text: String,
    pub(crate) headings: Vec<usize>,
    pub(crate) passages: Vec<Passage>,
    /// What is put before each passage for embedding; set by `chunk`.
    pub(crate) prefix: String,
    /// Tokens of `prefix`.
    pub(crate) prefix_tokens: u32,
    findings: Vec<Finding>,
}

/// What screening leads to.
#[expect(clippy::large_enum_variant, reason = "nearly every document is the large one")]
pub enum Verdict {
    /// To be stored, perhaps held back.
    Screened(Screened),
    /// Not to be stored: the policy rejects what was found.
    Rejected {
        /// The id that was given, if one was.
        id: Option<DocumentId>,
        /// What was found.
        findings: Vec<Finding>,
    },
}

/// What [`Screened`] leaves behind when it is stored.
pub(crate) struct Parts {
    pub(crate) fields: Fields,
    pub(crate) text: Untrusted,
    pub(crate) passages: Vec<Passage>,
    pub(crate) findings: Vec<Finding>,
}

impl fmt::Debug for Screened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screened")
            .field("text_bytes", &self.text.len())
            .field("passages", &self.passages.len())
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Screened(screened) => screened.fmt(f),
            Verdict::Rejected { id, findings } => {
                f.debug_struct("Rejected").field("id", id).field("findings", findings).finish()
            }
        }
    }
}

/// Screens a draft as the namespace's policy says.
pub fn screen(draft: Draft, policy: &Screening) -> Verdict {
    let Draft { id, mut fields, vector, mut content } = draft;
    let mut report = Report::new(*policy);
    for (kind, text) in content.hidden.pieces() {
        mask::scan(text, Stream::Hidden(kind), &mut report);
    }
    fields.title = Untrusted::new(scan_and_mask(fields.title.expose(), Stream::Field, &mut report));
    fields.uri = Untrusted::new(scan_and_mask(fields.uri.expose(), Stream::Field, &mut report));
    fields.attributes.values_mut().for_each(|value| crate::patch::screen_value(value, &mut report));
    let edits = mask::scan(&content.text, Stream::Visible, &mut report);
    if !edits.is_empty() {
        mask::shift(&mut content.headings, &edits);
        content.text = mask::apply(&content.text, &edits);
    }
    let findings = report.into_findings();
    if findings.iter().any(|f| f.action == ScreenAction::Reject) {
        return Verdict::Rejected { id, findings };
    }
    Verdict::Screened(Screened {
        fields,
        vector,
        text: content.text,
        headings: content.headings,
        passages: Vec::new(),
        prefix: String::new(),
        prefix_tokens: 0,
        findings,
    })
}

impl Screened {
    /// What the model embeds, in reading order: the title and the passage's text. Empty before
    /// [`Screened::chunk`].
    pub fn passages(&self) -> Vec<Untrusted> {
        let text = |span: &Span| &self.text[span.byte_start as usize..span.byte_end as usize];
        let title = self.fields.title.expose();
        let with_prefix = |text: &str| {
            let named = self.prefix.is_empty() || text.starts_with(title);
            Untrusted::new(if named { text.to_owned() } else { format!("{}{text}", self.prefix) })
        };
        self.passages.iter().map(|p| with_prefix(text(&p.span))).collect()
    }

    /// How many passages [`Screened::chunk`] has made.
    pub fn passages_cut(&self) -> usize {
        self.passages.len()
    }

    /// What the screens found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Quarantined when a finding's action says so, else indexed.
    pub fn status(&self) -> Status {
        let held = self.findings.iter().any(|f| f.action == ScreenAction::Quarantine);
        if held { Status::Quarantined } else { Status::Indexed }
    }

    /// Bytes of visible text.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The caller's own vector.
    pub fn own_vector(&self) -> Option<&[f32]> {
        self.vector.as_deref()
    }

    /// Tokens that embedding costs: those of every passage, and of the title before each.
    pub fn tokens(&self) -> u64 {
        self.passages.iter().map(|p| u64::from(p.tokens) + u64::from(self.prefix_tokens)).sum()
    }

    pub(crate) fn cut(&self) -> &[Passage] {
        &self.passages
    }

    pub(crate) fn into_parts(self) -> Parts {
        Parts { fields: self.fields, text: self.text.into(), passages: self.passages, findings: self.findings }
    }
}

/// Where a piece of text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The document's text.
    Visible,
    /// Title, uri or an attribute.
    Field,
    /// Kept from readers.
    Hidden(HiddenKind),
}

/// Findings as they gather, one per rule.
pub(crate) struct Report {
    policy: Screening,
    found: BTreeMap<&'static str, (&'static Rule, u32)>,
}

impl Report {
    pub(crate) fn new(policy: Screening) -> Self {
        Self { policy, found: BTreeMap::new() }
    }

    /// What the policy does about a rule. Weak injection findings are recorded at most.
    fn action(&self, rule: &Rule) -> ScreenAction {
        let action = self.policy.action(rule.kind);
        if rule.kind == FindingKind::Injection && rule.severity < Severity::High {
            action.min(ScreenAction::Tag)
        } else {
            action
        }
    }

    /// Whether a kind is looked for at all.
    fn wants(&self, kind: FindingKind) -> bool {
        self.policy.action(kind) != ScreenAction::Allow
    }

    fn count(&mut self, rule: &'static Rule) {
        let (_, count) = self.found.entry(rule.name).or_insert((rule, 0));
        *count = count.saturating_add(1);
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let finding = |(rule, count): &(&'static Rule, u32)| Finding {
            kind: rule.kind,
            rule: rule.name.to_owned(),
            severity: rule.severity,
            count: *count,
            action: self.action(rule),
        };
        self.found.values().map(finding).collect()
    }
}

/// Joins a finding to a list that has one per rule.
pub(crate) fn merge_finding(list: &mut Vec<Finding>, new: &Finding, counts: fn(u32, u32) -> u32) {
    match list.iter_mut().find(|old| old.rule == new.rule) {
        Some(old) => {
            old.count = counts(old.count, new.count);
            old.severity = old.severity.max(new.severity);
            old.action = old.action.max(new.action);
        }
        None => list.push(new.clone()),
    }
}

#[cfg(test)]
mod tests;
