//! The last gate before the store: vectors are checked against the namespace, and screened text
//! with fitting vectors becomes [`Admitted`].
//!
//! Promises finite vectors of the right length that are not zero, and normalised ones where the
//! distance is cosine. Leaves hubs and near-duplicates to the store, which knows the neighbours.

use crate::{Error, Screened};
use kernel::{CommitNo, Distance, Document, DocumentId, Finding, Status, Timestamp};
use std::fmt;

/// What a namespace expects of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Length of one vector; 0 where none are stored.
    pub dimensions: usize,
    /// How they are compared.
    pub distance: Distance,
}

/// A whole document that may be stored: screened, cut, and with vectors that fit. Made by
/// [`admit`] alone.
pub struct Admitted {
    screened: Screened,
    id: DocumentId,
    content_hash: [u8; 32],
    vectors: Vec<f32>,
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted")
            .field("id", &self.id)
            .field("passages", &self.passages())
            .field("vectors", &self.vectors.len())
            .finish_non_exhaustive()
    }
}

/// Joins screened text and its vectors (one after another, in the order of the passages; empty
/// where the document has none).
///
/// # Errors
/// `dimension_mismatch`; `invalid_request` for a number that is not finite or a vector of length
/// zero; `internal` when the document was not cut into passages first.
pub fn admit(
    screened: Screened,
    identity: (DocumentId, [u8; 32]),
    mut vectors: Vec<f32>,
    profile: &Profile,
) -> Result<Admitted, Error> {
    let passages = screened.cut().len();
    if passages == 0 {
        return Err(Error::OutOfOrder("admit before chunk"));
    }
    if vectors.is_empty() && screened.text_bytes() == 0 {
        return Err(Error::invalid("documents[].text", "is needed where the namespace stores no vectors"));
    }
    let expected = passages.saturating_mul(profile.dimensions);
    if !vectors.is_empty() && vectors.len() != expected {
        return Err(Error::DimensionMismatch { expected, got: vectors.len() });
    }
    for vector in vectors.chunks_mut(profile.dimensions.max(1)) {
        check(vector, profile.distance)?;
    }
    let (id, content_hash) = identity;
    Ok(Admitted { screened, id, content_hash, vectors })
}

/// Longest vector that is taken: its square stays finite in `f32`, in which searches compute.
const NORM_MAX: f64 = 1e18;

fn check(vector: &mut [f32], distance: Distance) -> Result<(), Error> {
    let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm > NORM_MAX {
        return Err(Error::invalid("documents[].vector", "must hold finite numbers, with a length below 1e18"));
    }
    if norm == 0.0 {
        return Err(Error::invalid("documents[].vector", "must not be all zeros; leave it out instead"));
    }
    if distance == Distance::Cosine {
        #[expect(clippy::cast_possible_truncation, reason = "the quotient is at most 1")]
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
    Ok(())
}

impl Admitted {
    /// Its id.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }

    /// Indexed, or held back by a screen.
    pub fn status(&self) -> Status {
        self.screened.status()
    }

    /// What the screens found.
    pub fn findings(&self) -> &[Finding] {
        self.screened.findings()
    }

    /// How many passages it has; at least one.
    pub fn passages(&self) -> usize {
        self.screened.cut().len()
    }

    /// Bytes of all that it holds.
    pub fn bytes(&self) -> u64 {
        let fields = &self.screened.fields;
        let readers = fields.readers.iter().flatten().map(|reader| reader.as_str().len()).sum::<usize>();
        let own = self.screened.text_bytes() + size_of_val(self.vectors.as_slice());
        (own + fields.title.len() + fields.uri.len() + readers) as u64
            + kernel::attributes_heap_bytes(&fields.attributes)
    }

    /// Keyed hash of all that was sent.
    pub fn content_hash(&self) -> &[u8; 32] {
        &self.content_hash
    }

    /// The document as it is stored by `commit`.
    pub fn into_document(self, created_at: Timestamp, now: Timestamp, commit: CommitNo) -> Document {
        let status = self.screened.status();
        let parts = self.screened.into_parts();
        Document {
            id: self.id,
            status,
            content_hash: self.content_hash,
            title: parts.fields.title,
            uri: parts.fields.uri,
            attributes: parts.fields.attributes,
            readers: parts.fields.readers,
            created_at,
            updated_at: now,
            expires_at: parts.fields.expires_at,
            commit,
            findings: parts.findings,
            text: parts.text,
            passages: parts.passages,
            vectors: self.vectors,
        }
    }
}

#[cfg(test)]
mod tests;
