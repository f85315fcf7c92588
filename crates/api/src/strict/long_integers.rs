//! Whole numbers that need more than 64 bits: the JSON parser silently rounds them to floats. Where a value is kept
//! exactly as sent, such numbers are refused.
//!
//! Only the text shows whether a float was written as a whole number, and it is searched only if a float is large
//! enough. Then the text is parsed again, with the set of floats to refuse.

use serde::de;
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

thread_local! {
    static MODE: RefCell<FloatMode> = const { RefCell::new(FloatMode::Accept) };
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Treatment of floats that are so large that they may have been whole numbers.
enum FloatMode {
    /// Such floats are accepted; none has been parsed yet.
    Accept,
    /// Such floats are accepted; one has been parsed.
    LargeFloatRead,
    /// Floats that whole numbers of this text were rounded to are refused. The set holds their bits.
    Reject(HashSet<u64>),
}

/// Resets the state before a document is parsed for the first time.
pub(super) fn begin() {
    MODE.set(FloatMode::Accept);
    REFUSED.set(false);
}

/// Whether the document that was parsed since [`begin`] holds a whole number that was rounded. Then it must be parsed
/// again, and such numbers are refused.
pub(super) fn was_rounded(text: &str) -> bool {
    if !MODE.with_borrow(|mode| matches!(mode, FloatMode::LargeFloatRead)) {
        return false;
    }
    let rounded: HashSet<u64> = crate::exact::long_integers(text).into_iter().map(f64::to_bits).collect();
    let any = !rounded.is_empty();
    if any {
        MODE.set(FloatMode::Reject(rounded));
    }
    any
}

/// Whether a float must be refused.
fn rejects(x: f64) -> bool {
    let beyond = x.fract() == 0.0 && !(-9_223_372_036_854_775_808.0 < x && x < 18_446_744_073_709_551_616.0);
    beyond
        && MODE.with_borrow_mut(|mode| match mode {
            FloatMode::Reject(rounded) => rounded.contains(&x.to_bits()),
            other => {
                *other = FloatMode::LargeFloatRead;
                false
            }
        })
}

/// A float of a value that is kept exactly as sent.
///
/// # Errors
/// The float was a whole number of more than 64 bits.
pub(super) fn checked_float<E: de::Error>(x: f64) -> Result<f64, E> {
    if rejects(x) { Err(E::custom(RULE)) } else { Ok(x) }
}

/// Accepts the float but records one that must be refused, where one invalid value must not fail the whole request; see
/// [`was_refused`].
pub(super) fn record_float(x: f64) -> f64 {
    if rejects(x) {
        REFUSED.set(true);
    }
    x
}

/// Whether [`record_float`] has recorded a float since the last call.
pub(super) fn was_refused() -> bool {
    REFUSED.take()
}

/// The rule that such a number breaks, as the end of a sentence that begins with the path.
pub(super) const RULE: &str =
    "must be a whole number of 64 bits, or a number with a fraction or an exponent; send a longer one as text";
