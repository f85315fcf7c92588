use super::*;
use std::sync::Arc;
use vault::{Denial, LocalProvider, Providers};

fn config() -> KeyConfig {
    let local = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(kernel::OsEntropy)).unwrap();
    let (lease, outage_max) = (Duration::from_secs(45), Duration::from_secs(300));
    KeyConfig { lease, outage_max, ..KeyConfig::from(Providers::from(local)) }
}

const DENIED: KeyTrouble = KeyTrouble::Denied(Denial::Disabled);
const OUTAGE: KeyTrouble = KeyTrouble::Outage;

fn at(seconds: u64) -> u64 {
    1_000_000 + seconds * 1_000
}

/// What stands between the tenant and its keys after that answer.
fn say(lease: &Lease, asked: u64, now: u64, trouble: Option<KeyTrouble>) -> Option<KeyTrouble> {
    lease.answered((asked, at(asked)), trouble, at(now), Timestamp::default());
    assert_eq!(lease.said().map(|(_, question)| question), lease.trouble().map(|_| asked));
    lease.trouble().map(|(why, _)| why)
}

#[test]
fn keys_of_the_server_itself_have_no_lease() {
    let (config, lease) = (config(), Lease::new(false, at(0)));
    assert!(lease.lives(&config, u64::MAX - 1) && !lease.due(&config, at(1_000), true));
}

#[test]
fn a_lease_counts_from_when_the_question_was_asked() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert!(lease.lives(&config, at(45) - 1) && !lease.lives(&config, at(45)));
    assert_eq!(say(&lease, 20, 25, None), None);
    assert!(lease.lives(&config, at(65) - 1) && !lease.lives(&config, at(65)));
    say(&lease, 10, 26, None);
    assert!(lease.lives(&config, at(64)), "an answer that comes late shortens nothing");
}

#[test]
fn a_no_ends_unwrapping_at_once_and_serving_with_the_lease() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert_eq!(say(&lease, 15, 16, Some(DENIED)), Some(DENIED));
    assert!(!lease.may_unwrap() && lease.lives(&config, at(44)) && !lease.lives(&config, at(45)));
    assert_eq!(say(&lease, 20, 21, Some(DENIED)), Some(DENIED));
    assert_eq!(say(&lease, 30, 31, None), None);
    assert!(lease.may_unwrap() && lease.lives(&config, at(74)));
}

#[test]
fn silence_is_ridden_out_for_longer_but_not_behind_a_no() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert_eq!(say(&lease, 15, 20, Some(OUTAGE)), Some(OUTAGE));
    assert!(lease.may_unwrap() && lease.lives(&config, at(299)) && !lease.lives(&config, at(300)));
    assert_eq!(say(&lease, 100, 101, Some(DENIED)), Some(DENIED));
    assert!(!lease.lives(&config, at(101)), "the lease of the last yes has ended long ago");
    assert_eq!(say(&lease, 103, 108, Some(OUTAGE)), Some(DENIED));
    assert!(!lease.lives(&config, at(108)) && !lease.may_unwrap(), "who said no has said no");
}

#[test]
fn it_is_asked_for_in_time_one_question_at_a_time_and_while_it_is_used() {
    let (config, lease) = (config(), Lease::new(true, at(0)));
    assert!(!lease.due(&config, at(14), false));
    assert!(lease.due(&config, at(15), false));
    assert!(!lease.due(&config, at(16), true), "a question is under way");
    say(&lease, 15, 20, Some(OUTAGE));
    assert!(!lease.due(&config, at(21), true) && lease.due(&config, at(22), true));
    say(&lease, 22, 22, None);
    assert!(!lease.due(&config, at(60), false), "nobody has used it since");
    assert!(lease.due(&config, at(60), true), "somebody holds it");
    say(&lease, 60, 60, None);
    lease.touch(at(61));
    assert!(lease.due(&config, at(80), false));
}
