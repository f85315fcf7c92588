//! A tenant's name and a namespace's name do not open its home.

fn open(tenant: &kernel::TenantId, directory: &dyn vault::Directory) {
    let _ = vault::Home::enter(tenant, directory);
}

fn main() {}
