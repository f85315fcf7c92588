//! Connection slots of one listener: which connections hold one, and which is displaced when all are taken.
//!
//! At the limit a new connection displaces another, so that a client which holds many connections open cannot keep
//! other clients out. Connections are displaced in this order. First come those that never carried a valid credential,
//! from the address that has most connections: those that have sent a request without one, then the longest silent,
//! each after a short grace time in which it may show one, unless its address has more connections than the address of
//! the new one. Then come idle ones of the caller that has most. A connection that serves a request of an authenticated
//! caller is never displaced, and one caller has requests served on at most as many connections as it leaves free.
//!
//! There is no fixed limit per address, because all clients of a proxy share one. The address with the most connections
//! loses first, so that another address gets its half when it needs it.

mod order;

use super::fair::{Flow, Scheduler, TurnTicket};
use crate::shares::{Share, ShareHolder, SharePool};
use kernel::{Code, Error, limits};
use order::DisplacementOrder;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The slots of one listener; see the module.
pub(crate) struct ConnectionSlots {
    table: Mutex<SlotTable>,
    max: usize,
    /// How long a new connection keeps its slot so that it can send its first request.
    grace: Duration,
    /// Notified when a slot was released or may be displaced.
    freed: Notify,
    /// Slots whose connections serve a request of an authenticated caller.
    serving: Arc<SharePool>,
    scheduler: Arc<Scheduler>,
}

#[derive(Default)]
struct SlotTable {
    entries: HashMap<u64, Entry>,
    order: DisplacementOrder,
    /// Counter that provides ids of entries and orders their last use.
    tick: u64,
}

struct Entry {
    address: IpAddr,
    caller: Option<ShareHolder>,
    serving: Option<Share>,
    used: u64,
    since: Instant,
    /// Whether a request without a credential was answered on it.
    asked: bool,
    end: CancellationToken,
}

/// The slot of one connection, until it is dropped.
pub(crate) struct ConnectionSlot {
    slots: Arc<ConnectionSlots>,
    id: u64,
    /// Cancelled when another connection has displaced this one.
    end: CancellationToken,
    replied: AtomicBool,
    /// The connections that this one is scheduled with, and its ticket among them.
    flow: Mutex<Arc<Flow>>,
    ticket: Arc<TurnTicket>,
}

impl ConnectionSlots {
    /// Slots for `max` concurrent connections, which are scheduled by tasks of this tracker.
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
            serving: SharePool::new(max, 1),
            scheduler: Scheduler::new(tasks),
        })
    }

    /// Acquires a slot for a connection from this address: a free one, that of a displaced connection, or the next that
    /// becomes free.
    pub(crate) async fn acquire(self: &Arc<Self>, address: IpAddr) -> ConnectionSlot {
        let address = network_of(address);
        loop {
            let freed = self.freed.notified();
            match self.acquire_or_wait(address) {
                Ok(slot) => return slot,
                Err(None) => freed.await,
                Err(Some(wait)) => tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    /// Acquires a slot as [`Self::acquire`] does, if one is available immediately.
    pub(crate) fn try_acquire(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionSlot> {
        self.acquire_or_wait(network_of(address)).ok()
    }

    /// Returns `Err` if all slots are held, with the time until one may be displaced if it is only too new for that.
    fn acquire_or_wait(self: &Arc<Self>, address: IpAddr) -> Result<ConnectionSlot, Option<Duration>> {
        let mut table = self.table.lock();
        // All slots are held: displace a connection, or tell the caller to wait.
        if table.entries.len() >= self.max {
            let displaced = table.displaced(self.max).ok_or(None)?;
            let entry = table.entries.get(&displaced).ok_or(None)?;
            // The grace time protects a new client from an address with many connections, not such an address itself:
            // an address with more connections gives way immediately.
            let from_larger_group = table.order.connections_of(entry.address) > table.order.connections_of(address) + 1;
            if let Some(wait) = entry.grace_left(self.grace).filter(|_| !from_larger_group) {
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
        Ok(ConnectionSlot {
            slots: self.clone(),
            id,
            end,
            replied: AtomicBool::new(false),
            flow,
            ticket: Arc::default(),
        })
    }
}

impl SlotTable {
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

    /// The connection that a new one displaces.
    fn displaced(&self, max: usize) -> Option<u64> {
        self.order.first(max / UNAUTHENTICATED_SHARE)
    }
}

impl Entry {
    /// Remaining grace time of a new connection; `None` when it may be displaced.
    fn grace_left(&self, grace: Duration) -> Option<Duration> {
        let left = grace.checked_sub(self.since.elapsed()).filter(|left| !left.is_zero());
        left.filter(|_| self.caller.is_none() && !self.asked)
    }
}

impl ConnectionSlot {
    /// Completes when another connection has displaced this one.
    pub(crate) async fn displaced(&self) {
        self.end.cancelled().await;
    }

    /// Whether the connection may run now. Otherwise it is woken when it may.
    pub(crate) fn may_run(&self, waker: &Waker) -> bool {
        let flow = self.flow.lock().clone();
        self.slots.scheduler.may_run(&flow, &self.ticket, waker)
    }

    /// Changes the entry unless the connection was displaced. Its flow may change: to that of its caller, or to a new
    /// one if it is the only connection of its group.
    fn update(&self, table: &mut SlotTable, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = table.remove(self.id) {
            change(&mut entry);
            *self.flow.lock() = table.insert(self.id, entry);
        }
    }

    /// Assigns the current request to this caller. From here to the end of its reply the connection is not displaced.
    ///
    /// # Errors
    /// `rate_limited` when requests of this caller already take its share of the slots.
    pub(crate) fn serve(&self, caller: ShareHolder) -> Result<(), Error> {
        let mut table = self.slots.table.lock();
        // A displaced connection is about to end.
        if !table.entries.contains_key(&self.id) {
            return Ok(());
        }
        let mut share = self.slots.serving.share_for(caller.clone());
        if share.resize(1).is_err() {
            let mut error = Error::new(Code::RateLimited, "too many concurrent requests of this caller; send fewer");
            error.retry_after = Some(Duration::from_secs(1));
            return Err(error);
        }
        self.update(&mut table, |entry| {
            entry.caller = Some(caller);
            entry.serving = Some(share);
        });
        Ok(())
    }

    /// Records that the reply was handed over to be written.
    pub(crate) fn replied(&self) {
        self.replied.store(true, Ordering::Release);
    }

    /// Records that everything handed over has been written: the connection is idle again if its reply was handed over.
    pub(crate) fn flushed(&self) {
        if !self.replied.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut table = self.slots.table.lock();
        table.tick += 1;
        let tick = table.tick;
        self.update(&mut table, |entry| {
            entry.used = tick;
            entry.asked = entry.caller.is_none();
            entry.serving = None;
        });
        drop(table);
        self.slots.freed.notify_one();
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.table.lock().remove(self.id);
        self.slots.freed.notify_one();
    }
}

/// The network that counts as one address: an IPv6 client usually has all 2^64 addresses of its network.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Share of the slots, a quarter, that is left to connections which have shown no credential yet.
const UNAUTHENTICATED_SHARE: usize = 4;

#[cfg(test)]
mod tests;
