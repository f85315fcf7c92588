//! What is stored was screened: text alone is no document.

fn upsert(text: kernel::Untrusted) -> store::Upsert {
    store::Upsert { admitted: text, on_conflict: store::OnConflict::Overwrite }
}

fn main() {}
