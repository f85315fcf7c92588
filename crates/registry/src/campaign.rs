//! A rotation of all tenants: written down once, and then every tenant whose current epoch is older than that is due.
//! So a restart goes on with it from the tenants' own records.

use crate::{
    Registry,
    control::ControlEvent,
    record::{Life, TenantRecord},
};
use access::Operator;
use kernel::{Code, Error, Result, TenantId, Timestamp, limits};
use serde::{Deserialize, Serialize};

/// A rotation of all tenants that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CampaignRecord {
    pub(crate) reencrypt: bool,
    #[serde(with = "crate::codec::millis")]
    pub(crate) begun_at: Timestamp,
    /// Tenants at once.
    pub(crate) concurrency: u32,
}

/// The same, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Whether everything is sealed anew, or only keys are wrapped anew.
    pub reencrypt: bool,
    /// Since when.
    pub begun_at: Timestamp,
    /// Tenants at once.
    pub concurrency: u32,
    /// Tenants whose keys have been rotated since.
    pub done: u64,
    /// All that there are.
    pub total: u64,
}

impl Registry {
    /// Begins a rotation of all tenants.
    ///
    /// # Errors
    /// `conflict` while one is under way; `invalid_request` for too many at once.
    pub async fn begin_campaign(&self, _: &Operator, reencrypt: bool, concurrency: u32) -> Result<Campaign> {
        let most = limits::CAMPAIGN_CONCURRENCY_MAX;
        if concurrency == 0 || concurrency as usize > most {
            return Err(Error::invalid("concurrency", format!("must be 1 to {most}")));
        }
        let record = CampaignRecord { reencrypt, begun_at: self.inner.world.clock.now(), concurrency };
        self.inner
            .write(|state| {
                if state.campaign.is_some() {
                    let message = "a rotation of all tenants is under way; wait for it to end, or cancel it";
                    return Err(Error::new(Code::Conflict, message).into());
                }
                Ok((Some(ControlEvent::CampaignBegun(record)), ()))
            })
            .await?;
        Ok(self.campaign_view(record))
    }

    /// The one that is under way.
    pub fn campaign(&self) -> Option<Campaign> {
        self.inner.control.read(|s| s.campaign).map(|record| self.campaign_view(record))
    }

    /// Ends it: no further tenant begins, and those that have begun go on.
    ///
    /// # Errors
    /// `not_found` when there is none.
    pub async fn end_campaign(&self) -> Result<()> {
        let ended = self.inner.write(|state| match state.campaign {
            Some(_) => Ok((Some(ControlEvent::CampaignEnded), ())),
            None => Err(Error::not_found().into()),
        });
        Ok(ended.await?)
    }

    /// Tenants that it has still to rotate and that nobody rotates now; and whether anybody's rotation is under way.
    pub fn campaign_due(&self) -> (Vec<TenantId>, bool) {
        self.inner.control.read(|s| {
            let Some(campaign) = s.campaign else { return (Vec::new(), false) };
            let running = |t: &TenantRecord| {
                s.operations.iter().any(|o| o.end.is_none() && o.kind.rotates() && o.incarnation == t.incarnation)
            };
            let living = s.tenants.values().filter(|t| t.life != Life::Deleting);
            let (busy, free): (Vec<_>, Vec<_>) = living.partition(|t| running(t));
            (free.into_iter().filter(|t| campaign.wants(t)).map(|t| t.id.clone()).collect(), !busy.is_empty())
        })
    }

    fn campaign_view(&self, record: CampaignRecord) -> Campaign {
        let CampaignRecord { reencrypt, begun_at, concurrency } = record;
        let (done, total) = self.inner.control.read(|s| {
            let living = || s.tenants.values().filter(|t| t.life != Life::Deleting);
            (living().filter(|t| !record.wants(t) && t.keys.epochs.len() == 1).count(), living().count())
        });
        Campaign { reencrypt, begun_at, concurrency, done: done as u64, total: total as u64 }
    }
}

impl CampaignRecord {
    fn wants(self, tenant: &TenantRecord) -> bool {
        tenant.keys.epochs.last().is_some_and(|epoch| epoch.created_at < self.begun_at)
    }
}
