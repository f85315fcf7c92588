//! Entry point. The library holds everything else, so that tests can reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(&ringfence::commands::ServerCommands)
}
