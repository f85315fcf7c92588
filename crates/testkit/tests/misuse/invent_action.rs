//! The family of actions is closed: nobody else adds "everything".

enum Everything {}

impl access::Action for Everything {
    const NAME: &'static str = "everything";
    const SCOPE: Option<kernel::Scope> = None;
}

fn main() {}
