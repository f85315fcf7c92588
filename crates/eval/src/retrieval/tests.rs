//! Tests of reports, of their comparison with a baseline, and of the input.

use super::*;
use api::{fusion::MethodWord, rerank::RerankBody, search::ModeWord};
use serde_json::json;

fn report(ndcg: f64) -> Report {
    let line = |mode: &str| ModeReport {
        mode: mode.to_owned(),
        measures: Measures { ndcg_10: ndcg, ..Measures::default() },
        p50_ms: 1.0,
        p99_ms: 2.0,
    };
    Report {
        dataset: "d".to_owned(),
        documents: 2,
        queries: 1,
        ingest: BTreeMap::new(),
        modes: vec![line("text"), line("vector")],
        run: "q Q0 d 1 0.5 ringfence-text\n".to_owned(),
    }
}

#[test]
fn a_written_report_is_a_baseline_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    report(0.5).write(&folder.path().join("new")).unwrap();
    let text = fs::read_to_string(folder.path().join("new/report.json")).unwrap();
    let baseline: Baseline = serde_json::from_str(&text).unwrap();
    assert_eq!(report(0.496).worse_than(&baseline), Vec::<String>::new());
    assert_eq!(report(0.494).worse_than(&baseline), ["text", "vector"]);
    assert_eq!(report(0.9).worse_than(&baseline), Vec::<String>::new());
    let run = fs::read_to_string(folder.path().join("new/run.trec")).unwrap();
    assert_eq!(run, "q Q0 d 1 0.5 ringfence-text\n");
}

#[test]
fn a_mode_may_name_a_fusion() {
    let convex = request("q", "hybrid:convex:0.5").unwrap();
    assert_eq!(convex.mode, Some(ModeWord::Hybrid));
    let fusion = serde_json::to_value(convex.fusion).unwrap();
    assert_eq!(fusion, json!({"method": "convex", "weights": {"text": 0.5, "vector": 0.5}}));
    assert!(request("q", "text").unwrap().fusion.is_none());
    let reranked = request("q", "hybrid:rrf+rerank:judge").unwrap();
    assert_eq!(reranked.fusion.unwrap().method, Some(MethodWord::Rrf));
    assert!(matches!(reranked.rerank, Some(RerankBody::Asked(ask)) if ask.model.as_deref() == Some("judge")));
    assert!(matches!(request("q", "text+rerank").unwrap().rerank, Some(RerankBody::Switch(true))));
    assert!(request("q", "fast").err().unwrap().to_string().contains("hybrid"), "the error names the modes");
    assert!(request("q", "text+again").err().unwrap().to_string().contains("text+again"));
    assert!(request("q", "hybrid:convex:x").err().unwrap().to_string().contains("hybrid:convex:x"));
}

#[test]
fn percentiles_are_nearest_ranks() {
    let values: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!((percentile(&values, 0.5), percentile(&values, 0.99)), (50.0, 99.0));
    assert_eq!((percentile(&[7.0], 0.5), percentile(&[], 0.5)), (7.0, 0.0));
}

#[test]
fn a_collection_is_read_and_an_invalid_line_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("qrels")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("corpus.jsonl", "{\"_id\": \"d\", \"title\": \"t\", \"text\": \"x\"}\n");
    write("queries.jsonl", "{\"_id\": \"q\", \"text\": \"?\"}\n{\"_id\": \"unjudged\", \"text\": \"?\"}\n");
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\td\t2\nq\te\t0\n");
    let read = Collection::read(folder.path()).unwrap();
    assert_eq!((read.corpus.len(), read.queries.len(), read.judgements["q"].len()), (1, 1, 1));
    write("qrels/test.tsv", "q\td\t2\nq d 1\n");
    assert!(Collection::read(folder.path()).unwrap_err().to_string().contains("test.tsv line 2"));
}
