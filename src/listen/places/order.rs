//! The order in which idle connections lose their places, kept as they come, serve and go: a crowd causes a question for
//! each of its connections, so none may cost a look at all of them.

use super::Entry;
use crate::{listen::fair::Flow, shares::Caller};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

/// See the module.
#[derive(Default)]
pub(super) struct Order {
    groups: HashMap<Group, Members>,
    /// The first idle connection of each address that has some without a credential. The last goes first.
    strangers: BTreeSet<Rank>,
    /// The first idle connection of each caller.
    known: BTreeSet<Rank>,
    /// Connections without a credential.
    strangers_count: usize,
}

/// Connections that are counted together.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Group {
    Address(IpAddr),
    Caller(Caller),
}

#[derive(Default)]
struct Members {
    count: usize,
    idle: BTreeSet<Turn>,
    flow: Arc<Flow>,
}

/// A group's first turn, after the number of the group's connections.
type Rank = (usize, Reverse<Turn>);

/// When an idle connection goes, among those of its group: those that have asked without a credential before silent ones,
/// then the longest unused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    silent: bool,
    used: u64,
    id: u64,
}

impl Order {
    /// The flow of its caller, or of its address while it has none.
    pub(super) fn add(&mut self, id: u64, entry: &Entry) -> Arc<Flow> {
        self.strangers_count += usize::from(entry.caller.is_none());
        self.each(id, entry, |members, turn| {
            members.count += 1;
            members.idle.extend(turn);
        });
        self.flow(entry)
    }

    /// The same, of a connection that was added.
    pub(super) fn flow(&self, entry: &Entry) -> Arc<Flow> {
        let group = entry.caller.clone().map_or(Group::Address(entry.address), Group::Caller);
        self.groups.get(&group).map(|members| members.flow.clone()).unwrap_or_default()
    }

    pub(super) fn remove(&mut self, id: u64, entry: &Entry) {
        self.strangers_count -= usize::from(entry.caller.is_none());
        self.each(id, entry, |members, turn| {
            members.count -= 1;
            if let Some(turn) = turn {
                members.idle.remove(&turn);
            }
        });
    }

    /// How many connections an address has.
    pub(super) fn of(&self, address: IpAddr) -> usize {
        self.groups.get(&Group::Address(address)).map_or(0, |members| members.count)
    }

    /// The connection that loses its place to a new one. With at most `strangers_min` places among those without a
    /// credential, new clients would displace each other before they can show one, so that others go first.
    pub(super) fn first(&self, strangers_min: usize) -> Option<u64> {
        let (first, then) = match self.strangers_count <= strangers_min {
            true => (&self.known, &self.strangers),
            false => (&self.strangers, &self.known),
        };
        first.last().or_else(|| then.last()).map(|(_, Reverse(turn))| turn.id)
    }

    /// Changes both groups of a connection; the one in which it is idle, if it is, gets its turn.
    fn each(&mut self, id: u64, entry: &Entry, change: impl Fn(&mut Members, Option<Turn>)) {
        let turn = entry.serving.is_none().then_some(Turn { silent: !entry.asked, used: entry.used, id });
        let stranger = turn.filter(|_| entry.caller.is_none());
        self.change(Group::Address(entry.address), |members| change(members, stranger));
        if let Some(caller) = &entry.caller {
            self.change(Group::Caller(caller.clone()), |members| change(members, turn));
        }
    }

    fn change(&mut self, group: Group, change: impl FnOnce(&mut Members)) {
        let ranks = match group {
            Group::Address(_) => &mut self.strangers,
            Group::Caller(_) => &mut self.known,
        };
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
impl Order {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.strangers.is_empty() && self.known.is_empty() && self.strangers_count == 0
    }
}

impl Members {
    fn rank(&self) -> Option<Rank> {
        self.idle.first().map(|turn| (self.count, Reverse(*turn)))
    }
}
