//! A grant cannot be made by hand: its fields are private, and only the gate fills them.

fn main() {
    let _ = access::Grant::<access::Search> { tenant: kernel::TenantId::parse("acme").unwrap() };
}
