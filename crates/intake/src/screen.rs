//! Screens documents for personal data, for credentials, and for text that tries to instruct a model.
//!
//! Promises that every stream of a document is screened (visible text, hidden text, title, URI, string attributes), the
//! title also together with the start of each passage, as a prompt shows them; that what the policy masks is removed
//! from everything that is stored; and that a finding contains a rule's name and a count but never the text. Rules
//! match templates, so an ordinary sentence that happens to be an order to a model passes. Attribute keys and ids are
//! names that the caller chose, and are not screened.

mod checks;
mod encoded;
mod injection;
mod joint;
mod mask;
mod personal;
mod phrases;
mod rules;
mod secrets;
mod unicode;

use crate::parse::{DocumentFields, Draft, HiddenKind};
use kernel::{DocumentId, Finding, FindingKind, Passage, ScreenAction, Screening, Severity, Span, Status, Untrusted};
use rules::Rule;
use std::{collections::BTreeMap, fmt};

pub(crate) use joint::screen_joints;
pub(crate) use mask::scan_and_mask;

/// A screened document. Only [`screen`] makes it.
pub struct Screened {
    pub(crate) fields: DocumentFields,
    pub(crate) vector: Option<Vec<f32>>,
    pub(crate) text: String,
    pub(crate) headings: Vec<usize>,
    pub(crate) passages: Vec<Passage>,
    /// Prefix of each passage for embedding; set by `chunk`.
    pub(crate) prefix: String,
    /// Tokens of `prefix`.
    pub(crate) prefix_tokens: u32,
    findings: Vec<Finding>,
    policy: Screening,
}

/// Result of screening a document.
#[expect(clippy::large_enum_variant, reason = "nearly every document is the large one")]
pub enum Verdict {
    /// The document may be stored, perhaps quarantined.
    Screened(Screened),
    /// The policy rejects the document because of its findings; it is not stored.
    Rejected {
        /// Id of the document, if the caller gave one.
        id: Option<DocumentId>,
        /// Findings of the screens.
        findings: Vec<Finding>,
    },
}

/// The parts of [`Screened`] that are stored.
pub(crate) struct ScreenedParts {
    pub(crate) fields: DocumentFields,
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

/// Screens a draft under the namespace's policy.
pub fn screen(draft: Draft, policy: &Screening) -> Verdict {
    let Draft { id, mut fields, vector, mut content } = draft;
    let mut report = ScreenReport::new(*policy);
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
        policy: *policy,
    })
}

impl Screened {
    /// Texts that the model embeds, in reading order: each is the title and a passage's text. Empty before
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

    /// Number of passages that [`Screened::chunk`] has made.
    pub fn passage_count(&self) -> usize {
        self.passages.len()
    }

    /// Findings of the screens.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether the policy rejects the document. [`Screened::chunk`] screens the title and each passage together, as a
    /// prompt shows them, so it may find more than [`screen`] did. A rejected document is never admitted.
    pub fn is_rejected(&self) -> bool {
        self.findings.iter().any(|f| f.action == ScreenAction::Reject)
    }

    /// Quarantined if the action of a finding is to quarantine, otherwise indexed.
    pub fn status(&self) -> Status {
        let held = self.findings.iter().any(|f| f.action == ScreenAction::Quarantine);
        if held { Status::Quarantined } else { Status::Indexed }
    }

    /// Length of the visible text in bytes.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The caller's own vector, if there is one.
    pub fn own_vector(&self) -> Option<&[f32]> {
        self.vector.as_deref()
    }

    /// Tokens that embedding costs: those of every passage and of its prefix.
    pub fn tokens(&self) -> u64 {
        self.passages.iter().map(|p| u64::from(p.tokens) + u64::from(self.prefix_tokens)).sum()
    }

    pub(crate) fn chunked_passages(&self) -> &[Passage] {
        &self.passages
    }

    pub(crate) fn into_parts(self) -> ScreenedParts {
        ScreenedParts { fields: self.fields, text: self.text.into(), passages: self.passages, findings: self.findings }
    }
}

/// Origin of a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The document's text.
    Visible,
    /// Title, URI or an attribute.
    Field,
    /// Text that readers do not see.
    Hidden(HiddenKind),
}

/// Findings collected so far, one for each rule.
pub(crate) struct ScreenReport {
    policy: Screening,
    found: BTreeMap<&'static str, (&'static Rule, u32)>,
}

impl ScreenReport {
    pub(crate) fn new(policy: Screening) -> Self {
        Self { policy, found: BTreeMap::new() }
    }

    /// Action of the policy on a rule. Weak injection findings are recorded at most.
    fn action(&self, rule: &Rule) -> ScreenAction {
        let action = self.policy.action(rule.kind);
        if rule.kind == FindingKind::Injection && rule.severity < Severity::High {
            action.min(ScreenAction::Tag)
        } else {
            action
        }
    }

    /// Whether the policy requires screening for this kind.
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

/// Merges a finding into a list with one finding for each rule.
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
