//! An operator has no access to a store.

async fn look(stores: store::Stores, operator: access::Operator) {
    let _handle = stores.enter(&operator, &kernel::NamespaceSettings::default()).await;
}

fn main() {}
