//! A grant has no default value.

fn main() {
    let _: access::Grant<access::Search> = Default::default();
}
