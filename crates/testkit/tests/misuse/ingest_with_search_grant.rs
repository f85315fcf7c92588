//! A room has the deeds of its action only: what may search may not write.

async fn write(room: store::Room<access::Search>, docs: Vec<store::Upsert>, line: store::Line) {
    let _ = room.append(docs, line).await;
}

fn main() {}
