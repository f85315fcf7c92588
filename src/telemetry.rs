//! What the process says on stderr: JSON lines, or text on a terminal. Route templates, codes,
//! milliseconds and opaque ids only; what customers wrote is not there to be logged.

use crate::config::{Level, LogFormat, Settings};
use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// Sets the process's log up. A second call changes nothing.
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
    // A second start in one process (tests) keeps the first log.
    let _ = if json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    std::panic::set_hook(Box::new(log_panic));
}

/// Our own crates at the level asked for; libraries not at all, since they may quote what they were given.
fn filter(level: Level) -> EnvFilter {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let ours = OURS.iter().map(|name| format!("{name}={level}")).collect::<Vec<_>>().join(",");
    EnvFilter::new(format!("off,{ours}"))
}

/// Where it happened, never what was said: a panic's message may hold what was being read.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let (file, line) = info.location().map_or(("?", 0), |l| (l.file(), l.line()));
    tracing::error!(file, line, "a panic ended one piece of work");
}

/// One line for the person at the console, whatever the log's format.
pub(crate) fn tell(line: &str) {
    // Nobody reads stderr: then nobody is told.
    let _ = writeln!(std::io::stderr(), "{line}");
}

const OURS: &[&str] = &[
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
