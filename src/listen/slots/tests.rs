//! Which connection is displaced by which.

use super::*;
use futures::FutureExt;
use kernel::Incarnation;
use std::net::Ipv4Addr;

fn address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))
}

fn caller(n: u8) -> ShareHolder {
    ShareHolder::Tenant(Incarnation::from_bytes([n; 16]))
}

/// Slots without grace time.
fn without_grace(max: usize) -> Arc<ConnectionSlots> {
    ConnectionSlots::with_grace(max, TaskTracker::new(), Duration::ZERO)
}

fn acquire(slots: &Arc<ConnectionSlots>, from: u8) -> ConnectionSlot {
    slots.acquire(address(from)).now_or_never().expect("a slot immediately")
}

fn is_displaced(slot: &ConnectionSlot) -> bool {
    slot.end.is_cancelled()
}

/// A connection on which a request of this caller was answered.
fn authenticated(slots: &Arc<ConnectionSlots>, from: u8, n: u8) -> ConnectionSlot {
    let slot = acquire(slots, from);
    slot.serve(caller(n)).expect("served");
    slot.replied();
    slot.flushed();
    slot
}

#[test]
fn a_crowd_from_one_address_does_not_keep_others_out() {
    let slots = without_grace(8);
    let crowd: Vec<_> = (0..8).map(|_| acquire(&slots, 1)).collect();
    let others: Vec<_> = (2..6).map(|n| acquire(&slots, n)).collect();
    assert_eq!(crowd.iter().filter(|p| is_displaced(p)).count(), 4);
    assert!(is_displaced(&crowd[0]) && !is_displaced(&crowd[7]), "the oldest are displaced first");
    assert!(!others.iter().any(is_displaced));
    // Further connections of the crowd displace those of the same address.
    let more: Vec<_> = (0..100).map(|_| acquire(&slots, 1)).collect();
    assert!(!others.iter().any(is_displaced));
    assert_eq!(more.iter().filter(|p| !is_displaced(p)).count(), 4);
    assert_eq!(slots.table.lock().entries.len(), 8);
}

/// The rule of the module, computed by a scan of all connections.
fn displaced(table: &SlotTable, max: usize) -> Option<u64> {
    let count = |of: &dyn Fn(&Entry) -> bool| table.entries.values().filter(|entry| of(entry)).count();
    let spare_unauthenticated = count(&|entry| entry.caller.is_none()) <= max / UNAUTHENTICATED_SHARE;
    let rank = |entry: &Entry| {
        let crowd = match &entry.caller {
            Some(caller) => count(&|other| other.caller.as_ref() == Some(caller)),
            None => count(&|other| other.address == entry.address),
        };
        (entry.caller.is_some() == spare_unauthenticated, crowd, entry.asked, std::cmp::Reverse(entry.used))
    };
    let idle = table.entries.iter().filter(|(_, entry)| entry.serving.is_none());
    idle.max_by_key(|(_, entry)| rank(entry)).map(|(id, _)| *id)
}

proptest::proptest! {
    #[test]
    fn the_order_follows_the_rule(
        max in 1usize..14,
        acts in proptest::collection::vec((0u8..10, 0u8..4, 0usize..20), 0..120),
    ) {
        let slots = without_grace(max);
        let mut held: Vec<ConnectionSlot> = Vec::new();
        for (act, n, which) in acts {
            match act {
                0..=4 => held.extend(slots.try_acquire(address(n))),
                5 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                _ if held.is_empty() => {}
                6 | 7 => drop(held[which % held.len()].serve(caller(n))),
                _ => {
                    held[which % held.len()].replied();
                    held[which % held.len()].flushed();
                }
            }
            let table = slots.table.lock();
            proptest::prop_assert_eq!(table.displaced(max), displaced(&table, max));
            for slot in held.iter().filter(|slot| !is_displaced(slot)) {
                let theirs = table.order.flow(&table.entries[&slot.id]);
                proptest::prop_assert!(Arc::ptr_eq(&slot.flow.lock(), &theirs), "scheduled with its group");
            }
            for n in 0..4 {
                let counted = table.entries.values().filter(|entry| entry.address == address(n)).count();
                proptest::prop_assert_eq!(table.order.connections_of(address(n)), counted);
            }
        }
        drop(held);
        proptest::prop_assert!(slots.table.lock().order.is_empty(), "nothing is left of displaced connections");
    }
}

#[test]
fn connections_without_a_credential_are_displaced_before_those_of_callers() {
    let slots = without_grace(8);
    let friend = authenticated(&slots, 1, 1);
    let crowd: Vec<_> = (0..7).map(|_| acquire(&slots, 1)).collect();
    let newcomers: Vec<_> = (0..50).map(|_| acquire(&slots, 2)).collect();
    assert!(!is_displaced(&friend), "it is idle, and the oldest");
    assert!(crowd.iter().filter(|p| is_displaced(p)).count() >= 3);
    drop(newcomers);
}

#[test]
fn idle_connections_of_one_caller_leave_slots_to_new_clients_and_to_others() {
    let slots = without_grace(8);
    let hoard: Vec<_> = (0..7).map(|_| authenticated(&slots, 1, 1)).collect();
    let other = authenticated(&slots, 2, 2);
    let newcomers: Vec<_> = (0..50).map(|_| acquire(&slots, 3)).collect();
    assert_eq!(newcomers.iter().filter(|p| !is_displaced(p)).count(), 3, "more than a quarter of the places");
    assert!(!is_displaced(&other));
    assert_eq!(hoard.iter().filter(|p| is_displaced(p)).count(), 3);
}

#[test]
fn a_request_of_a_caller_is_served_to_its_end_and_one_caller_gets_half() {
    let slots = without_grace(4);
    let all: Vec<_> = (0..4).map(|_| acquire(&slots, 1)).collect();
    all[0].serve(caller(1)).expect("one");
    all[1].serve(caller(1)).expect("half");
    assert_eq!(all[2].serve(caller(1)).expect_err("more than half").code, Code::RateLimited);
    all[2].serve(caller(2)).expect("another's");
    all[3].serve(caller(3)).expect("the last one");
    assert!(slots.acquire(address(2)).now_or_never().is_none(), "none may be displaced");
    all[1].flushed();
    assert!(slots.acquire(address(2)).now_or_never().is_none(), "its reply is not made yet");
    all[1].replied();
    all[1].flushed();
    let next = acquire(&slots, 2);
    assert!(is_displaced(&all[1]) && !is_displaced(&next));
    all[1].serve(caller(1)).expect("too late to matter: it ends");
    assert!(slots.table.lock().entries.len() == 4);
}

#[tokio::test]
async fn a_waiting_connection_gets_the_next_free_slot() {
    let slots = without_grace(1);
    let one = acquire(&slots, 1);
    one.serve(caller(1)).expect("served");
    let (next, ()) = tokio::join!(slots.acquire(address(2)), async {
        tokio::task::yield_now().await;
        drop(one);
    });
    drop(next);
    assert!(slots.table.lock().entries.is_empty());
}

#[test]
fn addresses_of_one_network_count_as_one() {
    let parse = |text: &str| network_of(text.parse().expect("an address"));
    assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
    assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
    assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
    assert_ne!(parse("192.0.2.1"), parse("192.0.2.2"));
}

#[tokio::test]
async fn a_new_connection_has_a_grace_time_to_show_its_credential() {
    let slots = ConnectionSlots::with_grace(2, TaskTracker::new(), Duration::from_secs(3_600));
    let asked = acquire(&slots, 1);
    let silent = acquire(&slots, 1);
    assert!(slots.acquire(address(1)).now_or_never().is_none(), "both are new");
    // A connection that has sent a request without a credential has used its grace time.
    asked.replied();
    asked.flushed();
    let third = acquire(&slots, 1);
    assert!(is_displaced(&asked) && !is_displaced(&silent));
    drop((silent, third));

    // A crowd has no grace time against a connection from another address.
    let slots = ConnectionSlots::with_grace(2, TaskTracker::new(), Duration::from_secs(3_600));
    let crowd = [acquire(&slots, 1), acquire(&slots, 1)];
    assert!(slots.try_acquire(address(1)).is_none() && !crowd.iter().any(is_displaced));
    let other = slots.try_acquire(address(2)).expect("a slot immediately");
    assert_eq!(crowd.iter().filter(|slot| is_displaced(slot)).count(), 1);
    assert!(slots.try_acquire(address(2)).is_none() && !is_displaced(&other), "one each is no crowd");

    let slots = ConnectionSlots::with_grace(1, TaskTracker::new(), Duration::from_millis(30));
    let first = acquire(&slots, 1);
    let second = slots.acquire(address(2)).await;
    assert!(is_displaced(&first) && !is_displaced(&second), "its grace time is over");
}
