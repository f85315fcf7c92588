//! What handlers share: the engine, the tracker of running requests, counters.

use super::{body::Bodies, metrics::Metrics, route::Plane};
use crate::shares::Caller;
use engine::Engine;
use kernel::Clock;
use std::{sync::Arc, time::Duration};
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
    tenants_bodies: Bodies,
    operators_bodies: Bodies,
}

impl App {
    /// Around an open engine.
    pub(crate) fn new(engine: Engine, clock: Arc<dyn Clock>) -> Self {
        let (tenants_bodies, operators_bodies) = (Bodies::of(Plane::Data), Bodies::of(Plane::Control));
        let (tracker, metrics) = (TaskTracker::new(), Metrics::new());
        Self(Arc::new(Inner { engine, clock, tracker, metrics, tenants_bodies, operators_bodies }))
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

    /// Memory for what this caller sends.
    pub(crate) fn bodies(&self, caller: &Caller) -> &Bodies {
        match caller {
            Caller::Tenant(_) => &self.0.tenants_bodies,
            Caller::Operator(_) => &self.0.operators_bodies,
        }
    }

    /// For latencies.
    pub(crate) fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }
}
