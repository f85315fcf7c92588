//! Filters and audiences as bitmaps of documents.
//!
//! Promises: [`Properties::evaluate`] holds exactly the documents that `Filter::matches` accepts.
//! Nothing is ranked here and no document is left out for speed.

use crate::{
    Error,
    attributes::{AttributeBuilder, AttributeIndex, bounds},
    bytes::{Reader, put_bitmap},
    codec::status_code,
    container::{Kind, Sections, Writer},
    documents::Documents,
    postings::{Pairs, Strings},
};
use kernel::{Attributes, Audience, Document, Field, Filter, Principal, Scalar, Status, Timestamp};
use roaring::RoaringBitmap;
use std::{
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
};

const STATUSES: [Status; 3] = [Status::Indexed, Status::Quarantined, Status::Pending];

/// A filter on times sees their RFC 3339 form. Between these (1970 and 9999, milliseconds) form and
/// number surely agree; documents with other times are asked one by one.
const PLAIN: RangeInclusive<i64> = 0..=253_370_764_800_000;

/// What is known of documents beside their text and vectors.
pub(crate) struct Properties {
    all: RoaringBitmap,
    attributes: AttributeIndex,
    open: RoaringBitmap,
    readers: Strings,
    status: [RoaringBitmap; 3],
    /// Created, updated, expires.
    times: [Pairs; 3],
}

impl Properties {
    pub(crate) fn open(sections: &Sections) -> Result<Self, Error> {
        let n = sections.documents;
        let section = sections.get(Kind::Readers);
        let mut r = Reader::new(section.bytes(), "readers");
        let open = r.bitmap(n)?;
        let readers = Strings::open(&mut r, &section, n)?;
        r.end()?;
        let section = sections.get(Kind::Status);
        let mut r = Reader::new(section.bytes(), "status");
        let status = [r.bitmap(n)?, r.bitmap(n)?, r.bitmap(n)?];
        r.end()?;
        let section = sections.get(Kind::Times);
        let mut r = Reader::new(section.bytes(), "times");
        let mut time = || Pairs::open(&mut r, &section, n);
        let times = [time()?, time()?, time()?];
        r.end()?;
        let attributes = AttributeIndex::open(&sections.get(Kind::Attributes), n)?;
        let mut all = RoaringBitmap::new();
        all.insert_range(0..n);
        Ok(Self { all, attributes, open, readers, status, times })
    }

    pub(crate) fn has_attribute(&self, key: &str) -> bool {
        self.attributes.has(key)
    }

    pub(crate) fn with_status(&self, status: Status) -> RoaringBitmap {
        self.status[usize::from(status_code(status))].clone()
    }

    /// Documents whose time is up.
    pub(crate) fn expired(&self, now: Timestamp) -> RoaringBitmap {
        self.times[2].between(Bound::Unbounded, Bound::Included(now.as_millis()))
    }

    /// When the next document's time is up, seen from `now`.
    pub(crate) fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        self.times[2].above(now.as_millis()).map(Timestamp::from_millis)
    }

    pub(crate) fn visible(&self, audience: &Audience) -> RoaringBitmap {
        match audience {
            Audience::Everything => self.all.clone(),
            Audience::Principals(mine) => self.read_by(mine, self.open.clone()),
            Audience::Named(mine) => self.read_by(mine, RoaringBitmap::new()),
        }
    }

    /// What is seen beside what names one of these.
    fn read_by(&self, mine: &[Principal], mut seen: RoaringBitmap) -> RoaringBitmap {
        mine.iter().for_each(|p| self.readers.equal(p.as_str(), &mut seen));
        seen
    }

    pub(crate) fn evaluate(&self, filter: &Filter, documents: &Documents) -> Result<RoaringBitmap, Error> {
        Ok(match filter {
            Filter::And(list) => {
                let mut found = self.all.clone();
                for part in list {
                    if found.is_empty() {
                        break;
                    }
                    found &= self.evaluate(part, documents)?;
                }
                found
            }
            Filter::Or(list) => {
                let mut found = RoaringBitmap::new();
                for part in list {
                    found |= self.evaluate(part, documents)?;
                }
                found
            }
            Filter::Not(inner) => &self.all - self.evaluate(inner, documents)?,
            Filter::In(field, _)
            | Filter::Number(field, _, _)
            | Filter::Instant(field, _, _)
            | Filter::Contains(field, _)
            | Filter::Prefix(field, _)
            | Filter::Match(field, _)
            | Filter::Exists(field) => self.leaf(field, filter, documents)?,
        })
    }

    fn leaf(&self, field: &Field, leaf: &Filter, documents: &Documents) -> Result<RoaringBitmap, Error> {
        let which = match field {
            Field::CreatedAt => 0,
            Field::UpdatedAt => 1,
            Field::ExpiresAt => 2,
            _ => return self.plain_leaf(field, leaf, documents),
        };
        match self.by_time(which, leaf, documents)? {
            Some(found) => Ok(found),
            None => Self::scan(leaf, documents),
        }
    }

    /// A leaf on anything but a time.
    fn plain_leaf(&self, field: &Field, leaf: &Filter, documents: &Documents) -> Result<RoaringBitmap, Error> {
        Ok(match (field, leaf) {
            (Field::Attribute(key), _) => self.attributes.leaf(key, leaf),
            (Field::Status, _) => self.by_status(leaf),
            (Field::Id, Filter::Exists(_)) => self.all.clone(),
            (Field::Id, Filter::In(_, wanted)) => {
                let one = |w: &Scalar| match w {
                    Scalar::Str(id) => documents.ids_from(id, |s| s == id),
                    _ => RoaringBitmap::new(),
                };
                wanted.iter().map(one).fold(RoaringBitmap::new(), |a, b| a | b)
            }
            (Field::Id, Filter::Prefix(_, prefix)) => documents.ids_from(prefix, |s| s.starts_with(prefix.as_str())),
            _ => Self::scan(leaf, documents)?,
        })
    }

    /// A leaf on `$status`: asked once per status.
    fn by_status(&self, leaf: &Filter) -> RoaringBitmap {
        let attributes = Attributes::new();
        let meets = |status: Status| {
            let zero = Timestamp::default();
            leaf.matches(&kernel::DocumentView {
                id: "",
                uri: "",
                status,
                created_at: zero,
                updated_at: zero,
                expires_at: None,
                attributes: &attributes,
            })
        };
        STATUSES.into_iter().filter(|s| meets(*s)).map(|s| self.with_status(s)).fold(RoaringBitmap::new(), |a, b| a | b)
    }

    /// A leaf on a time that can be answered by order; `None` for tests on its spelling.
    fn by_time(&self, which: usize, leaf: &Filter, documents: &Documents) -> Result<Option<RoaringBitmap>, Error> {
        let pairs = &self.times[which];
        let between = |(from, to): (Bound<i64>, Bound<i64>)| {
            let (first, last) = (*PLAIN.start(), *PLAIN.end());
            let (low, high) = (at(&from).unwrap_or(first), at(&to).unwrap_or(last));
            if low > last || high < first {
                return RoaringBitmap::new();
            }
            let low = if low < first { Bound::Included(first) } else { from };
            let high = if high > last { Bound::Included(last) } else { to };
            let plain = |bound, edge| if at(&bound).is_some() { bound } else { Bound::Included(edge) };
            pairs.between(plain(low, first), plain(high, last))
        };
        let found = match leaf {
            Filter::Exists(_) => return Ok(Some(pairs.between::<i64>(Bound::Unbounded, Bound::Unbounded))),
            Filter::Number(..) => return Ok(Some(RoaringBitmap::new())),
            Filter::Instant(_, op, t) => between(bounds(*op, t.as_millis())),
            Filter::In(_, wanted) => wanted
                .iter()
                .filter_map(|w| match w {
                    Scalar::Str(s) => Timestamp::parse(s).ok(),
                    _ => None,
                })
                .map(|t| between((Bound::Included(t.as_millis()), Bound::Included(t.as_millis()))))
                .fold(RoaringBitmap::new(), |a, b| a | b),
            _ => return Ok(None),
        };
        let early = pairs.between(Bound::Unbounded, Bound::Excluded(*PLAIN.start()));
        let late = pairs.between(Bound::Excluded(*PLAIN.end()), Bound::Unbounded);
        Ok(Some(found | Self::asked(leaf, documents, &(early | late))?))
    }

    /// Asks every document. For tests on ids, addresses and spellings of times, which are rare.
    fn scan(leaf: &Filter, documents: &Documents) -> Result<RoaringBitmap, Error> {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..documents.count);
        Self::asked(leaf, documents, &all)
    }

    fn asked(leaf: &Filter, documents: &Documents, docs: &RoaringBitmap) -> Result<RoaringBitmap, Error> {
        documents.will_read_heads(docs.iter());
        let mut found = RoaringBitmap::new();
        for doc in docs {
            if documents.meets(doc, |view| leaf.matches(view))? {
                found.insert(doc);
            }
        }
        Ok(found)
    }

    /// Heap bytes beside the sections, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        let bitmaps = self.status.iter().chain([&self.all, &self.open]);
        bitmaps.map(|b| b.serialized_size() as u64).sum::<u64>() + self.attributes.bytes()
    }
}

/// Where a bound lies.
fn at(bound: &Bound<i64>) -> Option<i64> {
    match bound {
        Bound::Included(t) | Bound::Excluded(t) => Some(*t),
        Bound::Unbounded => None,
    }
}

/// Collects properties while a segment is built.
#[derive(Default)]
pub(crate) struct PropertyBuilder {
    attributes: AttributeBuilder,
    open: RoaringBitmap,
    readers: BTreeMap<String, Vec<u32>>,
    status: [RoaringBitmap; 3],
    times: [Vec<(i64, u32)>; 3],
}

impl PropertyBuilder {
    pub(crate) fn add(&mut self, n: u32, doc: &Document) {
        self.attributes.add(n, &doc.attributes);
        match &doc.readers {
            None => drop(self.open.insert(n)),
            Some(readers) => {
                for reader in readers {
                    let docs = self.readers.entry(reader.as_str().to_owned()).or_default();
                    if docs.last() != Some(&n) {
                        docs.push(n);
                    }
                }
            }
        }
        self.status[usize::from(status_code(doc.status))].insert(n);
        self.times[0].push((doc.created_at.as_millis(), n));
        self.times[1].push((doc.updated_at.as_millis(), n));
        self.times[2].extend(doc.expires_at.map(|t| (t.as_millis(), n)));
    }

    pub(crate) fn finish(self, out: &mut Writer) {
        self.attributes.finish(out.part(Kind::Attributes));
        let part = out.part(Kind::Readers);
        put_bitmap(part, &self.open);
        Strings::write(part, &self.readers);
        let part = out.part(Kind::Status);
        self.status.iter().for_each(|b| put_bitmap(part, b));
        let part = out.part(Kind::Times);
        self.times.into_iter().for_each(|list| Pairs::write(part, list));
    }
}

#[cfg(test)]
mod tests;
