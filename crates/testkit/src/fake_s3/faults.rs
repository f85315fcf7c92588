//! Rules that assign faults to requests.

use super::Op;
use std::time::Duration;

/// A fault of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is not applied and is answered with this status.
    Status(u16),
    /// The request is applied and then answered with this status.
    StatusAfter(u16),
    /// The request is not applied, and the connection is closed without an answer.
    CloseBefore,
    /// The request is applied, and the connection is closed without an answer.
    CloseAfter,
    /// The request is not applied and never answered. The connection stays open.
    HangBefore,
    /// The request is applied and never answered. The connection stays open.
    HangAfter,
    /// The request is applied, half of the answer's body is sent, and the connection is closed.
    Truncate,
    /// The request is applied and answered once [`super::FakeS3::release`] is called.
    Hold,
    /// The request is applied and answered after this time.
    Slow(Duration),
}

impl Fault {
    /// Whether the request is applied to the objects.
    #[must_use]
    pub fn applies(self) -> bool {
        !matches!(self, Self::Status(_) | Self::CloseBefore | Self::HangBefore)
    }
}

/// The requests that a fault applies to.
#[derive(Clone, Debug)]
pub struct When {
    op: Option<Op>,
    key: String,
    after: usize,
    times: usize,
}

impl When {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        Self { op: None, key: String::new(), after: 0, times: usize::MAX }
    }

    /// Requests of one kind.
    #[must_use]
    pub fn op(op: Op) -> Self {
        Self { op: Some(op), ..Self::any() }
    }

    /// Only requests whose key contains this text.
    #[must_use]
    pub fn key(self, part: &str) -> Self {
        Self { key: part.to_owned(), ..self }
    }

    /// Skips this number of matching requests first.
    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Applies the fault to this number of requests only.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn matches(&self, op: Op, key: &str) -> bool {
        self.op.is_none_or(|o| o == op) && key.contains(&self.key)
    }
}

/// Rules in the order in which they were added.
#[derive(Default)]
pub(super) struct FaultPlan(Vec<(When, Fault)>);

impl FaultPlan {
    pub(super) fn add(&mut self, when: When, fault: Fault) {
        self.0.push((when, fault));
    }

    /// Returns the fault for a request that has just arrived, if any, and counts the request.
    pub(super) fn next(&mut self, op: Op, key: &str) -> Option<Fault> {
        for (when, fault) in self.0.iter_mut().filter(|(when, _)| when.matches(op, key)) {
            if when.after > 0 {
                when.after -= 1;
            } else if when.times > 0 {
                when.times -= 1;
                return Some(*fault);
            }
        }
        None
    }
}
