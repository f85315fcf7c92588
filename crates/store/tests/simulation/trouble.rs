//! What goes wrong while clients call: processes die, freeze and come back, lines are cut, disks fill
//! up, power goes.

use crate::{
    client::Shared,
    crash_disk::{CrashDisk, Door},
    faulty::{Handle, Line},
    process::Process,
    rng::Rng,
    sim::{Backend, Sim},
    world::TENANTS,
};
use journal::{Blocking, Storage};
use std::{path::Path, rc::Rc, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

impl Sim {
    /// One trouble after another, until dropped.
    pub(crate) async fn trouble(&self, mut rng: Rng) {
        loop {
            sleep(match self.backend {
                Backend::Bucket => rng.millis(50, 6_000),
                // Nothing takes time on a disk in memory, so much more happens in a second.
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
                    self.count("restarted in peace");
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
                    let life = self.world.life(tenant);
                    let _in_time = process.serve(Duration::from_secs(30), process.stores.forget(life)).await;
                }
                (_, Backend::Disk(disk)) => self.disk_trouble(disk, at, &process, &mut rng).await,
                (_, Backend::Bucket) => self.bucket_trouble(at, &process, &mut rng).await,
            }
        }
    }

    async fn bucket_trouble(&self, at: usize, process: &Process, rng: &mut Rng) {
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
                process.handle.cut(*rng.pick(&[Line::NoWayOut, Line::NoWayBack]));
                sleep(rng.millis(100, 60_000)).await;
                process.handle.cut(Line::Whole);
            }
            _ => {
                self.count("moved");
                let name = rng.index(self.owners.borrow().len());
                self.owners.borrow_mut()[name] = at;
            }
        }
    }

    async fn disk_trouble(&self, disk: &CrashDisk, at: usize, process: &Process, rng: &mut Rng) {
        match rng.below(8) {
            0..=2 => {
                disk.light_fuse(Some(rng.below(400)));
                let _in_time = timeout(Duration::from_secs(5), process.handle.killed()).await;
                disk.light_fuse(None);
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
            // Another trouble had it started already.
            process.kill();
        }
    }

    /// A new process over what is stored; tried again until it starts.
    pub(crate) async fn start(&self) -> Shared {
        let mut last = None;
        for _ in 0..STARTS_MAX {
            let mine = Rng::new(self.rng.borrow_mut().next(), 7);
            let handle = Handle::new(&self.bucket, mine.clone(), self.weather);
            let (opened, door) = match &self.backend {
                Backend::Bucket => {
                    // It never sends a request twice by itself.
                    let bucket = Arc::new(handle.clone());
                    (Storage::remote(bucket.clone(), bucket, Blocking::Inline).await, None)
                }
                Backend::Disk(disk) => {
                    let door = self.door(disk, &handle);
                    let opened = Storage::on_disk(Arc::new(door.clone()), Path::new("/data"), Blocking::Inline).await;
                    (opened, Some(door))
                }
            };
            match opened {
                Ok(storage) => return Rc::new(Process::new(&self.world, storage, (handle, door), self.sizes, mine)),
                Err(error) => last = Some(error),
            }
            self.count("did not start");
            sleep(Duration::from_secs(1)).await;
        }
        panic!("no process starts any more: {last:?}");
    }

    fn door(&self, disk: &Arc<CrashDisk>, handle: &Handle) -> Door {
        let handle = handle.clone();
        disk.door(move || handle.kill())
    }
}

/// So often something may be in the way of a start.
const STARTS_MAX: usize = 100;
