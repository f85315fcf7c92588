//! An operator's proof becomes a grant only for a custodial action, never for one that reads.

fn look(gate: &access::Gate, operator: &access::Operator, tenant: &kernel::TenantId) {
    let _ = gate.delegate::<access::Search>(operator, tenant);
}

fn main() {}
