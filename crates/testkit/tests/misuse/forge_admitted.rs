//! "It was screened" cannot be said by hand.

fn main() {
    let _ = intake::Admitted {};
}
