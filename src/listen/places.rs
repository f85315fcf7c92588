//! The places for connections of one listener: which connection has one, and which gives it up when all are taken.
//!
//! At the limit a new connection displaces another, so that a crowd which holds connections open keeps no client out.
//! The order: first those that never carried a valid credential, of the address that has most of them: those that have
//! asked without one, then the longest silent, each after a short time in which it may show one, unless its address has
//! more connections than the newcomer's; then idle ones of the caller that has most. A connection that serves a request
//! of a known caller is never displaced, and one caller has requests served on at most as many as it leaves free.
//!
//! There is no fixed number for an address, because all clients of a proxy share one. The address with the most
//! connections loses first, so that another gets its half when it needs it.

mod order;

use super::fair::{Flow, Scheduler, Ticket};
use crate::shares::{Caller, Pool, Share};
use kernel::{Code, Error, limits};
use order::Order;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// See the module.
pub(crate) struct Places {
    table: Mutex<Table>,
    max: usize,
    /// How long a new connection keeps its place so that it can send its first request.
    grace: Duration,
    /// A place was given back, or may be displaced now.
    freed: Notify,
    /// Places whose connections serve a request of a known caller.
    serving: Arc<Pool>,
    scheduler: Arc<Scheduler>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    order: Order,
    /// Names entries and orders their last use.
    tick: u64,
}

struct Entry {
    address: IpAddr,
    caller: Option<Caller>,
    serving: Option<Share>,
    used: u64,
    since: Instant,
    /// It was answered without a credential.
    asked: bool,
    end: CancellationToken,
}

/// One connection's place, until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    /// Cancelled when the place is another's.
    end: CancellationToken,
    replied: AtomicBool,
    /// The connections that it is scheduled with, and its turn among them.
    flow: Mutex<Arc<Flow>>,
    ticket: Arc<Ticket>,
}

impl Places {
    /// Places for `max` connections at once, which are scheduled by tasks of this tracker.
    pub(crate) fn new(max: usize, tasks: TaskTracker) -> Arc<Self> {
        Self::with_grace(max, tasks, limits::CONNECTION_GRACE)
    }

    fn with_grace(max: usize, tasks: TaskTracker, grace: Duration) -> Arc<Self> {
        let max = max.max(1);
        Arc::new(Self {
            table: Mutex::default(),
            max,
            grace,
            freed: Notify::new(),
            serving: Pool::new(max, 1),
            scheduler: Scheduler::new(tasks),
        })
    }

    /// A place for a connection from this address: a free one, or another's, or the next that becomes free.
    pub(crate) async fn take(self: &Arc<Self>, address: IpAddr) -> Place {
        let address = network(address);
        loop {
            let freed = self.freed.notified();
            match self.try_take(address) {
                Ok(place) => return place,
                Err(None) => freed.await,
                Err(Some(wait)) => tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    /// The same, if there is one at once.
    pub(crate) fn take_now(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        self.try_take(network(address)).ok()
    }

    /// `Err`: all places are held, and when one may be displaced, if it is only too new for that.
    fn try_take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Option<Duration>> {
        let mut table = self.lock();
        if table.entries.len() >= self.max {
            let displaced = table.displaced(self.max).ok_or(None)?;
            let entry = table.entries.get(&displaced).ok_or(None)?;
            // The grace time protects from a crowd, not the crowd itself: an address with more connections gives way at
            // once.
            let is_of_a_crowd = table.order.of(entry.address) > table.order.of(address) + 1;
            if let Some(wait) = entry.grace_left(self.grace).filter(|_| !is_of_a_crowd) {
                return Err(Some(wait));
            }
            if let Some(entry) = table.remove(displaced) {
                entry.end.cancel();
            }
        }
        table.tick += 1;
        let (id, end, since) = (table.tick, CancellationToken::new(), Instant::now());
        let entry = Entry { address, caller: None, serving: None, used: id, since, asked: false, end: end.clone() };
        let flow = Mutex::new(table.insert(id, entry));
        Ok(Place { places: self.clone(), id, end, replied: AtomicBool::new(false), flow, ticket: Arc::default() })
    }

    /// Nothing panics while holding this lock.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Adds an entry and returns the flow that schedules its connection.
    fn insert(&mut self, id: u64, entry: Entry) -> Arc<Flow> {
        let flow = self.order.add(id, &entry);
        self.entries.insert(id, entry);
        flow
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.order.remove(id, &entry);
        Some(entry)
    }

    /// The connection that loses its place to a new one.
    fn displaced(&self, max: usize) -> Option<u64> {
        self.order.first(max / STRANGERS_SHARE)
    }
}

impl Entry {
    /// How long it still keeps its place because it is new; `None` when it may be displaced.
    fn grace_left(&self, grace: Duration) -> Option<Duration> {
        let left = grace.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero());
        left.filter(|_| self.caller.is_none() && !self.asked)
    }
}

impl Place {
    /// Comes when another connection has this place.
    pub(crate) async fn displaced(&self) {
        self.end.cancelled().await;
    }

    /// Whether the connection may run now. Otherwise it is woken when it may.
    pub(crate) fn runs(&self, waker: &Waker) -> bool {
        let flow = self.flow.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.places.scheduler.admits(&flow, &self.ticket, waker)
    }

    /// Changes the entry unless the connection was displaced. Its flow may be another then: that of its caller, or a fresh
    /// one if it is the only connection of its group.
    fn update(&self, table: &mut Table, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = table.remove(self.id) {
            change(&mut entry);
            *self.flow.lock().unwrap_or_else(PoisonError::into_inner) = table.insert(self.id, entry);
        }
    }

    /// The request under way is this caller's. From here to the end of its reply the connection is not displaced.
    ///
    /// # Errors
    /// `rate_limited` when requests of this caller take its share of the places already.
    pub(crate) fn serve(&self, caller: Caller) -> Result<(), Error> {
        let mut table = self.places.lock();
        // A displaced connection is about to end.
        if !table.entries.contains_key(&self.id) {
            return Ok(());
        }
        let mut share = self.places.serving.enter(caller.clone());
        if share.resize(1).is_err() {
            let mut error = Error::new(Code::RateLimited, "too many requests of this caller at once; send fewer");
            error.retry_after = Some(Duration::from_secs(1));
            return Err(error);
        }
        self.update(&mut table, |entry| {
            entry.caller = Some(caller);
            entry.serving = Some(share);
        });
        Ok(())
    }

    /// The reply was handed over to be written.
    pub(crate) fn replied(&self) {
        self.replied.store(true, Ordering::Release);
    }

    /// All that was handed over is written.
    pub(crate) fn flushed(&self) {
        if !self.replied.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut table = self.places.lock();
        table.tick += 1;
        let tick = table.tick;
        self.update(&mut table, |entry| {
            entry.used = tick;
            entry.asked = entry.caller.is_none();
            entry.serving = None;
        });
        drop(table);
        self.places.freed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.id);
        self.places.freed.notify_one();
    }
}

/// What counts as one address: an IPv6 client usually has all 2^64 addresses of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// A quarter of the places is left to connections that have shown no credential yet.
const STRANGERS_SHARE: usize = 4;

#[cfg(test)]
mod tests;
