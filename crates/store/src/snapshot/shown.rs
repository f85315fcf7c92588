//! Reads what a reply shows of a snapshot: the passages of a search, the documents of a page.
//!
//! Promises: nothing is read that is not eligible or that the audience does not see, and the size of an entry is known
//! before it is read, so that a reply ends at its bound.

use super::{Address, Eligible, Snapshot};
use crate::{Error, Quarantine, part::Part, view::View};
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
    /// Its number in the document, from 0.
    pub passage: u32,
    /// The document's title.
    pub title: Untrusted,
    /// The document's uri.
    pub uri: Untrusted,
    /// The passage's text.
    pub text: Untrusted,
    /// The document's attributes, shared by all passages of it that one [`Passages`] has read.
    pub attributes: Arc<Attributes>,
    /// Its span in the document's text.
    pub span: Span,
    /// The document's findings.
    pub findings: Vec<Finding>,
    /// Its length in the model's tokens.
    pub tokens: u32,
    /// Its vector, if asked for.
    pub vector: Option<Vec<f32>>,
}

/// Reads the passages of one reply. What passages of one document share is read once.
pub struct Passages<'a> {
    snapshot: &'a Snapshot,
    eligible: &'a Eligible,
    attributes: bool,
    vectors: bool,
    /// The passages that will be read, for each document.
    wanted: HashMap<(u32, u32), Vec<u32>>,
    documents: HashMap<(u32, u32), Arc<Head>>,
}

/// What the passages of a document share.
#[derive(Debug)]
struct Head {
    document_id: DocumentId,
    title: Untrusted,
    uri: Untrusted,
    findings: Vec<Finding>,
    attributes: Arc<Attributes>,
    /// Numbers of the passages that will be read, ascending.
    passages: Vec<(u32, Passage)>,
}

/// A passage that was found but not read yet.
#[derive(Debug)]
pub struct Unread {
    at: Address,
    doc: u32,
    passage: u32,
    shape: Passage,
    head: Arc<Head>,
    /// Whether nothing of its document was read before.
    first: bool,
}

impl Unread {
    /// Heap bytes that reading it adds, including what was read to find it.
    pub fn heap_bytes(&self, dimensions: usize) -> u64 {
        let head = &*self.head;
        let findings: usize = head.findings.iter().map(|f| size_of::<Finding>() + f.rule.len()).sum();
        let own = self.text_bytes() as usize + dimensions * 4 + head.title.len() + head.uri.len() + findings + 512;
        let shared = || attributes_heap_bytes(&head.attributes) + size_of_val(head.passages.as_slice()) as u64;
        own as u64 + if self.first { shared() } else { 0 }
    }

    /// Length of its text, bytes.
    pub fn text_bytes(&self) -> u64 {
        u64::from(self.shape.span.byte_end.saturating_sub(self.shape.span.byte_start))
    }

    /// Its document's attributes.
    pub fn attributes(&self) -> &Arc<Attributes> {
        &self.head.attributes
    }
}

impl<'a> Passages<'a> {
    /// Prepares to read the passages at these addresses of this snapshot, for this reader, with the attributes of their
    /// documents and with vectors if asked for.
    pub fn new(
        snapshot: &'a Snapshot,
        eligible: &'a Eligible,
        addresses: impl IntoIterator<Item = Address>,
        attributes: bool,
        vectors: bool,
    ) -> Self {
        let mut passages =
            Self { snapshot, eligible, attributes, vectors, wanted: HashMap::new(), documents: HashMap::new() };
        for at in addresses {
            // A passage that is not eligible is refused when it is read.
            if let Ok((_, doc, passage)) = passages.place(at) {
                passages.wanted.entry((at.segment, doc)).or_default().push(passage);
            }
        }
        passages.wanted.values_mut().for_each(|wanted| wanted.sort_unstable());
        passages
    }

    /// Least bytes that the attributes of its document take, known before anything of it is read; 0 if they were read
    /// already.
    ///
    /// # Errors
    /// [`Error::NotEligible`] for one that this reader may not meet.
    pub fn attributes_at_least(&self, at: Address) -> Result<u64, Error> {
        let (part, doc, _) = self.place(at)?;
        if self.documents.contains_key(&(at.segment, doc)) {
            return Ok(0);
        }
        let rows = part.index.rows_of(&[doc].into()).len();
        Ok(part.index.sizes(doc).head.saturating_sub(HEAD_PASSAGE_BYTES * rows + HEAD_OTHERS_BYTES))
    }

    /// Finds a passage, without its text and vector.
    ///
    /// # Errors
    /// [`Error::NotEligible`] for one that this reader may not meet, or whose address was not among those that the
    /// reading began with; when its document does not read.
    pub fn find(&mut self, at: Address) -> Result<Unread, Error> {
        let (part, doc, passage) = self.place(at)?;
        let known = self.documents.get(&(at.segment, doc)).cloned();
        let first = known.is_none();
        let head = match known {
            Some(head) => head,
            None => {
                let mut document = self.snapshot.noted(part.index.head(doc))?;
                if !self.attributes {
                    document.attributes.clear();
                }
                let wanted = self.wanted.get(&(at.segment, doc)).map(Vec::as_slice).unwrap_or_default();
                let head = Arc::new(Head::of(document, wanted));
                self.documents.insert((at.segment, doc), head.clone());
                head
            }
        };
        let place = head.passages.binary_search_by_key(&passage, |(n, _)| *n).map_err(|_| Error::NotEligible)?;
        let shape = head.passages[place].1;
        Ok(Unread { at, doc, passage, shape, head, first })
    }

    /// Reads the passage's text and vector.
    ///
    /// # Errors
    /// When its document does not read.
    pub fn read(&self, unread: Unread) -> Result<PassageText, Error> {
        let Unread { at, doc, passage, shape: Passage { span, tokens }, head, .. } = unread;
        let (part, ..) = self.place(at)?;
        let text = self.snapshot.noted(part.index.passage_text(doc, passage, span))?;
        let vector = match self.vectors {
            true => self.snapshot.noted(part.index.row_vector(at.row, self.snapshot.dimensions()))?,
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

    fn place(&self, at: Address) -> Result<(&'a Part, u32, u32), Error> {
        let (part, _) = self.snapshot.eligible_part(self.eligible, at).ok_or(Error::NotEligible)?;
        let (doc, passage) = part.index.row(at.row).ok_or(Error::NotEligible)?;
        Ok((part, doc, passage))
    }
}

impl Head {
    fn of(doc: Document, wanted: &[u32]) -> Self {
        let shape = |n: &u32| (*n, doc.passages.get(*n as usize).copied().unwrap_or_default());
        let passages = wanted.iter().map(shape).collect();
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
/// Most bytes of everything else but attributes in an encoded head: readers, id, title, address, findings.
const HEAD_OTHERS_BYTES: u64 = (limits::READERS_MAX * (limits::PRINCIPAL_BYTES_MAX + 2)) as u64 + (16 << 10);

/// Which eligible documents to list, and which of their parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listed<'a> {
    /// Only documents of these ids.
    pub ids: Option<&'a [DocumentId]>,
    /// Only what comes after a page that ended there.
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

/// Where a page of documents ended. It counts documents that the audience sees, so it tells nothing of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// The id of the page's last document.
    pub id: DocumentId,
    /// How many documents of this id were given, if there are more of them: several may share an id.
    pub given: Option<usize>,
}

impl PageEnd {
    /// What [`PageEnd`] shows as text.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub fn parse(text: &str) -> Result<Self, kernel::Error> {
        // No id has a control character.
        let (id, given) = match text.split_once('\t') {
            Some((id, given)) => (id, Some(given)),
            None => (text, None),
        };
        let number = |given: &str| given.parse().map_err(|_| kernel::Error::invalid("id", "is no end of a page"));
        Ok(Self { id: DocumentId::parse(id)?, given: given.map(number).transpose()? })
    }
}

impl fmt::Display for PageEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.given {
            None => f.write_str(self.id.as_str()),
            Some(given) => write!(f, "{}\t{given}", self.id.as_str()),
        }
    }
}

/// A document that may be shown but was not read yet. Made by [`Snapshot::page`] and [`Snapshot::locate`] alone.
pub struct Located {
    id: DocumentId,
    part: usize,
    doc: u32,
    view: Arc<View>,
    quarantine: Quarantine,
}

impl Located {
    /// Its id.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }
}

/// Part of a list, in the order of ids.
pub struct Page {
    /// At most as many as were asked for.
    pub documents: Vec<Located>,
    /// Number of all that match.
    pub total: u64,
    /// What follows the last of them, if anything does: whether another document of the same id.
    same_follows: Option<bool>,
    /// Documents of the first one's id that earlier pages gave.
    given: usize,
}

impl Page {
    /// Where a page ends that gives the first `count` of these documents. `None` if nothing follows them.
    pub fn end(&self, count: usize) -> Option<PageEnd> {
        let last = self.documents.get(count.checked_sub(1)?)?;
        let same = |other: &Located| other.id.as_str() == last.id.as_str();
        let same_follows = self.documents.get(count).map(same).or(self.same_follows)?;
        let of_it = self.documents[..count].iter().rev().take_while(|located| same(located)).count();
        let before = if of_it == count { self.given } else { 0 };
        Some(PageEnd { id: last.id.plain(), given: same_follows.then_some(before + of_it) })
    }
}

impl Snapshot {
    /// A passage to show.
    ///
    /// # Errors
    /// [`Error::NotEligible`] for one that this reader may not meet.
    pub fn passage(&self, eligible: &Eligible, at: Address, vector: bool) -> Result<PassageText, Error> {
        let mut passages = Passages::new(self, eligible, [at], true, vector);
        let unread = passages.find(at)?;
        passages.read(unread)
    }

    /// The document of this id and of any status, if this audience sees it now; of several of this id the oldest.
    ///
    /// # Errors
    /// When it does not read.
    pub fn locate(
        &self,
        id: &DocumentId,
        audience: &Audience,
        quarantine: Quarantine,
        now: Timestamp,
    ) -> Result<Option<Located>, Error> {
        let seen = self.noted(self.view.seen(id, audience, now))?;
        let first = seen.into_iter().next();
        Ok(first.map(|(part, doc, head)| self.located(head.id, part, doc, quarantine)))
    }

    /// One document of any status, if this audience sees it now; of several of this id the oldest.
    ///
    /// # Errors
    /// When it does not read.
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

    /// Eligible documents in the order of ids, after `after`: at most `limit`. Also the number of all eligible ones,
    /// regardless of `after`. With `ids`, only those. Nothing but ids is read.
    ///
    /// # Errors
    /// When an id does not read.
    pub fn page(&self, eligible: &Eligible, wanted: &Listed<'_>) -> Result<Page, Error> {
        let Listed { ids, after, limit, quarantine, .. } = *wanted;
        let mut found = match ids {
            Some(ids) => self.named(eligible, ids, quarantine)?,
            None => self.first(eligible, after, limit, quarantine)?,
        };
        let total = match ids {
            Some(_) => found.len() as u64,
            None => eligible.parts.iter().map(|here| here.docs().len()).sum(),
        };
        let begun = after.filter(|after| after.given.is_some()).map(|after| after.id.as_str());
        let follows = |id: &str| begun == Some(id) || after.is_none_or(|after| id > after.id.as_str());
        found.retain(|located| follows(located.id.as_str()));
        found.sort_by(|a, b| a.id.cmp(&b.id));
        // Documents of the id in which the page before ended: those that it gave are left out.
        let of_begun = found.iter().take_while(|located| begun == Some(located.id.as_str())).count();
        let skipped = of_begun.min(after.and_then(|after| after.given).unwrap_or(0));
        found.drain(..skipped);
        let given = if of_begun > skipped { skipped } else { 0 };
        let same = |next: &Located| limit > 0 && next.id.as_str() == found[limit - 1].id.as_str();
        let same_follows = found.get(limit).map(same);
        found.truncate(limit);
        Ok(Page { documents: found, total, same_follows, given })
    }

    /// The stored size of a document, known without reading it.
    pub fn sizes(&self, located: &Located) -> Sizes {
        self.part_of(located).map(|part| part.index.sizes(located.doc)).unwrap_or_default()
    }

    /// Whether its content is withheld.
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    pub fn is_withheld(&self, located: &Located) -> Result<bool, Error> {
        let part = self.part_of(located).ok_or(Error::NotEligible)?;
        let held = |head: Document| head.status == Status::Quarantined;
        Ok(located.quarantine == Quarantine::Withheld && held(self.noted(part.index.head(located.doc))?))
    }

    /// Reads a document; without `text` and `vectors` only its head.
    ///
    /// # Errors
    /// [`Error::NotEligible`] for one of another snapshot; when it does not read.
    pub fn read(&self, located: &Located, text: bool, vectors: bool) -> Result<Document, Error> {
        let index = &self.part_of(located).ok_or(Error::NotEligible)?.index;
        let mut document = match text || vectors {
            true => self.noted(index.document(located.doc, vectors))?,
            false => self.noted(index.head(located.doc))?,
        };
        if !text {
            document.text = Untrusted::default();
        }
        Ok(withheld(document, located.quarantine))
    }

    /// The documents of a page, the number of all that match, and where it ended if more follow.
    ///
    /// # Errors
    /// When a document does not read.
    pub fn list(
        &self,
        eligible: &Eligible,
        wanted: &Listed<'_>,
    ) -> Result<(Vec<Document>, u64, Option<PageEnd>), Error> {
        let page = self.page(eligible, wanted)?;
        let read = page.documents.iter().map(|located| self.read(located, wanted.text, wanted.vectors));
        Ok((read.collect::<Result<_, Error>>()?, page.total, page.end(page.documents.len())))
    }

    fn located(&self, id: DocumentId, part: usize, doc: u32, quarantine: Quarantine) -> Located {
        Located { id, part, doc, view: self.view.clone(), quarantine }
    }

    fn part_of(&self, located: &Located) -> Option<&Part> {
        let ours = Arc::ptr_eq(&self.view, &located.view);
        self.view.parts.get(located.part).filter(|_| ours)
    }

    /// The eligible documents of these ids, once each.
    fn named(&self, eligible: &Eligible, ids: &[DocumentId], quarantine: Quarantine) -> Result<Vec<Located>, Error> {
        let parts: Vec<_> = self.parts_of(eligible).map(|(.., here)| here).collect();
        let mut found = Vec::new();
        for id in ids.iter().collect::<HashSet<_>>() {
            for (part, doc) in self.view.named(id) {
                if parts.get(part).is_some_and(|here| here.docs().contains(doc)) {
                    let id = self.noted(self.view.parts[part].index.id_of(doc))?;
                    found.push(self.located(id, part, doc, quarantine));
                }
            }
        }
        Ok(found)
    }

    /// The first `limit + 1` documents of every part after `after`, and all of the id in which that page ended: the first
    /// of all parts are among them.
    fn first(
        &self,
        eligible: &Eligible,
        after: Option<&PageEnd>,
        limit: usize,
        quarantine: Quarantine,
    ) -> Result<Vec<Located>, Error> {
        let mut found = match after {
            Some(PageEnd { id, given: Some(_) }) => self.named(eligible, std::slice::from_ref(id), quarantine)?,
            _ => Vec::new(),
        };
        for (at, (_, part, here)) in self.parts_of(eligible).enumerate() {
            let start = match after {
                Some(after) => self.noted(super::behind(&part.index, &after.id))?,
                None => 0,
            };
            for doc in here.docs().range(start..).take(limit.saturating_add(1)) {
                found.push(self.located(self.noted(part.index.id_of(doc))?, at, doc, quarantine));
            }
        }
        Ok(found)
    }
}

/// What is shown of a document whose content is withheld. Its commit and hash are for reviewers.
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
