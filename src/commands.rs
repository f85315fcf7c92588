//! The commands that run in the server's own process, one file per command. The crate `cli` has all others.

mod check_config;
mod doctor;
mod recover;
mod schemas;
mod serve;

use crate::config::{Config, Environment, Settings};
use anyhow::Result;
use cli::{ConnectionArgs, LocalCommands, ServerArgs};
use std::path::Path;

/// This program as the command line sees it.
pub struct ServerCommands;

impl LocalCommands for ServerCommands {
    fn serve(&self, args: &ServerArgs) -> Result<()> {
        serve::run(args)
    }

    fn check_config(&self, connection: &ConnectionArgs, args: &ServerArgs) -> Result<()> {
        check_config::run(connection, args)
    }

    fn doctor(&self, connection: &ConnectionArgs, args: &ServerArgs) -> Result<()> {
        doctor::run(connection, args)
    }

    fn recover_operator(&self, connection: &ConnectionArgs, args: &ServerArgs) -> Result<()> {
        recover::run(connection, args)
    }

    fn write_schemas(&self, folder: &Path) -> Result<()> {
        schemas::run(folder)
    }
}

/// The settings that result from the file, the environment and the flags. The root key may be among them, so the
/// process's memory is protected first.
fn settings(args: &ServerArgs) -> Result<Settings> {
    crate::memory::protect()?;
    crate::descriptors::raise_limit();
    let environment = Environment::of_process();
    let config = Config::load(args.config.as_deref(), &environment)?;
    Settings::new(&config, args.data.as_deref(), &environment)
}
