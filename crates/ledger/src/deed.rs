//! What was done, before it becomes a line: with plain ids, in memory or in a sealed commit only.

use access::{Action, Grant, Identity};
use kernel::{Clock, Code, DocumentId, Principal, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// As asked.
    Success,
    /// With this error.
    Failure(Code),
}

/// What was done under a grant: the part that the grant does not know.
#[derive(Clone, Debug)]
pub struct Deed {
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Numbers worth keeping: `hits`, `documents`, `tokens`, `bytes_in`.
    pub counts: Vec<(&'static str, u64)>,
    /// Documents that were returned or changed. They become keyed pseudonyms.
    pub documents: Vec<DocumentId>,
    /// Principals that the request acted as. They become keyed pseudonyms.
    pub principals: Vec<Principal>,
}

impl Deed {
    /// Something that went as asked.
    pub fn success() -> Self {
        Self { outcome: OutcomeKind::Success, counts: Vec::new(), documents: Vec::new(), principals: Vec::new() }
    }

    /// Something that ended with an error.
    pub fn failure(code: Code) -> Self {
        Self { outcome: OutcomeKind::Failure(code), ..Self::success() }
    }

    /// With a number.
    #[must_use]
    pub fn count(mut self, name: &'static str, count: u64) -> Self {
        self.counts.push((name, count));
        self
    }

    /// With documents.
    #[must_use]
    pub fn documents(mut self, documents: Vec<DocumentId>) -> Self {
        self.documents = documents;
        self
    }

    /// With principals.
    #[must_use]
    pub fn principals(mut self, principals: Vec<Principal>) -> Self {
        self.principals = principals;
        self
    }
}

/// Writes the line of a mutation that is under way; owns what it needs, so that it may travel into
/// the store and be used when the outcome is known.
pub struct Pen {
    draft: Draft,
    clock: Arc<dyn Clock>,
}

impl Pen {
    pub(crate) fn new<A: Action>(grant: &Grant<A>, clock: Arc<dyn Clock>) -> Self {
        Self { draft: Draft::of(grant, clock.now()), clock }
    }

    /// The line, to ride in the commit. It holds plain ids, as the commit does; both are sealed.
    /// The tenant's chain gets pseudonyms.
    pub fn write(self, deed: Deed) -> Vec<u8> {
        self.draft.with(deed, self.clock.now()).encode()
    }
}

/// A line that is not yet in the chain. No `Debug`: it holds customers' ids.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    version: u8,
    /// Milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) request: String,
    pub(crate) trace: Option<String>,
    pub(crate) actor: Actor,
    pub(crate) operation: String,
    pub(crate) policy: Option<String>,
    /// Code of the error; none when it went well.
    pub(crate) failure: Option<String>,
    pub(crate) counts: Vec<(String, u64)>,
    pub(crate) namespace: Option<String>,
    pub(crate) documents: Vec<String>,
    pub(crate) principals: Vec<String>,
    /// Named by an operator's act, in the control-side chain only.
    pub(crate) tenant: Option<String>,
    /// Route template of a refused request.
    pub(crate) route: Option<String>,
}

/// Who did it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Actor {
    /// `api_key`, `operator` or `server`.
    pub(crate) kind: String,
    /// A key's public id or an operator's name.
    pub(crate) uid: String,
}

impl Draft {
    pub(crate) fn of<A: Action>(grant: &Grant<A>, now: Timestamp) -> Self {
        let (kind, uid) = match grant.identity() {
            Identity::Key(id) => ("api_key", id.to_string()),
            Identity::Operator(name) => ("operator", name.to_string()),
        };
        let mut draft = Self::bare(kind, uid, A::NAME, now);
        draft.request = grant.request().to_string();
        draft.trace = grant.trace().filter(|trace| is_trace(trace)).map(str::to_owned);
        draft.policy = Some(grant.policy().to_owned());
        draft.namespace = grant.namespace().map(|name| name.as_str().to_owned());
        draft
    }

    /// A line without a grant.
    pub(crate) fn bare(kind: &str, uid: String, operation: &str, now: Timestamp) -> Self {
        Self {
            version: 0,
            time: now.as_millis(),
            request: String::new(),
            trace: None,
            actor: Actor { kind: kind.to_owned(), uid },
            operation: operation.to_owned(),
            policy: None,
            failure: None,
            counts: Vec::new(),
            namespace: None,
            documents: Vec::new(),
            principals: Vec::new(),
            tenant: None,
            route: None,
        }
    }

    pub(crate) fn with(mut self, deed: Deed, now: Timestamp) -> Self {
        self.time = now.as_millis();
        self.failure = match deed.outcome {
            OutcomeKind::Success => None,
            OutcomeKind::Failure(code) => Some(code.as_str().to_owned()),
        };
        self.counts = deed.counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        self.documents = deed.documents.iter().map(|id| id.as_str().to_owned()).collect();
        self.principals = deed.principals.iter().map(|p| p.as_str().to_owned()).collect();
        self
    }

    pub(crate) fn about(mut self, tenant: Option<&TenantId>) -> Self {
        self.tenant = tenant.map(ToString::to_string);
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always become JSON")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|draft: &Self| draft.version == 0)
    }
}

/// A caller writes this text: only what has the form of a trace id goes into a line.
fn is_trace(trace: &str) -> bool {
    trace.len() <= 64 && trace.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
