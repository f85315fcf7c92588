//! One run: a world, some processes, clients that call, and what goes wrong meanwhile.

use crate::{
    client::{Client, Shared, is_not_found},
    crash_disk::CrashDisk,
    faulty::{Bucket, Weather},
    history::History,
    process::Sizes,
    rng::Rng,
    world::{NAMES, TENANTS, World, settings},
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
use store::Tended;
use tokio::time::{Instant, sleep};

/// Where the bytes are.
pub(crate) enum Backend {
    /// A disk that one process has.
    Disk(Arc<CrashDisk>),
    /// A bucket that up to three processes write to.
    Bucket,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) operations: u64,
    /// Writes: acknowledged, refused, unknown.
    pub(crate) writes: [u64; 3],
    pub(crate) events: BTreeMap<&'static str, u64>,
    pub(crate) hours: f64,
    pub(crate) digest: u64,
    pub(crate) faults: Vec<String>,
}

pub(crate) struct Sim {
    pub(crate) world: World,
    pub(crate) patience: Duration,
    pub(crate) backend: Backend,
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) weather: Weather,
    pub(crate) sizes: Sizes,
    pub(crate) processes: RefCell<Vec<Shared>>,
    /// Which process clients think owns a namespace, and which life of it is the current one.
    pub(crate) owners: RefCell<Vec<usize>>,
    current: RefCell<Vec<usize>>,
    history: RefCell<History>,
    events: RefCell<BTreeMap<&'static str, u64>>,
    left: Cell<u64>,
    /// Somebody was refused something since this was last asked.
    refused: Cell<bool>,
    destroyed: RefCell<Vec<usize>>,
    /// Places that somebody seals anew: one at a time, as the registry has it.
    resealing: RefCell<BTreeSet<usize>>,
    pub(crate) rng: RefCell<Rng>,
}

/// Runs a seed on a runtime of its own, with one thread and a clock that jumps.
pub(crate) fn run(seed: u64, operations: u64, backend: Backend) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async move {
        let begun = Instant::now();
        let sim = Sim::new(seed, operations, backend).await;
        sim.play(seed).await;
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
        let weather = Weather {
            fails_before: rng.below(rate + 1),
            fails_after: rng.below(rate + 1),
            conflicts: rng.below(rate + 1),
            stalls: rng.below(rate / 3 + 1),
            stalls_after: rng.below(rate / 3 + 1),
            breaks: rng.below(rate + 1),
        };
        let sizes = Sizes {
            flush_rows_max: *rng.pick(&[6, 20, 60]),
            flush_bytes_max: *rng.pick(&[4 << 10, 1 << 30]),
            memory_bytes_max: *rng.pick(&[1 << 10, 64 << 10, 1 << 30]),
            inline_bytes_max: *rng.pick(&[0, 3_000, store::INLINE_BYTES_MAX]),
            short_merge_bytes_max: *rng.pick(&[0, 20_000, store::SHORT_MERGE_BYTES_MAX]),
            // Drawn beside the others, so that runs of before are what they were.
            erase_within: *Rng::new(seed, 3).pick(&[Duration::ZERO, Duration::from_secs(600), limits::ERASE_WITHIN]),
        };
        let on_bucket = matches!(backend, Backend::Bucket);
        let count = match &backend {
            Backend::Disk(_) => 1,
            Backend::Bucket => 1 + rng.below(3),
        };
        let sim = Self {
            world: World::new(seed),
            patience: *rng.pick(&[Duration::from_secs(20), Duration::from_secs(120), Duration::from_secs(1200)]),
            backend,
            bucket: Bucket::new(),
            weather,
            sizes,
            processes: RefCell::default(),
            owners: RefCell::new(vec![0; TENANTS.len() * NAMES.len()]),
            current: RefCell::new(vec![0; TENANTS.len() * NAMES.len()]),
            history: RefCell::new(History::new(STALE_READS && on_bucket)),
            events: RefCell::default(),
            left: Cell::new(operations),
            refused: Cell::default(),
            destroyed: RefCell::default(),
            resealing: RefCell::default(),
            rng: RefCell::new(rng),
        };
        for name in 0..TENANTS.len() * NAMES.len() {
            sim.renew(name);
        }
        for _ in 0..count {
            let process = sim.start().await;
            sim.processes.borrow_mut().push(process);
        }
        sim
    }

    async fn play(&self, seed: u64) {
        let clients = (0..6).map(|n| Client { sim: self, rng: Rng::new(seed, 100 + n) }.run());
        let troubles = match self.backend {
            Backend::Bucket => 3,
            // Two would start two processes on one disk.
            Backend::Disk(_) => 1,
        };
        let troubles = (0..troubles).map(|n| self.trouble(Rng::new(seed, 50 + n)));
        tokio::select! {
            biased;
            _ = join_all(clients) => {}
            _ = join_all(troubles) => {}
            () = self.walk(Rng::new(seed, 60)) => {}
        }
    }

    /// Looks after namespaces, as nobody's request does, until dropped.
    async fn walk(&self, mut rng: Rng) {
        loop {
            sleep(match self.backend {
                Backend::Bucket => rng.millis(50, 20_000),
                Backend::Disk(_) => rng.millis(5, 500),
            })
            .await;
            let place = self.current(self.some_name(&mut rng));
            let process = self.processes.borrow()[rng.index(self.processes.borrow().len())].clone();
            let home = self.history.borrow().places[place].home.clone();
            let tended = process.serve(self.patience, process.stores.tend(home, &settings())).await;
            match tended {
                Some(Ok(tended)) => self.count(if tended.opened { "tended" } else { "looked at" }),
                Some(Err(error)) => drop(self.refused(place, error)),
                None => {}
            }
        }
    }

    /// Trouble ends; whatever was acknowledged must be there, and every namespace must work.
    async fn end(&self) {
        self.bucket.calm();
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
                disk.light_fuse(None);
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
                client.check_in(name, &process).await;
            }
            // The longest stall is shorter: nothing is under way any more in the last round.
            sleep(Duration::from_secs(50_000)).await;
        }
        self.check_erased().await;
        self.clear_away().await;
        self.check_destroyed().await;
        self.check_lines();
    }

    /// In peace nothing dead is left behind the bound, whatever went wrong before, and nothing is lost by that.
    async fn check_erased(&self) {
        if self.sizes.erase_within.is_zero() {
            return;
        }
        let process = self.processes.borrow()[0].clone();
        // Clocks of processes differ by two hours at most, and a document may have been written by any.
        sleep(self.sizes.erase_within + Duration::from_secs(2 * 3_600)).await;
        for name in 0..TENANTS.len() * NAMES.len() {
            let place = self.current(name);
            let home = self.history.borrow().places[place].home.clone();
            let tended = process.stores.tend(home, &settings()).await;
            let clean = matches!(&tended, Ok(Tended { dead_from: None, litter: false, .. }));
            if !clean {
                self.history().faults.push(format!("NOT ERASED: place {place}: {tended:?}"));
            }
            let mut client = Client { sim: self, rng: Rng::new(3, name as u64) };
            client.check_in(name, &process).await;
        }
        // Audit lines are on their way for a while.
        sleep(Duration::from_secs(3_600)).await;
    }

    /// What an interrupted destruction left goes as the registry lets it go. Then nothing is there.
    async fn clear_away(&self) {
        let process = self.processes.borrow()[0].clone();
        let gone: Vec<_> = {
            let history = self.history.borrow();
            let gone = history.places.iter().enumerate().filter(|(_, place)| place.gone.is_some());
            gone.map(|(at, place)| (at, place.home.prefix())).collect()
        };
        for (place, prefix) in gone {
            process.storage.remove_prefix(&prefix).await.unwrap();
            let left = self.bucket.names(&prefix).await;
            if !left.is_empty() {
                self.history().faults.push(format!("place {place} was cleared away and has {left:?}"));
            }
            self.destroyed.borrow_mut().push(place);
        }
    }

    /// A namespace that was destroyed holds nothing, also for who still has its key.
    async fn check_destroyed(&self) {
        let process = self.processes.borrow()[0].clone();
        let destroyed = self.destroyed.borrow().clone();
        for place in destroyed {
            let (tenant, home) = {
                let history = self.history.borrow();
                (history.places[place].tenant, history.places[place].home.clone())
            };
            self.world.name(tenant, "ghost", Some(home));
            let grant = self.world.grant::<Read>(tenant, "ghost");
            if let Ok(room) = process.stores.enter(&grant, &settings()).await
                && room.totals().documents > 0
            {
                self.history().faults.push(format!("RESURRECTED: place {place} was destroyed and holds documents"));
            }
        }
    }

    /// Every acknowledged commit of a living namespace has its line in the chain.
    fn check_lines(&self) {
        let current = self.current.borrow().clone();
        let mut history = self.history();
        for place in current {
            for (namespace, commit) in history.acknowledged(place) {
                if self.world.chain.line(namespace, commit).is_none() {
                    history.faults.push(format!("place {place}: commit {commit} has no line in the chain"));
                }
            }
        }
        for (namespace, commit) in self.world.chain.twice.lock().unwrap().iter() {
            // Into one that was destroyed a late writer may write; nobody reads it.
            if history.places.iter().any(|place| place.gone.is_none() && place.home.uuid() == *namespace) {
                history.faults.push(format!("commit {commit} of {namespace} has two lines in the chain"));
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
        let (writes, digest, mut faults) = (history.tally(), history.digest(), history.judge());
        if events.contains_key("PUTS THAT REPLACE") {
            faults.push("something was put over what may stand there".to_owned());
        }
        Report { seed, operations: operations - self.left.get(), writes, events, hours: 0.0, digest, faults }
    }

    pub(crate) fn history(&self) -> RefMut<'_, History> {
        self.history.borrow_mut()
    }

    pub(crate) fn takes_one_more(&self) -> bool {
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

    /// The process that is said to own a namespace; now and then another. Not one that is dead.
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

    /// The life of a namespace that its name stands for now.
    pub(crate) fn current(&self, name: usize) -> usize {
        self.current.borrow()[name]
    }

    /// A name is looked up when the process takes the call, which may be long after the client chose it.
    ///
    /// # Errors
    /// When it stands for another life by now.
    pub(crate) fn still(&self, name: usize, place: usize) -> Result<(), store::Error> {
        if self.current(name) == place { Ok(()) } else { Err(store::Error::Closing) }
    }

    /// Tenant, name and tag.
    pub(crate) fn label(&self, place: usize) -> (&'static str, &'static str, String) {
        let history = self.history.borrow();
        let place = &history.places[place];
        (place.tenant, place.name, place.tag.clone())
    }

    /// A new life for a name.
    pub(crate) fn renew(&self, name: usize) {
        let (tenant, known_as) = (TENANTS[name / NAMES.len()], NAMES[name % NAMES.len()]);
        let home = self.world.home(tenant);
        self.world.name(tenant, known_as, Some(home.clone()));
        let mut history = self.history();
        let gone = history.event();
        let before = self.current(name);
        let fresh = history.place(tenant, known_as, home);
        if fresh >= self.current.borrow().len() {
            history.places[before].gone = Some(gone);
        }
        self.current.borrow_mut()[name] = fresh;
    }

    /// Whether a place may be sealed anew now. Only where one process serves at a time: it is the registry's work, and a
    /// server that was taken over does none.
    pub(crate) fn begin_resealing(&self, place: usize) -> bool {
        self.processes.borrow().len() == 1 && self.resealing.borrow_mut().insert(place)
    }

    pub(crate) fn end_resealing(&self, place: usize) {
        self.resealing.borrow_mut().remove(&place);
    }

    pub(crate) fn refused_some(&self) -> bool {
        self.refused.replace(false)
    }

    /// No answer: clients look for another process.
    pub(crate) fn gave_up(&self, place: usize) {
        self.count("gave up");
        let name = self.current.borrow().iter().position(|current| *current == place);
        let processes = self.processes.borrow().len();
        if let Some(name) = name {
            self.owners.borrow_mut()[name] = self.rng.borrow_mut().index(processes);
        }
    }

    pub(crate) fn destroyed(&self, place: usize) {
        self.count("destroyed");
        self.destroyed.borrow_mut().push(place);
    }

    /// Notes an error; whether what was asked may have happened all the same.
    pub(crate) fn refused(&self, place: usize, error: store::Error) -> bool {
        let error = kernel::Error::from(error);
        self.refused.set(true);
        let mut history = self.history();
        if is_not_found(&error) && history.places[place].gone.is_none() {
            history.faults.push(format!("LOST: place {place} is said not to be there"));
        }
        if ["do not open", "corrupt", "format version"].iter().any(|w| error.message.contains(w)) {
            history.faults.push(format!("place {place}: {}: {:?}", error.message, std::error::Error::source(&error)));
        }
        if error.message.contains("another server") {
            self.count("fenced");
        }
        error.outcome_unknown
    }
}

/// The store does not ask before it reads yet.
const STALE_READS: bool = false;
