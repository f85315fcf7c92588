//! Lists of eligible documents, page by page in the order of ids, and what they tell of documents that are held back.

use super::{Eligible, EligiblePart, Snapshot};
use crate::{Error, Quarantine, index::Index};
use kernel::{Attributes, Document, DocumentId, Status, Untrusted};
use std::collections::HashSet;

/// Which eligible documents to list, and what of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listed<'a> {
    /// Only these.
    pub ids: Option<&'a [DocumentId]>,
    /// Only ids after this one.
    pub after: Option<&'a DocumentId>,
    /// How many.
    pub limit: usize,
    /// With their text.
    pub text: bool,
    /// With their vectors.
    pub vectors: bool,
    /// What becomes of the content of quarantined ones.
    pub quarantine: Quarantine,
}

impl Snapshot {
    /// Eligible documents in the order of ids: those behind `after`, at most `limit`, and such as share the id of the
    /// last of them; how many are eligible in all, whatever `after`; whether more follow. With `ids`, only those.
    /// Without `text` and `vectors` they are heads.
    ///
    /// # Errors
    /// When a document does not read.
    pub fn list(&self, eligible: &Eligible, wanted: &Listed<'_>) -> Result<(Vec<Document>, u64, bool), Error> {
        let Listed { ids, after, limit, text, vectors, quarantine } = *wanted;
        let mut found = match ids {
            Some(ids) => self.named(eligible, ids)?,
            None => self.first(eligible, after, limit)?,
        };
        let total = match ids {
            Some(_) => found.len() as u64,
            None => eligible.parts.iter().map(|here| here.docs().len()).sum(),
        };
        found.retain(|(id, ..)| after.is_none_or(|after| id.as_str() > after.as_str()));
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let same = |at: usize| matches!(found.get(at - 1..=at), Some([(a, ..), (b, ..)]) if a.as_str() == b.as_str());
        let end = (limit..found.len()).find(|at| *at == 0 || !same(*at)).unwrap_or(found.len());
        let more = found.len() > end;
        found.truncate(end);
        let read = |(_, part, doc): (DocumentId, usize, u32)| {
            let segment = &self.view.parts[part].index;
            Ok(withheld(self.noted(read(segment, doc, text, vectors))?, quarantine))
        };
        Ok((found.into_iter().map(read).collect::<Result<_, Error>>()?, total, more))
    }

    /// The eligible ones of these ids, once each.
    fn named(&self, eligible: &Eligible, ids: &[DocumentId]) -> Result<Vec<(DocumentId, usize, u32)>, Error> {
        let parts: Vec<&EligiblePart> = self.parts_of(eligible).map(|(.., here)| here).collect();
        let mut found = Vec::new();
        for id in ids.iter().collect::<HashSet<_>>() {
            for (part, doc) in self.view.named(id) {
                if parts.get(part).is_some_and(|here| here.docs().contains(doc)) {
                    found.push((self.noted(self.view.parts[part].index.id_of(doc))?, part, doc));
                }
            }
        }
        Ok(found)
    }

    /// The first `limit + 1` of every part, and what shares the id of the last of them: among them are the first of all.
    fn first(
        &self,
        eligible: &Eligible,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<(DocumentId, usize, u32)>, Error> {
        let mut found: Vec<(DocumentId, usize, u32)> = Vec::new();
        for (at, (_, part, here)) in self.parts_of(eligible).enumerate() {
            let start = match after {
                Some(after) => self.noted(behind(&part.index, after))?,
                None => 0,
            };
            let before = found.len();
            for doc in here.docs().range(start..) {
                let id = self.noted(part.index.id_of(doc))?;
                let enough = found.len() - before > limit;
                if enough && found.last().is_none_or(|(last, ..)| last.as_str() != id.as_str()) {
                    break;
                }
                found.push((id, at, doc));
            }
        }
        Ok(found)
    }
}

/// The first document number after all of an id. Segments are in the order of keys.
fn behind(segment: &Index, after: &DocumentId) -> Result<u32, segment::Error> {
    let (mut low, mut high) = (0, segment.documents());
    while low < high {
        let middle = low + (high - low) / 2;
        if segment.id_of(middle)?.as_str() <= after.as_str() { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// What is told of a document whose content is withheld. Its commit and hash are for who reviews it.
pub(super) fn withheld(document: Document, quarantine: Quarantine) -> Document {
    if document.status != Status::Quarantined || quarantine == Quarantine::Shown {
        return document;
    }
    Document {
        title: Untrusted::default(),
        uri: Untrusted::default(),
        attributes: Attributes::new(),
        readers: None,
        content_hash: [0; 32],
        text: Untrusted::default(),
        passages: Vec::new(),
        vectors: Vec::new(),
        ..document
    }
}

fn read(segment: &Index, doc: u32, text: bool, vectors: bool) -> Result<Document, Error> {
    if !text && !vectors {
        return Ok(segment.head(doc)?);
    }
    let mut document = segment.document(doc, vectors)?;
    if !text {
        document.text = Untrusted::default();
    }
    Ok(document)
}
