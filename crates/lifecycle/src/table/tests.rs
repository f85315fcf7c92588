//! The table against a plain model, and what the model leaves out.

use super::*;
use kernel::{ManualClock, Timestamp};
use proptest::prelude::*;
use std::collections::HashMap;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
};

const SECOND: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff { first: SECOND, longest: Duration::from_secs(8) };
const OPEN_MAX: u64 = 3;
const WEIGHT_MAX: u64 = 9;

type Key = u8;

/// What exists of each key outside the table, and how its openings end.
#[derive(Default)]
struct World {
    /// The value that is in charge of a key's storage.
    in_charge: Mutex<HashMap<Key, u64>>,
    created: AtomicU64,
    openings: Mutex<HashMap<Key, oneshot::Sender<Outcome>>>,
    /// Guards that an opener gave away before it failed.
    given_away: Mutex<Vec<Guard<Value>>>,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Opens,
    Fails,
    /// The opener publishes a value, another caller gets a guard of it, and the opener fails.
    FailsAfterPublishing,
    Panics,
    FailsUnremembered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Passing,
    Lasting,
    Unremembered,
}

struct Value {
    world: Arc<World>,
    key: Key,
    id: u64,
    is_usable: AtomicBool,
    is_idle: AtomicBool,
}

/// Values of even keys end although guards of them remain.
fn ends_early(key: Key) -> bool {
    key.is_multiple_of(2)
}

impl Value {
    fn new(world: &Arc<World>, key: Key) -> Self {
        let id = world.created.fetch_add(1, Relaxed);
        let other = world.in_charge.lock().insert(key, id);
        assert_eq!(other, None, "two values of key {key} are in charge");
        Self { world: world.clone(), key, id, is_usable: AtomicBool::new(true), is_idle: AtomicBool::new(true) }
    }

    fn resign(&self) {
        let mut in_charge = self.world.in_charge.lock();
        if in_charge.get(&self.key) == Some(&self.id) {
            in_charge.remove(&self.key);
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.resign();
    }
}

impl Openable for Value {
    type Failure = Trouble;

    fn backoff(failure: &Trouble) -> Option<Backoff> {
        match failure {
            Trouble::Passing => Some(BACKOFF),
            Trouble::Lasting => Some(Backoff { first: Duration::MAX, longest: Duration::MAX }),
            Trouble::Unremembered => None,
        }
    }

    fn weight(&self) -> u64 {
        u64::from(self.key) + 1
    }

    fn is_usable(&self) -> bool {
        self.is_usable.load(Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.is_idle.load(Relaxed)
    }

    async fn before_eviction(&self) -> bool {
        yield_now().await;
        self.key != REFUSES
    }

    async fn end(&self) -> bool {
        yield_now().await;
        if ends_early(self.key) {
            self.resign();
        }
        ends_early(self.key)
    }
}

/// Key of values that cannot be prepared for their eviction.
const REFUSES: Key = 4;

/// Opens a value of the key when [`World::openings`] says how.
async fn opener(world: Arc<World>, key: Key, opening: Opening<Value>) -> Result<Guard<Value>, Trouble> {
    let (outcome, told) = oneshot::channel();
    assert!(world.openings.lock().insert(key, outcome).is_none(), "key {key} opens twice at once");
    let outcome = told.await.unwrap();
    match outcome {
        Outcome::Opens => Ok(opening.publish(Value::new(&world, key))),
        Outcome::Fails => Err(Trouble::Passing),
        Outcome::FailsAfterPublishing => {
            let guard = opening.publish(Value::new(&world, key));
            world.given_away.lock().push(guard);
            Err(Trouble::Passing)
        }
        Outcome::Panics => panic!("as the test asked"),
        Outcome::FailsUnremembered => Err(Trouble::Unremembered),
    }
}

struct Fixture {
    world: Arc<World>,
    clock: Arc<ManualClock>,
    table: OpenTable<Key, Value>,
}

type Entered = JoinHandle<Result<Guard<Value>, Refused<Trouble>>>;

impl Fixture {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let table = OpenTable::new(OPEN_MAX, WEIGHT_MAX, clock.clone(), TaskTracker::new());
        Self { world: Arc::default(), clock, table }
    }

    fn enter(&self, key: Key) -> Entered {
        let (table, world) = (self.table.clone(), self.world.clone());
        self.table.0.tracker.spawn(async move { table.enter(&key, move |opening| opener(world, key, opening)).await })
    }

    fn finish(&self, key: Key, outcome: Outcome) {
        let told = self.world.openings.lock().remove(&key).expect("the key is being opened");
        told.send(outcome).unwrap();
    }

    async fn opened(&self, key: Key) -> Guard<Value> {
        let entered = self.enter(key);
        settle().await;
        self.finish(key, Outcome::Opens);
        entered.await.unwrap().unwrap()
    }

    async fn refused(&self, key: Key, outcome: Outcome) -> Refused<Trouble> {
        let entered = self.enter(key);
        settle().await;
        self.finish(key, outcome);
        entered.await.unwrap().err().unwrap()
    }

    fn is_opening(&self, key: Key) -> bool {
        self.world.openings.lock().contains_key(&key)
    }
}

/// Lets all tasks run until each of them waits. The runtime has one thread.
async fn settle() {
    for _ in 0..200 {
        yield_now().await;
    }
}

/// The answer of a call that must have one already.
async fn answer(entered: Entered) -> Result<Guard<Value>, Refused<Trouble>> {
    assert!(entered.is_finished(), "the caller still waits");
    entered.await.unwrap()
}

#[tokio::test]
async fn a_panic_ends_only_its_opening() {
    let fixture = Fixture::new();
    assert_eq!(fixture.refused(0, Outcome::Panics).await, Refused::Lost);
    assert_eq!(fixture.opened(0).await.key, 0);
}

#[tokio::test]
async fn a_failure_without_backoff_leaves_nothing() {
    let fixture = Fixture::new();
    assert_eq!(fixture.refused(0, Outcome::FailsUnremembered).await, Refused::Failed(Trouble::Unremembered));
    assert!(fixture.table.keys().is_empty() && fixture.table.failed(&0).is_none());
    assert_eq!(fixture.opened(0).await.key, 0);
}

#[tokio::test]
async fn a_failure_whose_backoff_has_no_end_keeps_the_key_closed() {
    let fixture = Fixture::new();
    let guard = fixture.opened(0).await;
    assert!(fixture.table.withdraw(&0, guard, Trouble::Lasting).await);
    fixture.clock.advance(SECOND * 1_000_000);
    assert_eq!(fixture.enter(0).await.unwrap().err(), Some(Refused::Failed(Trouble::Lasting)));
}

#[tokio::test]
async fn a_close_waits_for_the_opening_and_takes_its_value_out() {
    let fixture = Fixture::new();
    let entered = fixture.enter(1);
    settle().await;
    let table = fixture.table.clone();
    let closed = fixture.table.0.tracker.spawn(async move { table.close(&1).await });
    settle().await;
    assert!(!closed.is_finished());
    fixture.finish(1, Outcome::Opens);
    let guard = entered.await.unwrap().unwrap();
    closed.await.unwrap();
    assert!(fixture.table.get(&1).is_none(), "no caller gets it any more");
    assert_eq!(fixture.enter(1).await.unwrap().err(), Some(Refused::InUse));
    let gone = guard.downgrade();
    assert!(!gone.is_gone());
    drop(guard);
    assert!(gone.is_gone());
    assert_eq!(fixture.opened(1).await.key, 1);
}

#[tokio::test]
async fn a_caller_that_enters_during_the_preparation_keeps_the_value() {
    let fixture = Fixture::new();
    drop(fixture.opened(0).await);
    let mut evicting = std::pin::pin!(fixture.table.close_unused(&0));
    let waits = std::future::poll_fn(|context| std::task::Poll::Ready(evicting.as_mut().poll(context).is_pending()));
    assert!(waits.await);
    let guard = fixture.table.get(&0).unwrap();
    assert!(!evicting.await);
    assert!(!guard.is_shared() && fixture.table.get(&0).unwrap().id == guard.id);
}

#[tokio::test]
async fn the_least_recently_used_value_is_evicted_first() {
    let fixture = Fixture::new();
    for key in 0..3 {
        drop(fixture.opened(key).await);
    }
    drop(fixture.table.get(&0));
    drop(fixture.opened(3).await);
    settle().await;
    assert_eq!(fixture.table.keys(), [0, 2, 3]);
}

#[derive(Clone, Debug)]
enum Op {
    Enter(Key),
    /// A waiting caller goes away.
    Cancel(Key),
    Finish(Key, Outcome),
    Leave(Key),
    LeaveAll(Key),
    /// All guards of values that were taken out are dropped.
    LeaveEarlier(Key),
    Break(Key),
    SetIdle(Key, bool),
    Withdraw(Key),
    Close(Key),
    CloseUnused(Key),
    RetryNow(Key),
    Evict,
    Advance(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..6_u8;
    let outcome = prop_oneof![
        4 => Just(Outcome::Opens),
        1 => Just(Outcome::Fails),
        1 => Just(Outcome::FailsAfterPublishing),
    ];
    prop_oneof![
        6 => key().prop_map(Op::Enter),
        1 => key().prop_map(Op::Cancel),
        8 => (key(), outcome).prop_map(|(key, outcome)| Op::Finish(key, outcome)),
        3 => key().prop_map(Op::Leave),
        // Often enough that evictions have a choice.
        6 => key().prop_map(Op::LeaveAll),
        1 => key().prop_map(Op::LeaveEarlier),
        1 => key().prop_map(Op::Break),
        1 => (key(), any::<bool>()).prop_map(|(key, idle)| Op::SetIdle(key, idle)),
        1 => key().prop_map(Op::Withdraw),
        1 => key().prop_map(Op::Close),
        1 => key().prop_map(Op::CloseUnused),
        1 => key().prop_map(Op::RetryNow),
        1 => Just(Op::Evict),
        2 => (1..6_u8).prop_map(Op::Advance),
    ]
}

/// What the model expects of one key.
#[derive(Default)]
struct Expected {
    phase: ExpectedPhase,
    guards: Vec<Guard<Value>>,
    /// Guards of values that were taken out.
    earlier: Vec<Guard<Value>>,
    waiting: Vec<Entered>,
    last_used: u64,
    is_idle: bool,
    is_usable: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ExpectedPhase {
    #[default]
    Closed,
    Opening(Option<Duration>),
    Open,
    Failed {
        retry_at: Duration,
        pause: Duration,
    },
}

struct Model {
    fixture: Fixture,
    keys: Vec<Expected>,
    ticks: u64,
}

impl Model {
    fn new() -> Self {
        Self { fixture: Fixture::new(), keys: (0..6).map(|_| Expected::default()).collect(), ticks: 0 }
    }

    fn touch(&mut self, key: Key) {
        self.ticks += 1;
        self.keys[usize::from(key)].last_used = self.ticks;
    }

    fn expected(&mut self, key: Key) -> &mut Expected {
        &mut self.keys[usize::from(key)]
    }

    async fn apply(&mut self, op: Op) {
        let now = self.fixture.clock.monotonic();
        match op {
            Op::Enter(key) => self.enter(key, now).await,
            Op::Cancel(key) => {
                if let Some(waiting) = self.expected(key).waiting.pop() {
                    waiting.abort();
                    assert!(waiting.await.is_err(), "it still waited");
                }
            }
            Op::Finish(key, outcome) => self.finish(key, outcome, now).await,
            Op::Leave(key) => drop(self.expected(key).guards.pop()),
            Op::LeaveAll(key) => self.expected(key).guards.clear(),
            Op::LeaveEarlier(key) => {
                for guard in std::mem::take(&mut self.expected(key).earlier) {
                    // A withdrawal waits for an opening, which the model ends later.
                    if self.fixture.is_opening(key) {
                        continue;
                    }
                    assert!(!self.fixture.table.withdraw(&key, guard, Trouble::Passing).await, "it has left the table");
                }
            }
            Op::Break(key) => {
                let expected = self.expected(key);
                if let Some(guard) = expected.guards.first() {
                    guard.is_usable.store(false, Relaxed);
                    expected.is_usable = false;
                }
            }
            Op::SetIdle(key, idle) => {
                let expected = self.expected(key);
                if let Some(guard) = expected.guards.first() {
                    guard.is_idle.store(idle, Relaxed);
                    expected.is_idle = idle;
                }
            }
            Op::Withdraw(key) => {
                if let Some(guard) = self.expected(key).guards.pop() {
                    assert!(self.fixture.table.withdraw(&key, guard, Trouble::Passing).await);
                    self.expected(key).take_out();
                    self.expected(key).phase = ExpectedPhase::failed(None, now);
                }
            }
            // A close waits for an opening; that has a test of its own.
            Op::Close(key) if !self.fixture.is_opening(key) => {
                self.fixture.table.close(&key).await;
                self.expected(key).take_out();
                self.expected(key).phase = ExpectedPhase::Closed;
            }
            Op::Close(_) => {}
            Op::CloseUnused(key) => {
                let expected = self.expected(key).is_evictable(key);
                assert_eq!(self.fixture.table.close_unused(&key).await, expected, "key {key}");
                if expected {
                    self.expected(key).phase = ExpectedPhase::Closed;
                }
            }
            Op::RetryNow(key) => {
                self.fixture.table.retry_now(&key);
                if let ExpectedPhase::Failed { retry_at, .. } = &mut self.expected(key).phase {
                    *retry_at = Duration::ZERO;
                }
            }
            Op::Evict => {
                self.fixture.table.evict().await;
                self.evict();
            }
            Op::Advance(seconds) => self.fixture.clock.advance(SECOND * u32::from(seconds)),
        }
        settle().await;
        self.check();
    }

    async fn enter(&mut self, key: Key, now: Duration) {
        let entered = self.fixture.enter(key);
        settle().await;
        let expected = self.expected(key);
        match expected.phase {
            ExpectedPhase::Opening(_) => expected.waiting.push(entered),
            ExpectedPhase::Open if expected.is_usable => {
                expected.guards.push(answer(entered).await.expect("it is open"));
                self.touch(key);
            }
            ExpectedPhase::Failed { retry_at, .. } if now < retry_at => {
                assert_eq!(answer(entered).await.err(), Some(Refused::Failed(Trouble::Passing)));
            }
            _ => {
                let pause = expected.pause();
                if expected.phase == ExpectedPhase::Open {
                    expected.take_out();
                    expected.phase = ExpectedPhase::Closed;
                }
                if !expected.earlier.is_empty() && !ends_early(key) {
                    assert_eq!(answer(entered).await.err(), Some(Refused::InUse));
                    return;
                }
                assert!(!entered.is_finished(), "it is being opened");
                expected.waiting.push(entered);
                expected.phase = ExpectedPhase::Opening(pause);
                assert!(self.fixture.is_opening(key), "the opener was called");
                self.evict();
            }
        }
    }

    async fn finish(&mut self, key: Key, outcome: Outcome, now: Duration) {
        if !self.fixture.is_opening(key) {
            return;
        }
        self.fixture.finish(key, outcome);
        settle().await;
        let given_away = std::mem::take(&mut *self.fixture.world.given_away.lock());
        let expected = self.expected(key);
        let ExpectedPhase::Opening(pause) = expected.phase else { panic!("the model does not expect an opening") };
        let waiting = std::mem::take(&mut expected.waiting);
        if let Outcome::Opens = outcome {
            (expected.phase, expected.is_idle, expected.is_usable) = (ExpectedPhase::Open, true, true);
            for waiting in waiting {
                expected.guards.push(answer(waiting).await.expect("all callers share one opening"));
            }
            self.touch(key);
            self.evict();
        } else {
            // A value that was published lets the pauses begin again.
            let published = !given_away.is_empty();
            expected.phase = ExpectedPhase::failed(pause.filter(|_| !published), now);
            expected.earlier.extend(given_away);
            for waiting in waiting {
                assert_eq!(answer(waiting).await.err(), Some(Refused::Failed(Trouble::Passing)));
            }
        }
    }

    /// Evicts, in the order of their last use, as many as the budgets demand.
    fn evict(&mut self) {
        let mut order: Vec<Key> = (0..6).collect();
        order.sort_by_key(|key| self.keys[usize::from(*key)].last_used);
        for key in order {
            let open = |expected: &&Expected| expected.phase == ExpectedPhase::Open;
            let opening = |expected: &&Expected| matches!(expected.phase, ExpectedPhase::Opening(_));
            let count = self.keys.iter().filter(|e| open(e) || opening(e)).count() as u64;
            let weight: u64 = (1_u64..).zip(&self.keys).filter(|(_, e)| open(e)).map(|(weight, _)| weight).sum();
            if count <= OPEN_MAX && weight <= WEIGHT_MAX {
                return;
            }
            if self.expected(key).is_evictable(key) {
                self.expected(key).phase = ExpectedPhase::Closed;
            }
        }
    }

    fn check(&self) {
        let stats = self.fixture.table.stats();
        assert_eq!(stats.open, self.fixture.table.0.counters.open.load(Relaxed), "counted values");
        assert_eq!(stats.weight, self.fixture.table.0.counters.weight.load(Relaxed), "counted weight");
        for (key, expected) in (0..).zip(&self.keys) {
            let is_open = self.fixture.table.find(&key).is_some_and(|entry| entry.is_open());
            assert_eq!(is_open, expected.phase == ExpectedPhase::Open, "key {key}");
            let retry_at = match expected.phase {
                ExpectedPhase::Failed { retry_at, .. } => Some(retry_at),
                _ => None,
            };
            if !matches!(expected.phase, ExpectedPhase::Opening(_)) {
                assert_eq!(self.fixture.table.failed(&key).map(|failed| failed.retry_at), retry_at, "key {key}");
            }
            for guard in &expected.guards {
                let in_charge = self.fixture.world.in_charge.lock().get(&key).copied();
                assert_eq!(in_charge, Some(guard.id), "a value that is used was closed");
            }
        }
    }
}

impl Expected {
    fn is_evictable(&self, key: Key) -> bool {
        let is_prepared = key != REFUSES || !self.is_usable;
        self.phase == ExpectedPhase::Open && self.guards.is_empty() && self.is_idle && is_prepared
    }

    fn take_out(&mut self) {
        self.earlier.append(&mut self.guards);
    }

    fn pause(&self) -> Option<Duration> {
        match self.phase {
            ExpectedPhase::Failed { pause, .. } => Some(pause),
            _ => None,
        }
    }
}

impl ExpectedPhase {
    fn failed(previous: Option<Duration>, now: Duration) -> Self {
        let pause = previous.map_or(SECOND, |pause| (pause * 2).min(BACKOFF.longest));
        Self::Failed { retry_at: now + pause, pause }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_table_does_what_the_model_says(ops in prop::collection::vec(op(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for op in ops {
                model.apply(op).await;
            }
        });
    }
}
