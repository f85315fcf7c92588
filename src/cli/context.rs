//! `ringfence context`: text for a prompt, with markers and sources, within a token budget. The context goes to stdout,
//! so that it can be piped into a prompt; sources and preamble go to stderr.

use super::{
    connection::ConnectionArgs,
    output::note,
    search::{QueryArgs, clean, warnings},
};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(super) struct ContextArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Maximum number of tokens of the whole context, including markers.
    #[arg(long)]
    max_tokens: usize,
    /// Form of the passages: plain, delimited, datamarked or base64. Default: delimited.
    #[arg(long)]
    rendering: Option<String>,
    /// Number of passages to choose from.
    #[arg(long)]
    top_k: Option<usize>,
}

pub(crate) fn run(args: &ContextArgs, connection: &ConnectionArgs) -> Result<()> {
    let mut body = args.query.json()?;
    body["max_tokens"] = json!(args.max_tokens);
    if let Some(rendering) = &args.rendering {
        body["rendering"] = json!(rendering);
    }
    if let Some(top_k) = args.top_k {
        body["top_k"] = json!(top_k);
    }
    let reply = connection.data()?.call("POST", &args.query.path("context"), Some(&body))?;
    connection.print(&reply, |v| v["context"].as_str().unwrap_or_default().to_owned())?;
    if !connection.json {
        print_sources(&reply);
    }
    Ok(())
}

fn print_sources(reply: &Value) {
    let text = |v: &Value| clean(v.as_str().unwrap_or_default());
    warnings(reply);
    note(&format!("for your system prompt: {}", text(&reply["preamble"])));
    for source in reply["sources"].as_array().into_iter().flatten() {
        let id = text(&source["document_id"]);
        note(&format!(
            "[{}] {id} #{} {} ({} tokens)",
            source["n"],
            source["passage"],
            text(&source["title"]),
            source["tokens"]
        ));
    }
    for left in reply["left_out"].as_array().into_iter().flatten() {
        note(&format!("left out: {} ({})", text(&left["document_id"]), text(&left["why"])));
    }
    note(&format!("{} tokens ({})", reply["tokens"], text(&reply["tokenizer"])));
}
