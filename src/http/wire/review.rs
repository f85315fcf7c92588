//! Wire types of reviews.

use super::common::{self, Commit, at};
use crate::{http::request_data::RequestBody, strict::BoundedList};
use engine::{Decision, ReviewReply, ReviewRequest, Reviewed, ReviewedState};
use kernel::{Code, CommitNo, DocumentId, Error, Untrusted, limits};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;
use utoipa::ToSchema;

/// A reviewer's decision on quarantined documents. It applies to the content that the reviewer saw.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"documents": [{"id": "handbook/leave.md", "commit": 12}], "decision": "release"}))]
pub(crate) struct Review {
    /// 1 to 10,000 documents.
    #[serde(alias = "ids")]
    #[schema(value_type = Vec<ReviewedDocument>)]
    documents: BoundedList<ReviewEntry, { limits::IDS_PER_REQUEST_MAX }>,
    decision: DecisionWord,
    /// The reason, at most 4,096 bytes. The audit records a pseudonym of it, not its text.
    note: Option<String>,
}

/// A document as the reviewer saw it: with its `commit` or its `content_hash`, as a read or a list returned them. If
/// one commit wrote several documents with this id, only the hash identifies the reviewed one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewedDocument {
    id: String,
    /// The document's `commit`. Exactly one of `commit` and `content_hash` must be given.
    commit: Option<u64>,
    /// The document's `content_hash`.
    content_hash: Option<String>,
}

/// An entry as it is parsed. A bare id, which was the earlier form, gets an error that names what is missing.
struct ReviewEntry(ReviewedDocument);

impl<'de> Deserialize<'de> for ReviewEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = ReviewEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document with its commit or content_hash")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<ReviewEntry, E> {
                Ok(ReviewEntry(ReviewedDocument { id: id.to_owned(), commit: None, content_hash: None }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ReviewEntry, A::Error> {
                ReviewedDocument::deserialize(MapAccessDeserializer::new(map)).map(ReviewEntry)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl ReviewedDocument {
    fn check(self, path: &str) -> Result<Reviewed, Error> {
        let member_path = |member: &str| format!("{path}.{member}");
        let state = match (self.commit, self.content_hash) {
            (Some(commit), None) => ReviewedState::Commit(CommitNo(commit)),
            (None, Some(digits)) => {
                let hash = common::hash(&digits);
                let hash =
                    hash.ok_or_else(|| Error::invalid(member_path("content_hash"), "must be 64 hexadecimal digits"))?;
                ReviewedState::ContentHash(hash)
            }
            (Some(_), Some(_)) => {
                return Err(Error::invalid(member_path("content_hash"), "cannot be combined with 'commit'"));
            }
            (None, None) => {
                let remedy = "is missing: name the commit or content_hash of the document that was reviewed";
                return Err(Error::invalid(member_path("commit"), remedy));
            }
        };
        Ok(Reviewed { id: at(member_path("id"), DocumentId::parse(&self.id))?, state })
    }
}

/// `release`: the document can be found from now on. `reject`: the document is deleted.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DecisionWord {
    Release,
    Reject,
}

impl RequestBody for Review {
    type Checked = ReviewRequest;

    fn check(self) -> Result<ReviewRequest, Error> {
        if self.note.as_ref().is_some_and(|n| n.len() > limits::ATTRIBUTE_VALUE_BYTES_MAX) {
            return Err(Error::new(Code::InvalidRequest, "may have at most 4096 bytes").with_param("note"));
        }
        let BoundedList(documents) = self.documents;
        common::bounded("documents", documents.len(), limits::IDS_PER_REQUEST_MAX)?;
        let documents = documents.into_iter().enumerate();
        let documents = documents.map(|(n, d)| d.0.check(&format!("documents[{n}]"))).collect::<Result<_, _>>()?;
        Ok(ReviewRequest {
            documents,
            decision: match self.decision {
                DecisionWord::Release => Decision::Release,
                DecisionWord::Reject => Decision::Reject,
            },
            note: self.note.map(Untrusted::new),
        })
    }
}

/// Result of each document, in the order of the request.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReviewResults {
    results: Vec<ReviewResult>,
    commit: Commit,
}

/// Result of one document.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReviewResult {
    id: String,
    /// Status: `released`, `rejected`, `not_quarantined`, `not_found`, or `conflict`: the document has changed since it
    /// was reviewed.
    status: &'static str,
}

impl From<ReviewReply> for ReviewResults {
    fn from(reply: ReviewReply) -> Self {
        let results = reply.results.into_iter();
        let results = results.map(|(id, status)| ReviewResult { id: id.as_str().to_owned(), status });
        Self { results: results.collect(), commit: reply.commit.into() }
    }
}
