//! `ringfence search`: searches a namespace with a question.

use super::{
    connection::{self, ConnectionArgs},
    output::note,
};
use anyhow::{Result, anyhow};
use api::{
    common::{Finite, name, word},
    fusion::DiversityBody,
    search::{ModeWord, PhrasesWord, Search, SearchResults},
};
use clap::Args;
use kernel::Principal;
use std::fmt::Write as _;

/// A search, which a context is too.
#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Namespace.
    #[arg(long, env = "RINGFENCE_NAMESPACE")]
    pub(super) namespace: String,
    /// Mode: hybrid, vector or text. Default: hybrid if a model is available, otherwise text.
    #[arg(long, value_parser = word::<ModeWord>)]
    mode: Option<ModeWord>,
    /// How a hybrid search combines both rankings: adaptive (the default), rrf, weighted or convex. The last two take
    /// the weight of text if it is not 0.5, such as convex:0.3.
    #[arg(long)]
    fusion: Option<String>,
    /// Meaning of words in double quotes: prefer (passages that contain them come first) or require (no other passages
    /// are returned).
    #[arg(long, value_name = "prefer|require", value_parser = word::<PhrasesWord>)]
    phrases: Option<PhrasesWord>,
    /// Rerank the best candidates, with the server's reranker or with this model.
    #[arg(long, value_name = "MODEL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    rerank: Option<String>,
    /// Filter as JSON: {"type": "gte", "key": "year", "value": 2024}.
    #[arg(long)]
    filter: Option<String>,
    /// Read as this principal (scope act_as); may be repeated.
    #[arg(long = "as", value_name = "PRINCIPAL", value_parser = name::<Principal>)]
    acting_as: Vec<Principal>,
    /// Maximum number of passages to find. Default: 5 for a search, 10 for a context.
    #[arg(long)]
    top_k: Option<usize>,
    /// Maximum number of passages per document.
    #[arg(long)]
    max_per_document: Option<usize>,
    /// Maximum number of passages of all documents with the same uri.
    #[arg(long)]
    max_per_source: Option<usize>,
    /// Rank passages that add something new before those that repeat: with 1 only relevance counts, with 0 only
    /// difference.
    #[arg(long, value_name = "LAMBDA")]
    diversity: Option<f32>,
    /// Question.
    #[arg(allow_hyphen_values = true)]
    question: String,
}

impl SearchArgs {
    /// The search that is asked for.
    pub(super) fn search(&self) -> Result<Search> {
        let fusion = self.fusion.as_deref().map(client::fusion).transpose();
        Ok(Search {
            query: Some(self.question.clone()),
            top_k: self.top_k,
            mode: self.mode,
            fusion: fusion.map_err(|why| anyhow!("--fusion {why}"))?,
            phrases: self.phrases,
            rerank: self.rerank.as_deref().map(client::rerank),
            filter: self.filter.as_deref().map(|text| connection::filter("--filter", text)).transpose()?,
            r#as: connection::acting_as(self.acting_as.clone()),
            max_per_document: self.max_per_document,
            max_per_source: self.max_per_source,
            diversity: self.diversity.map(|lambda| DiversityBody { lambda: Finite(lambda) }),
            ..Search::default()
        })
    }
}

/// Number of hits that fit on a screen.
const TOP_K_DEFAULT: usize = 5;

pub(crate) fn run(args: &SearchArgs, connection: &ConnectionArgs) -> Result<()> {
    let mut search = args.search()?;
    search.top_k.get_or_insert(TOP_K_DEFAULT);
    let reply = connection.data()?.search(&args.namespace, &search)?;
    connection.print(&reply, hits)?;
    if !connection.json {
        warnings(&reply.warnings);
        note(&format!("{} hits, mode {}", reply.hits.len(), reply.mode));
    }
    Ok(())
}

/// Prints the server's warnings.
pub(super) fn warnings(warnings: &[String]) {
    for warning in warnings {
        note(&format!("warning: {warning}"));
    }
}

fn hits(reply: &SearchResults) -> String {
    let mut out = String::new();
    for (at, hit) in reply.hits.iter().enumerate() {
        let title = hit.title.as_deref().map_or_else(String::new, |t| format!("  {}", clean(t)));
        let (n, id) = (at + 1, clean(&hit.document_id));
        let _ = writeln!(out, "{n}. {id} #{}{title}  [{:.4}]", hit.passage, hit.score);
        for line in wrap(&clean(hit.text.as_deref().unwrap_or_default()), 96, 5) {
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
