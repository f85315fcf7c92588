//! Code that must not compile: one small file for each guarantee that the types give (`docs/isolation.md`).
//!
//! After a change of the compiler or of a public type, review each difference, and then run `TRYBUILD=overwrite cargo
//! test -p testkit --test misuse`.

use std::marker::PhantomData;

#[test]
fn misuses_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}

/// Two implementations of `probe`. A type that can be deserialised has both, and the call below is ambiguous.
trait NotFromBytes<Way> {
    fn probe(&self) -> bool {
        true
    }
}

struct FromBytes;

impl<T> NotFromBytes<()> for PhantomData<T> {}
impl<T: serde::de::DeserializeOwned> NotFromBytes<FromBytes> for PhantomData<T> {}

/// The reverse of the cases in `tests/misuse/`: this file compiles only while the guarantee holds. (The compiler's
/// message would list every deserialisable type of every library.)
#[test]
fn a_grant_does_not_come_from_bytes() {
    assert!(PhantomData::<access::Grant<access::Search>>.probe());
    assert!(PhantomData::<access::Operator>.probe());
    assert!(PhantomData::<access::BackgroundGrant>.probe());
    assert!(PhantomData::<ledger::Audited<()>>.probe());
}
