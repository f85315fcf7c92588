//! Faults that happen while clients call: processes are killed, frozen and restarted, networks are cut, disks fill up,
//! power fails.

use crate::{
    client::Shared,
    crash_disk::{CrashDisk, DiskClient},
    env::TENANTS,
    faulty::{Handle, Network},
    process::Process,
    rng::Rng,
    sim::{Backend, Sim},
};
use journal::{Blocking, Storage};
use std::{path::Path, rc::Rc, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

impl Sim {
    /// Causes one fault after another, until dropped.
    pub(crate) async fn inject_faults(&self, mut rng: Rng) {
        loop {
            sleep(match self.backend {
                Backend::Bucket => rng.millis(50, 6_000),
                // Nothing takes time on a disk in memory, so more happens per second.
                Backend::Disk(_) => rng.millis(10, 1_000),
            })
            .await;
            let at = rng.index(self.processes.borrow().len());
            let process = self.processes.borrow()[at].clone();
            match (rng.below(10), &self.backend) {
                (0, _) => {
                    self.count("killed");
                    process.kill();
                    self.restart(at).await;
                }
                (1, _) => {
                    self.count("restarted cleanly");
                    let closed = process.serve(Duration::from_secs(30), process.stores.close()).await;
                    if closed.is_none() {
                        self.count("did not close in time");
                    }
                    process.kill();
                    self.restart(at).await;
                }
                (2, _) => {
                    self.count("forgotten");
                    let tenant = TENANTS[rng.index(TENANTS.len())];
                    let incarnation = self.env.incarnation(tenant);
                    let _in_time =
                        process.serve(Duration::from_secs(30), process.stores.close_tenant(incarnation)).await;
                }
                (_, Backend::Disk(disk)) => self.inject_disk_fault(disk, at, &process, &mut rng).await,
                (_, Backend::Bucket) => self.inject_bucket_fault(at, &process, &mut rng).await,
            }
        }
    }

    async fn inject_bucket_fault(&self, at: usize, process: &Process, rng: &mut Rng) {
        match rng.below(7) {
            0 | 1 => {
                self.count("frozen");
                process.handle.freeze();
                let hours = rng.chance(250);
                sleep(if hours { rng.long() } else { rng.millis(10, 60_000) }).await;
                process.handle.thaw();
            }
            2 | 3 => {
                self.count("partitioned");
                process.handle.cut(*rng.pick(&[Network::DropRequests, Network::DropAnswers]));
                sleep(rng.millis(100, 60_000)).await;
                process.handle.cut(Network::Whole);
            }
            _ => {
                self.count("moved");
                let name = rng.index(self.owners.borrow().len());
                self.owners.borrow_mut()[name] = at;
            }
        }
    }

    async fn inject_disk_fault(&self, disk: &CrashDisk, at: usize, process: &Process, rng: &mut Rng) {
        match rng.below(8) {
            0..=2 => {
                disk.kill_after_changes(Some(rng.below(400)));
                let _in_time = timeout(Duration::from_secs(5), process.handle.until_killed()).await;
                disk.kill_after_changes(None);
            }
            3 | 4 => {
                disk.fail_sync(Some(rng.below(20)));
                sleep(rng.millis(10, 2_000)).await;
                disk.fail_sync(None);
                if rng.chance(500) {
                    process.kill();
                }
            }
            5 => {
                self.count("disk full");
                let room = *rng.pick(&[0, 100, 5_000, 20_000]);
                disk.limit(Some(rng.index(room + 1)));
                sleep(rng.millis(10, 2_000)).await;
                disk.limit(None);
            }
            6 => {
                self.count("disk read-only");
                disk.read_only(true);
                sleep(rng.millis(10, 1_000)).await;
                disk.read_only(false);
            }
            _ => process.kill(),
        }
        if process.handle.is_killed() {
            self.restart(at).await;
        }
    }

    async fn restart(&self, at: usize) {
        if let Backend::Disk(disk) = &self.backend
            && self.rng.borrow_mut().chance(600)
        {
            disk.cut_power();
        }
        let process = self.start().await;
        let slot = &mut self.processes.borrow_mut()[at];
        if slot.handle.is_killed() {
            *slot = process;
        } else {
            // Another fault has already restarted it.
            process.kill();
        }
    }

    /// Starts a new process on what is stored, and retries until it starts.
    pub(crate) async fn start(&self) -> Shared {
        let mut last = None;
        for _ in 0..STARTS_MAX {
            let process_rng = Rng::new(self.rng.borrow_mut().next(), 7);
            let handle = Handle::new(&self.bucket, process_rng.clone(), self.fault_rates);
            let (opened, disk_client) = match &self.backend {
                Backend::Bucket => {
                    // It never retries a request by itself.
                    let bucket = Arc::new(handle.clone());
                    (Storage::remote(bucket.clone(), bucket, Blocking::Inline).await, None)
                }
                Backend::Disk(disk) => {
                    let disk_client = self.disk_client(disk, &handle);
                    let opened =
                        Storage::on_disk(Arc::new(disk_client.clone()), Path::new("/data"), Blocking::Inline).await;
                    (opened, Some(disk_client))
                }
            };
            match opened {
                Ok(storage) => {
                    return Rc::new(Process::new(&self.env, storage, (handle, disk_client), self.sizes, process_rng));
                }
                Err(error) => last = Some(error),
            }
            self.count("did not start");
            sleep(Duration::from_secs(1)).await;
        }
        panic!("no process starts any more: {last:?}");
    }

    fn disk_client(&self, disk: &Arc<CrashDisk>, handle: &Handle) -> DiskClient {
        let handle = handle.clone();
        disk.disk_client(move || handle.kill())
    }
}

/// Most attempts to start a process, as faults may prevent a start.
const STARTS_MAX: usize = 100;
