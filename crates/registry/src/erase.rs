//! Erasure of a tenant: its keys first, then its data.
//!
//! 1. `TenantDoomed` in control: from here on nothing of the tenant is served, and its wrapped keys
//!    are in no newer entry. 2. A control checkpoint, behind which no log holds them: what is on
//!    disk can no longer be opened by anybody. 3. The prefixes are removed. 4. `TenantGone`: the
//!    name is free. A crash anywhere behind 1 is taken up at the next start.

use crate::{
    OperationHandle, OperationKind, Registry,
    control::ControlEvent,
    record::{Life, TenantRecord},
};
use access::{Erase, Grant};
use kernel::{Code, Error, Incarnation, Result, TenantId};
use vault::PlaceKind;

impl Registry {
    /// Erases the grant's tenant. Says which prefixes were removed.
    ///
    /// The stores must have let go of it before. A tenant whose directory does not open is erased
    /// as well; the objects of its namespaces then stay behind, and nobody can open them.
    ///
    /// # Errors
    /// `not_suspended`, `not_found`. After any other error the erasure goes on with the next call
    /// or the next start.
    pub async fn erase(&self, grant: &Grant<Erase>) -> Result<Vec<String>> {
        self.erase_life(grant.tenant(), grant.incarnation()).await
    }

    /// Goes on with an erasure whose operation a restart interrupted; done if the tenant is gone.
    ///
    /// # Errors
    /// As [`Registry::erase`]; `invalid_request` for another kind of operation.
    pub async fn resume_erasure(&self, operation: &OperationHandle) -> Result<Vec<String>> {
        if operation.kind() != OperationKind::EraseTenant {
            return Err(Error::invalid("operation", "is no erasure"));
        }
        let gone = self.inner.control.read(|s| s.by_incarnation(operation.incarnation()).is_none());
        if gone {
            return Ok(Vec::new());
        }
        self.erase_life(operation.tenant(), operation.incarnation()).await
    }

    async fn erase_life(&self, tenant: &TenantId, incarnation: Incarnation) -> Result<Vec<String>> {
        let record = self.inner.tenant_record(tenant)?;
        if record.incarnation != incarnation {
            return Err(Error::not_found());
        }
        if record.life != Life::Deleting {
            may_erase(record.life)?;
            self.doom(&record).await?;
        }
        // Again even when it stood there already: the call before may have failed here.
        self.inner.control.purge().await?;
        self.inner.seats.leave(incarnation).await;
        self.remove_remains(&self.inner.tenant_record(tenant)?).await
    }

    /// Step 1.
    pub(crate) async fn doom(&self, record: &TenantRecord) -> Result<()> {
        // Opened to learn where its namespaces lie.
        let residence = self.inner.open(record.incarnation).await.ok();
        let mut prefixes = match &residence {
            Some(residence) => residence.close().await?,
            None => Vec::new(),
        };
        prefixes.extend(record.audit.as_ref().map(|p| PlaceKind::Audit.prefix(p.uuid)));
        prefixes.extend(record.directory.as_ref().map(|p| PlaceKind::Directory.prefix(p.uuid)));
        let written = self.inner.write(|state| {
            let tenant = state.tenants.get(&record.id).filter(|t| t.incarnation == record.incarnation);
            may_erase(tenant.ok_or_else(Error::not_found)?.life)?;
            Ok((Some(ControlEvent::TenantDoomed { id: record.id.clone(), prefixes }), ()))
        });
        let written = written.await;
        if let (Err(_), Some(residence)) = (&written, residence) {
            residence.reopen();
        }
        Ok(written?)
    }

    /// Steps 3 and 4.
    pub(crate) async fn remove_remains(&self, record: &TenantRecord) -> Result<Vec<String>> {
        for prefix in &record.doomed {
            self.inner.world.storage.remove_prefix(prefix).await?;
        }
        self.inner
            .control
            .write(|state| {
                let same = state.tenants.get(&record.id).is_some_and(|t| t.incarnation == record.incarnation);
                Ok((same.then(|| ControlEvent::TenantGone { id: record.id.clone() }), ()))
            })
            .await?;
        Ok(record.doomed.clone())
    }
}

/// Only what is suspended is erased, so that nobody is surprised in the middle of a request.
pub(crate) fn may_erase(life: Life) -> Result<()> {
    if life == Life::Active {
        return Err(Error::new(Code::NotSuspended, "suspend the tenant first"));
    }
    Ok(())
}
