//! A namespace handle has only the methods of its action: an ingest grant cannot search.

async fn search(handle: store::NamespaceHandle<access::Ingest>) {
    let _ = handle.snapshot(None).await;
}

fn main() {}
