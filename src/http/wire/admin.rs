//! The control plane on the wire.

use super::{
    common::{self, PrincipalList, at, nullable},
    keys::{KeyHeld, KeyWanted},
};
use crate::{
    http::call::Incoming,
    strict::{List, Parsed},
};
use access::TenantState;
use engine::{KeyView, NewKey, NewTenant, OperatorView, Paged, TenantChange, TenantView};
use kernel::{Error, NamespaceName, OperatorName, Quotas, Role, Scope, TenantId, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a tenant may use. Null is unlimited.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuotasBody {
    /// Documents of all namespaces together, quarantined ones included.
    documents: Option<u64>,
    /// Bytes of documents with all that they hold: ids, titles, addresses, attributes, readers, findings, text and
    /// vectors. Indexes are not counted.
    bytes: Option<u64>,
    namespaces: Option<u64>,
    requests_per_minute: Option<u64>,
    /// Tokens that models read of documents that are stored, and of passages that are reranked.
    tokens_per_minute: Option<u64>,
}

impl From<Quotas> for QuotasBody {
    fn from(q: Quotas) -> Self {
        Self {
            documents: q.documents,
            bytes: q.bytes,
            namespaces: q.namespaces,
            requests_per_minute: q.requests_per_minute,
            tokens_per_minute: q.tokens_per_minute,
        }
    }
}

impl From<QuotasBody> for Quotas {
    fn from(q: QuotasBody) -> Self {
        Self {
            documents: q.documents,
            bytes: q.bytes,
            namespaces: q.namespaces,
            requests_per_minute: q.requests_per_minute,
            tokens_per_minute: q.tokens_per_minute,
        }
    }
}

/// A tenant to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "acme", "display_name": "Acme", "quotas": {"documents": 100000}}))]
pub(crate) struct TenantNew {
    /// `[a-z0-9][a-z0-9-]{0,62}`
    id: String,
    display_name: Option<String>,
    /// A label for your own rules; the server does not act on it.
    governance_class: Option<String>,
    quotas: Option<QuotasBody>,
    key: Option<KeyWanted>,
    /// Days after which its keys are rotated. Absent: as `keys.rotate_days` of the configuration says.
    rotate_days: Option<u32>,
}

impl Incoming for TenantNew {
    type Checked = NewTenant;

    fn check(self) -> Result<NewTenant, Error> {
        Ok(NewTenant {
            id: at("id", TenantId::parse(&self.id))?,
            display_name: label("display_name", self.display_name)?,
            governance_class: label("governance_class", self.governance_class)?,
            quotas: self.quotas.map(Quotas::from).unwrap_or_default(),
            key: self.key.map(KeyWanted::check).transpose()?.unwrap_or_default(),
            rotate_days: self.rotate_days,
        })
    }
}

/// What to change. Absent members keep their value, null removes one. `quotas` replaces all quotas: what is absent in
/// it becomes unlimited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantPatch {
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    display_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    governance_class: Option<Option<String>>,
    quotas: Option<QuotasBody>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    rotate_days: Option<Option<u32>>,
}

impl Incoming for TenantPatch {
    type Checked = TenantChange;

    fn check(self) -> Result<TenantChange, Error> {
        Ok(TenantChange {
            display_name: self.display_name.map(|n| label("display_name", n)).transpose()?,
            governance_class: self.governance_class.map(|n| label("governance_class", n)).transpose()?,
            quotas: self.quotas.map(Quotas::from),
            rotate_days: self.rotate_days,
        })
    }
}

/// A line of text that people give to things.
pub(super) fn label(param: &str, text: Option<String>) -> Result<Option<String>, Error> {
    match text {
        Some(t) if t.is_empty() || t.len() > LABEL_BYTES_MAX || t.chars().any(char::is_control) => {
            Err(Error::invalid(param, "must be 1 to 256 bytes without control characters"))
        }
        fine => Ok(fine),
    }
}

/// A tenant.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tenant {
    id: String,
    /// `active`, `suspended`, `key_unavailable` or `deleting`.
    state: &'static str,
    display_name: Option<String>,
    governance_class: Option<String>,
    quotas: QuotasBody,
    created_at: String,
    key_epoch: u32,
    key: KeyHeld,
    rotate_days: Option<u32>,
    namespaces: u64,
}

impl From<TenantView> for Tenant {
    fn from(view: TenantView) -> Self {
        Self {
            id: view.id.as_str().to_owned(),
            state: match view.state {
                TenantState::Active => "active",
                TenantState::Suspended => "suspended",
                TenantState::KeyUnavailable => "key_unavailable",
                TenantState::Deleting => "deleting",
            },
            display_name: view.display_name,
            governance_class: view.governance_class,
            quotas: view.quotas.into(),
            created_at: view.created_at.to_string(),
            key_epoch: view.key_epoch.0,
            key: KeyHeld::new(view.key, view.key_state),
            rotate_days: view.rotate_days,
            namespaces: view.namespaces,
        }
    }
}

/// A page of tenants.
#[derive(Serialize, ToSchema)]
pub(crate) struct TenantList {
    tenants: Vec<Tenant>,
    /// Give it as `after` for the next page. Null: this was the last.
    next: Option<String>,
}

impl From<Paged<TenantView>> for TenantList {
    fn from(page: Paged<TenantView>) -> Self {
        Self { tenants: page.items.into_iter().map(Tenant::from).collect(), next: page.next }
    }
}

/// An API key to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "search-frontend", "scopes": ["search"], "principals": ["group:staff"]}))]
pub(crate) struct ApiKeyNew {
    name: String,
    /// Absent: `search`, `ingest`, `delete`. The others are given by name: `manage` (namespaces), `review` (quarantined
    /// documents and their text), `act_as` (`as` of a request), `read_all` (every document whatever its readers),
    /// `overwrite` (write over documents that the key does not see), `vectors`, `audit`.
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<List<Parsed<Scope>, { limits::SHORT_LIST_MAX }>>,
    /// The principals as which it reads, at most 256. Absent: it reads documents without readers only.
    #[schema(value_type = Option<Vec<String>>)]
    principals: Option<PrincipalList>,
    /// The namespaces that it may use, at most 1,000. Absent: all.
    #[schema(value_type = Option<Vec<String>>)]
    namespaces: Option<List<Parsed<NamespaceName>, { limits::NAMESPACES_PER_KEY_MAX }>>,
    /// From this time on (RFC 3339) the key is refused.
    expires_at: Option<String>,
}

impl Incoming for ApiKeyNew {
    type Checked = NewKey;

    fn check(self) -> Result<NewKey, Error> {
        let scopes = match self.scopes {
            None => Scope::DEFAULT.to_vec(),
            Some(list) => {
                common::bounded("scopes", list.0.len(), limits::SHORT_LIST_MAX)?;
                list.names()
            }
        };
        let namespaces = match self.namespaces {
            None => Vec::new(),
            Some(list) => {
                common::bounded("namespaces", list.0.len(), limits::NAMESPACES_PER_KEY_MAX)?;
                list.names()
            }
        };
        Ok(NewKey {
            name: label("name", Some(self.name))?.unwrap_or_default(),
            scopes,
            principals: match self.principals {
                Some(list) => list.names(),
                None => Vec::new(),
            },
            namespaces,
            expires_at: self.expires_at.map(|t| common::time("expires_at", &t)).transpose()?,
        })
    }
}

/// An API key and its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyMade {
    #[serde(flatten)]
    key: ApiKey,
    secret: String,
}

impl ApiKeyMade {
    pub(crate) fn new(view: KeyView, secret: &str) -> Self {
        Self { key: view.into(), secret: secret.to_owned() }
    }
}

/// An API key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKey {
    key_id: String,
    name: String,
    scopes: Vec<&'static str>,
    principals: Vec<String>,
    namespaces: Vec<String>,
    created_at: String,
    expires_at: Option<String>,
}

impl From<KeyView> for ApiKey {
    fn from(view: KeyView) -> Self {
        Self {
            key_id: view.id.as_str().to_owned(),
            name: view.name,
            scopes: view.scopes.iter().map(|s| s.as_str()).collect(),
            principals: view.principals.iter().map(|p| p.as_str().to_owned()).collect(),
            namespaces: view.namespaces.iter().map(|n| n.as_str().to_owned()).collect(),
            created_at: view.created_at.to_string(),
            expires_at: view.expires_at.map(|t| t.to_string()),
        }
    }
}

/// A page of API keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyList {
    api_keys: Vec<ApiKey>,
    /// Give it as `after` for the next page. Null: this was the last.
    next: Option<String>,
}

impl From<Paged<KeyView>> for ApiKeyList {
    fn from(page: Paged<KeyView>) -> Self {
        Self { api_keys: page.items.into_iter().map(ApiKey::from).collect(), next: page.next }
    }
}

/// An operator to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "night-shift", "role": "viewer"}))]
pub(crate) struct OperatorNew {
    name: String,
    /// `admin`: everything on the control plane. `keys`: rotate keys and see their state. `viewer`: look only.
    /// `auditor`: look, and read the operators' audit.
    role: String,
}

impl Incoming for OperatorNew {
    type Checked = (OperatorName, Role);

    fn check(self) -> Result<(OperatorName, Role), Error> {
        Ok((OperatorName::parse(&self.name)?, Role::parse(&self.role)?))
    }
}

/// An operator and its token, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(crate) struct OperatorMade {
    #[serde(flatten)]
    operator: Operator,
    token: String,
}

impl OperatorMade {
    pub(crate) fn new(view: OperatorView, token: &str) -> Self {
        Self { operator: view.into(), token: token.to_owned() }
    }
}

/// An operator.
#[derive(Serialize, ToSchema)]
pub(crate) struct Operator {
    id: String,
    name: String,
    role: &'static str,
    created_at: String,
}

impl From<OperatorView> for Operator {
    fn from(view: OperatorView) -> Self {
        Self {
            id: view.id.as_str().to_owned(),
            name: view.name.as_str().to_owned(),
            role: view.role.as_str(),
            created_at: view.created_at.to_string(),
        }
    }
}

/// All operators.
#[derive(Serialize, ToSchema)]
pub(crate) struct OperatorList {
    pub(crate) operators: Vec<Operator>,
    /// Always null: there are few.
    pub(crate) next: Option<String>,
}

/// Counters of tenants, by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageList {
    pub(crate) tenants: Vec<TenantUsage>,
    /// Give it as `after` for the next page; absent at the end. A page may be shorter than `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// What a tenant has done since it was created.
#[derive(Serialize, ToSchema)]
pub(crate) struct TenantUsage {
    pub(crate) tenant: String,
    pub(crate) requests: u64,
    pub(crate) searches: u64,
    /// Documents written.
    pub(crate) documents: u64,
    /// Tokens embedded.
    pub(crate) tokens: u64,
    /// Bytes of content received.
    pub(crate) bytes_in: u64,
}

/// Names that people give, bytes: a line on a screen.
const LABEL_BYTES_MAX: usize = 256;
