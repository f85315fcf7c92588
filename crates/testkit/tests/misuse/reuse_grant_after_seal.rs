//! The audit record ends the request: after it there is no grant with which to access data.

async fn after(audit_log: ledger::AuditLog, stores: store::Stores, grant: access::Grant<access::Search>) {
    let _reply = audit_log.seal(grant, ledger::AuditEvent::success(), ()).await;
    let _handle = stores.enter(&grant, &kernel::NamespaceSettings::default()).await;
}

fn main() {}
