//! Frees values that hold many small pieces of memory, on a thread of its own.
//!
//! Freeing many pieces takes long, and other requests would wait for it on a thread of the runtime. Values of which a
//! request may hold many are therefore wrapped in [`DeferredDrop`], and may be dropped anywhere.

use std::{
    any::Any,
    ops::{Deref, DerefMut},
    sync::{
        OnceLock,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
};

/// Values that may wait for the thread. No memory account counts them any longer, so there are few: when the queue is
/// full, a value is freed where it is dropped.
const WAITING_MAX: usize = 4;

/// A value that is freed on a separate thread if it is large.
pub struct DeferredDrop<T: Send + 'static> {
    value: Option<T>,
    is_large: bool,
}

impl<T: Send + 'static> DeferredDrop<T> {
    /// Wraps a value. `is_large`: whether freeing it takes longer than handing it over, which takes some microseconds.
    pub fn new(value: T, is_large: bool) -> Self {
        Self { value: Some(value), is_large }
    }

    /// Marks the value as large: freeing it now takes longer than handing it over.
    pub fn set_large(&mut self) {
        self.is_large = true;
    }

    /// Unwraps the value. Its new owner frees it.
    ///
    /// # Panics
    /// Never: only this method and `drop` take the value.
    pub fn into_inner(mut self) -> T {
        self.value.take().expect("the value is present until the drop")
    }
}

impl<T: Send + 'static> Deref for DeferredDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("the value is present until the drop")
    }
}

impl<T: Send + 'static> DerefMut for DeferredDrop<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the value is present until the drop")
    }
}

impl<T: Send + 'static> Drop for DeferredDrop<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take().filter(|_| self.is_large) {
            free(Box::new(value));
        }
    }
}

fn free(value: Box<dyn Any + Send>) {
    static THREAD: OnceLock<Option<SyncSender<Box<dyn Any + Send>>>> = OnceLock::new();
    let start = || {
        let (sender, values) = sync_channel(WAITING_MAX);
        let work = move || values.into_iter().for_each(drop);
        thread::Builder::new().name("discard".to_owned()).spawn(work).ok().map(|_| sender)
    };
    if let Some(thread) = THREAD.get_or_init(start) {
        match thread.try_send(value) {
            Ok(()) => {}
            Err(TrySendError::Full(value) | TrySendError::Disconnected(value)) => drop(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::DeferredDrop;
    use std::{
        sync::mpsc::{Sender, channel},
        thread::{self, ThreadId},
    };

    struct ReportsDrop(Sender<ThreadId>);

    impl Drop for ReportsDrop {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).expect("the test waits");
        }
    }

    #[test]
    fn large_values_are_freed_on_another_thread_and_none_is_kept() {
        let (sender, freed_on) = channel();
        let here = thread::current().id();
        drop(DeferredDrop::new(ReportsDrop(sender.clone()), false));
        assert_eq!(freed_on.recv().unwrap(), here);
        drop(DeferredDrop::new(ReportsDrop(sender.clone()), true));
        assert_ne!(freed_on.recv().unwrap(), here);
        drop(DeferredDrop::new(ReportsDrop(sender.clone()), true).into_inner());
        assert_eq!(freed_on.recv().unwrap(), here);
        for _ in 0..100 {
            drop(DeferredDrop::new(ReportsDrop(sender.clone()), true));
        }
        assert_eq!(freed_on.iter().take(100).count(), 100);
    }
}
