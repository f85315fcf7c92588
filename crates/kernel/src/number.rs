//! Numbers of attributes and filters: signed and unsigned integers of 64 bits, and floats, compared exactly.
//!
//! No 64-bit integer is ever rounded, neither when it is stored nor when it is compared, and a float is compared with
//! an integer by its exact value. One value has one representation: `2024.0` is the integer 2024.

use std::cmp::Ordering;

/// A number, as the module describes.
#[derive(Clone, Copy, Debug)]
pub struct Number(Repr);

#[derive(Clone, Copy, Debug)]
enum Repr {
    /// An integer within `i64`.
    Signed(i64),
    /// An integer above `i64`.
    Unsigned(u64),
    /// A number with a fraction, or an integer beyond 64 bits.
    Float(f64),
}

/// 2^63 and 2^64. As powers of two they are exact.
const SIGNED_END: f64 = 9_223_372_036_854_775_808.0;
const UNSIGNED_END: f64 = 18_446_744_073_709_551_616.0;

impl From<i64> for Number {
    fn from(n: i64) -> Self {
        Self(Repr::Signed(n))
    }
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self(i64::try_from(n).map_or(Repr::Unsigned(n), Repr::Signed))
    }
}

impl From<f64> for Number {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "guarded: whole and within the type")]
    fn from(x: f64) -> Self {
        Self(match x {
            // Minus zero equals zero for people, and integers have no form for it.
            x if x.fract() == 0.0 && (-SIGNED_END..SIGNED_END).contains(&x) => Repr::Signed(x as i64),
            x if x.fract() == 0.0 && (SIGNED_END..UNSIGNED_END).contains(&x) => Repr::Unsigned(x as u64),
            x => Repr::Float(x),
        })
    }
}

impl Number {
    /// The value, if it is an integer of 64 bits.
    pub fn whole(self) -> Option<i128> {
        match self.0 {
            Repr::Signed(n) => Some(n.into()),
            Repr::Unsigned(n) => Some(n.into()),
            Repr::Float(_) => None,
        }
    }

    /// The value, if it is not an integer of 64 bits.
    pub fn float(self) -> Option<f64> {
        match self.0 {
            Repr::Float(x) => Some(x),
            Repr::Signed(_) | Repr::Unsigned(_) => None,
        }
    }

    /// Whether the value is NaN, which equals nothing and has no order.
    pub fn is_nan(self) -> bool {
        self.float().is_some_and(f64::is_nan)
    }

    /// The number as JSON, integers without a fraction. NaN and infinities, which JSON lacks, become null.
    pub fn to_json(self) -> serde_json::Value {
        match self.0 {
            Repr::Signed(n) => n.into(),
            Repr::Unsigned(n) => n.into(),
            Repr::Float(x) => x.into(),
        }
    }

    /// A pair for indexes whose lexicographic order is that of the values. The first is the nearest float that is not
    /// above the value, the second the distance of the value from that float. `None` for NaN.
    pub fn order_key(self) -> Option<(u64, u32)> {
        if self.is_nan() {
            return None;
        }
        let Some(n) = self.whole() else { return self.float().map(|x| (float_order(x), 0)) };
        #[expect(clippy::cast_precision_loss, reason = "the second number holds what is lost")]
        let mut below = n as f64;
        if exact(below) > n {
            below = below.next_down();
        }
        let above = u32::try_from(n - exact(below)).unwrap_or(u32::MAX);
        Some((float_order(below), above))
    }
}

/// Exact value of an integral float of at most 2^64 in magnitude.
#[expect(clippy::cast_possible_truncation, reason = "an i128 holds it")]
fn exact(x: f64) -> i128 {
    x as i128
}

/// An integer that orders floats, with a single zero.
fn float_order(x: f64) -> u64 {
    let bits = if x == 0.0 { 0 } else { x.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.whole(), other.whole()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            (Some(a), None) => other.float().and_then(|b| compare_with_float(a, b)),
            (None, Some(b)) => self.float().and_then(|a| compare_with_float(b, a)).map(Ordering::reverse),
            (None, None) => self.float()?.partial_cmp(&other.float()?),
        }
    }
}

/// Compares an integer of 64 bits with a float.
fn compare_with_float(n: i128, x: f64) -> Option<Ordering> {
    if x.is_nan() {
        return None;
    }
    if x >= UNSIGNED_END {
        return Some(Ordering::Less);
    }
    if x < -SIGNED_END {
        return Some(Ordering::Greater);
    }
    let floor = x.floor();
    // A fraction puts the float above its floor.
    Some(n.cmp(&exact(floor)).then(if x > floor { Ordering::Less } else { Ordering::Equal }))
}

#[cfg(test)]
mod tests;
