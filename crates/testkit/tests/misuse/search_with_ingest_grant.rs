//! A room has the deeds of its action only: what may write may not search.

async fn search(room: store::Room<access::Ingest>) {
    let _ = room.snapshot(None).await;
}

fn main() {}
