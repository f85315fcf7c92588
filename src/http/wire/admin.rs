//! The control plane on the wire.

use super::common::{self, at, nullable};
use crate::http::call::Incoming;
use access::TenantState;
use engine::{
    KeyChoice, KeyState, KeyStatus, KeyView, NewKey, NewTenant, OperationView, OperatorView, Paged, RotateMode,
    TenantChange, TenantView,
};
use kernel::{Error, NamespaceName, OperatorName, Quotas, Role, Scope, TenantId, Timestamp, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a tenant may use. Null is unlimited.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuotasBody {
    documents: Option<u64>,
    bytes: Option<u64>,
    namespaces: Option<u64>,
    requests_per_minute: Option<u64>,
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

/// A tenant to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "acme", "display_name": "Acme", "quotas": {"documents": 100000}}))]
pub(crate) struct TenantNew {
    /// `[a-z0-9][a-z0-9-]{0,62}`
    id: String,
    display_name: Option<String>,
    governance_class: Option<String>,
    quotas: Option<QuotasBody>,
    key: Option<KeyWanted>,
    /// Days after which its keys are rotated. Absent: as the configuration says.
    rotate_days: Option<u32>,
}

/// Which key wraps a tenant's own. What is absent is as the configuration says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"provider": "bao", "name": "acme"}))]
pub(crate) struct KeyWanted {
    /// `local`, or the name of a `[key_providers.…]` of the configuration.
    provider: Option<String>,
    /// The key's name there.
    name: Option<String>,
}

impl KeyWanted {
    fn check(self) -> Result<KeyChoice, Error> {
        let word = |param: &str, text: Option<String>| match text {
            Some(t) if t.is_empty() || t.len() > LABEL_BYTES_MAX || t.chars().any(char::is_control) => {
                Err(Error::invalid(param, "must be 1 to 256 bytes without control characters"))
            }
            fine => Ok(fine),
        };
        Ok(KeyChoice { provider: word("key.provider", self.provider)?, key: word("key.name", self.name)? })
    }
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

/// What shall change; absent members keep their value, null removes. `quotas` is taken as a whole.
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
fn label(param: &str, text: Option<String>) -> Result<Option<String>, Error> {
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

/// The key that wraps a tenant's own, and whether it can be had.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyHeld {
    /// Empty once it is destroyed.
    provider: String,
    name: String,
    /// `active`; `unavailable`: its provider refuses it or does not answer, and requests are served until the lease ends;
    /// `sealed`: nothing is served, and nothing of the tenant is in memory; `shredded`.
    state: &'static str,
    /// `outage`, or how it is refused: `disabled`, `missing`, `forbidden`, `not_authentic`.
    why: Option<&'static str>,
    since: Option<String>,
    /// How long requests are served yet, seconds.
    serves_for_s: Option<u64>,
}

impl KeyHeld {
    fn new((provider, name): (String, String), held: KeyState) -> Self {
        let state = held.as_str();
        let (why, since, serves_for_s) = match held {
            KeyState::Unavailable { why, since, serves_for } => {
                (Some(why.as_str()), Some(since.to_string()), Some(serves_for.as_secs()))
            }
            KeyState::Sealed(why) => (Some(why.as_str()), None, None),
            KeyState::Active | KeyState::Shredded => (None, None, None),
        };
        Self { provider, name, state, why, since, serves_for_s }
    }
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
    /// Give it as `after` for more.
    next: Option<String>,
}

impl From<Paged<TenantView>> for TenantList {
    fn from(page: Paged<TenantView>) -> Self {
        Self { tenants: page.items.into_iter().map(Tenant::from).collect(), next: page.next }
    }
}

/// An API key to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "search-frontend", "scopes": ["search"], "principals": ["group:staff"]}))]
pub(crate) struct ApiKeyNew {
    name: String,
    /// Absent: `search`, `ingest`, `delete`.
    scopes: Option<Vec<String>>,
    /// Whom it reads as. Absent: open documents only.
    principals: Option<Vec<String>>,
    /// The namespaces it may enter. Absent: all.
    namespaces: Option<Vec<String>>,
    /// RFC 3339.
    expires_at: Option<String>,
}

impl Incoming for ApiKeyNew {
    type Checked = NewKey;

    fn check(self) -> Result<NewKey, Error> {
        let scopes = match self.scopes {
            None => Scope::DEFAULT.to_vec(),
            Some(list) => {
                common::bounded("scopes", list.len(), limits::SHORT_LIST_MAX)?;
                let scope = |(n, s): (usize, &String)| at(format!("scopes[{n}]"), Scope::parse(s));
                list.iter().enumerate().map(scope).collect::<Result<_, _>>()?
            }
        };
        let namespace = |(n, s): (usize, &String)| at(format!("namespaces[{n}]"), NamespaceName::parse(s));
        let namespaces = match self.namespaces {
            None => Vec::new(),
            Some(list) => {
                common::bounded("namespaces", list.len(), limits::SHORT_LIST_MAX)?;
                list.iter().enumerate().map(namespace).collect::<Result<_, _>>()?
            }
        };
        Ok(NewKey {
            name: label("name", Some(self.name))?.unwrap_or_default(),
            scopes,
            principals: match self.principals {
                Some(list) if !list.is_empty() => common::principals("principals", &list)?,
                _ => Vec::new(),
            },
            namespaces,
            expires_at: self.expires_at.map(|t| common::time("expires_at", &t)).transpose()?,
        })
    }
}

/// An API key and its secret, told this once.
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
    /// Give it as `after` for more.
    next: Option<String>,
}

impl From<Paged<KeyView>> for ApiKeyList {
    fn from(page: Paged<KeyView>) -> Self {
        Self { api_keys: page.items.into_iter().map(ApiKey::from).collect(), next: page.next }
    }
}

/// How to rotate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap"}))]
pub(crate) struct Rotate {
    /// `rewrap`: keys are wrapped anew, objects stay as they are. `reencrypt`, after a compromise: every object is sealed
    /// anew under fresh keys.
    mode: RotateWord,
    /// With `reencrypt`: when it should have ended. Whoever is late is told, and goes on. Absent: in 24 hours.
    deadline: Option<String>,
    /// Another key for the new epoch.
    key: Option<KeyWanted>,
}

/// How to rotate.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RotateWord {
    Rewrap,
    Reencrypt,
}

impl Incoming for Rotate {
    type Checked = (RotateMode, Option<KeyChoice>);

    fn check(self) -> Result<Self::Checked, Error> {
        let mode = match self.mode {
            RotateWord::Rewrap => RotateMode::Rewrap,
            RotateWord::Reencrypt => {
                let deadline = self.deadline.as_deref().map(|at| common::at("deadline", Timestamp::parse(at)));
                RotateMode::Reencrypt(deadline.transpose()?)
            }
        };
        if self.deadline.is_some() && mode == RotateMode::Rewrap {
            return Err(Error::invalid("deadline", "is for mode reencrypt"));
        }
        Ok((mode, self.key.map(KeyWanted::check).transpose()?))
    }
}

/// How to rotate the keys of all tenants.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap", "concurrency": 4}))]
pub(crate) struct RotateAll {
    mode: RotateWord,
    /// Tenants at once, 1 to 32; 4 if absent.
    concurrency: Option<u32>,
}

impl Incoming for RotateAll {
    type Checked = (bool, u32);

    fn check(self) -> Result<Self::Checked, Error> {
        Ok((matches!(self.mode, RotateWord::Reencrypt), self.concurrency.unwrap_or(4)))
    }
}

/// How to rotate the server's own keys.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "rewrap"}))]
pub(crate) struct RotateServer {
    /// `reencrypt` seals everything of the control place and the operators' audit anew as well.
    mode: RotateWord,
    /// Another key for them.
    key: Option<KeyWanted>,
}

impl Incoming for RotateServer {
    type Checked = (bool, Option<KeyChoice>);

    fn check(self) -> Result<Self::Checked, Error> {
        Ok((matches!(self.mode, RotateWord::Reencrypt), self.key.map(KeyWanted::check).transpose()?))
    }
}

/// The server's own keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerKeys {
    provider: String,
    key: String,
    /// When the control place's keys were wrapped.
    created_at: String,
    /// Epochs of the control place's own key; two while everything is sealed anew.
    control_epochs: Vec<u32>,
    /// Epochs of the key above the operators' audit; two while a rotation is under way.
    audit_epochs: Vec<ServerEpoch>,
    /// Null when no rotation runs.
    rotating: Option<RotatingServer>,
}

/// One epoch of the key above the operators' audit.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerEpoch {
    epoch: u32,
    created_at: String,
    provider: String,
    key: String,
}

/// A rotation of the server's own keys under way.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatingServer {
    mode: &'static str,
    begun_at: String,
}

impl From<engine::ServerKeys> for ServerKeys {
    fn from(keys: engine::ServerKeys) -> Self {
        let engine::ServerKeys { key: (provider, key), created_at, control_epochs, audit_epochs, rotating } = keys;
        let audit_epochs = audit_epochs.into_iter().map(|(epoch, created_at, provider, key)| ServerEpoch {
            epoch: epoch.0,
            created_at: created_at.to_string(),
            provider,
            key,
        });
        Self {
            provider,
            key,
            created_at: created_at.to_string(),
            control_epochs: control_epochs.into_iter().map(|epoch| epoch.0).collect(),
            audit_epochs: audit_epochs.collect(),
            rotating: rotating.map(|(begun_at, reencrypt)| RotatingServer {
                mode: if reencrypt { "reencrypt" } else { "rewrap" },
                begun_at: begun_at.to_string(),
            }),
        }
    }
}

/// A rotation of all tenants under way.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatingAll {
    mode: &'static str,
    begun_at: String,
    concurrency: u32,
    /// Tenants done, and all of them. What failed is told by the operations.
    progress: Progress,
}

impl From<engine::Campaign> for RotatingAll {
    fn from(campaign: engine::Campaign) -> Self {
        let engine::Campaign { reencrypt, begun_at, concurrency, done, total } = campaign;
        let mode = if reencrypt { "reencrypt" } else { "rewrap" };
        Self { mode, begun_at: begun_at.to_string(), concurrency, progress: Progress { done, total, unit: "tenants" } }
    }
}

/// A rotation under way.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rotating {
    pub(crate) operation: String,
    /// The epoch it leads to.
    pub(crate) epoch: u32,
}

/// A tenant's key epochs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Keys {
    current: u32,
    key: KeyHeld,
    /// How keys and objects are sealed.
    algorithms: Algorithms,
    epochs: Vec<Epoch>,
    /// When the next rotation is begun, if a rule says so.
    next_rotation: Option<String>,
    /// Null when no rotation runs.
    rotating: Option<Progress>,
}

/// One epoch.
#[derive(Serialize, ToSchema)]
pub(crate) struct Epoch {
    epoch: u32,
    created_at: String,
    age_days: u64,
    provider: String,
    key: String,
    /// Keys that it wraps.
    objects: u64,
    /// Keys that it has wrapped so far, and how many it may.
    wraps: u64,
    wraps_max: u64,
}

/// How keys and objects are sealed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Algorithms {
    keys: &'static str,
    objects: &'static str,
    log: &'static str,
}

impl From<KeyStatus> for Keys {
    fn from(status: KeyStatus) -> Self {
        let epochs = status.epochs.into_iter();
        let epochs = epochs.map(|e| Epoch {
            epoch: e.epoch.0,
            created_at: e.created_at.to_string(),
            age_days: e.age.as_secs() / 86_400,
            provider: e.provider,
            key: e.key,
            objects: e.objects,
            wraps: e.wraps,
            wraps_max: vault::WRAPS_MAX,
        });
        Self {
            current: status.current.0,
            key: KeyHeld::new(status.key, status.state),
            algorithms: Algorithms {
                keys: "AES-256-GCM",
                objects: "FLOE (AES-256-GCM, HKDF-Expand-SHA-384)",
                log: "AES-256-GCM, HMAC-SHA-256",
            },
            next_rotation: status.next_rotation.map(|at| at.to_string()),
            epochs: epochs.collect(),
            rotating: status.rotating.map(|(done, total)| Progress { done, total, unit: "keys" }),
        }
    }
}

/// A signed statement about keys that are gone.
#[derive(Serialize, ToSchema)]
pub(crate) struct Certificate {
    tenant: String,
    incarnation: String,
    /// `tenant.erased`, `epochs.destroyed` or `server.rotated`.
    kind: String,
    at: String,
    /// A signed note (c2sp.org/signed-note) whose text is JSON. `ringfence audit verify` checks it.
    note: String,
}

impl From<engine::Certificate> for Certificate {
    fn from(certificate: engine::Certificate) -> Self {
        let engine::Certificate { tenant, incarnation, kind, at, note } = certificate;
        Self { tenant, incarnation, kind, at, note }
    }
}

/// Statements, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct CertificateList {
    pub(crate) certificates: Vec<Certificate>,
    /// Always null: all that are remembered are here.
    pub(crate) next: Option<String>,
}

/// The public key of this server's statements.
#[derive(Serialize, ToSchema)]
pub(crate) struct SigningKey {
    /// `name+id+key`, as signed notes want it.
    pub(crate) key: String,
}

/// How far it is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Progress {
    done: u64,
    total: u64,
    unit: &'static str,
}

/// An operator to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "night-shift", "role": "viewer"}))]
pub(crate) struct OperatorNew {
    name: String,
    /// `admin`, `keys`, `viewer` or `auditor`.
    role: String,
}

impl Incoming for OperatorNew {
    type Checked = (OperatorName, Role);

    fn check(self) -> Result<(OperatorName, Role), Error> {
        Ok((OperatorName::parse(&self.name)?, Role::parse(&self.role)?))
    }
}

/// An operator and its token, told this once.
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

/// A long piece of work.
#[derive(Serialize, ToSchema)]
pub(crate) struct Operation {
    id: String,
    kind: &'static str,
    tenant: String,
    /// `pending`, `running`, `succeeded`, `failed` or `cancelled`.
    status: &'static str,
    progress: Progress,
    created_at: String,
    finished_at: Option<String>,
    /// When it should have ended.
    deadline: Option<String>,
    #[schema(value_type = Option<Object>)]
    result: Option<serde_json::Value>,
    error: Option<Failure>,
}

/// Why an operation failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Failure {
    code: String,
    message: String,
}

impl From<OperationView> for Operation {
    fn from(view: OperationView) -> Self {
        Self {
            id: view.id.to_string(),
            kind: view.kind.as_str(),
            tenant: view.tenant.as_str().to_owned(),
            status: view.status.as_str(),
            progress: Progress { done: view.progress.done, total: view.progress.total, unit: view.progress.unit },
            created_at: view.created_at.to_string(),
            finished_at: view.finished_at.map(|t| t.to_string()),
            deadline: view.deadline.map(|t| t.to_string()),
            result: view.result,
            error: view.error.map(|e| Failure { code: e.code, message: e.message }),
        }
    }
}

/// A page of operations, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct OperationList {
    operations: Vec<Operation>,
    /// Give it as `after` for more.
    next: Option<String>,
}

impl From<Paged<OperationView>> for OperationList {
    fn from(page: Paged<OperationView>) -> Self {
        Self { operations: page.items.into_iter().map(Operation::from).collect(), next: page.next }
    }
}

/// Counters of all tenants.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageList {
    pub(crate) tenants: Vec<TenantUsage>,
}

/// What a tenant has done since it exists.
#[derive(Serialize, ToSchema)]
pub(crate) struct TenantUsage {
    pub(crate) tenant: String,
    pub(crate) requests: u64,
    pub(crate) searches: u64,
    /// Documents written.
    pub(crate) documents: u64,
    /// Tokens embedded.
    pub(crate) tokens: u64,
    /// Text taken in.
    pub(crate) bytes_in: u64,
}

/// Names that people give, bytes: a line on a screen.
const LABEL_BYTES_MAX: usize = 256;
