//! Reads what a reply shows of a snapshot: passages of a search, documents of a page.
//!
//! Guarantees that nothing is read that is not eligible or that the audience cannot see, and that the size of an entry
//! is known before it is read, so that a reply can stop at its limit.

use super::{Address, Eligible, Snapshot};
use crate::{
    Error, Quarantine,
    state::{live_segment::LiveSegment, version::Version},
};
use kernel::{
    Attributes, Audience, Document, DocumentId, Finding, Passage, Span, Status, Timestamp, Untrusted,
    attributes_heap_bytes, limits,
};
use segment::codec::Sizes;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

/// A passage as it is shown.
#[derive(Clone, Debug)]
pub struct PassageText {
    /// Id of its document.
    pub document_id: DocumentId,
    /// Number of the passage in the document, from 0.
    pub passage: u32,
    /// Title of the document.
    pub title: Untrusted,
    /// Uri of the document.
    pub uri: Untrusted,
    /// Text of the passage.
    pub text: Untrusted,
    /// Attributes of the document, shared by all its passages that one [`PassageReader`] has read.
    pub attributes: Arc<Attributes>,
    /// Span of the passage in the document's text.
    pub span: Span,
    /// Findings of the document.
    pub findings: Vec<Finding>,
    /// Length of the passage in tokens of the model.
    pub tokens: u32,
    /// Vector of the passage, if it was requested.
    pub vector: Option<Vec<f32>>,
}

/// Reads the passages of one reply. What passages of the same document share is read once.
pub struct PassageReader<'a> {
    snapshot: &'a Snapshot,
    eligible: &'a Eligible,
    attributes: bool,
    vectors: bool,
    /// Numbers of the passages that will be read, per document.
    requested: HashMap<(u32, u32), Vec<u32>>,
    documents: HashMap<(u32, u32), Arc<DocumentHead>>,
}

/// What the passages of a document share.
#[derive(Debug)]
struct DocumentHead {
    document_id: DocumentId,
    title: Untrusted,
    uri: Untrusted,
    findings: Vec<Finding>,
    attributes: Arc<Attributes>,
    /// Numbers and shapes of the passages that will be read, in ascending order.
    passages: Vec<(u32, Passage)>,
}

/// A passage that was found but not read yet.
#[derive(Debug)]
pub struct PassageHandle {
    at: Address,
    doc: u32,
    passage: u32,
    shape: Passage,
    head: Arc<DocumentHead>,
    /// Whether this reader had read nothing of its document before.
    is_first: bool,
}

impl PassageHandle {
    /// Heap bytes that reading it adds, including what was read to find it.
    pub fn heap_bytes(&self, dimensions: usize) -> u64 {
        let head = &*self.head;
        let findings: usize = head.findings.iter().map(|f| size_of::<Finding>() + f.rule.len()).sum();
        let own = self.text_bytes() as usize + dimensions * 4 + head.title.len() + head.uri.len() + findings + 512;
        let shared = || attributes_heap_bytes(&head.attributes) + size_of_val(head.passages.as_slice()) as u64;
        own as u64 + if self.is_first { shared() } else { 0 }
    }

    /// Length of its text in bytes.
    pub fn text_bytes(&self) -> u64 {
        u64::from(self.shape.span.byte_end.saturating_sub(self.shape.span.byte_start))
    }

    /// Attributes of its document.
    pub fn attributes(&self) -> &Arc<Attributes> {
        &self.head.attributes
    }
}

impl<'a> PassageReader<'a> {
    /// Prepares to read the passages at these addresses for this reader, with the attributes of their documents and
    /// with vectors if requested.
    pub fn new(
        snapshot: &'a Snapshot,
        eligible: &'a Eligible,
        addresses: impl IntoIterator<Item = Address>,
        attributes: bool,
        vectors: bool,
    ) -> Self {
        let mut passages =
            Self { snapshot, eligible, attributes, vectors, requested: HashMap::new(), documents: HashMap::new() };
        for at in addresses {
            // A passage that is not eligible is refused when it is read.
            if let Ok((_, doc, passage)) = passages.resolve(at) {
                passages.requested.entry((at.segment, doc)).or_default().push(passage);
            }
        }
        passages.requested.values_mut().for_each(|requested| requested.sort_unstable());
        passages
    }

    /// Lower bound for the bytes of its document's attributes, known before anything of the document is read; 0 if they
    /// were read already.
    ///
    /// # Errors
    /// [`Error::NotEligible`] if this reader may not see the passage.
    pub fn attributes_at_least(&self, at: Address) -> Result<u64, Error> {
        let (segment, doc, _) = self.resolve(at)?;
        if self.documents.contains_key(&(at.segment, doc)) {
            return Ok(0);
        }
        let rows = segment.index.rows_of(&[doc].into()).len();
        Ok(segment.index.sizes(doc).head.saturating_sub(HEAD_PASSAGE_BYTES * rows + HEAD_OTHERS_BYTES))
    }

    /// Finds a passage, without its text and vector.
    ///
    /// # Errors
    /// [`Error::NotEligible`] if this reader may not see the passage, or if its address was not given to
    /// [`PassageReader::new`]; fails if its document cannot be read.
    pub fn find(&mut self, at: Address) -> Result<PassageHandle, Error> {
        let (segment, doc, passage) = self.resolve(at)?;
        let known = self.documents.get(&(at.segment, doc)).cloned();
        let is_first = known.is_none();
        let head = match known {
            Some(head) => head,
            None => {
                let mut document = self.snapshot.checked(segment.index.head(doc))?;
                if !self.attributes {
                    document.attributes.clear();
                }
                let requested = self.requested.get(&(at.segment, doc)).map(Vec::as_slice).unwrap_or_default();
                let head = Arc::new(DocumentHead::of(document, requested));
                self.documents.insert((at.segment, doc), head.clone());
                head
            }
        };
        let position = head.passages.binary_search_by_key(&passage, |(n, _)| *n).map_err(|_| Error::NotEligible)?;
        let shape = head.passages[position].1;
        Ok(PassageHandle { at, doc, passage, shape, head, is_first })
    }

    /// Reads the passage's text and vector.
    ///
    /// # Errors
    /// Fails if its document cannot be read.
    pub fn read(&self, unread: PassageHandle) -> Result<PassageText, Error> {
        let PassageHandle { at, doc, passage, shape: Passage { span, tokens }, head, .. } = unread;
        let (segment, ..) = self.resolve(at)?;
        let text = self.snapshot.checked(segment.index.passage_text(doc, passage, span))?;
        let vector = match self.vectors {
            true => self.snapshot.checked(segment.index.row_vector(at.row, self.snapshot.dimensions()))?,
            false => None,
        };
        Ok(PassageText {
            document_id: head.document_id.clone(),
            passage,
            title: head.title.clone(),
            uri: head.uri.clone(),
            text,
            attributes: head.attributes.clone(),
            span,
            findings: head.findings.clone(),
            tokens,
            vector,
        })
    }

    fn resolve(&self, at: Address) -> Result<(&'a LiveSegment, u32, u32), Error> {
        let (segment, _) = self.snapshot.eligible_segment(self.eligible, at).ok_or(Error::NotEligible)?;
        let (doc, passage) = segment.index.row(at.row).ok_or(Error::NotEligible)?;
        Ok((segment, doc, passage))
    }
}

impl DocumentHead {
    fn of(doc: Document, requested: &[u32]) -> Self {
        let shape = |n: &u32| (*n, doc.passages.get(*n as usize).copied().unwrap_or_default());
        let passages = requested.iter().map(shape).collect();
        Self {
            passages,
            document_id: doc.id,
            title: doc.title,
            uri: doc.uri,
            findings: doc.findings,
            attributes: Arc::new(doc.attributes),
        }
    }
}

/// Bytes of one passage in an encoded head.
const HEAD_PASSAGE_BYTES: u64 = 20;
/// Upper bound for the bytes of everything but attributes in an encoded head: readers, id, title, uri, findings.
const HEAD_OTHERS_BYTES: u64 = (limits::READERS_MAX * (limits::PRINCIPAL_BYTES_MAX + 2)) as u64 + (16 << 10);

/// Which eligible documents to list, and which of their parts to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListOptions<'a> {
    /// Lists only documents with these ids.
    pub ids: Option<&'a [DocumentId]>,
    /// Lists only documents after the page that ended here.
    pub after: Option<&'a PageEnd>,
    /// Most documents of the page.
    pub limit: usize,
    /// Whether to read texts.
    pub text: bool,
    /// Whether to read vectors.
    pub vectors: bool,
    /// Whether the content of quarantined documents is shown.
    pub quarantine: Quarantine,
}

/// End of a page of documents. It counts only documents that the audience can see, so it reveals nothing about others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// Id of the last document of the page.
    pub id: DocumentId,
    /// Number of documents of this id that were returned, if there are more of them: several may share an id.
    pub returned: Option<usize>,
}

impl PageEnd {
    /// Parses what [`PageEnd`] displays.
    ///
    /// # Errors
    /// `invalid_request` for any other text.
    pub fn parse(text: &str) -> Result<Self, kernel::Error> {
        // An id contains no control character.
        let (id, returned) = match text.split_once('\t') {
            Some((id, returned)) => (id, Some(returned)),
            None => (text, None),
        };
        let number = |returned: &str| returned.parse().map_err(|_| kernel::Error::invalid("id", "is no end of a page"));
        Ok(Self { id: DocumentId::parse(id)?, returned: returned.map(number).transpose()? })
    }
}

impl fmt::Display for PageEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.returned {
            None => f.write_str(self.id.as_str()),
            Some(returned) => write!(f, "{}\t{returned}", self.id.as_str()),
        }
    }
}

/// A document that may be shown but was not read yet. Created only by [`Snapshot::page`] and [`Snapshot::locate`].
pub struct DocumentHandle {
    id: DocumentId,
    segment: usize,
    doc: u32,
    version: Arc<Version>,
    quarantine: Quarantine,
}

impl DocumentHandle {
    /// Id of the document.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }
}

/// A page of a list, in the order of ids.
pub struct Page {
    /// At most as many documents as were requested.
    pub documents: Vec<DocumentHandle>,
    /// Number of all documents that match.
    pub total: u64,
    /// `None` if no document follows the last one; otherwise whether the next one has the same id.
    same_follows: Option<bool>,
    /// Number of documents of the first one's id that earlier pages returned.
    returned_before: usize,
}

impl Page {
    /// End of a page that returns the first `count` of these documents. `None` if nothing follows them.
    pub fn end(&self, count: usize) -> Option<PageEnd> {
        let last = self.documents.get(count.checked_sub(1)?)?;
        let same = |other: &DocumentHandle| other.id.as_str() == last.id.as_str();
        let same_follows = self.documents.get(count).map(same).or(self.same_follows)?;
        let of_it = self.documents[..count].iter().rev().take_while(|located| same(located)).count();
        let before = if of_it == count { self.returned_before } else { 0 };
        Some(PageEnd { id: last.id.plain(), returned: same_follows.then_some(before + of_it) })
    }
}

impl Snapshot {
    /// Reads one passage.
    ///
    /// # Errors
    /// [`Error::NotEligible`] if this reader may not see it.
    pub fn passage(&self, eligible: &Eligible, at: Address, vector: bool) -> Result<PassageText, Error> {
        let mut passages = PassageReader::new(self, eligible, [at], true, vector);
        let unread = passages.find(at)?;
        passages.read(unread)
    }

    /// The document of this id and of any status, if this audience can see it now; the oldest of several.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn locate(
        &self,
        id: &DocumentId,
        audience: &Audience,
        quarantine: Quarantine,
        now: Timestamp,
    ) -> Result<Option<DocumentHandle>, Error> {
        let visible = self.checked(self.version.visible_documents(id, audience, now))?;
        let first = visible.into_iter().next();
        Ok(first.map(|(segment, doc, head)| self.located(head.id, segment, doc, quarantine)))
    }

    /// Reads one document of any status, if this audience can see it now; the oldest of several.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn get(
        &self,
        id: &DocumentId,
        audience: &Audience,
        vectors: bool,
        quarantine: Quarantine,
        now: Timestamp,
    ) -> Result<Option<Document>, Error> {
        self.locate(id, audience, quarantine, now)?.map(|located| self.read(&located, true, vectors)).transpose()
    }

    /// At most `limit` eligible documents in the order of ids, after `after`, and the number of all eligible ones
    /// regardless of `after`. With `ids`, only those documents. Only ids are read.
    ///
    /// # Errors
    /// Fails if an id cannot be read.
    pub fn page(&self, eligible: &Eligible, requested: &ListOptions<'_>) -> Result<Page, Error> {
        let ListOptions { ids, after, limit, quarantine, .. } = *requested;
        // Collect candidates in any order; only ids are read for that.
        let mut found = match ids {
            Some(ids) => self.named(eligible, ids, quarantine)?,
            None => self.first_in_segments(eligible, after, limit, quarantine)?,
        };
        let total = match ids {
            Some(_) => found.len() as u64,
            None => eligible.segments.iter().map(|allowed| allowed.docs().len()).sum(),
        };
        let resumed_id = after.filter(|after| after.returned.is_some()).map(|after| after.id.as_str());
        let follows = |id: &str| resumed_id == Some(id) || after.is_none_or(|after| id > after.id.as_str());
        found.retain(|located| follows(located.id.as_str()));
        found.sort_by(|a, b| a.id.cmp(&b.id));
        // The previous page ended within this id: documents that it has returned are left out.
        let of_resumed_id = found.iter().take_while(|located| resumed_id == Some(located.id.as_str())).count();
        let skipped = of_resumed_id.min(after.and_then(|after| after.returned).unwrap_or(0));
        found.drain(..skipped);
        let returned_before = if of_resumed_id > skipped { skipped } else { 0 };
        // The next page must know whether it continues within the same id.
        let same = |next: &DocumentHandle| limit > 0 && next.id.as_str() == found[limit - 1].id.as_str();
        let same_follows = found.get(limit).map(same);
        found.truncate(limit);
        Ok(Page { documents: found, total, same_follows, returned_before })
    }

    /// Stored sizes of a document, known without reading it.
    pub fn sizes(&self, located: &DocumentHandle) -> Sizes {
        self.segment_of(located).map(|segment| segment.index.sizes(located.doc)).unwrap_or_default()
    }

    /// Whether the content of a document is withheld.
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    pub fn is_withheld(&self, located: &DocumentHandle) -> Result<bool, Error> {
        let segment = self.segment_of(located).ok_or(Error::NotEligible)?;
        let held = |head: Document| head.status == Status::Quarantined;
        Ok(located.quarantine == Quarantine::Withheld && held(self.checked(segment.index.head(located.doc))?))
    }

    /// Reads a document; without `text` and `vectors` only its head.
    ///
    /// # Errors
    /// [`Error::NotEligible`] for a document of another snapshot; fails if it cannot be read.
    pub fn read(&self, located: &DocumentHandle, text: bool, vectors: bool) -> Result<Document, Error> {
        let index = &self.segment_of(located).ok_or(Error::NotEligible)?.index;
        let mut document = match text || vectors {
            true => self.checked(index.document(located.doc, vectors))?,
            false => self.checked(index.head(located.doc))?,
        };
        if !text {
            document.text = Untrusted::default();
        }
        Ok(withheld(document, located.quarantine))
    }

    /// The documents of a page, the number of all that match, and the end of the page if more follow.
    ///
    /// # Errors
    /// Fails if a document cannot be read.
    pub fn list(
        &self,
        eligible: &Eligible,
        requested: &ListOptions<'_>,
    ) -> Result<(Vec<Document>, u64, Option<PageEnd>), Error> {
        let page = self.page(eligible, requested)?;
        let read = page.documents.iter().map(|located| self.read(located, requested.text, requested.vectors));
        Ok((read.collect::<Result<_, Error>>()?, page.total, page.end(page.documents.len())))
    }

    fn located(&self, id: DocumentId, segment: usize, doc: u32, quarantine: Quarantine) -> DocumentHandle {
        DocumentHandle { id, segment, doc, version: self.version.clone(), quarantine }
    }

    fn segment_of(&self, located: &DocumentHandle) -> Option<&LiveSegment> {
        let same_snapshot = Arc::ptr_eq(&self.version, &located.version);
        self.version.segments.get(located.segment).filter(|_| same_snapshot)
    }

    /// The eligible documents of these ids, once each.
    fn named(
        &self,
        eligible: &Eligible,
        ids: &[DocumentId],
        quarantine: Quarantine,
    ) -> Result<Vec<DocumentHandle>, Error> {
        let segments: Vec<_> = self.segments_of(eligible).map(|(.., allowed)| allowed).collect();
        let mut found = Vec::new();
        for id in ids.iter().collect::<HashSet<_>>() {
            for (segment, doc) in self.version.named(id) {
                if segments.get(segment).is_some_and(|allowed| allowed.docs().contains(doc)) {
                    let id = self.checked(self.version.segments[segment].index.id_of(doc))?;
                    found.push(self.located(id, segment, doc, quarantine));
                }
            }
        }
        Ok(found)
    }

    /// From every segment the first `limit + 1` documents after `after`, and all documents of the id in which that page
    /// ended: the first ones overall are among them.
    fn first_in_segments(
        &self,
        eligible: &Eligible,
        after: Option<&PageEnd>,
        limit: usize,
        quarantine: Quarantine,
    ) -> Result<Vec<DocumentHandle>, Error> {
        let mut found = match after {
            Some(PageEnd { id, returned: Some(_) }) => self.named(eligible, std::slice::from_ref(id), quarantine)?,
            _ => Vec::new(),
        };
        for (at, (_, segment, allowed)) in self.segments_of(eligible).enumerate() {
            let start = match after {
                Some(after) => self.checked(super::first_after(&segment.index, &after.id))?,
                None => 0,
            };
            for doc in allowed.docs().range(start..).take(limit.saturating_add(1)) {
                found.push(self.located(self.checked(segment.index.id_of(doc))?, at, doc, quarantine));
            }
        }
        Ok(found)
    }
}

/// Removes the withheld content from a document. Its commit stays; its content hash is only for reviewers.
fn withheld(document: Document, quarantine: Quarantine) -> Document {
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
