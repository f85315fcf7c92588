//! A collection in the BEIR layout: `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`.

use crate::Error;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

/// A document or a query.
#[derive(Clone, Debug, Deserialize)]
pub struct Item {
    /// Id of the item.
    #[serde(rename = "_id")]
    pub id: String,
    /// Title. Queries have none.
    #[serde(default)]
    pub title: String,
    /// Text.
    #[serde(default)]
    pub text: String,
}

/// Documents, queries and relevance judgements.
#[derive(Debug)]
pub struct Collection {
    /// Documents.
    pub corpus: Vec<Item>,
    /// Queries that have a judgement.
    pub queries: Vec<Item>,
    /// Grades above 0 by query id and document id.
    pub judgements: BTreeMap<String, HashMap<String, f64>>,
}

impl Collection {
    /// Reads a collection from a folder.
    ///
    /// # Errors
    /// An error that names the file and the line.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let judgements = read_judgements(&folder.join("qrels/test.tsv"))?;
        let corpus = read_items(&folder.join("corpus.jsonl"))?;
        let mut queries = read_items(&folder.join("queries.jsonl"))?;
        queries.retain(|q| judgements.contains_key(&q.id));
        Ok(Self { corpus, queries, judgements })
    }
}

fn lines(path: &Path) -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Missing { path: path.to_owned(), source })?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn read_items(path: &Path) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    for (at, line) in lines(path)?.iter().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let item = serde_json::from_str(line).map_err(|e| malformed(path, at, &e.to_string()))?;
        items.push(item);
    }
    Ok(items)
}

fn read_judgements(path: &Path) -> Result<BTreeMap<String, HashMap<String, f64>>, Error> {
    let mut judgements: BTreeMap<String, HashMap<String, f64>> = BTreeMap::new();
    for (at, line) in lines(path)?.iter().enumerate() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [query, document, grade] = fields[..] else {
            return Err(malformed(path, at, "must be query, document and grade, with tabs between"));
        };
        if at == 0 && grade.parse::<f64>().is_err() {
            continue; // This is the header.
        }
        let grade: f64 = grade.trim().parse().map_err(|_| malformed(path, at, "the grade must be a number"))?;
        if grade > 0.0 {
            judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), grade);
        }
    }
    Ok(judgements)
}

fn malformed(path: &Path, at: usize, what: &str) -> Error {
    Error::Malformed { path: path.to_owned(), line: at + 1, what: what.to_owned() }
}
