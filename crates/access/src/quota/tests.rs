use super::*;
use kernel::{ManualClock, Timestamp};
use proptest::prelude::*;

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_millis(1_000_000))
}

#[test]
fn no_quota_is_no_limit() {
    let (meter, clock) = (Meter::default(), clock());
    for _ in 0..10_000 {
        meter.request(None, &clock).unwrap();
    }
    meter.tokens(None, u64::MAX, &clock).unwrap();
}

#[test]
fn a_minute_holds_its_quota_and_a_refusal_gives_the_wait() {
    let (meter, clock) = (Meter::default(), clock());
    for _ in 0..6 {
        meter.request(Some(6), &clock).unwrap();
    }
    let error = meter.request(Some(6), &clock).unwrap_err();
    assert_eq!(error.code, Code::RateLimited);
    assert_eq!(error.retry_after, Some(Duration::from_secs(10)));

    clock.advance(Duration::from_millis(9_999));
    let error = meter.request(Some(6), &clock).unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    meter.request(Some(6), &clock).unwrap();
    meter.request(Some(6), &clock).unwrap_err();
}

#[test]
fn an_idle_bucket_holds_one_minute_and_no_more() {
    let (meter, clock) = (Meter::default(), clock());
    meter.request(Some(3), &clock).unwrap();
    clock.advance(Duration::from_secs(86_400));
    for _ in 0..3 {
        meter.request(Some(3), &clock).unwrap();
    }
    meter.request(Some(3), &clock).unwrap_err();
}

#[test]
fn a_charge_over_a_minute_waits_for_a_full_bucket_and_leaves_a_debt() {
    let (meter, clock) = (Meter::default(), clock());
    meter.tokens(Some(100), 1, &clock).unwrap();
    meter.tokens(Some(100), 250, &clock).unwrap_err();
    clock.advance(Duration::from_secs(1));
    meter.tokens(Some(100), 250, &clock).unwrap();
    // The level is 150 below zero: 90 s until zero, and 0.6 s for one token.
    let error = meter.tokens(Some(100), 1, &clock).unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_millis(90_600)));
}

#[test]
fn a_quota_of_zero_passes_nothing() {
    let (meter, clock) = (Meter::default(), clock());
    assert_eq!(meter.request(Some(0), &clock).unwrap_err().retry_after, Some(Duration::from_secs(60)));
    clock.advance(Duration::from_secs(3_600));
    meter.tokens(Some(0), 1, &clock).unwrap_err();
    meter.tokens(Some(0), 0, &clock).unwrap();
}

#[test]
fn a_lowered_quota_counts_at_once() {
    let (meter, clock) = (Meter::default(), clock());
    meter.request(Some(1_000), &clock).unwrap();
    meter.request(Some(1), &clock).unwrap();
    meter.request(Some(1), &clock).unwrap_err();
}

#[test]
fn refusals_are_bounded() {
    let (meter, clock) = (Meter::default(), clock());
    let written = (0..1_000).filter(|_| meter.refusal(&clock)).count();
    assert_eq!(written as u64, limits::REFUSALS_AUDITED_PER_MINUTE);
}

proptest! {
    /// In any period, at most one minute's worth and the refill of the period pass.
    #[test]
    fn never_more_than_the_rate(rate in 1u64..500, steps in prop::collection::vec((0u64..5_000, 1u64..40), 1..60)) {
        let (meter, clock) = (Meter::default(), clock());
        let (mut passed, mut elapsed) = (0, 0);
        for (ms, units) in steps {
            clock.advance(Duration::from_millis(ms));
            elapsed += ms;
            let units = units.min(rate);
            match meter.tokens(Some(rate), units, &clock) {
                Ok(()) => passed += units,
                // The wait is sufficient: after it the same charge passes.
                Err(error) => {
                    let wait = error.retry_after.unwrap();
                    clock.advance(wait);
                    elapsed += u64::try_from(wait.as_millis()).unwrap();
                    prop_assert!(meter.tokens(Some(rate), units, &clock).is_ok());
                    passed += units;
                }
            }
            prop_assert!(u128::from(passed) * 60_000 <= u128::from(rate) * (60_000 + u128::from(elapsed)));
        }
    }

    #[test]
    fn extremes_do_not_overflow(rate: u64, units: u64, ms: u32) {
        let (meter, clock) = (Meter::default(), clock());
        let _ = meter.tokens(Some(rate), units, &clock);
        clock.advance(Duration::from_millis(u64::from(ms)));
        let _ = meter.tokens(Some(rate), units, &clock);
    }
}
