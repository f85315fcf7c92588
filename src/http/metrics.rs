//! Counters for Prometheus (OpenMetrics text). Labels are route templates, statuses and model
//! names; no label names a tenant, a namespace or anything a customer wrote.

use engine::Engine;
use kernel::Error;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{sync::atomic::AtomicU64, time::Duration};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OnRoute {
    method: &'static str,
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

/// The provider's name is the operator's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProvider {
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    provider: String,
    answer: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// What this process counted since it started.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    latency: Family<OnRoute, Histogram, fn() -> Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::default();
        let latency = Family::new_with_constructor(buckets as fn() -> Histogram);
        let mut registry = Registry::with_prefix("ringfence");
        registry.register("http_requests", "Requests by route template and status class", requests.clone());
        let help = "Time from a request's head to its reply's";
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
        self.requests.get_or_create(&Answered { method, route, status }).inc();
        self.latency.get_or_create(&OnRoute { method, route }).observe(took.as_secs_f64());
    }

    /// The whole page: our counters, then the engine's state as it is now.
    pub(crate) fn render(&self, engine: &Engine) -> Result<String, Error> {
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry)
            .and_then(|()| text::encode_registry(&mut page, &state(engine)))
            .and_then(|()| text::encode_eof(&mut page))
            .map_err(|e| Error::internal("the metrics do not encode").with_source(e))?;
        Ok(page)
    }
}

/// From half a millisecond to half a minute.
fn buckets() -> Histogram {
    Histogram::new([0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// Numbers that the engine keeps itself, read at this moment.
fn state(engine: &Engine) -> Registry {
    let health = engine.health();
    let mut registry = Registry::with_prefix("ringfence");
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("tenants_open", "Tenants whose directory is held in memory", health.tenants.open);
    gauge("tenants_unopened", "Tenants whose directory did not open", health.tenants.unopened);
    gauge(
        "tenants_sealed",
        "Tenants whose key provider refuses or does not answer, and that are not served",
        health.tenants.sealed,
    );
    let unavailable = health.tenants.unavailable;
    gauge(
        "tenants_key_unavailable",
        "Open tenants whose key provider refuses or does not answer, served until the lease ends",
        unavailable,
    );
    gauge("tenants_memory_bytes", "Bytes that open directories hold, estimated", health.tenants.memory_bytes);
    gauge("audit_chains_open", "Audit logs held open", health.audit_chains);
    let help = "Namespaces refused as rolled_back: not what their tenant's audit has recorded";
    gauge("namespaces_rolled_back", help, health.rollbacks);
    gauge("namespaces_open", "Namespaces held in memory", health.stores.open);
    gauge("namespaces_memory_bytes", "Bytes that open namespaces hold", health.stores.memory_bytes);
    gauge("namespaces_quarantined", "Namespaces whose bytes do not open", health.stores.quarantined);
    let erasures = health.erasures;
    let oldest = erasures.oldest.map_or(0, |from| engine.now().as_millis().saturating_sub(from.as_millis()) / 1_000);
    let help = "Erasure sweeps in progress (0 or 1)";
    gauge("erasure_walking", help, erasures.begun.saturating_sub(erasures.walks));
    gauge("erasure_namespaces", "Namespaces that the last erasure sweep examined", erasures.namespaces);
    gauge("erasure_overdue", "Namespaces that hold deleted documents for longer than the bound", erasures.overdue);
    gauge(
        "erasure_unseen",
        "Namespaces or tenants that the last sweep could not examine in time or could not clear",
        erasures.unseen,
    );
    let help = "Age of the oldest deleted document that the last sweep left in an object or a log";
    gauge("erasure_oldest_seconds", help, u64::try_from(oldest).unwrap_or(0));
    gauge("documents_indexed", "Documents in open namespaces, deleted ones included", health.stores.documents);
    gauge("tombstones", "Deleted documents that compaction has not removed yet", health.stores.tombstones);
    let without_graph = health.stores.rows_without_graph;
    gauge("rows_without_graph", "Rows of large segments that searches scan until their graph is built", without_graph);
    gauge("writes_waiting", "Writes that wait for their namespace's writer", health.stores.writes_waiting);
    gauge("upkeep_waiting", "Flushes and compactions that wait for a permit", health.stores.upkeep_waiting);
    gauge("upkeep_running", "Flushes and compactions in progress", health.stores.upkeep_running);
    gauge("upkeep_bytes", "Bytes that flushes and compactions in progress may take", health.stores.upkeep_bytes);
    gauge("cpu_queue", "CPU jobs that wait for a thread", health.cpu_waiting as u64);
    gauge("searches_running", "Searches in progress", health.searches);
    gauge("search_bytes", "Memory that replies take until they are written", health.search_bytes);
    gauge("writes_running", "Writes in progress", health.writes);
    let keys = vault::key_memory();
    gauge("key_memory_locked_bytes", "Memory for keys that is locked", keys.bytes_locked);
    gauge("key_memory_unlocked_bytes", "Memory for keys that could not be locked", keys.bytes_unlocked);
    gauge("model_texts_waiting", "Texts that wait for a model", health.models.waiting as u64);
    gauge("model_texts_running", "Texts being embedded", health.models.running as u64);
    let mut count = |name: &str, help: &str, value: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    };
    count("tenant_evictions", "Directories closed to free memory", health.tenants.evictions);
    count("flushes", "Namespaces flushed to a sealed segment", health.stores.flushes);
    count("compactions", "Segments merged", health.stores.compactions);
    count("resealed_objects", "Objects re-encrypted under other keys", health.stores.resealed);
    count("upkeep_failures", "Flushes and compactions that failed and are tried again", health.stores.upkeep_failures);
    count("evictions", "Namespaces closed to free memory or files", health.stores.evictions);
    count("erasure_walks", "Erasure sweeps finished", health.erasures.walks);
    count("accepted_bytes", "Bytes of documents and ids accepted", health.stores.bytes_accepted);
    count("written_bytes", "Bytes of log, objects and checkpoints written", health.stores.bytes_written);
    let (wanted, found) = health.recalled;
    count("recall_wanted", "Nearest passages that measurements of recall asked for", wanted);
    count("recall_found", "Nearest passages among them that searches found", found);
    let mut share = |name: &str, help: &str, value: f64| {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    share("tombstone_share", "Share of deleted documents among those indexed, 0 to 1", health.stores.tombstone_share());
    share("write_amplification", "Bytes written for each byte accepted", health.stores.write_amplification());
    models(&mut registry, &health.models.models);
    providers(&mut registry, &health.providers);
    registry
}

fn providers(registry: &mut Registry, providers: &[engine::ProviderHealth]) {
    let questions = Family::<Answer, Counter>::default();
    let up = Family::<OfProvider, Gauge>::default();
    for provider in providers {
        let granted = provider.asked - provider.denied - provider.failed;
        for (answer, count) in [("granted", granted), ("denied", provider.denied), ("failed", provider.failed)] {
            questions.get_or_create(&Answer { provider: provider.name.clone(), answer }).inc_by(count);
        }
        let answers = provider.trouble != Some(engine::KeyTrouble::Outage);
        up.get_or_create(&OfProvider { provider: provider.name.clone() }).set(i64::from(answers));
    }
    registry.register("key_questions", "Questions to key providers, by answer", questions);
    registry.register("key_provider_up", "Whether a key provider answered the last question", up);
}

fn models(registry: &mut Registry, models: &[models::ModelStats]) {
    let texts = Family::<OfModel, Counter>::default();
    let tokens = Family::<OfModel, Counter>::default();
    let busy = Family::<OfModel, Seconds>::default();
    for model in models {
        let label = OfModel { model: model.name.clone() };
        texts.get_or_create(&label).inc_by(model.texts_total);
        tokens.get_or_create(&label).inc_by(model.tokens_total);
        busy.get_or_create(&label).set(Duration::from_nanos(model.busy_ns).as_secs_f64());
    }
    registry.register("model_texts", "Texts embedded", texts);
    registry.register("model_tokens", "Tokens embedded", tokens);
    registry.register_with_unit("model_busy", "Time inside ONNX Runtime, all threads", Unit::Seconds, busy);
}
