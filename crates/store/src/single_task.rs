//! A background task of which at most one runs at a time.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a background task runs, and whether it is to run once more. What a request asks for is done by a pass that
/// begins after the request.
#[derive(Default)]
pub(crate) struct SingleTask(AtomicU8);

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const AGAIN: u8 = 2;

impl SingleTask {
    /// Requests a pass. Returns whether the caller has to start the task, because none runs.
    pub(crate) fn request(&self) -> bool {
        let next = |state| Some(if state == IDLE { RUNNING } else { AGAIN });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    /// Ends a pass. Returns whether another one was requested meanwhile; if not, the task ends.
    pub(crate) fn again(&self) -> bool {
        let next = |state| Some(if state == AGAIN { RUNNING } else { IDLE });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_during_a_pass_cause_one_more() {
        let task = SingleTask::default();
        assert!(task.request(), "the first request starts the task");
        assert!(!task.request() && !task.request(), "the running task serves the others");
        assert!(task.again() && !task.again(), "in one pass");
        assert!(task.request(), "it has ended");
    }
}
