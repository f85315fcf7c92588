//! A namespace handle has only the methods of its action: a search grant cannot write.

async fn write(handle: store::NamespaceHandle<access::Search>, docs: Vec<store::Upsert>, record: store::MakeAuditRecord) {
    let _ = handle.append(docs, record).await;
}

fn main() {}
