//! One run: an environment, some processes, clients that call them, and faults.

use crate::{
    client::{Client, Shared, is_not_found},
    crash_disk::CrashDisk,
    env::{NAMES, SimEnv, TENANTS, settings},
    faulty::{Bucket, FaultRates},
    history::History,
    process::SimLimits,
    rng::Rng,
};
use access::Read;
use futures::future::join_all;
use kernel::limits;
use std::{
    cell::{Cell, RefCell, RefMut},
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use store::MaintenanceReport;
use tokio::time::{Instant, sleep};

/// Where the bytes are stored.
pub(crate) enum Backend {
    /// A disk that one process uses.
    Disk(Arc<CrashDisk>),
    /// A bucket that up to three processes write to.
    Bucket,
}

/// Result of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) operations: u64,
    /// Numbers of writes: acknowledged, refused, unknown.
    pub(crate) writes: [u64; 3],
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) hours: f64,
    pub(crate) digest: u64,
    pub(crate) faults: Vec<String>,
}

pub(crate) struct Sim {
    pub(crate) env: SimEnv,
    pub(crate) call_timeout: Duration,
    pub(crate) backend: Backend,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) fault_rates: FaultRates,
    pub(crate) sizes: SimLimits,
    pub(crate) processes: RefCell<Vec<Shared>>,
    /// For each name, the process that clients believe owns its namespace, and the current instance of the namespace.
    pub(crate) owners: RefCell<Vec<usize>>,
    current: RefCell<Vec<usize>>,
    history: RefCell<History>,
    events: RefCell<BTreeMap<&'static str, u64>>,
    left: Cell<u64>,
    /// Whether a client was refused since this was last read.
    refused: Cell<bool>,
    destroyed: RefCell<Vec<usize>>,
    /// Instances being re-encrypted: one task at a time, as the registry guarantees.
    reencrypting: RefCell<BTreeSet<usize>>,
    pub(crate) rng: RefCell<Rng>,
}

/// Runs a seed on its own runtime, with one thread and a paused clock.
pub(crate) fn run(seed: u64, operations: u64, backend: Backend) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async move {
        let begun = Instant::now();
        let sim = Sim::new(seed, operations, backend).await;
        sim.run_clients(seed).await;
        sim.end().await;
        let mut report = sim.report(seed, operations);
        report.hours = begun.elapsed().as_secs_f64() / 3600.0;
        report
    })
}

impl Sim {
    async fn new(seed: u64, operations: u64, backend: Backend) -> Self {
        let mut rng = Rng::new(seed, 0);
        let rate = *rng.pick(&[0, 3, 10, 30]);
        let fault_rates = FaultRates {
            fails_before: rng.below(rate + 1),
            fails_after: rng.below(rate + 1),
            conflicts: rng.below(rate + 1),
            stalls: rng.below(rate / 3 + 1),
            stalls_after: rng.below(rate / 3 + 1),
            breaks: rng.below(rate + 1),
        };
        let sizes = SimLimits {
            flush_rows_max: *rng.pick(&[6, 20, 60]),
            flush_bytes_max: *rng.pick(&[4 << 10, 1 << 30]),
            memory_bytes_max: *rng.pick(&[1 << 10, 64 << 10, 1 << 30]),
            inline_bytes_max: *rng.pick(&[0, 3_000, store::INLINE_BYTES_MAX]),
            short_merge_bytes_max: *rng.pick(&[0, 20_000, store::SHORT_MERGE_BYTES_MAX]),
            // Drawn from a separate stream, so that previous runs stay the same.
            erase_within: *Rng::new(seed, 3).pick(&[Duration::ZERO, Duration::from_secs(600), limits::ERASE_WITHIN]),
        };
        let on_bucket = matches!(backend, Backend::Bucket);
        let count = match &backend {
            Backend::Disk(_) => 1,
            Backend::Bucket => 1 + rng.below(3),
        };
        let sim = Self {
            env: SimEnv::new(seed),
            call_timeout: *rng.pick(&[Duration::from_secs(20), Duration::from_secs(120), Duration::from_secs(1200)]),
            backend,
            bucket: Bucket::new(),
            fault_rates,
            sizes,
            processes: RefCell::default(),
            owners: RefCell::new(vec![0; TENANTS.len() * NAMES.len()]),
            current: RefCell::new(vec![0; TENANTS.len() * NAMES.len()]),
            history: RefCell::new(History::new(STALE_READS && on_bucket)),
            events: RefCell::default(),
            left: Cell::new(operations),
            refused: Cell::default(),
            destroyed: RefCell::default(),
            reencrypting: RefCell::default(),
            rng: RefCell::new(rng),
        };
        for name in 0..TENANTS.len() * NAMES.len() {
            sim.new_instance(name);
        }
        for _ in 0..count {
            let process = sim.start().await;
            sim.processes.borrow_mut().push(process);
        }
        sim
    }

    async fn run_clients(&self, seed: u64) {
        let clients = (0..6).map(|n| Client { sim: self, rng: Rng::new(seed, 100 + n) }.run());
        let injectors = match self.backend {
            Backend::Bucket => 3,
            // Two would start two processes on one disk.
            Backend::Disk(_) => 1,
        };
        let injectors = (0..injectors).map(|n| self.inject_faults(Rng::new(seed, 50 + n)));
        tokio::select! {
            biased;
            _ = join_all(clients) => {}
            _ = join_all(injectors) => {}
            () = self.run_maintenance(Rng::new(seed, 60)) => {}
        }
    }

    /// Maintains namespaces without a client's request, until dropped.
    async fn run_maintenance(&self, mut rng: Rng) {
        loop {
            sleep(match self.backend {
                Backend::Bucket => rng.millis(50, 20_000),
                Backend::Disk(_) => rng.millis(5, 500),
            })
            .await;
            let instance = self.current(self.some_name(&mut rng));
            let process = self.processes.borrow()[rng.index(self.processes.borrow().len())].clone();
            let keyspace = self.history.borrow().instances[instance].keyspace.clone();
            let report = process.serve(self.call_timeout, process.stores.maintain(keyspace, &settings())).await;
            match report {
                Some(Ok(report)) => self.count(if report.opened { "maintained" } else { "examined" }),
                Some(Err(error)) => drop(self.refused(instance, error)),
                None => {}
            }
        }
    }

    /// Stops all faults; everything acknowledged must be there, and every namespace must work.
    async fn end(&self) {
        self.bucket.stop_faults();
        for process in self.processes.borrow().iter() {
            process.handle.thaw();
        }
        for round in 0..3_u64 {
            for process in self.processes.borrow().iter() {
                process.kill();
            }
            if let Backend::Disk(disk) = &self.backend {
                disk.limit(None);
                disk.read_only(false);
                disk.kill_after_changes(None);
                disk.fail_sync(None);
                if round != 1 {
                    disk.cut_power();
                }
            }
            let process = self.start().await;
            *self.processes.borrow_mut() = vec![process.clone()];
            self.owners.borrow_mut().fill(0);
            for name in 0..TENANTS.len() * NAMES.len() {
                let mut client = Client { sim: self, rng: Rng::new(round, name as u64) };
                client.check_namespace(name, &process).await;
            }
            // The longest stall is shorter, so no request is in flight in the last round.
            sleep(Duration::from_secs(50_000)).await;
        }
        self.check_erased().await;
        self.remove_destroyed().await;
        self.check_destroyed().await;
        self.check_audit();
    }

    /// Without faults nothing deleted is left after the bound, whatever went wrong before, and nothing else is lost by
    /// that.
    async fn check_erased(&self) {
        if self.sizes.erase_within.is_zero() {
            return;
        }
        let process = self.processes.borrow()[0].clone();
        // The clocks of processes differ by at most two hours, and any of them may have written a document.
        sleep(self.sizes.erase_within + Duration::from_secs(2 * 3_600)).await;
        for name in 0..TENANTS.len() * NAMES.len() {
            let instance = self.current(name);
            let keyspace = self.history.borrow().instances[instance].keyspace.clone();
            let report = process.stores.maintain(keyspace, &settings()).await;
            let clean = matches!(&report, Ok(MaintenanceReport { deleted_since: None, orphans: false, .. }));
            if !clean {
                self.history().faults.push(format!("NOT ERASED: instance {instance}: {report:?}"));
            }
            let mut client = Client { sim: self, rng: Rng::new(3, name as u64) };
            client.check_namespace(name, &process).await;
        }
        // Delivering audit records takes a while.
        sleep(Duration::from_secs(3_600)).await;
    }

    /// Removes what an interrupted destruction left, as the registry does. Afterwards nothing is there.
    async fn remove_destroyed(&self) {
        let process = self.processes.borrow()[0].clone();
        let gone: Vec<_> = {
            let history = self.history.borrow();
            let gone = history.instances.iter().enumerate().filter(|(_, instance)| instance.gone.is_some());
            gone.map(|(at, instance)| (at, instance.keyspace.prefix())).collect()
        };
        for (instance, prefix) in gone {
            process.storage.remove_prefix(&prefix).await.unwrap();
            let left = self.bucket.names(&prefix).await;
            if !left.is_empty() {
                self.history().faults.push(format!("instance {instance} was removed and has {left:?}"));
            }
            self.destroyed.borrow_mut().push(instance);
        }
    }

    /// A destroyed namespace holds nothing, even for a process that still has its key.
    async fn check_destroyed(&self) {
        let process = self.processes.borrow()[0].clone();
        let destroyed = self.destroyed.borrow().clone();
        for instance in destroyed {
            let (tenant, keyspace) = {
                let history = self.history.borrow();
                (history.instances[instance].tenant, history.instances[instance].keyspace.clone())
            };
            self.env.name(tenant, "ghost", Some(keyspace));
            let grant = self.env.grant::<Read>(tenant, "ghost");
            if let Ok(handle) = process.stores.enter(&grant, &settings()).await
                && handle.totals().documents > 0
            {
                self.history()
                    .faults
                    .push(format!("RESURRECTED: instance {instance} was destroyed and holds documents"));
            }
        }
    }

    /// Every acknowledged commit of an existing namespace has its record in the audit log.
    fn check_audit(&self) {
        let current = self.current.borrow().clone();
        let mut history = self.history();
        for instance in current {
            for (namespace, commit) in history.acknowledged(instance) {
                if self.env.audit.line(namespace, commit).is_none() {
                    history.faults.push(format!("instance {instance}: commit {commit} has no record in the audit log"));
                }
            }
        }
        for (namespace, commit) in self.env.audit.twice.lock().unwrap().iter() {
            // A late writer may write to a destroyed namespace; no process reads it.
            if history
                .instances
                .iter()
                .any(|instance| instance.gone.is_none() && instance.keyspace.uuid() == *namespace)
            {
                history.faults.push(format!("commit {commit} of {namespace} has two records in the audit log"));
            }
        }
    }

    fn report(&self, seed: u64, operations: u64) -> Report {
        let history = self.history.borrow();
        let mut events = self.events.borrow().clone();
        events.extend(self.bucket.counts());
        if let Backend::Disk(disk) = &self.backend {
            events.extend(disk.counts());
        }
        let (writes, digest, mut faults) = (history.write_counts(), history.digest(), history.all_faults());
        if events.contains_key("PUTS THAT REPLACE") {
            faults.push("an object was overwritten".to_owned());
        }
        Report { seed, operations: operations - self.left.get(), writes, events, hours: 0.0, digest, faults }
    }

    pub(crate) fn history(&self) -> RefMut<'_, History> {
        self.history.borrow_mut()
    }

    pub(crate) fn take_operation(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.events.borrow_mut().entry(what).or_default() += 1;
    }

    pub(crate) fn some_name(&self, rng: &mut Rng) -> usize {
        rng.index(self.current.borrow().len())
    }

    /// The process that is believed to own a namespace, and sometimes another one. Never a killed process.
    pub(crate) async fn route(&self, name: usize, rng: &mut Rng) -> Shared {
        loop {
            let process = {
                let processes = self.processes.borrow();
                let at = if rng.chance(50) { rng.index(processes.len()) } else { self.owners.borrow()[name] };
                processes[at].clone()
            };
            if !process.handle.is_killed() {
                return process;
            }
            sleep(rng.millis(10, 100)).await;
        }
    }

    /// The instance that a name refers to now.
    pub(crate) fn current(&self, name: usize) -> usize {
        self.current.borrow()[name]
    }

    /// Checks that a name still refers to an instance. A name is resolved when the process takes the call, which may be
    /// long after the client chose it.
    ///
    /// # Errors
    /// [`store::Error::Closing`] if it refers to another instance by now.
    pub(crate) fn check_current(&self, name: usize, instance: usize) -> Result<(), store::Error> {
        if self.current(name) == instance { Ok(()) } else { Err(store::Error::Closing) }
    }

    /// Tenant, name and tag.
    pub(crate) fn label(&self, instance: usize) -> (&'static str, &'static str, String) {
        let history = self.history.borrow();
        let instance = &history.instances[instance];
        (instance.tenant, instance.name, instance.tag.clone())
    }

    /// Creates a new instance for a name.
    pub(crate) fn new_instance(&self, name: usize) {
        let (tenant, namespace_name) = (TENANTS[name / NAMES.len()], NAMES[name % NAMES.len()]);
        let keyspace = self.env.keyspace(tenant);
        self.env.name(tenant, namespace_name, Some(keyspace.clone()));
        let mut history = self.history();
        let gone = history.event();
        let before = self.current(name);
        let fresh = history.instance(tenant, namespace_name, keyspace);
        if fresh >= self.current.borrow().len() {
            history.instances[before].gone = Some(gone);
        }
        self.current.borrow_mut()[name] = fresh;
    }

    /// Whether an instance may be re-encrypted now. Only where one process runs at a time: the registry starts it, and
    /// a server that was taken over starts none.
    pub(crate) fn begin_reencryption(&self, instance: usize) -> bool {
        self.processes.borrow().len() == 1 && self.reencrypting.borrow_mut().insert(instance)
    }

    pub(crate) fn end_reencryption(&self, instance: usize) {
        self.reencrypting.borrow_mut().remove(&instance);
    }

    pub(crate) fn take_refused(&self) -> bool {
        self.refused.replace(false)
    }

    /// Records that no answer came: clients choose another process.
    pub(crate) fn no_answer(&self, instance: usize) {
        self.count("no answer");
        let name = self.current.borrow().iter().position(|current| *current == instance);
        let processes = self.processes.borrow().len();
        if let Some(name) = name {
            self.owners.borrow_mut()[name] = self.rng.borrow_mut().index(processes);
        }
    }

    pub(crate) fn destroyed(&self, instance: usize) {
        self.count("destroyed");
        self.destroyed.borrow_mut().push(instance);
    }

    /// Records an error. Returns whether the request may have happened nevertheless.
    pub(crate) fn refused(&self, instance: usize, error: store::Error) -> bool {
        let error = kernel::Error::from(error);
        self.refused.set(true);
        let mut history = self.history();
        if is_not_found(&error) && history.instances[instance].gone.is_none() {
            history.faults.push(format!("LOST: instance {instance} is reported as missing"));
        }
        if ["do not open", "corrupt", "format version"].iter().any(|w| error.message.contains(w)) {
            history.faults.push(format!(
                "instance {instance}: {}: {:?}",
                error.message,
                std::error::Error::source(&error)
            ));
        }
        if error.message.contains("another server") {
            self.count("fenced");
        }
        error.outcome_unknown
    }
}

/// Whether reads may return an earlier state. The store checks ownership first, so they may not.
const STALE_READS: bool = false;
