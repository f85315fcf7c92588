//! Entry point. The library holds everything else, so that tests can reach it.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    ringfence::cli::run(ringfence::cli::Cli::parse())
}
