//! The last check before the store: vectors are validated against the namespace, and screened text with valid vectors
//! becomes [`Admitted`].
//!
//! Promises finite vectors of the right length that are not zero, and normalised ones if the distance is cosine. Hubs
//! and near-duplicates are left to the store, which knows the neighbours.

use crate::{Error, Screened};
use kernel::{CommitNo, Distance, Document, DocumentId, Finding, Status, Timestamp};
use std::fmt;

/// A namespace's requirements on vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorProfile {
    /// Length of one vector; 0 if none are stored.
    pub dimensions: usize,
    /// How vectors are compared.
    pub distance: Distance,
}

/// A whole document that may be stored: screened, chunked, and with valid vectors. Only [`admit`] makes it.
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

/// Joins screened text and its vectors, which are concatenated in the order of the passages, or empty if the document
/// has none.
///
/// # Errors
/// `dimension_mismatch`; `invalid_request` for a number that is not finite, for a vector of length zero, or for a
/// document that the policy rejects; `internal` when the document was not chunked first.
pub fn admit(
    screened: Screened,
    identity: (DocumentId, [u8; 32]),
    mut vectors: Vec<f32>,
    profile: &VectorProfile,
) -> Result<Admitted, Error> {
    let passages = screened.chunked_passages().len();
    if passages == 0 {
        return Err(Error::OutOfOrder("admit before chunk"));
    }
    if screened.is_rejected() {
        return Err(Error::invalid("documents[]", "the namespace's screening rejects it"));
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

/// Greatest length of a vector, so that its square stays finite in `f32`, in which searches compute.
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
    /// Id of the document.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }

    /// Indexed, or quarantined by a screen.
    pub fn status(&self) -> Status {
        self.screened.status()
    }

    /// Findings of the screens.
    pub fn findings(&self) -> &[Finding] {
        self.screened.findings()
    }

    /// Number of passages, at least one.
    pub fn passages(&self) -> usize {
        self.screened.chunked_passages().len()
    }

    /// Bytes of the document's content, metadata and vectors.
    pub fn bytes(&self) -> u64 {
        let fields = &self.screened.fields;
        let readers = fields.readers.iter().flatten().map(|reader| reader.as_str().len()).sum::<usize>();
        let own = self.screened.text_bytes() + size_of_val(self.vectors.as_slice());
        (own + fields.title.len() + fields.uri.len() + readers) as u64
            + kernel::attributes_heap_bytes(&fields.attributes)
    }

    /// Keyed hash of everything that was sent.
    pub fn content_hash(&self) -> &[u8; 32] {
        &self.content_hash
    }

    /// Converts it into the document that `commit` stores.
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
