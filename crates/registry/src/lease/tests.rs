use super::*;
use std::sync::Arc;
use vault::{Denial, LocalProvider, Providers};

fn config() -> KeyConfig {
    let local = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(kernel::OsEntropy)).unwrap();
    let (lease, outage_max) = (Duration::from_secs(45), Duration::from_secs(300));
    KeyConfig { lease, outage_max, ..KeyConfig::from(Providers::from(local)) }
}

const DENIED: KeyFailure = KeyFailure::Denied(Denial::Disabled);
const OUTAGE: KeyFailure = KeyFailure::Outage;

fn at(seconds: u64) -> u64 {
    1_000_000 + seconds * 1_000
}

/// Records the answer and returns why the keys are unavailable afterwards.
fn answer(lease: &Lease, asked: u64, now: u64, trouble: Option<KeyFailure>) -> Option<KeyFailure> {
    lease.record_answer((asked, at(asked)), trouble, at(now), Timestamp::default());
    assert_eq!(lease.last_trouble().map(|(_, request_no)| request_no), lease.trouble().map(|_| asked));
    lease.trouble().map(|(why, _)| why)
}

#[test]
fn keys_of_the_server_itself_have_no_lease() {
    let (config, lease) = (config(), Lease::new(false, at(0)));
    assert!(lease.is_valid(&config, u64::MAX - 1) && !lease.due(&config, at(1_000), true));
}

#[test]
fn a_lease_counts_from_when_the_request_was_sent() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert!(lease.is_valid(&config, at(45) - 1) && !lease.is_valid(&config, at(45)));
    assert_eq!(answer(&lease, 20, 25, None), None);
    assert!(lease.is_valid(&config, at(65) - 1) && !lease.is_valid(&config, at(65)));
    answer(&lease, 10, 26, None);
    assert!(lease.is_valid(&config, at(64)), "an answer that comes late shortens nothing");
}

#[test]
fn a_refusal_ends_unwrapping_at_once_and_service_with_the_lease() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert_eq!(answer(&lease, 15, 16, Some(DENIED)), Some(DENIED));
    assert!(!lease.may_unwrap() && lease.is_valid(&config, at(44)) && !lease.is_valid(&config, at(45)));
    assert_eq!(answer(&lease, 20, 21, Some(DENIED)), Some(DENIED));
    assert_eq!(answer(&lease, 30, 31, None), None);
    assert!(lease.may_unwrap() && lease.is_valid(&config, at(74)));
}

#[test]
fn an_outage_is_tolerated_for_longer_but_not_after_a_refusal() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert_eq!(answer(&lease, 15, 20, Some(OUTAGE)), Some(OUTAGE));
    assert!(lease.may_unwrap() && lease.is_valid(&config, at(299)) && !lease.is_valid(&config, at(300)));
    assert_eq!(answer(&lease, 100, 101, Some(DENIED)), Some(DENIED));
    assert!(!lease.is_valid(&config, at(101)), "the last confirmed lease ended long ago");
    assert_eq!(answer(&lease, 103, 108, Some(OUTAGE)), Some(DENIED));
    assert!(!lease.is_valid(&config, at(108)) && !lease.may_unwrap(), "a refusal outlasts a later silence");
}

#[test]
fn a_lease_is_renewed_in_time_one_request_at_a_time_and_while_it_is_used() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert!(!lease.due(&config, at(14), false));
    assert!(lease.due(&config, at(15), false));
    assert!(!lease.due(&config, at(16), true), "a request is in flight");
    answer(&lease, 15, 20, Some(OUTAGE));
    assert!(!lease.due(&config, at(21), true) && lease.due(&config, at(22), true));
    answer(&lease, 22, 22, None);
    assert!(!lease.due(&config, at(60), false), "it has not been used since");
    assert!(lease.due(&config, at(60), true), "a request holds it");
    answer(&lease, 60, 60, None);
    lease.touch(at(61));
    assert!(lease.due(&config, at(80), false));
}
