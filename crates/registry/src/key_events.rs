//! Events of tenants' keys, recorded for operators once each and in order, whichever task sees them first.
//!
//! A denial, the end of a lease and a return can each be seen by a request, by the watch over leases or by an opening.
//! All of them report here, and one small state machine per tenant decides what is new. Each answer of a provider carries
//! the number of its question, so that a late answer does not undo newer knowledge.
//!
//! Events wait in a queue until they are written; one that could not be written comes before those that follow it.

use kernel::{Incarnation, TenantId};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use vault::KeyTrouble;

/// An event of a tenant's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// The tenant.
    pub tenant: TenantId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// `key.denied`, `key.outage`, `key.sealed`, `key.restored`.
    pub what: &'static str,
    /// The provider's answer.
    pub why: Option<KeyTrouble>,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct KeyEvents {
    questions: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    known: HashMap<Incarnation, Known>,
    queue: VecDeque<KeyEvent>,
}

/// State of a tenant's keys, as of a question.
#[derive(Clone, Copy)]
struct Known {
    question: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Available, as far as is known.
    Given,
    /// Unavailable; unwrapped keys are still used.
    Lost(KeyTrouble),
    /// Unavailable, and nothing is served.
    Sealed(KeyTrouble),
}

/// An observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The provider gave the keys.
    Given,
    /// The provider refused, or did not answer.
    Lost(KeyTrouble),
    /// The tenant was sealed because of that.
    Sealed(KeyTrouble),
}

impl KeyEvents {
    /// The number of the next question.
    pub(crate) fn question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Reports the answer to a question.
    pub(crate) fn saw(&self, (tenant, incarnation): (&TenantId, Incarnation), question: u64, seen: Seen) {
        let mut inner = self.lock();
        let before = inner.known.get(&incarnation).copied();
        let known = before.unwrap_or(Known { question: 0, state: State::Given });
        if question < known.question || (before.is_none() && seen == Seen::Given) {
            return;
        }
        let (state, events) = step(known.state, seen);
        inner.known.insert(incarnation, Known { question, state });
        for (what, why) in events.into_iter().flatten() {
            let said = why.map(KeyTrouble::as_str);
            match what {
                RESTORED => tracing::info!(%incarnation, "a tenant's key can be had again"),
                _ => {
                    tracing::warn!(%incarnation, event = what, why = said, "a tenant's key is being taken away or cannot be had")
                }
            }
            if inner.queue.len() < WAITING_MAX {
                inner.queue.push_back(KeyEvent { tenant: tenant.clone(), incarnation, what, why });
            } else {
                tracing::error!(%incarnation, event = what, "too many events of keys wait: this one is in the log only");
            }
        }
        if inner.known.len() > KNOWN_MAX {
            inner.known.retain(|_, known| known.state != State::Given);
        }
    }

    /// The next event that is not written yet; the same until [`told`](Self::told).
    pub(crate) fn untold(&self) -> Option<KeyEvent> {
        self.lock().queue.front().cloned()
    }

    /// That event is written.
    pub(crate) fn told(&self) {
        self.lock().queue.pop_front();
    }

    /// The tenant is gone. Its events stay.
    pub(crate) fn forget(&self, incarnation: Incarnation) {
        self.lock().known.remove(&incarnation);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Insertions, pushes and pops leave it whole wherever they end.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Event = (&'static str, Option<KeyTrouble>);

/// The next state, and the event if there is one.
fn step(state: State, seen: Seen) -> (State, [Option<Event>; 2]) {
    let (before, why, seals) = match (state, seen) {
        (State::Given, Seen::Given) => return (State::Given, [None; 2]),
        (_, Seen::Given) => return (State::Given, [Some((RESTORED, None)), None]),
        (State::Given, Seen::Lost(why)) => (None, why, false),
        (State::Given, Seen::Sealed(why)) => (None, why, true),
        (State::Lost(before), Seen::Lost(why)) => (Some(before), why, false),
        (State::Lost(before), Seen::Sealed(why)) => (Some(before), why, true),
        (State::Sealed(before), Seen::Lost(why) | Seen::Sealed(why)) => (Some(before), why, false),
    };
    // After a refusal, silence does not change the state.
    let why = match (before, why) {
        (Some(denied @ KeyTrouble::Denied(_)), KeyTrouble::Outage) => denied,
        _ => why,
    };
    let lost = match (before, why) {
        (None, KeyTrouble::Outage) => Some((OUTAGE, Some(why))),
        (None | Some(KeyTrouble::Outage), KeyTrouble::Denied(_)) => Some((DENIED, Some(why))),
        _ => None,
    };
    let sealed = seals.then_some((SEALED, Some(why)));
    let is_sealed = seals || matches!(state, State::Sealed(_));
    (if is_sealed { State::Sealed(why) } else { State::Lost(why) }, [lost, sealed])
}

const DENIED: &str = "key.denied";
const OUTAGE: &str = "key.outage";
const SEALED: &str = "key.sealed";
const RESTORED: &str = "key.restored";
/// Most events that wait to be written; they are taken once a second.
const WAITING_MAX: usize = 100_000;
/// Number of tenants with a state above which those with available keys are forgotten.
const KNOWN_MAX: usize = 16_384;

#[cfg(test)]
mod tests;
