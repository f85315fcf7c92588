//! The order in which idle connections are displaced, updated as connections arrive, serve and end. With many
//! connections at the limit each new one asks for the next in this order, so no operation may cost a scan of all
//! connections.

use super::Entry;
use crate::{listen::fair::Flow, shares::ShareHolder};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

/// Idle connections in the order of displacement; see the module.
#[derive(Default)]
pub(super) struct DisplacementOrder {
    groups: HashMap<SlotGroup, GroupState>,
    /// The first idle connection of each address that has some without a credential. The last element is displaced
    /// first.
    unauthenticated: BTreeSet<GroupRank>,
    /// The first idle connection of each caller. The last element is displaced first.
    authenticated: BTreeSet<GroupRank>,
    /// Number of connections without a credential.
    unauthenticated_count: usize,
}

/// Key of connections that are counted together.
#[derive(Clone, PartialEq, Eq, Hash)]
enum SlotGroup {
    Address(IpAddr),
    Caller(ShareHolder),
}

#[derive(Default)]
struct GroupState {
    count: usize,
    idle: BTreeSet<IdleEntry>,
    flow: Arc<Flow>,
}

/// A group's first idle connection, ordered by the number of the group's connections.
type GroupRank = (usize, Reverse<IdleEntry>);

/// Order in which the idle connections of one group are displaced: those that have sent a request without a credential
/// before silent ones, then the longest unused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct IdleEntry {
    silent: bool,
    used: u64,
    id: u64,
}

impl DisplacementOrder {
    /// Adds a connection. Returns the flow of its caller, or of its address while it has no caller.
    pub(super) fn add(&mut self, id: u64, entry: &Entry) -> Arc<Flow> {
        self.unauthenticated_count += usize::from(entry.caller.is_none());
        self.update_groups(id, entry, |members, idle| {
            members.count += 1;
            members.idle.extend(idle);
        });
        self.flow(entry)
    }

    /// The flow of a connection that was added: that of its caller, or of its address while it has no caller.
    pub(super) fn flow(&self, entry: &Entry) -> Arc<Flow> {
        let group = entry.caller.clone().map_or(SlotGroup::Address(entry.address), SlotGroup::Caller);
        self.groups.get(&group).map(|members| members.flow.clone()).unwrap_or_default()
    }

    pub(super) fn remove(&mut self, id: u64, entry: &Entry) {
        self.unauthenticated_count -= usize::from(entry.caller.is_none());
        self.update_groups(id, entry, |members, idle| {
            members.count -= 1;
            if let Some(idle) = idle {
                members.idle.remove(&idle);
            }
        });
    }

    /// Number of connections of an address.
    pub(super) fn connections_of(&self, address: IpAddr) -> usize {
        self.groups.get(&SlotGroup::Address(address)).map_or(0, |members| members.count)
    }

    /// The connection to displace for a new one. With at most `unauthenticated_min` slots held without a credential,
    /// new clients would displace each other before they can show one, so authenticated connections go first.
    pub(super) fn first(&self, unauthenticated_min: usize) -> Option<u64> {
        let (first, then) = match self.unauthenticated_count <= unauthenticated_min {
            true => (&self.authenticated, &self.unauthenticated),
            false => (&self.unauthenticated, &self.authenticated),
        };
        first.last().or_else(|| then.last()).map(|(_, Reverse(idle))| idle.id)
    }

    /// Changes both groups of a connection; the group in which it is idle, if any, gets its entry.
    fn update_groups(&mut self, id: u64, entry: &Entry, change: impl Fn(&mut GroupState, Option<IdleEntry>)) {
        let idle = entry.serving.is_none().then_some(IdleEntry { silent: !entry.asked, used: entry.used, id });
        let idle_unauthenticated = idle.filter(|_| entry.caller.is_none());
        self.update_group(SlotGroup::Address(entry.address), |members| change(members, idle_unauthenticated));
        if let Some(caller) = &entry.caller {
            self.update_group(SlotGroup::Caller(caller.clone()), |members| change(members, idle));
        }
    }

    fn update_group(&mut self, group: SlotGroup, change: impl FnOnce(&mut GroupState)) {
        let ranks = match group {
            SlotGroup::Address(_) => &mut self.unauthenticated,
            SlotGroup::Caller(_) => &mut self.authenticated,
        };
        // The rank depends on the count and on the first idle connection, so it is removed before the change and
        // inserted after it.
        let mut members = self.groups.remove(&group).unwrap_or_default();
        if let Some(rank) = members.rank() {
            ranks.remove(&rank);
        }
        change(&mut members);
        ranks.extend(members.rank());
        members.flow.count(members.count);
        if members.count > 0 {
            self.groups.insert(group, members);
        }
    }
}

#[cfg(test)]
impl DisplacementOrder {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
            && self.unauthenticated.is_empty()
            && self.authenticated.is_empty()
            && self.unauthenticated_count == 0
    }
}

impl GroupState {
    fn rank(&self) -> Option<GroupRank> {
        self.idle.first().map(|idle| (self.count, Reverse(*idle)))
    }
}
