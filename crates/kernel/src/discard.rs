//! Freeing what many small pieces of memory hold, on a thread of its own.
//!
//! Freeing takes as long as there are many pieces, and on a thread of the runtime other requests would wait for it. So what
//! a request may hold many of is wrapped in [`Discarded`], and may be dropped anywhere.

use std::{
    any::Any,
    ops::{Deref, DerefMut},
    sync::{
        OnceLock,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
};

/// Values that may wait for the thread. They are in no account any more, so there are few: when more come, each is freed
/// where it is dropped.
const WAITING_MAX: usize = 4;

/// A value that is freed on a thread of its own, if it is large.
pub struct Discarded<T: Send + 'static> {
    value: Option<T>,
    is_large: bool,
}

impl<T: Send + 'static> Discarded<T> {
    /// `is_large`: whether freeing it takes longer than handing it over, some microseconds.
    pub fn new(value: T, is_large: bool) -> Self {
        Self { value: Some(value), is_large }
    }

    /// It has grown so much that freeing it takes longer than handing it over.
    pub fn set_large(&mut self) {
        self.is_large = true;
    }

    /// The value, to be freed by its new owner.
    ///
    /// # Panics
    /// Never: only this method and the end of its life take the value.
    pub fn into_inner(mut self) -> T {
        self.value.take().expect("it is there until the end")
    }
}

impl<T: Send + 'static> Deref for Discarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is there until the end")
    }
}

impl<T: Send + 'static> DerefMut for Discarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("it is there until the end")
    }
}

impl<T: Send + 'static> Drop for Discarded<T> {
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
    use super::Discarded;
    use std::{
        sync::mpsc::{Sender, channel},
        thread::{self, ThreadId},
    };

    struct Tells(Sender<ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).expect("the test waits");
        }
    }

    #[test]
    fn what_is_large_is_freed_elsewhere_and_nothing_is_kept() {
        let (tell, freed) = channel();
        let here = thread::current().id();
        drop(Discarded::new(Tells(tell.clone()), false));
        assert_eq!(freed.recv().unwrap(), here);
        drop(Discarded::new(Tells(tell.clone()), true));
        assert_ne!(freed.recv().unwrap(), here);
        drop(Discarded::new(Tells(tell.clone()), true).into_inner());
        assert_eq!(freed.recv().unwrap(), here);
        for _ in 0..100 {
            drop(Discarded::new(Tells(tell.clone()), true));
        }
        assert_eq!(freed.iter().take(100).count(), 100);
    }
}
