//! Reviews.

use super::{
    Convert,
    common::{self, at},
};
use crate::http::request_data::RequestBody;
use api::{
    review::{DecisionWord, Review, ReviewResult, ReviewResults, ReviewedDocument},
    strict::BoundedList,
};
use engine::{Decision, ReviewReply, ReviewRequest, Reviewed, ReviewedState};
use kernel::{Code, CommitNo, DocumentId, Error, Untrusted, limits};

/// Checks one document, with the state in which the reviewer saw it.
fn check(document: ReviewedDocument, path: &str) -> Result<Reviewed, Error> {
    let member_path = |member: &str| format!("{path}.{member}");
    let state = match (document.commit, document.content_hash) {
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
    Ok(Reviewed { id: at(member_path("id"), DocumentId::parse(&document.id))?, state })
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
        let documents = documents.map(|(n, d)| check(d.0, &format!("documents[{n}]"))).collect::<Result<_, _>>()?;
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

impl Convert<ReviewResults> for ReviewReply {
    fn convert(self) -> ReviewResults {
        let results = self.results.into_iter();
        let results = results.map(|(id, status)| ReviewResult { id: id.as_str().to_owned(), status: status.into() });
        ReviewResults { results: results.collect(), commit: self.commit.convert() }
    }
}
