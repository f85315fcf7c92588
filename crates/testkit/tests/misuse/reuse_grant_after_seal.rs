//! The audit line ends the request: behind it there is no grant to touch data with.

async fn after(trail: ledger::Trail, stores: store::Stores, grant: access::Grant<access::Search>) {
    let _reply = trail.seal(grant, ledger::Deed::success(), ()).await;
    let _room = stores.enter(&grant, &kernel::NamespaceSettings::default()).await;
}

fn main() {}
