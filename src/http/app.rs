//! What handlers share: the engine, the tracker of running requests, counters.

use super::metrics::Metrics;
use engine::Engine;
use kernel::{Clock, limits};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    engine: Engine,
    clock: Arc<dyn Clock>,
    /// Requests under way. They run to their end even when the caller has gone.
    tracker: TaskTracker,
    metrics: Metrics,
    /// Room for bodies, one permit a [`BODY_STEP`].
    bodies: Arc<Semaphore>,
}

impl App {
    /// Around an open engine.
    pub(crate) fn new(engine: Engine, clock: Arc<dyn Clock>) -> Self {
        let bodies = Arc::new(Semaphore::new(limits::BODIES_BYTES_MAX / BODY_STEP));
        let metrics = Metrics::new();
        Self(Arc::new(Inner { engine, clock, tracker: TaskTracker::new(), metrics, bodies }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.0.tracker
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn bodies(&self) -> &Arc<Semaphore> {
        &self.0.bodies
    }

    /// For latencies.
    pub(crate) fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }
}

/// Bytes of a body that one permit stands for.
pub(crate) const BODY_STEP: usize = 64 << 10;
