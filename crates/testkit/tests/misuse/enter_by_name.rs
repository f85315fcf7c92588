//! A tenant's name opens nothing: the door asks for a grant.

async fn by_name(stores: store::Stores, tenant: kernel::TenantId) {
    let _room = stores.enter(&tenant, &kernel::NamespaceSettings::default()).await;
}

fn main() {}
