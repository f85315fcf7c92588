//! The command line, one file per command. Each command writes its text to stdout and diagnostics to stderr, and exits
//! with 0, 1 (failed) or 2 (usage).

mod api_key;
mod audit;
mod check_config;
mod connection;
mod context;
mod doctor;
mod document;
mod eval;
mod ingest;
mod key;
mod namespace;
mod operation;
mod operator;
mod output;
mod recover;
mod rows;
mod schemas;
mod search;
mod serve;
mod tenant;

use connection::ConnectionArgs;

use crate::config::{Config, Environment, Settings};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Retrieval and vector-store server for many tenants, each with its own keys, indexes and audit log.
#[derive(Parser)]
#[command(name = "ringfence", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: ConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

/// Sources of the server's settings.
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
    /// Print versions, settings and checks for a support engineer. The output contains no customer text.
    Doctor(ServerArgs),
    /// Create, show, change, suspend and erase tenants.
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Manage a tenant's API keys.
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// Rotate and inspect encryption keys of tenants and of the server.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Manage operators of the control plane.
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Show, cancel and wait for long-running operations.
    #[command(subcommand)]
    Operation(operation::OperationCommand),
    /// Manage namespaces of the API key's tenant.
    #[command(subcommand)]
    Namespace(namespace::NamespaceCommand),
    /// Store files and folders in a namespace; a second run continues where the first one ended.
    Ingest(ingest::IngestArgs),
    /// Find passages that answer a question.
    Search(search::SearchArgs),
    /// Find passages and render them for a prompt, with markers and sources, within a token budget.
    Context(context::ContextArgs),
    /// List, show, patch, delete, release and reject documents.
    Document(document::DocumentArgs),
    /// Write the documents of a namespace to a file: .ndjson, .jsonl or .parquet.
    Export(rows::ExportArgs),
    /// Store the rows of a file: .ndjson, .jsonl or .parquet.
    Import(rows::ImportArgs),
    /// Measure retrieval quality against a running server.
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Export audits, and check exports and certificates without a server.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Write the generated files of schemas/.
    #[command(hide = true)]
    Schemas {
        /// Folder to write to.
        folder: PathBuf,
    },
}

/// Runs a command and returns its exit code.
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
            crate::telemetry::print_line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl ServerArgs {
    /// The settings that result from the file, the environment and the flags. The root key may be among them, so the
    /// process's memory is protected first.
    fn settings(&self) -> Result<Settings> {
        crate::memory::protect()?;
        crate::descriptors::raise_limit();
        let environment = Environment::of_process();
        let config = Config::load(self.config.as_deref(), &environment)?;
        Settings::new(&config, self.data.as_deref(), &environment)
    }
}

/// Writes the JSON document or the text for people to stdout.
pub(crate) fn answer(global: &ConnectionArgs, document: &serde_json::Value, text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if global.json {
        serde_json::to_writer_pretty(&mut out, document)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
