//! An audited event before it becomes a record: it still holds plain ids and a reviewer's plain note, and exists only
//! in memory or inside a sealed commit.

use access::{Action, Grant, Identity};
use kernel::{
    Clock, Code, DocumentId, KeyId, NamespaceName, NamespaceUuid, Principal, Scope, TenantId, Timestamp, Untrusted,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The request was carried out.
    Success,
    /// The request failed with this code.
    Failure(Code),
}

/// What was done under a grant: the part of the record that the grant does not know.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// How the request ended.
    pub outcome: OutcomeKind,
    /// Counts by name: `hits`, `documents`, `tokens`, `bytes_in`.
    pub counts: Vec<(&'static str, u64)>,
    /// Documents that were returned or changed. They become keyed pseudonyms.
    pub documents: Vec<DocumentId>,
    /// Principals that the request acted as. They become keyed pseudonyms.
    pub principals: Vec<Principal>,
    /// Log of a namespace that was deleted: the chain forgets its recorded commit.
    pub ended: Option<NamespaceUuid>,
    /// A reviewer's reason. It becomes a keyed pseudonym.
    pub note: Option<Untrusted>,
}

/// An API key that an operator made or revoked, as its tenant's audit records it.
#[derive(Clone, Debug)]
pub struct ApiKeyEvent {
    /// Public id of the key.
    pub id: KeyId,
    /// Scopes of the key.
    pub scopes: Vec<Scope>,
    /// Principals that the key reads as. They become keyed pseudonyms.
    pub principals: Vec<Principal>,
    /// Namespaces that the key is restricted to; empty means all. They become keyed pseudonyms.
    pub namespaces: Vec<NamespaceName>,
    /// Expiry time of the key.
    pub expires_at: Option<Timestamp>,
}

impl AuditEvent {
    /// A successful event without details.
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

    /// An event that failed with this code.
    pub fn failure(code: Code) -> Self {
        Self { outcome: OutcomeKind::Failure(code), ..Self::success() }
    }

    /// Adds a count.
    #[must_use]
    pub fn count(mut self, name: &'static str, count: u64) -> Self {
        self.counts.push((name, count));
        self
    }

    /// Sets the documents.
    #[must_use]
    pub fn documents(mut self, documents: Vec<DocumentId>) -> Self {
        self.documents = documents;
        self
    }

    /// Sets the namespace that the event deleted.
    #[must_use]
    pub fn ended(mut self, namespace: NamespaceUuid) -> Self {
        self.ended = Some(namespace);
        self
    }

    /// Sets the reviewer's reason.
    #[must_use]
    pub fn note(mut self, note: Option<Untrusted>) -> Self {
        self.note = note;
        self
    }

    /// Sets the principals.
    #[must_use]
    pub fn principals(mut self, principals: Vec<Principal>) -> Self {
        self.principals = principals;
        self
    }
}

impl ApiKeyEvent {
    /// A key of which only the id is known, because its tenant's directory does not open.
    pub fn unknown(id: &KeyId) -> Self {
        let (scopes, principals, namespaces) = (Vec::new(), Vec::new(), Vec::new());
        Self { id: id.clone(), scopes, principals, namespaces, expires_at: None }
    }
}

/// Writes the record of a mutation in progress. It owns all that it needs, so that it can travel into the store and be
/// used once the outcome is known.
pub struct RecordWriter {
    draft: PendingRecord,
    clock: Arc<dyn Clock>,
}

impl RecordWriter {
    pub(crate) fn new<A: Action>(grant: &Grant<A>, clock: Arc<dyn Clock>) -> Self {
        Self { draft: PendingRecord::from_grant(grant, clock.now()), clock }
    }

    /// Encodes the record as part of the commit. It holds plain ids and notes, as the commit does, and both are sealed.
    /// The tenant's chain gets pseudonyms instead.
    pub fn write(self, event: AuditEvent) -> Vec<u8> {
        self.draft.with_event(event, self.clock.now()).encode()
    }
}

/// A record that is not in the chain yet. It has no `Debug`, because it holds customers' ids.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PendingRecord {
    version: u8,
    /// Milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) request: String,
    pub(crate) trace: Option<String>,
    pub(crate) actor: Actor,
    pub(crate) operation: String,
    pub(crate) policy: Option<String>,
    /// Error code; `None` for a success.
    pub(crate) failure: Option<String>,
    pub(crate) counts: Vec<(String, u64)>,
    pub(crate) namespace: Option<String>,
    pub(crate) documents: Vec<String>,
    pub(crate) principals: Vec<String>,
    /// The API key that was created or revoked.
    pub(crate) api_key: Option<ApiKeyFields>,
    /// Namespaces that the key is restricted to; its principals are in `principals`.
    pub(crate) namespaces: Vec<String>,
    /// Uuid of a deleted namespace's log.
    pub(crate) ended: Option<String>,
    /// A reviewer's reason.
    pub(crate) note: Option<String>,
    /// The namespace that differs from what the chain recorded of it.
    pub(crate) rollback: Option<RollbackFields>,
    /// Tenant that an operator acted on; only in the operators' chain.
    pub(crate) tenant: Option<String>,
    /// Route template of a refused request.
    pub(crate) route: Option<String>,
}

/// See [`ApiKeyEvent`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKeyFields {
    pub(crate) id: String,
    pub(crate) scopes: Vec<String>,
    /// Milliseconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

/// See [`crate::Rollback`].
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackFields {
    pub(crate) log: String,
    pub(crate) recorded: u64,
    pub(crate) found: u64,
}

/// The acting key, operator or server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Actor {
    /// `api_key`, `operator` or `server`.
    pub(crate) kind: String,
    /// A key's public id or an operator's name.
    pub(crate) uid: String,
}

impl PendingRecord {
    pub(crate) fn from_grant<A: Action>(grant: &Grant<A>, now: Timestamp) -> Self {
        let (kind, uid) = match grant.identity() {
            Identity::Key(id) => ("api_key", id.to_string()),
            Identity::Operator(name) => ("operator", name.to_string()),
        };
        let mut draft = Self::without_grant(kind, uid, A::NAME, now);
        draft.request = grant.request().to_string();
        draft.trace = grant.trace().filter(|trace| is_trace(trace)).map(str::to_owned);
        draft.policy = Some(grant.policy().to_owned());
        draft.namespace = grant.namespace().map(|name| name.as_str().to_owned());
        draft
    }

    /// A record of an act without a grant.
    pub(crate) fn without_grant(kind: &str, uid: String, operation: &str, now: Timestamp) -> Self {
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

    pub(crate) fn with_event(mut self, event: AuditEvent, now: Timestamp) -> Self {
        self.time = now.as_millis();
        self.failure = match event.outcome {
            OutcomeKind::Success => None,
            OutcomeKind::Failure(code) => Some(code.as_str().to_owned()),
        };
        self.counts = event.counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        self.documents = event.documents.iter().map(|id| id.as_str().to_owned()).collect();
        self.principals = event.principals.iter().map(|p| p.as_str().to_owned()).collect();
        self.ended = event.ended.map(|namespace| namespace.to_string());
        self.note = event.note.map(Untrusted::into_exposed);
        self
    }

    /// Adds the description of an API key.
    pub(crate) fn with_api_key(mut self, key: &ApiKeyEvent) -> Self {
        let scopes = key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        let expires_at = key.expires_at.map(Timestamp::as_millis);
        self.api_key = Some(ApiKeyFields { id: key.id.to_string(), scopes, expires_at });
        self.principals = key.principals.iter().map(|p| p.as_str().to_owned()).collect();
        self.namespaces = key.namespaces.iter().map(|n| n.as_str().to_owned()).collect();
        self
    }

    /// Whether an API key made the request: acts of operators and of the server do not count as the tenant's usage.
    pub(crate) fn is_request(&self) -> bool {
        self.actor.kind == "api_key"
    }

    pub(crate) fn with_tenant(mut self, tenant: Option<&TenantId>) -> Self {
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

/// The caller controls this text, so only what has the form of a trace id goes into a record.
fn is_trace(trace: &str) -> bool {
    trace.len() <= 64 && trace.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}
