//! What must not compile: one small file per promise that the types make (`docs/isolation.md`).
//!
//! After a change of the compiler or of a public type, look at each difference, then
//! `TRYBUILD=overwrite cargo test -p testkit --test misuse`.

use std::marker::PhantomData;

#[test]
fn misuses_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}

/// Two ways to have `probe`; whoever can be deserialised has both, and the call below is ambiguous.
trait NotFromBytes<Way> {
    fn probe(&self) -> bool {
        true
    }
}

struct FromBytes;

impl<T> NotFromBytes<()> for PhantomData<T> {}
impl<T: serde::de::DeserializeOwned> NotFromBytes<FromBytes> for PhantomData<T> {}

/// Said the other way round than in `tests/misuse/`: this file compiles only while it holds. (The
/// compiler's message would list every type of every library that can be deserialised.)
#[test]
fn a_grant_does_not_come_from_bytes() {
    assert!(PhantomData::<access::Grant<access::Search>>.probe());
    assert!(PhantomData::<access::Operator>.probe());
    assert!(PhantomData::<access::Tenure>.probe());
    assert!(PhantomData::<ledger::Audited<()>>.probe());
}
