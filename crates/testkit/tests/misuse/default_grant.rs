//! A grant does not come from nothing.

fn main() {
    let _: access::Grant<access::Search> = Default::default();
}
