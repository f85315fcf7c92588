//! The command line. One file a command; each gives people's text to stdout, diagnostics to
//! stderr, and exits 0, 1 (failed) or 2 (usage).

mod check_config;
mod doctor;
mod recover;
mod schemas;
mod serve;

use crate::config::{Config, Environment, Settings};
use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use std::{io::Write, path::PathBuf, process::ExitCode};

/// Retrieval and vector-store server for many tenants: a place of its own for each.
#[derive(Parser)]
#[command(name = "ringfence", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// The data plane.
    #[arg(long, global = true, env = "RINGFENCE_URL", default_value = "http://127.0.0.1:7171", value_name = "URL")]
    pub(crate) url: String,
    /// The control plane.
    #[arg(long, global = true, env = "RINGFENCE_ADMIN_URL", default_value = "http://127.0.0.1:7172", value_name = "URL")]
    pub(crate) admin_url: String,
    /// A tenant's API key (rf_...).
    #[arg(long, global = true, env = "RINGFENCE_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// An operator's token (rfop_...).
    #[arg(long, global = true, env = "RINGFENCE_OPERATOR_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub(crate) operator_token: Option<String>,
    /// Print one JSON document on stdout.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Where the server's settings come from.
#[derive(Args, Clone)]
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
    /// Read the configuration as `serve` would, and say what it comes to.
    CheckConfig(ServerArgs),
    /// Tell what a support person would ask for. No customer text is in it.
    Doctor(ServerArgs),
    /// Operators of the control plane.
    #[command(subcommand)]
    Operator(Operator),
    /// Write the generated files of schemas/.
    #[command(hide = true)]
    Schemas {
        /// Folder.
        folder: PathBuf,
    },
}

#[derive(Subcommand)]
enum Operator {
    /// Make a fresh admin token for a data folder. The server must be stopped.
    Recover(ServerArgs),
}

/// Runs a command to its exit code.
pub fn run(cli: Cli) -> ExitCode {
    let global = &cli.global;
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::CheckConfig(args) => check_config::run(global, &args),
        Command::Doctor(args) => doctor::run(global, &args),
        Command::Operator(Operator::Recover(args)) => recover::run(global, &args),
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
    /// The settings that the file, the environment and the flags come to.
    fn settings(&self) -> Result<Settings> {
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
