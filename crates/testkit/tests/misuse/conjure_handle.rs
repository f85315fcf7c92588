//! Only the entry points of the store create a namespace handle.

fn turn(handle: store::NamespaceHandle<access::Ingest>) -> store::NamespaceHandle<access::Search> {
    store::NamespaceHandle { namespace: handle.namespace, action: std::marker::PhantomData }
}

fn main() {}
