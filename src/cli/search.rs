//! `ringfence search`: searches a namespace with a question.

use super::{
    connection::{ConnectionArgs, object},
    output::note,
};
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    #[command(flatten)]
    pub(super) query: QueryArgs,
    /// Maximum number of hits.
    #[arg(long, default_value_t = 5)]
    top_k: usize,
    /// Maximum number of passages per document.
    #[arg(long)]
    max_per_document: Option<usize>,
    /// Maximum number of passages of all documents with the same uri.
    #[arg(long)]
    max_per_source: Option<usize>,
    /// Rank passages that add something new before those that repeat: with 1 only relevance counts, with 0 only
    /// difference.
    #[arg(long, value_name = "LAMBDA")]
    diversity: Option<f64>,
}

/// Arguments that search and context share.
#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// Namespace.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    pub(super) namespace: String,
    /// Mode: hybrid, vector or text. Default: hybrid if a model is available, otherwise text.
    #[arg(long)]
    mode: Option<String>,
    /// How a hybrid search combines both rankings: adaptive (the default), rrf, weighted or convex. The last two take
    /// the weight of text if it is not 0.5, such as convex:0.3.
    #[arg(long)]
    fusion: Option<String>,
    /// Meaning of words in double quotes: prefer (passages that contain them come first) or require (no other passages
    /// are returned).
    #[arg(long, value_name = "prefer|require")]
    phrases: Option<String>,
    /// Rerank the best candidates, with the server's reranker or with this model.
    #[arg(long, value_name = "MODEL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    rerank: Option<String>,
    /// Filter as JSON: {"type": "gte", "key": "year", "value": 2024}.
    #[arg(long)]
    filter: Option<String>,
    /// Read as this principal (scope act_as); may be repeated.
    #[arg(long = "as", value_name = "PRINCIPAL")]
    acting_as: Vec<String>,
    /// Question.
    #[arg(allow_hyphen_values = true)]
    question: String,
}

impl QueryArgs {
    /// The members of a request that both commands have.
    pub(super) fn json(&self) -> Result<Value> {
        let mut body = json!({"query": self.question});
        if let Some(mode) = &self.mode {
            body["mode"] = json!(mode);
        }
        if let Some(fusion) = &self.fusion {
            body["fusion"] = client::fusion(fusion).map_err(|why| anyhow!("--fusion {why}"))?;
        }
        if let Some(phrases) = &self.phrases {
            body["phrases"] = json!(phrases);
        }
        if let Some(model) = &self.rerank {
            body["rerank"] = client::rerank(model);
        }
        if let Some(filter) = &self.filter {
            body["filter"] = object("--filter", filter)?;
        }
        if !self.acting_as.is_empty() {
            body["as"] = json!({"principals": self.acting_as});
        }
        Ok(body)
    }

    pub(super) fn path(&self, verb: &str) -> String {
        format!("/v1/namespaces/{}/{verb}", client::encode(&self.namespace))
    }
}

pub(crate) fn run(args: &SearchArgs, connection: &ConnectionArgs) -> Result<()> {
    let mut body = args.query.json()?;
    body["top_k"] = json!(args.top_k);
    if let Some(most) = args.max_per_document {
        body["max_per_document"] = json!(most);
    }
    if let Some(most) = args.max_per_source {
        body["max_per_source"] = json!(most);
    }
    if let Some(lambda) = args.diversity {
        body["diversity"] = json!({"lambda": lambda});
    }
    let reply = connection.data()?.call("POST", &args.query.path("search"), Some(&body))?;
    connection.print(&reply, hits)?;
    if !connection.json {
        warnings(&reply);
        let found = reply["hits"].as_array().map_or(0, Vec::len);
        note(&format!("{found} hits, mode {}", reply["mode"].as_str().unwrap_or("?")));
    }
    Ok(())
}

/// Prints the server's warnings.
pub(super) fn warnings(reply: &Value) {
    for warning in reply["warnings"].as_array().into_iter().flatten() {
        note(&format!("warning: {}", warning.as_str().unwrap_or_default()));
    }
}

fn hits(reply: &Value) -> String {
    let mut out = String::new();
    for (at, hit) in reply["hits"].as_array().into_iter().flatten().enumerate() {
        let title = hit["title"].as_str().map_or_else(String::new, |t| format!("  {}", clean(t)));
        let id = clean(hit["document_id"].as_str().unwrap_or_default());
        let _ =
            writeln!(out, "{}. {id} #{}{title}  [{:.4}]", at + 1, hit["passage"], hit["score"].as_f64().unwrap_or(0.0));
        for line in wrap(&clean(hit["text"].as_str().unwrap_or_default()), 96, 5) {
            let _ = writeln!(out, "   {line}");
        }
    }
    out
}

/// Removes control characters, since documents may contain terminal escapes.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Wraps a text at words, and returns its first lines.
fn wrap(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always one line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            if lines.len() == most {
                lines[most - 1].push_str(" …");
                return lines;
            }
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_word_with_an_ellipsis() {
        assert_eq!(wrap("one two three four", 8, 2), ["one two", "three …"]);
        assert_eq!(wrap("one two", 80, 2), ["one two"]);
    }

    #[test]
    fn no_escape_sequence_reaches_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc"), "a [31mb c");
    }
}
