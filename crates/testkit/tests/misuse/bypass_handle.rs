//! The namespace of a handle cannot be reached around the handle's methods.

fn around(handle: store::NamespaceHandle<access::Read>) {
    let _ = handle.namespace;
}

fn main() {}
