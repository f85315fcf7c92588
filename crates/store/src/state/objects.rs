//! Sealed segments as objects of the journal: written, and opened.

use crate::{
    Error,
    cpu::{TaskClass, on_cpu, on_maintenance_pool},
    shared::Shared,
    state::core::NamespaceCore,
};
use journal::{Journal, ObjectRef};
use kernel::Plaintext;
use segment::{Segment, Spec};
use std::sync::Arc;
use vault::ObjectKind;

/// Opens a sealed segment: what every search needs first goes into memory, the rest is paged unless it is small.
///
/// # Errors
/// Errors of the journal; `internal` for bytes that are inconsistent.
pub(crate) async fn open_object(
    shared: &Shared,
    journal: &Journal,
    class: TaskClass,
    spec: Spec,
    object: &ObjectRef,
) -> Result<Segment, Error> {
    let (whole, paged) = journal.open_object(object).await?;
    let resident = shared.resident_bytes_max;
    let open = move || Segment::open_sealed(&spec, whole, Arc::new(paged), resident);
    Ok(on_cpu(&*shared.config.cpu, class, open).await??)
}

/// Makes a segment's object durable and opens it: from the bytes in memory or, if these are too many to keep, as the
/// next opening of the namespace will. A checkpoint has to name the object, or it becomes an orphan.
///
/// # Errors
/// Errors of the journal, such as a full disk.
pub(crate) async fn put_object(
    core: &NamespaceCore,
    spec: Spec,
    bytes: impl Into<Plaintext>,
) -> Result<(ObjectRef, Segment), Error> {
    let bytes = bytes.into();
    let (shared, journal) = (&core.shared, &core.journal);
    let split = Segment::split(&bytes)?;
    let (object, bytes) = journal.put_split(ObjectKind::Segment, bytes, split).await?;
    shared.counters.written(object.bytes);
    shared.step("object");
    let segment = if (bytes.len() - split) as u64 > shared.resident_bytes_max {
        drop(bytes);
        open_object(shared, journal, TaskClass::OpenInBackground, spec, &object).await
    } else {
        on_maintenance_pool(&*shared.config.cpu, move || Segment::open(&spec, bytes).map_err(Error::from)).await?
    };
    match segment {
        Ok(segment) => Ok((object, segment)),
        Err(error) => {
            // No checkpoint names it; if it cannot be deleted now, the sweep at the next opening does so.
            let _orphan = journal.delete(&object).await;
            Err(error)
        }
    }
}
