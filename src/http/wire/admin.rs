//! Wire types of the control plane.

use super::{
    common::{self, PrincipalList, at, nullable},
    keys::{KeyHeld, KeyWanted},
};
use crate::{
    http::request_data::RequestBody,
    strict::{BoundedList, Parsed},
};
use access::TenantState;
use engine::{ApiKeyView, ListPage, NewApiKey, NewTenant, OperatorView, TenantChange, TenantView};
use kernel::{Error, NamespaceName, OperatorName, Quotas, Role, Scope, TenantId, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Limits of a tenant. Null means unlimited.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuotasBody {
    /// Documents in all namespaces together, including quarantined ones.
    documents: Option<u64>,
    /// Bytes of documents with everything that they hold: ids, titles, addresses, attributes, readers, findings, text
    /// and vectors. Indexes are not counted.
    bytes: Option<u64>,
    namespaces: Option<u64>,
    requests_per_minute: Option<u64>,
    /// Tokens that models process for stored documents and for reranked passages.
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
    /// Id of the tenant: `[a-z0-9][a-z0-9-]{0,62}`.
    id: String,
    display_name: Option<String>,
    /// A label for your own rules; it has no effect on the server.
    governance_class: Option<String>,
    quotas: Option<QuotasBody>,
    key: Option<KeyWanted>,
    /// Age in days at which the tenant's keys are rotated. Absent: `keys.rotate_days` of the configuration applies.
    rotate_days: Option<u32>,
}

impl RequestBody for TenantNew {
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

/// Changes to a tenant. Absent members keep their value; null removes a value. `quotas` replaces all quotas: a quota
/// that is absent in it becomes unlimited.
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

impl RequestBody for TenantPatch {
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

/// Checks a one-line label that people give to something.
pub(super) fn label(param: &str, text: Option<String>) -> Result<Option<String>, Error> {
    match text {
        Some(t) if t.is_empty() || t.len() > LABEL_BYTES_MAX || t.chars().any(char::is_control) => {
            Err(Error::invalid(param, "must be 1 to 256 bytes without control characters"))
        }
        valid => Ok(valid),
    }
}

/// A tenant.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tenant {
    id: String,
    /// State: `active`, `suspended`, `key_unavailable` or `deleting`.
    state: &'static str,
    display_name: Option<String>,
    governance_class: Option<String>,
    quotas: QuotasBody,
    created_at: String,
    key_epoch: u32,
    key: KeyHeld,
    rotate_days: Option<u32>,
    /// Number of namespaces. Null if the tenant cannot be opened, or not quickly enough.
    namespaces: Option<u64>,
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
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
}

impl From<ListPage<TenantView>> for TenantList {
    fn from(page: ListPage<TenantView>) -> Self {
        Self { tenants: page.items.into_iter().map(Tenant::from).collect(), next: page.next }
    }
}

/// An API key to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "search-frontend", "scopes": ["search"], "principals": ["group:staff"]}))]
pub(crate) struct ApiKeyNew {
    name: String,
    /// Absent: `search`, `ingest`, `delete`. The others must be named: `manage` (namespaces), `review` (quarantined
    /// documents and their text), `act_as` (`as` of a request), `read_all` (every document whatever its readers),
    /// `overwrite` (replace documents that the key cannot see), `vectors`, `audit`.
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<BoundedList<Parsed<Scope>, { limits::SHORT_LIST_MAX }>>,
    /// The principals as which the key reads, at most 256. Absent: it reads only documents without readers.
    #[schema(value_type = Option<Vec<String>>)]
    principals: Option<PrincipalList>,
    /// The namespaces that the key may use, at most 1,000. Absent: all.
    #[schema(value_type = Option<Vec<String>>)]
    namespaces: Option<BoundedList<Parsed<NamespaceName>, { limits::NAMESPACES_PER_KEY_MAX }>>,
    /// Time from which the key is refused (RFC 3339).
    expires_at: Option<String>,
}

impl RequestBody for ApiKeyNew {
    type Checked = NewApiKey;

    fn check(self) -> Result<NewApiKey, Error> {
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
        Ok(NewApiKey {
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

/// An API key and its secret, which is shown only in this reply.
#[derive(Serialize, ToSchema)]
pub(crate) struct ApiKeyMade {
    #[serde(flatten)]
    key: ApiKey,
    secret: String,
}

impl ApiKeyMade {
    pub(crate) fn new(view: ApiKeyView, secret: &str) -> Self {
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

impl From<ApiKeyView> for ApiKey {
    fn from(view: ApiKeyView) -> Self {
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
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
}

impl From<ListPage<ApiKeyView>> for ApiKeyList {
    fn from(page: ListPage<ApiKeyView>) -> Self {
        Self { api_keys: page.items.into_iter().map(ApiKey::from).collect(), next: page.next }
    }
}

/// An operator to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "night-shift", "role": "viewer"}))]
pub(crate) struct OperatorNew {
    name: String,
    /// `admin`: everything on the control plane. `keys`: rotate keys and see their state. `viewer`: read only.
    /// `auditor`: read only, including the operators' audit.
    role: String,
}

impl RequestBody for OperatorNew {
    type Checked = (OperatorName, Role);

    fn check(self) -> Result<(OperatorName, Role), Error> {
        Ok((OperatorName::parse(&self.name)?, Role::parse(&self.role)?))
    }
}

/// An operator and its token, which is shown only in this reply.
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
    /// Always null: the list has only one page.
    pub(crate) next: Option<String>,
}

/// Usage counters of tenants, ordered by name.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageList {
    pub(crate) tenants: Vec<TenantUsage>,
    /// Value of `after` for the next page; absent on the last page. A page may be shorter than `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Usage of a tenant since it was created.
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

/// Maximum length of a label in bytes: one line on a screen.
const LABEL_BYTES_MAX: usize = 256;
