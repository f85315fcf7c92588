//! No write without the eyes that decide what stands under an id.

async fn write(room: store::Room<access::Ingest>, docs: Vec<store::Upsert>, line: store::Line) {
    let _ = room.append(docs, line).await;
}

fn main() {}
