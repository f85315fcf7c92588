//! Metrics for Prometheus (OpenMetrics text). Labels are route templates, statuses, and names of models and key
//! providers; no label names a tenant, a namespace or anything that a customer wrote.

use engine::Engine;
use kernel::Error;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{sync::atomic::AtomicU64, time::Duration};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

/// Labels of a key provider, whose name the operator chose.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    provider: String,
    answer: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Counters of this process since its start.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::default();
        let latency = Family::new_with_constructor(buckets as fn() -> Histogram);
        let mut registry = Registry::with_prefix("ringfence");
        registry.register("http_requests", "Requests by route template and status class", requests.clone());
        let help = "Time from the head of a request to the head of its reply";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, latency.clone());
        Self { registry, requests, latency }
    }

    /// Counts one reply.
    pub(crate) fn observe(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        let status = match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
        self.latency.get_or_create(&RouteLabels { method, route }).observe(took.as_secs_f64());
    }

    /// The whole page: the counters of HTTP, then the engine's current state.
    pub(crate) fn render(&self, engine: &Engine) -> Result<String, Error> {
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry)
            .and_then(|()| text::encode_registry(&mut page, &state(engine)))
            .and_then(|()| text::encode_eof(&mut page))
            .map_err(|e| Error::internal("the metrics cannot be encoded").with_source(e))?;
        Ok(page)
    }
}

/// Buckets from half a millisecond to half a minute.
fn buckets() -> Histogram {
    Histogram::new([0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// Metrics that the engine keeps itself, read at this moment.
fn state(engine: &Engine) -> Registry {
    let health = engine.health();
    let mut registry = Registry::with_prefix("ringfence");
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("tenants_open", "Tenants whose directory is held in memory", health.tenants.open);
    gauge("tenants_failed_to_open", "Tenants whose directory could not be opened", health.tenants.unopened);
    gauge(
        "tenants_sealed",
        "Tenants that are not served because their key provider refuses or does not answer",
        health.tenants.sealed,
    );
    let unavailable = health.tenants.unavailable;
    gauge(
        "tenants_key_unavailable",
        "Open tenants whose key provider refuses or does not answer; they are served until the lease ends",
        unavailable,
    );
    gauge("tenants_memory_bytes", "Estimated memory of open directories in bytes", health.tenants.memory_bytes);
    gauge("audit_logs_open", "Open audit logs", health.open_audit_logs);
    let help = "Namespaces refused as rolled_back because they do not match what their tenant's audit recorded";
    gauge("namespaces_rolled_back", help, health.rollbacks);
    gauge("namespaces_open", "Namespaces held in memory", health.stores.open);
    gauge("namespaces_memory_bytes", "Memory of open namespaces in bytes", health.stores.memory_bytes);
    gauge("namespaces_quarantined", "Namespaces whose stored data cannot be opened", health.stores.quarantined);
    let erasures = health.erasures;
    let oldest = erasures.oldest.map_or(0, |from| engine.now().as_millis().saturating_sub(from.as_millis()) / 1_000);
    let help = "Erasure sweeps in progress (0 or 1)";
    gauge("erasure_sweeping", help, erasures.started.saturating_sub(erasures.sweeps));
    gauge("erasure_namespaces", "Namespaces that the last erasure sweep examined", erasures.namespaces);
    gauge(
        "erasure_overdue",
        "Namespaces that have held deleted documents for longer than storage.erase_within_hours",
        erasures.overdue,
    );
    gauge(
        "erasure_unexamined",
        "Namespaces or tenants that the last erasure sweep could not examine in time or could not clear",
        erasures.unexamined,
    );
    let help = "Age in seconds of the oldest deleted document that the last erasure sweep left in an object or a log";
    gauge("erasure_oldest_seconds", help, u64::try_from(oldest).unwrap_or(0));
    gauge("documents_indexed", "Documents in open namespaces, including deleted ones", health.stores.documents);
    gauge("tombstones", "Deleted documents that compaction has not removed yet", health.stores.tombstones);
    let without_graph = health.stores.rows_without_graph;
    gauge("rows_without_graph", "Rows of large segments that searches scan until their graph is built", without_graph);
    gauge("writes_waiting", "Writes waiting for their namespace's writer", health.stores.writes_waiting);
    gauge("maintenance_waiting", "Flushes and compactions waiting for a permit", health.stores.maintenance_waiting);
    gauge("maintenance_running", "Flushes and compactions in progress", health.stores.maintenance_jobs_running);
    gauge(
        "maintenance_bytes",
        "Memory in bytes that flushes and compactions in progress may take",
        health.stores.maintenance_bytes,
    );
    gauge("cpu_queue", "CPU jobs waiting for a thread", health.cpu_waiting as u64);
    gauge("searches_running", "Searches in progress", health.searches);
    gauge("search_bytes", "Memory in bytes that replies take until they are written", health.search_bytes);
    gauge("writes_running", "Writes in progress", health.writes);
    let keys = vault::key_memory();
    gauge("key_memory_locked_bytes", "Memory for keys that is locked, in bytes", keys.bytes_locked);
    gauge("key_memory_unlocked_bytes", "Memory for keys that could not be locked, in bytes", keys.bytes_unlocked);
    gauge("model_texts_waiting", "Texts waiting for a model", health.models.waiting as u64);
    gauge("model_texts_running", "Texts being embedded", health.models.running as u64);
    let mut count = |name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    count("tenant_evictions", "Tenant directories closed to free memory", health.tenants.evictions);
    count("flushes", "Namespaces flushed to a sealed segment", health.stores.flushes);
    count("compactions", "Segments merged", health.stores.compactions);
    count("reencrypted_objects", "Objects re-encrypted under other keys", health.stores.reencrypted_objects);
    count(
        "maintenance_failures",
        "Flushes and compactions that failed and are retried",
        health.stores.maintenance_failures,
    );
    count("evictions", "Namespaces closed to free memory or files", health.stores.evictions);
    count("erasure_sweeps", "Erasure sweeps finished", health.erasures.sweeps);
    count("accepted_bytes", "Accepted bytes of documents and ids", health.stores.bytes_accepted);
    count("written_bytes", "Bytes written to logs, objects and checkpoints", health.stores.bytes_written);
    let (expected, found) = health.recalled;
    count("recall_expected", "Exact nearest passages in measurements of recall", expected);
    count("recall_found", "Exact nearest passages that searches found in measurements of recall", found);
    let mut share = |name: &str, help: &str, value: f64| {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    share(
        "tombstone_share",
        "Share of deleted documents among indexed documents, 0 to 1",
        health.stores.tombstone_share(),
    );
    share("write_amplification", "Bytes written per accepted byte", health.stores.write_amplification());
    models(&mut registry, &health.models.models);
    providers(&mut registry, &health.providers);
    registry
}

fn providers(registry: &mut Registry, providers: &[engine::ProviderHealth]) {
    let requests = Family::<AnswerLabels, Counter>::default();
    let up = Family::<ProviderLabels, Gauge>::default();
    for provider in providers {
        let granted = provider.asked - provider.denied - provider.failed;
        for (answer, count) in [("granted", granted), ("denied", provider.denied), ("failed", provider.failed)] {
            requests.get_or_create(&AnswerLabels { provider: provider.name.clone(), answer }).inc_by(count);
        }
        let answers = provider.trouble != Some(engine::KeyFailure::Outage);
        up.get_or_create(&ProviderLabels { provider: provider.name.clone() }).set(i64::from(answers));
    }
    registry.register("key_provider_requests", "Requests to key providers, by answer", requests);
    registry.register("key_provider_up", "Whether a key provider answered its last request", up);
}

fn models(registry: &mut Registry, models: &[models::ModelStats]) {
    let texts = Family::<ModelLabels, Counter>::default();
    let tokens = Family::<ModelLabels, Counter>::default();
    let busy = Family::<ModelLabels, Seconds>::default();
    for model in models {
        let label = ModelLabels { model: model.name.clone() };
        texts.get_or_create(&label).inc_by(model.texts_total);
        tokens.get_or_create(&label).inc_by(model.tokens_total);
        busy.get_or_create(&label).set(Duration::from_nanos(model.busy_ns).as_secs_f64());
    }
    registry.register("model_texts", "Texts embedded", texts);
    registry.register("model_tokens", "Tokens embedded", tokens);
    registry.register_with_unit(
        "model_busy",
        "Time spent in ONNX Runtime, summed over all threads",
        Unit::Seconds,
        busy,
    );
}

#[cfg(test)]
mod tests;
