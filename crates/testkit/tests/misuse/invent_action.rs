//! The set of actions is closed: no other crate can add "everything".

enum Everything {}

impl access::Action for Everything {
    const NAME: &'static str = "everything";
    const SCOPE: Option<kernel::Scope> = None;
}

fn main() {}
