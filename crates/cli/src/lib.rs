//! cli: the command line, one file per command. Each command writes its text to stdout and diagnostics to stderr, and exits
//! with 0, 1 (failed) or 2 (usage).
//!
//! Requests and replies are the types of `api`. Commands that need the server in the same process are
//! [`LocalCommands`] of the program.

mod api_key;
mod audit;
mod connection;
mod context;
mod document;
mod eval;
mod ingest;
mod key;
mod namespace;
mod operation;
mod operator;
mod output;
mod rows;
mod search;
mod tenant;

pub use connection::ConnectionArgs;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Retrieval and vector-store server for many tenants, each with its own keys, indexes and audit log.
#[derive(Parser)]
#[command(name = "ringfence", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: ConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

/// Sources of the server's settings.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Configuration file (TOML).
    #[arg(long, env = "RINGFENCE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, env = "RINGFENCE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
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

/// The commands that need the server in this process, which the program provides.
pub trait LocalCommands {
    /// Runs the server until it is stopped.
    ///
    /// # Errors
    /// The server cannot start, for example because the configuration is invalid or the storage is in use.
    fn serve(&self, args: &ServerArgs) -> Result<()>;
    /// Prints the settings that result from the configuration.
    ///
    /// # Errors
    /// The configuration is invalid.
    fn check_config(&self, connection: &ConnectionArgs, args: &ServerArgs) -> Result<()>;
    /// Prints versions, settings and checks.
    ///
    /// # Errors
    /// The configuration is invalid.
    fn doctor(&self, connection: &ConnectionArgs, args: &ServerArgs) -> Result<()>;
    /// Creates a new admin token while the server is stopped.
    ///
    /// # Errors
    /// The storage is in use, or does not open with the root key.
    fn recover_operator(&self, connection: &ConnectionArgs, args: &ServerArgs) -> Result<()>;
    /// Writes the generated files of `schemas/`.
    ///
    /// # Errors
    /// A file cannot be written.
    fn write_schemas(&self, folder: &Path) -> Result<()>;
}

/// Runs the command that the process was started with, and returns its exit code.
pub fn run(local: &impl LocalCommands) -> ExitCode {
    let cli = Cli::parse();
    let global = &cli.global;
    let done = match cli.command {
        Command::Serve(args) => local.serve(&args),
        Command::CheckConfig(args) => local.check_config(global, &args),
        Command::Doctor(args) => local.doctor(global, &args),
        Command::Tenant(command) => tenant::run(command, global),
        Command::ApiKey(command) => api_key::run(command, global),
        Command::Key(command) => key::run(command, global),
        Command::Operator(command) => operator::run(command, local, global),
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
        Command::Schemas { folder } => local.write_schemas(&folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
