//! Who loses a place to whom.

use super::*;
use futures::FutureExt;
use kernel::Incarnation;
use std::net::Ipv4Addr;

fn address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))
}

fn caller(n: u8) -> Caller {
    Caller::Tenant(Incarnation::from_bytes([n; 16]))
}

/// Places that are displaced however new they are.
fn at_once(max: usize) -> Arc<Places> {
    Places::with_grace(max, TaskTracker::new(), Duration::ZERO)
}

fn take(places: &Arc<Places>, from: u8) -> Place {
    places.take(address(from)).now_or_never().expect("a place at once")
}

fn is_displaced(place: &Place) -> bool {
    place.end.is_cancelled()
}

/// A connection on which a request of this caller was answered.
fn known(places: &Arc<Places>, from: u8, who: u8) -> Place {
    let place = take(places, from);
    place.serve(caller(who)).expect("served");
    place.replied();
    place.flushed();
    place
}

#[test]
fn a_crowd_from_one_address_keeps_no_other_out() {
    let places = at_once(8);
    let crowd: Vec<_> = (0..8).map(|_| take(&places, 1)).collect();
    let others: Vec<_> = (2..6).map(|n| take(&places, n)).collect();
    assert_eq!(crowd.iter().filter(|p| is_displaced(p)).count(), 4);
    assert!(is_displaced(&crowd[0]) && !is_displaced(&crowd[7]), "the longest there go first");
    assert!(!others.iter().any(is_displaced));
    // More of the crowd displace their own.
    let more: Vec<_> = (0..100).map(|_| take(&places, 1)).collect();
    assert!(!others.iter().any(is_displaced));
    assert_eq!(more.iter().filter(|p| !is_displaced(p)).count(), 4);
    assert_eq!(places.lock().entries.len(), 8);
}

/// The rule of the module, by a look at every connection.
fn displaced(table: &Table, max: usize) -> Option<u64> {
    let count = |of: &dyn Fn(&Entry) -> bool| table.entries.values().filter(|entry| of(entry)).count();
    let spare_strangers = count(&|entry| entry.caller.is_none()) <= max / STRANGERS_SHARE;
    let rank = |entry: &Entry| {
        let crowd = match &entry.caller {
            Some(caller) => count(&|other| other.caller.as_ref() == Some(caller)),
            None => count(&|other| other.address == entry.address),
        };
        (entry.caller.is_some() == spare_strangers, crowd, entry.asked, std::cmp::Reverse(entry.used))
    };
    let idle = table.entries.iter().filter(|(_, entry)| entry.serving.is_none());
    idle.max_by_key(|(_, entry)| rank(entry)).map(|(id, _)| *id)
}

proptest::proptest! {
    #[test]
    fn the_order_is_that_of_the_rule(max in 1usize..14, acts in proptest::collection::vec((0u8..10, 0u8..4, 0usize..20), 0..120)) {
        let places = at_once(max);
        let mut held: Vec<Place> = Vec::new();
        for (act, who, which) in acts {
            match act {
                0..=4 => held.extend(places.take_now(address(who))),
                5 if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                _ if held.is_empty() => {}
                6 | 7 => drop(held[which % held.len()].serve(caller(who))),
                _ => {
                    held[which % held.len()].replied();
                    held[which % held.len()].flushed();
                }
            }
            let table = places.lock();
            proptest::prop_assert_eq!(table.displaced(max), displaced(&table, max));
            for place in held.iter().filter(|place| !is_displaced(place)) {
                let theirs = table.order.flow(&table.entries[&place.id]);
                proptest::prop_assert!(Arc::ptr_eq(&place.flow.lock().unwrap(), &theirs), "scheduled with its group");
            }
            for n in 0..4 {
                let counted = table.entries.values().filter(|entry| entry.address == address(n)).count();
                proptest::prop_assert_eq!(table.order.of(address(n)), counted);
            }
        }
        drop(held);
        proptest::prop_assert!(places.lock().order.is_empty(), "nothing is left of those that went");
    }
}

#[test]
fn connections_without_a_credential_go_before_those_of_known_callers() {
    let places = at_once(8);
    let friend = known(&places, 1, 1);
    let crowd: Vec<_> = (0..7).map(|_| take(&places, 1)).collect();
    let newcomers: Vec<_> = (0..50).map(|_| take(&places, 2)).collect();
    assert!(!is_displaced(&friend), "it is idle, and the oldest");
    assert!(crowd.iter().filter(|p| is_displaced(p)).count() >= 3);
    drop(newcomers);
}

#[test]
fn idle_connections_of_one_caller_leave_places_to_newcomers_and_to_others() {
    let places = at_once(8);
    let hoard: Vec<_> = (0..7).map(|_| known(&places, 1, 1)).collect();
    let other = known(&places, 2, 2);
    let newcomers: Vec<_> = (0..50).map(|_| take(&places, 3)).collect();
    assert_eq!(newcomers.iter().filter(|p| !is_displaced(p)).count(), 3, "more than a quarter of the places");
    assert!(!is_displaced(&other));
    assert_eq!(hoard.iter().filter(|p| is_displaced(p)).count(), 3);
}

#[test]
fn a_request_of_a_known_caller_is_served_to_its_end_and_one_caller_gets_half() {
    let places = at_once(4);
    let all: Vec<_> = (0..4).map(|_| take(&places, 1)).collect();
    all[0].serve(caller(1)).expect("one");
    all[1].serve(caller(1)).expect("half");
    assert_eq!(all[2].serve(caller(1)).expect_err("more than half").code, Code::RateLimited);
    all[2].serve(caller(2)).expect("another's");
    all[3].serve(caller(3)).expect("the last one");
    assert!(places.take(address(2)).now_or_never().is_none(), "none may be displaced");
    all[1].flushed();
    assert!(places.take(address(2)).now_or_never().is_none(), "its reply is not made yet");
    all[1].replied();
    all[1].flushed();
    let next = take(&places, 2);
    assert!(is_displaced(&all[1]) && !is_displaced(&next));
    all[1].serve(caller(1)).expect("too late to matter: it ends");
    assert!(places.lock().entries.len() == 4);
}

#[tokio::test]
async fn who_waits_gets_the_next_place_that_is_free() {
    let places = at_once(1);
    let one = take(&places, 1);
    one.serve(caller(1)).expect("served");
    let (next, ()) = tokio::join!(places.take(address(2)), async {
        tokio::task::yield_now().await;
        drop(one);
    });
    drop(next);
    assert!(places.lock().entries.is_empty());
}

#[test]
fn addresses_of_one_network_are_one() {
    let parse = |text: &str| network(text.parse().expect("an address"));
    assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
    assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
    assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
    assert_ne!(parse("192.0.2.1"), parse("192.0.2.2"));
}

#[tokio::test]
async fn a_new_connection_has_a_moment_to_show_its_credential() {
    let places = Places::with_grace(2, TaskTracker::new(), Duration::from_secs(3_600));
    let asked = take(&places, 1);
    let silent = take(&places, 1);
    assert!(places.take(address(1)).now_or_never().is_none(), "both are new");
    // One that has asked without a credential has had its moment.
    asked.replied();
    asked.flushed();
    let third = take(&places, 1);
    assert!(is_displaced(&asked) && !is_displaced(&silent));
    drop((silent, third));

    // A crowd has none, where one comes from elsewhere.
    let places = Places::with_grace(2, TaskTracker::new(), Duration::from_secs(3_600));
    let crowd = [take(&places, 1), take(&places, 1)];
    assert!(places.take_now(address(1)).is_none() && !crowd.iter().any(is_displaced));
    let other = places.take_now(address(2)).expect("a place at once");
    assert_eq!(crowd.iter().filter(|place| is_displaced(place)).count(), 1);
    assert!(places.take_now(address(2)).is_none() && !is_displaced(&other), "one each is no crowd");

    let places = Places::with_grace(1, TaskTracker::new(), Duration::from_millis(30));
    let first = take(&places, 1);
    let second = places.take(address(2)).await;
    assert!(is_displaced(&first) && !is_displaced(&second), "its moment is over");
}
