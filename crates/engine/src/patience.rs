//! Rotations that meet what passes by itself (a provider that does not answer or says no, a full disk) wait for that and
//! go on: whoever asked for one does not have to look whether it has to be asked for again.
//!
//! They wait until their deadline, with pauses that grow, and say what for. A server that stops leaves them unfinished: the
//! next start goes on with them.

use crate::Engine;
use kernel::{Code, Error, Timestamp, limits};
use registry::{OperationHandle, Rotated};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How a rotation ended: `None` when somebody cancelled it.
pub(crate) type Outcome = Result<Option<Rotated>, Error>;

impl Engine {
    /// A rotation's result, behind the first try, which is followed by others while what stands in the way may pass.
    /// `None`: the server stops. Its turn among rotations is given to others while it waits.
    pub(crate) async fn patiently(
        &self,
        operation: &OperationHandle,
        mut turn: Option<OwnedSemaphorePermit>,
        first: Outcome,
    ) -> Option<Outcome> {
        let turns = turn.as_ref().map(|turn| turn.semaphore().clone());
        let mut result = first;
        let mut pause = limits::ROTATION_PAUSE_MIN;
        loop {
            let Err(error) = &result else { return Some(result) };
            if self.inner.stopping.is_cancelled() {
                return None;
            }
            let code = error.code;
            if !passes(code) || until(operation) <= self.now() {
                return Some(result);
            }
            if operation.cancelled() {
                return Some(Ok(None));
            }
            if operation.waits_for(Some(code)) != Some(code) {
                tracing::warn!(operation = %operation.id(), %error, "a rotation waits; it continues when that has passed");
            }
            drop(turn.take());
            if !self.pause(operation, pause).await {
                continue;
            }
            pause = (pause * 2).min(limits::ROTATION_PAUSE_MAX);
            if let Some(turns) = &turns {
                // Behind an outage not all go on at once.
                let next = self.inner.stopping.run_until_cancelled(turns.clone().acquire_owned()).await;
                turn = next.and_then(Result::ok);
            }
            result = self.try_rotating(operation).await;
            if result.as_ref().err().is_none_or(|error| !passes(error.code)) {
                operation.waits_for(None);
            }
        }
    }

    /// Whether the time has passed; not when the server stops or somebody cancels meanwhile.
    pub(crate) async fn pause(&self, operation: &OperationHandle, time: Duration) -> bool {
        let mut left = time;
        while !left.is_zero() && !operation.cancelled() {
            let some = left.min(LOOK);
            if self.inner.stopping.run_until_cancelled(tokio::time::sleep(some)).await.is_none() {
                return false;
            }
            left -= some;
        }
        left.is_zero()
    }
}

/// Whether this may pass without anybody changing what is asked for.
pub(crate) fn passes(code: Code) -> bool {
    matches!(code, Code::KeyUnavailable | Code::StorageFull | Code::Overloaded)
}

fn until(operation: &OperationHandle) -> Timestamp {
    operation.deadline().unwrap_or_else(|| operation.created_at().plus(limits::ROTATE_DEADLINE))
}

/// How often who waits looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);
