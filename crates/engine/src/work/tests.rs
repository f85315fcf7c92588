//! Jobs and those who ask for them.

use super::*;
use kernel::{Code, ManualClock, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};

fn work() -> Work {
    let clock = Arc::new(ManualClock::new(Timestamp::default()));
    Work::new(LanesConfig { cores: 1, waiting_max: 10, clock, turns: true }).unwrap()
}

fn asker(urgency: Urgency) -> Asker {
    Asker { owner: Incarnation::from_bytes([1; 16]), urgency, presence: Presence::default() }
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
    let end = work.here(&asker(Urgency::Answer), || panic!("on purpose"));
    assert_eq!(end.unwrap_err().code, Code::Internal);
    assert_eq!(work.cpu(asker(Urgency::Answer), || 7).await.unwrap(), 7);
}
