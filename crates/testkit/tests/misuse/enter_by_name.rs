//! A tenant's name gives no access: entering a namespace requires a grant.

async fn by_name(stores: store::Stores, tenant: kernel::TenantId) {
    let _handle = stores.enter(&tenant, &kernel::NamespaceSettings::default()).await;
}

fn main() {}
