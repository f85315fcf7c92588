//! Whole numbers that need more than 64 bits: the reader of JSON makes floats of them, rounded, and says nothing. Where a
//! value is kept as it came, they are refused by name.
//!
//! Whether a float was written as a whole number stands in the text alone, which is searched only when a float is so
//! large.

use serde::de;
use std::cell::Cell;

thread_local! {
    static READING: Cell<Reading> = const { Cell::new(Reading::Plain) };
}

/// What becomes of floats so large that they may have been whole numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Taken; none was met.
    Plain,
    /// Taken; one was met.
    Met,
    /// Refused.
    Strict,
}

/// A document is read for the first time.
pub(super) fn begin() {
    READING.set(Reading::Plain);
}

/// Whether what was read since [`begin`] may hold a whole number that was rounded. Then the document is to be read again,
/// and [`float`] refuses it.
pub(super) fn was_rounded(text: &str) -> bool {
    if READING.get() != Reading::Met || !client::has_long_integer(text) {
        return false;
    }
    READING.set(Reading::Strict);
    true
}

/// A float of a value that is kept as it came.
///
/// # Errors
/// For one that may be a rounded whole number, in a text that has such numbers.
pub(super) fn float<E: de::Error>(x: f64) -> Result<f64, E> {
    let beyond = x.fract() == 0.0 && !(-9_223_372_036_854_775_808.0 < x && x < 18_446_744_073_709_551_616.0);
    match READING.get() {
        Reading::Strict if beyond => Err(E::custom(RULE)),
        Reading::Plain if beyond => {
            READING.set(Reading::Met);
            Ok(x)
        }
        _ => Ok(x),
    }
}

const RULE: &str = "must be a whole number of 64 bits, or a number with a fraction or an exponent; send a larger one as text";
