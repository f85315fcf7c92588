use super::{THROTTLE_FACTOR, throttle_pause};
use kernel::limits;
use std::time::Duration;

const TOOK: Duration = Duration::from_millis(5);

#[test]
fn pauses_are_a_multiple_of_the_work() {
    assert_eq!(throttle_pause(TOOK, None, 10_000), TOOK * THROTTLE_FACTOR);
    assert_eq!(throttle_pause(TOOK, Some(Duration::from_secs(86_400)), 10_000), TOOK * THROTTLE_FACTOR);
    assert!(
        TOOK * THROTTLE_FACTOR / 4 >= TOOK * u32::try_from(limits::REENCRYPTIONS_AT_ONCE).unwrap(),
        "most of the time is others'"
    );
}

#[test]
fn a_near_deadline_shortens_them_to_nothing() {
    // 100 s for 10,000 namespaces: half of it is 5 ms for each, and the work takes them.
    assert_eq!(throttle_pause(TOOK, Some(Duration::from_secs(100)), 10_000), Duration::ZERO);
    assert_eq!(throttle_pause(TOOK, Some(Duration::from_secs(200)), 10_000), TOOK);
    assert_eq!(throttle_pause(TOOK, Some(Duration::ZERO), 10_000), Duration::ZERO, "after the deadline");
    assert_eq!(throttle_pause(TOOK, Some(Duration::from_secs(1)), 0), TOOK * THROTTLE_FACTOR);
}
