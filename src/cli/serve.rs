//! `ringfence serve`: until SIGTERM or SIGINT; then it drains. A second signal ends it at once.

use super::ServerArgs;
use crate::{descriptors, memory, server, telemetry};
use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) fn run(args: &ServerArgs) -> Result<()> {
    let settings = args.settings()?;
    telemetry::start(&settings);
    memory::tell();
    memory::give_back_what_is_freed()?;
    descriptors::tell(settings.descriptors);
    let runtime = crate::runtime().build().context("the runtime does not start")?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let running = tokio::select! {
            running = server::start(settings) => running?,
            () = signals.next() => return Ok(()),
        };
        tokio::select! {
            () = signals.next() => {}
            () = running.taken_over() => {
                // At once: what was acknowledged is in the bucket, and whatever this one still did
                // would only stand in the other's way.
                telemetry::tell("error: another server has taken over what this one served; it has stopped");
                std::process::exit(1)
            }
        }
        tokio::select! {
            () = running.stop() => Ok(()),
            () = signals.next() => {
                telemetry::tell("stopped at once by a second signal; a restart recovers what was under way");
                std::process::exit(1)
            }
        }
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
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
