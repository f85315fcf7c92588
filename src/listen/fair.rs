//! Fair scheduling of connections: round robin over flows, each with the same quantum.
//!
//! The runtime runs tasks in the order in which they become ready. A client can make thousands of connections ready at
//! the same moment, and every other client would wait for all of them. A flow consists of the connections of one
//! caller, or of one address until a credential is shown. Connections of a flow run immediately only as often as its
//! quantum allows; the others wait here and are released in rounds. Each round runs after everything that became ready
//! during the previous one.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{task::yield_now, time::Instant};
use tokio_util::task::TaskTracker;

/// Schedules the connections of one listener.
pub(super) struct Scheduler {
    backlog: Mutex<Backlog>,
    tasks: TaskTracker,
}

/// Flows with waiting connections.
#[derive(Default)]
struct Backlog {
    flows: VecDeque<Arc<Flow>>,
    /// Whether a task is running the rounds.
    running: bool,
}

/// Connections that are scheduled together.
#[derive(Default)]
pub(super) struct Flow {
    /// Number of connections of the flow.
    connections: AtomicUsize,
    queue: Mutex<TurnQueue>,
}

#[derive(Default)]
struct TurnQueue {
    /// Start of the interval in which `left` further connections may run immediately.
    since: Option<Instant>,
    left: usize,
    waiting: VecDeque<Weak<TurnTicket>>,
    /// Whether the flow is in the backlog.
    queued: bool,
}

/// Scheduling state of one connection.
#[derive(Default)]
pub(super) struct TurnTicket(Mutex<TicketState>);

#[derive(Default)]
enum TicketState {
    #[default]
    Idle,
    Waiting(Waker),
    Granted,
}

impl Scheduler {
    /// Creates a scheduler whose rounds run as tasks of this tracker.
    pub(super) fn new(tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self { backlog: Mutex::default(), tasks })
    }

    /// Whether a connection of this flow may run now. Otherwise it is woken when it may.
    pub(super) fn may_run(self: &Arc<Self>, flow: &Arc<Flow>, ticket: &Arc<TurnTicket>, waker: &Waker) -> bool {
        {
            let mut turn = ticket.0.lock();
            match &mut *turn {
                TicketState::Idle => {}
                TicketState::Waiting(waiting) => {
                    waiting.clone_from(waker);
                    return false;
                }
                TicketState::Granted => {
                    *turn = TicketState::Idle;
                    return true;
                }
            }
        }
        // A flow of this size cannot fill the run queue.
        if flow.connections.load(Ordering::Relaxed) <= QUANTUM {
            return true;
        }
        // Connections that already wait run first, so a new one runs immediately only if none waits.
        let mut queue = flow.queue.lock();
        if queue.waiting.is_empty() && queue.spend(Instant::now()) {
            return true;
        }
        *ticket.0.lock() = TicketState::Waiting(waker.clone());
        queue.waiting.push_back(Arc::downgrade(ticket));
        let queued = std::mem::replace(&mut queue.queued, true);
        drop(queue);
        if !queued {
            self.enqueue(flow.clone());
        }
        false
    }

    fn enqueue(self: &Arc<Self>, flow: Arc<Flow>) {
        let mut backlog = self.backlog.lock();
        backlog.flows.push_back(flow);
        if !std::mem::replace(&mut backlog.running, true) {
            drop(backlog);
            let scheduler = self.clone();
            self.tasks.spawn(async move {
                loop {
                    // Tasks that are ready run before the next round.
                    yield_now().await;
                    if !scheduler.round() {
                        return;
                    }
                }
            });
        }
    }

    /// Grants each waiting flow its quantum. Returns whether connections still wait.
    fn round(&self) -> bool {
        let mut granted = Vec::new();
        let flows = self.backlog.lock().flows.len();
        for _ in 0..flows {
            let Some(flow) = self.backlog.lock().flows.pop_front() else { break };
            let mut queue = flow.queue.lock();
            queue.grant(&mut granted);
            // A flow with further waiting connections returns to the end of the backlog: round robin.
            queue.queued = !queue.waiting.is_empty();
            let waits = queue.queued;
            drop(queue);
            if waits {
                self.backlog.lock().flows.push_back(flow);
            }
            if granted.len() >= ROUND_MAX {
                break;
            }
        }
        // Wakers run code of the runtime, so no lock is held here.
        granted.into_iter().for_each(Waker::wake);
        let mut backlog = self.backlog.lock();
        backlog.running = !backlog.flows.is_empty();
        backlog.running
    }
}

impl Flow {
    /// Sets the number of connections.
    pub(super) fn count(&self, connections: usize) {
        self.connections.store(connections, Ordering::Relaxed);
    }
}

impl TurnQueue {
    fn spend(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= INTERVAL) {
            (self.since, self.left) = (Some(now), QUANTUM);
        }
        let has = self.left > 0;
        self.left -= usize::from(has);
        has
    }

    /// Grants a quantum. Tickets whose connection has ended meanwhile do not count.
    fn grant(&mut self, granted: &mut Vec<Waker>) {
        let mut left = QUANTUM;
        while left > 0
            && let Some(ticket) = self.waiting.pop_front()
        {
            let turn = ticket.upgrade().map(|ticket| std::mem::replace(&mut *ticket.0.lock(), TicketState::Granted));
            if let Some(TicketState::Waiting(waker)) = turn {
                granted.push(waker);
                left -= 1;
            }
        }
    }
}

/// A future that is polled only when its flow may run.
pub(super) struct Scheduled<F, A> {
    inner: F,
    may_run: A,
}

impl<F: Future + Unpin, A: Fn(&Waker) -> bool + Unpin> Scheduled<F, A> {
    /// Wraps `inner`; `may_run` behaves as [`Scheduler::may_run`].
    pub(super) fn new(inner: F, may_run: A) -> Self {
        Self { inner, may_run }
    }
}

impl<F: Future + Unpin, A: Fn(&Waker) -> bool + Unpin> Future for Scheduled<F, A> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if (self.may_run)(context.waker()) { Pin::new(&mut self.inner).poll(context) } else { Poll::Pending }
    }
}

/// Number of runs per [`INTERVAL`] without waiting, and per round for waiting connections. Flows with this many
/// connections or fewer are not limited.
const QUANTUM: usize = 8;
const INTERVAL: Duration = Duration::from_millis(1);
/// Approximate number of connections that one round releases: some milliseconds of work.
const ROUND_MAX: usize = 32;

#[cfg(test)]
mod tests;
