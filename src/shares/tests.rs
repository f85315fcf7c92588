//! No caller can fill a pool, and each returns what it held.

use super::*;

fn tenant(n: u8) -> ShareHolder {
    ShareHolder::Tenant(Incarnation::from_bytes([n; 16]))
}

#[test]
fn one_caller_gets_half_and_the_next_one_always_gets_something() {
    let pool = SharePool::new(1_024, 1);
    let mut held = Vec::new();
    for n in 0..9 {
        let mut got = 0;
        loop {
            let mut share = pool.share_for(tenant(n));
            if share.resize(1).is_err() {
                break;
            }
            got += 1;
            held.push(share);
        }
        assert_eq!(got, 512 >> n, "caller {n}");
    }
    drop(held);
    let mut share = pool.share_for(tenant(9));
    share.resize(512).expect("everything was returned");
    assert_eq!(share.resize(513), Err(Exhausted::Pool));
    share.resize(100).expect("less is never refused");
    let mut second = pool.share_for(tenant(9));
    second.resize(412).expect("half in all");
    assert_eq!(second.resize(413), Err(Exhausted::Share));
}

#[test]
fn a_caller_that_holds_nothing_gets_the_initial_amount_while_it_is_free() {
    let pool = SharePool::new(2, 1);
    let mut first = pool.share_for(tenant(1));
    first.resize(1).expect("one");
    let mut again = pool.share_for(tenant(1));
    assert_eq!(again.resize(1), Err(Exhausted::Share));
    let mut second = pool.share_for(tenant(2));
    second.resize(1).expect("the last one");
    assert_eq!(pool.share_for(tenant(3)).resize(1), Err(Exhausted::Pool));
    drop(first);
    pool.share_for(tenant(3)).resize(1).expect("returned");
}
