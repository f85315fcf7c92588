//! Tests of the order in which tenants' jobs run.

use super::*;
use kernel::ManualClock;
use std::sync::mpsc;

fn tenant(n: u8) -> WorkOwner {
    Some(Incarnation::from_bytes([n; 16]))
}

/// The owners whose jobs would run, one after the other, on a single thread.
fn order(state: &mut State) -> Vec<WorkOwner> {
    let mut order = Vec::new();
    while let Some((owner, _)) = state.next(usize::MAX, |_, _| 1) {
        order.push(owner);
        state.finish(owner);
    }
    order
}

#[test]
fn a_tenant_with_one_job_waits_for_one_of_another_not_for_all() {
    let mut state = State::default();
    for _ in 0..100 {
        state.enqueue(tenant(1), Priority::Answer, Box::new(|| ()));
    }
    state.enqueue(tenant(2), Priority::Write, Box::new(|| ()));
    state.enqueue(tenant(3), Priority::Write, Box::new(|| ()));
    let order = order(&mut state);
    assert_eq!(order[..4], [tenant(1), tenant(2), tenant(3), tenant(1)]);
    assert_eq!((order.len(), state.waiting, state.queues.len()), (102, 0, 0));
}

#[test]
fn answers_do_not_starve_a_write() {
    let mut state = State::default();
    let (said, heard) = mpsc::channel();
    let job = |name: &'static str| -> CpuJob {
        let said = said.clone();
        Box::new(move || said.send(name).unwrap())
    };
    state.enqueue(tenant(1), Priority::Write, job("write"));
    (0..20).for_each(|_| state.enqueue(tenant(1), Priority::Answer, job("answer")));
    while let Some((owner, job)) = state.next(usize::MAX, |_, _| 1) {
        job();
        state.finish(owner);
    }
    let order: Vec<&str> = heard.try_iter().collect();
    assert_eq!(order.iter().position(|name| *name == "write"), Some(ANSWERS_BEFORE_A_WRITE));
}

#[test]
fn answers_run_before_writes_of_the_same_tenant() {
    let (mut state, (said, heard)) = (State::default(), mpsc::channel());
    for (priority, name) in [(Priority::Write, "write"), (Priority::Answer, "answer"), (Priority::Answer, "another")] {
        let said = said.clone();
        state.enqueue(tenant(1), priority, Box::new(move || said.send(name).unwrap()));
    }
    while let Some((owner, job)) = state.next(usize::MAX, |_, _| 1) {
        job();
        state.finish(owner);
    }
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["answer", "another", "write"]);
}

/// Jobs that report that they have begun and then wait.
struct Held {
    begun: mpsc::Receiver<u8>,
    say: mpsc::Sender<u8>,
    release: mpsc::Sender<()>,
    wait: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Held {
    fn new() -> Self {
        let ((say, begun), (release, wait)) = (mpsc::channel(), mpsc::channel());
        Self { begun, say, release, wait: Arc::new(Mutex::new(wait)) }
    }

    fn job(&self, n: u8) -> CpuJob {
        let (say, wait) = (self.say.clone(), self.wait.clone());
        Box::new(move || {
            say.send(n).unwrap();
            let _ = wait.lock().recv();
        })
    }
}

fn queues(cores: usize, waiting_max: usize, fair: bool) -> (FairExecutor, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(kernel::Timestamp::default()));
    (FairExecutor::new(ExecutorConfig { cores, waiting_max, clock: clock.clone(), fair }).unwrap(), clock)
}

#[test]
fn a_single_tenant_uses_every_core_and_a_new_one_starts_at_once() {
    let ((queues, _), held) = (queues(2, 100, true), Held::new());
    for _ in 0..3 {
        queues.push(tenant(1), Priority::Answer, held.job(1)).unwrap();
    }
    assert_eq!([held.begun.recv().unwrap(), held.begun.recv().unwrap()], [1, 1]);
    queues.push(tenant(2), Priority::Write, held.job(2)).unwrap();
    // The third job of the first tenant still waits, because the other tenant's job came before it.
    assert_eq!((held.begun.recv().unwrap(), queues.waiting()), (2, 1));
    for _ in 0..4 {
        held.release.send(()).unwrap();
    }
    assert_eq!(held.begun.recv().unwrap(), 1);
}

#[test]
fn one_core_is_reserved_for_other_active_tenants() {
    let (mut state, now) = (State::default(), Duration::from_secs(10));
    let (one, two) = (tenant(1), tenant(2));
    state.note_active(one, now);
    assert!(!state.others_are_active(one, now));
    assert!(state.others_are_active(two, now));
    state.note_active(two, now);
    state.note_active(one, now + Duration::from_millis(500));
    assert!(state.others_are_active(one, now + Duration::from_millis(900)));
    assert!(!state.others_are_active(one, now + OTHERS_ACTIVE_WITHIN));
}

#[test]
fn without_turns_jobs_run_in_order_of_arrival() {
    let ((queues, _), held) = (queues(1, 100, false), Held::new());
    for n in [1, 1, 2] {
        queues.push(tenant(n), Priority::Answer, held.job(n)).unwrap();
    }
    for _ in 0..3 {
        held.release.send(()).unwrap();
    }
    assert_eq!([held.begun.recv().unwrap(), held.begun.recv().unwrap(), held.begun.recv().unwrap()], [1, 1, 2]);
}

#[test]
fn a_full_queue_refuses_the_tenant_that_fills_it_first() {
    let ((queues, _), held) = (queues(1, 4, true), Held::new());
    queues.push(tenant(1), Priority::Answer, held.job(1)).unwrap();
    held.begun.recv().unwrap();
    let push = |n| queues.push(tenant(n), Priority::Answer, Box::new(|| ()));
    push(1).unwrap();
    push(1).unwrap();
    let refused = push(1).unwrap_err();
    assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(RETRY)));
    held.release.send(()).unwrap();
}

#[test]
fn a_panic_ends_one_job_and_no_thread() {
    let (queues, _) = queues(1, 100, true);
    let (say, hear) = mpsc::channel();
    for _ in 0..8 {
        queues.push(tenant(1), Priority::Answer, Box::new(|| panic!("on purpose"))).unwrap();
    }
    queues.push(tenant(1), Priority::Answer, Box::new(move || say.send(()).unwrap())).unwrap();
    hear.recv().unwrap();
}

/// A job that waits for a network until it is released, and then reports so.
fn distant(begun: &mpsc::Sender<u8>, release: &Arc<Mutex<mpsc::Receiver<()>>>, n: u8) -> CpuJob {
    let (begun, release) = (begun.clone(), release.clone());
    Box::new(move || {
        kernel::blocking(|| {
            begun.send(n).unwrap();
            let _ = release.lock().recv();
        });
        begun.send(100 + n).unwrap();
    })
}

/// Regression: three cold searches held every thread of a machine with two cores until a bucket answered.
#[test]
fn a_job_that_waits_for_a_network_blocks_no_other_tenant() {
    for fair in [true, false] {
        let (queues, _) = queues(2, 100, fair);
        let ((say, hear), (let_go, wait)) = (mpsc::channel(), mpsc::channel());
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..10 {
            queues.push(tenant(1), Priority::Answer, distant(&say, &wait, 1)).unwrap();
        }
        for _ in 0..10 {
            assert_eq!(hear.recv().unwrap(), 1, "each has begun, though none has ended");
        }
        for _ in 0..10 {
            let said = say.clone();
            queues.push(tenant(2), Priority::Answer, Box::new(move || said.send(2).unwrap())).unwrap();
        }
        for _ in 0..10 {
            assert_eq!(hear.recv().unwrap(), 2, "another tenant's are done meanwhile");
        }
        (0..10).for_each(|_| let_go.send(()).unwrap());
        for _ in 0..10 {
            assert_eq!(hear.recv().unwrap(), 101);
        }
    }
}

#[test]
fn the_jobs_of_one_tenant_that_wait_for_a_network_are_bounded() {
    let (queues, _) = queues(2, 1_000, true);
    let ((say, hear), (let_go, wait)) = (mpsc::channel(), mpsc::channel());
    let wait = Arc::new(Mutex::new(wait));
    let all = 4 * limits::BLOCKED_JOBS_PER_TENANT_MAX;
    for _ in 0..all {
        queues.push(tenant(1), Priority::Answer, distant(&say, &wait, 1)).unwrap();
    }
    for _ in 0..limits::BLOCKED_JOBS_PER_TENANT_MAX {
        assert_eq!(hear.recv().unwrap(), 1);
    }
    let said = say.clone();
    queues.push(tenant(2), Priority::Answer, Box::new(move || said.send(2).unwrap())).unwrap();
    // At most as many more have begun as compute at the same time.
    let begun = std::iter::from_fn(|| hear.recv().ok()).take_while(|n| *n != 2).count();
    assert!(begun <= 3, "{begun} more have begun");
    (0..all).for_each(|_| let_go.send(()).unwrap());
    let ended = std::iter::from_fn(|| hear.recv().ok()).filter(|n| *n == 101).take(all).count();
    assert_eq!(ended, all, "all jobs end");
    assert!(queues.0.state.lock().threads <= 3 + limits::BLOCKED_JOBS_PER_TENANT_MAX + 3);
}

#[test]
fn jobs_that_resume_do_not_exceed_the_slots() {
    let (queues, _) = queues(1, 100, false);
    let ((say, hear), (let_go, wait)) = (mpsc::channel(), mpsc::channel());
    let (wait, at_once) = (Arc::new(Mutex::new(wait)), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    for _ in 0..8 {
        let (say, wait, at_once) = (say.clone(), wait.clone(), at_once.clone());
        let job = move || {
            let _told = kernel::blocking(|| wait.lock().recv());
            let others = at_once.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            at_once.fetch_sub(1, Ordering::SeqCst);
            say.send(others).unwrap();
        };
        queues.push(tenant(1), Priority::Answer, Box::new(job)).unwrap();
    }
    (0..8).for_each(|_| let_go.send(()).unwrap());
    let most = (0..8).map(|_| hear.recv().unwrap()).max();
    assert_eq!(most, Some(0), "one computes at a time");
}
