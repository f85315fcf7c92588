//! Tenants, API keys and operators: the control plane.

use crate::{
    common::{PrincipalList, nullable},
    keys::{KeyHeld, KeyWanted},
    strict::{BoundedList, Parsed},
};
use kernel::{NamespaceName, Scope, limits};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// Limits of a tenant. Null means unlimited.
#[derive(Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotasBody {
    /// Documents in all namespaces together, including quarantined ones.
    pub documents: Option<u64>,
    /// Bytes of documents with everything that they hold: ids, titles, addresses, attributes, readers, findings, text
    /// and vectors. Indexes are not counted.
    pub bytes: Option<u64>,
    pub namespaces: Option<u64>,
    pub requests_per_minute: Option<u64>,
    /// Tokens that models process for stored documents and for reranked passages.
    pub tokens_per_minute: Option<u64>,
}

/// A tenant to create.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "acme", "display_name": "Acme", "quotas": {"documents": 100000}}))]
pub struct TenantNew {
    /// Id of the tenant: `[a-z0-9][a-z0-9-]{0,62}`.
    pub id: String,
    pub display_name: Option<String>,
    /// A label for your own rules; it has no effect on the server.
    pub governance_class: Option<String>,
    pub quotas: Option<QuotasBody>,
    pub key: Option<KeyWanted>,
    /// Age in days at which the tenant's keys are rotated. Absent: `keys.rotate_days` of the configuration applies.
    pub rotate_days: Option<u32>,
}

/// Changes to a tenant. Absent members keep their value; null removes a value. `quotas` replaces all quotas: a quota
/// that is absent in it becomes unlimited.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub display_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub governance_class: Option<Option<String>>,
    pub quotas: Option<QuotasBody>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub rotate_days: Option<Option<u32>>,
}

/// A tenant.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Tenant {
    pub id: String,
    /// State: `active`, `suspended`, `key_unavailable` or `deleting`.
    pub state: Cow<'static, str>,
    pub display_name: Option<String>,
    pub governance_class: Option<String>,
    pub quotas: QuotasBody,
    pub created_at: String,
    pub key_epoch: u32,
    pub key: KeyHeld,
    pub rotate_days: Option<u32>,
    /// Number of namespaces. Null if the tenant cannot be opened, or not quickly enough.
    pub namespaces: Option<u64>,
}

/// A page of tenants.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct TenantList {
    pub tenants: Vec<Tenant>,
    /// Value of `after` for the next page. Null on the last page.
    pub next: Option<String>,
}

/// An API key to create.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "search-frontend", "scopes": ["search"], "principals": ["group:staff"]}))]
pub struct ApiKeyNew {
    pub name: String,
    /// Absent: `search`, `ingest`, `delete`. The others must be named: `manage` (namespaces), `review` (quarantined
    /// documents and their text), `act_as` (`as` of a request), `read_all` (every document whatever its readers),
    /// `overwrite` (replace documents that the key cannot see), `vectors`, `audit`.
    #[schema(value_type = Option<Vec<String>>)]
    pub scopes: Option<BoundedList<Parsed<Scope>, { limits::SHORT_LIST_MAX }>>,
    /// The principals as which the key reads, at most 256. Absent: it reads only documents without readers.
    #[schema(value_type = Option<Vec<String>>)]
    pub principals: Option<PrincipalList>,
    /// The namespaces that the key may use, at most 1,000. Absent: all.
    #[schema(value_type = Option<Vec<String>>)]
    pub namespaces: Option<BoundedList<Parsed<NamespaceName>, { limits::NAMESPACES_PER_KEY_MAX }>>,
    /// Time from which the key is refused (RFC 3339).
    pub expires_at: Option<String>,
}

/// An API key and its secret, which is shown only in this reply.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct ApiKeyMade {
    #[serde(flatten)]
    pub key: ApiKey,
    pub secret: String,
}

/// An API key.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct ApiKey {
    pub key_id: String,
    pub name: String,
    pub scopes: Vec<Cow<'static, str>>,
    pub principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub created_at: String,
    pub expires_at: Option<String>,
}

/// A page of API keys.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct ApiKeyList {
    pub api_keys: Vec<ApiKey>,
    /// Value of `after` for the next page. Null on the last page.
    pub next: Option<String>,
}

/// An operator to create.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "night-shift", "role": "viewer"}))]
pub struct OperatorNew {
    pub name: String,
    /// `admin`: everything on the control plane. `keys`: rotate keys and see their state. `viewer`: read only.
    /// `auditor`: read only, including the operators' audit.
    pub role: String,
}

/// An operator and its token, which is shown only in this reply.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct OperatorMade {
    #[serde(flatten)]
    pub operator: OperatorInfo,
    pub token: String,
}

/// An operator.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Operator)]
pub struct OperatorInfo {
    pub id: String,
    pub name: String,
    pub role: Cow<'static, str>,
    pub created_at: String,
}

/// All operators.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct OperatorList {
    pub operators: Vec<OperatorInfo>,
    /// Always null: the list has only one page.
    pub next: Option<String>,
}

/// Usage counters of tenants, ordered by name.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct UsageList {
    pub tenants: Vec<TenantUsage>,
    /// Value of `after` for the next page; absent on the last page. A page may be shorter than `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Usage of a tenant since it was created.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct TenantUsage {
    pub tenant: String,
    pub requests: u64,
    pub searches: u64,
    /// Documents written.
    pub documents: u64,
    /// Tokens embedded.
    pub tokens: u64,
    /// Bytes of content received.
    pub bytes_in: u64,
}
