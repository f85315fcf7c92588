//! The proof that a request was audited cannot be made by hand.

fn main() {
    let _ = ledger::Audited { body: 1 };
}
