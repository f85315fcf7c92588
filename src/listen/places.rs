//! The places of one listener: who has one, and who gives it up when all are taken.
//!
//! At the limit a new connection displaces another, so that a crowd which holds connections open keeps no client out. The
//! order: first those that never carried a valid credential, of the address that has most of them, the longest idle
//! first; then idle ones of the caller that has most. A connection that serves a request of a known caller is never
//! displaced, and one caller serves requests on at most as many as it leaves free.
//!
//! There is no fixed number for an address: behind a proxy all clients have one. The address that has most loses first,
//! so that another gets its half whenever it wants it.

use crate::shares::{Caller, Pool, Share};
use kernel::{Code, Error};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// See the module.
pub(crate) struct Places {
    table: Mutex<Table>,
    max: usize,
    /// A place was given back, or may be displaced now.
    freed: Notify,
    /// Places whose connections serve a request of a known caller.
    serving: Arc<Pool>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    /// Names entries and orders their last use.
    tick: u64,
}

struct Entry {
    address: IpAddr,
    caller: Option<Caller>,
    serving: Option<Share>,
    used: u64,
    end: CancellationToken,
}

/// One connection's place, until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    /// Cancelled when the place is another's.
    end: CancellationToken,
    replied: AtomicBool,
}

impl Places {
    /// Places for `max` connections at once.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = max.max(1);
        Arc::new(Self { table: Mutex::default(), max, freed: Notify::new(), serving: Pool::new(max, 1) })
    }

    /// A place for a connection from this address: a free one, or another's, or the next that becomes free.
    pub(crate) async fn take(self: &Arc<Self>, address: IpAddr) -> Place {
        let address = network(address);
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_take(address) {
                return place;
            }
            freed.await;
        }
    }

    fn try_take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut table = self.lock();
        if table.entries.len() >= self.max {
            let displaced = table.displaced(self.max)?;
            let entry = table.entries.remove(&displaced)?;
            entry.end.cancel();
        }
        table.tick += 1;
        let (id, end) = (table.tick, CancellationToken::new());
        let entry = Entry { address, caller: None, serving: None, used: id, end: end.clone() };
        table.entries.insert(id, entry);
        Some(Place { places: self.clone(), id, end, replied: AtomicBool::new(false) })
    }

    /// Nothing panics while holding this lock.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Who loses its place to a new connection.
    fn displaced(&self, max: usize) -> Option<u64> {
        let mut addresses: HashMap<IpAddr, usize> = HashMap::new();
        let mut callers: HashMap<&Caller, usize> = HashMap::new();
        let mut strangers = 0;
        for entry in self.entries.values() {
            *addresses.entry(entry.address).or_default() += 1;
            match &entry.caller {
                Some(caller) => *callers.entry(caller).or_default() += 1,
                None => strangers += 1,
            }
        }
        // With too few places among them new clients would displace each other before they can show a credential.
        let spare_strangers = strangers <= max / STRANGERS_SHARE;
        let idle = self.entries.iter().filter(|(_, entry)| entry.serving.is_none());
        idle.max_by_key(|(_, entry)| {
            let crowd = match &entry.caller {
                Some(caller) => callers.get(caller).copied(),
                None => addresses.get(&entry.address).copied(),
            };
            (entry.caller.is_some() == spare_strangers, crowd, std::cmp::Reverse(entry.used))
        })
        .map(|(id, _)| *id)
    }
}

impl Place {
    /// Comes when another connection has this place.
    pub(crate) async fn displaced(&self) {
        self.end.cancelled().await;
    }

    /// The request under way is this caller's. From here to the end of its reply the connection is not displaced.
    ///
    /// # Errors
    /// `rate_limited` when requests of this caller take its share of the places already.
    pub(crate) fn serve(&self, caller: Caller) -> Result<(), Error> {
        let mut table = self.places.lock();
        // One that was displaced ends in this moment.
        let Some(entry) = table.entries.get_mut(&self.id) else { return Ok(()) };
        let mut share = self.places.serving.enter(caller.clone());
        if share.resize(1).is_err() {
            let mut error = Error::new(Code::RateLimited, "too many connections serve requests of this caller at once");
            error.retry_after = Some(Duration::from_secs(1));
            return Err(error);
        }
        entry.caller = Some(caller);
        entry.serving = Some(share);
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
        if let Some(entry) = table.entries.get_mut(&self.id) {
            entry.used = tick;
            entry.serving = None;
        }
        drop(table);
        self.places.freed.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().entries.remove(&self.id);
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
