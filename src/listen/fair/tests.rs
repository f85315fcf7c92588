//! Which connections run when many are ready.

use super::*;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

/// A waker that counts how often it was woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A flow with `connections` connections.
fn flow(connections: usize) -> Arc<Flow> {
    let flow = Flow::default();
    flow.count(connections);
    Arc::new(flow)
}

struct Connection {
    flow: Arc<Flow>,
    ticket: Arc<TurnTicket>,
    woken: Arc<Counter>,
}

impl Connection {
    fn of(flow: &Arc<Flow>) -> Self {
        Self { flow: flow.clone(), ticket: Arc::default(), woken: Arc::default() }
    }

    fn may_run(&self, scheduler: &Arc<Scheduler>) -> bool {
        scheduler.may_run(&self.flow, &self.ticket, &Waker::from(self.woken.clone()))
    }

    fn was_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed) > 0
    }
}

#[tokio::test]
async fn a_crowd_waits_for_its_turns_and_no_other_flow_waits_for_the_crowd() {
    let scheduler = Scheduler::new(TaskTracker::new());
    let (crowd, other) = (flow(1_000), flow(1_000));
    let many: Vec<_> = (0..1_000).map(|_| Connection::of(&crowd)).collect();
    assert_eq!(many.iter().filter(|c| c.may_run(&scheduler)).count(), QUANTUM);
    assert!(Connection::of(&other).may_run(&scheduler), "its flow has its own quantum");
    let woken = || many.iter().filter(|c| c.was_woken()).count();
    assert!(scheduler.round());
    assert_eq!(woken(), QUANTUM);
    assert_eq!(many.iter().filter(|c| c.was_woken() && c.may_run(&scheduler)).count(), QUANTUM, "each once");
    // After an interval, new connections still queue after the waiting ones.
    crowd.queue.lock().since = None;
    let late = Connection::of(&crowd);
    assert!(!late.may_run(&scheduler));
    let mut rounds = 1;
    while scheduler.round() {
        rounds += 1;
        assert!(Connection::of(&flow(1_000)).may_run(&scheduler));
    }
    assert!(late.was_woken() && late.may_run(&scheduler));
    assert_eq!(woken(), 1_000 - QUANTUM);
    assert_eq!(rounds, (1_000 - QUANTUM) / QUANTUM, "the last round has the late one");
    crowd.queue.lock().since = None;
    assert!(many[0].may_run(&scheduler), "immediately again");
}

#[tokio::test]
async fn few_connections_are_not_limited() {
    let scheduler = Scheduler::new(TaskTracker::new());
    let few = flow(QUANTUM);
    let connection = Connection::of(&few);
    assert!((0..1_000).all(|_| connection.may_run(&scheduler)));
    few.count(QUANTUM + 1);
    assert_eq!((0..1_000).take_while(|_| connection.may_run(&scheduler)).count(), QUANTUM);
    // It waits for its queued turn, although few connections are left.
    few.count(1);
    assert!(!connection.may_run(&scheduler) && !scheduler.round());
    assert!(connection.was_woken() && connection.may_run(&scheduler) && connection.may_run(&scheduler));
}

#[tokio::test]
async fn flows_that_wait_share_the_rounds() {
    let scheduler = Scheduler::new(TaskTracker::new());
    let flows: Vec<Arc<Flow>> = (0..100).map(|_| flow(50)).collect();
    let all: Vec<Vec<_>> = flows.iter().map(|flow| (0..50).map(|_| Connection::of(flow)).collect()).collect();
    for connection in all.iter().flatten() {
        connection.may_run(&scheduler);
    }
    let woken = |flow: &Vec<Connection>| flow.iter().filter(|c| c.was_woken()).count();
    for _ in 0..100 * QUANTUM / ROUND_MAX {
        scheduler.round();
    }
    assert!(all.iter().all(|flow| woken(flow) == QUANTUM), "each flow the same");
}

#[tokio::test]
async fn a_connection_that_ends_while_it_waits_takes_no_turn_and_leaves_nothing() {
    let scheduler = Scheduler::new(TaskTracker::new());
    let flow = flow(100);
    let mut many: Vec<_> = (0..100).map(|_| Connection::of(&flow)).collect();
    for connection in &many {
        connection.may_run(&scheduler);
    }
    let last = many.pop().expect("some");
    drop(many);
    assert!(!scheduler.round());
    assert!(last.was_woken() && last.may_run(&scheduler));
    assert!(scheduler.backlog.lock().flows.is_empty() && flow.queue.lock().waiting.is_empty());
    assert_eq!(Arc::strong_count(&flow), 2, "the test's and the connection's");
}

#[tokio::test]
async fn connections_that_are_always_ready_all_end() {
    let scheduler = Scheduler::new(TaskTracker::new());
    let (flow, tasks) = (flow(500), TaskTracker::new());
    let ended = futures::future::join_all((0..500).map(|_| {
        let (scheduler, flow, ticket) = (scheduler.clone(), flow.clone(), Arc::<TurnTicket>::default());
        let work = Box::pin(async {
            for _ in 0..20 {
                yield_now().await;
            }
        });
        tasks.spawn(Scheduled::new(work, move |waker: &Waker| scheduler.may_run(&flow, &ticket, waker)))
    }))
    .await;
    assert!(ended.iter().all(Result::is_ok));
    scheduler.tasks.close();
    scheduler.tasks.wait().await;
    assert!(!scheduler.backlog.lock().running);
}
