//! The program. Everything it does is in the library, where tests can reach it.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    ringfence::cli::run(ringfence::cli::Cli::parse())
}
