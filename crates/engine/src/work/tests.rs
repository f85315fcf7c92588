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
    let end = if urgency == Urgency::Write { End::Whole } else { End::Early };
    Asker { owner: Incarnation::from_bytes([1; 16]), urgency, presence: Presence::default(), wait, end }
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

/// What is read and screened for minutes held every thread, where as many tenants sent it as there are threads.
#[tokio::test(flavor = "multi_thread")]
async fn long_work_of_others_lets_a_newcomer_have_its_turn() {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    let work = Work::new(LanesConfig { cores: 1, waiting_max: 10, clock, turns: true }).unwrap();
    let (begun, done) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let of = |owner: u8, urgency| Asker { owner: Incarnation::from_bytes([owner; 16]), ..asker(urgency) };
    let long = |owner: u8| {
        let (begun, done) = (begun.clone(), done.clone());
        work.cpu(of(owner, Urgency::Write), move || {
            begun.fetch_add(1, Ordering::Relaxed);
            // Ends by itself, after a minute or so, where no other has a turn.
            (0..1_000_000_000_u64).any(|_| {
                kernel::give_way(kernel::STEPS_BETWEEN_CHECKS);
                done.load(Ordering::Relaxed)
            })
        })
    };
    let newcomer = async {
        // One thread more than cores.
        while begun.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let mine = done.clone();
        work.cpu(of(3, Urgency::Answer), move || mine.store(true, Ordering::Relaxed)).await
    };
    let (first, second, third) = tokio::join!(long(1), long(2), newcomer);
    third.unwrap();
    assert!(first.unwrap() && second.unwrap(), "they went on after the newcomer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_for_a_write_ends_with_its_caller() {
    let work = work();
    let asked = Asker { end: End::Early, ..asker(Urgency::Write) };
    drop(asked.presence.watch());
    let end: Result<(), _> = work.cpu(asked, || panic!("is not begun")).await;
    assert_eq!(end.unwrap_err().code, Code::Overloaded);
}
