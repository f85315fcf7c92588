//! Whether whoever asked still waits for the answer.

use crate::Error;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Goes with a request, so that work for nobody is left undone. By itself it says that somebody waits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Presence(Arc<AtomicBool>);

/// Held by who waits: dropped before [`Watch::answered`], it tells the [`Presence`].
#[derive(Debug)]
pub struct Watch(Option<Presence>);

impl Presence {
    /// For who waits.
    pub fn watch(&self) -> Watch {
        Watch(Some(self.clone()))
    }

    /// Whether nobody waits any more.
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Stops work that nobody waits for.
    ///
    /// # Errors
    /// `overloaded`, for the audit: nobody else reads it.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_gone() {
            return Err(Error::overloaded("the caller went before the answer was ready", Duration::from_secs(1)));
        }
        Ok(())
    }
}

impl Watch {
    /// The answer is there.
    pub fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(presence) = &self.0 {
            presence.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn who_leaves_before_the_answer_is_gone() {
        let (left, stayed) = (Presence::default(), Presence::default());
        drop(left.watch());
        stayed.watch().answered();
        assert_eq!(left.check().unwrap_err().code, Code::Overloaded);
        stayed.check().unwrap();
    }
}
