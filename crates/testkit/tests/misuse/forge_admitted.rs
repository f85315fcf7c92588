//! The proof that a document was screened cannot be made by hand.

fn main() {
    let _ = intake::Admitted {};
}
