//! Measures the screens on labelled sets: the share of benign prompts that are quarantined, the share of attacks that
//! are found, and recall and precision of numbers with a checksum.
//!
//! `SCREENING_DATA=dir PII_DATA=file cargo run -p intake --example screening`: the folder contains JSON lists of
//! prompts, the file contains sentences with labelled spans.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for developers, on files that they chose")]

use intake::{RawBody, RawDocument, Verdict, parse, screen};
use kernel::{Attributes, Finding, FindingKind, Screening, Severity, Untrusted};
use serde_json::Value;
use std::{env, fs, path::Path};

fn main() {
    if let Ok(folder) = env::var("SCREENING_DATA") {
        prompts(Path::new(&folder));
    }
    if let Ok(file) = env::var("PII_DATA") {
        spans(&serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap());
    }
}

fn findings(text: &str) -> Vec<Finding> {
    let raw = RawDocument {
        id: None,
        body: RawBody::Text(Untrusted::new(text)),
        media_type: Some("text/plain".into()),
        title: None,
        uri: None,
        attributes: Attributes::new(),
        readers: None,
        vector: None,
        expires_at: None,
    };
    match parse(raw).map(|draft| screen(draft, &Screening::default())) {
        Ok(Verdict::Screened(screened)) => screened.findings().to_vec(),
        Ok(Verdict::Rejected { findings, .. }) => findings,
        Err(_) => vec![],
    }
}

fn prompts(folder: &Path) {
    let verbose = env::var("VERBOSE").is_ok();
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let json: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut counts = [[0; 3]; 2];
        for (text, bad) in labelled(&json, name.starts_with("BIPIA")) {
            let found = findings(&text);
            let most = found.iter().filter(|f| f.kind == FindingKind::Injection).map(|f| f.severity).max();
            let row = &mut counts[usize::from(bad)];
            row[0] += 1;
            row[1] += usize::from(most == Some(Severity::High));
            row[2] += usize::from(most.is_some());
            if verbose && (most == Some(Severity::High)) != bad {
                let rules: Vec<_> = found.iter().map(|f| f.rule.as_str()).collect();
                println!("  {bad} {rules:?} {}", text.chars().take(300).collect::<String>().replace('\n', " "));
            }
        }
        for (label, [all, high, any]) in [("benign", counts[0]), ("attack", counts[1])] {
            if all > 0 {
                println!("{name}: {label} {all}, held back {high}, tagged or held back {any}");
            }
        }
    }
}

fn labelled(json: &Value, all_bad: bool) -> Vec<(String, bool)> {
    match json {
        Value::Array(list) => {
            let text = |v: &Value| v.as_str().or_else(|| v["prompt"].as_str()).unwrap_or("").to_owned();
            list.iter().map(|v| (text(v), all_bad || v["label"] == 1)).collect()
        }
        Value::Object(map) => map.values().flat_map(|v| labelled(v, all_bad)).collect(),
        _ => vec![],
    }
}

fn spans(json: &Value) {
    let verbose = env::var("VERBOSE").is_ok();
    let kinds = [
        ("EMAIL_ADDRESS", "pii.email"),
        ("CREDIT_CARD", "pii.card"),
        ("IBAN_CODE", "pii.iban"),
        ("US_SSN", "pii.us_ssn"),
        ("PHONE_NUMBER", "pii.phone"),
    ];
    for (label, rule) in kinds {
        let (mut right, mut missed, mut wrong) = (0_usize, 0_usize, 0_usize);
        for sentence in json.as_array().unwrap() {
            let text = sentence["full_text"].as_str().unwrap();
            let there = sentence["spans"].as_array().unwrap().iter().filter(|s| s["entity_type"] == label).count();
            let found = findings(text).iter().find(|f| f.rule == rule).map_or(0, |f| f.count as usize);
            right += there.min(found);
            missed += there.saturating_sub(found);
            wrong += found.saturating_sub(there);
            if verbose && there != found {
                println!("  {rule} {there} {found}: {}", text.replace('\n', " "));
            }
        }
        let (recall, precision) = (rate(right, right + missed), rate(right, right + wrong));
        println!("{rule}: {right} right, {missed} missed, {wrong} wrong; recall {recall:.3}, precision {precision:.3}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
fn rate(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
