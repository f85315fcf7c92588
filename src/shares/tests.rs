//! No caller fills a pool, and each gives back what it held.

use super::*;

fn tenant(n: u8) -> Caller {
    Caller::Tenant(Incarnation::from_bytes([n; 16]))
}

#[test]
fn one_caller_gets_half_and_the_next_always_something() {
    let pool = Pool::new(1_024, 1);
    let mut held = Vec::new();
    for n in 0..9 {
        let mut got = 0;
        loop {
            let mut share = pool.enter(tenant(n));
            if share.resize(1).is_err() {
                break;
            }
            got += 1;
            held.push(share);
        }
        assert_eq!(got, 512 >> n, "caller {n}");
    }
    drop(held);
    let mut share = pool.enter(tenant(9));
    share.resize(512).expect("all was given back");
    assert_eq!(share.resize(513), Err(Full::Pool));
    share.resize(100).expect("less is never refused");
    let mut second = pool.enter(tenant(9));
    second.resize(412).expect("half in all");
    assert_eq!(second.resize(413), Err(Full::Share));
}

#[test]
fn a_caller_that_holds_nothing_gets_its_first_while_it_is_there() {
    let pool = Pool::new(2, 1);
    let mut first = pool.enter(tenant(1));
    first.resize(1).expect("one");
    let mut again = pool.enter(tenant(1));
    assert_eq!(again.resize(1), Err(Full::Share));
    let mut second = pool.enter(tenant(2));
    second.resize(1).expect("the last one");
    assert_eq!(pool.enter(tenant(3)).resize(1), Err(Full::Pool));
    drop(first);
    pool.enter(tenant(3)).resize(1).expect("given back");
}
