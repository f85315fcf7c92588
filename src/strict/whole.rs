//! Whole numbers that need more than 64 bits: the reader of JSON makes floats of them, rounded, and says nothing. Where a
//! value is kept as it came, they are refused by name.
//!
//! Whether a float was written as a whole number stands in the text alone, which is searched only when a float is so
//! large. Then the text is read again, with the floats that are not to be taken.

use serde::de;
use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

thread_local! {
    static READING: RefCell<Reading> = const { RefCell::new(Reading::Plain) };
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// What becomes of floats so large that they may have been whole numbers.
enum Reading {
    /// Taken; none was met.
    Plain,
    /// Taken; one was met.
    Met,
    /// Those are refused that whole numbers of this text became, by their bits.
    Strict(HashSet<u64>),
}

/// A document is read for the first time.
pub(super) fn begin() {
    READING.set(Reading::Plain);
    REFUSED.set(false);
}

/// Whether what was read since [`begin`] may hold a whole number that was rounded. Then the document is to be read again,
/// and such numbers are refused.
pub(super) fn was_rounded(text: &str) -> bool {
    if !READING.with_borrow(|reading| matches!(reading, Reading::Met)) {
        return false;
    }
    let rounded: HashSet<u64> = client::long_integers(text).into_iter().map(f64::to_bits).collect();
    let any = !rounded.is_empty();
    if any {
        READING.set(Reading::Strict(rounded));
    }
    any
}

/// Whether a float is to be refused.
fn refuses(x: f64) -> bool {
    let beyond = x.fract() == 0.0 && !(-9_223_372_036_854_775_808.0 < x && x < 18_446_744_073_709_551_616.0);
    beyond
        && READING.with_borrow_mut(|reading| match reading {
            Reading::Strict(rounded) => rounded.contains(&x.to_bits()),
            plain => {
                *plain = Reading::Met;
                false
            }
        })
}

/// A float of a value that is kept as it came.
///
/// # Errors
/// For one that was a whole number of more than 64 bits.
pub(super) fn float<E: de::Error>(x: f64) -> Result<f64, E> {
    if refuses(x) { Err(E::custom(RULE)) } else { Ok(x) }
}

/// The same where one value's fault is not the request's: [`was_refused`] tells of it.
pub(super) fn noted(x: f64) -> f64 {
    if refuses(x) {
        REFUSED.set(true);
    }
    x
}

/// Whether [`noted`] met one to refuse since this was asked last.
pub(super) fn was_refused() -> bool {
    REFUSED.take()
}

pub(super) const RULE: &str =
    "must be a whole number of 64 bits, or a number with a fraction or an exponent; send a larger one as text";
