//! Jobs and those who ask for them.

use super::*;
use kernel::{
    Code, ManualClock, Timestamp, checkpoint,
    cost::{Cost, RunOn},
};
use std::sync::atomic::{AtomicBool, Ordering};

fn work() -> Work {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    Work::new(LanesConfig { cores: 1, waiting_max: 10, clock, turns: true }).unwrap()
}

fn asker(urgency: Urgency) -> Asker {
    let wait = Duration::from_secs(30);
    Asker { owner: Incarnation::from_bytes([1; 16]), urgency, presence: Presence::default(), wait }
}

#[tokio::test]
async fn an_answer_is_not_begun_for_who_has_gone_and_a_write_is() {
    let work = work();
    for (urgency, expected) in [(Urgency::Answer, false), (Urgency::Write, true)] {
        let (asker, ran) = (asker(urgency), Arc::new(AtomicBool::new(false)));
        drop(asker.presence.watch());
        let mine = ran.clone();
        let end = work.cpu(asker, move || mine.store(true, Ordering::Relaxed)).await;
        assert_eq!((ran.load(Ordering::Relaxed), end.is_ok()), (expected, expected));
        if let Err(error) = end {
            assert_eq!(error.code, Code::Overloaded);
        }
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_asker() {
    let work = work();
    let end = work.cpu(asker(Urgency::Answer), || panic!("on purpose")).await;
    assert_eq!(end.unwrap_err().code, Code::Internal);
    let RunOn::Caller(short) = Cost::default().run_on() else { panic!("nothing costs nothing") };
    let end = work.here(&asker(Urgency::Answer), &short, || panic!("on purpose"));
    assert_eq!(end.unwrap_err().code, Code::Internal);
    assert_eq!(work.cpu(asker(Urgency::Answer), || 7).await.unwrap(), 7);
}

/// Counts until it is interrupted.
fn endless(begun: &Arc<AtomicBool>) -> impl FnOnce() -> Result<(), kernel::Interrupted> + Send + 'static {
    let begun = begun.clone();
    move || {
        loop {
            checkpoint(1)?;
            begun.store(true, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_ends_when_its_caller_goes_and_when_its_time_is_up() {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    let work = Work::new(LanesConfig { cores: 1, waiting_max: 10, clock: clock.clone(), turns: true }).unwrap();
    let (begun, asked) = (Arc::new(AtomicBool::new(false)), asker(Urgency::Answer));
    let watch = asked.presence.watch();
    let gone = work.cpu(asked, endless(&begun));
    let leaves = async {
        while !begun.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        drop(watch);
    };
    assert_eq!(tokio::join!(gone, leaves).0.unwrap(), Err(kernel::Interrupted::Gone));

    let begun = Arc::new(AtomicBool::new(false));
    let late = work.cpu(asker(Urgency::Answer), endless(&begun));
    let passes = async {
        while !begun.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(31));
    };
    assert_eq!(tokio::join!(late, passes).0.unwrap(), Err(kernel::Interrupted::TimedOut));
}
