//! Logging on stderr: JSON lines, or text on a terminal. Events carry only route templates, codes, milliseconds and
//! opaque ids; no text that customers wrote reaches the log.

use crate::config::{Level, LogFormat, Settings};
use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// Sets up the process's log. A second call changes nothing.
pub fn start(settings: &Settings) {
    let json = match settings.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter(settings.log_level))
        .with_target(true);
    // Tests start a server more than once in a process; the first log stays.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    std::panic::set_hook(Box::new(log_panic));
}

/// Enables our own crates at the configured level and all libraries at none, since libraries may quote the data that
/// they were given.
fn filter(level: Level) -> EnvFilter {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let own = OWN_CRATES.iter().map(|name| format!("{name}={level}")).collect::<Vec<_>>().join(",");
    EnvFilter::new(format!("off,{own}"))
}

/// Logs the location of a panic, never its message, which may quote the data in use.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let (file, line) = info.location().map_or(("?", 0), |l| (l.file(), l.line()));
    tracing::error!(file, line, "a task panicked");
}

/// Prints one line on stderr for the person at the console, whatever the log's format is.
pub(crate) fn print_line(line: &str) {
    // If stderr is closed there is no reader to inform.
    let _ = writeln!(std::io::stderr(), "{line}");
}

const OWN_CRATES: &[&str] = &[
    "ringfence",
    "kernel",
    "access",
    "intake",
    "models",
    "vault",
    "journal",
    "segment",
    "store",
    "registry",
    "ledger",
    "engine",
];
