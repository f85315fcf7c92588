//! Events of tenants' keys, recorded for operators once each and in order, whichever task observes them first.
//!
//! A denial, the end of a lease and a recovery can each be observed by a request, by the watch over leases or by an
//! opening. All of them report here, and one small state machine per tenant decides what is new. Each answer of a
//! provider carries the number of its request, so that a late answer does not undo newer knowledge.
//!
//! Events wait in a queue until they are recorded; one whose record failed stays before those that follow it.

use kernel::{Incarnation, TenantId};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};
use vault::KeyFailure;

/// An event of a tenant's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// Name of the tenant.
    pub tenant: TenantId,
    /// Incarnation of the tenant.
    pub incarnation: Incarnation,
    /// Kind of event: `key.denied`, `key.outage`, `key.sealed`, `key.restored`.
    pub what: &'static str,
    /// The provider's answer; `None` for `key.restored`.
    pub why: Option<KeyFailure>,
}

/// Queue of events and the state from which they are derived. See the [module](self).
#[derive(Default)]
pub(crate) struct KeyEvents {
    last_request_no: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tracked: HashMap<Incarnation, TrackedTenant>,
    queue: VecDeque<KeyEvent>,
}

/// Condition of a tenant's keys, as of the request with this number.
#[derive(Clone, Copy)]
struct TrackedTenant {
    request_no: u64,
    condition: KeyCondition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyCondition {
    /// Available, as far as is known.
    Available,
    /// Unavailable; unwrapped keys are still used.
    Unavailable(KeyFailure),
    /// Unavailable, and nothing is served.
    Sealed(KeyFailure),
}

/// An observation that a task reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The provider unwrapped or confirmed the keys.
    Available,
    /// The provider refused, or did not answer.
    Unavailable(KeyFailure),
    /// The tenant was sealed because of that.
    Sealed(KeyFailure),
}

impl KeyEvents {
    /// Returns the number of the next request.
    pub(crate) fn next_request_no(&self) -> u64 {
        self.last_request_no.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Reports the answer to a request.
    pub(crate) fn record(
        &self,
        (tenant, incarnation): (&TenantId, Incarnation),
        request_no: u64,
        observation: Observation,
    ) {
        let mut inner = self.inner.lock();
        let before = inner.tracked.get(&incarnation).copied();
        let tracked = before.unwrap_or(TrackedTenant { request_no: 0, condition: KeyCondition::Available });
        // Late answers are ignored, and so is the first success of a tenant: it is no event.
        if request_no < tracked.request_no || (before.is_none() && observation == Observation::Available) {
            return;
        }
        let (condition, events) = transition(tracked.condition, observation);
        inner.tracked.insert(incarnation, TrackedTenant { request_no, condition });
        for (what, why) in events.into_iter().flatten() {
            let said = why.map(KeyFailure::as_str);
            match what {
                RESTORED => tracing::info!(%incarnation, "a tenant's key is available again"),
                _ => {
                    tracing::warn!(%incarnation, event = what, why = said, "a tenant's key is being withdrawn or is unavailable")
                }
            }
            if inner.queue.len() < WAITING_MAX {
                inner.queue.push_back(KeyEvent { tenant: tenant.clone(), incarnation, what, why });
            } else {
                tracing::error!(%incarnation, event = what, "too many key events are waiting: this one is only in the log");
            }
        }
        if inner.tracked.len() > KNOWN_MAX {
            inner.tracked.retain(|_, tracked| tracked.condition != KeyCondition::Available);
        }
    }

    /// Returns the oldest event that is not recorded yet; the same one until [`mark_written`](Self::mark_written).
    pub(crate) fn next_unwritten(&self) -> Option<KeyEvent> {
        self.inner.lock().queue.front().cloned()
    }

    /// Removes the event that [`next_unwritten`](Self::next_unwritten) returned, because it is recorded.
    pub(crate) fn mark_written(&self) {
        self.inner.lock().queue.pop_front();
    }

    /// Forgets the condition of a deleted tenant. Its events stay.
    pub(crate) fn forget(&self, incarnation: Incarnation) {
        self.inner.lock().tracked.remove(&incarnation);
    }
}

type EventAndCause = (&'static str, Option<KeyFailure>);

/// Returns the next condition, and the events that the observation causes.
fn transition(condition: KeyCondition, observation: Observation) -> (KeyCondition, [Option<EventAndCause>; 2]) {
    let (before, why, seals) = match (condition, observation) {
        (KeyCondition::Available, Observation::Available) => return (KeyCondition::Available, [None; 2]),
        (_, Observation::Available) => return (KeyCondition::Available, [Some((RESTORED, None)), None]),
        (KeyCondition::Available, Observation::Unavailable(why)) => (None, why, false),
        (KeyCondition::Available, Observation::Sealed(why)) => (None, why, true),
        (KeyCondition::Unavailable(before), Observation::Unavailable(why)) => (Some(before), why, false),
        (KeyCondition::Unavailable(before), Observation::Sealed(why)) => (Some(before), why, true),
        (KeyCondition::Sealed(before), Observation::Unavailable(why) | Observation::Sealed(why)) => {
            (Some(before), why, false)
        }
    };
    // After a refusal, silence does not change the state.
    let why = match (before, why) {
        (Some(denied @ KeyFailure::Denied(_)), KeyFailure::Outage) => denied,
        _ => why,
    };
    let unavailable = match (before, why) {
        (None, KeyFailure::Outage) => Some((OUTAGE, Some(why))),
        (None | Some(KeyFailure::Outage), KeyFailure::Denied(_)) => Some((DENIED, Some(why))),
        _ => None,
    };
    let sealed = seals.then_some((SEALED, Some(why)));
    let is_sealed = seals || matches!(condition, KeyCondition::Sealed(_));
    (if is_sealed { KeyCondition::Sealed(why) } else { KeyCondition::Unavailable(why) }, [unavailable, sealed])
}

const DENIED: &str = "key.denied";
const OUTAGE: &str = "key.outage";
const SEALED: &str = "key.sealed";
const RESTORED: &str = "key.restored";
/// Number of events that may wait to be recorded. They are taken once a second.
const WAITING_MAX: usize = 100_000;
/// Number of tracked tenants above which those with available keys are forgotten.
const KNOWN_MAX: usize = 16_384;

#[cfg(test)]
mod tests;
