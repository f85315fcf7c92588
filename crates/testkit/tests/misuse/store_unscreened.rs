//! Only screened documents can be stored: text alone is no document.

fn upsert(text: kernel::Untrusted) -> store::Upsert {
    store::Upsert { admitted: text, on_conflict: store::OnConflict::Overwrite }
}

fn main() {}
