//! Fair scheduling of connections: round robin over flows, each with the same quantum.
//!
//! The runtime runs tasks in the order in which they become ready. A client can make thousands of connections ready at the
//! same moment, and every other client would wait for all of them. A flow is the connections of one caller, or of one
//! address until a credential is shown. Connections of a flow run at once only as often as its quantum allows; the others
//! wait here and are released in rounds. Each round runs after everything that became ready during the previous one.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{task::yield_now, time::Instant};
use tokio_util::task::TaskTracker;

/// Lets connections of one listener run.
pub(super) struct Scheduler {
    backlog: Mutex<Backlog>,
    tasks: TaskTracker,
}

/// Flows of which some connections wait.
#[derive(Default)]
struct Backlog {
    flows: VecDeque<Arc<Flow>>,
    /// Whether a task goes through them.
    served: bool,
}

/// Connections that are scheduled together.
#[derive(Default)]
pub(super) struct Flow {
    /// How many there are.
    connections: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Begin of the interval in which `left` may still run at once.
    since: Option<Instant>,
    left: usize,
    waiting: VecDeque<Weak<Ticket>>,
    /// Whether the flow stands in the backlog.
    queued: bool,
}

/// What one connection waits with.
#[derive(Default)]
pub(super) struct Ticket(Mutex<Turn>);

#[derive(Default)]
enum Turn {
    #[default]
    None,
    Awaited(Waker),
    Granted,
}

impl Scheduler {
    /// One whose rounds are tasks of this tracker.
    pub(super) fn new(tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self { backlog: Mutex::default(), tasks })
    }

    /// Whether a connection of this flow may run now. Otherwise it is woken when it may.
    pub(super) fn admits(self: &Arc<Self>, flow: &Arc<Flow>, ticket: &Arc<Ticket>, waker: &Waker) -> bool {
        {
            let mut turn = lock(&ticket.0);
            match &mut *turn {
                Turn::None => {}
                Turn::Awaited(waiting) => {
                    waiting.clone_from(waker);
                    return false;
                }
                Turn::Granted => {
                    *turn = Turn::None;
                    return true;
                }
            }
        }
        // A flow this small cannot fill the run queue.
        if flow.connections.load(Ordering::Relaxed) <= QUANTUM {
            return true;
        }
        let mut queue = lock(&flow.queue);
        if queue.waiting.is_empty() && queue.spend(Instant::now()) {
            return true;
        }
        *lock(&ticket.0) = Turn::Awaited(waker.clone());
        queue.waiting.push_back(Arc::downgrade(ticket));
        let queued = std::mem::replace(&mut queue.queued, true);
        drop(queue);
        if !queued {
            self.enqueue(flow.clone());
        }
        false
    }

    fn enqueue(self: &Arc<Self>, flow: Arc<Flow>) {
        let mut backlog = lock(&self.backlog);
        backlog.flows.push_back(flow);
        if !std::mem::replace(&mut backlog.served, true) {
            drop(backlog);
            let scheduler = self.clone();
            self.tasks.spawn(async move {
                loop {
                    // What is ready runs first.
                    yield_now().await;
                    if !scheduler.round() {
                        return;
                    }
                }
            });
        }
    }

    /// Grants each waiting flow its quantum; whether some still wait.
    fn round(&self) -> bool {
        let mut granted = Vec::new();
        let flows = lock(&self.backlog).flows.len();
        for _ in 0..flows {
            let Some(flow) = lock(&self.backlog).flows.pop_front() else { break };
            let mut queue = lock(&flow.queue);
            queue.grant(&mut granted);
            queue.queued = !queue.waiting.is_empty();
            let waits = queue.queued;
            drop(queue);
            if waits {
                lock(&self.backlog).flows.push_back(flow);
            }
            if granted.len() >= ROUND_MAX {
                break;
            }
        }
        granted.into_iter().for_each(Waker::wake);
        let mut backlog = lock(&self.backlog);
        backlog.served = !backlog.flows.is_empty();
        backlog.served
    }
}

impl Flow {
    /// Notes how many connections it has.
    pub(super) fn count(&self, connections: usize) {
        self.connections.store(connections, Ordering::Relaxed);
    }
}

impl Queue {
    fn spend(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= INTERVAL) {
            (self.since, self.left) = (Some(now), QUANTUM);
        }
        let has = self.left > 0;
        self.left -= usize::from(has);
        has
    }

    /// Those whose connection has ended meanwhile do not count.
    fn grant(&mut self, granted: &mut Vec<Waker>) {
        let mut left = QUANTUM;
        while left > 0
            && let Some(ticket) = self.waiting.pop_front()
        {
            let turn = ticket.upgrade().map(|ticket| std::mem::replace(&mut *lock(&ticket.0), Turn::Granted));
            if let Some(Turn::Awaited(waker)) = turn {
                granted.push(waker);
                left -= 1;
            }
        }
    }
}

/// A connection that runs when its flow may.
pub(super) struct Scheduled<F, A> {
    inner: F,
    admits: A,
}

impl<F: Future + Unpin, A: Fn(&Waker) -> bool + Unpin> Scheduled<F, A> {
    /// `admits` as [`Scheduler::admits`].
    pub(super) fn new(inner: F, admits: A) -> Self {
        Self { inner, admits }
    }
}

impl<F: Future + Unpin, A: Fn(&Waker) -> bool + Unpin> Future for Scheduled<F, A> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if (self.admits)(context.waker()) { Pin::new(&mut self.inner).poll(context) } else { Poll::Pending }
    }
}

/// Nothing panics while holding one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs per [`INTERVAL`] without waiting, and per round for waiting connections. Flows with this many connections or fewer
/// are not limited.
const QUANTUM: usize = 8;
const INTERVAL: Duration = Duration::from_millis(1);
/// Connections that are let run in one round, about: some milliseconds of work.
const ROUND_MAX: usize = 32;

#[cfg(test)]
mod tests;
