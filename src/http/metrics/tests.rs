//! The list of metrics: dashboards and alerts name them, so a change of one is a change of the contract.

use super::*;
use engine::EngineConfig;
use journal::Storage;
use std::sync::Arc;
use vault::{LocalProvider, Providers};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_types_and_help_of_all_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&folder.path().join("data")).await.unwrap();
    let root = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(kernel::OsEntropy)).unwrap();
    let config = EngineConfig::new(storage, Providers::new(Arc::new(root)), ::models::Models::fake(8));
    let (engine, _) = Engine::open(config).await.unwrap();
    let metrics = Metrics::new();
    // A family is listed once it has a sample.
    metrics.observe("GET", "/v1/whoami", 200, Duration::from_millis(1));
    let page = metrics.render(&engine).unwrap();
    let described: Vec<&str> = page.lines().filter(|line| line.starts_with("# ") && *line != "# EOF").collect();
    insta::assert_snapshot!(described.join("\n"));
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let named = |line: &str| described.iter().any(|help| help.split(' ').nth(2).is_some_and(|n| line.starts_with(n)));
    assert!(samples.into_iter().all(named), "each sample belongs to a metric of the list");
    engine.close(Duration::from_secs(30)).await;
}
