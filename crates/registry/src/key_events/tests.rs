//! Every order in which a denial, the end of a lease and a return can be seen.

use super::*;
use vault::Denial;

const NO: KeyTrouble = KeyTrouble::Denied(Denial::Disabled);
const GONE: KeyTrouble = KeyTrouble::Denied(Denial::Missing);
const SILENT: KeyTrouble = KeyTrouble::Outage;

/// What is told of these, each with the number of its question, in the order in which they are seen.
fn told(seen: &[(u64, Seen)]) -> Vec<&'static str> {
    let (events, tenant) = (KeyEvents::default(), TenantId::parse("acme").unwrap());
    let life = Incarnation::from_bytes([7; 16]);
    for (question, what) in seen {
        events.saw((&tenant, life), *question, *what);
    }
    std::iter::from_fn(|| {
        let event = events.untold()?;
        events.told();
        Some(event.what)
    })
    .collect()
}

#[test]
fn the_watch_sees_all_of_it() {
    let seen = [(1, Seen::Lost(NO)), (2, Seen::Lost(NO)), (2, Seen::Sealed(NO)), (3, Seen::Given)];
    assert_eq!(told(&seen), [DENIED, SEALED, RESTORED]);
}

#[test]
fn nobody_asked_before_the_lease_ended_and_the_next_opening_is_denied() {
    assert_eq!(told(&[(1, Seen::Sealed(NO)), (2, Seen::Sealed(NO)), (3, Seen::Given)]), [DENIED, SEALED, RESTORED]);
}

#[test]
fn a_request_sees_the_end_of_the_lease_before_the_watch_does() {
    let seen = [(1, Seen::Lost(NO)), (1, Seen::Sealed(NO)), (1, Seen::Sealed(NO)), (2, Seen::Given), (3, Seen::Given)];
    assert_eq!(told(&seen), [DENIED, SEALED, RESTORED]);
}

#[test]
fn a_return_before_anything_was_sealed() {
    assert_eq!(told(&[(1, Seen::Lost(NO)), (2, Seen::Given), (2, Seen::Given)]), [DENIED, RESTORED]);
}

#[test]
fn a_seal_that_comes_behind_the_return_it_did_not_know_of_is_no_news() {
    assert_eq!(told(&[(1, Seen::Lost(NO)), (2, Seen::Given), (1, Seen::Sealed(NO))]), [DENIED, RESTORED]);
}

#[test]
fn an_answer_that_was_long_on_its_way_undoes_nothing() {
    let seen = [(2, Seen::Sealed(NO)), (3, Seen::Given), (1, Seen::Lost(NO)), (2, Seen::Lost(NO))];
    assert_eq!(told(&seen), [DENIED, SEALED, RESTORED]);
    assert_eq!(told(&[(3, Seen::Lost(NO)), (1, Seen::Given), (4, Seen::Given)]), [DENIED, RESTORED]);
}

#[test]
fn silence_becomes_a_no_and_a_no_never_becomes_silence() {
    let seen = [(1, Seen::Lost(SILENT)), (2, Seen::Lost(SILENT)), (3, Seen::Lost(NO)), (4, Seen::Lost(SILENT))];
    assert_eq!(told(&seen), [OUTAGE, DENIED]);
    let seen = [(1, Seen::Sealed(SILENT)), (2, Seen::Sealed(NO)), (3, Seen::Sealed(SILENT)), (4, Seen::Given)];
    assert_eq!(told(&seen), [OUTAGE, SEALED, DENIED, RESTORED]);
    assert_eq!(told(&[(1, Seen::Lost(NO)), (2, Seen::Lost(GONE)), (2, Seen::Sealed(GONE))]), [DENIED, SEALED]);
}

#[test]
fn it_happens_again_and_is_told_again() {
    let once = [Seen::Lost(NO), Seen::Sealed(NO), Seen::Given];
    let twice: Vec<_> = once.into_iter().chain(once).enumerate().map(|(n, seen)| (n as u64 + 1, seen)).collect();
    assert_eq!(told(&twice), [DENIED, SEALED, RESTORED, DENIED, SEALED, RESTORED]);
}

#[test]
fn keys_that_were_always_given_are_no_news() {
    assert_eq!(told(&[(1, Seen::Given), (2, Seen::Given)]), [""; 0]);
}

/// Whatever comes in whatever order: seals and returns alternate, and nothing is sealed that was not lost before.
#[test]
fn events_alternate_in_every_order() {
    let all = [Seen::Given, Seen::Lost(NO), Seen::Lost(SILENT), Seen::Sealed(NO), Seen::Sealed(SILENT)];
    for n in 0..all.len().pow(6) {
        let seen: Vec<_> = (0..6_u32).map(|at| (u64::from(at) + 1, all[n / all.len().pow(at) % all.len()])).collect();
        let (mut lost, mut denied, mut sealed) = (false, false, false);
        for event in told(&seen) {
            match event {
                OUTAGE => assert!(!std::mem::replace(&mut lost, true), "{seen:?}"),
                DENIED => {
                    assert!(!std::mem::replace(&mut denied, true), "{seen:?}");
                    lost = true;
                }
                SEALED => assert!(lost && !std::mem::replace(&mut sealed, true), "{seen:?}"),
                _ => {
                    assert!(lost, "{seen:?}");
                    (lost, denied, sealed) = (false, false, false);
                }
            }
        }
        let last = seen.last().map(|(_, seen)| *seen);
        assert_eq!(lost, last != Some(Seen::Given), "{seen:?}");
    }
}

#[test]
fn what_is_not_written_down_waits_before_what_follows() {
    let (events, tenant) = (KeyEvents::default(), TenantId::parse("acme").unwrap());
    let life = Incarnation::from_bytes([7; 16]);
    events.saw((&tenant, life), 1, Seen::Sealed(NO));
    assert_eq!(events.untold().map(|e| e.what), Some(DENIED));
    assert_eq!(events.untold().map(|e| e.what), Some(DENIED), "it could not be written");
    events.saw((&tenant, life), 2, Seen::Given);
    events.forget(life);
    for what in [DENIED, SEALED, RESTORED] {
        assert_eq!(events.untold().map(|e| (e.what, e.tenant)), Some((what, tenant.clone())));
        events.told();
    }
    assert_eq!(events.untold(), None);
}
