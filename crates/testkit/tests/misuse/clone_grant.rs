//! A grant is for one request: it cannot be copied and kept.

fn keep(grant: &access::Grant<access::Search>) -> access::Grant<access::Search> {
    grant.clone()
}

fn main() {}
