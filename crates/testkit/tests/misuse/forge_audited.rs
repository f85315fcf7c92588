//! "It stands in the audit" cannot be said by hand.

fn main() {
    let _ = ledger::Audited { body: 1 };
}
