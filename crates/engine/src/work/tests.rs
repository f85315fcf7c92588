//! Tests of jobs, their cancellation and their deadlines.

use super::*;
use kernel::{
    Code, ManualClock, Timestamp, checkpoint,
    cost::{Cost, RunOn},
};
use std::sync::atomic::{AtomicBool, Ordering};

fn work() -> Work {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    Work::new(ExecutorConfig { cores: 1, waiting_max: 10, clock, fair: true }).unwrap()
}

fn context(priority: Priority) -> TaskContext {
    let time_limit = Duration::from_secs(30);
    let end = if priority == Priority::Write { CancelPolicy::Whole } else { CancelPolicy::Early };
    TaskContext {
        owner: Incarnation::from_bytes([1; 16]),
        priority,
        cancel: CancelFlag::default(),
        time_limit,
        cancel_policy: end,
    }
}

#[tokio::test]
async fn an_answer_does_not_start_after_a_disconnect_but_a_write_does() {
    let work = work();
    for (priority, expected) in [(Priority::Answer, false), (Priority::Write, true)] {
        let (context, ran) = (context(priority), Arc::new(AtomicBool::new(false)));
        drop(context.cancel.drop_guard());
        let mine = ran.clone();
        let end = work.cpu(context, move || mine.store(true, Ordering::Relaxed)).await;
        assert_eq!((ran.load(Ordering::Relaxed), end.is_ok()), (expected, expected));
        if let Err(error) = end {
            assert_eq!(error.code, Code::Overloaded);
        }
    }
}

#[tokio::test]
async fn a_panic_is_an_error_of_its_caller() {
    let work = work();
    let end = work.cpu(context(Priority::Answer), || panic!("on purpose")).await;
    assert_eq!(end.unwrap_err().code, Code::Internal);
    let RunOn::Caller(short) = Cost::default().run_on() else { panic!("nothing costs nothing") };
    let end = work.run_inline(&context(Priority::Answer), &short, || panic!("on purpose"));
    assert_eq!(end.unwrap_err().code, Code::Internal);
    assert_eq!(work.cpu(context(Priority::Answer), || 7).await.unwrap(), 7);
}

/// Work that runs until it is interrupted.
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
async fn work_ends_when_its_client_disconnects_and_when_its_deadline_passes() {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    let work = Work::new(ExecutorConfig { cores: 1, waiting_max: 10, clock: clock.clone(), fair: true }).unwrap();
    let (begun, asked) = (Arc::new(AtomicBool::new(false)), context(Priority::Answer));
    let guard = asked.cancel.drop_guard();
    let gone = work.cpu(asked, endless(&begun));
    let leaves = async {
        while !begun.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        drop(guard);
    };
    assert_eq!(tokio::join!(gone, leaves).0.unwrap(), Err(kernel::Interrupted::Disconnected));

    let begun = Arc::new(AtomicBool::new(false));
    let late = work.cpu(context(Priority::Answer), endless(&begun));
    let passes = async {
        while !begun.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(31));
    };
    assert_eq!(tokio::join!(late, passes).0.unwrap(), Err(kernel::Interrupted::TimedOut));
}

/// Regression: parsing and screening for minutes held every thread when as many tenants sent documents as there are
/// threads.
#[tokio::test(flavor = "multi_thread")]
async fn long_work_of_others_yields_to_a_new_job() {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    let work = Work::new(ExecutorConfig { cores: 1, waiting_max: 10, clock, fair: true }).unwrap();
    let (begun, done) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let of = |owner: u8, priority| TaskContext { owner: Incarnation::from_bytes([owner; 16]), ..context(priority) };
    let long = |owner: u8| {
        let (begun, done) = (begun.clone(), done.clone());
        work.cpu(of(owner, Priority::Write), move || {
            begun.fetch_add(1, Ordering::Relaxed);
            // Ends by itself after a minute or so if no other job gets a turn.
            (0..1_000_000_000_u64).any(|_| {
                kernel::yield_to_others(kernel::STEPS_BETWEEN_CHECKS);
                done.load(Ordering::Relaxed)
            })
        })
    };
    let newcomer = async {
        // There is one thread more than cores.
        while begun.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let mine = done.clone();
        work.cpu(of(3, Priority::Answer), move || mine.store(true, Ordering::Relaxed)).await
    };
    let (first, second, third) = tokio::join!(long(1), long(2), newcomer);
    third.unwrap();
    assert!(first.unwrap() && second.unwrap(), "they went on after the newcomer");
}

#[tokio::test(flavor = "multi_thread")]
async fn preparation_of_a_write_ends_when_its_client_disconnects() {
    let work = work();
    let asked = TaskContext { cancel_policy: CancelPolicy::Early, ..context(Priority::Write) };
    drop(asked.cancel.drop_guard());
    let end: Result<(), _> = work.cpu(asked, || panic!("is not begun")).await;
    assert_eq!(end.unwrap_err().code, Code::Overloaded);
}
