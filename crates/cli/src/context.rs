//! `ringfence context`: text for a prompt, with markers and sources, within a token budget. The context goes to stdout,
//! so that it can be piped into a prompt; sources and preamble go to stderr.

use super::{
    connection::ConnectionArgs,
    output::note,
    search::{SearchArgs, clean, warnings},
};
use anyhow::Result;
use api::{
    common::word,
    context::{Budget, Context, RenderedContext, RenderingWord},
};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ContextArgs {
    #[command(flatten)]
    search: SearchArgs,
    /// Maximum number of tokens of the whole context, including markers.
    #[arg(long)]
    max_tokens: usize,
    /// Form of the passages: plain, delimited, datamarked or base64. Default: delimited.
    #[arg(long, value_parser = word::<RenderingWord>)]
    rendering: Option<RenderingWord>,
}

pub(crate) fn run(args: &ContextArgs, connection: &ConnectionArgs) -> Result<()> {
    let request = Context {
        search: args.search.search()?,
        budget: Budget { max_tokens: args.max_tokens, rendering: args.rendering },
    };
    let path = format!("/v1/namespaces/{}/context", client::encode(&args.search.namespace));
    let reply: RenderedContext = connection.data()?.send("POST", &path, &request)?;
    connection.print(&reply, |reply| reply.context.clone())?;
    if !connection.json {
        print_sources(&reply);
    }
    Ok(())
}

fn print_sources(reply: &RenderedContext) {
    warnings(&reply.warnings);
    note(&format!("for your system prompt: {}", clean(&reply.preamble)));
    for source in &reply.sources {
        let (id, title) = (clean(&source.document_id), clean(source.title.as_deref().unwrap_or_default()));
        note(&format!("[{}] {id} #{} {title} ({} tokens)", source.n, source.passage, source.tokens));
    }
    for left in &reply.left_out {
        note(&format!("left out: {} ({})", clean(&left.document_id), clean(&left.why)));
    }
    note(&format!("{} tokens ({})", reply.tokens, clean(&reply.tokenizer)));
}
