//! The command line. One file a command; each gives people's text to stdout, diagnostics to
//! stderr, and exits 0, 1 (failed) or 2 (usage).

mod api_key;
mod audit;
mod check_config;
mod context;
mod doctor;
mod document;
mod eval;
mod ingest;
mod key;
mod namespace;
mod operation;
mod operator;
mod recover;
mod remote;
mod rows;
mod schemas;
mod search;
mod serve;
mod tenant;

/// What every command takes.
pub(crate) use remote::Remote as Global;

use crate::config::{Config, Environment, Settings};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Retrieval and vector-store server for many tenants, each with its own keys, indexes and audit log.
#[derive(Parser)]
#[command(name = "ringfence", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Where the server's settings come from.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// Configuration file (TOML).
    #[arg(long, env = "RINGFENCE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, env = "RINGFENCE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(ServerArgs),
    /// Read the configuration as `serve` would, and print the resulting settings.
    CheckConfig(ServerArgs),
    /// Print what a support engineer would ask for: versions, settings and checks. It holds no customer text.
    Doctor(ServerArgs),
    /// Create, show, change, suspend and erase tenants.
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// A tenant's API keys.
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Encryption keys of tenants and of the server.
    #[command(subcommand)]
    Key(key::Key),
    /// Operators of the control plane.
    #[command(subcommand)]
    Operator(operator::Operator),
    /// Long-running work.
    #[command(subcommand)]
    Operation(operation::Operation),
    /// Namespaces of the API key's tenant.
    #[command(subcommand)]
    Namespace(namespace::Namespace),
    /// Store files and folders in a namespace; a second run continues where the first one ended.
    Ingest(ingest::Ingest),
    /// Find passages that answer a question.
    Search(search::Search),
    /// Find passages and render them for a prompt, with markers and sources, within a budget of tokens.
    Context(context::Context),
    /// List, show, patch, delete, release and reject documents.
    Document(document::Document),
    /// Write the documents of a namespace to a file: .ndjson, .jsonl or .parquet.
    Export(rows::Export),
    /// Store the rows of a file: .ndjson, .jsonl or .parquet.
    Import(rows::Import),
    /// Measure retrieval quality against a running server.
    #[command(subcommand)]
    Eval(eval::Eval),
    /// Export audits, and check exports and certificates without a server.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Write the generated files of schemas/.
    #[command(hide = true)]
    Schemas {
        /// Folder.
        folder: PathBuf,
    },
}

/// Runs a command to its exit code.
pub fn run(cli: Cli) -> ExitCode {
    let global = &cli.global;
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::CheckConfig(args) => check_config::run(global, &args),
        Command::Doctor(args) => doctor::run(global, &args),
        Command::Tenant(command) => tenant::run(command, global),
        Command::ApiKey(command) => api_key::run(command, global),
        Command::Key(command) => key::run(command, global),
        Command::Operator(command) => operator::run(command, global),
        Command::Operation(command) => operation::run(command, global),
        Command::Namespace(command) => namespace::run(command, global),
        Command::Ingest(args) => ingest::run(&args, global),
        Command::Search(args) => search::run(&args, global),
        Command::Context(args) => context::run(&args, global),
        Command::Document(args) => document::run(args, global),
        Command::Export(args) => rows::export(&args, global),
        Command::Import(args) => rows::import(&args, global),
        Command::Eval(command) => eval::run(command, global),
        Command::Audit(command) => audit::run(command, global),
        Command::Schemas { folder } => schemas::run(&folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::telemetry::tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl ServerArgs {
    /// The settings that the file, the environment and the flags come to. The root key may be among them, so the
    /// process's memory is closed first.
    fn settings(&self) -> Result<Settings> {
        crate::memory::close()?;
        crate::descriptors::raise();
        let environment = Environment::of_process();
        let config = Config::load(self.config.as_deref(), &environment)?;
        Settings::new(&config, self.data.as_deref(), &environment)
    }
}

/// Writes to stdout: a JSON document, or the text for people.
pub(crate) fn answer(global: &Global, document: &serde_json::Value, text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if global.json {
        serde_json::to_writer_pretty(&mut out, document)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}
