//! Whether the client of a request still waits for the answer.

use crate::Error;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Travels with a request, so that work for a client that has disconnected is not done. On its own it says that the
/// client waits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Presence(Arc<AtomicBool>);

/// Held on behalf of the client: if it is dropped before [`Watch::answered`], the [`Presence`] learns that the client has
/// gone.
#[derive(Debug)]
pub struct Watch(Option<Presence>);

impl Presence {
    /// The guard to hold on behalf of the client.
    pub fn watch(&self) -> Watch {
        Watch(Some(self.clone()))
    }

    /// Whether the client has gone.
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Stops work whose client has gone.
    ///
    /// # Errors
    /// `overloaded`, which only the audit sees.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_gone() {
            return Err(Error::overloaded("the caller went before the answer was ready", Duration::from_secs(1)));
        }
        Ok(())
    }
}

impl Watch {
    /// The answer is ready.
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
