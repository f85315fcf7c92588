//! Retries of rotations. An error that may pass (a provider that does not answer or refuses, a full disk) does not end
//! a rotation: it waits and continues, so the operator does not have to start it again.
//!
//! It retries until its deadline, with growing pauses, and reports what it waits for. When the server stops, the
//! rotation stays unfinished and the next start continues it.

use crate::Engine;
use kernel::{Code, Error, RetryPolicy, Timestamp, limits};
use registry::{FinishedRotation, OperationHandle};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Result of one attempt at a rotation: `None` when it was cancelled.
pub(crate) type RotationAttempt = Result<Option<FinishedRotation>, Error>;

/// How a rotation ended.
pub(crate) enum RotationEnd {
    /// Every key is wrapped under the new epoch.
    Finished(FinishedRotation),
    /// It was cancelled between two writes, so everything still opens.
    Cancelled,
    /// It met an error that does not pass, or its deadline.
    Failed(Error),
    /// The server stops; the next start continues the rotation.
    ServerStops,
}

impl Engine {
    /// Runs a rotation whose first attempt ended with `first` to its end: retries while its error is transient. While
    /// the rotation waits, its permit is free for other rotations.
    pub(crate) async fn retry_transient(
        &self,
        operation: &OperationHandle,
        mut turn: Option<OwnedSemaphorePermit>,
        first: RotationAttempt,
    ) -> RotationEnd {
        let turns = turn.as_ref().map(|turn| turn.semaphore().clone());
        let mut result = first;
        let mut pauses = RETRIES.pauses();
        loop {
            let error = match result {
                Ok(Some(finished)) => return RotationEnd::Finished(finished),
                Ok(None) => return RotationEnd::Cancelled,
                Err(_) if self.inner.stopping.is_cancelled() => return RotationEnd::ServerStops,
                Err(error) if !is_transient(error.code) || deadline_of(operation) <= self.now() => {
                    return RotationEnd::Failed(error);
                }
                Err(_) if operation.cancelled() => return RotationEnd::Cancelled,
                Err(error) => error,
            };
            let code = error.code;
            if operation.waits_for(Some(code)) != Some(code) {
                tracing::warn!(operation = %operation.id(), %error, "a rotation waits; it continues when that has passed");
            }
            drop(turn.take());
            let pause = pauses.next().unwrap_or(limits::ROTATION_PAUSE_MAX);
            if !self.pause(operation, pause).await {
                // The server stops or the operation is cancelled, which the next round finds.
                result = Err(error);
                continue;
            }
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

/// A rotation's deadline ends its retries.
const RETRIES: RetryPolicy =
    RetryPolicy { pause_min: limits::ROTATION_PAUSE_MIN, pause_max: limits::ROTATION_PAUSE_MAX, attempts_max: None };
/// How often a waiting rotation checks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);
