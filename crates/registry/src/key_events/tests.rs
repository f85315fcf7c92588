//! Tests every order in which a denial, the end of a lease and a recovery can be observed.

use super::*;
use vault::Denial;

const REFUSED: KeyFailure = KeyFailure::Denied(Denial::Disabled);
const KEY_MISSING: KeyFailure = KeyFailure::Denied(Denial::Missing);
const NO_ANSWER: KeyFailure = KeyFailure::Outage;

/// Returns the events that these observations cause, each given with its request number, in the order in which they are
/// reported.
fn events_of(observations: &[(u64, Observation)]) -> Vec<&'static str> {
    let (events, tenant) = (KeyEvents::default(), TenantId::parse("acme").unwrap());
    let incarnation = Incarnation::from_bytes([7; 16]);
    for (request_no, observation) in observations {
        events.record((&tenant, incarnation), *request_no, *observation);
    }
    std::iter::from_fn(|| {
        let event = events.next_unwritten()?;
        events.mark_written();
        Some(event.what)
    })
    .collect()
}

#[test]
fn the_watch_observes_everything() {
    let observations = [
        (1, Observation::Unavailable(REFUSED)),
        (2, Observation::Unavailable(REFUSED)),
        (2, Observation::Sealed(REFUSED)),
        (3, Observation::Available),
    ];
    assert_eq!(events_of(&observations), [DENIED, SEALED, RESTORED]);
}

#[test]
fn the_lease_ended_unasked_and_the_next_opening_is_denied() {
    assert_eq!(
        events_of(&[(1, Observation::Sealed(REFUSED)), (2, Observation::Sealed(REFUSED)), (3, Observation::Available)]),
        [DENIED, SEALED, RESTORED]
    );
}

#[test]
fn a_request_sees_the_end_of_the_lease_before_the_watch_does() {
    let observations = [
        (1, Observation::Unavailable(REFUSED)),
        (1, Observation::Sealed(REFUSED)),
        (1, Observation::Sealed(REFUSED)),
        (2, Observation::Available),
        (3, Observation::Available),
    ];
    assert_eq!(events_of(&observations), [DENIED, SEALED, RESTORED]);
}

#[test]
fn a_recovery_before_anything_was_sealed() {
    assert_eq!(
        events_of(&[(1, Observation::Unavailable(REFUSED)), (2, Observation::Available), (2, Observation::Available)]),
        [DENIED, RESTORED]
    );
}

#[test]
fn a_late_seal_after_a_recovery_is_no_event() {
    assert_eq!(
        events_of(&[
            (1, Observation::Unavailable(REFUSED)),
            (2, Observation::Available),
            (1, Observation::Sealed(REFUSED))
        ]),
        [DENIED, RESTORED]
    );
}

#[test]
fn a_late_answer_undoes_nothing() {
    let observations = [
        (2, Observation::Sealed(REFUSED)),
        (3, Observation::Available),
        (1, Observation::Unavailable(REFUSED)),
        (2, Observation::Unavailable(REFUSED)),
    ];
    assert_eq!(events_of(&observations), [DENIED, SEALED, RESTORED]);
    assert_eq!(
        events_of(&[(3, Observation::Unavailable(REFUSED)), (1, Observation::Available), (4, Observation::Available)]),
        [DENIED, RESTORED]
    );
}

#[test]
fn an_outage_becomes_a_denial_and_a_denial_never_becomes_an_outage() {
    let observations = [
        (1, Observation::Unavailable(NO_ANSWER)),
        (2, Observation::Unavailable(NO_ANSWER)),
        (3, Observation::Unavailable(REFUSED)),
        (4, Observation::Unavailable(NO_ANSWER)),
    ];
    assert_eq!(events_of(&observations), [OUTAGE, DENIED]);
    let observations = [
        (1, Observation::Sealed(NO_ANSWER)),
        (2, Observation::Sealed(REFUSED)),
        (3, Observation::Sealed(NO_ANSWER)),
        (4, Observation::Available),
    ];
    assert_eq!(events_of(&observations), [OUTAGE, SEALED, DENIED, RESTORED]);
    assert_eq!(
        events_of(&[
            (1, Observation::Unavailable(REFUSED)),
            (2, Observation::Unavailable(KEY_MISSING)),
            (2, Observation::Sealed(KEY_MISSING))
        ]),
        [DENIED, SEALED]
    );
}

#[test]
fn a_second_loss_causes_events_again() {
    let once = [Observation::Unavailable(REFUSED), Observation::Sealed(REFUSED), Observation::Available];
    let twice: Vec<_> =
        once.into_iter().chain(once).enumerate().map(|(n, observations)| (n as u64 + 1, observations)).collect();
    assert_eq!(events_of(&twice), [DENIED, SEALED, RESTORED, DENIED, SEALED, RESTORED]);
}

#[test]
fn keys_that_were_always_available_cause_no_event() {
    assert_eq!(events_of(&[(1, Observation::Available), (2, Observation::Available)]), [""; 0]);
}

/// In any order of observations, seals and recoveries alternate, and no tenant is sealed whose keys were not
/// unavailable before.
#[test]
fn events_alternate_in_every_order() {
    let all = [
        Observation::Available,
        Observation::Unavailable(REFUSED),
        Observation::Unavailable(NO_ANSWER),
        Observation::Sealed(REFUSED),
        Observation::Sealed(NO_ANSWER),
    ];
    for n in 0..all.len().pow(6) {
        let observations: Vec<_> =
            (0..6_u32).map(|at| (u64::from(at) + 1, all[n / all.len().pow(at) % all.len()])).collect();
        let (mut lost, mut denied, mut sealed) = (false, false, false);
        for event in events_of(&observations) {
            match event {
                OUTAGE => assert!(!std::mem::replace(&mut lost, true), "{observations:?}"),
                DENIED => {
                    assert!(!std::mem::replace(&mut denied, true), "{observations:?}");
                    lost = true;
                }
                SEALED => assert!(lost && !std::mem::replace(&mut sealed, true), "{observations:?}"),
                _ => {
                    assert!(lost, "{observations:?}");
                    (lost, denied, sealed) = (false, false, false);
                }
            }
        }
        let last = observations.last().map(|(_, observations)| *observations);
        assert_eq!(lost, last != Some(Observation::Available), "{observations:?}");
    }
}

#[test]
fn an_unrecorded_event_waits_before_those_that_follow() {
    let (events, tenant) = (KeyEvents::default(), TenantId::parse("acme").unwrap());
    let incarnation = Incarnation::from_bytes([7; 16]);
    events.record((&tenant, incarnation), 1, Observation::Sealed(REFUSED));
    assert_eq!(events.next_unwritten().map(|e| e.what), Some(DENIED));
    assert_eq!(events.next_unwritten().map(|e| e.what), Some(DENIED), "it could not be written");
    events.record((&tenant, incarnation), 2, Observation::Available);
    events.forget(incarnation);
    for observation in [DENIED, SEALED, RESTORED] {
        assert_eq!(events.next_unwritten().map(|e| (e.what, e.tenant)), Some((observation, tenant.clone())));
        events.mark_written();
    }
    assert_eq!(events.next_unwritten(), None);
}
