//! `ringfence serve`: runs the server until SIGTERM or SIGINT, then drains it. A second signal ends the process
//! immediately.

use crate::{descriptors, memory, server, telemetry};
use anyhow::{Context, Result};
use cli::ServerArgs;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn run(args: &ServerArgs) -> Result<()> {
    let settings = super::settings(args)?;
    telemetry::start(&settings);
    memory::log_protection();
    memory::start_trimming()?;
    descriptors::log(settings.descriptors);
    let runtime = crate::runtime().build().context("the runtime does not start")?;
    runtime.block_on(async {
        let mut signals = ShutdownSignals::new()?;
        let running = tokio::select! {
            running = server::start(settings) => running?,
            () = signals.next() => return Ok(()),
        };
        tokio::select! {
            () = signals.next() => {}
            () = running.wait_for_takeover() => {
                // Exit immediately: everything acknowledged is in the bucket, and further work of this server would
                // only disturb the other one.
                telemetry::print_line("error: another server has taken over the storage of this one, which has \
                                       stopped");
                std::process::exit(1)
            }
        }
        tokio::select! {
            () = running.stop() => Ok(()),
            () = signals.next() => {
                telemetry::print_line("stopped immediately by a second signal; the next start recovers work that was \
                                       in progress");
                std::process::exit(1)
            }
        }
    })
}

struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
