//! A bucket that fails as object stores do, and a handle on it for each process.
//!
//! A request is independent of its sender: once sent it may arrive, early or hours late, whether or not the sender
//! still runs. Each handle draws its faults from its own stream of numbers; it can be frozen (nothing leaves, nothing
//! comes back), cut off, or killed (requests in flight arrive late or never). Time is tokio's paused clock. Nothing
//! here is more atomic than a real store promises: a listing takes a while, and concurrent changes may or may not be in
//! it.

use crate::rng::Rng;
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::sleep,
};
use tokio_util::task::TaskTracker;

/// Stored objects, shared by all processes.
pub(crate) struct Bucket {
    stored: InMemory,
    network: TaskTracker,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether faults have ended.
    faults_stopped: AtomicBool,
}

/// Rates of faults for a handle's requests, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultRates {
    /// The request fails, and nothing was done.
    pub(crate) fails_before: u64,
    /// The request fails, but it was done: the answer is lost.
    pub(crate) fails_after: u64,
    /// `AlreadyExists` for a name that does not exist: two such requests collided (409).
    pub(crate) conflicts: u64,
    /// The request arrives after seconds to hours.
    pub(crate) stalls: u64,
    /// The answer arrives after seconds to hours.
    pub(crate) stalls_after: u64,
    /// A body breaks off.
    pub(crate) breaks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Frozen,
    Killed,
}

/// State of a handle's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Whole,
    /// No request arrives.
    DropRequests,
    /// Every request arrives, but no answer comes back.
    DropAnswers,
}

/// Access of one process to the bucket. Clones are the same handle.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Inner>);

struct Inner {
    bucket: Arc<Bucket>,
    rng: Mutex<Rng>,
    fault_rates: Mutex<(FaultRates, Network)>,
    /// Waiters for a change are woken in the order in which they came; a watch channel would wake them in any order.
    state: Mutex<State>,
    changed: Notify,
}

/// Fate of one request.
#[derive(Clone, Copy)]
struct Fate {
    before: Duration,
    after: Duration,
    fault: FaultKind,
    /// If its process is killed: whether it arrives nevertheless, and how late.
    arrives_if_killed: Option<Duration>,
    /// If its caller stops waiting: whether it is sent nevertheless.
    sent_if_abandoned: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FaultKind {
    Nothing,
    FailBefore,
    FailAfter,
    Conflict,
}

impl Bucket {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            stored: InMemory::new(),
            network: TaskTracker::new(),
            counts: Mutex::default(),
            faults_stopped: AtomicBool::new(false),
        })
    }

    /// Ends all faults that have not happened yet.
    pub(crate) fn stop_faults(&self) {
        self.faults_stopped.store(true, Ordering::SeqCst);
    }

    /// Number of faults of each kind.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap().clone()
    }

    /// Stored names, read without any fault.
    pub(crate) async fn names(&self, prefix: &str) -> Vec<String> {
        let prefix = Path::from(prefix);
        let all: Vec<ObjectMeta> = self.stored.list(Some(&prefix)).try_collect().await.unwrap();
        all.into_iter().map(|meta| meta.location.to_string()).collect()
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().unwrap().entry(what).or_default() += 1;
    }
}

impl Handle {
    pub(crate) fn new(bucket: &Arc<Bucket>, rng: Rng, fault_rates: FaultRates) -> Self {
        let inner = Inner {
            bucket: bucket.clone(),
            rng: Mutex::new(rng),
            fault_rates: Mutex::new((fault_rates, Network::Whole)),
            state: Mutex::new(State::Running),
            changed: Notify::new(),
        };
        Self(Arc::new(inner))
    }

    pub(crate) fn cut(&self, line: Network) {
        self.0.fault_rates.lock().unwrap().1 = line;
    }

    pub(crate) fn freeze(&self) {
        self.set_state(State::Frozen);
    }

    pub(crate) fn thaw(&self) {
        self.set_state(State::Running);
    }

    fn set_state(&self, to: State) {
        let mut state = self.0.state.lock().unwrap();
        *state = state.or(to);
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Kills the process: its pending requests never return.
    pub(crate) fn kill(&self) {
        *self.0.state.lock().unwrap() = State::Killed;
        self.0.changed.notify_waiters();
    }

    /// Whether faults have ended.
    pub(crate) fn faults_stopped(&self) -> bool {
        self.0.bucket.faults_stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn is_killed(&self) -> bool {
        *self.0.state.lock().unwrap() == State::Killed
    }

    /// Returns when the process runs; never if it was killed.
    pub(crate) async fn until_running(&self) {
        self.wait_for(State::Running).await;
    }

    /// Returns when the process was killed.
    pub(crate) async fn until_killed(&self) {
        self.wait_for(State::Killed).await;
    }

    async fn wait_for(&self, state: State) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if *self.0.state.lock().unwrap() == state {
                return;
            }
            changed.await;
        }
    }

    /// Sends a request and waits for the answer.
    async fn request<T: Send + 'static>(
        &self,
        name: &Path,
        may_conflict: bool,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.until_running().await;
        self.0.bucket.count("requests");
        let fate = self.0.draw(may_conflict);
        let (reply, answer) = oneshot::channel();
        let (handle, name) = (self.clone(), name.clone());
        self.0.bucket.network.spawn(async move {
            sleep(fate.before).await;
            if handle.is_killed() {
                let Some(late) = fate.arrives_if_killed else { return handle.0.bucket.count("undelivered") };
                handle.0.bucket.count("arrived after its process died");
                sleep(late).await;
            } else if reply.is_closed() && !fate.sent_if_abandoned {
                return handle.0.bucket.count("undelivered");
            }
            let result = match fate.fault {
                FaultKind::FailBefore => Err(failed("not done")),
                FaultKind::Conflict => {
                    Err(Error::AlreadyExists { path: name.to_string(), source: "409 by the simulation".into() })
                }
                FaultKind::Nothing => work.await,
                FaultKind::FailAfter => work.await.and(Err(failed("done, answer lost"))),
            };
            sleep(fate.after).await;
            let _caller_has_gone = reply.send(result);
        });
        let result = answer.await;
        self.until_running().await;
        // Dropped with the runtime, or undelivered: a broken connection.
        result.unwrap_or_else(|_| Err(failed("connection lost")))
    }

    async fn put(&self, name: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            self.0.bucket.count("PUTS THAT REPLACE");
        }
        let (bucket, to) = (self.0.bucket.clone(), name.clone());
        self.request(name, true, async move { bucket.stored.put_opts(&to, payload, options).await }).await
    }

    async fn get(&self, name: &Path, options: GetOptions) -> Result<GetResult> {
        let (bucket, from) = (self.0.bucket.clone(), name.clone());
        let got = self.request(name, false, async move { bucket.stored.get_opts(&from, options).await }).await?;
        if !self.0.breaks() {
            return Ok(got);
        }
        let (meta, range, attributes, extensions) =
            (got.meta.clone(), got.range.clone(), got.attributes.clone(), got.extensions.clone());
        let bytes = got.bytes().await?;
        let half = bytes.slice(..bytes.len() / 2);
        let pieces = stream::iter([Ok(half), Err(failed("the body broke off"))]).boxed();
        Ok(GetResult { payload: GetResultPayload::Stream(pieces), meta, range, attributes, extensions })
    }

    async fn delete_one(self, name: Path) -> Result<Path> {
        let (bucket, which) = (self.0.bucket.clone(), name.clone());
        let reports_missing = self.0.rng.lock().unwrap().chance(500);
        let work = async move {
            let there = bucket.stored.head(&which).await.is_ok();
            bucket.stored.delete(&which).await?;
            if there || !reports_missing {
                return Ok(which);
            }
            bucket.count("deletes of what is gone");
            Err(Error::NotFound { path: which.to_string(), source: "gone".into() })
        };
        self.request(&name, false, work).await
    }

    /// Lists what existed all the time, and some of what was created or deleted meanwhile; in no order.
    async fn listing(self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let (handle, name) = (self.clone(), prefix.clone().unwrap_or_default());
        let work = async move {
            let bucket = &handle.0.bucket;
            let first: Vec<ObjectMeta> = bucket.stored.list(prefix.as_ref()).try_collect().await?;
            let pause = handle.0.rng.lock().unwrap().millis(0, 40);
            sleep(pause).await;
            let last: Vec<ObjectMeta> = bucket.stored.list(prefix.as_ref()).try_collect().await?;
            Ok(handle.0.mixed(first, last))
        };
        self.request(&name, false, work).await
    }
}

impl State {
    /// The other state, unless this process was killed.
    fn or(self, other: State) -> State {
        if self == State::Killed { self } else { other }
    }
}

impl Inner {
    fn draw(&self, may_conflict: bool) -> Fate {
        let (fault_rates, line) = *self.fault_rates.lock().unwrap();
        let mut rng = self.rng.lock().unwrap();
        let mut fate = Fate {
            before: rng.millis(1, 40),
            after: rng.millis(1, 40),
            fault: FaultKind::Nothing,
            arrives_if_killed: rng.chance(500).then(|| rng.long()),
            sent_if_abandoned: rng.chance(500),
        };
        if self.bucket.faults_stopped.load(Ordering::SeqCst) {
            return fate;
        }
        if line != Network::Whole {
            self.bucket.count("cut off");
            fate.fault = if line == Network::DropRequests { FaultKind::FailBefore } else { FaultKind::FailAfter };
            fate.after = rng.millis(1_000, 30_000);
            return fate;
        }
        let mut left = rng.below(1000);
        let mut meets = |share: u64| {
            let fault = left < share;
            left = if fault { u64::MAX } else { left - share };
            fault
        };
        if meets(fault_rates.fails_before) {
            self.bucket.count("failed before");
            fate.fault = FaultKind::FailBefore;
        } else if meets(fault_rates.fails_after) {
            self.bucket.count("failed after");
            fate.fault = FaultKind::FailAfter;
        } else if meets(fault_rates.conflicts) && may_conflict {
            self.bucket.count("spurious conflict");
            fate.fault = FaultKind::Conflict;
        } else if meets(fault_rates.stalls) {
            self.bucket.count("stalled on the way");
            fate.before = rng.long();
        } else if meets(fault_rates.stalls_after) {
            self.bucket.count("stalled on the way back");
            fate.after = rng.long();
        }
        fate
    }

    fn breaks(&self) -> bool {
        let breaks = self.fault_rates.lock().unwrap().0.breaks;
        let breaks = !self.bucket.faults_stopped.load(Ordering::SeqCst) && self.rng.lock().unwrap().chance(breaks);
        if breaks {
            self.bucket.count("body broke off");
        }
        breaks
    }

    fn mixed(&self, first: Vec<ObjectMeta>, last: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
        let names = |metas: &[ObjectMeta]| metas.iter().map(|m| m.location.clone()).collect::<BTreeSet<_>>();
        let always: BTreeSet<Path> = names(&first).intersection(&names(&last)).cloned().collect();
        let mut rng = self.rng.lock().unwrap();
        let mut out: BTreeMap<Path, ObjectMeta> = BTreeMap::new();
        for meta in first.into_iter().chain(last) {
            let sure = always.contains(&meta.location);
            if !sure {
                self.bucket.count("changed during a listing");
            }
            if sure || rng.chance(500) {
                out.insert(meta.location.clone(), meta);
            }
        }
        let mut out: Vec<ObjectMeta> = out.into_values().collect();
        rng.shuffle(&mut out);
        out
    }
}

fn failed(why: &'static str) -> Error {
    Error::Generic { store: "simulation", source: why.into() }
}

fn not_implemented<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented { operation: operation.to_owned(), implementer: "simulation".to_owned() })
}

#[async_trait::async_trait]
impl ObjectStore for Handle {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.put(location, payload, options).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        not_implemented("put_multipart")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.get(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let handle = self.clone();
        let one = move |location: Result<Path>| {
            let handle = handle.clone();
            async move { handle.delete_one(location?).await }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listing = self.clone().listing(prefix.cloned());
        listing
            .map(|all| stream::iter(all.map_or_else(|e| vec![Err(e)], |all| all.into_iter().map(Ok).collect())))
            .flatten_stream()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let depth = prefix.map_or(0, |p| p.parts().count());
        let (mut objects, mut folders) = (Vec::new(), BTreeSet::new());
        for meta in self.clone().listing(prefix.cloned()).await? {
            let parts: Vec<_> = meta.location.parts().take(depth + 2).collect();
            if parts.len() == depth + 1 {
                objects.push(meta);
            } else {
                folders.insert(Path::from_iter(parts.into_iter().take(depth + 1)));
            }
        }
        let mut common_prefixes: Vec<Path> = folders.into_iter().collect();
        self.0.rng.lock().unwrap().shuffle(&mut common_prefixes);
        Ok(ListResult { common_prefixes, objects, extensions: Default::default() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        not_implemented("copy")
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a simulated bucket")
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
