//! Whose job comes next.

use super::*;
use std::sync::mpsc;

fn tenant(n: u8) -> Owner {
    Some(Incarnation::from_bytes([n; 16]))
}

/// The owners whose jobs would run, one after the other, on a single thread.
fn order(state: &mut State) -> Vec<Owner> {
    let mut order = Vec::new();
    while let Some((owner, _)) = state.next(1) {
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
fn answers_go_before_writes_of_the_same_tenant() {
    let (mut state, (said, heard)) = (State::default(), mpsc::channel());
    for (urgency, name) in [(Urgency::Write, "write"), (Urgency::Answer, "answer"), (Urgency::Answer, "another")] {
        let said = said.clone();
        state.take(tenant(1), urgency, Box::new(move || said.send(name).unwrap()));
    }
    while let Some((owner, job)) = state.next(1) {
        job();
        state.done(owner);
    }
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["answer", "another", "write"]);
}

#[test]
fn one_thread_is_always_left_for_somebody_else() {
    let lanes = Lanes::new(3, 100, "test").unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let (begun, begins) = mpsc::channel();
    for _ in 0..3 {
        let (held, begun) = (held.clone(), begun.clone());
        lanes
            .push(
                tenant(1),
                Urgency::Answer,
                Box::new(move || {
                    begun.send(1).unwrap();
                    let _ = held.lock().unwrap().recv();
                }),
            )
            .unwrap();
    }
    assert_eq!([begins.recv().unwrap(), begins.recv().unwrap()], [1, 1]);
    let other = begun.clone();
    lanes.push(tenant(2), Urgency::Write, Box::new(move || other.send(2).unwrap())).unwrap();
    // The third job of the first tenant still waits: the other's came before it.
    assert_eq!((begins.recv().unwrap(), lanes.waiting()), (2, 1));
    for _ in 0..3 {
        hold.send(()).unwrap();
    }
    assert_eq!(begins.recv().unwrap(), 1);
}

#[test]
fn a_full_queue_says_so_to_who_fills_it_first() {
    let lanes = Lanes::new(2, 4, "test").unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let job = move || {
        begun.send(()).unwrap();
        let _ = held.recv();
    };
    lanes.push(tenant(1), Urgency::Answer, Box::new(job)).unwrap();
    begins.recv().unwrap();
    let push = |n| lanes.push(tenant(n), Urgency::Answer, Box::new(|| ()));
    push(1).unwrap();
    push(1).unwrap();
    let refused = push(1).unwrap_err();
    assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(RETRY)));
    hold.send(()).unwrap();
}

#[test]
fn a_panic_ends_one_job_and_no_thread() {
    let lanes = Lanes::new(2, 100, "test").unwrap();
    let (say, hear) = mpsc::channel();
    for _ in 0..8 {
        lanes.push(tenant(1), Urgency::Answer, Box::new(|| panic!("on purpose"))).unwrap();
    }
    lanes.push(tenant(1), Urgency::Answer, Box::new(move || say.send(()).unwrap())).unwrap();
    hear.recv().unwrap();
}
