//! Which request meets which fault.

use super::Op;
use std::time::Duration;

/// What happens to a request instead of what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not applied; answered with this status.
    Status(u16),
    /// Applied, and then answered with this status.
    StatusAfter(u16),
    /// Not applied; the connection is closed without an answer.
    CloseBefore,
    /// Applied; the connection is closed without an answer.
    CloseAfter,
    /// Not applied; no answer, ever. The connection stays open.
    HangBefore,
    /// Applied; no answer, ever. The connection stays open.
    HangAfter,
    /// Applied; half of the answer's body is sent and the connection closed.
    Truncate,
    /// Applied and answered once [`super::FakeS3::release`] is called.
    Hold,
    /// Applied and answered after this time.
    Slow(Duration),
}

impl Fault {
    /// Whether the request is applied to the objects.
    #[must_use]
    pub fn applies(self) -> bool {
        !matches!(self, Self::Status(_) | Self::CloseBefore | Self::HangBefore)
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct When {
    op: Option<Op>,
    key: String,
    after: usize,
    times: usize,
}

impl When {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self { op: None, key: String::new(), after: 0, times: usize::MAX }
    }

    /// Requests of this kind.
    #[must_use]
    pub fn op(op: Op) -> Self {
        Self { op: Some(op), ..Self::any() }
    }

    /// Only those whose key holds this text.
    #[must_use]
    pub fn key(self, part: &str) -> Self {
        Self { key: part.to_owned(), ..self }
    }

    /// Lets this many of them pass first.
    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Only this many.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn matches(&self, op: Op, key: &str) -> bool {
        self.op.is_none_or(|o| o == op) && key.contains(&self.key)
    }
}

/// Rules in the order in which they were made.
#[derive(Default)]
pub(super) struct Plan(Vec<(When, Fault)>);

impl Plan {
    pub(super) fn add(&mut self, when: When, fault: Fault) {
        self.0.push((when, fault));
    }

    /// The fault for the request that has just arrived, if any. Counts it.
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
