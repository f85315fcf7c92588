//! Runs the demo set through all of intake: only poisoned pages are quarantined, and every answer occurs in a passage
//! of its own company and in none of the other's.

use intake::{RawBody, RawDocument, Screened, Verdict, parse, screen};
use kernel::{Attributes, Chunking, DocumentId, Screening, Status};
use std::{
    fs,
    path::{Path, PathBuf},
};

const POISONED: [&str; 2] = ["acme/supplier-portal.html", "zenith/carrier-news.html"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/demo")
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

/// Every page of a company, by its path in the set.
fn pages(company: &str) -> Vec<(String, Screened)> {
    let mut paths = Vec::new();
    files(&root().join(company), &mut paths);
    paths.into_iter().map(|path| page(&path)).collect()
}

fn page(path: &Path) -> (String, Screened) {
    let id = path.strip_prefix(root()).expect("inside").to_str().expect("plain names").to_owned();
    let raw = RawDocument {
        id: DocumentId::parse(&id).ok(),
        body: RawBody::Bytes { media_type: None, bytes: fs::read(path).expect("a file") },
        media_type: None,
        title: None,
        uri: None,
        attributes: Attributes::new(),
        readers: None,
        vector: None,
        expires_at: None,
    };
    match screen(parse(raw).expect("a good page"), &Screening::default()) {
        Verdict::Screened(mut screened) => {
            screened.chunk(None, &Chunking::default()).expect("few passages");
            (id, screened)
        }
        Verdict::Rejected { .. } => panic!("{id} was rejected"),
    }
}

#[test]
fn poisoned_pages_alone_are_held_back() {
    for company in ["acme", "zenith"] {
        for (id, screened) in pages(company) {
            let held = screened.status() == Status::Quarantined;
            assert_eq!(held, POISONED.contains(&id.as_str()), "{id}: {:?}", screened.findings());
            let visible = screened.passages().iter().map(|p| p.expose().to_owned()).collect::<String>();
            assert!(!visible.contains("ssistants") && !visible.contains("nstructions for"), "{id} shows hidden text");
        }
    }
}

#[test]
fn planted_personal_data_is_found() {
    for company in ["acme", "zenith"] {
        let (_, screened) = page(&root().join(company).join("payments.md"));
        let rules: Vec<_> = screened.findings().iter().map(|f| f.rule.as_str()).collect();
        assert_eq!(rules, ["pii.card", "pii.email", "pii.iban"], "{company}");
    }
}

#[test]
fn every_question_has_another_answer_in_each_company() {
    let passages = |company| -> String {
        let all = pages(company).into_iter().flat_map(|(_, s)| s.passages());
        all.map(|p| p.into_exposed() + "\n").collect()
    };
    let (acme, zenith) = (passages("acme"), passages("zenith"));
    let table = fs::read_to_string(root().join("questions.tsv")).expect("the questions");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("question\tacme\tzenith"));
    for line in lines {
        let [_, in_acme, in_zenith] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("three columns: {line}") };
        assert!(acme.contains(in_acme) && !zenith.contains(in_acme), "{line}");
        assert!(zenith.contains(in_zenith) && !acme.contains(in_zenith), "{line}");
    }
}
