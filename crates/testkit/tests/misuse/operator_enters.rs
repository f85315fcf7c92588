//! An operator has no way into a store.

async fn look(stores: store::Stores, operator: access::Operator) {
    let _room = stores.enter(&operator, &kernel::NamespaceSettings::default()).await;
}

fn main() {}
