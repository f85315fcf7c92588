//! The control plane.

use super::{
    Convert,
    common::{self, at},
    keys::{key_choice, key_held},
};
use crate::http::request_data::RequestBody;
use access::TenantState;
use api::admin::{
    ApiKey, ApiKeyList, ApiKeyMade, ApiKeyNew, OperatorInfo, OperatorMade, OperatorNew, QuotasBody, Tenant, TenantList,
    TenantNew, TenantPatch,
};
use engine::{ApiKeyView, ListPage, NewApiKey, NewTenant, OperatorView, TenantChange, TenantView};
use kernel::{Error, OperatorName, Quotas, Role, Scope, TenantId, limits};

impl Convert<QuotasBody> for Quotas {
    fn convert(self) -> QuotasBody {
        QuotasBody {
            documents: self.documents,
            bytes: self.bytes,
            namespaces: self.namespaces,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
        }
    }
}

impl Convert<Quotas> for QuotasBody {
    fn convert(self) -> Quotas {
        Quotas {
            documents: self.documents,
            bytes: self.bytes,
            namespaces: self.namespaces,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
        }
    }
}

impl RequestBody for TenantNew {
    type Checked = NewTenant;

    fn check(self) -> Result<NewTenant, Error> {
        Ok(NewTenant {
            id: at("id", TenantId::parse(&self.id))?,
            display_name: label("display_name", self.display_name)?,
            governance_class: label("governance_class", self.governance_class)?,
            quotas: self.quotas.map(Convert::convert).unwrap_or_default(),
            key: self.key.map(key_choice).transpose()?.unwrap_or_default(),
            rotate_days: self.rotate_days,
        })
    }
}

impl RequestBody for TenantPatch {
    type Checked = TenantChange;

    fn check(self) -> Result<TenantChange, Error> {
        Ok(TenantChange {
            display_name: self.display_name.map(|n| label("display_name", n)).transpose()?,
            governance_class: self.governance_class.map(|n| label("governance_class", n)).transpose()?,
            quotas: self.quotas.map(Convert::convert),
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

impl Convert<Tenant> for TenantView {
    fn convert(self) -> Tenant {
        Tenant {
            id: self.id.as_str().to_owned(),
            state: match self.state {
                TenantState::Active => "active",
                TenantState::Suspended => "suspended",
                TenantState::KeyUnavailable => "key_unavailable",
                TenantState::Deleting => "deleting",
            }
            .into(),
            display_name: self.display_name,
            governance_class: self.governance_class,
            quotas: self.quotas.convert(),
            created_at: self.created_at.to_string(),
            key_epoch: self.key_epoch.0,
            key: key_held(self.key, self.key_state),
            rotate_days: self.rotate_days,
            namespaces: self.namespaces,
        }
    }
}

impl Convert<TenantList> for ListPage<TenantView> {
    fn convert(self) -> TenantList {
        TenantList { tenants: self.items.into_iter().map(Convert::convert).collect(), next: self.next }
    }
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

/// The reply that shows a new key with its secret.
pub(crate) fn api_key_made(view: ApiKeyView, secret: &str) -> ApiKeyMade {
    ApiKeyMade { key: view.convert(), secret: secret.to_owned() }
}

impl Convert<ApiKey> for ApiKeyView {
    fn convert(self) -> ApiKey {
        ApiKey {
            key_id: self.id.as_str().to_owned(),
            name: self.name,
            scopes: self.scopes.iter().map(|s| s.as_str().into()).collect(),
            principals: self.principals.iter().map(|p| p.as_str().to_owned()).collect(),
            namespaces: self.namespaces.iter().map(|n| n.as_str().to_owned()).collect(),
            created_at: self.created_at.to_string(),
            expires_at: self.expires_at.map(|t| t.to_string()),
        }
    }
}

impl Convert<ApiKeyList> for ListPage<ApiKeyView> {
    fn convert(self) -> ApiKeyList {
        ApiKeyList { api_keys: self.items.into_iter().map(Convert::convert).collect(), next: self.next }
    }
}

impl RequestBody for OperatorNew {
    type Checked = (OperatorName, Role);

    fn check(self) -> Result<(OperatorName, Role), Error> {
        Ok((OperatorName::parse(&self.name)?, Role::parse(&self.role)?))
    }
}

/// The reply that shows a new operator with its token.
pub(crate) fn operator_made(view: OperatorView, token: &str) -> OperatorMade {
    OperatorMade { operator: view.convert(), token: token.to_owned() }
}

impl Convert<OperatorInfo> for OperatorView {
    fn convert(self) -> OperatorInfo {
        OperatorInfo {
            id: self.id.as_str().to_owned(),
            name: self.name.as_str().to_owned(),
            role: self.role.as_str().into(),
            created_at: self.created_at.to_string(),
        }
    }
}

/// Maximum length of a label in bytes: one line on a screen.
const LABEL_BYTES_MAX: usize = 256;
