//! Whose job comes next.

use super::*;
use kernel::ManualClock;
use std::sync::mpsc;

fn tenant(n: u8) -> Owner {
    Some(Incarnation::from_bytes([n; 16]))
}

/// The owners whose jobs would run, one after the other, on a single thread.
fn order(state: &mut State) -> Vec<Owner> {
    let mut order = Vec::new();
    while let Some((owner, _)) = state.next(usize::MAX, |_, _| 1) {
        order.push(owner);
        state.done(owner);
    }
    order
}

#[test]
fn a_tenant_with_one_job_waits_for_one_of_another_not_for_all() {
    let mut state = State::default();
    for _ in 0..100 {
        state.take(tenant(1), Urgency::Answer, Box::new(|| ()));
    }
    state.take(tenant(2), Urgency::Write, Box::new(|| ()));
    state.take(tenant(3), Urgency::Write, Box::new(|| ()));
    let order = order(&mut state);
    assert_eq!(order[..4], [tenant(1), tenant(2), tenant(3), tenant(1)]);
    assert_eq!((order.len(), state.waiting, state.lanes.len()), (102, 0, 0));
}

#[test]
fn a_write_does_not_wait_for_ever_behind_answers() {
    let mut state = State::default();
    let (said, heard) = mpsc::channel();
    let job = |name: &'static str| -> Job {
        let said = said.clone();
        Box::new(move || said.send(name).unwrap())
    };
    state.take(tenant(1), Urgency::Write, job("write"));
    (0..20).for_each(|_| state.take(tenant(1), Urgency::Answer, job("answer")));
    while let Some((owner, job)) = state.next(usize::MAX, |_, _| 1) {
        job();
        state.done(owner);
    }
    let order: Vec<&str> = heard.try_iter().collect();
    assert_eq!(order.iter().position(|name| *name == "write"), Some(ANSWERS_BEFORE_A_WRITE));
}

#[test]
fn answers_go_before_writes_of_the_same_tenant() {
    let (mut state, (said, heard)) = (State::default(), mpsc::channel());
    for (urgency, name) in [(Urgency::Write, "write"), (Urgency::Answer, "answer"), (Urgency::Answer, "another")] {
        let said = said.clone();
        state.take(tenant(1), urgency, Box::new(move || said.send(name).unwrap()));
    }
    while let Some((owner, job)) = state.next(usize::MAX, |_, _| 1) {
        job();
        state.done(owner);
    }
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["answer", "another", "write"]);
}

/// A job that says that it has begun and then waits.
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

    fn job(&self, n: u8) -> Job {
        let (say, wait) = (self.say.clone(), self.wait.clone());
        Box::new(move || {
            say.send(n).unwrap();
            let _ = wait.lock().unwrap().recv();
        })
    }
}

fn lanes(cores: usize, waiting_max: usize, turns: bool) -> (Lanes, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(kernel::Timestamp::default()));
    (Lanes::new(LanesConfig { cores, waiting_max, clock: clock.clone(), turns }).unwrap(), clock)
}

#[test]
fn who_is_alone_uses_every_core_and_who_comes_begins_at_once() {
    let ((lanes, _), held) = (lanes(2, 100, true), Held::new());
    for _ in 0..3 {
        lanes.push(tenant(1), Urgency::Answer, held.job(1)).unwrap();
    }
    assert_eq!([held.begun.recv().unwrap(), held.begun.recv().unwrap()], [1, 1]);
    lanes.push(tenant(2), Urgency::Write, held.job(2)).unwrap();
    // The third job of the first tenant still waits: the other's came before it.
    assert_eq!((held.begun.recv().unwrap(), lanes.waiting()), (2, 1));
    for _ in 0..4 {
        held.release.send(()).unwrap();
    }
    assert_eq!(held.begun.recv().unwrap(), 1);
}

#[test]
fn in_company_one_core_is_the_others() {
    let (mut state, now) = (State::default(), Duration::from_secs(10));
    let (one, two) = (tenant(1), tenant(2));
    state.saw(one, now);
    assert!(!state.is_in_company(one, now));
    assert!(state.is_in_company(two, now));
    state.saw(two, now);
    state.saw(one, now + Duration::from_millis(500));
    assert!(state.is_in_company(one, now + Duration::from_millis(900)));
    assert!(!state.is_in_company(one, now + COMPANY));
}

#[test]
fn without_turns_the_first_comes_first() {
    let ((lanes, _), held) = (lanes(1, 100, false), Held::new());
    for n in [1, 1, 2] {
        lanes.push(tenant(n), Urgency::Answer, held.job(n)).unwrap();
    }
    for _ in 0..3 {
        held.release.send(()).unwrap();
    }
    assert_eq!([held.begun.recv().unwrap(), held.begun.recv().unwrap(), held.begun.recv().unwrap()], [1, 1, 2]);
}

#[test]
fn a_full_queue_says_so_to_who_fills_it_first() {
    let ((lanes, _), held) = (lanes(1, 4, true), Held::new());
    lanes.push(tenant(1), Urgency::Answer, held.job(1)).unwrap();
    held.begun.recv().unwrap();
    let push = |n| lanes.push(tenant(n), Urgency::Answer, Box::new(|| ()));
    push(1).unwrap();
    push(1).unwrap();
    let refused = push(1).unwrap_err();
    assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(RETRY)));
    held.release.send(()).unwrap();
}

#[test]
fn a_panic_ends_one_job_and_no_thread() {
    let (lanes, _) = lanes(1, 100, true);
    let (say, hear) = mpsc::channel();
    for _ in 0..8 {
        lanes.push(tenant(1), Urgency::Answer, Box::new(|| panic!("on purpose"))).unwrap();
    }
    lanes.push(tenant(1), Urgency::Answer, Box::new(move || say.send(()).unwrap())).unwrap();
    hear.recv().unwrap();
}

/// A job that waits for a network until it is let go, then says so.
fn distant(begun: &mpsc::Sender<u8>, release: &Arc<Mutex<mpsc::Receiver<()>>>, n: u8) -> Job {
    let (begun, release) = (begun.clone(), release.clone());
    Box::new(move || {
        kernel::blocking(|| {
            begun.send(n).unwrap();
            let _ = release.lock().unwrap().recv();
        });
        begun.send(100 + n).unwrap();
    })
}

/// Three cold searches held every thread of a machine with two cores until a bucket answered.
#[test]
fn who_waits_for_a_network_holds_no_thread_of_others() {
    for turns in [true, false] {
        let (lanes, _) = lanes(2, 100, turns);
        let ((say, hear), (let_go, wait)) = (mpsc::channel(), mpsc::channel());
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..10 {
            lanes.push(tenant(1), Urgency::Answer, distant(&say, &wait, 1)).unwrap();
        }
        for _ in 0..10 {
            assert_eq!(hear.recv().unwrap(), 1, "each has begun, though none has ended");
        }
        for _ in 0..10 {
            let said = say.clone();
            lanes.push(tenant(2), Urgency::Answer, Box::new(move || said.send(2).unwrap())).unwrap();
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
fn of_one_tenant_so_many_jobs_wait_for_a_network_and_no_more() {
    let (lanes, _) = lanes(2, 1_000, true);
    let ((say, hear), (let_go, wait)) = (mpsc::channel(), mpsc::channel());
    let wait = Arc::new(Mutex::new(wait));
    let all = 4 * limits::BLOCKED_JOBS_PER_TENANT_MAX;
    for _ in 0..all {
        lanes.push(tenant(1), Urgency::Answer, distant(&say, &wait, 1)).unwrap();
    }
    for _ in 0..limits::BLOCKED_JOBS_PER_TENANT_MAX {
        assert_eq!(hear.recv().unwrap(), 1);
    }
    let said = say.clone();
    lanes.push(tenant(2), Urgency::Answer, Box::new(move || said.send(2).unwrap())).unwrap();
    // At most as many more have begun as compute at once.
    let begun = std::iter::from_fn(|| hear.recv().ok()).take_while(|n| *n != 2).count();
    assert!(begun <= 3, "{begun} more have begun");
    (0..all).for_each(|_| let_go.send(()).unwrap());
    let ended = std::iter::from_fn(|| hear.recv().ok()).filter(|n| *n == 101).take(all).count();
    assert_eq!(ended, all, "all come to their end");
    assert!(lanes.0.lock().threads <= 3 + limits::BLOCKED_JOBS_PER_TENANT_MAX + 3);
}

#[test]
fn no_more_compute_at_once_after_waiting_than_before() {
    let (lanes, _) = lanes(1, 100, false);
    let ((say, hear), (let_go, wait)) = (mpsc::channel(), mpsc::channel());
    let (wait, at_once) = (Arc::new(Mutex::new(wait)), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    for _ in 0..8 {
        let (say, wait, at_once) = (say.clone(), wait.clone(), at_once.clone());
        let job = move || {
            let _told = kernel::blocking(|| wait.lock().unwrap().recv());
            let others = at_once.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            at_once.fetch_sub(1, Ordering::SeqCst);
            say.send(others).unwrap();
        };
        lanes.push(tenant(1), Urgency::Answer, Box::new(job)).unwrap();
    }
    (0..8).for_each(|_| let_go.send(()).unwrap());
    let most = (0..8).map(|_| hear.recv().unwrap()).max();
    assert_eq!(most, Some(0), "one computes at a time");
}
