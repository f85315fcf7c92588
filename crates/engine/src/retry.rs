//! Retries of rotations. An error that may pass (a provider that does not answer or refuses, a full disk) does not end
//! a rotation: it waits and continues, so the operator does not have to start it again.
//!
//! It retries until its deadline, with growing pauses, and reports what it waits for. When the server stops, the
//! rotation stays unfinished and the next start continues it.

use crate::Engine;
use kernel::{Code, Error, Timestamp, limits};
use registry::{FinishedRotation, OperationHandle};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How a rotation ended: `None` when it was cancelled.
pub(crate) type RotationResult = Result<Option<FinishedRotation>, Error>;

impl Engine {
    /// Returns the result of a rotation whose first attempt ended with `first`, after retries while its error is
    /// transient. Returns `None` if the server stops. While the rotation waits, its permit is free for other rotations.
    pub(crate) async fn retry_transient(
        &self,
        operation: &OperationHandle,
        mut turn: Option<OwnedSemaphorePermit>,
        first: RotationResult,
    ) -> Option<RotationResult> {
        let turns = turn.as_ref().map(|turn| turn.semaphore().clone());
        let mut result = first;
        let mut pause = limits::ROTATION_PAUSE_MIN;
        loop {
            let Err(error) = &result else { return Some(result) };
            if self.inner.stopping.is_cancelled() {
                return None;
            }
            let code = error.code;
            if !is_transient(code) || deadline_of(operation) <= self.now() {
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
                // The permit limits how many rotations continue at the same time after an outage.
                let next = self.inner.stopping.run_until_cancelled(turns.clone().acquire_owned()).await;
                turn = next.and_then(Result::ok);
            }
            result = self.attempt_rotation(operation).await;
            if result.as_ref().err().is_none_or(|error| !is_transient(error.code)) {
                operation.waits_for(None);
            }
        }
    }

    /// Waits for `time`, and returns false if the server stops or the operation is cancelled before it has passed.
    pub(crate) async fn pause(&self, operation: &OperationHandle, time: Duration) -> bool {
        let mut left = time;
        while !left.is_zero() && !operation.cancelled() {
            let some = left.min(CANCEL_POLL);
            if self.inner.stopping.run_until_cancelled(tokio::time::sleep(some)).await.is_none() {
                return false;
            }
            left -= some;
        }
        left.is_zero()
    }
}

/// Whether this error may disappear without a change to the request.
pub(crate) fn is_transient(code: Code) -> bool {
    matches!(code, Code::KeyUnavailable | Code::StorageFull | Code::Overloaded)
}

fn deadline_of(operation: &OperationHandle) -> Timestamp {
    operation.deadline().unwrap_or_else(|| operation.created_at().plus(limits::ROTATE_DEADLINE))
}

/// How often a waiting rotation checks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);
