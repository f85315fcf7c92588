//! An audited event before it becomes a line: with plain ids and a reviewer's plain note, in memory or in a sealed commit
//! only.

use access::{Action, Grant, Identity};
use kernel::{
    Clock, Code, DocumentId, KeyId, NamespaceName, NamespaceUuid, Principal, Scope, TenantId, Timestamp, Untrusted,
};
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
    /// A namespace that was deleted: the chain keeps nothing more of it.
    pub ended: Option<NamespaceUuid>,
    /// Why a reviewer decided so. It becomes a keyed pseudonym.
    pub note: Option<Untrusted>,
}

/// An API key that an operator made or revoked, as its tenant's audit records it.
#[derive(Clone, Debug)]
pub struct ApiKeyDeed {
    /// Its public id.
    pub id: KeyId,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The principals as which it reads. They become keyed pseudonyms.
    pub principals: Vec<Principal>,
    /// The namespaces it may enter; empty is all of them. They become keyed pseudonyms.
    pub namespaces: Vec<NamespaceName>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

impl Deed {
    /// A success.
    pub fn success() -> Self {
        Self {
            outcome: OutcomeKind::Success,
            counts: Vec::new(),
            documents: Vec::new(),
            principals: Vec::new(),
            ended: None,
            note: None,
        }
    }

    /// A failure.
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

    /// With a namespace that it deleted.
    #[must_use]
    pub fn ended(mut self, namespace: NamespaceUuid) -> Self {
        self.ended = Some(namespace);
        self
    }

    /// With the reason that was given.
    #[must_use]
    pub fn note(mut self, note: Option<Untrusted>) -> Self {
        self.note = note;
        self
    }

    /// With principals.
    #[must_use]
    pub fn principals(mut self, principals: Vec<Principal>) -> Self {
        self.principals = principals;
        self
    }
}

impl ApiKeyDeed {
    /// A key of which only the id is known, because its tenant's directory does not open.
    pub fn unknown(id: &KeyId) -> Self {
        let (scopes, principals, namespaces) = (Vec::new(), Vec::new(), Vec::new());
        Self { id: id.clone(), scopes, principals, namespaces, expires_at: None }
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

    /// The line, as part of the commit. It holds plain ids and notes, as the commit does; both are sealed.
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
    /// An API key that was made or revoked.
    pub(crate) api_key: Option<ApiKeyForm>,
    /// Where that key may go; its principals stand above.
    pub(crate) namespaces: Vec<String>,
    /// Uuid of a deleted namespace's log.
    pub(crate) ended: Option<String>,
    /// A reviewer's reason.
    pub(crate) note: Option<String>,
    /// A namespace that is not what the chain has recorded of it.
    pub(crate) rollback: Option<RollbackForm>,
    /// Named by an operator's act, in the control-side chain only.
    pub(crate) tenant: Option<String>,
    /// Route template of a refused request.
    pub(crate) route: Option<String>,
}

/// See [`ApiKeyDeed`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKeyForm {
    pub(crate) id: String,
    pub(crate) scopes: Vec<String>,
    /// Milliseconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

/// See [`crate::Rollback`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackForm {
    pub(crate) log: String,
    pub(crate) recorded: u64,
    pub(crate) found: u64,
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
            api_key: None,
            namespaces: Vec::new(),
            ended: None,
            note: None,
            rollback: None,
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
        self.ended = deed.ended.map(|namespace| namespace.to_string());
        self.note = deed.note.map(Untrusted::into_exposed);
        self
    }

    /// Of an API key.
    pub(crate) fn of_key(mut self, key: &ApiKeyDeed) -> Self {
        let scopes = key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        let expires_at = key.expires_at.map(Timestamp::as_millis);
        self.api_key = Some(ApiKeyForm { id: key.id.to_string(), scopes, expires_at });
        self.principals = key.principals.iter().map(|p| p.as_str().to_owned()).collect();
        self.namespaces = key.namespaces.iter().map(|n| n.as_str().to_owned()).collect();
        self
    }

    /// Whether a caller asked for it: what operators and the server do counts as no use of the tenant's.
    pub(crate) fn is_request(&self) -> bool {
        self.actor.kind == "api_key"
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
