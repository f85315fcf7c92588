//! State that handlers share: the engine, the tracker of running requests, and counters.

use super::{body::BodyPool, metrics::Metrics, route::Plane};
use crate::shares::ShareHolder;
use engine::Engine;
use kernel::Clock;
use std::{sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;

/// Shared state of all handlers; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    engine: Engine,
    clock: Arc<dyn Clock>,
    /// Requests in progress. They run to their end even if the caller has disconnected.
    tracker: TaskTracker,
    metrics: Metrics,
    tenant_bodies: BodyPool,
    operator_bodies: BodyPool,
}

impl App {
    /// Creates the state for an open engine.
    pub(crate) fn new(engine: Engine, clock: Arc<dyn Clock>) -> Self {
        let (tenant_bodies, operator_bodies) = (BodyPool::of(Plane::Data), BodyPool::of(Plane::Control));
        let (tracker, metrics) = (TaskTracker::new(), Metrics::new());
        Self(Arc::new(Inner { engine, clock, tracker, metrics, tenant_bodies, operator_bodies }))
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

    /// The pool of memory for this caller's request bodies.
    pub(crate) fn bodies(&self, caller: &ShareHolder) -> &BodyPool {
        match caller {
            ShareHolder::Tenant(_) => &self.0.tenant_bodies,
            ShareHolder::Operator(_) => &self.0.operator_bodies,
        }
    }

    /// Monotonic time, for latencies.
    pub(crate) fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }
}
