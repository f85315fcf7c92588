//! How tenants open and close in their table.
//!
//! Two writers of one directory in one process would both write to the same log. So a tenant is evicted only when no
//! write to its journal is in progress, and a sealed tenant is opened again only after its earlier requests have ended.

use crate::open_tenant::OpenTenant;
use kernel::{Code, Incarnation, limits};
use lifecycle::{Backoff, Guard, OpenTable, Openable, TableStats};
use vault::KeyFailure;

/// The tenants of a server.
pub(crate) type OpenTenants = OpenTable<Incarnation, OpenTenant>;
/// A tenant that stays open while this lives.
pub(crate) type TenantGuard = Guard<OpenTenant>;

/// Figures for metrics, without names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantStats {
    /// Number of open tenants.
    pub open: u64,
    /// Number of tenants that did not open or were sealed.
    pub unopened: u64,
    /// Number of those whose key provider refuses the key or does not answer.
    pub sealed: u64,
    /// Number of open tenants whose key provider refuses the key or does not answer, and whose lease is running out.
    pub unavailable: u64,
    /// Estimated bytes of all open tenants.
    pub memory_bytes: u64,
    /// Number of tenants closed to free memory, since the start.
    pub evictions: u64,
}

impl TenantStats {
    pub(crate) fn of(tenants: &OpenTenants) -> Self {
        let TableStats { open, failed, weight, evictions } = tenants.stats();
        let mut stats = Self { open, unopened: failed, memory_bytes: weight, evictions, sealed: 0, unavailable: 0 };
        tenants.inspect(|found| match found {
            Ok(open_tenant) => stats.unavailable += u64::from(open_tenant.lease.trouble().is_some()),
            Err(failure) => stats.sealed += u64::from(failure.trouble().is_some()),
        });
        stats
    }
}

/// Why a tenant is not open.
#[derive(Clone)]
pub(crate) enum TenantFailure {
    /// It was erased while it was being opened.
    Erased,
    /// It did not open or was sealed.
    Unopened {
        code: Code,
        why: String,
        /// Answer of its key provider, if the keys are what is missing.
        trouble: Option<KeyFailure>,
    },
}

impl TenantFailure {
    pub(crate) fn trouble(&self) -> Option<KeyFailure> {
        match self {
            Self::Unopened { trouble, .. } => *trouble,
            Self::Erased => None,
        }
    }
}

impl Openable for OpenTenant {
    type Failure = TenantFailure;

    fn backoff(failure: &TenantFailure) -> Option<Backoff> {
        let TenantFailure::Unopened { code, .. } = failure else { return None };
        let longest = if *code == Code::KeyUnavailable { limits::KEY_REOPEN_WAIT_MAX } else { limits::REOPEN_WAIT_MAX };
        Some(Backoff { first: limits::REOPEN_WAIT_MIN, longest })
    }

    fn weight(&self) -> u64 {
        self.bytes()
    }

    fn is_idle(&self) -> bool {
        self.directory().is_idle()
    }

    async fn before_eviction(&self) -> bool {
        // A write that a dropped request left in progress must end before the tenant is opened again.
        let marked = self.directory().mark_clean().await;
        if let Err(error) = &marked {
            tracing::warn!(incarnation = %self.incarnation(), %error, "an idle directory stays open");
        }
        marked.is_ok()
    }

    /// Requests may still hold it, and one may be about to write: it has ended when they release it.
    async fn end(&self) -> bool {
        self.seal();
        false
    }
}
